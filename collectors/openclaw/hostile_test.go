package openclaw

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/clawwatch/clawwatch/internal/event"
)

// taken reads until all that is wanted was said, and gives what was, and the most
// memory that Go allocated in one reading. The machine may be slow, and a reading
// end before it has come to everything.
func taken(t *testing.T, r *records, want ...string) (lines []string, memory uint64) {
	t.Helper()
	missing := func() string {
		for _, w := range want {
			if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, w) }) {
				return w
			}
		}
		return ""
	}
	for began := time.Now(); ; {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		lines = append(lines, said(r)...)
		runtime.ReadMemStats(&after)
		memory = max(memory, after.TotalAlloc-before.TotalAlloc)
		r.retry = time.Time{}
		if w := missing(); w == "" {
			return lines, memory
		} else if time.Since(began) > 2*time.Minute {
			t.Fatalf("%q was not said: %.3000q", w, lines)
		}
	}
}

// resident is the memory of this process, SQLite's included.
func resident(t *testing.T) (kB int) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\nVmRSS:")
	if _, err := fmt.Sscan(rest, &kB); err != nil {
		t.Fatal(err)
	}
	return kB
}

func TestAHostileRowIsCountedAtSmallCostAndTheNextOneRead(t *testing.T) {
	packer, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	pack := func(text string) []byte { return packer.EncodeAll([]byte(text), nil) }
	const plain, packed = `INSERT INTO transcript_events VALUES ('s', 1, ?, 2001, NULL)`, `INSERT INTO transcript_events VALUES ('s', 1, NULL, 2001, ?)`
	for name, test := range map[string]struct {
		insert string
		value  any
		want   string
	}{
		"100 MB of JSON": {plain, `{"type":"message","id":"` + strings.Repeat("x", 100<<20) + `"}`, "bytes, more than the 8388608 read"},
		"zstd bomb":      {packed, pack(strings.Repeat("\x00", 200<<20)), "unpack row"},
		"no zstd":        {packed, []byte("\x28\xb5\x2f\xfd\x00\x00garbage"), "unpack row"},
		"deep JSON":      {plain, strings.Repeat(`{"message":[`, 1<<18) + strings.Repeat(`]}`, 1<<18), "parse row: no JSON"},
		"deep packed":    {packed, pack(strings.Repeat("[", 4<<20)), "parse row: no JSON"},
		"neither":        {plain, nil, "parse row: no JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			db, r := agent(t, schema)
			must(t, db, test.insert, test.value)
			insert(t, db, "s", 2, execRow("good", "x"))
			got, memory := taken(t, r, test.want, " good ")
			lost := slices.DeleteFunc(got, func(l string) bool { return !strings.HasPrefix(l, "lost") })
			if len(lost) != 1 || !strings.HasPrefix(lost[0], "lost 1 tool.call row ") || len(lost[0]) > 1000 {
				t.Errorf("%.2000q", lost)
			}
			if memory > 100<<20 {
				t.Errorf("%d bytes", memory)
			}
		})
	}
}

// Names are copied by SQLite before anybody can look at their length.
func TestHugeNamesAreNotLoaded(t *testing.T) {
	db, r := agent(t, schema)
	huge := strings.Repeat("n", 20<<20)
	must(t, db, `INSERT INTO session_windows (session_id, session_key, updated_at, created_at, channel, account_id, chat_type, parent_session_key) VALUES ('s', ?1, 2000, 2000, ?1, ?1, ?1, ?1)`, huge)
	must(t, db, `INSERT INTO session_windows (session_id, session_key, updated_at) VALUES (?, 'k', 2000)`, huge)
	insert(t, db, huge, 1, execRow("nameless", "x"))
	insert(t, db, "s", 2, execRow("good", "x"))
	db.Close()
	before := resident(t)
	_, memory := taken(t, r, " good ", " nameless ")
	if grown := resident(t) - before; memory > 32<<20 || grown > 64<<10 {
		t.Errorf("%d bytes of Go's memory, and %d kB in all", memory, grown)
	}
}

