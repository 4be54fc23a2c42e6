package ebpf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

const (
	flushEvery  = 50 * time.Millisecond // records that did not wake the reader wait no longer
	idleEvery   = time.Second           // and so where nothing is watched
	lostEvery   = time.Second
	clockEvery  = 5 * time.Second
	disarmEvery = 30 * time.Second
	batch       = 256 // records between two looks at the time
)

// A sensor is the tracepoint back end. Watch and Unwatch may be called while
// Run runs.
type sensor struct {
	procPath  string
	maps      map[string]*ebpf.Map
	progs     map[string]*ebpf.Program
	udpEnds   *ebpf.Variable
	usesTurn  *ebpf.Variable
	links     []link.Link // always there
	counter   *link.Iter  // counts the watched
	reader    *ringbuf.Reader
	cgroup    *os.File // the root of the cgroup tree; nil: cgroupErr says why
	cgroupErr error

	mu       sync.Mutex
	on       bool                   // something is watched: all that is armed is attached
	armed    map[string][]link.Link // by program.key; what is there though the sensor is off comes out bit by bit
	coverage []event.Coverage
	closed   bool

	// Of Run alone.
	paths   *resolver
	args    pieces
	uses    uses
	asked   requests
	offset  int64 // wall clock minus time since boot, ns
	lost    map[loss]uint64
	checked time.Time // when the drops were last counted
	next    struct{ lost, clock, disarm, uses time.Time }
}

// Coverage says what this kernel keeps from the sensor's sight; nothing where
// all of it works.
func (s *sensor) Coverage() []event.Coverage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.coverage)
}

// Run reads the ring until ctx is done. It may be called once.
func (s *sensor) Run(ctx context.Context, emit func(event.Event)) error {
	// Flush is the only way to wake the reader; what is in the ring is read first.
	defer context.AfterFunc(ctx, func() { _ = s.reader.Flush() })()
	s.next.disarm = time.Now().Add(disarmEvery)
	var rec ringbuf.Record
	for n := 1; ; n++ {
		err := s.reader.ReadInto(&rec)
		switch {
		case err == nil:
			if err := s.handle(rec.RawSample, emit); err != nil {
				return err
			}
			if n%batch != 0 {
				continue
			}
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, ringbuf.ErrFlushed):
			if ctx.Err() != nil {
				return s.finish(emit)
			}
		case errors.Is(err, ringbuf.ErrClosed):
			return nil
		default:
			return fmt.Errorf("read ring buffer: %w", err)
		}
		if err := s.tick(time.Now(), emit); err != nil {
			return err
		}
	}
}

// tick does what is due at this time, and sets the time of the next.
func (s *sensor) tick(now time.Time, emit func(event.Event)) error {
	s.paths.forget()
	if err := s.drainUses(now, emit); err != nil {
		return err
	}
	for _, e := range s.asked.expire(now) {
		emit(e)
	}
	if now.After(s.next.clock) {
		s.next.clock = now.Add(clockEvery)
		if err := s.setClock(); err != nil {
			return err
		}
	}
	if now.After(s.next.lost) {
		s.next.lost = now.Add(lostEvery)
		if err := s.reportLost(emit); err != nil {
			return err
		}
	}
	if now.After(s.next.disarm) {
		s.next.disarm = now.Add(disarmEvery)
		if err := s.disarmIdle(); err != nil {
			return err
		}
	}
	if err := s.takeOut(); err != nil {
		return err
	}
	every := idleEvery
	if s.isArmed() {
		every = flushEvery
	}
	s.reader.SetDeadline(now.Add(every))
	return nil
}

// handle turns one record into an event.
func (s *sensor) handle(raw []byte, emit func(event.Event)) error {
	f, err := s.args.decode(raw)
	if err != nil {
		emit(event.Event{Time: time.Now(), Source: event.SourceEBPF, Body: event.Lost{
			Of: f.kind(), Count: 1, Cause: err.Error(),
		}})
		return nil
	}
	if f.change != nil {
		f.body = f.change.body(s.paths, f.proc)
	}
	if f.file != nil {
		s.uses.note(*f.file)
	}
	switch f.body.(type) {
	case nil:
		if e, ok := s.asked.end(f.request, f.result); ok {
			emit(e)
		}
		return nil // a piece of a larger one
	case event.Candidate:
		s.mu.Lock()
		err := s.arm()
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	e := event.Event{Time: s.wall(f.boot), Proc: f.proc, Source: event.SourceEBPF, Body: f.body}
	if f.change != nil && f.request != 0 {
		if before, ok := s.asked.begin(f.request, e, time.Now()); ok {
			emit(before)
		}
		return nil
	}
	s.asked.drop(f.request)
	emit(e)
	return nil
}

// wall turns the kernel's time since boot into that of the clock on the wall.
func (s *sensor) wall(boot uint64) time.Time { return time.Unix(0, int64(boot)+s.offset) }

// finish tells what is still to be told.
func (s *sensor) finish(emit func(event.Event)) error {
	for _, e := range s.asked.expire(time.Time{}) {
		emit(e)
	}
	return errors.Join(s.lastUses(emit), s.reportLost(emit))
}

// setClock measures what to add to the kernel's time since boot.
func (s *sensor) setClock() error {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return fmt.Errorf("read boot clock: %w", err)
	}
	s.offset = time.Now().UnixNano() - ts.Nano()
	return nil
}

