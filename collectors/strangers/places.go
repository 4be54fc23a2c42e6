package strangers

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/collectors/fanotify"
	"github.com/clawwatch/clawwatch/collectors/rootfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// Bounds of what is marked.
const (
	maxDirs    = 8192
	maxLevels  = 8
	maxEntries = 4096 // looked at in one directory
	maxRoots   = 1024
)

// opening is what is asked for besides changes of names. Reads and writes are
// not: a database in use makes thousands a second.
const opening = unix.FAN_OPEN | unix.FAN_CLOSE_WRITE | unix.FAN_CLOSE_NOWRITE

// A root is a directory of OpenClaw's that is marked with what is below it. It
// need not exist yet.
type root struct {
	place   rootfs.Place // in which its path is
	gateway string
	names   bool // it is a workspace: only the files that tell an agent who it is, and none below
}

// A dir is a marked directory.
type dir struct {
	root
	path   string
	handle fanotify.Handle
	level  int
}

// agentFiles are what an agent reads of its workspace before anything else.
var agentFiles = []string{
	"AGENTS.md", "SOUL.md", "IDENTITY.md", "USER.md", "TOOLS.md", "MEMORY.md", "memory.md", "HEARTBEAT.md",
	"BOOT.md", "BOOTSTRAP.md", "CLAUDE.md", "SKILL.md",
}

// matters reports whether a name in the directory is anybody's concern: in a
// workspace an agent's work lies beside what it is.
func (d *dir) matters(name string) bool {
	return !d.names || slices.Contains(agentFiles, name) || strings.HasPrefix(name, ".env") || name == "skills" || name == "memory"
}

// A spot is a path on the host, or in a container.
type spot struct {
	mount uint32
	path  string
}

func (d *dir) spot() spot { return spot{d.place.Mount, d.path} }

// places are the marked directories.
type places struct {
	group  *fanotify.Group
	dirs   map[fanotify.Handle]*dir
	byPath map[spot]*dir
	roots  map[spot]root
	said   map[string]bool // complaints that were made
	errs   []event.Coverage
}

// follow marks what belongs to a gateway. What came with OpenClaw's package is
// left out: whoever may change it is root, or the package manager.
func (p *places) follow(g event.GatewayFound) {
	add := func(path string, r root) {
		r.place = rootfs.Place{Root: g.Root, Mount: g.Mount}
		at := spot{g.Mount, path}
		if _, known := p.roots[at]; !known && path != "" && path != "/" && len(p.roots) < maxRoots {
			p.roots[at] = r
		}
	}
	for _, w := range g.Workspaces {
		add(w, root{gateway: g.ID, names: true})
		add(filepath.Join(w, "memory"), root{gateway: g.ID})
	}
	for _, s := range g.SkillRoots {
		if !strings.Contains(s, "/node_modules/") {
			add(s, root{gateway: g.ID})
		}
	}
	add(g.StateDir, root{gateway: g.ID})
	p.rescan()
}

// rescan marks what is not yet marked.
func (p *places) rescan() {
	for at, r := range p.roots {
		p.markRoot(at, r)
	}
}

func (p *places) markRoot(at spot, r root) {
	in, err := r.place.Open()
	if errors.Is(err, fs.ErrNotExist) { // its container has ended, and does not come back with these mounts
		delete(p.roots, at)
		p.forget(at)
		return
	}
	path := at.path
	fd := -1
	if err == nil {
		fd, err = openDirectory(in, path)
		_ = in.Close() // it was only read
	}
	if err != nil {
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			p.complain(path, err.Error())
		}
		return
	}
	p.mark(fd, &dir{root: r, path: path})
}