// What is more than can be read at once comes with the next readings, and in
// between others have their turn.
func TestAFloodIsReadInParts(t *testing.T) {
	db, r := agent(t, schema)
	body := `{"type":"message","id":"%d","message":{"role":"user","content":"` + strings.Repeat("x", 1<<20) + `"}}`
	must(t, db, `BEGIN`)
	for i := range 100 {
		insert(t, db, "s", i, fmt.Sprintf(body, i))
	}
	insert(t, db, "s", 100, execRow("last", "x"))
	must(t, db, `COMMIT`)
	readings := 0
	for found := false; !found; readings++ {
		if readings > 200 {
			t.Fatal("never read to the end")
		}
		r.dirty = false
		r.read(t.Context(), func(e event.Event) {
			l := line(e)
			found = found || strings.Contains(l, " last ")
			if strings.HasPrefix(l, "lost") {
				t.Error(l)
			}
		})
		if !found && !r.dirty && r.failing.IsZero() { // on a slow machine a statement can be cut short
			t.Fatal("the rest is not marked")
		}
		r.retry = time.Time{}
	}
	if readings < 2 {
		t.Errorf("%d reading", readings)
	}
}

func TestASessionWithAHugePastIsLearnedFromItsEnd(t *testing.T) {
	db, r := agent(t, schema)
	must(t, db, `INSERT INTO session_windows (session_id, session_key, updated_at) VALUES ('s', 'k', 999)`)
	must(t, db, `WITH n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
		INSERT INTO transcript_events SELECT 's', i, replace(?, '#', i), i / 201, NULL FROM n`, execRow("#", "x"))
	insert(t, db, "s", 300000, execRow("new", "x"))
	got, memory := taken(t, r, " new ")
	if n := len(got); n > backfillRows+5 || memory > 64<<20 {
		t.Errorf("%d events, %d bytes", n, memory)
	}
	if i := slices.IndexFunc(got, func(l string) bool { return strings.Contains(l, " new ") }); !strings.HasSuffix(got[i], "backfill=false") {
		t.Error(got[i])
	}
}

// A reader must neither make a writer wait nor wait for one.
func TestALockedDatabaseIsLeftAndReadLater(t *testing.T) {
	for name, lock := range map[string]string{
		"rollback journal": `PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE`,
		"exclusive WAL":    `PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; BEGIN EXCLUSIVE`,
	} {
		t.Run(name, func(t *testing.T) {
			_, r := agent(t, "")
			os.Remove(r.path())
			cmd, stdin, _ := startWriter(t, "LOCKER", r.path()+"\n"+lock)
			got := said(r)
			r.failing = r.failing.Add(-patience) // time passes
			// The writer keeps its lock until we have read, so that to wait for it would be for ever.
			if got = append(got, said(r)...); len(got) != 1 || !strings.HasPrefix(got[0], "coverage none") || !strings.Contains(got[0], "lock") {
				t.Errorf("got %q", got)
			}
			stdin.Close() // it commits and ends
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			r.retry = time.Time{} // time passes
			taken(t, r, " kept ")
		})
	}
}

// locker holds a database locked, with a row to commit, until its input ends.
func locker(spec string) {
	path, text, _ := strings.Cut(spec, "\n")
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		panic(err)
	}
	db.SetMaxOpenConns(1)
	for _, s := range []string{schema, text, `INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES ('s', 0, '` + execRow("kept", "x") + `', 5000)`} {
		if _, err := db.Exec(s); err != nil {
			panic(err)
		}
	}
	fmt.Println("locked")
	fmt.Scanln()
	if _, err := db.Exec("COMMIT"); err != nil {
		panic(err)
	}
	if err := db.Close(); err != nil {
		panic(err)
	}
}

