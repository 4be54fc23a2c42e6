package agent

import (
	"errors"
	"io/fs"
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
	if id.IsZero() {
		return
	}
	for _, g := range a.guardians() {
		if err := g.Guard(id); err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.log.Warn("guard process", "pid", id.PID, "error", err)
		}
	}
}

// guardians are the sensor, for what a process does to another one, and what sees
// strangers, for files in /proc.
func (a *Agent) guardians() (all []collectors.Guardian) {
	for _, c := range []any{a.sensors.marks(), a.strangers} {
		if g, ok := c.(collectors.Guardian); ok {
			all = append(all, g)
		}
	}
	return all
}

func (a *Agent) unguard(id event.ProcID) {
	for _, g := range a.guardians() {
		if err := g.Unguard(id); err != nil {
			a.log.Warn("unguard process", "pid", id.PID, "error", err)
		}
	}
}
