// Package spool is a queue of byte strings on disk, between a producer that must
// not wait and a consumer that may be away for days.
//
// What Put accepted survives the death of the process at any instant, and with
// Sync that of the machine. Read gives the oldest entries again and again until
// Ack: delivery is at least once, in order. A queue is a directory of numbered
// segment files, written once, from front to back, and unlinked when delivered,
// and a file that says how far delivery came.
//
// Costs: a Put is one write of the data and 20 bytes, an Ack one write of 20
// bytes. Memory holds one frame and a few words a segment. Opening reads the
// headers of the entries, not the entries.
//
// When the bound is reached Put refuses the newest; when the disk is full Put
// fails and what was queued stays deliverable, since delivering needs no space.
// A damaged place costs the entries it touches: Read finds the next whole one,
// and Stats counts what was passed over.
//
// Not seen: entries that a power failure took from the page cache, when Sync is
// off and the whole tail of a segment is gone; there is nothing to tell it by.
package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// ErrFull says that the queue is at its bound. What was offered was not taken.
var ErrFull = errors.New("queue is full")

// ErrClosed says that the queue was closed.
var ErrClosed = errors.New("queue is closed")

const (
	lockName      = "lock"
	cursorName    = "cursor"
	segmentSuffix = ".seg"
	segmentSize   = 8 << 20 // bytes after which a new segment begins
	recycleSize   = 1 << 20 // bytes of delivered data that may stay on disk
)

// Config describes a queue.
type Config struct {
	Dir      string // made if missing, 0700; one process at a time
	MaxItems int64  // 0: no bound
	MaxBytes int64  // on disk, 0: no bound
	Sync     bool   // a Put also survives a power failure; costs some ms each
}

// Stats is the state of a queue.
type Stats struct {
	Items, Bytes int64 // queued and not acknowledged; Bytes is what they take on disk
	DamagedItems int64 // whose header was whole and whose data was not, since Open
	DamagedBytes int64 // passed over since Open, in all
}

// An Entry is what one Put took.
type Entry struct {
	Data  []byte
	Items int
}

// A Spool is a queue on disk. Any number of goroutines may Put; one may Read
// and Ack.
type Spool struct {
	cfg   Config
	root  *os.Root
	lock  *os.File
	ready chan struct{}

	mu       sync.Mutex
	closed   bool
	segments []*segment // oldest first; Put writes to the last one if writable
	writable bool
	next     uint64 // number of the next segment
	cursor   *os.File
	head     int64  // bytes of segments[0] that are delivered
	ends     []mark // of the entries of the last Read, all in segments[0]
	buf      []byte // frame being written
	stats    Stats
}

// A segment is one file.
type segment struct {
	number uint64
	file   *os.File
	size   int64 // bytes of whole frames, and of damaged ones before them
}

// A mark is the place after an entry that was read.
type mark struct {
	offset int64
	items  int64
}

// Open opens the queue in cfg.Dir, or makes it. The Spool is then the only one
// on that directory: a second Open fails while it lives.
func Open(cfg Config) (*Spool, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make queue directory: %w", err)
	}
	root, err := os.OpenRoot(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open queue directory: %w", err)
	}
	s := &Spool{cfg: cfg, root: root, ready: make(chan struct{}, 1), next: 1}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open queue %s: %w", cfg.Dir, err), s.Close())
	}
	return s, nil
}

func (s *Spool) load() error {
	var err error
	if s.lock, err = s.root.OpenFile(lockName, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	if err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("lock: another process has it: %w", err)
	}
	if s.cursor, err = s.root.OpenFile(cursorName, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	number, offset := readCursor(s.cursor)
	if number == 0 { // new or damaged; if the disk is full now, Ack will say so
		_ = writeCursor(s.cursor, 0, 0)
	}
	s.next = number + 1
	numbers, err := listSegments(s.root)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		if n < number { // delivered; the process died before it was unlinked
			if err := s.root.Remove(segmentName(n)); err != nil {
				return err
			}
			continue
		}
		if err := s.addOld(n); err != nil {
			return err
		}
	}
	if len(s.segments) > 0 && s.segments[0].number == number {
		s.head = min(offset, s.segments[0].size)
	}
	s.count()
	return nil
}

