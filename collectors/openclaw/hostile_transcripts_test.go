package openclaw

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

func TestALongLineIsCountedAndTheNextOneRead(t *testing.T) {
	r := sessions(t)
	f := file(t, r, "s")
	f.add(execAt(1, "a"))
	chunk := strings.Repeat("z", 4<<20)
	f.add(`{"type":"message","id":"`)
	var lost, got []string
	grown := uint64(0)
	for range 25 { // 100 MiB in one line
		f.add(chunk)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for _, e := range news(r) {
			switch b := e.Body.(type) {
			case event.Lost:
				lost = append(lost, line(e))
			case event.ToolCall:
				got = append(got, b.ID)
			}
		}
		runtime.ReadMemStats(&after)
		grown = max(grown, after.TotalAlloc-before.TotalAlloc)
	}
	f.add("\"}\n", execAt(2, "b"))
	for len(got) < 2 && r.changed() {
		got = append(got, newCalls(r)...)
	}
	if !slices.Equal(got, []string{"a", "b"}) || len(lost) != 1 || !strings.Contains(lost[0], "more than the 8388608 bytes read") {
		t.Errorf("calls %q, lost %q", got, lost)
	}
	if grown > 64<<20 {
		t.Errorf("a reading took %d bytes", grown)
	}
}

func TestBadLinesAreCountedTogetherAndQuoteNothing(t *testing.T) {
	r := sessions(t)
	f := file(t, r, "s")
	deep := strings.Repeat(`{"a":[`, 20000) + strings.Repeat(`]}`, 20000) + "\n"
	f.add("sk-secret\n", "\x00\xff\x1b[2J\n", `{"type":"message","message":{"role":`+"\n", deep, "\n", "[1,2]\n", execAt(1, "a"))
	lost, got := []string(nil), []string(nil)
	for _, e := range news(r) {
		switch b := e.Body.(type) {
		case event.Lost:
			lost = append(lost, line(e))
		case event.ToolCall:
			got = append(got, b.ID)
		}
	}
	if !slices.Equal(got, []string{"a"}) || len(lost) != 1 || !strings.HasPrefix(lost[0], "lost 4 tool.call line at byte") || strings.Contains(lost[0], "sk-") {
		t.Errorf("calls %q, lost %q", got, lost)
	}
}

// Whatever its user puts in the place of a transcript, nothing outside of the
// state directory is read, nothing waits, and the others are read on.
func TestWhatIsNoPlainFileOfTheUserIsNotRead(t *testing.T) {
	outside := sessionFile{t, filepath.Join(t.TempDir(), "outside.jsonl")}
	outside.add(header("o", noon), execAt(1, "outside"))
	for name, make := range map[string]func(path string) error{
		"link":      func(path string) error { return os.Symlink(outside.path, path) },
		"pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"stranger": func(path string) error {
			if os.Getuid() != 0 {
				skipOrFail(t, "giving a file to another user needs root")
			}
			return errors.Join(os.WriteFile(path, []byte(header("o", noon)+execAt(1, "stranger")), 0o644), os.Chown(path, 4343, 4343))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := sessions(t)
			if name == "stranger" {
				r.uid = 4242
				for _, dir := range []string{r.dir, filepath.Join(r.dir, "agents"), filepath.Join(r.dir, "agents", "main"), r.path()} {
					if err := os.Chown(dir, 4242, 4242); err != nil {
						t.Fatal(err)
					}
				}
			}
			f := file(t, r, "good")
			f.add(execAt(1, "good"))
			if name == "stranger" {
				if err := os.Chown(f.path, 4242, 4242); err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(r.path(), "bad.jsonl")
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			var got, covered []string
			for _, e := range news(r) {
				switch b := e.Body.(type) {
				case event.ToolCall:
					got = append(got, b.ID)
				case event.Coverage:
					covered = append(covered, line(e))
				}
			}
			if !slices.Equal(got, []string{"good"}) {
				t.Errorf("calls %q", got)
			}
			if len(covered) != 1 || !strings.HasPrefix(covered[0], "coverage sampled") || !strings.Contains(covered[0], "bad.jsonl") {
				t.Errorf("coverage %q", covered)
			}
			if got := news(r); len(got) != 0 {
				t.Errorf("said again: %v", got)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			r.listed = time.Time{} // time passes
			f.add(execAt(2, "more"))
			if got := saidOf[event.Coverage](r); !slices.Equal(got, []string{"coverage complete "}) {
				t.Errorf("well again: %q", got)
			}
		})
	}
}

