// Package lineage knows which processes are in a watched tree, for collectors
// that cannot ask the kernel's marks.
//
// It is told who is watched, the children of the watched too, and who ended. The
// dead are kept for half a minute, because what a process did can be read later
// than its end. It reads no clock and starts nothing; its methods may be called
// from several goroutines.
//
// It costs about 100 bytes a process. What it does not see: a child that nobody
// told it of.
package lineage

import (
	"slices"
	"sync"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// keep is how long the dead are known.
const keep = 30 * time.Second

// maxLives bounds the dead of one PID: it takes 32,768 forks to use it again.
const maxLives = 8

// A life is one watched process; end is zero while it lives.
type life struct {
	id  event.ProcID
	end time.Time
}

// A Tree is the watched processes. The zero Tree is ready.
type Tree struct {
	mu    sync.Mutex
	lives map[int32][]life // by PID, oldest first
	dead  []life           // in the order of their end
}

// Add says that a process is watched. It reports whether that is new.
func (t *Tree) Add(id event.ProcID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.ContainsFunc(t.lives[id.PID], func(l life) bool { return l.id == id }) {
		return false
	}
	if t.lives == nil {
		t.lives = map[int32][]life{}
	}
	was := t.lives[id.PID]
	t.lives[id.PID] = append(was[max(0, len(was)-maxLives+1):], life{id: id})
	return true
}

// End says that a process ended.
func (t *Tree) End(id event.ProcID, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lives := t.lives[id.PID]
	for i := range lives {
		if lives[i].id == id && lives[i].end.IsZero() {
			lives[i].end = at
			t.dead = append(t.dead, lives[i])
		}
	}
	t.expire(at)
}

// expire forgets the dead whose time is over.
func (t *Tree) expire(now time.Time) {
	n := 0
	for ; n < len(t.dead) && now.Sub(t.dead[n].end) > keep; n++ {
		d := t.dead[n]
		left := slices.DeleteFunc(t.lives[d.id.PID], func(l life) bool { return l == d })
		if t.lives[d.id.PID] = left; len(left) == 0 {
			delete(t.lives, d.id.PID)
		}
	}
	t.dead = slices.Delete(t.dead, 0, n)
}

// Remove says that a process is watched no more, and never counts.
func (t *Tree) Remove(id event.ProcID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lives[id.PID] = slices.DeleteFunc(t.lives[id.PID], func(l life) bool { return l.id == id }); len(t.lives[id.PID]) == 0 {
		delete(t.lives, id.PID)
	}
}

// Living gives the watched process that has this PID now.
func (t *Tree) Living(pid int32) (event.ProcID, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.living(pid)
}

func (t *Tree) living(pid int32) (event.ProcID, bool) {
	if lives := t.lives[pid]; len(lives) > 0 && lives[len(lives)-1].end.IsZero() {
		return lives[len(lives)-1].id, true
	}
	return event.ProcID{}, false
}

// Has reports whether this very process is, or lately was, watched.
func (t *Tree) Has(id event.ProcID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.lives[id.PID], func(l life) bool { return l.id == id })
}

// Since gives the youngest watched process of this PID that had not ended
// before a moment: what somebody with this PID did after it can be its doing.
func (t *Tree) Since(pid int32, moment time.Time) (event.ProcID, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range slices.Backward(t.lives[pid]) {
		if l.end.IsZero() || !l.end.Before(moment) {
			return l.id, true
		}
	}
	return event.ProcID{}, false
}

// Sync does nothing: a Tree knows what it was told.
func (t *Tree) Sync() {}

// Empty reports whether nobody is watched, nor lately was.
func (t *Tree) Empty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.lives) == 0
}

// All gives the watched processes that live, in the order of their start.
func (t *Tree) All() []event.ProcID {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []event.ProcID
	for pid := range t.lives {
		if id, ok := t.living(pid); ok {
			all = append(all, id)
		}
	}
	slices.SortFunc(all, event.ProcID.Compare)
	return all
}
