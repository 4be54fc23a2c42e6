package attribution

import (
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// disorder is how far a row may lie before one of its session that was read
// already: OpenClaw writes them in order.
const disorder = 2 * time.Second

// A forgery is the times in which processes of tool calls wrote into a gateway's
// records. Rows that came then may be anybody's word.
type forgery struct {
	opened map[event.ProcID]*grasp // by execution
	times  []interval
}

// A grasp is when an execution first and last opened the records for writing.
type grasp struct{ first, last time.Time }

// told is how soon it is known whether something was written.
const told = 5 * time.Second

type interval struct {
	from, to time.Time
	root     event.ProcID
}

// maxForgeries bounds what is kept; the last interval then lasts.
const maxForgeries = 256

// isTranscript reports whether a file holds the rows of a gateway's sessions.
func isTranscript(state, file string) bool {
	if !strings.HasPrefix(file, state+"/agents/") {
		return false
	}
	name := path.Base(file)
	return name == "openclaw-agent.sqlite" || name == "openclaw-agent.sqlite-wal"
}

// touched takes note that a process changed a file. To open a database for
// writing is what every reader of SQLite does; only what is written counts.
func (f *forgery) touched(g *gateway, s *Scope, file string, ev event.Event, e *Engine) {
	if s.role != event.RoleTool || g.found.StateDir == "" || !isTranscript(g.found.StateDir, file) {
		return
	}
	if f.opened == nil {
		f.opened = map[event.ProcID]*grasp{}
	}
	root := s.exec.root
	if open, ok := ev.Body.(event.FileOpen); ok && !open.Create && !open.Emptied {
		if o := f.opened[root]; o != nil {
			o.last = e.now
		} else if len(f.opened) < maxForgeries {
			f.opened[root] = &grasp{ev.Time, e.now} // the row may have been read before this was told
		}
		return
	}
	from := s.exec.started
	if o := f.opened[root]; o != nil {
		from = o.first
	}
	to := e.now.Add(time.Second)
	if n := len(f.times); n > 0 && (f.times[n-1].root == root || n == maxForgeries) {
		f.times[n-1].to = to
	} else {
		f.times = append(f.times, interval{from, to, root})
	}
	e.version++
	for _, x := range e.open {
		if x.origin.gateway == g && x.decided && !x.started.Before(from) {
			e.changed = append(e.changed, x)
		}
	}
}

// doubtful says why a row may not be OpenClaw's; empty: it is.
func (g *gateway) doubtful(c *call) string {
	if c.late {
		return "it lies before rows of its session that had been read already"
	}
	for _, i := range g.forgery.times {
		if !c.arrived.Before(i.from) && !c.arrived.After(i.to) {
			return fmt.Sprintf("it came while a command (process %d) wrote into OpenClaw's records", i.root.PID)
		}
	}
	for root, o := range g.forgery.opened {
		if !c.arrived.Before(o.first) && c.arrived.Before(o.last.Add(told)) && g.engine.now.Sub(o.last) <= told {
			return fmt.Sprintf("it came after a command (process %d) opened OpenClaw's records for writing", root.PID)
		}
	}
	return ""
}
