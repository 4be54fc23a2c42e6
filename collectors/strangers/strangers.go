// Package strangers sees who touches OpenClaw's files from outside of every
// watched tree: its state directories, skill roots, configuration and the files
// that tell an agent who it is. It runs beside the kernel sensor, which leaves
// such processes alone.
//
// The directories are marked one by one with fanotify, so that the rest of the
// host pays nothing. An opening or closing of a file in them costs whoever does it
// two microseconds, OpenClaw itself included, and the agent two for one of OpenClaw's
// processes and five for a stranger's; reads and writes between cost nothing. A directory takes about 1 KiB of kernel
// memory, and its inode stays in memory.
//
// What is done is not reported at once but after hold, so that it is known by
// then who belongs to OpenClaw: a gateway touches its files before it takes the
// name by which it is known, and the kernel sensor's word comes some
// milliseconds late. What one process does to one file is one event for each of
// read, write, create, rename and delete in a minute. An Exec with Snapshot set
// says what the process is, as /proc showed it when the act was read; the process
// descriptor that comes with the act proves that it was the same one.
//
// So are, with a queue of their own, the directories in /proc of processes that are
// to be guarded, and those of their threads: who opens mem, maps or environ
// there is reported as an Access. Whoever opens another file there, such as ps,
// pays two microseconds.
//
// What it does not see:
//   - who opens such a file of a thread within the second in which it began, or in
//     another mount of /proc, such as a container's;
//   - the program of a process that ended before it could be looked at: such an
//     event has a PID and no more. Of a cat or sed in a loop it was a third, on a
//     busy machine. Within a second the same PID is taken for the same process;
//   - directories beyond 8,192, and below eight levels: reported as Coverage;
//   - what is done in a new directory within the moment before it is marked, by
//     others than the one who made it;
//   - bytes, chmod, chown, links made, truncation by path; a write to a file
//     opened before, until it is closed;
//   - a configuration file outside of the state directory, and files that only
//     the policy calls restricted;
//   - state directories of gateways that have not run since the agent started;
//   - reading names and attributes (stat, ls).
package strangers

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/collectors/fanotify"
	"github.com/clawwatch/clawwatch/internal/event"
)

// Name is what Coverage calls it.
const Name = "fanotify-strangers"

const (
	hold   = 2 * time.Second // from an act to its report
	again  = time.Minute     // between two reports of the same
	rescan = time.Minute     // between looks for directories that were missed
)

// Collector watches OpenClaw's directories. Follow may be called from any
// goroutine.
type Collector struct {
	proc    fs.FS
	lineage collectors.Lineage
	group   *fanotify.Group

	processes *processes

	mu    sync.Mutex
	found []event.GatewayFound // not yet taken in

	// Of Run alone.
	places   places
	touches  touches
	reaching bool // somebody reached for a guarded process, and it is not reported yet
	rescan   time.Time
	next     time.Time // of the next tick
}

// Open takes the privilege that it needs. The error wraps
// collectors.ErrUnsupported.
func Open(cfg collectors.Config) (*Collector, error) {
	group, err := fanotify.OpenGroup()
	if err != nil {
		return nil, collectors.Unsupported(err)
	}
	processes, err := openProcesses(cfg)
	if err != nil {
		return nil, collectors.Unsupported(errors.Join(err, group.Close()))
	}
	return &Collector{
		proc: cfg.Proc, lineage: cfg.Lineage, group: group, processes: processes,
		places: places{group: group, dirs: map[fanotify.Handle]*dir{}, byPath: map[spot]*dir{}, roots: map[spot]root{}, said: map[string]bool{}},
	}, nil
}

// Kinds are the kinds that it gives of strangers.
func Kinds() []event.Kind {
	return []event.Kind{event.KindFileOpen, event.KindFileCreate, event.KindFileRename, event.KindFileDelete, event.KindAccess}
}

// maxFound bounds the gateways that wait to be taken in.
const maxFound = 1024

// Follow adds the directories of a gateway. It never blocks. What is followed
// stays followed: a gateway may come back.
func (c *Collector) Follow(g event.GatewayFound) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.found) < maxFound && g.StateDir != "" {
		c.found = append(c.found, g)
		c.group.Wake(time.Now())
	}
}

