package attribution

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// What OpenClaw connects to in its own process is tied to the tool call that
// named the host, as long as that call goes on; or to the session that waits for
// a model, where the peer is a provider that is configured and only one does.

// Bounds on what is kept of one gateway's own connections.
const (
	maxNames   = 1024 // addresses with a name
	maxSockets = 1024
	keepNamed  = time.Hour
	maxWaiting = 10 * time.Minute // that a model is waited for
	maxTold    = 5                // sessions named in evidence
)

// A named address was the answer for a name that the gateway itself asked for.
type named struct {
	names []string // latest last
	at    time.Time
}

// A network is what is known of a gateway's own connections.
type network struct {
	named   map[netip.Addr]*named
	sockets map[uint64]purpose
	fetches []*call // calls that name a URL, oldest first
	waiting map[*session]time.Time
}

// A purpose is the calls that a connection was made for.
type purpose struct {
	calls []*call
	at    time.Time
}

func newNetwork() network {
	return network{named: map[netip.Addr]*named{}, sockets: map[uint64]purpose{}, waiting: map[*session]time.Time{}}
}

// resolved remembers what a name server told the gateway.
func (n *network) resolved(b event.DNSAnswer, at time.Time) {
	for _, addr := range b.Addresses {
		addr = addr.Unmap()
		k := n.named[addr]
		if k == nil {
			if len(n.named) >= maxNames {
				n.expire(at)
			}
			if len(n.named) >= maxNames {
				return
			}
			k = &named{}
			n.named[addr] = k
		}
		rest := slices.DeleteFunc(k.names, func(s string) bool { return s == b.Name })
		k.names, k.at = append(rest[max(0, len(rest)-7):], b.Name), at
	}
}

func (n *network) expire(now time.Time) {
	for addr, k := range n.named {
		if now.Sub(k.at) > keepNamed {
			delete(n.named, addr)
		}
	}
	for s, since := range n.waiting {
		if now.Sub(since) > maxWaiting {
			delete(n.waiting, s)
		}
	}
	for socket, p := range n.sockets {
		if now.Sub(p.at) > keepNamed {
			delete(n.sockets, socket)
		}
	}
	n.fetches = slices.DeleteFunc(n.fetches, func(c *call) bool {
		return !c.ended.IsZero() && now.Sub(c.ended) > keepCall || now.Sub(c.at) > keepNamed
	})
}

// asks notes that a session waits for a model, or has its answer.
func (n *network) asks(s *session, at time.Time, waits bool) {
	if !waits {
		delete(n.waiting, s)
	} else if len(n.waiting) < maxSessions {
		n.waiting[s] = at
	}
}

// goal is the host and port that a URL leads to.
func goal(text string) (host string, port uint16) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return "", 0
	}
	number := u.Port()
	switch {
	case number != "":
	case u.Scheme == "http":
		number = "80"
	default:
		number = "443"
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return "", 0
	}
	return strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), uint16(n)
}

// reaches reports whether a host is the peer's: by its address, or by a name that
// the gateway was given it for.
func (n *network) reaches(host string, addr netip.Addr) bool {
	if literal, err := netip.ParseAddr(host); err == nil {
		return literal.Unmap() == addr
	}
	k := n.named[addr]
	return k != nil && slices.Contains(k.names, host)
}

// remote gives the peer of a fact about a connection that the process itself
// made, and its socket.
func remote(body event.Body) (peer netip.AddrPort, socket uint64, ok bool) {
	switch b := body.(type) {
	case event.Connect:
		return b.Peer, b.Socket, b.Peer.IsValid()
	case event.Close:
		return b.Peer, b.Socket, b.Peer.IsValid() && !b.Inbound
	case event.Send:
		return b.Peer, b.Socket, b.Peer.IsValid() && !b.Inbound
	case event.TLSName:
		return b.Peer, b.Socket, b.Peer.IsValid()
	case event.HTTPExchange:
		return b.Peer, b.Socket, b.Peer.IsValid()
	}
	return peer, 0, false
}

// fetching gives the calls that a connection of OpenClaw's own process, or a
// question for a name, can be made for.
func (g *gateway) fetching(ev event.Event) []*call {
	var fits []*call
	if b, ok := ev.Body.(event.DNSAnswer); ok {
		for _, c := range g.network.fetches {
			if c.host == b.Name && during(c, ev.Time) {
				fits = append(fits, c)
			}
		}
		return fits
	}
	peer, socket, ok := remote(ev.Body)
	if !ok {
		return nil
	}
	addr := peer.Addr().Unmap()
	for _, c := range g.network.fetches {
		if c.port == peer.Port() && during(c, ev.Time) && g.network.reaches(c.host, addr) {
			fits = append(fits, c)
		}
	}
	if socket == 0 {
		return fits
	}
	if len(fits) == 0 {
		return g.network.sockets[socket].calls // its end may come long after the call's
	}
	if _, known := g.network.sockets[socket]; known || len(g.network.sockets) < maxSockets {
		g.network.sockets[socket] = purpose{fits, ev.Time}
	}
	return fits
}

// provider reports whether a peer is a model provider that is configured.
func (g *gateway) provider(peer netip.AddrPort) bool {
	addr := peer.Addr().Unmap()
	return slices.ContainsFunc(g.found.Providers, func(hostport string) bool {
		host, port, err := net.SplitHostPort(hostport)
		if err != nil || port != strconv.Itoa(int(peer.Port())) {
			return false
		}
		if strings.EqualFold(host, "localhost") {
			return addr.IsLoopback()
		}
		return g.network.reaches(strings.ToLower(host), addr)
	})
}

// ownNetwork attributes a connection of OpenClaw's own process, and reports
// whether there was anything to say.
func (e *Engine) ownNetwork(a *event.Attribution, g *gateway, ev event.Event) bool {
	if fits := g.fetching(ev); len(fits) > 0 {
		e.ofCalls(a, g, fits, "tool_host", "named this host and ran at this time", nil)
		return true
	}
	peer, _, ok := remote(ev.Body)
	if !ok || !g.provider(peer) {
		return false
	}
	waiting := make([]*session, 0, len(g.network.waiting))
	for s, since := range g.network.waiting {
		if !since.After(ev.Time.Add(slack)) && ev.Time.Sub(since) < maxWaiting {
			waiting = append(waiting, s)
		}
	}
	why := "a model provider of this gateway"
	switch len(waiting) {
	case 0:
		why += "; no session is known to wait for a model"
	case 1:
		s := waiting[0]
		a.Agent, a.Session, a.SessionKey = s.agent, s.id, s.key
		why += "; only this session waits for a model"
	default:
		why += fmt.Sprintf("; %d sessions wait for a model: %s", len(waiting), sessionNames(waiting))
	}
	a.Evidence = []event.Evidence{{Kind: "model_provider", Detail: why}}
	return true
}

func sessionNames(all []*session) string {
	var names []string
	for _, s := range all {
		names = append(names, s.key)
	}
	slices.Sort(names)
	return strings.Join(names[:min(len(names), maxTold)], ", ")
}
