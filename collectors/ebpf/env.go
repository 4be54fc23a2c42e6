package ebpf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// What it takes to look into processes, and how much of it there is.
const (
	maxTapped  = 64  // processes at once; the oldest gives way
	tapRate    = 20  // processes a second, when maxTapped have come at once: as fast as probes can be taken out
	tapQueue   = 256 // execs that wait
	closeQueue = 512 // probes that wait to be taken out
	closers    = 4   // taken out at once: each waits for the kernel, some 20 ms
)

// sensorGetenvBytes is how much of a name the kernel side gives, with a zero.
const sensorGetenvBytes = len(sensorGetenvRec{}.Name)

// taps are the probes at getenv in the C library, and at the variable look-up
// of bash, of watched processes that exec a dynamic program.
//
// A probe is filtered by process in the kernel, which leaves the code of all
// others as it is. It is put in when the agent has read the exec, some 100 µs of
// work and some milliseconds after the fact: what a program asks before that is
// not seen, nor what it asks in a child that it forks and does not exec.
type taps struct {
	wait    chan tapped
	closing chan link.Link

	mu     sync.Mutex
	had    map[event.ProcID]handed // of those that are tapped, or wait
	missed uint64                  // not tapped as there were too many

	// Of the loop alone.
	live  map[event.ProcID][]link.Link
	order []event.ProcID
	files known
	spare bucket
}

// A bucket holds leave to tap processes: at most maxTapped, and tapRate more
// each second.
type bucket struct {
	left float64
	at   time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.left = min(maxTapped, b.left+tapRate*now.Sub(b.at).Seconds()) // full at first: the zero time is long ago
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// A tapped process is one that exec'ed; file is the executable.
type tapped struct {
	id   event.ProcID
	file event.FileID
	path string
	end  bool // it ended
}

// handed are the variables that a process was given at its last exec.
type handed struct {
	names map[string]bool
	cut   bool // there were more
}

func newTaps() *taps {
	return &taps{
		wait: make(chan tapped, tapQueue), closing: make(chan link.Link, closeQueue),
		had: map[event.ProcID]handed{}, live: map[event.ProcID][]link.Link{}, files: known{},
	}
}

// exec notes that a process may have to be tapped. It never waits.
func (t *taps) exec(id event.ProcID, x event.Exec) {
	if len(x.EnvNames) == 0 || x.Bits32 {
		return // it has nothing to read
	}
	h := handed{names: make(map[string]bool, len(x.EnvNames)), cut: x.EnvTruncated}
	for _, name := range x.EnvNames {
		h.names[name] = true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case t.wait <- tapped{id: id, file: x.File, path: x.Path}:
		t.had[id] = h
	default:
		t.missed++
	}
}

func (t *taps) exit(id event.ProcID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.had[id]; !ok {
		return
	}
	delete(t.had, id)
	select {
	case t.wait <- tapped{id: id, end: true}:
	default: // it gives way as the oldest, later
	}
}

// read reports whether a process that asked for a variable had it from the
// start. What a shell has set itself is nobody's secret but its own, and what
// is not there cannot be read. A name that the kernel side has cut comes back
// whole.
func (t *taps) read(id event.ProcID, name string) (whole string, had bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h, ok := t.had[id]
	if !ok || h.cut || h.names[name] {
		return name, true
	}
	if len(name) == sensorGetenvBytes-1 {
		for whole := range h.names {
			if strings.HasPrefix(whole, name) {
				return whole, true
			}
		}
	}
	return name, false
}

// takeMissed gives the number of processes that were not tapped, since last
// asked.
func (t *taps) takeMissed() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.missed
	t.missed = 0
	return n
}

// Loops are the sensor's slow work, beside Run: putting in probes, and taking
// them out.
func (s *sensor) Loops() []func(context.Context) error {
	loops := []func(context.Context) error{s.tap}
	for range closers {
		loops = append(loops, s.untap)
	}
	return loops
}

// untap takes probes out until the other loop has ended and all are out.
func (s *sensor) untap(context.Context) error {
	for l := range s.taps.closing {
		_ = l.Close() // there is nothing to do about it
	}
	return nil
}

