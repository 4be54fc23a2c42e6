package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

func TestSizeIsBoundedAndAlertsGoLast(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.db")
	const limit = 1 << 20
	s := open(t, path, store.Limits{MaxBytes: limit})
	add(t, s, []event.Record{fileOpen(0, "weather", 41)}, alert(1, "a", "weather", id(0)))
	for i := 0; i < 20_000; i += 500 {
		batch := make([]event.Record, 500)
		for j := range batch {
			batch[j] = fileOpen(i+j+2, "news", int32(i+j))
		}
		add(t, s, batch)
	}
	add(t, s, nil) // makes room, and nothing else
	st, err := s.Stats(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if st.Bytes > limit || st.Records < 1000 {
		t.Errorf("holds %+v", st)
	}
	if fi, err := os.Stat(path); err != nil || fi.Size() > 3*limit {
		t.Errorf("file has %d bytes, %v", fi.Size(), err)
	}
	if got := ids(t, s, store.Query{Until: epoch.Add(time.Minute)}); got != "" {
		t.Errorf("oldest records still there: %q", got)
	}
	if got := alertIDs(t, s, store.Query{}); got != "1" {
		t.Errorf("alerts: %q", got)
	}
	if f, err := s.Get(context.Background(), id(0)); err != nil || f.Record == nil {
		t.Errorf("the record of an alert is gone: %v", err)
	}
}

func TestAlertsAloneAreBoundedToo(t *testing.T) {
	const limit = 1 << 20
	s := open(t, filepath.Join(t.TempDir(), "events.db"), store.Limits{MaxBytes: limit})
	n := 0
	for range 25 {
		var alerts []event.Alert
		for range 100 {
			n++
			alerts = append(alerts, alert(n, "a", "weather"))
		}
		add(t, s, nil, alerts...)
		add(t, s, nil)
	}
	st, err := s.Stats(context.Background())
	if err != nil || st.Bytes > limit || st.Alerts < 100 {
		t.Errorf("holds %+v, %v", st, err)
	}
	if got := alertIDs(t, s, store.Query{Limit: 1}); got != fmt.Sprint(n) {
		t.Errorf("newest alert: %q", got)
	}
}

func TestAgeIsBoundedAndCursorsGoOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.db")
	now := epoch.Add(time.Hour)
	limits := store.Limits{MaxAge: 24 * time.Hour, Now: func() time.Time { return now }}
	s := open(t, path, limits)
	add(t, s, []event.Record{fileOpen(1, "weather", 41), fileOpen(2, "weather", 41)}, alert(3, "a", "weather", id(1)))
	now = now.Add(25 * time.Hour)
	add(t, s, nil)
	if got := ids(t, s, store.Query{}); got != "" {
		t.Errorf("after a day: %q", got)
	}
	if got := alertIDs(t, s, store.Query{}); got != "3" {
		t.Errorf("alerts after a day: %q", got)
	}
	head := s.Head()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, limits)
	add(t, s, []event.Record{fileOpen(100_000, "weather", 41)})
	if got := ids(t, s, store.Query{After: head}); got != "100000" {
		t.Errorf("after a cursor from before: %q", got)
	}
	now = now.Add(6 * 24 * time.Hour)
	add(t, s, nil)
	if got := alertIDs(t, s, store.Query{}); got != "" {
		t.Errorf("alerts after a week: %q", got)
	}
	if _, err := s.Get(context.Background(), id(1)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the record of a deleted alert: %v", err)
	}
}

