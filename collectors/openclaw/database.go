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
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	_ "modernc.org/sqlite" // the driver
)

// Bounds on reading one database.
const (
	maxRow       = 8 << 20         // bytes of one row, as stored and as unpacked
	readTimeout  = 2 * time.Second // of one statement
	knownVersion = 23              // of the schema: what this code was written against
)

// A connection reads one agent's database without leaving a trace in it.
//
// The gateway's writer is never made to wait: statements are short, each ends
// its read transaction before anything is done with its rows, and between
// statements only the lock is held that every open connection holds. No file is
// made: with a gateway running, the -wal and -shm files are there and are opened
// as they are (readonly_shm); without one and without a -wal file nobody writes,
// and the database is read as a plain file (immutable). The one gap: where the
// gateway deletes its -wal between our look and SQLite's, SQLite makes an empty
// one in its place, which the next writer uses.
type connection struct {
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
	mode, err := modeFor(path)
	if err != nil {
		return nil, err
	}
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: mode +
		"&_pragma=busy_timeout(50)&_pragma=query_only(1)&_pragma=trusted_schema(0)" +
		"&_pragma=cell_size_check(1)&_pragma=mmap_size(0)&_pragma=cache_size(-512)"}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	db.SetMaxOpenConns(1)
	c := &connection{db: db, columns: map[string]bool{}}
	if err := c.checkSchema(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	c.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxRow))
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return c, nil
}

func (c *connection) close() error {
	c.zstd.Close()
	return c.db.Close()
}

// modeFor says how to open a database so that no file is made.
func modeFor(path string) (string, error) {
	wal, err := isWAL(path)
	if err != nil {
		return "", err
	}
	if !wal { // a rollback journal, as OpenClaw uses on network file systems
		return "mode=ro", nil
	}
	_, err = os.Lstat(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return "mode=ro&immutable=1", nil
	}
	return "mode=ro&readonly_shm=1", err
}

// isWAL reads the write version out of the database's header. It must not be
// called while a connection is open: closing a file drops the process's POSIX
// locks on it, the connection's included.
func isWAL(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	header := make([]byte, 100)
	if _, err := io.ReadFull(f, header); err != nil {
		return false, fmt.Errorf("read header: %w", err)
	}
	if !bytes.HasPrefix(header, []byte("SQLite format 3\x00")) {
		return false, errors.New("no SQLite database")
	}
	return header[18] == 2, nil
}

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
	defer rows.Close()
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
	for _, need := range []string{"session_id", "seq", "event_json", "created_at"} {
		if !c.columns["transcript_events."+need] {
			return fmt.Errorf("schema %d has no column transcript_events.%s", c.version, need)
		}
	}
	return nil
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
	rows, err := c.db.QueryContext(ctx, `SELECT rowid, session_id, seq, `+c.size()+`
		FROM transcript_events t WHERE rowid > ? ORDER BY rowid LIMIT ?`, after, limit)
	if err != nil {
		return nil, nil, fmt.Errorf("list rows: %w", err)
	}
	defer rows.Close()
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

// load reads one row's JSON. sql.ErrNoRows: it is gone again.
func (c *connection) load(ctx context.Context, id int64) (body []byte, created time.Time, err error) {
	var ms sql.NullInt64
	var plain, packed sql.RawBytes
	r := c.row(ctx, `SELECT t.created_at, t.event_json, `+c.column("transcript_events", "t", "event_zstd")+`
		FROM transcript_events t WHERE rowid = ?`, id)
	err = r.scanRaw(func(rows *sql.Rows) error {
		if err := rows.Scan(&ms, &plain, &packed); err != nil {
			return err
		}
		body, err = c.unpack(plain, packed)
		return err
	})
	return body, time.UnixMilli(ms.Int64), err
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
	defer rows.Close()
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
	defer rows.Close()
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
