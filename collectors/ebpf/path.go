package ebpf

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

const (
	maxCached     = 4096
	maxMagic      = 8    // links of /proc one behind the other
	resolveCached = 0x20 // RESOLVE_CACHED: fail rather than wait for a file system
)

// A change is anything done to a file by its name, before its paths are made.
type change struct {
	kind      sensorKind
	mntNS     uint32
	tid       int32
	names     [2]place // the second: of a rename or link, or a text
	attribute sensorAttribute
	value     [2]uint32
	exchange  bool
	uring     bool
	truncated bool
}

// A place is a name as the caller gave it.
type place struct {
	text    string // the caller's
	dir     string // absolute, without links: what text is relative to; "/" where text is absolute
	follow  bool   // the last component too, where it is a link
	object  bool   // dir is the file itself: the caller had it open
	written string // text, with any beginning that the kernel side has resolved
}

// body makes the paths, following the links of directories as the kernel did.
func (c *change) body(r *resolver, id event.ProcID) event.Body {
	first, sure := r.resolve(c.names[0], c.mntNS, id.PID)
	truncated := c.truncated || c.names[0].text == "" && !c.names[0].object
	doubt := event.FileDoubt{Unresolved: !sure, IOUring: c.uring}
	switch c.kind {
	case sensorKindKIND_RENAME, sensorKindKIND_LINK:
		second, sure := r.resolve(c.names[1], c.mntNS, id.PID)
		truncated = truncated || c.names[1].text == ""
		doubt.Unresolved = doubt.Unresolved || !sure
		if c.kind == sensorKindKIND_LINK {
			return event.FileLink{Path: second, Old: first, Truncated: truncated, FileDoubt: doubt}
		}
		return event.FileRename{Old: first, New: second, Exchange: c.exchange, Truncated: truncated, FileDoubt: doubt}
	case sensorKindKIND_SYMLINK:
		return event.FileLink{Path: first, Target: c.names[1].text, Symbolic: true, Truncated: truncated, FileDoubt: doubt}
	case sensorKindKIND_MKDIR, sensorKindKIND_MKNOD:
		return event.FileOpen{
			Path: first, Create: true, Directory: c.kind == sensorKindKIND_MKDIR, TID: c.tid, Truncated: truncated, FileDoubt: doubt,
		}
	case sensorKindKIND_ASKED:
		return c.open(first, truncated, doubt)
	case sensorKindKIND_TRUNCATE:
		return event.FileTruncate{Path: first, Truncated: truncated, FileDoubt: doubt}
	case sensorKindKIND_ATTR:
		name, value := c.attr()
		return event.FileAttr{Path: first, Attribute: name, Value: value, Truncated: truncated, FileDoubt: doubt}
	default:
		return event.FileDelete{Path: first, Directory: c.kind == sensorKindKIND_RMDIR, Truncated: truncated, FileDoubt: doubt}
	}
}

// open is what io_uring was asked to open, by the flags of that.
func (c *change) open(path string, truncated bool, doubt event.FileDoubt) event.FileOpen {
	flags := int(c.value[0])
	b := event.FileOpen{
		Path: path, Requested: requested(c.names[0].written, path), TID: c.tid, Truncated: truncated, FileDoubt: doubt,
		Directory: flags&unix.O_DIRECTORY != 0, Emptied: flags&unix.O_TRUNC != 0, PathOnly: flags&unix.O_PATH != 0,
	}
	if !b.PathOnly {
		b.Read = flags&unix.O_ACCMODE != unix.O_WRONLY
		b.Write = flags&unix.O_ACCMODE != unix.O_RDONLY
	}
	return b
}