// addOld adds a segment that an earlier process wrote.
func (s *Spool) addOld(number uint64) error {
	f, err := s.root.OpenFile(segmentName(number), os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", segmentName(number))
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.segments = append(s.segments, &segment{number: number, file: f, size: info.Size()})
	s.next = max(s.next, number+1)
	return nil
}

// count walks the headers of all that is queued.
func (s *Spool) count() {
	from := s.head
	for _, g := range s.segments {
		s.stats.Bytes += g.size - from
		for from < g.size {
			h, at := nextHeader(g.file, from, g.size)
			s.stats.Items += int64(h.items)
			from = at + h.size()
		}
		from = 0
	}
	if len(s.segments) > 0 {
		s.ready <- struct{}{}
	}
}

// Put appends data, which stands for so many items, and returns when it is on
// disk. The error wraps ErrFull at the bound; any other means that the disk did
// not take it. In both cases the queue is as it was.
func (s *Spool) Put(data []byte, items int) error {
	if len(data) > maxData {
		return fmt.Errorf("queue entry: %d bytes, at most %d", len(data), maxData)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	n := int64(headerSize + len(data))
	if over(s.stats.Items+int64(items), s.cfg.MaxItems) || over(s.stats.Bytes+n, s.cfg.MaxBytes) {
		return fmt.Errorf("%w: %d items, %d bytes", ErrFull, s.stats.Items, s.stats.Bytes)
	}
	if !s.writable || s.segments[len(s.segments)-1].size >= segmentSize {
		if err := s.grow(); err != nil {
			return fmt.Errorf("begin queue segment: %w", err)
		}
	}
	g := s.segments[len(s.segments)-1]
	s.buf = appendFrame(s.buf[:0], data, items)
	if err := s.write(g); err != nil {
		s.writable = false // never write behind what may be half a frame
		return fmt.Errorf("write queue segment: %w", err)
	}
	g.size += n
	s.stats.Items += int64(items)
	s.stats.Bytes += n
	select {
	case s.ready <- struct{}{}:
	default: // the reader has yet to notice the one before
	}
	return nil
}

func over(n, bound int64) bool { return bound > 0 && n > bound }

// write writes s.buf at the end of g. If it fails, nothing of it stays.
func (s *Spool) write(g *segment) error {
	_, err := g.file.WriteAt(s.buf, g.size)
	if err == nil && s.cfg.Sync {
		err = g.file.Sync()
	}
	if err != nil {
		return errors.Join(err, g.file.Truncate(g.size))
	}
	return nil
}

// grow begins a new segment.
func (s *Spool) grow() error {
	f, err := s.root.OpenFile(segmentName(s.next), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if s.cfg.Sync {
		if err := syncDir(s.root); err != nil {
			return errors.Join(err, f.Close(), s.root.Remove(segmentName(s.next)))
		}
	}
	s.segments = append(s.segments, &segment{number: s.next, file: f})
	s.writable = true
	s.next++
	return nil
}

// Ready is signalled when something was put, or was there at Open.
func (s *Spool) Ready() <-chan struct{} { return s.ready }

// Stats is the state of the queue now.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Close gives the directory back. What is queued stays queued.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	for _, g := range s.segments {
		errs = append(errs, g.file.Close())
	}
	for _, f := range []*os.File{s.cursor, s.lock} { // closing the lock unlocks
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(append(errs, s.root.Close())...)
}

func segmentName(number uint64) string { return fmt.Sprintf("%020d%s", number, segmentSuffix) }

// listSegments gives the numbers of the segments, oldest first.
func listSegments(root *os.Root) ([]uint64, error) {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, e := range entries {
		base, ok := strings.CutSuffix(filepath.Base(e.Name()), segmentSuffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(base, 10, 64)
		if err != nil || n == 0 || segmentName(n) != e.Name() {
			continue // not ours
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers, nil
}

func syncDir(root *os.Root) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
