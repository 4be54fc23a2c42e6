package strangers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/collectors/fanotify"
	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// Bounds of what is known of guarded processes.
const (
	maxGuarded = 64
	maxThreads = 512  // of one process
	maxReaches = 1024 // that wait to be reported, and that are remembered
	threads    = time.Second
)

// processes sees who opens what /proc has of guarded processes. Each thread has
// a directory with the same files, so all of them are marked. The directories
// are held open: the kernel would forget them, and the marks with them.
type processes struct {
	proc     fs.FS
	procPath string // the host's
	group    *fanotify.Group

	mu      sync.Mutex
	guarded map[event.ProcID]map[string]*os.File // by path
	reaches []reach
	looked  map[reachKey]time.Time // who was looked at for what
	lost    uint64

	said map[reachKey]time.Time // of the collector's Run alone
}

// A reach is one opening.
type reach struct {
	who    *actor
	access event.Access
	at     time.Time
}

type reachKey struct {
	who    event.ProcID
	access event.Access
}

func openProcesses(cfg collectors.Config) (*processes, error) {
	group, err := fanotify.OpenFiles()
	if err != nil {
		return nil, err
	}
	return &processes{
		proc: cfg.Proc, procPath: hostProc(cfg.ProcPath), group: group,
		guarded: map[event.ProcID]map[string]*os.File{}, said: map[reachKey]time.Time{}, looked: map[reachKey]time.Time{},
	}, nil
}

// hostProc is where the host's own /proc is. A service manager gives a confined
// service another mount of it, in which nobody else opens anything.
func hostProc(ours string) string {
	theirs := filepath.Join(ours, "1/root/proc")
	if self, err := os.Readlink(filepath.Join(theirs, "self")); err == nil && self == strconv.Itoa(os.Getpid()) {
		return theirs
	}
	return ours // of another PID namespace, or not to be seen
}

// Guard has it reported which stranger opens the memory of a process, its map or
// its environment.
func (c *Collector) Guard(id event.ProcID) error { return c.processes.guard(id) }

// Unguard ends that.
func (c *Collector) Unguard(id event.ProcID) error {
	c.processes.mu.Lock()
	defer c.processes.mu.Unlock()
	return c.processes.unguard(id)
}

func (p *processes) guard(id event.ProcID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.guarded[id] != nil {
		return nil
	}
	if len(p.guarded) >= maxGuarded {
		return fmt.Errorf("guard files of process %d: more than %d are", id.PID, maxGuarded)
	}
	p.guarded[id] = map[string]*os.File{}
	if err := p.mark(id); err != nil {
		return errors.Join(fmt.Errorf("guard files of process %d: %w", id.PID, err), p.unguard(id))
	}
	return nil
}

func (p *processes) unguard(id event.ProcID) error {
	var errs []error
	for _, dir := range p.guarded[id] {
		errs = append(errs, dir.Close())
	}
	delete(p.guarded, id)
	return errors.Join(errs...)
}

// mark marks what is not yet marked of a process.
func (p *processes) mark(id event.ProcID) error {
	if now, err := procfs.Identify(p.proc, id.PID); err != nil || now != id {
		return fs.ErrNotExist // another one has its number
	}
	dirs := p.guarded[id]
	at := filepath.Join(p.procPath, strconv.Itoa(int(id.PID)))
	tasks, err := os.ReadDir(filepath.Join(at, "task"))
	if err != nil {
		return err
	}
	paths := []string{at}
	for _, t := range tasks[:min(len(tasks), maxThreads)] {
		paths = append(paths, filepath.Join(at, "task", t.Name()))
	}
	there := map[string]bool{}
	for _, path := range paths {
		there[path] = true
		if dirs[path] != nil {
			continue
		}
		fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue // a thread that has ended
		}
		if err := p.group.MarkFilesIn(path); err != nil {
			_ = unix.Close(fd)
			if path == at {
				return err
			}
			continue // it is tried again
		}
		dirs[path] = os.NewFile(uintptr(fd), path)
	}
	for path, dir := range dirs {
		if !there[path] {
			_ = dir.Close()
			delete(dirs, path)
		}
	}
	return nil
}

// look marks the threads that are new, and lets go of who is gone.
func (p *processes) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.guarded {
		if p.mark(id) != nil {
			_ = p.unguard(id)
		}
	}
}