// tap puts probes in until ctx is done.
func (s *sensor) tap(ctx context.Context) error {
	t := s.taps
	defer close(t.closing)
	defer func() {
		for len(t.order) > 0 {
			t.release(t.order[0])
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-t.wait:
			if p.end {
				t.release(p.id)
				continue
			}
			s.tapOne(p)
		}
	}
}

// tapOne taps a process. What it was tapped with before its exec is taken out
// last: probes are bound to process and file, and come back by themselves when
// the file is mapped again.
func (s *sensor) tapOne(p tapped) {
	t := s.taps
	if !t.lives(p.id) {
		return
	}
	if !t.spare.take(time.Now()) {
		t.miss(p.id)
		return
	}
	links, err := s.probesWhileOpen(p)
	t.release(p.id)
	if err != nil || len(links) == 0 {
		t.spare.left++
		return // gone, static, or of a kind that is not known
	}
	for len(t.order) >= maxTapped {
		oldest := t.order[0]
		t.release(oldest)
		t.miss(oldest)
	}
	t.live[p.id] = links
	t.order = append(t.order, p.id)
}

// lives reports whether no end of the process has been told.
func (t *taps) lives(id event.ProcID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.had[id]
	return ok
}

// miss counts a process that is not looked into, or not any more.
func (t *taps) miss(id event.ProcID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.had, id)
	t.missed++
}

// release hands the probes of a process to those that take them out, and waits
// where these are behind.
func (t *taps) release(id event.ProcID) {
	for _, l := range t.live[id] {
		t.closing <- l
	}
	delete(t.live, id)
	if i := slices.Index(t.order, id); i >= 0 {
		t.order = slices.Delete(t.order, i, i+1)
	}
}

// probesWhileOpen puts in the probes, unless the sensor is closed by now.
func (s *sensor) probesWhileOpen(p tapped) ([]link.Link, error) {
	s.using.RLock()
	defer s.using.RUnlock()
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return nil, os.ErrClosed
	}
	return s.probes(p)
}

// probes puts in what there is for the process.
func (s *sensor) probes(p tapped) ([]link.Link, error) {
	root, err := unix.Open(filepath.Join(s.procPath, strconv.Itoa(int(p.id.PID)), "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open root of process: %w", err)
	}
	defer unix.Close(root)
	// Read after the directory was opened, which shows that it is this process's.
	if start, err := readStart(s.procPath, p.id.PID); err != nil || start != p.id.Start {
		return nil, errors.Join(os.ErrNotExist, err)
	}
	var links []link.Link
	for _, at := range s.taps.files.places(s.procPath, root, p) {
		prog := s.progs[sensorProgGotEnv]
		if at.shell {
			prog = s.progs[sensorProgShellFound]
		}
		if prog == nil {
			continue
		}
		if l, err := attachTo(at.path, prog, p.id.PID, at.offsets); err == nil {
			links = append(links, l)
		}
	}
	s.taps.files.closeAll()
	return links, nil
}

// attachTo puts a program at places in a file, for one process. It takes a link
// of many uprobes (Linux 6.6): the older kind wants CAP_SYS_ADMIN, which the
// agent has given up by then.
func attachTo(file string, prog *ebpf.Program, pid int32, offsets []uint64) (link.Link, error) {
	ex, err := link.OpenExecutable(file)
	if err != nil {
		return nil, err
	}
	return ex.UprobeMulti(nil, prog, &link.UprobeMultiOptions{PID: uint32(pid), Addresses: offsets})
}

// tryTaps finds out whether the kernel lets the programs be put anywhere: at a
// place in a file that this process has not mapped.
func (s *sensor) tryTaps() {
	for _, p := range programs(s.backend) {
		prog := s.progs[p.name]
		if p.hook != library || prog == nil {
			continue
		}
		l, err := attachTo("/bin/sh", prog, int32(os.Getpid()), []uint64{4096})
		if err == nil {
			_ = l.Close()
			continue
		}
		s.blind(p, err)
		_ = prog.Close()
		delete(s.progs, p.name)
	}
}

// reportMissed says how many processes were not looked into.
func (s *sensor) reportMissed(emit func(event.Event)) {
	if n := s.taps.takeMissed(); n > 0 {
		emit(event.Event{Time: time.Now(), Source: event.SourceEBPF, Body: event.Lost{
			Of: event.KindEnvRead, Count: n, Cause: "more processes at once than are looked into for getenv",
		}})
	}
}
