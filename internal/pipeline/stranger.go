package pipeline

import (
	"fmt"

	"github.com/clawwatch/clawwatch/internal/event"
)

// stranger takes in what a process outside of every tree did. Who it is comes
// first, as a snapshot, and is part of the records of what it did. Such a process
// is known for the grace of the dead only: its end is not told.
func (p *Pipeline) stranger(ev event.Event) {
	if x, ok := ev.Body.(event.Exec); ok {
		p.table.Exec(ev.Proc, x)
		p.table.Exit(ev.Proc, p.now)
		return
	}
	p.writers.note(ev, nil, p.gatewayOf(ev, nil), p.now)
	p.hold(p.newItem(ev, nil))
}

// attribute answers for a fact. A stranger acts for nobody, and for no skill
// that is known; to whose gateway it did something is. Somebody unknown acts for
// whoever it may be.
func (p *Pipeline) attribute(it *item) *event.Attribution {
	if !it.ev.Stranger && it.ev.Proc.IsZero() && it.ev.Gateway != "" {
		return &event.Attribution{Gateway: it.ev.Gateway, Confidence: event.None, Evidence: []event.Evidence{
			{Kind: "unknown_process", Detail: "done to a file of that gateway; who did it was not seen"},
		}}
	}
	if !it.ev.Stranger {
		return p.engine.Attribute(it.scope, it.ev)
	}
	gateway, kind, how := p.concerned(it.ev)
	if gateway == "" {
		return nil
	}
	return &event.Attribution{Gateway: gateway, Confidence: event.None, Evidence: []event.Evidence{
		{Kind: kind, Detail: how + "; the process that did it descends from none of OpenClaw's"},
	}}
}

// concerned gives the gateway that a stranger did something to, and how that is
// known.
func (p *Pipeline) concerned(ev event.Event) (gateway, kind, how string) {
	switch b := ev.Body.(type) {
	case event.Skill:
		return b.Gateway, "skill_root", "changed a skill that this gateway can load"
	case event.Connect:
		port := b.Peer.Port()
		return p.doors[port], "gateway_port", fmt.Sprintf("connected to port %d, where that gateway is reached", port)
	case event.Access:
		if g := p.engine.Scope(b.Target).Gateway(); g != nil {
			return g.ID, "target", fmt.Sprintf("done to process %d of that gateway", b.Target.PID)
		}
	}
	return ev.Gateway, "place", "done to a file of that gateway"
}
