package openclaw

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

const (
	databaseName = "openclaw-agent.sqlite"
	overlap      = 128             // newest rows that are looked at again each time
	readFor      = 4 * time.Second // and readBytes: after which the rest of a database has to wait
	readBytes    = 64 << 20
	openTimeout  = 3 * time.Second
	maxLook      = 4096             // newest rows of a session among which the first of our time is looked for
	batch        = 512              // rows listed at once
	retryAfter   = 10 * time.Second // a database that could not be read
	patience     = 2 * time.Second  // that it may fail before that is said
	visible      = time.Second      // from the writing of a commit, and its sync, to where readers see it

	// How far back a session that lives is learned from.
	backfillAge      = 24 * time.Hour
	backfillSessions = 100
	backfillRows     = 1000 // of one session
)

// records follows the transcript of one agent. New rows are found by row number.
// Rows can also be deleted and their numbers used again (a reset, a rewritten
// ending), so the newest are compared each time, and a row is reported once by
// its own ID.
type records struct {
	*teller
	uid uint32

	dirty   bool                                               // to be read
	open    func(context.Context, string) (*connection, error) // openDatabase
	opening chan opened                                        // not nil: it is being opened
	conn    *connection                                        // while it is being read
	reading *os.File                                           // the directory that it was opened in, so long
	until   time.Time                                          // it may be read, this time
	left    int64                                              // bytes that may be
	bad     event.Lost                                         // rows that could not be read, this time
	files   [2]stamp                                           // database and -wal, as of the last reading
	failing time.Time                                          // since when; zero: it is not
	retry   time.Time                                          // not before
	started bool
	last    int64 // highest row number read
	tail    map[int64]meta
	coverage
}

// A stamp changes when a file's content does.
type stamp struct {
	size    int64
	changed time.Time
	inode   uint64
}

func newRecords(t *teller, uid uint32) *records {
	return &records{teller: t, uid: uid, tail: map[int64]meta{}, open: openDatabase}
}

// name is what the database is called where it is spoken of.
func (r *records) name() string { return r.called("agent", databaseName) }

// changed reports whether the files differ from the last reading, and whether
// there is a database at all.
func (r *records) changed() bool {
	_, now, err := r.look()
	return err == nil && now != r.files && !time.Now().Before(r.retry)
}

// look checks that the files are plain and the owner's. It opens none of them.
func (r *records) look() (exists bool, now [2]stamp, err error) {
	for i, name := range []string{databaseName, databaseName + "-wal", databaseName + "-shm"} {
		fi, err := lstatBelow(r.dir, r.uid, "agents", r.agent, "agent", name)
		if errors.Is(err, fs.ErrNotExist) {
			if i == 0 {
				return false, now, err
			}
			continue
		}
		if err != nil {
			return false, now, err
		}
		if fi.IsDir() {
			return false, now, fmt.Errorf("%s: a directory, want a plain file", fi.Name())
		}
		if i < len(now) {
			now[i] = stamp{fi.Size(), fi.ModTime(), inode(fi)}
		}
	}
	return true, now, nil
}

// read emits what is new. A database that cannot be read is reported as
// coverage, once, and tried again later. It is opened for each reading, which
// costs under two milliseconds: held open, it would keep a gateway that ends
// from tidying up its files.
func (r *records) read(ctx context.Context, emit func(event.Event)) {
	if time.Now().Before(r.retry) {
		return
	}
	_, now, err := r.look()
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	lacks := ""
	if err == nil {
		lacks, err = r.readOpen(ctx, emit)
	}
	if r.bad.Count > 0 {
		emit(event.Event{Time: time.Now(), Source: event.SourceOpenClaw, Body: r.bad})
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		if r.failing.IsZero() {
			r.failing = time.Now()
		}
		if time.Since(r.failing) >= patience { // else the next look may succeed: it is just being made, or closed
			r.retry = time.Now().Add(retryAfter)
			r.cover(emit, r.name(), "none", fmt.Sprintf("read %s: %v", r.name(), err))
		}
	default:
		r.failing = time.Time{}
		if age := time.Since(now[1].changed); age < 0 || age > visible {
			r.files = now
		} // else it is read once more: the last commit may be in the file and not yet in the index that readers go by
		if lacks == "" {
			r.cover(emit, r.name(), "complete", "")
		} else {
			r.cover(emit, r.name(), "sampled", fmt.Sprintf("read %s: %s", r.name(), lacks))
		}
	}
}

// readOpen reads on, and says what is not understood of the database.
func (r *records) readOpen(ctx context.Context, emit func(event.Event)) (lacks string, err error) {
	r.bad = event.Lost{Of: event.KindToolCall}
	if r.conn, err = r.connect(ctx); err != nil {
		return "", err
	}
	r.until, r.left = time.Now().Add(readFor), readBytes
	defer func() {
		r.conn.close()
		_ = r.reading.Close() // after it: SQLite opens what is beside the database by its name
		r.conn, r.reading = nil, nil
	}()
	return r.conn.lacks(), r.follow(ctx, emit)
}

