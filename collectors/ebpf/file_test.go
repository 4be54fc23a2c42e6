package ebpf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// deep is a directory path of 150 components.
func deep() string { return strings.Repeat("d/", 149) + "d" }

// actFiles works in the current directory, which is empty.
func actFiles(io.Writer) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	var errs []error
	do := func(err error) { errs = append(errs, err) }
	do(os.Mkdir("real", 0o755))
	do(os.Symlink(dir+"/real", "link"))
	do(os.Symlink("real", "short"))
	for _, link := range []string{"link", "short"} { // accessed long after they were made
		later := unix.NsecToTimespec(time.Now().Add(time.Hour).UnixNano())
		do(unix.UtimesNanoAt(unix.AT_FDCWD, link, []unix.Timespec{later, unix.NsecToTimespec(0)}, unix.AT_SYMLINK_NOFOLLOW))
	}
	do(os.WriteFile("link/new", []byte("x"), 0o644))
	do(os.WriteFile("link/new", []byte("y"), 0o644)) // not made again
	_, err = os.ReadFile("short/../real/new")
	do(err)
	if _, err := os.ReadFile("absent"); err == nil {
		do(errors.New("absent is there"))
	}
	do(os.Rename("link/new", "short/../link/moved"))
	do(os.Rename(dir+"/link/moved", "flat"))

	fd, err := unix.Open("real", unix.O_DIRECTORY|unix.O_RDONLY, 0)
	do(err)
	at, err := unix.Openat(fd, "below", unix.O_CREAT|unix.O_RDWR, 0o600)
	do(err)
	do(unix.Close(at))
	at, err = unix.Openat2(fd, "below", &unix.OpenHow{Flags: unix.O_RDONLY})
	do(err)
	do(unix.Close(at))
	do(unix.Renameat2(fd, "below", unix.AT_FDCWD, "above", 0))
	do(unix.Unlinkat(unix.AT_FDCWD, "above", 0))
	do(unix.Mkdirat(fd, "sub/", 0o700))
	do(unix.Unlinkat(fd, "sub", unix.AT_REMOVEDIR))
	do(unlink("link/../flat"))
	do(os.MkdirAll(deep(), 0o755))
	do(os.WriteFile(deep()+"/leaf", nil, 0o644))
	do(unlink(deep() + "/leaf"))
	return errors.Join(errs...)
}

// unlink makes the one system call.
func unlink(path string) error { return unix.Unlink(path) }

func testFiles(b *bench) {
	c := b.run("files")
	var got []string
	for _, e := range b.seen {
		if e.Proc != c.id {
			continue
		}
		line := ""
		switch f := e.Body.(type) {
		case event.FileOpen:
			line = "open"
			for _, flag := range []struct {
				set  bool
				name string
			}{{f.Read, " read"}, {f.Write, " write"}, {f.Create, " create"}, {f.Directory, " dir"}, {f.Truncated, " cut"}} {
				if flag.set {
					line += flag.name
				}
			}
			line += " " + f.Path
		case event.FileRename:
			line = "rename " + f.Old + " " + f.New
		case event.FileDelete:
			line = fmt.Sprint("delete ", f.Directory, " ", f.Path)
		}
		if strings.Contains(line, c.Dir) {
			got = append(got, strings.ReplaceAll(line, c.Dir, ""))
		}
	}
	want := []string{
		"open create dir /real",
		"open write create /real/new",
		"open write /real/new",
		"open read /real/new",
		"rename /real/new /real/moved",
		"rename /real/moved /flat",
		"open read dir /real",
		"open read write create /real/below",
		"open read /real/below",
		"rename /real/below /above",
		"delete false /above",
		"open create dir /real/sub",
		"delete true /real/sub",
		// link/../flat: the parent of what link points to
		"delete false /flat",
	}
	for i := range 150 {
		want = append(want, "open create dir /"+strings.TrimSuffix(strings.Repeat("d/", i+1), "/"))
	}
	want = append(want, "open write create /"+deep()+"/leaf", "delete false /"+deep()+"/leaf")
	if !slices.Equal(got, want) {
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				b.t.Fatalf("event %d:\ngot:\n%s\nwant:\n%s", i, lines(got, i), lines(want, i))
			}
		}
	}
}

func lines(all []string, around int) string {
	return strings.Join(all[max(0, min(around-3, len(all))):min(len(all), around+4)], "\n")
}

// actOpens opens 100 files.
func actOpens(io.Writer) error {
	for i := range 100 {
		f, err := os.Create(fmt.Sprint("opened-", i))
		if err != nil {
			return err
		}
		f.Close()
	}
	return nil
}

// actThreads opens a file from threads of their own.
func actThreads(out io.Writer) error {
	done := make(chan error)
	for i := range 8 {
		go func() {
			runtime.LockOSThread()
			f, err := os.Create(fmt.Sprint("thread-", i, "-", unix.Gettid()))
			if err == nil {
				err = f.Close()
			}
			done <- err
		}()
	}
	var errs []error
	for range 8 {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}

func testThreads(b *bench) {
	c := b.run("threads")
	n := 0
	for _, f := range bodies[event.FileOpen](b, c.id) {
		base := filepath.Base(f.Path)
		if !strings.HasPrefix(base, "thread-") {
			continue
		}
		n++
		if !strings.HasSuffix(base, fmt.Sprint("-", f.TID)) {
			b.t.Errorf("%s was opened by thread %d", base, f.TID)
		}
	}
	if n != 8 {
		b.t.Errorf("%d opens, want 8", n)
	}
}

// actBind makes a mount namespace, so that the test leaves no mount behind.
func actBind(io.Writer) error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	for _, dir := range []string{"from/in", "to"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("from", "to", "", unix.MS_BIND, ""); err != nil {
		return err
	}
	f, err := os.Create("to/in/file")
	if err != nil {
		return err
	}
	return f.Close()
}

func testBind(b *bench) {
	c := b.run("bind")
	for _, f := range bodies[event.FileOpen](b, c.id) {
		if f.Path == c.Dir+"/to/in/file" {
			return
		}
	}
	b.t.Errorf("no open of to/in/file:\n%s", b.log())
}

func TestOverflowIsCounted(t *testing.T) {
	b := newBench(t, tracepoint, os.Getpagesize())
	c := b.start("opens")
	if err := b.Watch(c.id); err != nil {
		t.Fatal(err)
	}
	// The reader stands still, as a slow pipeline makes it.
	for len(b.events) < cap(b.events) {
		b.events <- event.Event{Body: event.Candidate{}}
	}
	c.act(t)
	_ = c.Wait()
	e := b.until("loss", func(e event.Event) bool {
		l, ok := e.Body.(event.Lost)
		return ok && l.Of == event.KindFileOpen
	})
	lost := e.Body.(event.Lost)
	if lost.Count == 0 || lost.Count > 100+20 || lost.Cause != "ring buffer as full as events of files may make it" || lost.From.IsZero() {
		t.Errorf("%+v", e.Body)
	}
}
