package pipeline

import (
	"slices"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Bounds on what is kept for amendments: the first facts of the latest
// executions.
const (
	maxGiven      = 64  // executions
	maxGivenItems = 256 // facts of each
)

// given are facts that went out and can still be amended.
type given struct {
	items map[event.ProcID][]*item
	order []event.ProcID
}

func (g *given) keep(root event.ProcID, it *item) {
	items, known := g.items[root]
	if !known {
		if g.order = append(g.order, root); len(g.order) > maxGiven {
			delete(g.items, g.order[0])
			g.order = g.order[1:]
		}
	}
	if len(items) < maxGivenItems {
		g.items[root] = append(items, it)
	}
}

// amend gives out once more, under the same IDs, what went out before it was
// known whose it is, or when that seemed surer than it is.
func (p *Pipeline) amend(root event.ProcID) {
	var found []*finding
	for _, it := range p.given.items[root] {
		a := p.attribute(it)
		rec := p.record(it, a, p.view(it.scope, a))
		rec.Amended = true
		p.stats.Records++
		p.stats.Amended++
		p.Sink.Record(rec)
		for _, f := range it.found {
			if f.root != root {
				continue // another execution speaks for it by now
			}
			f.alert.Attribution = rec.Attribution
			if !slices.Contains(found, f) {
				found = append(found, f)
			}
		}
	}
	for _, f := range found {
		p.giveAgain(f)
	}
}
