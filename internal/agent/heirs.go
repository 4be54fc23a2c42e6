package agent

import (
	"cmp"
	"path/filepath"
	"time"

	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/attribution"
	"github.com/clawwatch/clawwatch/internal/event"
)

// fromOutside takes in the facts about processes that came upon a file left behind,
// and gives what is to be said of them instead. taken: the fact was one of these.
func (a *Agent) fromOutside(ev event.Event) (facts []event.Event, taken bool) {
	if h, ok := ev.Body.(event.Heir); ok {
		return a.heir(ev, h), true
	}
	if a.passes(ev) {
		return a.readOn(ev), true
	}
	if facts, taken := a.followStarter(ev); taken {
		return facts, true
	}
	a.noteAsk(ev)
	return nil, false
}

// An encounter is what a look at a process and the file that it came upon gives.
type encounter struct {
	runs    event.Exec
	script  string // that it was given to run, links followed
	other   bool   // the file is another one under the number of the one that was left
	starter bool
}

// encounter looks at both. Where that takes too long, what the sensor told has to
// do: a file can be on a file system of the skill's own.
func (a *Agent) encounter(id event.ProcID, h event.Heir, f event.Left) encounter {
	told := encounter{runs: event.Exec{Comm: h.Comm, Parent: h.Parent, UID: h.UID}}
	if h.Image != nil {
		told.runs = *h.Image
	}
	told.script = scriptFile(told.runs)
	seen := told
	if !a.left.patience.look(func() {
		key, born, _, err := identify(h.Path)
		seen.other = err == nil && is(h.Path, key, h.File) && born != f.Born
		seen.starter = a.isStarter(h.Comm, id)
		p, err := procfs.Read(a.host.Proc, id.PID)
		if err == nil && p.ID == id && (h.Image == nil || p.Path == h.Image.Path) {
			parent, err := procfs.Identify(a.host.Proc, p.ParentPID)
			if err != nil {
				parent = h.Parent
			}
			seen.runs = p.Exec(parent)
			seen.script = scriptFile(seen.runs)
		}
		if real, err := filepath.EvalSymlinks(seen.script); err == nil {
			seen.script = real
		}
	}) {
		return told
	}
	return seen
}

// heir decides what a process that came upon a file left behind is, and gives the
// facts about it in order: none where it only reads the file.
func (a *Agent) heir(ev event.Event, h event.Heir) []event.Event {
	a.left.Lock()
	delete(a.left.passed, ev.Proc)
	a.left.Unlock()
	f, known := a.left.get(h.File)
	if !known {
		return a.passOver(ev.Proc)
	}
	met := a.encounter(ev.Proc, h, f)
	switch {
	case met.other:
		a.left.drop(h.File)
		if w := a.fileWatcher(); w != nil {
			_ = w.UnwatchFile(h.File)
		}
		return a.passOver(ev.Proc)
	case h.Write:
		a.changed(h.File)
		return a.passOver(ev.Proc)
	case met.starter:
		a.heed(ev.Proc, h.File)
		if w := a.sensors.marks(); w != nil {
			_ = w.Watch(ev.Proc) // the first process is told of and not marked; another that is gone starts nobody
		}
		return nil
	}
	act := attribution.ActOn(met.runs, met.script, h)
	if act == attribution.Reads {
		return a.followReader(ev.Proc, h)
	}
	a.stopReading(ev.Proc)
	a.lineage.Add(ev.Proc)
	ran := h.Program
	h.Program, h.Changed, h.Left = act == attribution.Runs, f.Changed, &f
	h.Comm = cmp.Or(met.runs.Comm, h.Comm)
	ev.Body = h
	facts := []event.Event{ev}
	if met.runs.Path != "" && !ran { // else the exec comes by itself
		facts = append(facts, event.Event{Time: ev.Time, Proc: ev.Proc, Source: event.SourceProcfs, Body: met.runs})
	}
	return facts
}

// changed notes that somebody else has changed a file that was left behind.
func (a *Agent) changed(k event.FileKey) {
	a.left.Lock()
	defer a.left.Unlock()
	if f := a.left.files[k]; f != nil && !f.Changed {
		f.Changed = true
		if f.By.Gateway != "" {
			a.left.offer(f.Left)
		}
	}
}

// passOver lets a process go that the sensor has marked. What it still tells of
// it, and of what it forks until then, is left out.
func (a *Agent) passOver(id event.ProcID) []event.Event {
	a.left.Lock()
	a.left.pass(id)
	a.left.Unlock()
	if w := a.sensors.marks(); w != nil {
		_ = w.Unwatch(id) // it is gone
	}
	return nil
}

// pass notes that what a process does is left out.
func (l *leftovers) pass(id event.ProcID) {
	if len(l.passed) >= maxPassing {
		clear(l.passed)
	}
	l.passed[id] = time.Now()
}

// passes reports whether a fact is of a process that was let go, and lets go what
// such a one forked.
func (a *Agent) passes(ev event.Event) bool {
	a.left.Lock()
	if len(a.left.passed) == 0 {
		a.left.Unlock()
		return false
	}
	since, passed := a.left.passed[ev.Proc]
	fork, forked := ev.Body.(event.Fork)
	_, byPassed := a.left.passed[fork.Parent]
	if passed && time.Since(since) > passedFor {
		delete(a.left.passed, ev.Proc)
	}
	a.left.Unlock()
	if forked && byPassed && !passed {
		a.passOver(ev.Proc)
		return true
	}
	return passed
}