func (c *Collector) taken() []event.GatewayFound {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.found
	c.found = nil
	return found
}

// Close gives back the marks.
func (c *Collector) Close() error { return errors.Join(c.group.Close(), c.processes.close()) }

// Run reports until ctx is done.
func (c *Collector) Run(ctx context.Context, emit func(event.Event)) error {
	defer context.AfterFunc(ctx, func() { c.group.Wake(time.Now()) })()
	c.rescan = time.Now().Add(rescan)
	c.tick(time.Now(), emit)
	reading, stop := context.WithCancel(ctx)
	read := make(chan struct{})
	go func() { defer close(read); c.processes.read(reading, func() { c.group.Wake(time.Now()) }) }()
	defer func() { stop(); c.processes.group.Wake(time.Now()); <-read }()
	for {
		err := c.group.Read(func(a fanotify.Act) { c.take(a, time.Now(), emit) })
		now := time.Now()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.next = now // or somebody wants to be heard
		case err != nil:
			return err
		}
		if ctx.Err() != nil {
			c.report(now.Add(hold), emit) // what is known is said
			c.processes.report(c.lineage, now.Add(hold), emit)
			return nil
		}
		if !now.Before(c.next) {
			c.tick(now, emit)
		} else {
			c.wakeFor(now)
		}
	}
}

// tick takes in what is new and reports what is due.
func (c *Collector) tick(now time.Time, emit func(event.Event)) {
	c.next = now.Add(rescan)
	c.group.Wake(c.next) // before what others want is looked at: they wake it anew
	for _, g := range c.taken() {
		c.places.follow(g)
	}
	if now.After(c.rescan) {
		c.rescan = now.Add(rescan)
		c.places.rescan()
	}
	for _, cov := range c.places.complaints() {
		emit(event.Event{Time: now, Source: event.SourceFanotify, Body: cov})
	}
	c.report(now, emit)
	c.reaching = c.processes.report(c.lineage, now, emit)
	c.wakeFor(now)
}

// wakeFor sets the time of the next tick so that what waits is reported.
func (c *Collector) wakeFor(now time.Time) {
	if soon := now.Add(hold / 4); (c.touches.fresh > 0 || c.reaching) && c.next.After(soon) {
		c.next = soon
		c.group.Wake(soon)
	}
}

// take looks at one act. Whose it is is found out at once, because the process
// may be gone in a moment; whether that is a stranger, when it is reported.
func (c *Collector) take(a fanotify.Act, now time.Time, emit func(event.Event)) {
	if a.Pidfd >= 0 {
		defer unix.Close(a.Pidfd)
	}
	if a.Mask&unix.FAN_Q_OVERFLOW != 0 {
		emit(event.Event{Time: now, Source: event.SourceFanotify, Body: event.Gap{
			Kinds: Kinds(), Cause: "queue of what is done to OpenClaw's files full",
		}})
		return
	}
	path, d := c.places.of(a.Dir, a.Name)
	from, fromDir := c.places.of(a.From, a.FromName)
	if a.Directory() {
		c.places.changed(a.Mask, path, from, d, fromDir)
	}
	if d == nil {
		if path, d, from = from, fromDir, ""; d == nil {
			return
		}
		a.Mask = unix.FAN_DELETE | a.Mask&unix.FAN_ONDIR // moved to where nothing is marked
	}
	if a.PID == int32(os.Getpid()) || !d.matters(filepath.Base(path)) && (from == "" || !d.matters(filepath.Base(from))) {
		return
	}
	moment := c.group.Since()
	mine := false
	if a.Pidfd >= 0 {
		_, mine = c.lineage.Living(a.PID) // both live, so they are the same
	} else {
		_, mine = c.lineage.Since(a.PID, moment)
	}
	if mine {
		return
	}
	who := c.touches.actor(c.proc, a, moment, now)
	if !c.touches.add(who, touch{path: path, from: from, dir: d, mask: a.Mask, first: now}) {
		c.touches.lost++
	}
}
