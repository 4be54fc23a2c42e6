package openclaw

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Bounds on reading one database.
const (
	maxRow       = 8 << 20         // bytes of one row, as stored and as unpacked
	maxSlack     = 1 << 20         // that a row's other columns may take
	readTimeout  = 2 * time.Second // of one statement
	knownVersion = 23              // of the schema: what this code was written against
)

// A connection reads one agent's database without leaving a trace in it.
//
// The gateway's writer is not made to wait: statements are short, and each ends
// its read transaction before anything is done with its rows. Between them only
// a shared lock on the database is held, ours and SQLite's own. The exception is
// every SQLite reader's: one that catches the writer amid an update of the shared
// index takes its lock for some microseconds to see whether it still lives. A
// writer with any busy timeout does not notice; OpenClaw's is 5 s or more.
//
// No file is made, and none is open for writing. Where a -wal file exists, it and
// its -shm file are opened to read (openToRead, readonly_shm). Where none does,
// nobody writes, and the database is read as a plain file (immutable): SQLite would
// ask for a -wal otherwise. So that the answer stays true while SQLite opens, our lock comes first: a gateway
// that ends meanwhile cannot delete its -wal, and leaves it to the next one, as
// with any other reader.
type connection struct {
	lock    *os.File // closed last: closing it drops SQLite's locks, too
	db      *sql.DB
	columns map[string]bool // "table.column" that exist
	version int
	zstd    *zstd.Decoder
}

// meta is what can be known of a row without reading its content. A row is
// taken to be unchanged while this is.
type meta struct {
	session string
	seq     int64
	bytes   int64 // as stored; above maxRow the row is not read
}

// openDatabase opens path, a file that was looked at already. The errors say
// what is wrong with it as a source of records.
func openDatabase(ctx context.Context, path string) (*connection, error) {
	lock, err := lockShared(path)
	if err != nil {
		return nil, err
	}
	c := &connection{lock: lock, columns: map[string]bool{}}
	if err := c.open(ctx, path); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *connection) open(ctx context.Context, path string) error {
	mode, err := modeFor(path, c.lock)
	if err != nil {
		return err
	}
	if mode == rollback { // its writer waits for readers' locks: SQLite's are short
		_ = c.lock.Close()
	}
	vfs, err := asIs()
	if err != nil {
		return err
	}
	dsn := url.URL{
		Scheme: "file", Path: path, RawQuery: mode + "&vfs=" + vfs +
			"&_pragma=busy_timeout(50)&_pragma=query_only(1)&_pragma=trusted_schema(0)" +
			"&_pragma=cell_size_check(1)&_pragma=mmap_size(0)&_pragma=cache_size(-512)",
	}
	c.db, err = sql.Open("sqlite", dsn.String())
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	c.db.SetMaxOpenConns(1)
	c.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxRow))
	if err != nil {
		return fmt.Errorf("make decoder: %w", err)
	}
	if err := c.limit(ctx); err != nil {
		return fmt.Errorf("limit: %w", err)
	}
	return c.checkSchema(ctx)
}

// limit bounds what SQLite loads into memory as one value or one row.
func (c *connection) limit(ctx context.Context) error {
	conn, err := c.db.Conn(ctx)
	if err != nil {
		return err
	}
	_, err = sqlite.Limit(conn, sqlite3.SQLITE_LIMIT_LENGTH, maxRow+maxSlack)
	return errors.Join(err, conn.Close())
}

// close gives everything back. All was only read: its errors lose nothing.
func (c *connection) close() {
	if c.zstd != nil {
		c.zstd.Close()
	}
	if c.db != nil {
		_ = c.db.Close()
	}
	_ = c.lock.Close()
}

// lockShared takes the lock on a database that SQLite's readers take, on the
// bytes that its file format sets aside for them. It belongs to the open file
// and not, as SQLite's own, to the process, so neither undoes the other. A
// writer that is just closing the database is an error: it is tried again.
func lockShared(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: 0x40000002, Len: 510})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock: %w", err), f.Close())
	}
	return f, nil
}