func TestATranscriptSwappedForALinkIsNotFollowed(t *testing.T) {
	outside := sessionFile{t, filepath.Join(t.TempDir(), "outside.jsonl")}
	outside.add(header("s", noon), execAt(1, "a"), execAt(2, "outside"))
	r := sessions(t)
	f := file(t, r, "s")
	f.add(execAt(1, "a"))
	wantCalls(t, r, "first", "a")
	for what, swap := range map[string]func() error{
		"the file": func() error {
			return errors.Join(os.Remove(f.path), os.Symlink(outside.path, f.path))
		},
		"its directory": func() error {
			return errors.Join(os.RemoveAll(r.path()), os.Rename(outside.path, filepath.Join(filepath.Dir(outside.path), "s.jsonl")),
				os.Symlink(filepath.Dir(outside.path), r.path()))
		},
	} {
		if err := swap(); err != nil {
			t.Fatal(err)
		}
		r.touched("s.jsonl") // as inotify says, before anything was looked at
		got := []string(nil)
		r.read(context.Background(), func(e event.Event) {
			if c, ok := e.Body.(event.ToolCall); ok {
				got = append(got, c.ID)
			}
		})
		if got = append(got, newCalls(r)...); len(got) != 0 {
			t.Errorf("%s: %q", what, got)
		}
		if what == "its directory" {
			break
		}
		if err := os.Remove(f.path); err != nil {
			t.Fatal(err)
		}
	}
	if r.said.Fidelity == "complete" {
		t.Errorf("coverage %+v", r.said)
	}
}

func TestAHugeListOfSessionsIsNotReadAndSaid(t *testing.T) {
	r := sessions(t)
	path := filepath.Join(r.path(), storeName)
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40)); err != nil {
		t.Fatal(err)
	}
	file(t, r, "s").add(execAt(1, "a"))
	got := news(r)
	if last := line(got[len(got)-1]); !strings.HasPrefix(last, "coverage sampled keys of sessions") {
		t.Errorf("coverage %q", last)
	}
}

func FuzzParseStore(f *testing.F) {
	f.Add(`{"k":{"sessionId":"s","origin":{"from":"x"}}}`)
	f.Add(`{"k":{"sessionId":1e400,"usageFamilySessionIds":[null,{}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		for id, s := range parseStore(strings.NewReader(text)) {
			if id != s.Session || len(s.Session) > maxWord || len(s.SessionKey) > maxKey {
				t.Errorf("%q: %+v", id, s)
			}
		}
	})
}

// However a transcript is cut into writes, each whole line is told once, in order.
func FuzzLinesComeInAnyPieces(f *testing.F) {
	f.Add([]byte{1, 200, 3, 255, 0, 7})
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, cuts []byte) {
		r := sessions(t)
		file := sessionFile{t, filepath.Join(r.path(), "s.jsonl")}
		text, want := header("s", noon), []string(nil)
		for i := range 8 {
			want = append(want, fmt.Sprint(i))
			text += execAt(float64(i), want[i]) + strings.Repeat("\n", i%3)
		}
		var got []string
		for _, n := range cuts[:min(len(cuts), 64)] {
			n := min(int(n), len(text))
			file.add(text[:n])
			text = text[n:]
			got = append(got, newCalls(r)...)
		}
		file.add(text)
		if got = append(got, newCalls(r)...); !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	})
}
