package spool

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func open(t *testing.T, cfg Config) *Spool {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t *testing.T, s *Spool, data ...string) {
	t.Helper()
	for _, d := range data {
		if err := s.Put([]byte(d), 1); err != nil {
			t.Fatal(err)
		}
	}
}

// drain reads and acknowledges everything.
func drain(t *testing.T, s *Spool) []string {
	t.Helper()
	var all []string
	for {
		got := read(t, s, 3)
		if len(got) == 0 {
			return all
		}
		all = append(all, got...)
		if err := s.Ack(len(got)); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, s *Spool, items int) []string {
	t.Helper()
	entries, err := s.Read(items, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, string(e.Data))
	}
	return got
}

func equal(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestEntriesStayUntilAcknowledgedAcrossReopening(t *testing.T) {
	for _, sync := range []bool{false, true} {
		cfg := Config{Dir: filepath.Join(t.TempDir(), "q"), Sync: sync}
		s := open(t, cfg)
		put(t, s, "a", "b", "c", "d")
		equal(t, read(t, s, 2), "a", "b")
		equal(t, read(t, s, 2), "a", "b") // again, since nobody acknowledged
		if err := s.Ack(1); err != nil {
			t.Fatal(err)
		}
		equal(t, read(t, s, 9), "b", "c", "d")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		if got := s.Stats(); got.Items != 3 || got.DamagedBytes != 0 {
			t.Fatalf("after reopening: %+v", got)
		}
		<-s.Ready()
		put(t, s, "e")
		equal(t, drain(t, s), "b", "c", "d", "e")
		if got := s.Stats(); got != (Stats{}) {
			t.Fatalf("drained: %+v", got)
		}
		s.Close()
		equal(t, drain(t, open(t, cfg)))
	}
}

func TestReadGivesOneEntryEvenIfItIsOverTheLimit(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	if err := s.Put([]byte("ab"), 5); err != nil {
		t.Fatal(err)
	}
	put(t, s, "c")
	equal(t, read(t, s, 1), "ab")
}

func TestFullQueueRefusesTheNewestAndKeepsTheRest(t *testing.T) {
	for _, cfg := range []Config{{MaxItems: 2}, {MaxBytes: 2 * (headerSize + 1)}} {
		cfg.Dir = t.TempDir()
		s := open(t, cfg)
		put(t, s, "a", "b")
		if err := s.Put([]byte("c"), 1); !errors.Is(err, ErrFull) {
			t.Fatalf("third put: %v", err)
		}
		equal(t, read(t, s, 1), "a")
		if err := s.Ack(1); err != nil {
			t.Fatal(err)
		}
		put(t, s, "d")
		equal(t, drain(t, s), "b", "d")
	}
}

func TestDeliveredSegmentsAreUnlinked(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	data := strings.Repeat("x", 1<<20)
	for range 20 {
		put(t, s, data)
	}
	if n := len(segments(t, dir)); n < 3 {
		t.Fatalf("20 MiB in %d segments", n)
	}
	if got := len(drain(t, s)); got != 20 {
		t.Fatalf("read %d of 20", got)
	}
	if left := segments(t, dir); len(left) != 0 {
		t.Fatalf("left on disk: %v", left)
	}
	put(t, s, "a")
	s.Close()
	equal(t, drain(t, open(t, Config{Dir: dir})), "a")
}

func segments(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestSecondOpenOfAQueueFails(t *testing.T) {
	dir := t.TempDir()
	open(t, Config{Dir: dir})
	if _, err := Open(Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Fatalf("second open: %v", err)
	}
}

func TestClosedQueueRefuses(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	s.Close()
	_, err := s.Read(1, 1)
	if !errors.Is(err, ErrClosed) || !errors.Is(s.Put(nil, 1), ErrClosed) || !errors.Is(s.Ack(0), ErrClosed) {
		t.Fatalf("read of a closed queue: %v", err)
	}
}

// filled gives the file that entries are kept in, and all that is in it.
func filled(t *testing.T, dir string, entries ...string) (name string, whole []byte) {
	t.Helper()
	s := open(t, Config{Dir: dir})
	put(t, s, entries...)
	s.Close()
	name = segments(t, dir)[0]
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return name, whole
}

func TestDamagedByteCostsOneEntry(t *testing.T) {
	dir, want := t.TempDir(), []string{"first", "second", "", "fourth", "fifth"}
	name, whole := filled(t, dir, want...)
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 0x40
		write(t, name, b)
		s := open(t, Config{Dir: dir})
		got := drain(t, s)
		if missing(want, got) != 1 || len(got) != len(want)-1 {
			t.Fatalf("byte %d damaged: got %q", i, got)
		}
		if s.Stats().DamagedBytes < headerSize {
			t.Fatalf("byte %d damaged: %+v", i, s.Stats())
		}
		s.Close()
		os.Remove(filepath.Join(dir, cursorName))
	}
}

func TestTornTailCostsOnlyWhatWasTorn(t *testing.T) {
	dir, want := t.TempDir(), []string{"first", "second", "third"}
	name, whole := filled(t, dir, want...)
	for n := range whole {
		write(t, name, whole[:n])
		s := open(t, Config{Dir: dir})
		put(t, s, "after")
		got := drain(t, s)
		fit := 0 // entries that are whole in n bytes
		for used := 0; fit < len(want); fit++ {
			if used += headerSize + len(want[fit]); used > n {
				break
			}
		}
		equal(t, got, append(slices.Clone(want[:fit]), "after")...)
		s.Close()
		os.Remove(filepath.Join(dir, cursorName))
		for _, left := range segments(t, dir) {
			os.Remove(left)
		}
	}
}

func TestDamagedCursorMeansDuplicatesAndNoLoss(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	put(t, s, "a", "b")
	read(t, s, 1)
	if err := s.Ack(1); err != nil {
		t.Fatal(err)
	}
	s.Close()
	write(t, filepath.Join(dir, cursorName), []byte("rubbish of twenty bytes."))
	equal(t, drain(t, open(t, Config{Dir: dir})), "a", "b")
}

func TestSegmentThatIsALinkIsNotFollowed(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, segmentName(1))); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(Config{Dir: dir}); err == nil {
		s.Close()
		t.Fatal("opened")
	}
}

