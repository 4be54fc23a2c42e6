// Package procevents sees processes of watched trees by the kernel's process
// connector, where BPF is refused.
//
// The kernel tells of every fork, exec and exit of the host, in order; who is
// watched is found out here. A fork is told before the child runs, so no child is
// missed. What a process runs is read from /proc when its exec is told, which is
// after it: a program that ends within a millisecond or so is gone by then, and
// its Exec has no path and ArgsTruncated set.
//
// It takes CAP_NET_ADMIN to open, and the first PID namespace. It costs the host
// about a microsecond for each fork, exec and exit of anybody. The agent is woken by
// each while somebody is watched: some 150 µs of CPU for a short process, and 200 µs
// more if that one is watched. While nobody is, it looks twenty times a second, which
// costs a third. A queue of 8 MiB holds some ten thousand; what it cannot hold is
// reported as a Gap, and /proc is looked through for the children that were missed.
//
// What it does not see: arguments, directory, variables and program of very short
// processes, or of those that exec again at once (of /bin/true in a loop one in three,
// on a busy machine two); a process
// that has its name from a program called openclaw and does not take it itself, until
// the next look for gateways, or that takes it and ends within a twentieth of a second;
// who made a child with CLONE_PARENT, for which the parent's parent stands. A process
// that was gone before it was looked at has a start time that may be off by a
// hundredth of a second.
package procevents

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/collectors/lineage"
	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

const name = "procevents"

// Probe works where the agent has CAP_NET_ADMIN and the first PID namespace.
var Probe = collectors.Probe{
	Name:     name,
	Kinds:    []event.Kind{event.KindFork, event.KindExec, event.KindExit, event.KindCandidate},
	Fidelity: collectors.Complete,
	Open: func(cfg collectors.Config) (collectors.Collector, error) {
		c, err := open(cfg)
		if err != nil {
			return nil, collectors.Unsupported(err)
		}
		return c, nil
	},
}

const (
	kernelQueue = 8 << 20               // bytes
	maxQueue    = 4096                  // messages that are read ahead
	idle        = 50 * time.Millisecond // between two readings where nobody is watched: order is all that matters then
)

// A collector is open. Its methods may be called while Run runs.
type collector struct {
	proc   fs.FS
	socket *os.File
	conn   syscall.RawConn

	out  sync.Mutex        // held while events are emitted, and taken before mu
	emit func(event.Event) // of Run; nil: it has not begun

	mu      sync.Mutex
	fd      int // of socket; -1: closed
	tree    lineage.Tree
	queue   []told        // read and not handled
	pending []event.Event // handled and not emitted
	buf     []byte
	overrun bool
}

func open(cfg collectors.Config) (*collector, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_CONNECTOR)
	if err != nil {
		return nil, fmt.Errorf("open process connector: %w", err)
	}
	c := &collector{proc: cfg.Proc, socket: os.NewFile(uintptr(fd), "procevents"), fd: fd, buf: make([]byte, 64<<10)}
	if err := c.listen(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if c.conn, err = c.socket.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("open process connector: %w", err), c.Close())
	}
	return c, nil
}

// listen asks for the events, and waits for the kernel's consent: without the
// privilege some kernels just never answer.
func (c *collector) listen() error {
	if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, kernelQueue); err != nil {
		return fmt.Errorf("size queue of process connector: %w", err)
	}
	if err := unix.Bind(c.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: connectorProc}); err != nil {
		return fmt.Errorf("bind to process connector: %w", err)
	}
	if err := unix.Sendto(c.fd, request(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("listen to process connector: %w", err)
	}
	for end := time.Now().Add(2 * time.Second); ; {
		left := time.Until(end)
		if left <= 0 {
			return errors.New("listen to process connector: no answer; it takes CAP_NET_ADMIN and the first PID namespace")
		}
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("listen to process connector: %w", err)
		}
		n, _, err := unix.Recvfrom(c.fd, c.buf, unix.MSG_DONTWAIT)
		if err != nil {
			continue
		}
		if e, err := parse(c.buf[:n]); err == nil && e.what == consent {
			if e.code != 0 {
				return fmt.Errorf("listen to process connector: %w", unix.Errno(e.code))
			}
			return nil
		}
	}
}

