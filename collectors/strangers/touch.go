package strangers

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/collectors/fanotify"
	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// Bounds of what is remembered.
const (
	maxTouches   = 8192 // files of all processes
	maxOfOne     = 256  // files that one process only read
	maxAncestors = 32
)

// An actor is a process that touched something.
type actor struct {
	pid    int32
	id     event.ProcID // Start is 0: it was gone before it could be looked at
	exec   event.Exec
	agent  bool           // it runs the agent's own program: a verb of it
	above  []event.ProcID // its ancestors, parent first
	moment time.Time      // it lived then, or later
	seen   time.Time
	reads  int // files reported that it only read
}

// A touch is what one process did to one file since it was last reported.
type touch struct {
	who   *actor
	path  string
	from  string // rename
	dir   *dir
	mask  uint64
	first time.Time
	told  uint64    // operations that were reported
	until time.Time // and are not reported again before
}

type touchKey struct {
	who        *actor
	path, from string
}

// touches are what was done lately. The zero value is ready.
type touches struct {
	actors map[int32]*actor
	all    map[touchKey]*touch
	fresh  int // touches that are not reported yet
	lost   uint64
}

// reuse is how soon a PID is not yet another process's: it takes 32,768 forks.
const reuse = time.Second

// actor gives who did it. The descriptor of the process proves that what /proc
// says is said of it: while it is not reaped, nobody else has its PID. One that
// has ended is the one that lived a moment before.
func (t *touches) actor(proc fs.FS, a fanotify.Act, moment, now time.Time) *actor {
	if known := t.actors[a.PID]; known != nil {
		id, err := procfs.Identify(proc, a.PID)
		gone := err != nil || known.id.Start == 0 && a.Pidfd < 0
		if err == nil && id == known.id || gone && now.Sub(known.seen) < reuse {
			known.seen = now
			return known
		}
	}
	who := &actor{pid: a.PID, id: event.ProcID{PID: a.PID}, moment: moment, seen: now}
	if a.Pidfd >= 0 && a.PID > 0 {
		who.look(proc, a.Pidfd)
	}
	if t.actors == nil {
		t.actors = map[int32]*actor{}
	}
	t.actors[a.PID] = who
	return who
}

func (who *actor) look(proc fs.FS, pidfd int) {
	p, err := procfs.Read(proc, who.pid)
	if err != nil || errors.Is(unix.PidfdSendSignal(pidfd, 0, nil, 0), unix.ESRCH) {
		return
	}
	who.id = p.ID
	for pid := p.ParentPID; pid > 0 && len(who.above) < maxAncestors; {
		up, err := procfs.Parent(proc, pid)
		if err != nil {
			break
		}
		who.above = append(who.above, up.ID)
		pid = up.ParentPID
	}
	var parent event.ProcID
	if len(who.above) > 0 {
		parent = who.above[0]
	}
	who.exec = p.Exec(parent)
	who.agent = runsAgent(proc, who.pid)
}

// runsAgent compares the files themselves: with mounts of its own, anybody can
// give a program the agent's path.
func runsAgent(proc fs.FS, pid int32) bool {
	theirs, err := fs.Stat(proc, fmt.Sprintf("%d/exe", pid))
	if err != nil {
		return false
	}
	mine, err := os.Stat("/proc/self/exe")
	return err == nil && os.SameFile(theirs, mine)
}

// mine reports whether the process belongs to OpenClaw after all.
func (who *actor) mine(l collectors.Lineage) bool {
	if who.id.Start == 0 {
		_, ok := l.Since(who.pid, who.moment)
		return ok
	}
	return l.Has(who.id) || slices.ContainsFunc(who.above, l.Has)
}

// add notes a touch. False: there are too many.
func (t *touches) add(who *actor, n touch) bool {
	if t.all == nil {
		t.all = map[touchKey]*touch{}
	}
	key := touchKey{who, n.path, n.from}
	known := t.all[key]
	if known == nil {
		if len(t.all) >= maxTouches {
			return false
		}
		n.who = who
		t.all[key] = &n
		t.fresh++
		return true
	}
	if known.mask == 0 {
		known.first = n.first
		t.fresh++
	}
	known.mask |= n.mask
	return true
}