// read takes in what is done until ctx is done and the group is woken, or it is
// closed, and wakes whoever reports it.
func (p *processes) read(ctx context.Context, wake func()) {
	for ctx.Err() == nil {
		p.group.Wake(time.Now().Add(threads))
		err := p.group.Read(func(a fanotify.Act) {
			if p.take(a, time.Now()) {
				wake()
			}
		})
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.look()
		case errors.Is(err, os.ErrClosed):
			return
		case errors.Is(err, unix.ESRCH), errors.Is(err, unix.ENOENT): // of a process or thread that has ended meanwhile
		case err != nil: // the kernel could not open the file for us: one act is lost
			p.lose()
		}
	}
}

func (p *processes) lose() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost++
}

var methods = map[string]event.AccessMethod{
	"mem": event.AccessProcMem, "environ": event.AccessProcEnviron,
	"maps": event.AccessProcMaps, "smaps": event.AccessProcMaps, "smaps_rollup": event.AccessProcMaps,
}

// take notes one act, if it is of a kind that counts. Who it was is looked up at
// once.
func (p *processes) take(a fanotify.Act, now time.Time) bool {
	if a.Pidfd >= 0 {
		defer unix.Close(a.Pidfd)
	}
	if a.File < 0 { // the queue was full
		p.lose()
		return false
	}
	defer unix.Close(a.File)
	if a.PID == int32(os.Getpid()) {
		return false
	}
	file, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(a.File))
	if err != nil {
		p.lose()
		return false
	}
	method, ok := methods[path.Base(file)]
	if !ok {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	target := p.owner(file)
	if target.IsZero() || target.PID == a.PID {
		return false
	}
	if len(p.reaches) >= maxReaches {
		p.lost++
		return false
	}
	access := event.Access{Target: target, Method: method, Write: method == event.AccessProcMem && a.Mask&unix.FAN_CLOSE_WRITE != 0}
	if id, err := procfs.Identify(p.proc, a.PID); err == nil {
		// Two agents on one host would have each other look for ever.
		key := reachKey{id, access}
		if now.Sub(p.looked[key]) < again {
			return false
		}
		if len(p.looked) >= maxReaches {
			clear(p.looked)
		}
		p.looked[key] = now
	}
	who := &actor{pid: a.PID, id: event.ProcID{PID: a.PID}, moment: p.group.Since(), seen: now}
	if a.Pidfd >= 0 && a.PID > 0 {
		who.look(p.proc, a.Pidfd)
	}
	p.reaches = append(p.reaches, reach{who: who, access: access, at: now})
	return true
}

// owner gives the guarded process that a path below /proc belongs to.
func (p *processes) owner(file string) event.ProcID {
	rest, _ := strings.CutPrefix(file, "/proc/")
	dir, _, _ := strings.Cut(rest, "/")
	for id := range p.guarded {
		if dir == strconv.Itoa(int(id.PID)) {
			return id
		}
	}
	return event.ProcID{}
}

// due takes out what was done hold ago, and tells whether more waits.
func (p *processes) due(now time.Time) (due []reach, lost uint64, more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.reaches) && now.Sub(p.reaches[n].at) >= hold {
		n++
	}
	due, p.reaches = p.reaches[:n:n], p.reaches[n:]
	lost, p.lost = p.lost, 0
	return due, lost, len(p.reaches) > 0
}

// report emits what strangers opened, each once in a while.
func (p *processes) report(lineage collectors.Lineage, now time.Time, emit func(event.Event)) (more bool) {
	due, lost, more := p.due(now)
	for _, r := range due {
		key := reachKey{r.who.id, r.access}
		if r.who.mine(lineage) || r.who.agent || now.Sub(p.said[key]) < again {
			continue
		}
		if len(p.said) >= maxReaches {
			clear(p.said)
		}
		p.said[key] = now
		ev := event.Event{Time: r.at, Proc: r.who.id, Source: event.SourceFanotify, Stranger: true}
		if r.who.pid <= 0 {
			ev.Proc = event.ProcID{}
		}
		if r.who.id.Start != 0 {
			ev.Body = r.who.exec
			emit(ev)
		}
		ev.Body = r.access
		emit(ev)
	}
	if lost > 0 {
		emit(event.Event{Time: now, Source: event.SourceFanotify, Body: event.Lost{
			Of: event.KindAccess, Count: lost, Cause: "files in /proc of guarded processes opened, more than could be kept or looked at",
		}})
	}
	return more
}

func (p *processes) close() error {
	err := p.group.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.guarded {
		err = errors.Join(err, p.unguard(id))
	}
	return err
}
