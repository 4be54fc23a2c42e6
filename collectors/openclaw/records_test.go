package openclaw

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/clawwatch/clawwatch/internal/event"
)

var update = flag.Bool("update", false, "write what the fixtures give as what they must give")

func TestMain(m *testing.M) {
	if path := os.Getenv("OPENCLAW_TEST_WRITER"); path != "" {
		writer(path)
		return
	}
	if path := os.Getenv("OPENCLAW_TEST_CLOSER"); path != "" {
		closer(path)
		return
	}
	if spec := os.Getenv("OPENCLAW_TEST_LOCKER"); spec != "" {
		locker(spec)
		return
	}
	goleak.VerifyTestMain(m)
}

const schema = `
CREATE TABLE transcript_events (session_id TEXT, seq INTEGER, event_json TEXT, created_at INTEGER, event_zstd BLOB, PRIMARY KEY (session_id, seq)) STRICT;
CREATE TABLE session_windows (session_id TEXT PRIMARY KEY, session_key TEXT, updated_at INTEGER, created_at INTEGER, channel TEXT, account_id TEXT, chat_type TEXT, primary_conversation_id TEXT, parent_session_key TEXT) STRICT;
PRAGMA user_version = 23;
`

// agent lays out a state directory with one agent's database in it and gives
// both, and the records that follow it.
func agent(t *testing.T, text string) (db *sql.DB, r *records) {
	t.Helper()
	dir := t.TempDir()
	r = newRecords(newTeller(dir, "main", time.UnixMilli(1000)), uint32(os.Getuid()))
	if err := os.MkdirAll(r.agentDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+r.name()+"?_pragma=busy_timeout(5000)&_pragma=synchronous(0)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	must(t, db, text)
	return db, r
}

func (r *records) path() string { return filepath.Join(r.agentDir(), databaseName) }

func (r *records) agentDir() string { return filepath.Join(r.dir, "agents", r.agent, "agent") }

func must(t *testing.T, db *sql.DB, text string, args ...any) {
	t.Helper()
	if _, err := db.Exec(text, args...); err != nil {
		t.Fatal(err)
	}
}

// told reads what there is, in as many readings as that takes.
func told(r *records, emit func(event.Event)) {
	for r.dirty = true; r.dirty; {
		r.dirty = false
		r.read(context.Background(), emit)
	}
}

// said reads and prints what came of it.
func said(r *records) []string {
	var out []string
	told(r, func(e event.Event) { out = append(out, line(e)) })
	return out
}

// line prints an event so that a person can compare it.
func line(e event.Event) string {
	at := e.Time.UTC().Format("15:04:05.000")
	switch b := e.Body.(type) {
	case event.SessionStart:
		return fmt.Sprintf("%s session %.8s %s via=%s actor=%s channel=%s chat=%s parent=%s backfill=%v",
			at, b.Session, b.SessionKey, b.CreatedVia, b.Actor, b.Channel, b.ChatType, b.ParentKey, b.Backfill)
	case event.ToolCall:
		return fmt.Sprintf("%s call %.8s run=%.8s %s %s command=%q paths=%q url=%s cwd=%s backfill=%v",
			at, b.Session, b.Run, b.ID, b.Name, b.Command, b.Paths, b.URL, b.Cwd, b.Backfill)
	case event.ToolResult:
		code := "-"
		if b.ExitCode != nil {
			code = fmt.Sprint(*b.ExitCode)
		}
		return fmt.Sprintf("%s result %.8s run=%.8s %s pid=%d running=%v error=%v exit=%s took=%v",
			at, b.Session, b.Run, b.ID, b.PID, b.Running, b.IsError, code, b.Duration)
	case event.Prompt:
		return fmt.Sprintf("%s prompt %.8s %s", at, b.Session, b.SessionKey)
	case event.LLMCall:
		return fmt.Sprintf("%s llm %.8s run=%.8s %s/%s %s %s in=%d out=%d stop=%s status=%d type=%s error=%q prompt=%.40q response=%.40q",
			at, b.Session, b.Run, b.Provider, b.Model, b.API, b.ResponseID, b.InputTokens, b.OutputTokens,
			b.StopReason, b.Status, b.ErrorType, b.Error, b.Prompt, b.Response)
	case event.Coverage:
		return fmt.Sprintf("coverage %s %s", b.Fidelity, b.Reason)
	case event.Lost:
		return fmt.Sprintf("lost %d %s %s", b.Count, b.Of, b.Cause)
	}
	return fmt.Sprintf("%T", e.Body)
}

// The fixture is what OpenClaw 2026.9.6 wrote in some turns: reads, commands in
// parallel, in the background and through tool_call, a patch, a sub-agent, a
// refused key. Its rows are told twice: as they come, and as history.
func TestARealTranscriptGivesTheseEvents(t *testing.T) {
	text, err := os.ReadFile("testdata/2026.9.6.sql")
	if err != nil {
		t.Fatal(err)
	}
	for name, since := range map[string]time.Time{
		"live":    time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC),
		"history": time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC),
	} {
		t.Run(name, func(t *testing.T) {
			_, r := agent(t, string(text)+"PRAGMA user_version = 23;")
			r.since = since
			got := strings.Join(said(r), "\n") + "\n"
			compare(t, filepath.Join("testdata", "2026.9.6."+name+".want"), got)
		})
	}
}