// A file size limit stands for a full disk: the write that meets it is cut
// short, the next fails.
func TestFullDiskLosesNothingAccepted(t *testing.T) {
	dir := t.TempDir()
	out, err := child(t, "full", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	accepted, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || accepted < 10 {
		t.Fatalf("accepted %q: %v", out, err)
	}
	s := open(t, Config{Dir: dir})
	put(t, s, "after")
	got := drain(t, s)
	if len(got) != accepted+1 || s.Stats().DamagedBytes != 0 {
		t.Fatalf("accepted %d, read %d, %+v", accepted, len(got)-1, s.Stats())
	}
}

// The child is killed while it puts, five times. What it said it had put must be
// there.
func TestKillLosesNothingAccepted(t *testing.T) {
	dir := t.TempDir()
	last := 0
	for round := range 5 {
		c := child(t, "put", dir)
		c.Env = append(c.Env, fmt.Sprint("SPOOL_FROM=", last+1))
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; n < 200+137*round && lines.Scan(); n++ {
			last, _ = strconv.Atoi(lines.Text())
		}
		c.Process.Kill()
		for lines.Scan() { // accepted before the kill arrived
			last, _ = strconv.Atoi(lines.Text())
		}
		c.Wait()
	}
	got := drain(t, open(t, Config{Dir: dir}))
	seen := make(map[string]bool, len(got))
	for _, d := range got {
		seen[d] = true
	}
	for i := 1; i <= last; i++ {
		if !seen[strconv.Itoa(i)] {
			t.Fatalf("entry %d of %d is lost", i, last)
		}
	}
}

func child(t *testing.T, what, dir string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestChild$")
	c.Env = append(os.Environ(), "SPOOL_CHILD="+what, "SPOOL_DIR="+dir)
	return c
}

// TestChild is what child runs; by itself it does nothing.
func TestChild(t *testing.T) {
	dir := os.Getenv("SPOOL_DIR")
	switch os.Getenv("SPOOL_CHILD") {
	case "full":
		signal.Ignore(syscall.SIGXFSZ)
		limit := syscall.Rlimit{Cur: 100_000, Max: 100_000}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			t.Fatal(err)
		}
		fmt.Println(fill(t, dir))
		os.Exit(0) // before the test framework prints
	case "put":
		from, _ := strconv.Atoi(os.Getenv("SPOOL_FROM"))
		s := open(t, Config{Dir: dir})
		for i := from; ; i++ {
			put(t, s, strconv.Itoa(i))
			fmt.Println(i)
		}
	}
}

// fill puts until the disk refuses, twice: the second time in another segment.
func fill(t *testing.T, dir string) (accepted int) {
	s := open(t, Config{Dir: dir})
	for refused := 0; refused < 2; {
		if err := s.Put(bytes.Repeat([]byte("x"), 3000), 1); err == nil {
			accepted++
			continue
		} else if errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
		refused++
	}
	if got := s.Stats().Items; got != int64(accepted) {
		t.Fatalf("accepted %d, stats say %d", accepted, got)
	}
	if len(read(t, s, 1)) != 1 {
		t.Fatal("nothing to read on a full disk")
	}
	return accepted
}

func missing(want, got []string) (n int) {
	for _, w := range want {
		if !slices.Contains(got, w) {
			n++
		}
	}
	return n
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Whatever is in the files, a queue opens, drains and takes new entries.
func FuzzOpen(f *testing.F) {
	f.Add(appendFrame(appendFrame(nil, []byte("a"), 1), []byte("b"), 2), []byte{})
	f.Add([]byte("\xc1\xa3\xf0\x0d"), make([]byte, cursorSize))
	f.Add(bytes.Repeat([]byte("\xc1\xa3\xf0\x0d"), 20), []byte("x"))
	f.Fuzz(func(t *testing.T, segment, cursor []byte) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, segmentName(1)), segment)
		write(t, filepath.Join(dir, cursorName), cursor)
		s := open(t, Config{Dir: dir})
		put(t, s, "new")
		if got := drain(t, s); len(got) == 0 || got[len(got)-1] != "new" {
			t.Fatalf("got %q", got)
		}
		if got := s.Stats(); got.Items != 0 || got.Bytes != 0 {
			t.Fatalf("drained: %+v", got)
		}
		s.Close()
	})
}

func BenchmarkPut(b *testing.B) {
	for _, sync := range []bool{false, true} {
		b.Run(fmt.Sprint("sync=", sync), func(b *testing.B) {
			s, err := Open(Config{Dir: b.TempDir(), Sync: sync})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			data := bytes.Repeat([]byte("x"), 50_000)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if err := s.Put(data, 100); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
