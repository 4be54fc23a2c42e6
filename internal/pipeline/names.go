package pipeline

import (
	"net/netip"
	"slices"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
)

// Bounds on the names that are remembered.
const (
	maxAskers  = 4096 // executions and processes
	maxNamed   = 1024 // addresses of each
	maxAliases = 8    // names of one address
	keepNames  = time.Hour
)

// names remember, for each execution and each process outside of one, by which
// names it was given an address. An address that some other process asked for
// says nothing here: many names share one.
type names map[event.ProcID]*asker

type asker struct {
	last  time.Time
	named map[netip.Addr][]string // latest name last
}

// learn takes in an answer of a name server that the host trusts. Anyone can
// answer from a port 53 of their own.
func (n names) learn(who event.ProcID, b event.DNSAnswer, now time.Time) {
	a := n[who]
	if a == nil {
		if len(n) >= maxAskers {
			return
		}
		a = &asker{named: map[netip.Addr][]string{}}
		n[who] = a
	}
	a.last = now
	for _, addr := range b.Addresses {
		known := slices.DeleteFunc(a.named[addr], func(s string) bool { return s == b.Name })
		if len(known) == 0 && len(a.named) >= maxNamed {
			continue
		}
		a.named[addr] = append(known[max(0, len(known)-maxAliases+1):], b.Name)
	}
}

func (n names) expire(now time.Time) {
	for who, a := range n {
		if now.Sub(a.last) > keepNames {
			delete(n, who)
		}
	}
}

// asker is whose names count for a fact.
func (it *item) asker() event.ProcID {
	if root := it.scope.Execution(); !root.IsZero() {
		return root
	}
	return it.ev.Proc
}

// of gives the names that an address has for whom a fact is about, as far as
// they are known at the time, latest first.
func (n names) of(it *item) []string {
	peer, _ := connection(it.ev.Body)
	a := n[it.asker()]
	if a == nil {
		return nil
	}
	known := slices.Clone(a.named[peer.Addr().Unmap()])
	slices.Reverse(known)
	return known
}

// A claim is a name that a process itself gave its peer. Anyone can say any
// name to anyone, so it never makes a connection approved; it can only speak
// against one.
type claim struct{ name, source string }

// Sources of names.
const (
	byDNS  = "dns"
	bySNI  = "tls_sni"
	byHost = "http_host"
)

// claims are the names that were said on each socket, latest first.
type claims map[uint64]*sayings

type sayings struct {
	names  []claim
	last   time.Time
	closed bool
}

const (
	maxSayings = 16384
	keepClosed = time.Minute // facts of it can still be held back
)

// claimed is the name that is said in a fact itself.
func claimed(body event.Body) (c claim, socket uint64) {
	switch b := body.(type) {
	case event.TLSName:
		return claim{b.Name, bySNI}, b.Socket
	case event.HTTPExchange:
		return claim{b.Host, byHost}, b.Socket
	}
	return claim{}, 0
}

// note takes in what was said, and that a socket is gone.
func (c claims) note(body event.Body, now time.Time) {
	if b, ok := body.(event.Close); ok && c[b.Socket] != nil {
		c[b.Socket].closed, c[b.Socket].last = true, now
		return
	}
	said, socket := claimed(body)
	if said.name == "" || socket == 0 {
		return
	}
	s := c[socket]
	if s == nil {
		if len(c) >= maxSayings {
			return // the fact itself still has its own name
		}
		s = &sayings{}
		c[socket] = s
	}
	rest := slices.DeleteFunc(s.names, func(x claim) bool { return x == said })
	s.names = append([]claim{said}, rest[:min(len(rest), maxAliases-1)]...)
	s.last = now
}

// of gives what was said on a socket so far, what the fact itself says first.
func (c claims) of(socket uint64, body event.Body) []claim {
	own, _ := claimed(body)
	var all []claim
	if own.name != "" {
		all = append(all, own)
	}
	if s := c[socket]; s != nil && socket != 0 {
		for _, x := range s.names {
			if x != own {
				all = append(all, x)
			}
		}
	}
	return all
}

func (c claims) expire(now time.Time) {
	for socket, s := range c {
		if s.closed && now.Sub(s.last) > keepClosed || now.Sub(s.last) > 24*keepNames {
			delete(c, socket)
		}
	}
}

// host gives a connection the name that speaks for it: one that the policy does
// not approve, where there is one, as it can be the one that was meant. asked
// are the names that a name server of the host gave the address for, said those
// that the process gave its peer. A second name, where they differ, is kept
// beside it.
func host(n *event.Network, asked []string, said []claim, a *event.Attribution, view *policy.View) {
	addr, err := netip.ParseAddr(n.PeerAddress)
	if len(asked)+len(said) == 0 || err != nil || n.Direction != "outbound" {
		return
	}
	skill := ""
	if a != nil && a.Skill != nil {
		skill = a.Skill.Name
	}
	names := make([]claim, 0, len(said)+len(asked))
	for _, c := range said {
		if slices.Contains(asked, c.name) {
			c.source = byDNS // and the address is the right one for it
		}
		names = append(names, c)
	}
	for _, name := range asked {
		names = append(names, claim{name, byDNS})
	}
	chosen := names[max(0, slices.IndexFunc(names, func(c claim) bool { return c.source == byDNS }))]
	for _, c := range names {
		if !view.Endpoint(netip.AddrPortFrom(addr, n.PeerPort), c.name, skill) {
			chosen = c
			break
		}
	}
	n.Host, n.HostSource = chosen.name, chosen.source
	others := names[:len(said)] // several names that were asked for are no contradiction
	if chosen.source != byDNS {
		others = names
	}
	if i := slices.IndexFunc(others, func(c claim) bool { return c.name != chosen.name }); i >= 0 {
		n.HostAlso = others[i].name
	}
}

// trusted reports whether an answer came from a name server of the gateway's
// host.
func (p *Pipeline) trusted(it *item, b event.DNSAnswer) bool {
	if g := it.scope.Gateway(); g != nil && slices.Contains(g.Resolvers, b.Server) {
		return true
	}
	return slices.Contains(p.Host.Resolvers, b.Server)
}