// modeFor says how to open a locked database so that no file is made.
func modeFor(path string, f io.ReaderAt) (string, error) {
	header := make([]byte, 100)
	if _, err := f.ReadAt(header, 0); err != nil {
		return "", fmt.Errorf("read header: %w", err)
	}
	if !bytes.HasPrefix(header, []byte("SQLite format 3\x00")) {
		return "", errors.New("no SQLite database")
	}
	if header[18] != 2 { // a rollback journal, as OpenClaw uses on network file systems
		return rollback, nil
	}
	wal, err := os.Lstat(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return closed, nil
	}
	if err != nil {
		return "", err
	}
	if _, err := os.Lstat(path + "-shm"); errors.Is(err, fs.ErrNotExist) && wal.Size() == 0 {
		return closed, nil
	}
	return shared, nil
}

// The ways to open a database: one with a rollback journal, one that nobody
// has open, and one that others have open or left behind in a crash.
const (
	rollback = "mode=ro"
	closed   = "mode=ro&immutable=1"
	shared   = "mode=ro&readonly_shm=1"
)

// checkSchema learns which of the columns that we read there are. Only plain
// tables are read: a view could compute for ever.
func (c *connection) checkSchema(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if err := c.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&c.version); err != nil {
		return fmt.Errorf("read version: %w", err)
	}
	rows, err := c.db.QueryContext(ctx, `SELECT m.name, x.name FROM sqlite_master m, pragma_table_info(m.name) x
		WHERE m.type = 'table' AND m.sql NOT LIKE 'CREATE VIRTUAL%' AND m.name IN
		('transcript_events', 'session_windows', 'session_nodes', 'session_participants', 'conversations') LIMIT 1000`)
	if err != nil {
		return fmt.Errorf("read schema: %w", err)
	}
	defer rows.Close() // its error is that of rows.Err
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			return fmt.Errorf("read schema: %w", err)
		}
		c.columns[table+"."+column] = true
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read schema: %w", err)
	}
	if !c.columns["session_windows.primary_conversation_id"] {
		delete(c.columns, "conversations.conversation_id") // nothing to join it by
	}
	for table, key := range map[string]string{"session_nodes": "session_key", "conversations": "conversation_id"} {
		if !c.columns[table+"."+key] {
			maps.DeleteFunc(c.columns, func(name string, _ bool) bool { return strings.HasPrefix(name, table+".") })
		}
	}
	for _, need := range []string{"session_id", "event_json"} {
		if !c.columns["transcript_events."+need] {
			return fmt.Errorf("schema %d has no column transcript_events.%s", c.version, need)
		}
	}
	return nil
}

// lacks says what is not as this code was written against: the version, and of
// the columns that it reads those that are not there. A session whose key, or a
// row whose time is not told, is reported without. Empty: nothing.
func (c *connection) lacks() string {
	var missing []string
	for _, name := range []string{
		"transcript_events.seq", "transcript_events.created_at", "transcript_events.event_zstd",
		"session_windows.session_id", "session_windows.session_key",
	} {
		if !c.columns[name] {
			missing = append(missing, name)
		}
	}
	var said []string
	if c.version != knownVersion {
		said = append(said, fmt.Sprintf("schema %d, written against %d", c.version, knownVersion))
	}
	if len(missing) > 0 {
		said = append(said, "no column "+strings.Join(missing, ", "))
	}
	return strings.Join(said, "; ")
}

// seq gives the expression for the order of a session's rows.
func (c *connection) seq() string {
	if c.columns["transcript_events.seq"] {
		return "t.seq"
	}
	return "t.rowid"
}

// short gives the expression for a text that is not read where it is long.
func short(expr string) string {
	return "CASE WHEN octet_length(" + expr + ") <= " + strconv.Itoa(maxKey) + " THEN " + expr + " END"
}

// column gives the expression for a column, or NULL where there is none.
func (c *connection) column(table, alias, name string) string {
	if c.columns[table+"."+name] {
		return alias + "." + name
	}
	return "NULL"
}

