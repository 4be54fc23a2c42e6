package ebpf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// used adds up what was told of the uses of a file, below the child's directory.
func (b *bench) used(c *child, name string) event.FileUse {
	var sum event.FileUse
	for _, u := range bodies[event.FileUse](b, c.id) {
		if u.Path != c.Dir+name {
			continue
		}
		sum.BytesRead += u.BytesRead
		sum.BytesWritten += u.BytesWritten
		sum.Opens += u.Opens
		sum.MappedRead = sum.MappedRead || u.MappedRead
		sum.MappedWrite = sum.MappedWrite || u.MappedWrite
		sum.MappedExec = sum.MappedExec || u.MappedExec
		sum.Opened = sum.Opened || u.Opened
		sum.IOUring = sum.IOUring || u.IOUring
	}
	return sum
}

// untilUsed waits until what was told of a file is all of want.
func (b *bench) untilUsed(c *child, name string, want event.FileUse) {
	b.t.Helper()
	for b.used(c, name) != want {
		b.until(fmt.Sprintf("use of %s: %+v, want %+v", name, b.used(c, name), want), func(e event.Event) bool {
			_, ok := e.Body.(event.FileUse)
			return ok && e.Proc == c.id
		})
	}
}

// actUses moves bytes in every way there is, each way with a file of its own.
func actUses(io.Writer) error {
	var errs []error
	on := func(name string, do func(fd int) error) {
		errs = append(errs, os.WriteFile(name, []byte("0123456789"), 0o644), onFd(name, unix.O_RDWR, do))
	}
	moved := func(n int, err error) error {
		if err == nil && n != 10 && n != 6 {
			return fmt.Errorf("%d bytes moved", n)
		}
		return err
	}
	buffer, parts := make([]byte, 10), [][]byte{make([]byte, 4), make([]byte, 6)}
	on("read", func(fd int) error { return moved(unix.Read(fd, buffer)) })
	on("pread", func(fd int) error { return moved(unix.Pread(fd, buffer, 0)) })
	on("readv", func(fd int) error { return moved(unix.Readv(fd, parts)) })
	on("preadv", func(fd int) error { return moved(unix.Preadv(fd, parts, 0)) })
	on("preadv2", func(fd int) error { return moved(unix.Preadv2(fd, parts, 0, 0)) })
	on("write", func(fd int) error { return moved(unix.Write(fd, buffer)) })
	on("pwrite", func(fd int) error { return moved(unix.Pwrite(fd, buffer, 0)) })
	on("writev", func(fd int) error { return moved(unix.Writev(fd, parts)) })
	on("pwritev", func(fd int) error { return moved(unix.Pwritev(fd, parts, 0)) })
	on("pwritev2", func(fd int) error { return moved(unix.Pwritev2(fd, parts, 0, 0)) })
	on("sendfile-to", func(to int) error {
		return onFd("read", unix.O_RDONLY, func(from int) error { return moved(unix.Sendfile(to, from, nil, 10)) })
	})
	on("range-to", func(to int) error {
		return onFd("pread", unix.O_RDONLY, func(from int) error {
			return moved(unix.CopyFileRange(from, nil, to, nil, 10, 0))
		})
	})
	on("splice-to", func(to int) error {
		return onFd("readv", unix.O_RDONLY, func(from int) error {
			var pipe [2]int
			if err := unix.Pipe(pipe[:]); err != nil {
				return err
			}
			n, err1 := unix.Splice(from, nil, pipe[1], nil, 10, 0)
			m, err2 := unix.Splice(pipe[0], nil, to, nil, 10, 0)
			return errors.Join(moved(int(n), err1), moved(int(m), err2))
		})
	})
	mapping := func(prot, flags int) func(int) error {
		return func(fd int) error {
			m, err := unix.Mmap(fd, 0, 10, prot, flags)
			return errors.Join(err, unix.Munmap(m))
		}
	}
	on("mapped", mapping(unix.PROT_READ, unix.MAP_PRIVATE))
	on("mapped-exec", mapping(unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE))
	on("mapped-write", mapping(unix.PROT_READ, unix.MAP_SHARED)) // written to after mprotect
	on("again", func(int) error {
		for range 100 {
			if err := opens("again", unix.O_RDONLY); err != nil {
				return err
			}
		}
		return nil
	})
	memory, err := unix.MemfdCreate("memory", 0)
	if err == nil {
		_, err = unix.Write(memory, buffer)
	}
	errs = append(errs, err)
	return errors.Join(errs...)
}

