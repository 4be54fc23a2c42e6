package openclaw

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clawwatch/clawwatch/internal/event"
)

// session is one session's transcript as a test writes it.
type sessionFile struct {
	t    *testing.T
	path string
}

// noon is when the collector of these tests began, some time ago.
var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// sessions lays out a state directory with one agent and gives what reads it.
func sessions(t *testing.T) *transcripts {
	t.Helper()
	r := newTranscripts(newTeller(t.TempDir(), "main", noon), uint32(os.Getuid()))
	if err := os.MkdirAll(r.path(), 0o700); err != nil {
		t.Fatal(err)
	}
	return r
}

// file begins the transcript of a session.
func file(t *testing.T, r *transcripts, session string) sessionFile {
	t.Helper()
	f := sessionFile{t, filepath.Join(r.path(), session+".jsonl")}
	f.add(header(session, noon))
	return f
}

func header(session string, at time.Time) string {
	return fmt.Sprintf(`{"type":"session","version":3,"id":%q,"timestamp":%q,"cwd":"/w"}`, session, at.Format(time.RFC3339Nano)) + "\n"
}

// execAt is a row with one call, made some seconds after noon.
func execAt(seconds float64, id string) string {
	at := noon.Add(time.Duration(seconds * float64(time.Second))).Format(time.RFC3339Nano)
	return strings.Replace(execRow(id, "x"), `{"type":"message",`, fmt.Sprintf(`{"type":"message","timestamp":%q,`, at), 1) + "\n"
}

func (f sessionFile) add(text ...string) {
	f.t.Helper()
	w, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		f.t.Fatal(err)
	}
	_, err = w.WriteString(strings.Join(text, ""))
	if err := errors.Join(err, w.Close()); err != nil {
		f.t.Fatal(err)
	}
}

