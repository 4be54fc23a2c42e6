package ebpf

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

func decodeSock(raw []byte) (event.Body, error) {
	r, _, err := split[sensorSockRec](raw)
	if err != nil {
		return nil, err
	}
	t, passed := transport(&r.A), r.H.Flags&sensorFlagsPASSED != 0
	local, peer := addrPort(r.A.Local, r.A.LocalPort), addrPort(r.A.Peer, r.A.PeerPort)
	switch r.H.Kind {
	case sensorKindKIND_CONNECT:
		return event.Connect{Transport: t, Local: local, Peer: peer, Socket: r.Cookie, Errno: int(r.Error), Passed: passed}, nil
	case sensorKindKIND_ACCEPT:
		return event.Accept{Transport: t, Local: local, Peer: peer, Socket: r.Cookie, Passed: passed}, nil
	case sensorKindKIND_LISTEN:
		return event.Listen{Transport: t, Local: local, Socket: r.Cookie}, nil
	case sensorKindKIND_SEND:
		return event.Send{
			Transport: t, Local: local, Peer: peer, Socket: r.Cookie,
			Inbound: r.A.Inbound != 0, Sent: r.Sent, Received: r.Received,
		}, nil
	default:
		return event.Close{
			Transport: t, Local: local, Peer: peer, Socket: r.Cookie,
			Inbound: r.A.Inbound != 0, Sent: r.Sent, Received: r.Received,
		}, nil
	}
}

func transport(a *sensorAddrs) event.Transport {
	if a.Protocol == 17 {
		return event.UDP
	}
	return event.TCP
}

func addrPort(addr [16]uint8, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(addr).Unmap(), port)
}

// nscd is a name service that few hosts have.
const nscd = "/var/run/nscd/socket"

// decodeUnix prefers the path of the file that the address stands for. Without
// one the address is what was asked for, which a file may not have.
func decodeUnix(raw []byte) (event.Body, error) {
	r, rest, err := split[sensorUnixRec](raw)
	if err != nil {
		return nil, err
	}
	path, rest, err := cut(rest, r.PathLen)
	if err != nil {
		return nil, err
	}
	name, _, err := cut(rest, r.NameLen)
	if err != nil {
		return nil, err
	}
	name = unixName(name)
	if path != "" {
		name = kernelPath(path)
	}
	if name == nscd && r.Error == uint32(unix.ENOENT) {
		return nil, nil // no news: the C library asks for it in every process
	}
	if r.Listens != 0 {
		return event.Listen{Transport: event.Unix, Name: name, Socket: r.Cookie}, nil
	}
	return event.Connect{Transport: event.Unix, Name: name, Socket: r.Cookie, Errno: int(r.Error)}, nil
}

// unixName shows an address as ss and netstat do: an abstract one has @ in
// place of each zero byte.
func unixName(name string) string {
	if strings.HasPrefix(name, "\x00") {
		return strings.ReplaceAll(name, "\x00", "@")
	}
	name, _, _ = strings.Cut(name, "\x00")
	return name
}

func decodeVSock(raw []byte) (event.Body, error) {
	r, _, err := split[sensorSockRec](raw)
	if err != nil {
		return nil, err
	}
	cid, port := binary.LittleEndian.Uint32(r.A.Peer[:]), binary.LittleEndian.Uint32(r.A.Peer[4:])
	return event.Connect{Transport: event.VSock, Name: fmt.Sprintf("%d:%d", cid, port), Socket: r.Cookie, Errno: int(r.Error)}, nil
}

func decodeSocket(raw []byte) (event.Body, error) {
	r, _, err := split[sensorSocketRec](raw)
	if err != nil {
		return nil, err
	}
	return event.Socket{Family: family(r.Family), Type: socketType(r.Type), Protocol: int(r.Protocol), Errno: int(r.Error)}, nil
}

// family gives the name that socket(2) has for an address family.
func family(n uint16) string {
	switch n {
	case 2:
		return "inet"
	case 10:
		return "inet6"
	case 15:
		return "key"
	case 16:
		return "netlink"
	case 17:
		return "packet"
	case 21:
		return "rds"
	case 29:
		return "can"
	case 30:
		return "tipc"
	case 31:
		return "bluetooth"
	case 38:
		return "alg"
	case 40:
		return "vsock"
	case 41:
		return "kcm"
	case 42:
		return "qipcrtr"
	case 43:
		return "smc"
	case 44:
		return "xdp"
	}
	return strconv.Itoa(int(n))
}

func socketType(n uint16) string {
	names := []string{1: "stream", 2: "dgram", 3: "raw", 4: "rdm", 5: "seqpacket", 6: "dccp", 10: "packet"}
	if int(n) < len(names) && names[n] != "" {
		return names[n]
	}
	return strconv.Itoa(int(n))
}
