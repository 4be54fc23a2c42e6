package pipeline

import (
	"container/list"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A queue holds the facts of one execution, or of one OpenClaw process.
type queue struct {
	key   event.ProcID
	items []*item
}

// facing is how long a fact waits for somebody to look at the process behind it.
const facing = 300 * time.Millisecond

// hold queues an item behind those of its execution, or lets it go at once.
func (p *Pipeline) hold(it *item) {
	key := it.scope.Execution()
	if key.IsZero() {
		key = it.ev.Proc
	}
	e := p.queues[key]
	if e == nil {
		if p.engine.Settled(it.scope, it.ev, it.arrived) && !p.faceless(it) {
			p.finish(it)
			return
		}
		e = p.order.PushBack(&queue{key: key})
		p.queues[key] = e
	}
	q := e.Value.(*queue)
	q.items = append(q.items, it)
	p.held++
	for p.held > p.MaxHeld {
		before := p.held
		p.release(p.order.Front(), true)
		p.stats.Overflowed += uint64(before - p.held)
	}
}

// release lets go the settled facts at the head of a queue, or all of it.
func (p *Pipeline) release(e *list.Element, all bool) {
	q := e.Value.(*queue)
	n := 0
	for n < len(q.items) && (all || p.engine.Settled(q.items[n].scope, q.items[n].ev, q.items[n].arrived) && !p.faceless(q.items[n])) {
		p.finish(q.items[n])
		q.items[n] = nil
		n++
	}
	p.held -= n
	if q.items = q.items[n:]; len(q.items) == 0 {
		p.order.Remove(e)
		delete(p.queues, q.key)
	}
}

// faceless reports whether a fact is about a process of which nothing is known
// yet: the kernel marks one that takes OpenClaw's name before anybody has looked
// at it.
func (p *Pipeline) faceless(it *item) bool {
	if it.image != nil || it.ev.Stranger || it.ev.Proc.IsZero() || p.now.Sub(it.arrived) >= facing {
		return false
	}
	return !p.known(it.ev.Proc)
}
