// Package fanotify sees what watched processes do to files where BPF is refused,
// and is the edge to the kernel for package strangers.
//
// All file systems of the host are marked, because a process can go anywhere: the
// kernel queues every open, close, creation, removal and renaming of everybody, and
// who is watched is found out here, from what the process connector tells. That
// costs every process of the host two to five microseconds for a file that it opens and
// closes, and the agent about five. It takes CAP_SYS_ADMIN to open.
//
// A file is reported when it is closed, because only then the kernel says whether
// it was opened for writing, or a fifth of a second after it was opened: then
// the open files of the process tell.
//
// What it does not see:
//   - how often a file was opened within a moment, and the opening of one that was
//     made in that moment; by which of several names, or through which mount;
//   - who of its own threads opened a file; truncation by path, links, attributes;
//   - directories that were opened; file systems that give no handles (some
//     network and FUSE ones), or are mounted later: reported as Coverage;
//   - paths as a container or chroot has them: it gives those of the host;
//   - whether a file that a process opened and did not close, and that ended within
//     that fifth of a second, was opened for writing: it is reported as read;
//   - opens beyond 16,384 that wait in the queue: reported as a Gap.
package fanotify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/internal/event"
)

const name = "fanotify"

// Probe works where the agent has CAP_SYS_ADMIN, and somebody knows who is
// watched.
var Probe = collectors.Probe{
	Name:     name,
	Kinds:    kinds(),
	Fidelity: collectors.Complete,
	Open: func(cfg collectors.Config) (collectors.Collector, error) {
		c, err := openAll(cfg)
		if err != nil {
			return nil, collectors.Unsupported(err)
		}
		return c, nil
	},
}

func kinds() []event.Kind {
	return []event.Kind{event.KindFileOpen, event.KindFileCreate, event.KindFileRename, event.KindFileDelete}
}

const (
	hold    = 200 * time.Millisecond // from an open to its report, if it is not closed before
	maxHeld = 4096                   // opens
	maxFS   = 256                    // file systems
)

// A collector is open.
type collector struct {
	cfg    collectors.Config
	group  *Group
	mounts map[[fsid]byte]*os.File // a directory of each file system
	missed []event.Coverage
	held   []opened
}

// An opened is an open of which it is not yet known what for.
type opened struct {
	id    event.ProcID
	path  string
	at    time.Time
	made  bool // and reported as made
	ended bool // reported, or nothing more to report
}

func openAll(cfg collectors.Config) (*collector, error) {
	if cfg.Lineage == nil {
		return nil, errors.New("open fanotify: nothing tells which processes are watched")
	}
	group, err := OpenGroup()
	if err != nil {
		return nil, err
	}
	c := &collector{cfg: cfg, group: group, mounts: map[[fsid]byte]*os.File{}}
	info, err := fs.ReadFile(cfg.Proc, "self/mountinfo")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("list file systems: %w", err), c.Close())
	}
	for _, m := range mountsOf(info) {
		if err := c.mark(m.path); err != nil && m.path == "/" {
			return nil, errors.Join(err, c.Close())
		} else if err != nil {
			c.missed = append(c.missed, event.Coverage{
				Probe: name, Kinds: kinds(), Fidelity: collectors.Sampled.String(),
				Reason: fmt.Sprintf("not seen: the %s file system at %s (%v)", m.kind, m.path, err),
			})
		}
	}
	return c, nil
}

// mark marks the file system of a mount, once.
func (c *collector) mark(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open mount: %w", err)
	}
	f := os.NewFile(uintptr(fd), path)
	h, err := HandleOf(fd)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	key := [fsid]byte([]byte(h[:fsid]))
	if c.mounts[key] != nil {
		return f.Close()
	}
	if err := c.group.markFilesystem(path, unix.FAN_OPEN|unix.FAN_CLOSE_WRITE|unix.FAN_CLOSE_NOWRITE); err != nil {
		return errors.Join(err, f.Close())
	}
	c.mounts[key] = f
	return nil
}

// A mount is a file system and where it is.
type mount struct{ path, kind string }

// virtual are file systems without files of their own.
var virtual = []string{
	"proc", "sysfs", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs", "bpf", "pstore", "mqueue", "devpts", "configfs", "fusectl",
	"binfmt_misc", "autofs", "nsfs", "efivarfs", "hugetlbfs", "rpc_pipefs", "selinuxfs", "ramfs",
}

// mountsOf reads /proc/self/mountinfo; the root comes first.
func mountsOf(info []byte) []mount {
	var all []mount
	for line := range bytes.Lines(info) {
		left, right, ok := strings.Cut(string(line), " - ")
		f, g := strings.Fields(left), strings.Fields(right)
		if !ok || len(f) < 5 || len(g) < 1 || slices.Contains(virtual, g[0]) || len(all) >= maxFS {
			continue
		}
		m := mount{path: unescape(f[4]), kind: g[0]}
		if m.path == "/" {
			all = slices.Insert(all, 0, m)
			continue
		}
		all = append(all, m)
	}
	return all
}

