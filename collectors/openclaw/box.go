package openclaw

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/collectors/rootfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// A box is what a process has of its own where its mounts are not the host's. The
// zero box is the host.
type box struct {
	place     rootfs.Place
	network   uint32 // 0: the host's
	container string // as its cgroup is named; "": it is not
	user      bool   // its users are its own, too: anybody can have made it
}

func boxOf(proc fs.FS, procPath string, p procfs.Process) (box, error) {
	var b box
	if at, err := fs.ReadLink(proc, fmt.Sprintf("%d/root", p.ID.PID)); err == nil && at != "/" {
		return b, errors.New("its root directory is not that of its mounts: its paths are not what the kernel says")
	}
	b.network = foreign(proc, p.ID.PID, "net")
	mount := foreign(proc, p.ID.PID, "mnt")
	if mount == 0 {
		return b, nil
	}
	b.place = rootfs.Place{Root: filepath.Join(procPath, strconv.Itoa(int(p.ID.PID)), "root"), Mount: mount}
	b.container, b.user = p.ContainerID, foreign(proc, p.ID.PID, "user") != 0
	return b, nil
}

// foreign gives the namespace of a process where that is not the host's, and 0
// where it is, or is not to be seen. The host's are those of process 1, or ours
// where that is hidden. Our own are no measure where a service manager took rights
// to write from us by mounts.
func foreign(proc fs.FS, pid int32, kind string) uint32 {
	ours, err := fs.ReadLink(proc, "1/ns/"+kind)
	if err != nil {
		ours, err = fs.ReadLink(proc, "self/ns/"+kind)
	}
	theirs, err2 := fs.ReadLink(proc, fmt.Sprintf("%d/ns/%s", pid, kind))
	if err != nil || err2 != nil || ours == theirs {
		return 0
	}
	n, _ := strconv.ParseUint(strings.Trim(strings.TrimPrefix(theirs, kind), ":[]"), 10, 32)
	return uint32(n)
}

// id names the gateway with this state directory: by the directory, and in a
// container by that, too, as the same path is another directory there. A service
// that was given mounts of its own by root, among them the host's own state
// directory, is one of the host: the name then outlives a restart of it.
func (b box) id(r *rootfs.Root, state string) string {
	switch {
	case b.container != "":
		return b.container[:min(len(b.container), 12)] + ":" + state
	case b.place.Mount == 0:
		return state
	}
	here, err := os.Lstat(state)
	there, err2 := r.Lstat(state)
	if err == nil && err2 == nil && !b.user && os.SameFile(here, there) {
		return state
	}
	return fmt.Sprintf("mnt-%d:%s", b.place.Mount, state)
}

// A holder is the process that has the name of a gateway in a container.
type holder struct {
	proc      event.ProcID
	mount     uint32
	uid       uint32
	container string
}

const maxHolders = 1024

// nameFor keeps the gateways of two containers apart. What a container is called is
// said by its cgroup, and who may write to cgroups can take another's name: a name
// stays with the first user that had it, and with the mounts of who has it now. The
// second to come has its mounts in its name, for as long as it lives.
func (c *Collector) nameFor(id event.ProcID, g event.GatewayFound) string {
	if g.Mount == 0 || !strings.HasSuffix(g.ID, ":"+g.StateDir) {
		return g.ID
	}
	if was := c.known[id]; was != nil && was.found.Mount == g.Mount && was.found.StateDir == g.StateDir && was.found.ID != g.ID {
		return was.found.ID
	}
	now := holder{id, g.Mount, g.UID, g.ContainerID}
	has, known := c.holders[g.ID]
	lives := known && c.known[has.proc] != nil
	switch {
	case !known && len(c.holders) >= maxHolders, known && (has.uid != now.uid || has.container != now.container), lives && has.mount != now.mount:
		return fmt.Sprintf("%s@%d:%s", strings.TrimSuffix(g.ID, ":"+g.StateDir), g.Mount, g.StateDir)
	case !lives:
		c.holders[g.ID] = now
	}
	return g.ID
}

// at reaches the state directory from here: by its path, or in a container through
// an open descriptor of it, which nothing done there can lead elsewhere. It is held
// while its gateway lives, and for the moment until its last records are read.
func (s *state) at(g event.GatewayFound) error {
	if g.Root == "" {
		if s.pin == nil {
			s.setDir(g.StateDir)
		}
		return nil
	}
	place := rootfs.Place{Root: g.Root, Mount: g.Mount}
	root, err := place.Open()
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // it was only read
	pin, err := root.OpenFile(g.StateDir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	now, err := pin.Stat()
	if err == nil && !mayUse(now, g.UID) {
		err = fmt.Errorf("%s: %w", g.StateDir, errStranger)
	}
	if err != nil {
		return errors.Join(err, pin.Close())
	}
	if s.pin != nil {
		if was, err := s.pin.Stat(); err == nil && os.SameFile(was, now) && s.mount == g.Mount {
			return pin.Close()
		}
	}
	s.release()
	s.pin, s.mount = pin, g.Mount
	s.setDir(pin.Name())
	return nil
}

// release closes the descriptor, if there is one. The state is not to be read then.
func (s *state) release() {
	if s.pin == nil {
		return
	}
	_ = s.pin.Close() // it was only read
	s.pin = nil
	s.setDir(os.DevNull)
}

// reached is how an open directory is reached from here, which says nothing to anybody.
var reached = regexp.MustCompile(`/proc/self/fd/\d+`)

func (s *state) setDir(dir string) {
	s.dir = dir
	for _, r := range s.agents {
		r.dir = dir
	}
}