// Coverage says what is less than with BPF.
func (c *collector) Coverage() []event.Coverage {
	return []event.Coverage{{
		Probe: name, Kinds: []event.Kind{event.KindExec}, Fidelity: collectors.Sampled.String(),
		Reason: "program, arguments, directory and variables are read from /proc after the exec; of a process that ends within a millisecond they are missing",
	}}
}

// Close gives back the socket.
func (c *collector) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return nil
	}
	c.fd = -1
	return c.socket.Close()
}

// Run passes on what the kernel tells until ctx is done.
func (c *collector) Run(ctx context.Context, emit func(event.Event)) error {
	defer context.AfterFunc(ctx, func() { _ = c.socket.SetReadDeadline(time.Now()) })()
	c.out.Lock()
	c.emit = emit
	c.out.Unlock()
	for {
		var failed error
		err := c.conn.Read(func(uintptr) bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			var n int
			n, failed = c.drain()
			return n > 0 || len(c.pending) > 0 || failed != nil
		})
		c.pass()
		switch {
		case ctx.Err() != nil:
			return nil
		case failed != nil:
			return failed
		case err != nil:
			return fmt.Errorf("read process connector: %w", err)
		}
		if c.tree.Empty() {
			select {
			case <-ctx.Done():
			case <-time.After(idle):
			}
		}
	}
}

// pass emits what waits, in order whoever calls it.
func (c *collector) pass() {
	c.out.Lock()
	defer c.out.Unlock()
	if c.emit == nil {
		return
	}
	for _, ev := range c.taken() {
		c.emit(ev)
	}
}

// taken gives what waits to be emitted, with what an overrun of the queue kept
// from us.
func (c *collector) taken() []event.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.overrun {
		c.overrun = false
		c.recover()
	}
	events := c.pending
	c.pending = nil
	return events
}

// recover looks through /proc for the children that were missed.
func (c *collector) recover() {
	c.pending = append(c.pending, event.Event{Time: time.Now(), Source: event.SourceProcEvents, Body: event.Gap{
		Kinds: Probe.Kinds, Cause: "queue of the process connector full",
	}})
	found, err := procfs.Trees(c.proc, c.tree.All())
	if err != nil {
		return // the next exec of each tells as well
	}
	for _, ev := range found {
		if c.tree.Add(ev.Proc) {
			c.pending = append(c.pending, ev)
		}
	}
}

// Sync takes in all that the kernel has told by now, and passes it on: who was
// forked before it is known after it, here and to whom the events go.
func (c *collector) Sync() {
	c.mu.Lock()
	if c.fd >= 0 {
		_, _ = c.drain() // Run meets the same failure
	}
	c.mu.Unlock()
	c.pass()
}

// Living gives the watched process that has this PID now.
func (c *collector) Living(pid int32) (event.ProcID, bool) { return c.tree.Living(pid) }

// Since gives the watched process that had this PID at a moment, or later.
func (c *collector) Since(pid int32, moment time.Time) (event.ProcID, bool) {
	return c.tree.Since(pid, moment)
}

// Has reports whether this very process is, or lately was, watched.
func (c *collector) Has(id event.ProcID) bool { return c.tree.Has(id) }

// All gives the watched processes.
func (c *collector) All() []event.ProcID { return c.tree.All() }