func execRow(id, command string) string {
	return fmt.Sprintf(`{"type":"message","id":"row-%s","message":{"role":"assistant","stopReason":"toolUse","content":[{"type":"toolCall","id":%q,"name":"exec","arguments":{"command":%q}}]}}`, id, id, command)
}

func insert(t *testing.T, db *sql.DB, session string, seq int, body string) {
	t.Helper()
	must(t, db, `INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES (?, ?, ?, ?)`, session, seq, body, 2000+seq)
}

// calls reads and gives the IDs of the calls that came.
func calls(r *records) []string {
	var ids []string
	told(r, func(e event.Event) {
		if c, ok := e.Body.(event.ToolCall); ok {
			ids = append(ids, c.ID)
		}
	})
	return ids
}

func TestRowsAreReportedOnceAndInOrder(t *testing.T) {
	db, r := agent(t, schema)
	insert(t, db, "s", 0, execRow("a", "x"))
	if got := calls(r); !slices.Equal(got, []string{"a"}) {
		t.Fatalf("first: %v", got)
	}
	if got := calls(r); got != nil {
		t.Fatalf("again: %v", got)
	}
	must(t, db, `BEGIN`)
	for i := range 3 * (batch + overlap) {
		insert(t, db, "s", 1+i, execRow(fmt.Sprint(i), "x"))
	}
	must(t, db, `COMMIT`)
	got := calls(r)
	if len(got) != 3*(batch+overlap) || got[0] != "0" || got[len(got)-1] != fmt.Sprint(len(got)-1) {
		t.Fatalf("%d calls, %v … %v", len(got), got[:1], got[len(got)-1:])
	}
}

func TestARowIsToldWithTheTimesBetweenWhichItCame(t *testing.T) {
	db, r := agent(t, schema)
	calls := func() (all []event.ToolCall) {
		told(r, func(e event.Event) {
			if c, ok := e.Body.(event.ToolCall); ok {
				all = append(all, c)
			}
		})
		return all
	}
	insert(t, db, "s1", 1, execRow("c1", "date"))
	if first := calls(); len(first) != 1 || !first[0].Unread.IsZero() || first[0].Read.IsZero() {
		t.Errorf("the first row, of which nobody knows how long it was there: %+v", first)
	}
	before := time.Now()
	insert(t, db, "s1", 2, execRow("c2", "date"))
	after := time.Now()
	if next := calls(); len(next) != 1 || next[0].Unread.IsZero() || next[0].Unread.After(before) || next[0].Read.Before(after) {
		t.Errorf("a row written between %v and %v: %+v", before, after, next)
	}
}

func TestARewrittenEndingIsReadThoughItsRowNumbersAreUsedAgain(t *testing.T) {
	db, r := agent(t, schema)
	for i, id := range []string{"a", "b", "c", "d"} {
		insert(t, db, "s", i, execRow(id, "x"))
	}
	calls(r)
	must(t, db, `DELETE FROM transcript_events WHERE seq >= 2`)
	insert(t, db, "s", 2, execRow("c", "x")) // kept
	insert(t, db, "s", 3, execRow("new", "longer"))
	if got := calls(r); !slices.Equal(got, []string{"new"}) {
		t.Errorf("after a rewrite: %v", got)
	}
	must(t, db, `DELETE FROM transcript_events`)
	if got := calls(r); got != nil {
		t.Errorf("after all rows went: %v", got)
	}
	insert(t, db, "t", 0, execRow("later", "x"))
	if got := calls(r); !slices.Equal(got, []string{"later"}) {
		t.Errorf("after starting again: %v", got)
	}
}

func TestABadRowIsCountedAndTheNextOneRead(t *testing.T) {
	db, r := agent(t, schema)
	insert(t, db, "s", 0, `{"type":"message","message":{"role":`)
	must(t, db, `INSERT INTO transcript_events VALUES ('s', 1, NULL, 2001, X'28b52ffd00')`)
	must(t, db, `INSERT INTO transcript_events VALUES ('s', 2, NULL, 2002, zeroblob(?))`, maxRow+1)
	insert(t, db, "s", 3, execRow("good", "x"))
	got := said(r)
	good := slices.ContainsFunc(got, func(l string) bool { return strings.Contains(l, " good ") })
	lost := slices.ContainsFunc(got, func(l string) bool { return strings.HasPrefix(l, "lost 3 tool.call row 1 of ") })
	if !lost || !good {
		t.Errorf("got %q", got)
	}
}

