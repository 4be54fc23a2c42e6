package attribution

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// disorder is how far a row may lie before one of its session that was read
// already: OpenClaw writes them in order.
const disorder = 2 * time.Second

// A forgery is the times in which processes of tool calls wrote into a gateway's
// records. Rows that can have come then may be anybody's word: those that were read
// since, if the records had not been read to their end after it.
type forgery struct {
	opened map[event.ProcID]*grasp // by execution
	times  []interval
}

// A grasp is when an execution first and last opened the records for writing, and
// how many of its processes may still have them open.
type grasp struct {
	first, last time.Time
	held        int
	database    bool // among them the database
}

// told is how soon it is known whether something was written.
const told = 5 * time.Second

// maxHolding bounds the processes that are known to have records open; what more
// of them have open counts as open for so long.
const (
	maxHolding = 4096
	crowded    = time.Hour
)

// hold notes that a process may have records open for writing.
func (e *Engine) hold(id event.ProcID, o *grasp) {
	all := e.holding[id]
	switch {
	case slices.Contains(all, o):
	case all == nil && len(e.holding) >= maxHolding || len(all) >= maxHolding:
		o.last = e.now.Add(crowded)
	default:
		o.held++
		e.holding[id] = append(all, o)
	}
}

// letGo notes that a process has nothing open any more.
func (e *Engine) letGo(id event.ProcID) {
	for _, o := range e.holding[id] {
		o.held--
		o.seen(e.now)
	}
	delete(e.holding, id)
}

// seen notes that the records were open at a time.
func (o *grasp) seen(at time.Time) {
	if at.After(o.last) {
		o.last = at
	}
}

// grasp gives that of an execution, a new one if it has none. Where there are too
// many, what is over makes room, and then all the others have one together.
func (f *forgery) grasp(root event.ProcID, at, now time.Time) *grasp {
	if f.opened == nil {
		f.opened = map[event.ProcID]*grasp{}
	}
	if f.opened[root] == nil && len(f.opened) >= maxForgeries {
		for other, o := range f.opened {
			if o.open(now) {
				continue
			}
			for i := range f.times {
				if t := &f.times[i]; t.root == other && o.last.After(t.to) {
					t.to = o.last
				}
			}
			delete(f.opened, other)
		}
		if len(f.opened) >= maxForgeries {
			root = event.ProcID{}
		}
	}
	o := f.opened[root]
	if o == nil {
		o = &grasp{first: at}
		f.opened[root] = o
	}
	return o
}

// open reports whether the records may be written to by it, or may have been.
func (o *grasp) open(now time.Time) bool { return o.held > 0 || now.Sub(o.last) <= told }

type interval struct {
	from, to time.Time
	root     event.ProcID
	database bool // that was written to
}

// maxForgeries bounds what is kept; the last interval then lasts.
const maxForgeries = 256

// isTranscript reports whether a file can hold the rows of a gateway's sessions, by
// its name.
func isTranscript(file string) bool {
	dir, name := path.Split(file)
	switch path.Base(dir) {
	case "agent":
		return name == "openclaw-agent.sqlite" || name == "openclaw-agent.sqlite-wal"
	case "sessions":
		return name == "sessions.json" || strings.HasSuffix(name, ".jsonl")
	}
	return false
}

// isDatabase reports whether a transcript is one of the database's files.
func isDatabase(file string) bool { return path.Base(path.Dir(file)) == "agent" }

// touched takes note that a process changed a file. To open a database for
// writing is what every reader of SQLite does; only what is written counts.
func (f *forgery) touched(g *gateway, s *Scope, file string, ev event.Event, e *Engine) {
	if g.found.StateDir == "" || !strings.HasPrefix(file, g.found.StateDir+"/agents/") {
		return
	}
	root := s.exec.root
	if open, ok := ev.Body.(event.FileOpen); ok && !open.Create && !open.Emptied {
		o := f.grasp(root, ev.Time, e.now)
		o.database = o.database || isDatabase(file)
		o.seen(e.now)
		e.hold(ev.Proc, o)
		return
	}
	from := s.exec.started
	if o := f.opened[root]; o != nil {
		from = o.first
	}
	to := ev.Time.Add(lead)
	if n := len(f.times); n > 0 && (f.times[n-1].root == root || n == maxForgeries) {
		f.times[n-1].to = to
		f.times[n-1].database = f.times[n-1].database || isDatabase(file)
	} else {
		f.times = append(f.times, interval{from, to, root, isDatabase(file)})
	}
	e.version++
	for _, x := range e.open {
		if x.origin.gateway == g && x.decided && !x.started.Before(from) {
			e.changed = append(e.changed, x)
		}
	}
}

// doubtful says why a row may not be OpenClaw's; empty: it is. A row of the database
// is in no doubt for what is written into JSON lines.
func (g *gateway) doubtful(c *call) string {
	if c.late {
		return "it lies before rows of its session that had been read already"
	}
	for _, i := range g.forgery.times {
		if c.Database && !i.database {
			continue
		}
		to, o := i.to, g.forgery.opened[i.root]
		if o != nil && o.last.After(to) {
			to = o.last // what is written can be made to count later
		}
		if !c.arrived.Before(i.from.Add(-lead)) && (o != nil && o.held > 0 || !c.unread.After(to)) {
			return fmt.Sprintf("it came while a command (process %d) wrote into OpenClaw's records", i.root.PID)
		}
	}
	for root, o := range g.forgery.opened {
		if c.Database && !o.database {
			continue
		}
		if !c.arrived.Before(o.first.Add(-lead)) && (o.held > 0 || c.unread.Before(o.last.Add(told))) && o.open(g.engine.now) {
			return fmt.Sprintf("it came after a command (process %d) opened OpenClaw's records for writing", root.PID)
		}
	}
	return ""
}
