package ebpf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// keyOf is the file that a path leads to, by stat.
func keyOf(t *testing.T, path string) event.FileKey {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	return event.FileKey{Dev: st.Dev, Inode: st.Ino}
}

// leave makes a file that is watched for until the test ends.
func (b *bench) leave(path, content string) event.FileKey {
	b.t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		b.t.Fatal(err)
	}
	f := keyOf(b.t, path)
	if err := b.WatchFile(f); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := b.UnwatchFile(f); err != nil {
			b.t.Error(err)
		}
	})
	return f
}

// sh starts a shell that nobody watches and that runs a script when it is
// let, with these arguments.
func (b *bench) sh(script string, args ...string) *child {
	b.t.Helper()
	return b.startCommand(exec.Command("/bin/sh", append([]string{"-c", "echo ready; read go; " + script, "sh"}, args...)...))
}

// heir lets a stranger act, up to where it is an heir, before which nothing of it is seen.
func (b *bench) heir(c *child) event.Heir {
	b.t.Helper()
	b.seen = nil
	c.act(b.t)
	e := b.until("heir", func(e event.Event) bool { return e.Proc == c.id })
	h, ok := e.Body.(event.Heir)
	if !ok {
		b.t.Fatalf("%+v was the first of the heir, want that it is one", e.Body)
	}
	uid := uint32(os.Getuid())
	if h.UID != uid || h.Parent.PID != int32(os.Getpid()) || h.Parent.Start == 0 || h.Comm == "" {
		b.t.Errorf("heir %+v, want user %d and parent %d", h, uid, os.Getpid())
	}
	return h
}

// testHeirs has strangers come to a file in all the ways that there are.
func testHeirs(b *bench) {
	dir := realPath(b.t, b.t.TempDir())
	const end = "\n: >made; /bin/true; exit 0\n"
	sh, err := os.ReadFile(realPath(b.t, "/bin/sh"))
	if err != nil {
		b.t.Fatal(err)
	}
	for i, way := range []struct {
		name, content, script string
		program, write        bool
	}{
		{name: "runs it", content: string(sh), script: `exec "$1" -c ': >made; /bin/true; exit 0'`, program: true},
		{name: "interprets it", content: end, script: `exec /bin/sh "$1"`},
		{name: "runs it by its first line", content: "#!/bin/sh" + end, script: `exec "$1"`},
		{name: "runs it by its first line, through another program", content: "#!/usr/bin/env sh" + end, script: `exec "$1"`},
		{name: "runs it without a first line", content: end, script: `exec "$1"`},
		{name: "sources it", content: end, script: `. "$1"`},
		{name: "reads it", content: "key\n", script: `read key <"$1";` + end},
		{name: "reads it as another program", content: "key\n", script: `exec 3>made; true & exec /usr/bin/cut -b 1 "$1"`},
		{name: "writes it", script: `exec 3>>"$1";` + end, write: true},
		{name: "reads and writes it", script: `exec 3<>"$1";` + end},
	} {
		b.t.Run(way.name, func(t *testing.T) {
			b := b.on(t)
			path := filepath.Join(dir, fmt.Sprint("left", i))
			f := b.leave(path, way.content)
			c := b.sh(way.script, path)
			h := b.heir(c)
			if h.File != f || h.Path != path || h.Program != way.program || h.Write != way.write {
				t.Errorf("heir %+v, want %v by %s, program %v, write %v", h, f, path, way.program, way.write)
			}
			if x := h.Image; way.program != (x == nil) || x != nil && (!x.Snapshot || x.Cwd != realPath(t, c.Dir) || !slices.Contains(x.Args, path) && way.name != "runs it without a first line" || !strings.HasPrefix(x.Path, "/")) {
				t.Errorf("it runs %+v when it opens the file", x)
			}
			// What it was noticed by comes right behind.
			next := b.until("what the heir did", func(e event.Event) bool { return e.Proc == c.id })
			switch did := next.Body.(type) {
			case event.FileOpen:
				if way.program || did.File != f || did.Path != path {
					t.Errorf("the open is %+v, want one of %v", did, f)
				}
			case event.Exec:
				if !way.program || did.Path != path || did.File.Inode != f.Inode || did.File.Dev != f.Dev {
					t.Errorf("the exec is %+v, want one of %v", did, f)
				}
			default:
				t.Errorf("%+v, want the open or exec that it was noticed by", did)
			}
			b.untilExit(c.id)
			if len(bodies[event.Heir](b, event.ProcID{})) != 1 {
				t.Errorf("heirs: %+v", bodies[event.Heir](b, event.ProcID{}))
			}
			if way.content == "key\n" {
				return // it has done the rest before
			}
			opens := bodies[event.FileOpen](b, c.id)
			if !slices.ContainsFunc(opens, func(o event.FileOpen) bool { return o.Create && o.File == keyOf(t, c.Dir+"/made") }) {
				t.Errorf("that it made a file was not seen:\n%s", b.log())
			}
			if forks := bodies[event.Fork](b, event.ProcID{}); len(forks) == 0 || forks[0].Parent != c.id {
				t.Errorf("forks: %+v", forks)
			}
		})
	}
}