// TestMain is also the child that TestAKilledWriterLosesNothing kills.
func TestMain(m *testing.M) {
	if path := os.Getenv("STORE_TEST_APPEND"); path != "" {
		s, err := store.Open(path, store.Limits{})
		for n := 0; err == nil; n += 10 {
			batch := make([]event.Record, 10)
			for i := range batch {
				batch[i] = fileOpen(n+i, "weather", 41)
			}
			if err = s.Append(batch, nil); err == nil {
				fmt.Println(n + 9)
			}
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestAKilledWriterLosesNothingThatWasAppended(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.db")
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "STORE_TEST_APPEND="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	buf := make([]byte, 512)
	for said.Len() < 2000 { // in the midst of it
		n, err := out.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		said.Write(buf[:n])
	}
	if err := child.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for {
		n, err := out.Read(buf)
		said.Write(buf[:n])
		if err != nil {
			break
		}
	}
	_ = child.Wait() // killed
	whole := said.String()[:strings.LastIndexByte(said.String(), '\n')]
	var acknowledged int
	if _, err := fmt.Sscan(whole[strings.LastIndexByte(whole, '\n')+1:], &acknowledged); err != nil {
		t.Fatal(err)
	}
	s := open(t, path, store.Limits{})
	if s.Recovered() != "" {
		t.Errorf("taken for damaged: %s", s.Recovered())
	}
	n := 0
	for r, err := range s.Events(context.Background(), store.Query{Oldest: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.ID != id(n) {
			t.Fatalf("record %d is %s", n, r.ID)
		}
		n++
	}
	if n <= acknowledged || n%10 != 0 {
		t.Errorf("%d records, %d were acknowledged, whole tens want", n, acknowledged+1)
	}
	add(t, s, []event.Record{fileOpen(n, "weather", 41)})
}

func TestADamagedFileIsSetAside(t *testing.T) {
	for name, damage := range map[string]func(b []byte){
		"no database":     func(b []byte) { copy(b, "this is a text file, not a database") },
		"damaged schema":  func(b []byte) { clear(b[100:4096]) },
		"damaged content": func(b []byte) { clear(b[len(b)/2:]) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "events.db")
			s := open(t, path, store.Limits{})
			for i := 0; i < 2000; i += 500 {
				batch := make([]event.Record, 500)
				for j := range batch {
					batch[j] = fileOpen(i+j, "weather", int32(i+j))
				}
				add(t, s, batch)
			}
			// A copy taken while it is open lacks the mark of an orderly end,
			// and so is checked.
			b := copyOpen(t, path)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			damage(b)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			for range 3 { // it is not an endless tale
				s, err := store.Open(path, store.Limits{Now: func() time.Time { return epoch }})
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Append([]event.Record{fileOpen(1, "weather", 41)}, nil); err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			aside, err := filepath.Glob(path + ".aside-*")
			if err != nil || len(aside) != 1 {
				t.Errorf("set aside: %v, %v", aside, err)
			}
		})
	}
}

// copyOpen copies an open database, what is in its log included.
func copyOpen(t *testing.T, path string) []byte {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAFullDiskIsAnErrorAndDamagesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount tmpfs: %v", err)
		}
		t.Skipf("mount tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "events.db")
	s := open(t, path, store.Limits{})
	var stored, n int
	var err error
	for ; err == nil && n < 1_000_000; n += 100 {
		batch := make([]event.Record, 100)
		for i := range batch {
			batch[i] = fileOpen(n+i, fmt.Sprint("skill-", n+i), int32(n+i))
		}
		if err = s.Append(batch, nil); err == nil {
			stored += len(batch)
		}
	}
	if !errors.Is(err, store.ErrFull) {
		t.Fatalf("after %d records: %v", n, err)
	}
	if got := len(strings.Fields(ids(t, s, store.Query{}))); got != stored {
		t.Errorf("%d records, %d were stored", got, stored)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	add(t, s, []event.Record{fileOpen(n, "weather", 41)})
	_ = s.Close()
	s = open(t, path, store.Limits{})
	if got := len(strings.Fields(ids(t, s, store.Query{}))); got != stored+1 || s.Recovered() != "" {
		t.Errorf("reopened: %d records, want %d; %s", got, stored+1, s.Recovered())
	}
}

// A store is 20 µs a record or it does not keep up: 50,000 a second, with what
// a gateway's tools really write.
func BenchmarkAppend(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "events.db"), store.Limits{Now: time.Now})
	batch := make([]event.Record, 1024)
	n := 0
	for b.Loop() {
		b.StopTimer()
		for i := range batch {
			batch[i] = realistic(n)
			if n%50 != 0 && i > 0 { // the records of a process share it
				batch[i].Process, batch[i].Attribution = batch[i-1].Process, batch[i-1].Attribution
			}
			n++
		}
		b.StartTimer()
		add(b, s, batch)
	}
	st, err := s.Stats(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n)/1000, "µs/record")
	b.ReportMetric(float64(st.Bytes)/float64(st.Records), "B/record")
}

func BenchmarkQuery(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "events.db"), store.Limits{})
	const n = 200_000
	for i := 0; i < n; i += 500 {
		batch := make([]event.Record, 500)
		for j := range batch {
			batch[j] = realistic(i + j)
		}
		add(b, s, batch)
	}
	for name, q := range map[string]store.Query{
		"newest 100":        {Limit: 100},
		"newest 100 of one": {Limit: 100, Skill: "skill-3"},
		"one process":       {PID: 1500},
		"a kind not there":  {Kind: "llm.call"},
		"a skill not there": {Skill: "nobody"},
		"all of one kind":   {Kind: "network.connect"},
	} {
		b.Run(name, func(b *testing.B) {
			found := 0
			for b.Loop() {
				for _, err := range s.Events(context.Background(), q) {
					if err != nil {
						b.Fatal(err)
					}
					found++
				}
			}
			b.ReportMetric(float64(found)/float64(b.N), "records")
		})
	}
}