// attr is which attribute was changed, and to what.
func (c *change) attr() (event.Attribute, string) {
	switch c.attribute {
	case sensorAttributeATTR_MODE:
		return event.AttrMode, fmt.Sprintf("%04o", c.value[0]&0o7777)
	case sensorAttributeATTR_OWNER:
		return event.AttrOwner, fmt.Sprintf("%d:%d", int32(c.value[0]), int32(c.value[1]))
	case sensorAttributeATTR_TIMES:
		return event.AttrTimes, ""
	case sensorAttributeATTR_XATTR:
		return event.AttrXattr, c.names[1].text
	case sensorAttributeATTR_XATTR_REMOVED:
		return event.AttrXattrRemoved, c.names[1].text
	default:
		return event.AttrFlags, ""
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
	pidNS    uint32 // ours
	known    map[directory]string
}

type directory struct {
	mntNS uint32
	path  string
}

func newResolver(procPath string) (*resolver, error) {
	pidNS, err := namespace(filepath.Join(procPath, "self"), "pid")
	if err != nil {
		return nil, fmt.Errorf("read PID namespace: %w", err)
	}
	for _, pid := range []string{"1", "self"} {
		ns, err := namespace(filepath.Join(procPath, pid), "mnt")
		if err != nil {
			continue
		}
		root, err := unix.Open(filepath.Join(procPath, pid, "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		return &resolver{procPath: procPath, root: root, hostNS: ns, pidNS: pidNS, known: map[directory]string{}}, nil
	}
	return nil, fmt.Errorf("open root directory: nothing to read in %s", procPath)
}

func (r *resolver) close() error { return unix.Close(r.root) }

// forget drops what was learned; links change.
func (r *resolver) forget() { clear(r.known) }

// resolve gives the absolute path of a place. Its last component is not
// followed, unless the call did that. False: links could not be followed, and
// the path stands as it was written.
func (r *resolver) resolve(p place, mntNS uint32, pid int32) (string, bool) {
	if p.object {
		return p.dir, true
	}
	dir, base, direct := p.parent()
	if p.follow || base == "." || base == ".." {
		return r.look(dir+"/"+base, mntNS, pid)
	}
	if direct {
		return path.Join(dir, base), true
	}
	real, ok := r.look(dir, mntNS, pid)
	return path.Join(real, base), ok
}

// look gives the real path of what a path leads to.
func (r *resolver) look(name string, mntNS uint32, pid int32) (string, bool) {
	name, ok := r.magic(name, pid)
	if !ok {
		return path.Clean(name), false
	}
	key := directory{mntNS, name}
	if real, ok := r.known[key]; ok {
		return real, true
	}
	real, ok := r.follow(name, mntNS, pid)
	if ok && len(r.known) < maxCached {
		r.known[key] = real
	}
	return real, ok
}

// magic replaces a beginning like /proc/self/cwd by what it stands for in the
// process that named it: there it would be ours. False: the process is gone.
func (r *resolver) magic(name string, pid int32) (string, bool) {
	self := strconv.Itoa(int(pid))
	for range maxMagic {
		parts := slices.DeleteFunc(strings.Split(name, "/"), func(s string) bool { return s == "" || s == "." })
		if len(parts) < 2 || parts[0] != "proc" {
			return name, true
		}
		own := parts[1] == "self" || parts[1] == "thread-self"
		if own {
			parts[1] = self
		}
		at := 2
		if len(parts) > 3 && parts[2] == "task" {
			at = 4
		}
		end := at + 1
		if len(parts) > at+1 && parts[at] == "fd" {
			end = at + 2
		}
		name = "/" + strings.Join(parts, "/")
		if _, err := strconv.Atoi(parts[1]); err != nil || len(parts) < end || end == at+1 && parts[at] != "root" && parts[at] != "cwd" {
			return name, true
		}
		if !own && !r.sameNumbers(pid) {
			return name, false
		}
		to, err := os.Readlink(filepath.Join(r.procPath, filepath.Join(parts[1:end]...)))
		if err != nil || !strings.HasPrefix(to, "/") {
			return name, false
		}
		name = to + "/" + strings.Join(parts[end:], "/")
	}
	return name, false
}

// sameNumbers reports whether a process counts processes as we do.
func (r *resolver) sameNumbers(pid int32) bool {
	theirs, err := namespace(filepath.Join(r.procPath, strconv.Itoa(int(pid))), "pid")
	return err == nil && theirs == r.pidNS
}

func (r *resolver) follow(name string, mntNS uint32, pid int32) (string, bool) {
	clean := path.Clean(name)
	root := r.root
	if mntNS != r.hostNS {
		at := filepath.Join(r.procPath, strconv.Itoa(int(pid)))
		if ns, err := namespace(at, "mnt"); err != nil || ns != mntNS {
			return clean, false // gone
		}
		fd, err := unix.Open(filepath.Join(at, "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return clean, false
		}
		defer unix.Close(fd)
		root = fd
	}
	fd, err := openCached(root, name)
	if err != nil {
		return clean, false
	}
	defer unix.Close(fd)
	real, err := os.Readlink(filepath.Join(r.procPath, "self/fd", strconv.Itoa(fd)))
	if err != nil || !strings.HasPrefix(real, "/") || strings.HasSuffix(real, " (deleted)") {
		return clean, false
	}
	return real, true
}

// openCached opens a file or directory below root, which absolute links and ".." do not
// leave. The kernel refuses ".." while anything on the host is renamed, and what
// it has not in memory, with the same error.
func openCached(root int, name string) (int, error) {
	for tries := 1; ; tries++ {
		fd, err := unix.Openat2(root, name, &unix.OpenHow{
			Flags:   unix.O_PATH | unix.O_CLOEXEC,
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
