package truth

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// meetLimit is for a meeting that outlasts a restart of the gateway.
const meetLimit = 6 * time.Minute

// maxAncestors bounds the walk up the process tree.
const maxAncestors = 16

// A Recorder writes down what deeds say, in the order in which they say it.
type Recorder struct {
	listener net.Listener
	done     sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	lines   []Line
	doing   map[string]int // deeds claimed and not yet done, by label
	met     map[string]int
	errs    []error
	closed  bool
}

// Listen starts a Recorder on a unix socket.
func Listen(path string) (*Recorder, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for deeds: %w", err)
	}
	r := &Recorder{listener: l, met: map[string]int{}, doing: map[string]int{}}
	r.changed = sync.NewCond(&r.mu)
	r.done.Go(r.accept)
	return r, nil
}

// Close ends the recorder and lets go of whoever still waits at a meeting.
func (r *Recorder) Close() error {
	err := r.listener.Close()
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.changed.Broadcast()
	r.done.Wait()
	return err
}

// Add writes down what the test knows by itself.
func (r *Recorder) Add(lines ...Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, lines...)
	r.changed.Broadcast()
}

// Lines is a copy of what has been written down, and what went wrong in it.
func (r *Recorder) Lines() ([]Line, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Line(nil), r.lines...), errors.Join(r.errs...)
}

// Await returns when as many lines as asked for satisfy want and no deed of their
// labels is still being done, or with an error after the time.
func (r *Recorder) Await(limit time.Duration, n int, want func(Line) bool) error {
	return r.await(limit, func() bool {
		found, doing := 0, 0
		for _, l := range r.lines {
			if want(l) {
				found++
				doing += r.doing[l.Label]
			}
		}
		return found >= n && doing == 0
	})
}

// at counts the deeds of a label that are being done.
func (r *Recorder) at(label string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doing[label] += n
	r.changed.Broadcast()
}

// Arrive takes part in a meeting without waiting for the others.
func (r *Recorder) Arrive(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.met[name]++
	r.changed.Broadcast()
}

func (r *Recorder) await(limit time.Duration, ready func() bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	late := false
	timer := time.AfterFunc(limit, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		late = true
		r.changed.Broadcast()
	})
	defer timer.Stop()
	for !ready() {
		if late || r.closed {
			return fmt.Errorf("wait for a deed: not done within %s", limit)
		}
		r.changed.Wait()
	}
	return nil
}

func (r *Recorder) accept() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		r.done.Go(func() {
			defer conn.Close()
			err := r.serve(conn.(*net.UnixConn))
			r.mu.Lock()
			defer r.mu.Unlock()
			if err != nil {
				r.errs = append(r.errs, err)
			}
			r.changed.Broadcast()
		})
	}
}

func (r *Recorder) serve(conn *net.UnixConn) error {
	in := bufio.NewReader(conn)
	text, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read a claim: %w", err)
	}
	var c Claim
	if err := json.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("parse a claim: %w", err)
	}
	r.at(c.Label, 1)
	defer r.at(c.Label, -1)
	p, up, exe, err := identify(conn, c.Parent)
	if err != nil {
		return fmt.Errorf("identify who claims %s %q: %w", c.Op, c.Args, err)
	}
	lines, err := c.Lines(p, up, exe, time.Now())
	if err != nil {
		return err
	}
	r.Add(lines...)
	if c.Op == "meet" {
		if err := r.meet(c.Args[0], c.Args[1]); err != nil {
			return err
		}
	}
	if _, err := conn.Write([]byte("ok\n")); err != nil {
		return err
	}
	if c.Parent || c.Op == "dump" { // done by another; done by what it became
		return nil
	}
	outcome, err := in.ReadString('\n')
	if err != nil {
		return fmt.Errorf("deed %s %s %q ended before it was done: %w", c.Label, c.Op, c.Args, err)
	}
	if outcome != string(Outcome(nil)) {
		return fmt.Errorf("deed %s %s %q failed: %s", c.Label, c.Op, c.Args, outcome)
	}
	return nil
}

// meet waits until as many as are expected have come.
func (r *Recorder) meet(name, parties string) error {
	n, err := strconv.Atoi(parties)
	if err != nil {
		return fmt.Errorf("meet at %s: %w", name, err)
	}
	r.Arrive(name)
	if err := r.await(meetLimit, func() bool { return r.met[name] >= n }); err != nil {
		return fmt.Errorf("meet at %s: %w", name, err)
	}
	return nil
}

// identify asks the kernel who holds the other end of the socket. That process
// waits for our answer, so its entry in /proc is its own.
func identify(conn *net.UnixConn, parent bool) (p Proc, ancestors []Proc, exe string, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return p, nil, "", err
	}
	var cred *syscall.Ucred
	if cerr := raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); cerr != nil || err != nil {
		return p, nil, "", errors.Join(cerr, err)
	}
	chain, err := lineage(cred.Pid)
	if err != nil {
		return p, nil, "", err
	}
	if parent {
		chain = chain[1:]
	}
	if len(chain) == 0 {
		return p, nil, "", errors.New("it has no parent")
	}
	exe, err = os.Readlink(fmt.Sprintf("/proc/%d/exe", chain[0].PID))
	return chain[0], chain[1:], exe, err
}

// lineage is the process and its ancestors up to, not including, init.
func lineage(pid int32) ([]Proc, error) {
	var chain []Proc
	for pid > 1 && len(chain) < maxAncestors {
		p, ppid, err := Stat(pid)
		if err != nil {
			if len(chain) > 0 {
				break // an ancestor ended: what is above it is of no interest
			}
			return nil, err
		}
		chain = append(chain, p)
		pid = ppid
	}
	return chain, nil
}

// Stat reads a process's identity and its parent from /proc.
func Stat(pid int32) (Proc, int32, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Proc{}, 0, err
	}
	s := string(b)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:]) // from field 3 on
	if len(f) < 20 {
		return Proc{}, 0, fmt.Errorf("read /proc/%d/stat: %d fields", pid, len(f)+2)
	}
	ppid, err := strconv.ParseInt(f[1], 10, 32)
	if err != nil {
		return Proc{}, 0, fmt.Errorf("read /proc/%d/stat: %w", pid, err)
	}
	start, err := strconv.ParseUint(f[19], 10, 64)
	if err != nil {
		return Proc{}, 0, fmt.Errorf("read /proc/%d/stat: %w", pid, err)
	}
	return Proc{PID: pid, Start: start}, int32(ppid), nil
}
