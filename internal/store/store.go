// Package store keeps records and alerts on this host: one SQLite file in WAL
// mode, one writer, many readers, bounded by size and by age.
//
// Records are written in compressed blocks of up to 256, found by a table of
// terms (kind, skill, session, gateway, PID) that each block contains; see
// block.go for why. Alerts, and the records they name, are rows of their own:
// they are few, and outlive the flood of records around them. So does the
// inventory of skills. When the store is full the oldest records go first;
// alerts go when no record is left to go.
//
// Costs: 10 to 20 µs of CPU and 30 to 70 bytes of disk a record. A query reads only
// blocks that can match, but one for something common over a long time parses
// them all: about 10 µs a record again. No read transaction outlives one
// block, so that slow readers hold up neither the writer nor the checkpoint.
//
// What it does not do: it does not wait for the disk at every commit
// (synchronous=NORMAL). A killed process loses nothing that Append returned
// for; a power failure may lose the last seconds, and damages nothing.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Errors that callers tell apart.
var (
	ErrNotFound  = errors.New("not found")
	ErrAmbiguous = errors.New("more than one ID begins so")
	ErrFull      = errors.New("disk full")
)

// Limits bound the store. Zero fields take the defaults.
type Limits struct {
	MaxBytes int64         // of the database file's used pages; default 512 MiB
	MaxAge   time.Duration // of records; default 30 days. Alerts are kept six times as long
	Now      func() time.Time
}

const alertAges = 6 // how many times as long as records alerts are kept

func (l Limits) withDefaults() Limits {
	if l.MaxBytes <= 0 {
		l.MaxBytes = 512 << 20
	}
	if l.MaxAge <= 0 {
		l.MaxAge = 30 * 24 * time.Hour
	}
	if l.Now == nil {
		l.Now = time.Now
	}
	return l
}

// A Store is an open store. Append and Close belong to one goroutine; all else
// may be called from any.
type Store struct {
	path      string
	limits    Limits
	w, r      *sql.DB
	insert    statements
	codec     *codec
	encoder   *encoder
	recovered string

	// The writer's own.
	next    int64  // cursor of the next record
	tail    *block // the newest block while it is not full; nil: none
	spare   []byte // memory for the lines of a block; nil: none
	written int64  // bytes of blocks since the last trim
	closed  bool
	damaged bool // SQLite reported a malformed file

	mu      sync.Mutex
	changed chan struct{} // closed, and replaced, when something was appended
	head    heads
}

// heads are the cursors of the newest record and the newest alert.
type heads struct{ records, alerts int64 }

