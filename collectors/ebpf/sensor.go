package ebpf

import (
	"context"
	"errors"
	"fmt"
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
	wakeAfter    = 50 * time.Millisecond // the first record after so long wakes the reader, if no sooner one does
	flushEvery   = 20 * time.Millisecond // what wakes nobody waits no longer
	flushFor     = 2 * wakeAfter         // after a record was read
	idleEvery    = time.Second
	lostEvery    = time.Second
	leftOutEvery = 5 * time.Second
	clockEvery   = 5 * time.Second
	disarmEvery  = 5 * time.Second
	totalsEvery  = 2 * time.Second // totals of connections that last
	batch        = 256             // records between two looks at the time
)

// A sensor is either back end. Watch and Unwatch may be called while Run runs.
type sensor struct {
	backend   backend
	procPath  string
	own       event.Namespaces // the agent's
	maps      map[string]*ebpf.Map
	progs     map[string]*ebpf.Program
	udpEnds   *ebpf.Variable
	packets   *ebpf.Variable
	usesTurn  *ebpf.Variable
	anyLeft   *ebpf.Variable
	links     []link.Link // always there
	counter   *link.Iter  // counts the watched
	reader    *ringbuf.Reader
	cgroup    *os.File // the root of the cgroup tree; nil: cgroupErr says why
	cgroupErr error

	taps *taps

	// using is held, to read, by whoever uses the kernel's objects without mu:
	// Close waits for them.
	using sync.RWMutex

	mu       sync.Mutex
	on       bool                   // something is watched, or a file watched for: all that is armed is attached
	armed    map[string][]link.Link // by program.key; what is there though the sensor is off comes out bit by bit
	coverage []event.Coverage
	told     int // of coverage: the rest came up while it ran
	closed   bool

	// Of Run alone.
	paths   *resolver
	args    pieces
	heads   heads
	boxes   containers
	offset  int64 // wall clock minus time since boot, ns
	lost    map[loss]uint64
	missed  map[string]uint64 // by program
	uses    uses
	asked   requests
	checked time.Time // when the drops were last counted
	unread  bool      // records came since the last tick
	quick   time.Time // up to then more may come that wake nobody
	next    struct{ lost, leftOut, clock, disarm, totals, uses time.Time }
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
	s.using.RLock()
	defer s.using.RUnlock()
	// Flush is the only way to wake the reader; what is in the ring is read first.
	defer context.AfterFunc(ctx, func() { _ = s.reader.Flush() })()
	s.checked = time.Now()
	s.next.disarm = s.checked.Add(disarmEvery)
	s.reader.SetDeadline(s.checked.Add(idleEvery))
	var rec ringbuf.Record
	for n := 1; ; n++ {
		err := s.reader.ReadInto(&rec)
		switch {
		case err == nil:
			if err := s.handle(rec.RawSample, emit); err != nil {
				return err
			}
			if !s.unread { // what comes behind it may wake nobody
				s.unread = true
				s.reader.SetDeadline(time.Now().Add(flushEvery))
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
	if now.After(s.next.leftOut) {
		s.next.leftOut = now.Add(leftOutEvery)
		if err := s.reportLeftOut(emit); err != nil {
			return err
		}
	}
	if now.After(s.next.totals) && s.isArmed() {
		s.next.totals = now.Add(totalsEvery)
		s.say(s.heads.due(uint64(now.UnixNano()-s.offset)), emit)
		if err := s.tellTotals(); err != nil {
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
	for _, c := range s.newlyBlind() {
		emit(event.Event{Time: now, Source: event.SourceEBPF, Body: c})
	}
	every := idleEvery
	if s.unread {
		s.unread, s.quick = false, now.Add(flushFor)
	}
	if now.Before(s.quick) || s.comesOff() {
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
	if f.head != nil {
		s.say(s.heads.take(f.head), emit)
	}
	ev := event.Event{
		Time: s.wall(f.boot), Proc: f.proc, Source: event.SourceEBPF, Body: f.body, Stranger: f.stranger,
	}
	switch b := f.body.(type) {
	case event.Close:
		s.say(s.heads.closed(b.Socket), emit)
	case nil:
		if e, ok := s.asked.end(f.request, f.result); ok {
			emit(e)
		}
		return nil // a piece of a larger one
	case event.Access:
		for _, ev := range s.access(f, b, ev) {
			emit(ev)
		}
		return nil
	case event.Exec:
		return s.execed(f, b, ev, emit)
	case event.EnvRead:
		name, had := s.taps.read(f.proc, b.Names[0])
		if !had {
			return nil
		}
		b.Names[0] = name
	case event.Exit:
		s.taps.exit(f.proc)
	case event.Namespace:
		b.Now = *s.foreign(&b.Now)
		ev.Body = b
	case event.Candidate, event.Heir:
		s.mu.Lock()
		err := s.arm()
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	if f.stranger {
		emit(s.stranger(f, ev.Time))
	}
	if f.change != nil && f.request != 0 {
		if before, ok := s.asked.begin(f.request, ev, time.Now()); ok {
			emit(before)
		}
		return nil
	}
	s.asked.drop(f.request)
	emit(ev)
	return nil
}

// newlyBlind is what could not be attached since it was last asked for.
func (s *sensor) newlyBlind() []event.Coverage {
	s.mu.Lock()
	defer s.mu.Unlock()
	news := slices.Clone(s.coverage[s.told:])
	s.told = len(s.coverage)
	return news
}

// say emits what processes said on their connections.
func (s *sensor) say(all []saying, emit func(event.Event)) {
	for _, x := range all {
		emit(event.Event{Time: s.wall(x.boot), Proc: x.proc, Source: event.SourceEBPF, Body: x.body})
	}
}

// tellTotals has the kernel side put the totals of living connections into the
// ring.
func (s *sensor) tellTotals() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	prog := s.progs[sensorProgTotals]
	if prog == nil || s.closed {
		return nil
	}
	if _, err := prog.Run(&ebpf.RunOptions{}); err != nil {
		return fmt.Errorf("read totals of connections: %w", err)
	}
	return nil
}

// wall turns the kernel's time since boot into that of the clock on the wall.
func (s *sensor) wall(boot uint64) time.Time { return time.Unix(0, int64(boot)+s.offset) }

// finish tells what is still to be told.
func (s *sensor) finish(emit func(event.Event)) error {
	for _, e := range s.asked.expire(time.Time{}) {
		emit(e)
	}
	return errors.Join(s.lastUses(emit), s.reportLost(emit), s.reportLeftOut(emit))
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

// Close detaches all. Nothing was pinned, so nothing stays. Where Run still runs,
// it ends with what it has read.
func (s *sensor) Close() error {
	if !s.shut() {
		return nil
	}
	var errs []error
	if s.reader != nil {
		errs = append(errs, s.reader.Close())
	}
	s.using.Lock()
	defer s.using.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	errs = append(errs, closeLinks(slices.Concat(slices.Collect(maps.Values(s.armed))...)), closeLinks(s.links))
	if s.counter != nil {
		errs = append(errs, s.counter.Close())
	}
	if s.cgroup != nil {
		errs = append(errs, s.cgroup.Close())
	}
	for _, p := range s.progs {
		errs = append(errs, p.Close()) // a nil one too
	}
	for _, m := range s.maps {
		errs = append(errs, m.Close())
	}
	if s.paths != nil {
		errs = append(errs, s.paths.close())
	}
	return errors.Join(errs...)
}

// shut has nothing attached any more. False: it was called before.
func (s *sensor) shut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.closed
	s.closed = true
	return !before
}
