package procfs

import (
	"io/fs"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Snapshot gives an Exec with Snapshot set for one process. The error is
// fs.ErrNotExist where it is gone, or another one has its PID.
func Snapshot(proc fs.FS, id event.ProcID) (event.Exec, error) {
	p, err := Read(proc, id.PID)
	if err != nil {
		return event.Exec{}, err
	}
	if p.ID != id {
		return event.Exec{}, fs.ErrNotExist
	}
	parent, err := Identify(proc, p.ParentPID)
	if err != nil {
		parent = event.ProcID{} // it has none, or was left by it
	}
	return p.Exec(parent), nil
}