// connect opens the database, and does not wait for long. SQLite opens by name:
// whoever puts a pipe there just after we looked holds up what opens it, which
// nothing else then waits for.
func (r *records) connect(ctx context.Context) (*connection, error) {
	wait := openTimeout
	if r.opening != nil {
		wait = 0 // that is still held up
	} else {
		dir, err := openIn(r.dir, filepath.Join("agents", r.agent, "agent"), unix.O_DIRECTORY)
		if err != nil {
			return nil, err
		}
		r.opening = make(chan opened, 1)
		go func(to chan<- opened) {
			c, err := r.open(ctx, fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), databaseName))
			to <- opened{c, dir, err}
		}(r.opening)
	}
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	select {
	case o := <-r.opening:
		r.opening = nil
		if o.err != nil {
			return nil, errors.Join(o.err, o.dir.Close())
		}
		r.reading = o.dir
		return o.conn, nil
	case <-timeout.C:
		return nil, fmt.Errorf("open: no answer after %s", openTimeout)
	}
}

// opened is what came of opening a database.
type opened struct {
	conn *connection
	dir  *os.File
	err  error
}

// enough reports whether a reading has taken what it may.
func (r *records) enough() bool { return r.left <= 0 || time.Now().After(r.until) }

// follow reads on from the last row, and before that, once, learns from what
// was there.
func (r *records) follow(ctx context.Context, emit func(event.Event)) error {
	if !r.started {
		if err := r.start(ctx, emit); err != nil {
			return err
		}
		r.started = true
	}
	for {
		began := time.Now()
		ids, metas, err := r.conn.list(ctx, r.last-overlap, overlap+batch)
		if err != nil {
			return err
		}
		if len(ids) == 0 { // the newest rows went, more of them than overlap
			r.last, err = r.conn.maxRowID(ctx)
			clear(r.tail)
			r.unread = time.Time{}
			return err
		}
		for i, id := range ids {
			if r.tail[id] == metas[i] && metas[i] != (meta{}) {
				continue
			}
			if err := r.row(ctx, id, metas[i], emit); err != nil {
				return err
			}
			if r.enough() {
				r.remember(ids[:i+1], metas[:i+1])
				r.dirty = true
				return nil
			}
		}
		r.remember(ids, metas)
		if len(ids) < overlap+batch {
			r.unread = began
			return nil
		}
	}
}

// remember keeps the newest rows as they are, for the next comparison.
func (r *records) remember(ids []int64, metas []meta) {
	clear(r.tail)
	for i := max(0, len(ids)-overlap); i < len(ids); i++ {
		r.tail[ids[i]] = metas[i]
	}
	if len(ids) > 0 {
		r.last = ids[len(ids)-1]
	}
}

// row reads and emits one row, unless it was reported before. A row that is too
// big or makes no sense is counted as lost.
func (r *records) row(ctx context.Context, id int64, m meta, emit func(event.Event)) error {
	s, err := r.session(ctx, m.session, emit)
	if err != nil {
		return err
	}
	return r.emitRow(ctx, id, m, s, emit)
}

func (r *records) emitRow(ctx context.Context, id int64, m meta, s *session, emit func(event.Event)) error {
	lost := func(cause string) error {
		if r.bad.Count++; r.bad.Count == 1 {
			r.bad.Cause = fmt.Sprintf("row %d of %s: %s", id, r.name(), cause)
		}
		return nil
	}
	if m.bytes > maxRow {
		return lost(fmt.Sprintf("%d bytes, more than the %d read", m.bytes, maxRow))
	}
	body, created, err := r.conn.load(ctx, id)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil // deleted meanwhile
	case errors.Is(err, errUnpack):
		return lost(err.Error())
	case err != nil:
		return fmt.Errorf("load row %d: %w", id, err)
	}
	r.left -= int64(len(body))
	if now := time.Now(); created.After(now.Add(time.Hour)) {
		created = now // nothing is recorded before it happens
	}
	parsed, err := parseRow(body)
	if err != nil {
		return lost(err.Error())
	}
	if created.IsZero() { // the schema does not tell
		if created = parsed.at; created.IsZero() {
			created = time.Now()
		}
	}
	parsed.database = true
	parsed.id = cmp.Or(parsed.id, fmt.Sprintf("#%d.%d", m.seq, created.UnixMilli()))
	r.tell(parsed, m.session, created, s, emit)
	return nil
}

// session gives what is remembered of a session. One that is new here is
// announced, and what it did before the collector's time is learned.
func (r *records) session(ctx context.Context, id string, emit func(event.Event)) (*session, error) {
	if s, ok := r.sessions.Get(id); ok {
		return s, nil
	}
	start, err := r.conn.readSession(ctx, id)
	if err != nil {
		return nil, err
	}
	s := r.begin(start, emit)
	ids, err := values[int64](ctx, r.conn, `SELECT rowid FROM transcript_events
		t WHERE session_id = ? AND `+r.conn.column("transcript_events", "t", "created_at")+` < ? AND `+r.conn.size()+` <= ?
		ORDER BY `+r.conn.seq()+` DESC LIMIT ?`,
		id, r.since.UnixMilli(), maxRow, backfillRows)
	if err != nil {
		return nil, fmt.Errorf("list old rows: %w", err)
	}
	slices.Sort(ids)
	for _, old := range ids {
		if r.enough() {
			break
		}
		if err := r.emitRow(ctx, old, meta{session: id}, s, emit); err != nil {
			return nil, err
		}
	}
	return s, nil
}
