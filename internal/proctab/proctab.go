// Package proctab knows the processes of the watched trees, living and lately
// dead.
//
// A process is kept while it lives, while a child of it lives, and for a grace
// period after that, because the kernel reports some facts of a process (the
// totals of its sockets) after its end. The number of dead ones kept is
// bounded, so a storm of short processes costs a bounded amount of memory.
//
// The table is driven: it starts nothing and reads no clock.
package proctab

import (
	"container/list"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A Proc is one process. Its fields are what the last exec, or the fork, said.
type Proc struct {
	ID            event.ProcID
	Parent        event.ProcID
	Comm          string
	Path          string
	Args          []string
	ArgsTruncated bool
	Cwd           string
	UID           uint32
	Image         *event.Exec       // the last exec, as it was told; nil: none was seen
	Creds         *event.Creds      // nil: not known but for UID
	Namespaces    *event.Namespaces // nil: not known, or the agent's
	ScriptSHA256  string            // of the script that Image was given; "": not known
	Exited        time.Time         // zero: alive

	// Shown is how records show this image of the process. The pipeline makes it
	// once, and an exec resets it. What it points to does not change.
	Shown *event.Process

	children int           // those not in Table.dead
	dead     *list.Element // place in Table.dead
}

// Limits bound what is kept of the dead.
type Limits struct {
	Grace time.Duration // kept this long after the end at least, unless Dead is reached
	Dead  int           // at most so many dead
}

// DefaultLimits suit 10,000 living processes.
var DefaultLimits = Limits{Grace: 2 * time.Minute, Dead: 16384}

// A Table holds processes by their ID. The zero Table is not ready: use New.
type Table struct {
	limits Limits
	procs  map[event.ProcID]*Proc
	byPID  map[int32]event.ProcID // the youngest process of a PID
	dead   *list.List             // of *Proc, oldest end first
	forget func(event.ProcID)
	latest time.Time // of the ends seen
}

// New makes an empty table. forget, if not nil, is called with each process
// that leaves it.
func New(limits Limits, forget func(event.ProcID)) *Table {
	if forget == nil {
		forget = func(event.ProcID) {}
	}
	return &Table{
		limits: limits, forget: forget,
		procs: map[event.ProcID]*Proc{}, byPID: map[int32]event.ProcID{}, dead: list.New(),
	}
}

// Get returns the process, or nil.
func (t *Table) Get(id event.ProcID) *Proc { return t.procs[id] }

// ByPID returns the youngest process known under a PID, or nil.
func (t *Table) ByPID(pid int32) *Proc { return t.procs[t.byPID[pid]] }

// Len is the number of processes kept.
func (t *Table) Len() int { return len(t.procs) }

// Fork enters a child, with the image of its parent.
func (t *Table) Fork(id event.ProcID, b event.Fork) *Proc {
	p := t.enter(id, b.Parent)
	p.UID, p.Comm = b.UID, b.Comm
	if parent := t.procs[b.Parent]; parent != nil && p.Path == "" {
		p.Path, p.Args, p.ArgsTruncated, p.Cwd = parent.Path, parent.Args, parent.ArgsTruncated, parent.Cwd
		p.Image, p.Creds, p.Namespaces, p.ScriptSHA256 = parent.Image, parent.Creds, parent.Namespaces, parent.ScriptSHA256
	}
	return p
}

// Exec gives a process its image, and enters it if it is new.
func (t *Table) Exec(id event.ProcID, b event.Exec) *Proc {
	p := t.enter(id, b.Parent)
	p.Path, p.Args, p.ArgsTruncated, p.Cwd, p.UID, p.Comm = b.Path, b.Args, b.ArgsTruncated, b.Cwd, b.UID, b.Comm
	b.EnvNames = nil // long, and of no use later
	p.Image, p.Creds, p.Namespaces, p.ScriptSHA256 = &b, b.Creds, b.Namespaces, ""
	p.Shown = nil
	return p
}

// Become notes other credentials, and reports whether they are others.
func (t *Table) Become(id event.ProcID, c event.Creds) bool {
	p := t.procs[id]
	if p == nil || p.Creds != nil && *p.Creds == c {
		return p == nil
	}
	p.Creds, p.UID, p.Shown = &c, c.UID, nil
	return true
}

// Enter notes other namespaces.
func (t *Table) Enter(id event.ProcID, n event.Namespaces) {
	if p := t.procs[id]; p != nil {
		p.Namespaces, p.Shown = &n, nil
	}
}

// enter finds or makes the process. The parent of a known process stays what it
// was first seen to be: reparenting to init does not change who made it.
func (t *Table) enter(id, parent event.ProcID) *Proc {
	if p := t.procs[id]; p != nil {
		return p
	}
	p := &Proc{ID: id, Parent: parent}
	t.procs[id] = p
	if old, ok := t.byPID[id.PID]; !ok || old.Start <= id.Start {
		if q := t.procs[old]; q != nil && q.Exited.IsZero() && old != id {
			q.Exited = t.latest // its PID is taken: its end was lost
			t.bury(q)
		}
		t.byPID[id.PID] = id
	}
	if q := t.procs[parent]; q != nil {
		q.children++
		t.revive(q)
	}
	return p
}

// revive takes a dead process with a living child out of the queue of those
// that may be forgotten.
func (t *Table) revive(p *Proc) {
	for ; p != nil && p.dead != nil; p = t.procs[p.Parent] {
		t.dead.Remove(p.dead)
		p.dead = nil
		if parent := t.procs[p.Parent]; parent != nil {
			parent.children++
		}
	}
}

// Exit notes the end of a process and forgets what the limits no longer allow.
func (t *Table) Exit(id event.ProcID, at time.Time) {
	p := t.procs[id]
	if p == nil || !p.Exited.IsZero() {
		return
	}
	p.Exited, t.latest = at, at
	t.bury(p)
	t.Expire(at)
}

// bury queues a dead process without living children, and its dead ancestors
// that have none left.
func (t *Table) bury(p *Proc) {
	for p != nil && !p.Exited.IsZero() && p.children == 0 && p.dead == nil {
		p.dead = t.dead.PushBack(p)
		parent := t.procs[p.Parent]
		if parent == nil {
			return
		}
		parent.children--
		p = parent
	}
}

// Expire forgets the dead whose grace is over.
func (t *Table) Expire(now time.Time) {
	for e := t.dead.Front(); e != nil; e = t.dead.Front() {
		p := e.Value.(*Proc)
		if t.dead.Len() <= t.limits.Dead && now.Sub(p.Exited) < t.limits.Grace {
			return
		}
		t.dead.Remove(e)
		delete(t.procs, p.ID)
		if t.byPID[p.ID.PID] == p.ID {
			delete(t.byPID, p.ID.PID)
		}
		t.forget(p.ID)
	}
}

// Ancestors returns the chain above a process, parent first, at most max long.
func (t *Table) Ancestors(id event.ProcID, max int) []*Proc {
	var up []*Proc
	for p := t.procs[id]; p != nil && len(up) < max; {
		p = t.procs[p.Parent]
		if p == nil {
			break
		}
		up = append(up, p)
	}
	return up
}