func testUses(b *bench) {
	c := b.run("uses")
	const made = 10 // bytes that the file was made with
	want := map[string]event.FileUse{
		"/write": {BytesWritten: made + 10}, "/pwrite": {BytesWritten: made + 10}, "/writev": {BytesWritten: made + 10},
		"/pwritev": {BytesWritten: made + 10}, "/pwritev2": {BytesWritten: made + 10},
		"/read": {BytesWritten: made, BytesRead: 20}, "/pread": {BytesWritten: made, BytesRead: 20},
		"/readv": {BytesWritten: made, BytesRead: 20}, "/preadv": {BytesWritten: made, BytesRead: 10},
		"/preadv2":     {BytesWritten: made, BytesRead: 10},
		"/sendfile-to": {BytesWritten: made + 10}, "/range-to": {BytesWritten: made + 10}, "/splice-to": {BytesWritten: made + 10},
		"/mapped":       {BytesWritten: made, MappedRead: true},
		"/mapped-exec":  {BytesWritten: made, MappedRead: true, MappedExec: true},
		"/mapped-write": {BytesWritten: made, MappedRead: true, MappedWrite: true},
	}
	for name, use := range want {
		use.Opened = true
		b.untilUsed(c, name, use)
	}
	told := func() int {
		n := 0
		for _, f := range bodies[event.FileOpen](b, c.id) {
			if f.Path == c.Dir+"/again" && f.Read && !f.Write {
				n++
			}
		}
		return n
	}
	for told()+b.used(c, "/again").Opens != 100 {
		b.until(fmt.Sprintf("100 opens after %d and %d", told(), b.used(c, "/again").Opens), func(e event.Event) bool { return e.Proc == c.id })
	}
	if n := told(); n > 3*4 {
		b.t.Errorf("%d opens told one by one", n)
	}
	for _, u := range bodies[event.FileUse](b, c.id) {
		if strings.Contains(u.Path, "memory") {
			b.t.Errorf("%+v: a memfd is no file", u)
		}
	}
}

// actInherited reads a file that the test opened, as descriptor 3.
func actInherited(io.Writer) error {
	n, err := unix.Read(3, make([]byte, 100))
	if err == nil && n != 6 {
		err = fmt.Errorf("read %d bytes", n)
	}
	return err
}

// A descriptor that a process was given brings its file along.
func testInherited(b *bench) {
	dir := b.t.TempDir()
	if err := os.WriteFile(dir+"/handed", []byte("secret"), 0o600); err != nil {
		b.t.Fatal(err)
	}
	f, err := os.Open(dir + "/handed")
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.ExtraFiles = []*os.File{f}
	c := b.startCommand(cmd, actionVariable+"=inherited")
	if err := b.Watch(c.id); err != nil {
		b.t.Fatal(err)
	}
	c.act(b.t)
	want := event.FileUse{Path: dir + "/handed", File: keyOf(b.t, dir+"/handed"), BytesRead: 6}
	untilBody(b, c.id, func(u event.FileUse) bool { return u == want })
}

// actFlood opens files from 16 threads, 1,000,000 times, and once, in the middle
// of that, a secret.
func actFlood(io.Writer) error {
	const threads, each = 16, 62500
	if err := os.WriteFile("secret", []byte("secret"), 0o600); err != nil {
		return err
	}
	errs := make([]error, threads)
	var all sync.WaitGroup
	for i := range threads {
		all.Add(1)
		go func() {
			defer all.Done()
			for n := range each {
				name := fmt.Sprint("flood-", i, "-", n%50)
				fd, err := unix.Open(name, unix.O_CREAT|unix.O_RDONLY, 0o600)
				if err == nil && i == 7 && n == each/2 {
					err = opens("secret", unix.O_RDONLY)
				}
				if errs[i] = errors.Join(err, unix.Close(fd)); errs[i] != nil {
					return
				}
			}
		}()
	}
	all.Wait()
	return errors.Join(errs...)
}

// One million opens hide nothing: the one that counts is seen, or the loss is
// told with its kind and the time between which it was.
func TestAFloodHidesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	b := newBench(t, tracepoint, 0)
	c := b.start("flood")
	if err := b.Watch(c.id); err != nil {
		t.Fatal(err)
	}
	c.act(t)
	seen, over, events := false, false, 0
	var lost []event.Event
	look := func(e event.Event) bool {
		events++
		if l, ok := e.Body.(event.Lost); ok {
			lost = append(lost, e)
			if l.Of == "" || l.From.IsZero() || e.Time.Before(l.From) {
				t.Errorf("%+v: no kind or interval", e)
			}
		}
		if f, ok := e.Body.(event.FileOpen); ok && f.Path == c.Dir+"/secret" && !f.Create {
			seen = true
		}
		_, exit := e.Body.(event.Exit)
		over = exit && e.Proc == c.id
		b.seen = nil
		return true
	}
	for !over {
		b.until("next event", look)
	}
	t.Logf("1,000,000 opens made %d events; seen: %v; lost: %d", events, seen, len(lost))
	if !seen && len(lost) == 0 {
		t.Error("the read is not seen, and no loss is told")
	}
	if events > 250_000 {
		t.Errorf("%d events: the same open is told again and again", events)
	}
}
