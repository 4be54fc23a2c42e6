package ebpf

import (
	"slices"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

const (
	endWithin   = 500 * time.Millisecond // the end of a request is waited for
	maxRequests = 4096
)

// An asked is what io_uring was asked to do, and whose end was not told yet.
type asked struct {
	event event.Event
	at    time.Time
}

// requests are those under way, by their address in the kernel, which serves one
// request at a time. The zero value is ready.
type requests map[uint64]asked

// begin holds what was asked for. It gives back one that had to make room.
func (r *requests) begin(id uint64, e event.Event, now time.Time) (event.Event, bool) {
	if *r == nil {
		*r = requests{}
	}
	before, ok := (*r)[id]
	if !ok && len(*r) >= maxRequests {
		return attempted(e), true
	}
	(*r)[id] = asked{event: e, at: now}
	return attempted(before.event), ok
}

// end gives what was asked for, if it succeeded.
func (r requests) end(id uint64, result int32) (event.Event, bool) {
	q, ok := r[id]
	delete(r, id)
	return q.event, ok && result >= 0
}

// drop forgets a request of which another record tells more.
func (r requests) drop(id uint64) {
	if id != 0 {
		delete(r, id)
	}
}

// expire gives what was asked for and has no end that was told; at the zero
// time, all.
func (r requests) expire(now time.Time) []event.Event {
	var all []event.Event
	for id, q := range r {
		if now.IsZero() || now.Sub(q.at) > endWithin {
			delete(r, id)
			all = append(all, attempted(q.event))
		}
	}
	slices.SortFunc(all, func(a, b event.Event) int { return a.Time.Compare(b.Time) })
	return all
}

// attempted marks an event as one of which it is not known whether it came
// about.
func attempted(e event.Event) event.Event {
	switch b := e.Body.(type) {
	case event.FileOpen:
		b.Attempted = true
		e.Body = b
	case event.FileRename:
		b.Attempted = true
		e.Body = b
	case event.FileDelete:
		b.Attempted = true
		e.Body = b
	case event.FileLink:
		b.Attempted = true
		e.Body = b
	case event.FileAttr:
		b.Attempted = true
		e.Body = b
	case event.FileTruncate:
		b.Attempted = true
		e.Body = b
	}
	return e
}