// unescape turns \040 and the like back.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Coverage says what is less than with BPF, and which file systems are not seen.
func (c *collector) Coverage() []event.Coverage {
	return append([]event.Coverage{{
		Probe: name, Kinds: []event.Kind{event.KindFileOpen, event.KindFileCreate}, Fidelity: collectors.Sampled.String(),
		Reason: "opens of one file within a moment are one; of several names of a file, and of several mounts, it can be another one that is told",
	}}, c.missed...)
}

// Close ends all marks.
func (c *collector) Close() error {
	errs := []error{c.group.Close()}
	for _, f := range c.mounts {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Run reports until ctx is done.
func (c *collector) Run(ctx context.Context, emit func(event.Event)) error {
	defer context.AfterFunc(ctx, func() { c.group.Wake(time.Now()) })()
	var acts []Act
	for {
		acts = acts[:0]
		c.group.Wake(time.Now().Add(c.wait()))
		err := c.group.Read(func(a Act) { acts = append(acts, a) })
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		// Who was forked before it did something is known after this.
		c.cfg.Lineage.Sync()
		now := time.Now()
		for _, a := range acts {
			c.take(a, now, emit)
			if a.Pidfd >= 0 {
				unix.Close(a.Pidfd)
			}
		}
		if ctx.Err() != nil {
			c.report(now.Add(hold), emit)
			return nil
		}
		c.report(now, emit)
	}
}

func (c *collector) wait() time.Duration {
	if len(c.held) == 0 {
		return time.Minute
	}
	return hold / 4
}

// take turns an act of a watched process into events.
func (c *collector) take(a Act, now time.Time, emit func(event.Event)) {
	if a.Mask&unix.FAN_Q_OVERFLOW != 0 {
		emit(event.Event{Time: now, Source: event.SourceFanotify, Body: event.Gap{Kinds: kinds(), Cause: "queue of fanotify full"}})
		return
	}
	id, ok := c.cfg.Lineage.Since(a.PID, c.group.Since())
	if !ok || a.PID == int32(os.Getpid()) {
		return
	}
	say := func(b event.Body) {
		emit(event.Event{Time: now, Proc: id, Source: event.SourceFanotify, Body: b})
	}
	path, ok := c.path(a.Dir, a.Name)
	if !ok {
		return // the directory is gone, and what was in it
	}
	directory := a.Directory()
	if a.Mask&(unix.FAN_RENAME) != 0 {
		old, ok := c.path(a.From, a.FromName)
		say(event.FileRename{Old: old, New: path, Truncated: !ok})
	}
	if a.Mask&(unix.FAN_CREATE|unix.FAN_MOVED_TO) != 0 {
		say(event.FileOpen{Path: path, Write: true, Create: true, Directory: directory})
	}
	if !directory {
		c.opens(a, id, path, now, say)
	}
	if a.Mask&(unix.FAN_DELETE|unix.FAN_MOVED_FROM) != 0 {
		say(event.FileDelete{Path: path, Directory: directory})
	}
}

// opens holds an open until it is known what for.
func (c *collector) opens(a Act, id event.ProcID, path string, now time.Time, say func(event.Body)) {
	if a.Mask&unix.FAN_CLOSE != 0 {
		i := slices.IndexFunc(c.held, func(o opened) bool { return !o.ended && o.id == id && o.path == path })
		made := a.Mask&unix.FAN_CREATE != 0
		if i >= 0 {
			c.held[i].ended = true
			made = made || c.held[i].made
		}
		if !made && (i >= 0 || a.Mask&unix.FAN_OPEN != 0) {
			say(event.FileOpen{Path: path, Read: a.Mask&unix.FAN_CLOSE_NOWRITE != 0, Write: a.Mask&unix.FAN_CLOSE_WRITE != 0})
		}
		return
	}
	if a.Mask&unix.FAN_OPEN == 0 {
		return
	}
	made := a.Mask&unix.FAN_CREATE != 0
	if len(c.held) < maxHeld {
		c.held = append(c.held, opened{id: id, path: path, at: now, made: made})
	} else if !made {
		say(event.FileOpen{Path: path, Read: true})
	}
}

// report tells of the files that are still open.
func (c *collector) report(now time.Time, emit func(event.Event)) {
	c.held = slices.DeleteFunc(c.held, func(o opened) bool {
		if o.ended || now.Sub(o.at) < hold {
			return o.ended
		}
		if o.made {
			return true
		}
		mode := OpenMode(c.cfg.Proc, o.id, o.path)
		emit(event.Event{Time: o.at, Proc: o.id, Source: event.SourceFanotify, Body: event.FileOpen{
			Path: o.path, Read: mode&unix.FAN_CLOSE_NOWRITE != 0, Write: mode&unix.FAN_CLOSE_WRITE != 0,
		}})
		return true
	})
}

// path finds where a directory is now.
func (c *collector) path(h Handle, name string) (string, bool) {
	const fixed = fsid + 8
	if len(h) < fixed {
		return "", false
	}
	at := c.mounts[[fsid]byte([]byte(h[:fsid]))]
	if at == nil {
		return "", false
	}
	fd, err := unix.OpenByHandleAt(int(at.Fd()), h.file(), unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		return "", false
	}
	defer unix.Close(fd)
	dir, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return "", false
	}
	dir = strings.TrimSuffix(dir, " (deleted)")
	if name == "" || name == "." {
		return dir, true
	}
	return strings.TrimSuffix(dir, "/") + "/" + name, true
}
