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
	var peer netip.AddrPort
	switch b := it.ev.Body.(type) {
	case event.Connect:
		peer = b.Peer
	case event.Close:
		peer = b.Peer
	default:
		return nil
	}
	a := n[it.asker()]
	if a == nil {
		return nil
	}
	known := slices.Clone(a.named[peer.Addr().Unmap()])
	slices.Reverse(known)
	return known
}

// host gives a connection the name that its address was asked for by. Where
// there are several, one that the policy does not approve speaks for the
// address: it can be the one that was meant.
func host(n *event.Network, known []string, a *event.Attribution, view *policy.View) {
	addr, err := netip.ParseAddr(n.PeerAddress)
	if len(known) == 0 || err != nil || n.Direction != "outbound" {
		return
	}
	skill := ""
	if a != nil && a.Skill != nil {
		skill = a.Skill.Name
	}
	n.Host, n.HostSource = known[0], "dns"
	for _, name := range known {
		if !view.Endpoint(netip.AddrPortFrom(addr, n.PeerPort), name, skill) {
			n.Host = name
			return
		}
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
