package pipeline

import (
	"github.com/clawwatch/clawwatch/internal/attribution"
	"github.com/clawwatch/clawwatch/internal/event"
)

// leave tells what a fact left behind: at once, so that it is watched, and again
// when it is known for whom. OpenClaw's own writes count where a tool call asked
// for them.
func (p *Pipeline) leave(it *item, a *event.Attribution) {
	byTool := it.scope.Role().ByTool()
	if !byTool && (a == nil || a.ToolCall == "") {
		return
	}
	l, ok := p.engine.Leaves(it.scope, it.ev)
	switch {
	case !ok:
		return
	case l.How == event.LeftNoMore:
		if a != nil {
			return
		}
	case byTool && !p.engine.Remembers(l):
		return
	}
	if a != nil {
		l.By = p.engine.LeftBy(l, *a)
		l.By.Evidence = attribution.Chain(l.By.Evidence)
		if !byTool {
			p.engine.Observe(event.Event{Time: it.ev.Time, Body: l})
		}
	}
	if p.Leave != nil {
		p.Leave(l)
	}
}