// Open opens the store at path, or makes it: the file with mode 0600, its
// directory, where missing, with 0700. A file that is damaged, or of a layout
// that this version does not know, is set aside under another name and an empty
// store is begun; Recovered tells.
func Open(path string, limits Limits) (*Store, error) {
	path, err := filepath.Abs(path) // SQLite takes it as a URI, which has no other
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{path: path, limits: limits.withDefaults(), encoder: newEncoder(), changed: make(chan struct{})}
	err = s.open()
	if isDamage(err) {
		var aside string
		if aside, s.recovered, err = setAside(path, s.limits.Now(), err); err != nil {
			return nil, fmt.Errorf("open store: set aside %s: %w", path, err)
		}
		if err = s.open(); err != nil {
			return nil, fmt.Errorf("open store in place of %s: %w", aside, err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return s, nil
}

// open does the work of Open once, and undoes it on error.
func (s *Store) open() (err error) {
	defer func() {
		if err != nil {
			_ = s.release() // err says what matters
			s.w, s.r, s.codec = nil, nil, nil
		}
	}()
	if s.w, s.r, err = openDB(s.path); err != nil {
		return err
	}
	if s.insert, err = prepare(s.w); err != nil {
		return err
	}
	if s.codec, err = newCodec(); err != nil {
		return err
	}
	return s.load()
}

// load reads where the last writer stopped.
func (s *Store) load() error {
	var next, alerts sql.NullInt64
	if err := s.w.QueryRow(`SELECT max(n) FROM (SELECT seq + count AS n FROM blocks WHERE seq = (SELECT max(seq) FROM blocks)
		UNION ALL SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'next')`).Scan(&next); err != nil {
		return fmt.Errorf("read newest block: %w", err)
	}
	if err := s.w.QueryRow(`SELECT max(seq) FROM alerts`).Scan(&alerts); err != nil {
		return fmt.Errorf("read newest alert: %w", err)
	}
	s.next = max(next.Int64, 1)
	s.head = heads{records: s.next - 1, alerts: alerts.Int64}
	return nil
}

// Close ends the store in an orderly way, which saves the next Open a check of
// the whole file.
func (s *Store) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	var err error
	if !s.damaged {
		_, err = s.w.Exec(`INSERT OR REPLACE INTO meta(key, value) VALUES ('clean', '1')`)
	}
	return errors.Join(err, s.release())
}

func (s *Store) release() error {
	var errs []error
	if s.r != nil {
		errs = append(errs, s.r.Close())
	}
	if s.w != nil {
		errs = append(errs, s.w.Close())
	}
	if s.codec != nil {
		s.codec.close()
	}
	return errors.Join(errs...)
}

// Recovered says, for the log, that and why Open set a file aside; empty when
// it did not.
func (s *Store) Recovered() string { return s.recovered }

// Head returns the cursor of the newest record, for Query.After.
func (s *Store) Head() int64 {
	h, _ := s.heads()
	return h.records
}

// heads returns the cursors and a channel that is closed when they move.
func (s *Store) heads() (heads, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head, s.changed
}

// publish wakes whoever follows.
func (s *Store) publish(h heads) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head = h
	close(s.changed)
	s.changed = make(chan struct{})
}

// Stats is how much the store holds.
type Stats struct {
	Records  int64     `json:"records"`
	Alerts   int64     `json:"alerts"`
	Bytes    int64     `json:"bytes"`     // of the file's used pages
	MaxBytes int64     `json:"max_bytes"` // the limit on Bytes
	Oldest   time.Time `json:"oldest,omitzero"`
	Newest   time.Time `json:"newest,omitzero"`
}

// Stats counts what the store holds. Amended records count twice while both
// forms are on disk.
func (s *Store) Stats(ctx context.Context) (Stats, error) {
	st := Stats{MaxBytes: s.limits.MaxBytes}
	var records, first, last sql.NullInt64
	err := s.r.QueryRowContext(ctx, `SELECT sum(count), min(first), max(last) FROM blocks`).Scan(&records, &first, &last)
	if err == nil {
		err = s.r.QueryRowContext(ctx, `SELECT count(*) FROM alerts`).Scan(&st.Alerts)
	}
	if err == nil {
		st.Bytes, err = usedBytes(ctx, s.r)
	}
	if err != nil {
		return st, fmt.Errorf("count records: %w", err)
	}
	st.Records = records.Int64
	if first.Valid {
		st.Oldest, st.Newest = time.Unix(0, first.Int64).UTC(), time.Unix(0, last.Int64).UTC()
	}
	return st, nil
}

// LastTime returns the time of the newest record, and the zero time when there
// is none. What happened after it, before this start, nobody recorded.
func (s *Store) LastTime(ctx context.Context) (time.Time, error) {
	var last sql.NullInt64
	if err := s.r.QueryRowContext(ctx, `SELECT max(last) FROM blocks`).Scan(&last); err != nil {
		return time.Time{}, fmt.Errorf("read newest time: %w", err)
	}
	if !last.Valid {
		return time.Time{}, nil
	}
	return time.Unix(0, last.Int64).UTC(), nil
}

// nanos is t in nanoseconds since 1970, held to the years that fit.
func nanos(t time.Time) int64 {
	switch {
	case t.Year() < 1678:
		return math.MinInt64
	case t.Year() > 2261:
		return math.MaxInt64
	}
	return t.UnixNano()
}

// usedBytes is the size of the database without its free pages.
func usedBytes(ctx context.Context, db asker) (int64, error) {
	var pages, free, size int64
	for q, v := range map[string]*int64{"PRAGMA page_count": &pages, "PRAGMA freelist_count": &free, "PRAGMA page_size": &size} {
		if err := db.QueryRowContext(ctx, q).Scan(v); err != nil {
			return 0, fmt.Errorf("read size: %w", err)
		}
	}
	return (pages - free) * size, nil
}

// A Found is a record or an alert: one of the two is set.
type Found struct {
	Record *event.Record `json:"record,omitempty"`
	Alert  *event.Alert  `json:"alert,omitempty"`
}

// makeFile makes an empty file that only the owner reads; SQLite gives its
// companions (-wal, -shm) the same mode.
func makeFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}