// testHeirOfLibrary has the dynamic loader load a file.
func testHeirOfLibrary(b *bench) {
	c := b.sh(`LD_PRELOAD="$1" exec /bin/true`, filepath.Join(b.t.TempDir(), "left.so"))
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", c.id.PID))
	if err != nil {
		b.t.Fatal(err)
	}
	library := ""
	for line := range bytes.Lines(maps) {
		if at := bytes.IndexByte(line, '/'); at > 0 && bytes.Contains(line, []byte("/libc.so")) {
			library = strings.TrimSpace(string(line[at:]))
		}
	}
	content, err := os.ReadFile(library)
	if err != nil {
		b.t.Fatal(err)
	}
	f := b.leave(c.Args[len(c.Args)-1], string(content))
	if h := b.heir(c); h.File != f || h.Program || h.Write {
		b.t.Errorf("heir %+v, want of %v", h, f)
	}
	b.untilExit(c.id)
}

// actNoHeir comes near files without using them, and then opens the last one.
func actNoHeir(io.Writer) error {
	for _, path := range os.Args[1 : len(os.Args)-1] {
		fd, err := unix.Open(path, unix.O_PATH, 0)
		if err == nil {
			err = errors.Join(unix.Stat(path, &unix.Stat_t{}), unix.Access(path, unix.R_OK), unix.Close(fd))
		}
		if _, failed := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0); err == nil && !errors.Is(failed, os.ErrExist) {
			err = fmt.Errorf("make %s, which is there: %w", path, failed)
		}
		if err != nil {
			return err
		}
	}
	_, err := os.ReadFile(os.Args[len(os.Args)-1])
	return err
}

// testNoHeir: names lead to the file and content does not, and to touch it is not to use it.
func testNoHeir(b *bench) {
	dir := realPath(b.t, b.t.TempDir())
	at := func(name string) string { return filepath.Join(dir, name) }
	if b.WatchFile(event.FileKey{}) == nil {
		b.t.Error("a file without numbers is watched for")
	}
	f := b.leave(at("left"), "key\n")
	gone := b.leave(at("gone"), "key\n")
	err := errors.Join(
		os.Link(at("left"), at("link")), os.Symlink("link", at("symlink")), os.WriteFile(at("copy"), []byte("key\n"), 0o600),
		b.UnwatchFile(gone), b.UnwatchFile(gone), b.WatchFile(f), b.WatchFile(f))
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := os.ReadFile(at("left")); err != nil { // by the agent
		b.t.Fatal(err)
	}
	watched := b.sh(`read key <"$1"`, at("left"))
	if err := b.Watch(watched.id); err != nil {
		b.t.Fatal(err)
	}
	watched.act(b.t)
	b.untilExit(watched.id)
	if len(bodies[event.FileOpen](b, watched.id)) == 0 {
		b.t.Error("an open of the watched process was not seen")
	}

	c := b.sh(`read key <"$1"; read key <"$2"; read key <"$3"`, at("copy"), at("gone"), at("symlink"))
	if h := b.heir(c); h.File != f || h.Path != at("link") {
		b.t.Errorf("heir %+v, want of %v by %s", h, f, at("link"))
	}
	b.untilExit(c.id)

	b.seen = nil
	c = b.start("no-heir", at("left"), at("link"), at("left"))
	b.heir(c)
	b.untilExit(c.id)
	if opens := bodies[event.FileOpen](b, c.id); len(opens) == 0 || !opens[0].Read || opens[0].PathOnly {
		b.t.Errorf("it was noticed by %+v, want by its reading", opens)
	}
	if heirs := bodies[event.Heir](b, event.ProcID{}); len(heirs) != 1 {
		b.t.Errorf("heirs: %+v", heirs)
	}
}