func TestWhatCannotBeReadIsSaidOnceAndTriedAgain(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"view":           {`CREATE TABLE x (a); CREATE VIEW transcript_events AS SELECT a AS session_id, a AS seq, a AS event_json, a AS created_at FROM x`, "no column transcript_events.session_id"},
		"renamed column": {`CREATE TABLE transcript_events (session_id, seq, event, created_at)`, "no column transcript_events.event_json"},
		"missing table":  {`CREATE TABLE session_windows (session_id, session_key)`, "no column transcript_events.session_id"},
		"no row numbers": {`CREATE TABLE transcript_events (session_id, seq, event_json, created_at, PRIMARY KEY (session_id, seq)) WITHOUT ROWID`, "no such column: rowid"},
	} {
		t.Run(name, func(t *testing.T) {
			_, r := agent(t, test.text)
			got := said(r)
			for range 2 {
				r.failing, r.retry = r.failing.Add(-patience), time.Time{} // time passes
				got = append(got, said(r)...)
			}
			if len(got) != 1 || !strings.HasPrefix(got[0], "coverage none") || !strings.Contains(got[0], test.want) {
				t.Errorf("got %q", got)
			}
		})
	}
	t.Run("no database", func(t *testing.T) {
		db, r := agent(t, "")
		db.Close()
		if err := os.WriteFile(r.name(), []byte(strings.Repeat("noise ", 100)), 0o600); err != nil {
			t.Fatal(err)
		}
		said(r)
		r.failing = r.failing.Add(-patience)
		got := said(r)
		if len(got) != 1 || !strings.Contains(got[0], "no SQLite database") {
			t.Errorf("got %q", got)
		}
	})
}

func TestAnotherSchemaIsReadAsFarAsItGoes(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"newer":           {schema + `PRAGMA user_version = 31`, "schema 31, written against 23"},
		"much older":      {`CREATE TABLE transcript_events (session_id, seq, event_json, created_at); PRAGMA user_version = 2`, "schema 2, written against 23; no column transcript_events.event_zstd, session_windows.session_id, session_windows.session_key"},
		"no version":      {schema + `PRAGMA user_version = 0`, "schema 0, written against 23"},
		"missing table":   {schema + `DROP TABLE session_windows`, "no column session_windows.session_id, session_windows.session_key"},
		"renamed columns": {schema + `ALTER TABLE transcript_events RENAME seq TO n; ALTER TABLE session_windows RENAME session_key TO k`, "no column transcript_events.seq, session_windows.session_key"},
		"no times":        {schema + `ALTER TABLE transcript_events RENAME created_at TO at`, "no column transcript_events.created_at"},
	} {
		t.Run(name, func(t *testing.T) {
			db, r := agent(t, test.text)
			got := said(r)
			packed := ", NULL"
			if name == "much older" {
				packed = ""
			}
			must(t, db, `INSERT INTO transcript_events VALUES ('s', 0, ?, 2000`+packed+`)`, execRow("a", "x"))
			got = append(got, said(r)...)
			if !slices.ContainsFunc(got, func(l string) bool {
				return strings.Contains(l, "call s run= a exec") && strings.Contains(l, "backfill=false")
			}) {
				t.Errorf("no call in %q", got)
			}
			covered := slices.DeleteFunc(got, func(l string) bool { return !strings.HasPrefix(l, "coverage") })
			if len(covered) != 1 || !strings.HasPrefix(covered[0], "coverage sampled") || !strings.HasSuffix(covered[0], ": "+test.want) {
				t.Errorf("coverage %q, want %q", covered, test.want)
			}
		})
	}
}

func TestHistoryOfASessionComesWhenItWakes(t *testing.T) {
	db, r := agent(t, schema)
	must(t, db, `INSERT INTO session_windows (session_id, session_key, updated_at, created_at) VALUES ('old', 'agent:main:old', 1, 1)`)
	r.since = time.UnixMilli(0).Add(10 * backfillAge)
	at := func(seq int, id string, when time.Time) {
		must(t, db, `INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES ('old', ?, ?, ?)`, seq, execRow(id, "x"), when.UnixMilli())
	}
	at(0, "before", time.UnixMilli(500))
	if got := calls(r); got != nil {
		t.Fatalf("a session not touched for days gave %v", got)
	}
	at(1, "after", r.since.Add(time.Second))
	if got := calls(r); !slices.Equal(got, []string{"before", "after"}) {
		t.Errorf("got %v", got)
	}
}

func TestALinkOrAStrangersFileIsNotRead(t *testing.T) {
	db, r := agent(t, schema)
	insert(t, db, "s", 0, execRow("a", "x"))
	elsewhere := newRecords(newTeller(t.TempDir(), "main", r.since), r.uid)
	if err := os.MkdirAll(filepath.Join(elsewhere.dir, "agents", "main"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(r.agentDir(), elsewhere.agentDir()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := elsewhere.look(); err == nil || !strings.Contains(err.Error(), "want a plain file or directory") {
		t.Errorf("link: %v", err)
	}
	if os.Getuid() != 0 {
		skipOrFail(t, "giving a file to another user needs root")
	}
	if err := os.Lchown(r.name(), 4242, 4242); err != nil {
		t.Fatal(err)
	}
	r.uid = 4343
	if _, _, err := r.look(); err == nil || !strings.Contains(err.Error(), errStranger.Error()) {
		t.Errorf("stranger: %v", err)
	}
}

func skipOrFail(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}