// rewrite writes the file anew, in place.
func (f sessionFile) rewrite(text ...string) {
	f.t.Helper()
	if err := os.WriteFile(f.path, []byte(strings.Join(text, "")), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// news looks and reads once, and gives what came of it.
func news(r *transcripts) []event.Event {
	var out []event.Event
	if r.changed() {
		r.read(context.Background(), func(e event.Event) { out = append(out, e) })
	}
	return out
}

// newCalls gives the IDs of the calls that are reported, and those that are only
// learned from in brackets.
func newCalls(r *transcripts) []string {
	var ids []string
	for _, e := range news(r) {
		if c, ok := e.Body.(event.ToolCall); ok && c.Backfill {
			ids = append(ids, "("+c.ID+")")
		} else if ok {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

func wantCalls(t *testing.T, r *transcripts, when string, want ...string) {
	t.Helper()
	if got := newCalls(r); !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", when, got, want)
	}
}

// saidOf gives the lines of news of a kind.
func saidOf[B event.Body](r *transcripts) []string {
	var out []string
	for _, e := range news(r) {
		if _, ok := e.Body.(B); ok {
			out = append(out, line(e))
		}
	}
	return out
}

// The fixture is what OpenClaw 2026.6.11 wrote in some turns: in process, in a
// terminal and in the background, two skills in parallel, a refused key.
func TestRealTranscriptsGiveTheseEvents(t *testing.T) {
	for name, since := range map[string]time.Time{
		"live":    time.Date(2026, 11, 30, 15, 0, 0, 0, time.UTC),
		"history": time.Date(2026, 11, 30, 16, 0, 0, 0, time.UTC),
	} {
		t.Run(name, func(t *testing.T) {
			r := newTranscripts(newTeller(t.TempDir(), "main", since), uint32(os.Getuid()))
			if err := os.CopyFS(r.dir, os.DirFS("testdata/2026.6.11")); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range news(r) {
				got = append(got, strings.ReplaceAll(line(e), r.dir, "STATE"))
			}
			slices.SortStableFunc(got, func(a, b string) int { return strings.Compare(a[:12], b[:12]) }) // the files are read in any order
			compare(t, filepath.Join("testdata", "2026.6.11."+name+".want"), strings.Join(got, "\n")+"\n")
		})
	}
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

func TestLinesAreToldOnceAndWhenTheyAreWhole(t *testing.T) {
	r := sessions(t)
	f := file(t, r, "s")
	f.add(execAt(1, "a"))
	wantCalls(t, r, "first", "a")
	wantCalls(t, r, "again")
	row := execAt(2, "b")
	f.add(row[:40])
	wantCalls(t, r, "half")
	f.add(row[40:], execAt(3, "c"))
	wantCalls(t, r, "whole", "b", "c")
}

func TestAFirstLineIsAwaited(t *testing.T) {
	r := sessions(t)
	f := sessionFile{t, filepath.Join(r.path(), "name.jsonl")}
	head := header("id", noon)
	f.add(head[:20])
	wantCalls(t, r, "half a header")
	f.add(head[20:], execAt(1, "a"))
	for _, e := range news(r) {
		if c, ok := e.Body.(event.ToolCall); ok && c.Session != "id" {
			t.Errorf("session %q", c.Session)
		}
	}
}

// OpenClaw writes a transcript anew to change its header or its end: in place, so
// that it is empty for a moment, or as a new file.
func TestATranscriptWrittenAnewIsToldOnlyWhatIsNew(t *testing.T) {
	r := sessions(t)
	f := file(t, r, "s")
	f.add(execAt(1, "a"), execAt(2, "b"), execAt(3, "c"))
	wantCalls(t, r, "first", "a", "b", "c")
	f.rewrite()
	wantCalls(t, r, "empty")
	f.rewrite(header("s", noon), execAt(1, "a"), execAt(2, "b"), execAt(4, "d"))
	wantCalls(t, r, "in place", "d")
	f.rewrite(strings.Replace(header("s", noon), "/w", "/elsewhere", 1), execAt(1, "a"), execAt(4, "d"), execAt(5, "e"))
	wantCalls(t, r, "another header", "e")
	next := sessionFile{t, filepath.Join(r.path(), "tmp")}
	next.add(header("s", noon), execAt(4, "d"), execAt(5, "e"), execAt(6, "f"))
	if err := os.Rename(next.path, f.path); err != nil {
		t.Fatal(err)
	}
	wantCalls(t, r, "a new file", "f")
	f.add(execAt(7, "g"))
	wantCalls(t, r, "appended", "g")
}

func TestMoreRowsThanAreRememberedAreNotToldAgain(t *testing.T) {
	r := sessions(t)
	f := file(t, r, "s")
	var all strings.Builder
	for i := range maxSeen + 1000 {
		all.WriteString(execAt(float64(i), fmt.Sprint(i)))
	}
	f.add(all.String())
	if got := newCalls(r); len(got) != maxSeen+1000 {
		t.Fatalf("%d calls", len(got))
	}
	f.rewrite(header("s", noon), execAt(0, "x"), all.String(), execAt(1e4, "new"))
	for _, id := range newCalls(r) {
		if id != "new" && id[0] != '(' {
			t.Fatalf("%s was told again", id)
		}
	}
}

func TestATranscriptThatIsResetIsReadToItsEndAndNotTwice(t *testing.T) {
	r := sessions(t)
	f := file(t, r, "s")
	f.add(execAt(1, "a"))
	wantCalls(t, r, "first", "a")
	f.add(execAt(2, "last"))
	if err := os.Rename(f.path, f.path+".reset.2026-11-30T12-00-02.000Z"); err != nil {
		t.Fatal(err)
	}
	file(t, r, "t").add(execAt(3, "next"))
	got := newCalls(r)
	if slices.Sort(got); !slices.Equal(got, []string{"last", "next"}) {
		t.Errorf("after the reset: %q", got)
	}
	r.listed = time.Time{} // time passes
	wantCalls(t, r, "later")
	if len(r.files) != 1 {
		t.Errorf("%d files are followed", len(r.files))
	}
}

func TestWhatLiesBesideTranscriptsIsNotRead(t *testing.T) {
	r := sessions(t)
	file(t, r, "s").add(execAt(1, "a"))
	for _, name := range []string{
		"s.trajectory", "s.checkpoint.01234567-89ab-4cde-8f01-23456789abcd", "", // .jsonl
	} {
		sessionFile{t, filepath.Join(r.path(), name+".jsonl")}.add(header("o", noon), execAt(1, "other"))
	}
	for _, name := range []string{"s.jsonl.deleted.2026-11-30T12-00-02.000Z", "s.jsonl.bak.1", "s.jsonl.lock"} {
		sessionFile{t, filepath.Join(r.path(), name)}.add(header("o", noon), execAt(1, "other"))
	}
	wantCalls(t, r, "first", "a")
}

func TestOfHistoryOnlyTheEndIsLearned(t *testing.T) {
	r := sessions(t)
	f := file(t, r, "s")
	filler := strings.Replace(execAt(-3600, "old"), `"x"`, `"`+strings.Repeat("x", 1000)+`"`, 1)
	var all strings.Builder
	for range 20 << 10 {
		all.WriteString(filler)
	}
	f.add(all.String(), execAt(-1, "before"), execAt(1, "after"))
	n, last := 0, []string(nil)
	for {
		got := newCalls(r)
		if len(got) == 0 {
			break
		}
		n += len(got)
		last = got
	}
	if n > 2000 || !slices.Equal(last[len(last)-2:], []string{"(before)", "after"}) {
		t.Errorf("%d calls, %q", n, last[max(0, len(last)-2):])
	}
}

// Between two looks more may be written than before the collector's time.
func TestAllThatIsOfOurTimeIsReadHoweverMuch(t *testing.T) {
	r := sessions(t)
	f := file(t, r, "s")
	text := strings.Repeat("y", 1000)
	var all strings.Builder
	for i := range 20 << 10 {
		all.WriteString(strings.Replace(execAt(1+float64(i)/1000, fmt.Sprint(i)), `"x"`, `"`+text+`"`, 1))
	}
	f.add(execAt(-1, "before"), all.String())
	var got []string
	for more := newCalls(r); len(more) > 0; more = newCalls(r) {
		got = append(got, more...)
	}
	if len(got) != 1+20<<10 || got[0] != "(before)" || got[len(got)-1] != fmt.Sprint(20<<10-1) {
		t.Errorf("%d calls, %q", len(got), got[:min(2, len(got))])
	}
}

func TestAnOldSessionIsLeftAloneUntilItWakes(t *testing.T) {
	r := sessions(t)
	f := file(t, r, "s")
	f.add(execAt(-7200, "before"))
	old := noon.Add(-2 * backfillAge)
	if err := os.Chtimes(f.path, old, old); err != nil {
		t.Fatal(err)
	}
	wantCalls(t, r, "asleep")
	f.add(execAt(1, "after"))
	r.listed = time.Time{} // time passes
	wantCalls(t, r, "awake", "(before)", "after")
}

func TestRowsThatASessionTookOverFromAnotherAreOnlyLearned(t *testing.T) {
	r := sessions(t)
	file(t, r, "parent").add(execAt(1, "a"), execAt(2, "b"))
	wantCalls(t, r, "parent", "a", "b")
	f := sessionFile{t, filepath.Join(r.path(), "child.jsonl")}
	f.add(header("child", noon.Add(10*time.Second)), execAt(1, "a"), execAt(2, "b"), execAt(11, "c"))
	wantCalls(t, r, "child", "(a)", "(b)", "c")
}

func TestAnUnknownVersionIsReadAsFarAsItGoes(t *testing.T) {
	r := sessions(t)
	f := sessionFile{t, filepath.Join(r.path(), "s.jsonl")}
	f.add(strings.Replace(header("s", noon), `"version":3`, `"version":9`, 1), execAt(1, "a"))
	got := news(r)
	if last := line(got[len(got)-1]); !strings.HasPrefix(last, "coverage sampled") || !strings.Contains(last, "transcript of version 9, written against 3") {
		t.Errorf("coverage %q", last)
	}
	f.add(execAt(2, "b"))
	wantCalls(t, r, "later", "b")
}

// A release that turns transcripts into a database leaves both for a while.
func TestASessionInBothFormatsIsToldOnce(t *testing.T) {
	for _, first := range []string{"transcript", "database"} {
		t.Run(first+" first", func(t *testing.T) {
			db, old := agent(t, schema)
			tell := newTeller(old.dir, "main", noon)
			a := agentRecords{newRecords(tell, old.uid), newTranscripts(tell, old.uid)}
			if err := os.MkdirAll(a.transcripts.path(), 0o700); err != nil {
				t.Fatal(err)
			}
			rows := []string{execAt(-100, "before"), execAt(1, "a"), execAt(2, "b"), execAt(3, "c")}
			file(t, a.transcripts, "s").add(rows...)
			for i, row := range append(rows, execAt(4, "only here")) {
				must(t, db, `INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES ('s', ?, ?, ?)`, i, row, noon.Add(time.Hour).UnixMilli())
			}
			var got []string
			emit := func(e event.Event) {
				switch b := e.Body.(type) {
				case event.ToolCall:
					got = append(got, fmt.Sprint(b.ID, b.Backfill))
				case event.SessionStart:
					got = append(got, b.Session)
				}
			}
			both := []func(){
				func() { a.transcripts.changed(); a.transcripts.read(t.Context(), emit) },
				func() { a.read(t.Context(), emit) },
			}
			if first == "database" {
				slices.Reverse(both)
			}
			for range 2 {
				for _, read := range both {
					read()
				}
			}
			want := []string{"s", "beforetrue", "afalse", "bfalse", "cfalse", "only herefalse"}
			if !slices.Equal(got, want) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestSessionsAreKnownByTheirKeys(t *testing.T) {
	r := sessions(t)
	put := func(text string) {
		if err := os.WriteFile(filepath.Join(r.path(), storeName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(`{"agent:main:telegram:direct:7":{"sessionId":"s","usageFamilySessionIds":["r","s"],"chatType":"direct","lastChannel":"telegram",
		"origin":{"accountId":"bot","from":"7"},"skillsSnapshot":{"prompt":"…"},"sessionStartedAt":1796040001000},
		"agent:main:subagent:x":{"sessionId":["odd"],"spawnedBy":"agent:main:main"},
		"agent:main:subagent:y":{"sessionId":"sub","spawnedBy":"agent:main:main","origin":"odd"}, "broken":`)
	for _, id := range []string{"s", "r", "sub", "new"} {
		file(t, r, id).add(execAt(1, id))
	}
	got := map[string]event.SessionStart{}
	for _, e := range news(r) {
		if b, ok := e.Body.(event.SessionStart); ok {
			got[b.Session] = b
		}
	}
	base := event.SessionStart{Gateway: r.dir, Agent: "main", StartedAt: noon}
	chat := base
	chat.Session, chat.SessionKey, chat.Channel, chat.Account, chat.ChatType, chat.Actor = "s", "agent:main:telegram:direct:7", "telegram", "bot", "direct", "7"
	chat.StartedAt = time.UnixMilli(1796040001000)
	former, sub, unknown := chat, base, base
	former.Session, former.StartedAt, unknown.Session = "r", noon, "new"
	sub.Session, sub.SessionKey, sub.ParentKey, sub.CreatedVia = "sub", "agent:main:subagent:y", "agent:main:main", "spawn"
	if diff := cmp.Diff(map[string]event.SessionStart{"s": chat, "r": former, "sub": sub, "new": unknown}, got); diff != "" {
		t.Error(diff)
	}
	put(`{"agent:main:new":{"sessionId":"new"}}`)
	sessionFile{t, filepath.Join(r.path(), "new.jsonl")}.add(execAt(2, "b"))
	for _, e := range news(r) {
		if b, ok := e.Body.(event.ToolCall); ok && b.SessionKey != "agent:main:new" {
			t.Errorf("key %q of a session that is known since", b.SessionKey)
		}
	}
}

func TestASessionThatBeginsInTheFutureHidesNothing(t *testing.T) {
	r := sessions(t)
	f := sessionFile{t, filepath.Join(r.path(), "s.jsonl")}
	f.add(header("s", time.Now().Add(time.Hour)), execAt(1, "a"))
	wantCalls(t, r, "first", "a")
}

func TestAClockThatIsSetBackHidesNothing(t *testing.T) {
	r := sessions(t)
	f := file(t, r, "s")
	f.add(execAt(1, "a"))
	wantCalls(t, r, "first", "a")
	s, _ := r.sessions.Get("s")
	s.newest = time.Now().Add(time.Hour) // as if a row was written before the clock was set back
	f.add(execAt(2, "b"))
	wantCalls(t, r, "then", "b")
}

// A run is what the user's message began, where the rows do not name it.
func TestARunIsNamedByTheMessageThatBeganIt(t *testing.T) {
	r := sessions(t)
	f := file(t, r, "s")
	user := `{"type":"message","id":"%s","message":{"role":"user","content":[{"type":"text","text":"hello"}]}}` + "\n"
	f.add(fmt.Sprintf(user, "u1"), execAt(1, "a"), execAt(2, "b"), fmt.Sprintf(user, "u2"), execAt(3, "c"))
	var got []string
	for _, e := range news(r) {
		if c, ok := e.Body.(event.ToolCall); ok {
			got = append(got, c.ID+" "+c.Run)
		}
	}
	if !slices.Equal(got, []string{"a u1", "b u1", "c u2"}) {
		t.Errorf("got %q", got)
	}
}

func TestATranscriptIsReadWhenItIsWritten(t *testing.T) {
	for name, poll := range map[string]time.Duration{"watched": time.Hour, "polled": 20 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			h := newHost()
			h.put(10, 1, "openclaw-gatewa", os.Getuid(), "openclaw-gateway", "HOME=/ OPENCLAW_STATE_DIR="+dir)
			r := newTranscripts(newTeller(dir, "main", noon), 0)
			if err := os.MkdirAll(r.path(), 0o700); err != nil {
				t.Fatal(err)
			}
			_, next := runningAt(t, h, poll)
			next(event.KindGateway)
			f := sessionFile{t, filepath.Join(r.path(), "s.jsonl")}
			now := time.Since(noon).Seconds()
			f.add(header("s", time.Now()))
			for i := range 5 {
				f.add(execAt(now+100, fmt.Sprint(i)))
				if call := next(event.KindToolCall).Body.(event.ToolCall); call.ID != fmt.Sprint(i) || call.Gateway != dir || call.Agent != "main" || call.Backfill {
					t.Errorf("call %+v", call)
				}
			}
		})
	}
}