// Watch watches a process and all that it forks from now on.
func (c *collector) Watch(id event.ProcID) error {
	if id.PID == int32(os.Getpid()) {
		return errors.New("watch process: it is this one")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.drain(); err != nil { // what it did before
		return err
	}
	if now, err := procfs.Identify(c.proc, id.PID); err != nil || now != id {
		return fmt.Errorf("watch process %v: %w", id, fs.ErrNotExist)
	}
	c.tree.Add(id)
	return nil
}

// Unwatch leaves this one process alone.
func (c *collector) Unwatch(id event.ProcID) error {
	c.tree.Remove(id)
	return nil
}

// drain takes in what there is. c.mu is held.
func (c *collector) drain() (int, error) {
	for n := 0; ; n++ {
		if len(c.queue) == 0 {
			if err := c.receive(); err != nil || len(c.queue) == 0 {
				return n, err
			}
		}
		e := c.queue[0]
		c.queue = c.queue[1:]
		if err := c.handle(e); err != nil {
			return n, err
		}
	}
}

// receive reads what there is, and queues it.
func (c *collector) receive() error {
	for {
		size, from, err := unix.Recvfrom(c.fd, c.buf, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.ENOBUFS):
			c.overrun = true
			continue
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("read process connector: %w", err)
		}
		if kernel, ok := from.(*unix.SockaddrNetlink); !ok || kernel.Pid != 0 {
			continue // anybody may send to a netlink socket
		}
		e, err := parse(c.buf[:size])
		if err != nil {
			return fmt.Errorf("read process connector: %w", err)
		}
		if c.queue = append(c.queue, e); len(c.queue) >= maxQueue {
			return nil // the rest waits in the kernel
		}
	}
}

func (c *collector) handle(e told) error {
	switch e.what {
	case forked:
		c.forked(e)
	case execed:
		return c.execed(e)
	case named:
		c.named(e)
	case exited:
		id, ok := c.tree.Living(e.tgid)
		if !ok || e.pid != e.tgid {
			return nil // a thread, or nobody we know
		}
		c.say(e, id, event.Exit{Code: int(e.code >> 8 & 0xff), Signal: int(e.code & 0x7f)})
		c.tree.End(id, time.Now())
	}
	return nil
}

func (c *collector) say(e told, id event.ProcID, b event.Body) {
	c.pending = append(c.pending, event.Event{Time: wall(e.time), Proc: id, Source: event.SourceProcEvents, Body: b})
}

func (c *collector) forked(e told) {
	parent, ok := c.tree.Living(e.parent)
	if !ok || e.pid != e.tgid {
		return
	}
	fork := event.Fork{Parent: parent}
	id := event.ProcID{PID: e.tgid, Start: startOf(e.time)}
	if p, err := procfs.Parent(c.proc, e.tgid); err == nil {
		id, fork.Comm = p.ID, p.Comm
	}
	fork.UID = procfs.UID(c.proc, e.parent) // it has it from there
	c.tree.Add(id)
	c.say(e, id, fork)
}

// execed looks at what a watched process runs now. If it has run something else by
// then, what is seen is not what is told of, and nothing is said of it.
func (c *collector) execed(e told) error {
	id, ok := c.tree.Living(e.tgid)
	if !ok {
		return nil
	}
	p, err := procfs.Read(c.proc, e.tgid)
	if err := c.receive(); err != nil {
		return err
	}
	again := slices.ContainsFunc(c.queue, func(q told) bool { return q.what == execed && q.tgid == e.tgid })
	if err != nil || p.ID != id || again {
		c.say(e, id, event.Exec{ArgsTruncated: true, EnvTruncated: true})
		return nil
	}
	x := p.Exec(event.ProcID{PID: p.ParentPID})
	if up, err := procfs.Identify(c.proc, p.ParentPID); err == nil {
		x.Parent = up
	}
	x.Snapshot = false
	x.ArgsTruncated = x.ArgsTruncated || len(x.Args) == 0
	c.say(e, id, x)
	return nil
}

// named looks at a process that took a name: OpenClaw's are watched from that
// moment on.
func (c *collector) named(e told) {
	if _, ok := c.tree.Living(e.tgid); ok || !strings.HasPrefix(e.comm, "openclaw") || e.tgid == int32(os.Getpid()) {
		return
	}
	id, err := procfs.Identify(c.proc, e.tgid)
	if err != nil {
		return
	}
	c.tree.Add(id)
	c.say(e, id, event.Candidate{Comm: e.comm})
}
