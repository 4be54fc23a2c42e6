package pipeline

import (
	"net/netip"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// network gives a fact about a connection or a socket its lasting shape. The
// name of the peer is filled in by host.
func (p *Pipeline) network(body event.Body) *event.Network {
	switch b := body.(type) {
	case event.Connect:
		n := ends(b.Transport, false, b.Local, b.Peer)
		n.Errno, n.Passed = b.Errno, b.Passed
		if b.Name != "" {
			n.PeerAddress = b.Name
		}
		return n
	case event.Accept:
		n := ends(b.Transport, true, b.Local, b.Peer)
		n.Passed = b.Passed
		return n
	case event.Close:
		n := ends(b.Transport, b.Inbound, b.Local, b.Peer)
		n.BytesSent, n.BytesReceived = &b.Sent, &b.Received
		return n
	case event.Send:
		n := ends(b.Transport, b.Inbound, b.Local, b.Peer)
		n.BytesSent, n.BytesReceived = &b.Sent, &b.Received
		return n
	case event.Listen:
		n := ends(b.Transport, true, netip.AddrPort{}, netip.AddrPort{})
		n.LocalAddress, n.LocalPort = b.Name, b.Local.Port()
		if b.Local.IsValid() && b.Name == "" {
			n.LocalAddress = b.Local.Addr().Unmap().String()
		}
		return n
	case event.Socket:
		return &event.Network{Family: b.Family, SocketType: b.Type, Protocol: b.Protocol, Errno: b.Errno}
	case event.TLSName:
		n := ends(b.Transport, false, b.Local, b.Peer)
		n.ECH, n.HostTruncated = b.ECH, b.Truncated
		return n
	case event.HTTPExchange:
		n := ends(event.TCP, false, b.Local, b.Peer)
		n.Method, n.URLPath, n.StatusCode = b.Method, p.Redactor.String(b.Path), b.Status
		return n
	}
	return nil
}

func ends(t event.Transport, inbound bool, local, peer netip.AddrPort) *event.Network {
	n := &event.Network{Transport: t, Direction: "outbound"}
	if inbound {
		n.Direction = "inbound"
	}
	if peer.IsValid() {
		n.PeerAddress, n.PeerPort = peer.Addr().Unmap().String(), peer.Port()
	}
	if local.IsValid() && !local.Addr().IsUnspecified() {
		n.LocalAddress, n.LocalPort = local.Addr().Unmap().String(), local.Port()
	}
	return n
}

// connection gives the peer and the socket of a fact about a connection that
// may have a name.
func connection(body event.Body) (peer netip.AddrPort, socket uint64) {
	switch b := body.(type) {
	case event.Connect:
		return b.Peer, b.Socket
	case event.Close:
		return b.Peer, b.Socket
	case event.Send:
		return b.Peer, b.Socket
	case event.TLSName:
		return b.Peer, b.Socket
	case event.HTTPExchange:
		return b.Peer, b.Socket
	}
	return netip.AddrPort{}, 0
}

// A door is a port that a gateway is reached by.
type doors map[uint16]string

const maxDoors = 256

func (d doors) learn(g event.GatewayFound) {
	if g.Port > 0 && g.Port < 1<<16 && g.Network == 0 && g.Role == event.RoleGateway && len(d) < maxDoors {
		d[uint16(g.Port)] = g.ID
	}
}

// moved are the totals that each connection was counted with, by socket.
type moved map[uint64]total

type total struct {
	sent, received uint64
	at             time.Time
}

const (
	maxMoved  = 65536
	keepMoved = 24 * time.Hour
)

// since gives what a connection moved since it was last asked. Totals only
// grow, so one that comes late adds nothing.
func (m moved) since(socket, sent, received uint64, now time.Time) (uint64, uint64) {
	last, known := m[socket]
	if socket != 0 && (known || len(m) < maxMoved) {
		m[socket] = total{sent: max(sent, last.sent), received: max(received, last.received), at: now}
	}
	return sent - min(sent, last.sent), received - min(received, last.received)
}

// expire forgets what is long over; a long-lived connection is asked for every
// few seconds while it moves something.
func (m moved) expire(now time.Time) {
	if len(m) < maxMoved/2 {
		return
	}
	for socket, t := range m {
		if now.Sub(t.at) > keepMoved {
			delete(m, socket)
		}
	}
}
