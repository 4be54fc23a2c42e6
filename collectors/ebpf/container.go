package ebpf

import (
	"os"

	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// groups are the cgroups of a process, and the mount namespace that it sees them
// from: same numbers, same container.
type groups struct {
	v2, all uint64
	mnt     uint32
}

const maxContainers = 4096

// containers remembers which container a set of cgroups belongs to. The first
// process of each costs three small reads of /proc.
type containers map[groups]string

// of gives the container's ID; "" where there is none, or where the process was
// gone before it could be asked, which is not remembered.
func (c containers) of(g groups, procPath string, id event.ProcID) string {
	if known, ok := c[g]; ok {
		return known
	}
	proc := os.DirFS(procPath)
	container, err := procfs.Container(proc, id.PID)
	if now, err2 := procfs.Identify(proc, id.PID); err != nil || err2 != nil || now != id {
		return ""
	}
	if len(c) >= maxContainers {
		clear(c)
	}
	c[g] = container
	return container
}