// openDirectory opens a directory by an absolute path. In a container links lead to
// places in it, and no further.
func openDirectory(in *rootfs.Root, path string) (int, error) {
	if in == nil {
		return fanotify.OpenDirectory(unix.AT_FDCWD, path)
	}
	f, err := in.OpenFile(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err != nil {
		return -1, err
	}
	defer f.Close()
	return fanotify.OpenDirectory(int(f.Fd()), ".")
}

// skipped are directories below which nothing is anybody's concern.
var skipped = []string{"node_modules", ".git", "__pycache__", "cache", "tmp"}

// mark marks an open directory and those below it, and closes it.
func (p *places) mark(fd int, d *dir) {
	f := os.NewFile(uintptr(fd), d.path)
	defer f.Close()
	h, err := fanotify.HandleOf(fd)
	if err == nil && p.dirs[h] == nil {
		if len(p.dirs) >= maxDirs {
			p.complain(d.gateway, fmt.Sprintf("more than %d directories", maxDirs))
			return
		}
		err = p.group.MarkDirectory(fd, opening)
	}
	if err != nil {
		p.complain(d.gateway, fmt.Sprintf("%s: %v", d.path, err))
		return
	}
	if known := p.dirs[h]; known != nil {
		if known.place.Mount != d.place.Mount {
			return // the host and a container share it: who was first has it
		}
		delete(p.byPath, known.spot()) // it may have moved
	}
	d.handle = h
	p.dirs[h], p.byPath[d.spot()] = d, d
	if d.names {
		return
	}
	entries, err := f.ReadDir(maxEntries)
	if err != nil && !errors.Is(err, io.EOF) {
		p.complain(d.gateway, fmt.Sprintf("%s: %v", d.path, err))
	}
	if len(entries) == maxEntries {
		p.complain(d.gateway, fmt.Sprintf("%s: more than %d entries", d.path, maxEntries))
	}
	for _, e := range entries {
		path := filepath.Join(d.path, e.Name())
		if _, other := p.roots[spot{d.place.Mount, path}]; other || !e.IsDir() || slices.Contains(skipped, e.Name()) {
			continue
		}
		if d.level == maxLevels {
			p.complain(d.gateway, fmt.Sprintf("%s: more than %d levels", path, maxLevels))
			return
		}
		if below, err := fanotify.OpenDirectory(fd, e.Name()); err == nil { // else it went, or leads out
			p.mark(below, &dir{root: d.root, path: path, level: d.level + 1})
		}
	}
}

// of gives the path of a name in a marked directory. Nil: it is not marked.
func (p *places) of(h fanotify.Handle, name string) (string, *dir) {
	d := p.dirs[h]
	if d == nil {
		return "", nil
	}
	if name == "" || name == "." {
		return d.path, d
	}
	return d.path + "/" + name, d
}

// changed keeps up with directories that come, move and go. path is empty where
// it went out of what is marked, from where it came into it; in and out are the
// marked directories of the two.
func (p *places) changed(mask uint64, path, from string, in, out *dir) {
	at := func(d *dir, path string) spot {
		if d == nil {
			return spot{}
		}
		return spot{d.place.Mount, path}
	}
	if mask&(unix.FAN_DELETE|unix.FAN_MOVED_FROM) != 0 {
		p.forget(at(in, path))
	}
	if mask&unix.FAN_RENAME != 0 && from != "" {
		p.forget(at(out, from))
	}
	if path == "" || mask&(unix.FAN_CREATE|unix.FAN_RENAME|unix.FAN_MOVED_TO) == 0 || slices.Contains(skipped, filepath.Base(path)) {
		return
	}
	if r, ok := p.roots[at(in, path)]; ok {
		p.markRoot(at(in, path), r)
		return
	}
	parent := p.byPath[at(in, filepath.Dir(path))]
	if parent == nil || parent.names || parent.level >= maxLevels {
		return // the rescan complains
	}
	root, err := parent.place.Open()
	if err != nil {
		return // its container has ended
	}
	defer root.Close()                                    //nolint:errcheck // it was only read
	if fd, err := openDirectory(root, path); err == nil { // else it went already
		p.mark(fd, &dir{root: parent.root, path: path, level: parent.level + 1})
	}
}

// forget lets go a directory and those below it: their marks are of no use, and
// go with them.
func (p *places) forget(gone spot) {
	if p.byPath[gone] == nil {
		return
	}
	for at, d := range p.byPath {
		if at.mount == gone.mount && (at.path == gone.path || strings.HasPrefix(at.path, gone.path+"/")) {
			delete(p.dirs, d.handle)
			delete(p.byPath, at)
		}
	}
}

// maxComplaints bounds what is said of a hostile tree.
const maxComplaints = 64

// complain says once that something is not seen.
func (p *places) complain(about, reason string) {
	if p.said[reason] || len(p.said) >= maxComplaints {
		return
	}
	p.said[reason] = true
	p.errs = append(p.errs, event.Coverage{
		Probe: Name, Kinds: Kinds(), Fidelity: collectors.Sampled.String(),
		Reason: fmt.Sprintf("what strangers do is not seen everywhere: %s: %s", about, reason),
	})
}

func (p *places) complaints() []event.Coverage {
	errs := p.errs
	p.errs = nil
	return errs
}
