package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/clawwatch/clawwatch/collectors/orders"
	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// Starters are services that start others on the word of files: cron, systemd. One
// that comes upon a file left behind is no heir itself, nor is most of what it
// starts. It is marked all the same, so that what it starts can be looked at: the
// one that does what the file says is an heir, and the others are let go.

// A starter is such a service, or what it has forked and what runs nothing else yet.
type starter struct {
	files map[event.FileKey]bool
	until time.Time // it was summoned until then (handover.go); zero: it was not
}

// A word is an order that a file gives.
type word struct {
	file  event.FileKey
	path  string
	order orders.Order
	alone bool // the file gives no other
}

// maxStarters bounds how many are followed, with what they have forked.
const maxStarters = 4096

// isStarter reports whether a process is one, and not somebody's who calls himself so:
// its program has the name, is root's, and nobody else can write to it.
func (a *Agent) isStarter(comm string, id event.ProcID) bool {
	if !orders.Starter(comm) {
		return false
	}
	exe := fmt.Sprintf("%s/%d/exe", a.host.ProcPath, id.PID)
	if program, err := os.Readlink(exe); err != nil || filepath.Base(program) != comm {
		return false
	}
	fi, err := os.Stat(exe)
	if err != nil {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && st.Uid == 0 && fi.Mode()&0o022 == 0
}

// heed notes that a starter takes its orders from a file.
func (a *Agent) heed(id event.ProcID, k event.FileKey) {
	a.left.Lock()
	defer a.left.Unlock()
	s := a.left.starters[id]
	if s == nil {
		if len(a.left.starters) >= maxStarters {
			a.left.missed.Add(1)
			return
		}
		s = &starter{files: map[event.FileKey]bool{}}
		a.left.starters[id] = s
	}
	s.files[k] = true
}

// findStarters has the starters that run already followed, for the files that they
// have read before the agent started.
func (a *Agent) findStarters() {
	var files []event.Left
	for _, k := range a.left.keys() {
		if f, ok := a.left.get(k); ok && orders.Kept(f.Path) {
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		return
	}
	w := a.sensors.marks()
	if w == nil {
		return
	}
	a.eachStarter(func(id event.ProcID, _ string) {
		for _, f := range files {
			a.heed(id, f.File)
		}
		if err := w.Watch(id); err != nil {
			a.log.Warn("watch what starts others", "pid", id.PID, "error", err)
		}
	})
}

// eachStarter calls do for every starter that runs.
func (a *Agent) eachStarter(do func(event.ProcID, string)) {
	pids, err := procfs.PIDs(a.host.Proc)
	if err != nil {
		a.log.Warn("look for what starts others", "error", err)
		return
	}
	for _, pid := range pids {
		comm, err := procfs.Comm(a.host.Proc, pid)
		if err != nil || !orders.Starter(comm) {
			continue
		}
		id, err := procfs.Identify(a.host.Proc, pid)
		starts := false // its program can be on a file system that makes us wait
		if err == nil && a.left.patience.look(func() { starts = a.isStarter(comm, id) }) && starts {
			do(id, comm)
		}
	}
}

// followStarter takes in the facts about starters and what they fork. It gives what is to be
// said instead, and whether the fact was one of these.
func (a *Agent) followStarter(ev event.Event) (facts []event.Event, taken bool) {
	a.left.Lock()
	if len(a.left.starters) == 0 {
		a.left.Unlock()
		return nil, false
	}
	s := a.left.starters[ev.Proc]
	fork, forked := ev.Body.(event.Fork)
	if parent := a.left.starters[fork.Parent]; forked && s == nil && parent != nil && len(a.left.starters) < maxStarters {
		a.left.starters[ev.Proc] = parent
		a.left.Unlock()
		return nil, true
	}
	a.left.Unlock()
	if s == nil {
		return nil, false
	}
	if a.dismissed(ev.Proc, ev.Time) {
		return a.passOver(ev.Proc), true
	}
	switch b := ev.Body.(type) {
	case event.Exit:
		a.forgetStarter(ev.Proc)
		a.passOver(ev.Proc) // what it did to files is told later
	case event.FileDelete:
		a.left.removed(b.Path) // a unit of somebody's asking
	case event.FileOpen:
		if _, ok := a.left.get(b.File); ok && b.Read {
			a.heed(ev.Proc, b.File)
		}
	case event.Exec:
		if orders.Passing(b.Path) || b.Snapshot {
			return nil, true
		}
		facts = a.lateHeirs(a.findUnits(ev.Time))
		a.forgetStarter(ev.Proc)
		h, ok := a.starts(s, ev, b)
		if !ok {
			a.passOver(ev.Proc)
			return facts, true
		}
		a.lineage.Add(ev.Proc)
		return append(facts, event.Event{Time: ev.Time, Proc: ev.Proc, Source: ev.Source, Body: h}, ev), true
	}
	return nil, true
}

func (a *Agent) forgetStarter(id event.ProcID) {
	a.left.Lock()
	defer a.left.Unlock()
	delete(a.left.starters, id)
}

// starts says on which order a starter has started a process.
func (a *Agent) starts(s *starter, ev event.Event, x event.Exec) (event.Heir, bool) {
	if w, ok := a.obeyed(s, ev.Proc, x); ok {
		f, _ := a.left.get(w.file)
		return heirOf(w, f, x), true
	}
	return a.bygone(ev, x)
}

// obeyed gives the order that an exec follows.
func (a *Agent) obeyed(s *starter, id event.ProcID, x event.Exec) (word, bool) {
	a.left.Lock()
	keys := make([]event.FileKey, 0, len(s.files))
	for k := range s.files {
		keys = append(keys, k)
	}
	a.left.Unlock()
	for _, k := range keys {
		for _, w := range a.ordersOf(k) {
			if w.order.Obeys(x) && a.ofUnit(id, w) {
				return w, true
			}
		}
	}
	return word{}, false
}

// ordersOf reads the orders of a file, anew where it has changed.
func (a *Agent) ordersOf(k event.FileKey) []word {
	f, ok := a.left.get(k)
	if !ok {
		return nil
	}
	c, fresh := a.left.words[k], words{}
	if !a.left.patience.look(func() { fresh = read(f.Path, c) }) || fresh.modified.IsZero() {
		return nil
	}
	if fresh.modified.Equal(c.modified) {
		return c.words
	}
	if fresh.cut {
		a.say(event.Lost{Of: event.KindHeir, Count: 1, Cause: "a file left behind gives more orders than are read"})
	}
	for i := range fresh.words {
		fresh.words[i].file = k
	}
	if len(a.left.words) >= maxStarters {
		clear(a.left.words)
	}
	a.left.words[k] = fresh
	return fresh.words
}

// words are the orders of a file as it was at one time. They are read by the
// sensor's goroutine alone.
type words struct {
	modified time.Time
	words    []word
	cut      bool // there are more
}

// read gives the orders of a file, or what they were, if it has not changed.
func read(path string, were words) words {
	fi, err := os.Lstat(path)
	if err != nil {
		return words{}
	}
	if fi.ModTime().Equal(were.modified) {
		return were
	}
	all, cut, err := orders.Read(path)
	if err != nil {
		return words{}
	}
	now := words{modified: fi.ModTime(), cut: cut}
	for _, o := range all {
		now.words = append(now.words, word{path: path, order: o, alone: len(all) == 1 && !cut})
	}
	return now
}
