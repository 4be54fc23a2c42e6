package agent

import (
	"context"
	"os"
	"time"

	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

// Bounds on what is looked for in the agent's own records when it starts.
const (
	remindTime    = 3 * time.Second
	remindOne     = 200 * time.Millisecond // for one process: the number of a gateway's ancestor is in every record
	remindRecords = 64                     // of one process number
)

// remind watches again what tool calls had left behind, and goes on by itself,
// when the agent was stopped. No variable and no parent tells any more whose such
// a process is; that it is the same one as in the agent's records is sure, by
// its number and the tick in which it began. It is done before anything else is
// looked for, as what is known of a process first is what counts.
func (a *Agent) remind(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, remindTime)
	defer cancel()
	proc := os.DirFS("/proc")
	orphans, booted, err := procfs.Left(proc)
	if err != nil {
		a.log.Warn("look for what was left behind", "error", err)
		return
	}
	known := map[event.ProcID]*event.Attribution{}
	var roots []event.ProcID
	for _, id := range orphans {
		if at := a.remembered(ctx, id, booted); at != nil {
			known[id] = at
			roots = append(roots, id)
		}
	}
	if ctx.Err() != nil {
		a.log.Warn("look for what was left behind: gave up", "after", remindTime, "processes", len(orphans))
	}
	if len(roots) == 0 {
		return
	}
	left, err := procfs.Trees(proc, roots)
	if err != nil {
		a.log.Warn("look for what was left behind", "error", err)
	}
	for _, ev := range left {
		x, ok := ev.Body.(event.Exec)
		if !ok || a.watch(ev.Proc) != nil {
			continue // gone, or logged
		}
		x.Known = known[ev.Proc]
		ev.Body = x
		a.emit(ev)
	}
}

// remembered is what the agent recorded of a process of a tool call, or nil.
func (a *Agent) remembered(ctx context.Context, id event.ProcID, booted time.Time) *event.Attribution {
	ctx, cancel := context.WithTimeout(ctx, remindOne)
	defer cancel()
	n := 0
	for r, err := range a.store.Events(ctx, store.Query{PID: id.PID, Since: booted}) {
		if n++; err != nil || n > remindRecords {
			return nil
		}
		p := r.Process
		if p == nil || p.PID != id.PID || p.StartTime != id.Start || r.Kind == event.KindExit {
			continue
		}
		if p.Role != event.RoleTool || r.Attribution == nil || r.Attribution.Gateway == "" {
			return nil
		}
		return r.Attribution
	}
	return nil
}