// actHeir opens a file and in the same breath does what is to be seen of it.
func actHeir(io.Writer) error {
	if _, err := os.ReadFile(os.Args[1]); err != nil {
		return err
	}
	c, err := net.Dial("tcp", os.Args[2])
	if err != nil {
		return err
	}
	err = os.WriteFile("made", []byte("some"), 0o600)
	return errors.Join(err, os.Rename("made", "moved"), exec.Command("/bin/true", "by the heir").Run(), c.Close())
}

func TestHeirsAreSeenFromTheirFirstMomentByTracepoints(t *testing.T) { testFirstHeir(t, tracepoint) }
func TestHeirsAreSeenFromTheirFirstMomentByTrampolines(t *testing.T) { testFirstHeir(t, trampoline) }

// Nothing is watched before, so that no hooks are there but those for the file.
func testFirstHeir(t *testing.T, of backend) {
	b := newBench(t, of, 0)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	path := filepath.Join(realPath(t, t.TempDir()), "left")
	f := b.leave(path, "key\n")
	c := b.start("heir", path, l.Addr().String())
	b.heir(c)
	b.untilExit(c.id)
	made := false
	for _, o := range bodies[event.FileOpen](b, c.id) {
		made = made || o.Create && o.Path == c.Dir+"/made" && o.File == keyOf(t, c.Dir+"/moved")
	}
	renames, execs := bodies[event.FileRename](b, c.id), bodies[event.Exec](b, event.ProcID{})
	connected := slices.ContainsFunc(bodies[event.Connect](b, c.id), func(o event.Connect) bool { return o.Peer.String() == l.Addr().String() })
	ran := slices.ContainsFunc(execs, func(x event.Exec) bool { return x.Parent == c.id && slices.Contains(x.Args, "by the heir") })
	if !made || !connected || !ran || len(renames) != 1 || renames[0].New != c.Dir+"/moved" {
		t.Errorf("made a file %v, connected %v, ran a program %v, renamed %v:\n%s", made, connected, ran, renames, b.log())
	}
	wrote := func(e event.Event) bool { return e.Proc == c.id && e.Body.Kind() == event.KindFileWrite }
	if !slices.ContainsFunc(b.seen, wrote) { // it is told every two seconds
		b.until("what was written", wrote)
	}
	for _, use := range bodies[event.FileUse](b, c.id) {
		if use.Kind() == event.KindFileWrite && (use.BytesWritten != 4 || use.File != keyOf(t, c.Dir+"/moved")) {
			t.Errorf("written: %+v", use)
		}
	}

	disarmed := func() bool {
		if err := b.disarmIdle(); err != nil {
			t.Fatal(err)
		}
		return !b.isArmed() || b.ours.hasStranger()
	}
	eventually(t, "end of all that was watched", func() bool {
		n, err := b.watched()
		if err != nil {
			t.Fatal(err)
		}
		return n == 0 || b.ours.hasStranger()
	})
	if !b.ours.hasStranger() && disarmed() {
		t.Error("the hooks went with the heir, and the file is still watched for")
	}
	b.seen = nil
	c = b.start("heir", path, l.Addr().String())
	b.heir(c)
	b.untilExit(c.id)
	if err := b.UnwatchFile(f); err != nil {
		t.Fatal(err)
	}
	eventually(t, "end of the hooks", disarmed)
}

// The last one that fits is as good as the first.
func testManyFiles(b *bench) {
	dir := b.t.TempDir()
	path := filepath.Join(dir, "left")
	f := event.FileKey{Dev: unix.Mkdev(4000, 1<<20-1)}
	for f.Inode = 1; f.Inode < 65536; f.Inode++ {
		if err := b.WatchFile(f); err != nil {
			b.t.Fatalf("file %d: %v", f.Inode, err)
		}
	}
	last := b.leave(path, "key\n")
	if err := b.WatchFile(f); err == nil || !strings.Contains(err.Error(), "there is room for 65536") {
		b.t.Errorf("one too many: %v", err)
	}
	c := b.sh(`read key <"$1"`, path)
	if h := b.heir(c); h.File != last {
		b.t.Errorf("heir %+v, want of %v", h, last)
	}
	b.untilExit(c.id)
	for f.Inode = 1; f.Inode < 65536; f.Inode++ {
		if err := b.UnwatchFile(f); err != nil {
			b.t.Fatalf("file %d: %v", f.Inode, err)
		}
	}
}
