package sockdiag

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Of linux/inet_diag.h, and the states of net/tcp_states.h.
const (
	requestSize = unix.NLMSG_HDRLEN + 56
	messageSize = 72
	diagInfo    = 2
	listening   = 10

	// In struct tcp_info. What was acknowledged counts a byte for SYN and one for
	// FIN; what was sent does not.
	bytesReceived = 128
	bytesSent     = 200 // of Linux 4.19
	bytesRetrans  = 208
)

var errShort = errors.New("message is cut short")

// A socket is one as the kernel lists it.
type socket struct {
	transport      event.Transport
	local, peer    netip.AddrPort
	cookie         uint64
	inode          uint32 // 0: no process has it any more
	state          uint8
	sent, received uint64 // TCP
}

// request asks for all sockets of a family and protocol.
func request(family, protocol uint8) []byte {
	b := make([]byte, requestSize)
	binary.NativeEndian.PutUint32(b, requestSize)
	binary.NativeEndian.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	b[unix.NLMSG_HDRLEN], b[unix.NLMSG_HDRLEN+1], b[unix.NLMSG_HDRLEN+2] = family, protocol, 1<<(diagInfo-1)
	binary.NativeEndian.PutUint32(b[unix.NLMSG_HDRLEN+4:], ^uint32(0)) // in every state
	return b
}

// parse reads what one reading gives. done: it was the last of the answer.
func parse(b []byte, t event.Transport, each func(socket)) (done bool, err error) {
	for len(b) > 0 {
		if len(b) < unix.NLMSG_HDRLEN {
			return false, errShort
		}
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.NLMSG_HDRLEN || size > len(b) {
			return false, errShort
		}
		body := b[unix.NLMSG_HDRLEN:size]
		switch binary.NativeEndian.Uint16(b[4:]) {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			if len(body) < 4 {
				return false, errShort
			}
			if n := int32(binary.NativeEndian.Uint32(body)); n != 0 {
				return true, unix.Errno(-n)
			}
		case unix.SOCK_DIAG_BY_FAMILY:
			s, err := parseSocket(body, t)
			if err != nil {
				return false, err
			}
			each(s)
		}
		b = b[min(align(size), len(b)):]
	}
	return false, nil
}

func parseSocket(b []byte, t event.Transport) (socket, error) {
	if len(b) < messageSize {
		return socket{}, errShort
	}
	s := socket{
		transport: t, state: b[1],
		local:  address(b[0], b[8:24], binary.BigEndian.Uint16(b[4:])),
		peer:   address(b[0], b[24:40], binary.BigEndian.Uint16(b[6:])),
		cookie: uint64(binary.NativeEndian.Uint32(b[44:])) | uint64(binary.NativeEndian.Uint32(b[48:]))<<32,
		inode:  binary.NativeEndian.Uint32(b[68:]),
	}
	for b = b[messageSize:]; len(b) >= unix.SizeofRtAttr; {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofRtAttr || size > len(b) {
			return socket{}, errShort
		}
		if info := b[unix.SizeofRtAttr:size]; binary.NativeEndian.Uint16(b[2:]) == diagInfo && len(info) >= bytesRetrans+8 {
			sent, retrans := binary.NativeEndian.Uint64(info[bytesSent:]), binary.NativeEndian.Uint64(info[bytesRetrans:])
			s.sent, s.received = sent-min(retrans, sent), binary.NativeEndian.Uint64(info[bytesReceived:])
		}
		b = b[min(align(size), len(b)):]
	}
	return s, nil
}

func align(n int) int { return (n + 3) &^ 3 }

func address(family uint8, b []byte, port uint16) netip.AddrPort {
	if family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[:4])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[:16])).Unmap(), port)
}
