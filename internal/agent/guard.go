package agent

import (
	"os"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// self is this process; zero where /proc does not tell.
func self() event.ProcID {
	id, _ := procfs.Identify(os.DirFS("/proc"), int32(os.Getpid()))
	return id
}

// guardSelf has it reported what anybody does to the agent, as far as it lives
// to tell.
func (a *Agent) guardSelf() { a.guard(self()) }

// guard has it reported what anybody, watched or not, does to a process.
func (a *Agent) guard(id event.ProcID) {
	g, ok := a.sensors.marks().(collectors.Guardian)
	if !ok || id.IsZero() {
		return
	}
	if err := g.Guard(id); err != nil {
		a.log.Warn("guard process", "pid", id.PID, "error", err)
	}
}

func (a *Agent) unguard(id event.ProcID) {
	if g, ok := a.sensors.marks().(collectors.Guardian); ok {
		if err := g.Unguard(id); err != nil {
			a.log.Warn("unguard process", "pid", id.PID, "error", err)
		}
	}
}