func TestACorruptDatabaseIsSaidAndHarmsNothing(t *testing.T) {
	db, r := agent(t, schema)
	for i := range 2000 {
		insert(t, db, "s", i, execRow(fmt.Sprint(i), strings.Repeat("x", 100)))
	}
	db.Close()
	whole, err := os.ReadFile(r.path())
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func([]byte) []byte{
		"noise in all pages but the first": func(b []byte) []byte {
			for i := 4096; i < len(b); i++ {
				b[i] = byte(i * 31)
			}
			return b
		},
		"noise in the schema": func(b []byte) []byte {
			for i := 100; i < 4096; i++ {
				b[i] ^= byte(i)
			}
			return b
		},
		"cut off":     func(b []byte) []byte { return b[:len(b)/2+100] },
		"only a head": func(b []byte) []byte { return b[:100] },
		"half a head": func(b []byte) []byte { return b[:50] },
		"empty":       func(b []byte) []byte { return nil },
		"huge pages":  func(b []byte) []byte { b[16], b[17] = 0, 1; return b },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecords(newTeller(r.dir, "main", r.since), r.uid)
			if err := os.WriteFile(r.path(), spoil(slices.Clone(whole)), 0o600); err != nil {
				t.Fatal(err)
			}
			said(r)
			r.failing = r.failing.Add(-patience) // time passes
			_, memory := taken(t, r, "coverage none")
			if r.said.Fidelity != "none" || r.said.Reason == "" {
				t.Errorf("coverage %+v", r.said)
			}
			if memory > 64<<20 {
				t.Errorf("%d bytes", memory)
			}
		})
	}
}

func TestADatabaseSwappedForSomethingElseIsNotOpened(t *testing.T) {
	other, elsewhere := agent(t, schema)
	insert(t, other, "s", 0, execRow("outside", "x"))
	other.Close()
	for name, swap := range map[string]func(path string) error{
		"link":      func(path string) error { return os.Symlink(elsewhere.path(), path) },
		"pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			db, r := agent(t, schema)
			insert(t, db, "s", 0, execRow("a", "x"))
			db.Close()
			said(r)
			if err := os.Remove(r.path()); err != nil {
				t.Fatal(err)
			}
			if err := swap(r.path()); err != nil {
				t.Fatal(err)
			}
			// As if it was swapped after the look that read makes first.
			if c, err := openDatabase(context.Background(), r.path()); err == nil {
				c.close()
				t.Error("opened")
			}
			said(r)
			r.failing = r.failing.Add(-patience) // time passes
			got := said(r)
			if len(got) != 1 || !strings.HasPrefix(got[0], "coverage none") {
				t.Errorf("got %q", got)
			}
			if name == "directory" {
				return
			}
			for _, beside := range []string{"-wal", "-shm"} { // and those that belong to it
				db, r := agent(t, schema)
				insert(t, db, "s", 0, execRow("a", "x"))
				db.Close()
				if err := swap(r.path() + beside); err != nil {
					t.Fatal(err)
				}
				if got := calls(r); got != nil {
					t.Errorf("%s: %q", beside, got)
				}
				if names, err := os.ReadDir(filepath.Dir(r.path())); err != nil || len(names) != 2 {
					t.Errorf("%s: %v, %v", beside, names, err)
				}
			}
		})
	}
}

// A pipe that is put in the database's place in the moment of its opening holds
// up SQLite, and nobody else.
func TestADatabaseThatCannotBeOpenedHoldsNobodyUp(t *testing.T) {
	db, r := agent(t, schema)
	insert(t, db, "s", 0, execRow("a", "x"))
	held, tries := make(chan struct{}), 0
	r.open = func(ctx context.Context, path string) (*connection, error) {
		tries++
		<-held
		return openDatabase(ctx, path)
	}
	said(r)
	r.failing = r.failing.Add(-patience) // time passes
	if got := said(r); len(got) != 1 || !strings.Contains(got[0], "no answer") {
		t.Errorf("got %q", got)
	}
	close(held)
	r.retry = time.Time{} // time passes
	taken(t, r, " a exec")
	if tries != 1 {
		t.Errorf("opened %d times", tries)
	}
}
