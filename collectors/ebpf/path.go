package ebpf

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

const (
	maxCached     = 4096
	resolveCached = 0x20 // RESOLVE_CACHED: fail rather than wait for a file system
)

// A change is a rename, unlink, rmdir or mkdir before its paths are made.
type change struct {
	kind      sensorKind
	mntNS     uint32
	tid       int32
	names     [2]place // old and, for a rename, new
	truncated bool
}

// A place is a name as the caller gave it.
type place struct {
	text string // the caller's
	dir  string // absolute, without links: what text is relative to; "/" where text is absolute
}

// body makes the paths, following the links of directories as the kernel did.
func (c *change) body(r *resolver, id event.ProcID) event.Body {
	first := r.resolve(c.names[0], c.mntNS, id.PID)
	truncated := c.truncated || c.names[0].text == ""
	switch c.kind {
	case sensorKindKIND_RENAME:
		second := r.resolve(c.names[1], c.mntNS, id.PID)
		return event.FileRename{Old: first, New: second, Truncated: truncated || c.names[1].text == ""}
	case sensorKindKIND_MKDIR:
		return event.FileOpen{Path: first, Create: true, Directory: true, TID: c.tid, Truncated: truncated}
	default:
		return event.FileDelete{Path: first, Directory: c.kind == sensorKindKIND_RMDIR, Truncated: truncated}
	}
}

// parent splits a place into the directory that holds the name, uncleaned, and
// the name. direct: the directory is known to be without links.
func (p place) parent() (dir, base string, direct bool) {
	text := strings.TrimRight(p.text, "/")
	i := strings.LastIndexByte(text, '/')
	base = text[i+1:]
	switch {
	case i < 0:
		return p.dir, base, true
	case strings.HasPrefix(text, "/"):
		return text[:i+1], base, false
	default:
		return p.dir + "/" + text[:i], base, false
	}
}

// A resolver follows symbolic links of directories, in the mount namespace of
// the process that named them. It reads what the kernel has in memory and
// nothing else, so that no file system can hold it up; where that does not do,
// or the directory is gone, the path stays as it was written, cleaned. That is
// also so for a link that was first followed within the clock tick in which it
// was made: its access time is due, and that may not be written from memory.
type resolver struct {
	procPath string
	root     int    // the root directory of hostNS
	hostNS   uint32 // the mount namespace of process 1, or ours where that is hidden
	known    map[directory]string
}

type directory struct {
	mntNS uint32
	path  string
}

func newResolver(procPath string) (*resolver, error) {
	for _, pid := range []string{"1", "self"} {
		ns, err := namespace(filepath.Join(procPath, pid), "mnt")
		if err != nil {
			continue
		}
		root, err := unix.Open(filepath.Join(procPath, pid, "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		return &resolver{procPath: procPath, root: root, hostNS: ns, known: map[directory]string{}}, nil
	}
	return nil, fmt.Errorf("open root directory: nothing to read in %s", procPath)
}

func (r *resolver) close() error { return unix.Close(r.root) }

// forget drops what was learned; links change.
func (r *resolver) forget() { clear(r.known) }

// resolve gives the absolute path of a place. Its last component is not
// followed.
func (r *resolver) resolve(p place, mntNS uint32, pid int32) string {
	dir, base, direct := p.parent()
	if base == "." || base == ".." {
		return path.Clean(dir + "/" + base)
	}
	if !direct {
		key := directory{mntNS, dir}
		real, ok := r.known[key]
		if !ok {
			real = r.follow(dir, mntNS, pid)
			if len(r.known) < maxCached {
				r.known[key] = real
			}
		}
		dir = real
	}
	return path.Join(dir, base)
}

func (r *resolver) follow(dir string, mntNS uint32, pid int32) string {
	clean := path.Clean(dir)
	root := r.root
	if mntNS != r.hostNS {
		at := filepath.Join(r.procPath, strconv.Itoa(int(pid)))
		if ns, err := namespace(at, "mnt"); err != nil || ns != mntNS {
			return clean // gone
		}
		fd, err := unix.Open(filepath.Join(at, "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return clean
		}
		defer unix.Close(fd)
		root = fd
	}
	fd, err := openCached(root, dir)
	if err != nil {
		return clean
	}
	defer unix.Close(fd)
	real, err := os.Readlink(filepath.Join(r.procPath, "self/fd", strconv.Itoa(fd)))
	if err != nil || !strings.HasPrefix(real, "/") || strings.HasSuffix(real, " (deleted)") {
		return clean
	}
	return real
}

// openCached opens a directory below root, which absolute links and ".." do not
// leave. The kernel refuses ".." while anything on the host is renamed, and what
// it has not in memory, with the same error.
func openCached(root int, dir string) (int, error) {
	for tries := 1; ; tries++ {
		fd, err := unix.Openat2(root, dir, &unix.OpenHow{
			Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_IN_ROOT | resolveCached,
		})
		if err != unix.EAGAIN || tries == 8 {
			return fd, err
		}
	}
}

// namespace gives the inode number of a process's namespace of that kind; at is
// its directory in /proc.
func namespace(at, kind string) (uint32, error) {
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(at, "ns", kind), &st); err != nil {
		return 0, err
	}
	return uint32(st.Ino), nil
}
