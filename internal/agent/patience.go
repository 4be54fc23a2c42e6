package agent

import (
	"sync/atomic"
	"time"
)

// A patience looks at what others can make wait for ever: a file on a file system of
// theirs. Whoever asks goes on after a moment, and is not told.
type patience struct{ stuck atomic.Int32 }

const (
	maxPatience = 100 * time.Millisecond
	maxStuck    = 8 // looks that wait; then nothing is looked at
)

// look reports whether f has ended in time. If not, nothing that it sets may be used.
func (p *patience) look(f func()) bool {
	if p.stuck.Add(1) > maxStuck {
		p.stuck.Add(-1)
		return false
	}
	done := make(chan struct{})
	go func() {
		defer p.stuck.Add(-1)
		f()
		close(done)
	}()
	limit := time.NewTimer(maxPatience)
	defer limit.Stop()
	select {
	case <-done:
		return true
	case <-limit.C:
		return false
	}
}