// maxRowID gives the newest row; 0: there is none.
func (c *connection) maxRowID(ctx context.Context) (id int64, err error) {
	var n sql.NullInt64
	err = c.row(ctx, "SELECT max(rowid) FROM transcript_events").scan(&n)
	return n.Int64, err
}

// list gives up to limit rows after a row, oldest first, without content.
func (c *connection) list(ctx context.Context, after int64, limit int) (ids []int64, metas []meta, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := c.db.QueryContext(ctx, `SELECT rowid, `+short("t.session_id")+`, `+c.column("transcript_events", "t", "seq")+`, `+c.size()+`
		FROM transcript_events t WHERE rowid > ? ORDER BY rowid LIMIT ?`, after, limit)
	if err != nil {
		return nil, nil, fmt.Errorf("list rows: %w", err)
	}
	defer rows.Close() // its error is that of rows.Err
	for rows.Next() {
		var id int64
		var session sql.NullString
		var seq, size sql.NullInt64
		if err := rows.Scan(&id, &session, &seq, &size); err != nil {
			return nil, nil, fmt.Errorf("list rows: %w", err)
		}
		ids, metas = append(ids, id), append(metas, meta{session: session.String, seq: seq.Int64, bytes: size.Int64})
	}
	if err := rows.Err(); err != nil {
		return nil, nil, fmt.Errorf("list rows: %w", err)
	}
	return ids, metas, nil
}

// size is the stored size of a row, found without reading it.
func (c *connection) size() string {
	return "coalesce(octet_length(t.event_json), 0) + coalesce(octet_length(" + c.column("transcript_events", "t", "event_zstd") + "), 0)"
}

// load reads one row's JSON, and when it was written, which is zero where that is
// not told. sql.ErrNoRows: it is gone again.
func (c *connection) load(ctx context.Context, id int64) (body []byte, created time.Time, err error) {
	var ms sql.NullInt64
	var plain, packed sql.RawBytes
	r := c.row(ctx, `SELECT `+c.column("transcript_events", "t", "created_at")+`, t.event_json, `+c.column("transcript_events", "t", "event_zstd")+`
		FROM transcript_events t WHERE rowid = ?`, id)
	err = r.scanRaw(func(rows *sql.Rows) error {
		if err := rows.Scan(&ms, &plain, &packed); err != nil {
			return err
		}
		body, err = c.unpack(plain, packed)
		return err
	})
	if ms.Valid {
		created = time.UnixMilli(ms.Int64)
	}
	return body, created, err
}

// errUnpack says that a row's zstd frame is none, or holds more than maxRow bytes.
var errUnpack = errors.New("unpack row")

// unpack gives the row's text: as it is, or out of its zstd frame, up to maxRow bytes.
func (c *connection) unpack(plain, packed []byte) ([]byte, error) {
	if plain != nil {
		return bytes.Clone(plain), nil
	}
	b, err := c.zstd.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnpack, err)
	}
	return b, nil
}

// query is one statement that gives one row, under the time limit.
type query struct {
	c    *connection
	ctx  context.Context
	text string
	args []any
}

func (c *connection) row(ctx context.Context, text string, args ...any) query {
	return query{c, ctx, text, args}
}

func (q query) scan(dest ...any) error {
	return q.scanRaw(func(rows *sql.Rows) error { return rows.Scan(dest...) })
}

// scanRaw lets f look at the row while it is still SQLite's.
func (q query) scanRaw(f func(*sql.Rows) error) error {
	ctx, cancel := context.WithTimeout(q.ctx, readTimeout)
	defer cancel()
	rows, err := q.c.db.QueryContext(ctx, q.text, q.args...)
	if err != nil {
		return err
	}
	defer rows.Close() // its error is that of rows.Err
	if !rows.Next() {
		return cmp.Or(rows.Err(), sql.ErrNoRows)
	}
	return errors.Join(f(rows), rows.Close())
}

// values gives the first column of all rows.
func values[T any](ctx context.Context, c *connection, text string, args ...any) ([]T, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := c.db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() // its error is that of rows.Err
	var out []T
	for rows.Next() {
		var v T
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}
