package store

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"modernc.org/sqlite" // registers the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// layout is the version of the tables below. A file of another layout is set
// aside: what it holds is short-lived.
const layout = 1

const schema = `
CREATE TABLE blocks (
	seq      INTEGER PRIMARY KEY, -- of the first line; line i is record seq+i
	count    INTEGER NOT NULL,
	first    INTEGER NOT NULL,    -- times, nanoseconds since 1970, inclusive
	last     INTEGER NOT NULL,
	first_id TEXT NOT NULL,
	last_id  TEXT NOT NULL
);
CREATE INDEX blocks_last ON blocks(last, seq);
CREATE INDEX blocks_first ON blocks(first, seq);
CREATE INDEX blocks_id ON blocks(last_id, first_id);
CREATE TABLE bodies (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE terms (term TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (term, seq)) WITHOUT ROWID;
CREATE INDEX terms_seq ON terms(seq);

CREATE TABLE alerts (
	seq     INTEGER PRIMARY KEY AUTOINCREMENT,
	id      TEXT NOT NULL UNIQUE,
	time    INTEGER NOT NULL,
	rule    TEXT NOT NULL,
	skill   TEXT NOT NULL,
	session TEXT NOT NULL,
	session_key TEXT NOT NULL,
	gateway TEXT NOT NULL,
	pid     INTEGER NOT NULL,
	body    TEXT NOT NULL
);
CREATE INDEX alerts_time ON alerts(time, seq);
CREATE INDEX alerts_rule ON alerts(rule, time);
CREATE INDEX alerts_skill ON alerts(skill, time);
-- Copies of the records that alerts name: evidence must not age away first.
CREATE TABLE kept (alert TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (alert, id)) WITHOUT ROWID;
CREATE INDEX kept_id ON kept(id);

CREATE TABLE skills (
	gateway TEXT NOT NULL,
	dir     TEXT NOT NULL,
	removed INTEGER NOT NULL,
	seen    INTEGER NOT NULL, -- when a collector last reported it
	body    TEXT NOT NULL,
	PRIMARY KEY (gateway, dir)
) WITHOUT ROWID;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
`

// errLayout: the file was written by another version of this package.
var errLayout = errors.New("unknown layout")

// errDamaged: the check after an unclean end found damage.
var errDamaged = errors.New("damaged")

func isDamage(err error) bool {
	return errors.Is(err, errLayout) || errors.Is(err, errDamaged) || isCode(err, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
}

func isFull(err error) bool { return isCode(err, sqlite3.SQLITE_FULL) }

func isCode(err error, codes ...int) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && slices.Contains(codes, e.Code()&0xff)
}

// openDB opens the file for one writer and for readers, with its tables in
// place.
func openDB(path string) (w, r *sql.DB, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, nil, err
	}
	if err := makeFile(path); err != nil {
		return nil, nil, err
	}
	// auto_vacuum must come before the first table, journal_mode after it.
	if w, err = sql.Open("sqlite", dsn(path, "auto_vacuum(2)", "journal_mode(wal)", "synchronous(1)",
		"cache_size(-4096)", "journal_size_limit(16777216)")); err != nil {
		return nil, nil, err
	}
	w.SetMaxOpenConns(1)
	if err := begin(w); err != nil {
		return w, nil, err
	}
	if _, err := w.Exec(leftSchema); err != nil {
		return w, nil, fmt.Errorf("make table: %w", err)
	}
	if r, err = sql.Open("sqlite", dsn(path, "query_only(1)", "cache_size(-1024)")); err != nil {
		return w, nil, err
	}
	r.SetMaxOpenConns(4)
	return w, r, nil
}

func dsn(path string, pragmas ...string) string {
	v := url.Values{"_pragma": append([]string{"busy_timeout(5000)"}, pragmas...), "_txlock": {"immediate"}}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: v.Encode()}).String()
}

// begin makes the tables in an empty file, and checks a file that was not
// closed in an orderly way.
func begin(w *sql.DB) error {
	var tables, version int
	if err := w.QueryRow(`SELECT count(*) FROM sqlite_master`).Scan(&tables); err != nil {
		return fmt.Errorf("read tables: %w", err)
	}
	if tables == 0 {
		_, err := w.Exec(fmt.Sprintf("BEGIN; %s %s PRAGMA user_version = %d; COMMIT;", schema, usesTable, layout))
		return err
	}
	if err := w.QueryRow(`PRAGMA user_version`).Scan(&version); err != nil {
		return fmt.Errorf("read layout: %w", err)
	}
	if version != layout {
		return fmt.Errorf("%w: %d, want %d", errLayout, version, layout)
	}
	if _, err := w.Exec(usesTable); err != nil { // younger than the layout; what does not know it passes it over
		return fmt.Errorf("add table of uses: %w", err)
	}
	done, err := w.Exec(`DELETE FROM meta WHERE key = 'clean'`)
	if err != nil {
		return fmt.Errorf("mark as open: %w", err)
	}
	if n, err := done.RowsAffected(); err != nil || n > 0 {
		return err // closed in an orderly way
	}
	var verdict string
	if err := w.QueryRow(`PRAGMA quick_check(1)`).Scan(&verdict); err != nil {
		return fmt.Errorf("check file: %w", err)
	}
	if verdict != "ok" {
		return fmt.Errorf("%w: %s", errDamaged, verdict)
	}
	return nil
}

// setAside renames a file that cannot be used. Of those set aside before only
// the newest is kept, so that a failing disk does not fill up with them.
func setAside(path string, now time.Time, cause error) (aside, message string, err error) {
	old, err := filepath.Glob(path + ".aside-*")
	if err != nil {
		return "", "", err
	}
	slices.Sort(old)
	for i, name := range old {
		if i < len(old)-1 {
			err = errors.Join(err, os.Remove(name))
		}
	}
	if err != nil {
		return "", "", err
	}
	aside = path + ".aside-" + now.UTC().Format("20060102T150405.000000000Z")
	if err := os.Rename(path, aside); err != nil {
		return "", "", err
	}
	for _, companion := range []string{"-wal", "-shm"} {
		if err := os.Remove(path + companion); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", "", err
		}
	}
	return aside, fmt.Sprintf("store %s could not be used (%v); set aside as %s, an empty one begun", path, cause, aside), nil
}

// statements are those that Append runs for every block.
type statements struct{ block, body, term *sql.Stmt }

func prepare(w *sql.DB) (s statements, err error) {
	for _, p := range []struct {
		to  **sql.Stmt
		sql string
	}{
		{&s.block, `INSERT OR REPLACE INTO blocks(seq, count, first, last, first_id, last_id) VALUES (?, ?, ?, ?, ?, ?)`},
		{&s.body, `INSERT OR REPLACE INTO bodies(seq, body) VALUES (?, ?)`},
		{&s.term, `INSERT OR IGNORE INTO terms(term, seq) VALUES (?, ?)`},
	} {
		if *p.to, err = w.Prepare(p.sql); err != nil {
			return s, fmt.Errorf("prepare statement: %w", err)
		}
	}
	return s, nil
}