// Watch marks a process. The fork hook was attached when the sensor was opened,
// so there is no moment between this and it in which a child could slip through.
func (s *sensor) Watch(id event.ProcID) error {
	if id.PID == int32(os.Getpid()) {
		return errors.New("watch process: it is this one")
	}
	s.mu.Lock() // up to the mark: an armed sensor that watches nothing is soon disarmed
	defer s.mu.Unlock()
	// Armed first: from its mark on, all that it does is seen.
	if err := s.arm(); err != nil {
		return err
	}
	err := s.withPidfd(id, func(fd uint32) error {
		err := s.maps[sensorMapMarks].Update(fd, sensorMark{}, ebpf.UpdateNoExist)
		if errors.Is(err, ebpf.ErrKeyExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("watch process %v: %w", id, err)
	}
	return nil
}

// Unwatch takes the mark of one process back.
func (s *sensor) Unwatch(id event.ProcID) error {
	err := s.withPidfd(id, func(fd uint32) error {
		for _, err := range []error{s.maps[sensorMapMarks].Delete(fd), s.maps[sensorMapHeadless].Delete(uint32(id.PID))} {
			if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("unwatch process %v: %w", id, err)
	}
	return nil
}

// withPidfd calls do with a descriptor of the process, if it is the one that
// started at that time. fs.ErrNotExist: it is gone.
func (s *sensor) withPidfd(id event.ProcID, do func(uint32) error) error {
	fd, err := unix.PidfdOpen(int(id.PID), 0)
	if errors.Is(err, unix.ESRCH) {
		return fs.ErrNotExist
	}
	if err != nil {
		return fmt.Errorf("open pidfd: %w", err)
	}
	defer unix.Close(fd)
	// Read after the descriptor was opened, which keeps the process what it is.
	start, err := readStart(s.procPath, id.PID)
	if err != nil {
		return err
	}
	if start != id.Start {
		return fs.ErrNotExist
	}
	err = do(uint32(fd))
	if errors.Is(err, ebpf.ErrKeyNotExist) || errors.Is(err, unix.ESRCH) {
		return fs.ErrNotExist
	}
	return err
}

// arm attaches the hooks that cost others something, if they are not there. It
// takes some 10 ms, and the lock held.
func (s *sensor) arm() error {
	if s.closed {
		return fmt.Errorf("arm sensor: %w", os.ErrClosed)
	}
	if s.on {
		return nil
	}
	for _, p := range programs() {
		prog := s.progs[p.name]
		if !p.armed || prog == nil || s.armed[p.key()] != nil {
			continue
		}
		links, err := s.attach(p)
		if err != nil && p.lack == "" {
			return fmt.Errorf("arm sensor: %w", err)
		}
		if err != nil {
			s.blind(p, err)
			s.progs[p.name] = nil
			_ = prog.Close()
			continue
		}
		s.armed[p.key()] = links
		if p.name == sensorProgSockReleased {
			if err := s.udpEnds.Set(true); err != nil {
				return fmt.Errorf("set %s: %w", sensorVarUdpEnds, err)
			}
		}
	}
	s.on = true
	return s.reader.Flush() // so that Run sets a deadline fit for it
}

func (s *sensor) isArmed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.on || len(s.armed) > 0
}

// disarmIdle has the costly hooks taken out when nothing is watched any more and
// no socket is left whose end is to be told. A process that the kernel side marks
// comes with a Candidate, which arms again.
func (s *sensor) disarmIdle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.on {
		return nil
	}
	n, err := s.watched()
	if err != nil || n > 0 {
		return err
	}
	var key uint64
	if err := s.maps[sensorMapFlows].NextKey(nil, &key); !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	s.on = false
	return nil
}

// takeOut detaches one program of a sensor that is off, the last one first.
// There are many, and whoever wants to watch waits for one of them only.
func (s *sensor) takeOut() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on || len(s.armed) == 0 {
		return nil
	}
	for _, p := range slices.Backward(programs()) {
		if links, ok := s.armed[p.key()]; ok {
			delete(s.armed, p.key())
			return closeLinks(links)
		}
	}
	return nil
}

// watched counts the marked processes, which takes the kernel 2 µs for each
// process of the host.
func (s *sensor) watched() (int, error) {
	r, err := s.counter.Open()
	if err != nil {
		return 0, fmt.Errorf("count watched processes: %w", err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return 0, fmt.Errorf("count watched processes: %w", err)
	}
	return len(b), nil
}

// Close detaches all. Nothing was pinned, so nothing stays.
func (s *sensor) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	errs := []error{closeLinks(slices.Concat(slices.Collect(maps.Values(s.armed))...)), closeLinks(s.links)}
	if s.counter != nil {
		errs = append(errs, s.counter.Close())
	}
	if s.cgroup != nil {
		errs = append(errs, s.cgroup.Close())
	}
	if s.reader != nil {
		errs = append(errs, s.reader.Close())
	}
	for _, p := range s.progs {
		errs = append(errs, p.Close())
	}
	for _, m := range s.maps {
		errs = append(errs, m.Close())
	}
	if s.paths != nil {
		errs = append(errs, s.paths.close())
	}
	return errors.Join(errs...)
}
