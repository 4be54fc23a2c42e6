package agent

import (
	"slices"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A reader is a process that has read files that were left behind.
type reader struct {
	id    event.ProcID
	comm  string
	uid   uint32
	image *event.Exec // what it has run since
	since time.Time
	read  []event.FileKey
	made  []made
}

// A made is a file that a reader made.
type made struct {
	path string
	file event.FileKey
}

// followReader keeps an eye on a process that has read a file, and lets it go where
// there are too many, or it had its time.
func (a *Agent) followReader(id event.ProcID, h event.Heir) []event.Event {
	l := &a.left
	l.Lock()
	r := l.readers[id]
	if r == nil && len(l.readers) < maxReaders && l.moments[id] < maxMoments {
		if len(l.moments) >= maxPassing {
			clear(l.moments)
		}
		l.moments[id]++
		r = &reader{id: id, comm: h.Comm, uid: h.UID, since: time.Now()}
		l.readers[id] = r
		select {
		case l.begun <- struct{}{}:
		default: // it is awake
		}
	}
	if r != nil {
		if len(r.read) < maxRead && !slices.Contains(r.read, h.File) {
			r.read = append(r.read, h.File)
		}
		l.pass(id)
	}
	l.Unlock()
	if r == nil {
		return a.passOver(id)
	}
	return nil
}

// stopReading forgets a reader that turns out to be an heir.
func (a *Agent) stopReading(id event.ProcID) {
	a.left.Lock()
	defer a.left.Unlock()
	delete(a.left.readers, id)
}

// readOn takes in what a process does that has read a file left behind. It gives what
// is to be said where it acts on such a file after all: while it is marked, the sensor
// does not tell of it as of one from outside.
func (a *Agent) readOn(ev event.Event) []event.Event {
	switch b := ev.Body.(type) {
	case event.FileOpen:
		if b.Attempted || b.PathOnly || b.Directory {
			return nil
		}
		h := event.Heir{File: b.File, Path: b.Path, Write: b.Write && !b.Read}
		if _, known := a.left.get(b.File); known && !b.Create {
			if b.Write {
				a.changed(b.File)
			}
			return a.actsAfterAll(ev, h)
		}
		if (b.Create || b.Emptied) && b.File != (event.FileKey{}) && !b.Unresolved && !b.Truncated {
			a.makes(ev.Proc, made{b.Path, b.File})
		}
	case event.FileRename:
		a.left.Lock()
		defer a.left.Unlock()
		if r := a.left.readers[ev.Proc]; r != nil {
			for i := range r.made {
				if r.made[i].path == b.Old {
					r.made[i].path = b.New
				}
			}
		}
	case event.Exec:
		a.left.Lock()
		if r := a.left.readers[ev.Proc]; r != nil {
			r.image = &b
		}
		a.left.Unlock()
		h := event.Heir{File: event.FileKey{Dev: b.File.Dev, Inode: b.File.Inode}, Path: b.Path, Program: true, Comm: b.Comm, Parent: b.Parent, UID: b.UID}
		if _, known := a.left.get(h.File); known {
			return a.actsAfterAll(ev, h)
		}
	case event.Exit:
		a.left.Lock()
		defer a.left.Unlock()
		if r := a.left.readers[ev.Proc]; r != nil {
			a.left.end(r)
		}
	}
	return nil
}

// actsAfterAll looks once more at a process that was only seen to read.
func (a *Agent) actsAfterAll(ev event.Event, h event.Heir) []event.Event {
	a.left.Lock()
	if r := a.left.readers[ev.Proc]; r != nil && !h.Program {
		h.Comm, h.UID, h.Image = r.comm, r.uid, r.image
	}
	a.left.Unlock()
	if h.Write {
		return nil
	}
	facts := a.heir(event.Event{Time: ev.Time, Proc: ev.Proc, Source: ev.Source, Body: h}, h)
	if len(facts) == 0 {
		return nil
	}
	a.mark(ev.Proc)
	return append(facts, ev)
}

func (a *Agent) makes(id event.ProcID, m made) {
	a.left.Lock()
	defer a.left.Unlock()
	if r := a.left.readers[id]; r != nil && len(r.made) < maxMade {
		r.made = append(r.made, m)
	}
}

// end has what a reader made looked at.
func (l *leftovers) end(r *reader) {
	delete(l.readers, r.id)
	if len(r.made) == 0 {
		return
	}
	select {
	case l.ended <- r:
	default:
		l.missed.Add(uint64(len(r.made)))
	}
}

// letGo lets those readers go that had their moment, and reports whether there are
// others.
func (a *Agent) letGo(now time.Time) (more bool) {
	a.left.Lock()
	var over []event.ProcID
	for id, r := range a.left.readers {
		if now.Sub(r.since) < reading {
			more = true
			continue
		}
		over = append(over, id)
		a.left.end(r)
	}
	a.left.Unlock()
	for _, id := range over {
		a.passOver(id)
		if a.lineage.Has(id) { // an heir, in this moment
			a.left.Lock()
			delete(a.left.passed, id)
			a.left.Unlock()
			a.mark(id)
		}
	}
	return more
}

// mark has a process followed that may have been let go.
func (a *Agent) mark(id event.ProcID) {
	if w := a.sensors.marks(); w != nil {
		_ = w.Watch(id) // it is gone
	}
}