// realistic is record n of tools at work: fifty records a process.
func realistic(n int) event.Record {
	p := n / 50
	skill := fmt.Sprintf("skill-%d", p%20)
	dir := "/home/dev/.openclaw/skills/" + skill
	r := event.Record{
		ID: id(n), Time: epoch.Add(time.Duration(n) * 20 * time.Microsecond), Kind: event.KindFileOpen, Source: event.SourceEBPF,
		Process: &event.Process{
			PID: int32(1000 + p%30000), StartTime: uint64(123456 + p), ParentPID: int32(999 + p%30000), ParentStart: uint64(123450 + p), Role: event.RoleTool,
			Executable: &event.Executable{Path: "/usr/bin/python3.11"}, CommandArgs: []string{"python3", dir + "/scripts/run.py", "--city", fmt.Sprint(n * 7919)},
			Cwd: "/home/dev/.openclaw/workspace", User: &event.User{ID: 1000, Name: "dev"},
			Ancestors: []event.Ancestor{{PID: int32(999 + p%30000), Executable: "/usr/bin/bash"}, {PID: 812, Executable: "/usr/bin/node"}, {PID: 1, Executable: "/usr/lib/systemd/systemd"}},
		},
		Attribution: &event.Attribution{
			Gateway: "/home/dev/.openclaw", Agent: "main", Session: fmt.Sprintf("0193aaaa-8c1d-7e3f-a111-%012x", p/10%50), SessionKey: "agent:main:telegram:dm:12345",
			Run: fmt.Sprintf("run-%x", p), ToolCall: fmt.Sprintf("call_%08x", p*7919), Confidence: event.Certain,
			Skill:    &event.SkillID{Name: skill, Version: "1.2.0", SHA256: fmt.Sprintf("%064x", p%20*7919*7919*7919), Root: "/home/dev/.openclaw/skills", Dir: dir},
			Evidence: []event.Evidence{{Kind: "script_path", Detail: dir + "/scripts/run.py"}, {Kind: "lineage", Detail: fmt.Sprintf("%d@%d descends from call_%08x", 1000+p, 123456+p, p*7919)}},
		},
	}
	if n%10 == 0 {
		r.Kind = event.KindConnect
		r.Network = &event.Network{Transport: event.TCP, Direction: "outbound", PeerAddress: "192.0.2.17", PeerPort: 443, Host: "api.example.com"}
	} else {
		r.File = &event.File{Path: fmt.Sprintf("/usr/lib/python3/dist-packages/mod%d/file%d.py", n%37, n), Operation: "read"}
	}
	return r
}

// The memory of a written block is used for the next one. Nothing of one may
// show in another, also where a transaction fails half way, or empties lines.
func TestBlocksFilledInUsedMemoryKeepTheirLines(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "events.db"), store.Limits{})
	unfit := event.Alert{ID: "01ALERT", Time: time.Date(1<<20, 1, 1, 0, 0, 0, 0, time.UTC)} // no JSON has such a year
	var want []string
	n := 0
	for i, size := range []int{1, 300, 256, 1024, 255, 2, 1, 700, 256, 512, 1500, 3} {
		batch := make([]event.Record, size)
		for k := range batch {
			n++
			batch[k] = fileOpen(n, "skill"+strconv.Itoa(i), int32(1000+n%7))
			want = append(want, strconv.Itoa(n))
		}
		failing := slices.Clone(batch)
		for k := range failing { // other lines, in the same places
			failing[k] = fileOpen(900_000+n+k, "no-skill", 9)
		}
		if err := s.Append(failing, []event.Alert{unfit}); err == nil {
			t.Fatal("an alert without JSON was stored")
		}
		add(t, s, batch)
		if i%3 == 2 { // the last line moves to the end
			again := batch[size-1]
			again.Amended = true
			add(t, s, []event.Record{again})
		}
	}
	if got := ids(t, s, store.Query{Oldest: true}); got != strings.Join(want, " ") {
		t.Errorf("%d records came back, want %d in order", len(strings.Fields(got)), len(want))
	}
	if got := ids(t, s, store.Query{Skill: "no-skill"}); got != "" {
		t.Errorf("of what failed there is %s", got)
	}
	for i, size := range []int{1, 300} {
		if got := len(strings.Fields(ids(t, s, store.Query{Skill: "skill" + strconv.Itoa(i)}))); got != size {
			t.Errorf("%d records are found by skill%d, want %d", got, i, size)
		}
	}
}