// report emits what strangers did hold ago, in the order in which they did it.
func (c *Collector) report(now time.Time, emit func(event.Event)) {
	var due []*touch
	for key, t := range c.touches.all {
		switch {
		case t.mask != 0 && now.Sub(t.first) >= hold:
			due = append(due, t)
		case t.mask == 0 && now.After(t.until):
			delete(c.touches.all, key)
		}
	}
	slices.SortFunc(due, func(a, b *touch) int { return a.first.Compare(b.first) })
	c.touches.fresh -= len(due)
	said := map[*actor]bool{}
	for _, t := range due {
		if t.who.mine(c.lineage) || t.who.agent {
			delete(c.touches.all, touchKey{t.who, t.path, t.from})
			continue
		}
		bodies := t.bodies(c.proc, now)
		if t.only(bodies) && t.who.reads > maxOfOne {
			c.touches.lost++
			bodies = nil
		}
		if len(bodies) > 0 && !said[t.who] && t.who.id.Start != 0 {
			said[t.who] = true
			emit(t.event(t.who.exec))
		}
		for _, b := range bodies {
			emit(t.event(b))
		}
		t.mask, t.until = 0, t.first.Add(again)
	}
	c.touches.forget(now)
	if c.touches.lost > 0 {
		emit(event.Event{Time: now, Source: event.SourceFanotify, Body: event.Lost{
			Of: event.KindFileOpen, Count: c.touches.lost, Cause: fmt.Sprintf("more than %d files of OpenClaw touched by one process, or %d by all", maxOfOne, maxTouches),
		}})
		c.touches.lost = 0
	}
}

func (t *touch) event(b event.Body) event.Event {
	id := t.who.id
	if t.who.pid <= 0 {
		id = event.ProcID{}
	}
	return event.Event{Time: t.first, Proc: id, Source: event.SourceFanotify, Body: b, Stranger: true, Gateway: t.dir.gateway}
}

// only reports whether it is no more than reading something that is not by
// itself a prize: an indexer, or a backup.
func (t *touch) only(bodies []event.Body) bool {
	open, ok := event.FileOpen{}, false
	if len(bodies) == 1 {
		open, ok = bodies[0].(event.FileOpen)
	}
	if !ok || open.Write || open.Create {
		return false
	}
	if t.dir.level == 0 || strings.HasPrefix(filepath.Base(t.path), "auth") {
		return false
	}
	t.who.reads++
	return true
}

// bodies gives what was done since the last report. A file that was made or
// written is not reported as written again, one that was only opened is looked
// up among the open files of the process.
func (t *touch) bodies(proc fs.FS, now time.Time) []event.Body {
	var out []event.Body
	directory := t.mask&unix.FAN_ONDIR != 0
	add := func(op uint64, b event.Body) {
		if t.mask&op != 0 && t.told&op == 0 {
			t.told |= op
			out = append(out, b)
		}
	}
	if now.After(t.until) {
		t.told = 0
	}
	add(unix.FAN_RENAME, event.FileRename{Old: t.from, New: t.path})
	add(unix.FAN_CREATE, event.FileOpen{Path: t.path, Write: true, Create: true, Directory: directory})
	add(unix.FAN_MOVED_TO, event.FileOpen{Path: t.path, Write: true, Create: true, Directory: directory})
	if !directory {
		if t.mask&(unix.FAN_OPEN|unix.FAN_CLOSE) == unix.FAN_OPEN {
			t.mask |= fanotify.OpenMode(proc, t.who.id, t.path)
		}
		if t.told&unix.FAN_CREATE == 0 {
			add(unix.FAN_CLOSE_WRITE, event.FileOpen{Path: t.path, Write: true})
		}
		add(unix.FAN_CLOSE_NOWRITE, event.FileOpen{Path: t.path, Read: true})
	}
	add(unix.FAN_DELETE, event.FileDelete{Path: t.path, Directory: directory})
	add(unix.FAN_MOVED_FROM, event.FileDelete{Path: t.path, Directory: directory})
	return out
}

// forget drops actors of whom nothing is remembered.
func (t *touches) forget(now time.Time) {
	used := map[*actor]bool{}
	for key := range t.all {
		used[key.who] = true
	}
	maps.DeleteFunc(t.actors, func(_ int32, who *actor) bool { return !used[who] && now.Sub(who.seen) > hold })
}
