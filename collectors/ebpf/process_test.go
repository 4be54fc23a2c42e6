package ebpf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// actShorts runs as many processes as its argument says.
func actShorts(io.Writer) error {
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		return err
	}
	for i := range n {
		if err := exec.Command("/bin/true", "run", strconv.Itoa(i), strings.Repeat("x", i)).Run(); err != nil {
			return err
		}
	}
	return nil
}

func testShorts(b *bench) {
	shorts := 2000
	if testing.Short() {
		shorts = 200
	}
	c := b.run("shorts", strconv.Itoa(shorts))
	type life struct {
		fork, exit int
		exec       event.Exec
	}
	lives := map[event.ProcID]*life{}
	for i, e := range b.seen {
		switch body := e.Body.(type) {
		case event.Fork:
			if body.Parent != c.id {
				b.t.Errorf("%v was forked by %v, want %v", e.Proc, body.Parent, c.id)
			}
			lives[e.Proc] = &life{fork: i}
		case event.Exec:
			if l := lives[e.Proc]; l == nil {
				b.t.Fatalf("exec of %v before its fork", e.Proc)
			}
			lives[e.Proc].exec = body
		case event.Exit:
			if l := lives[e.Proc]; l != nil {
				l.exit = i
			}
		}
		if age := time.Since(e.Time); age < 0 || age > time.Minute {
			b.t.Fatalf("time of %v is %v away", e.Proc, age)
		}
	}
	seen := make([]bool, shorts)
	for id, l := range lives {
		if l.exec.Path == "" {
			continue // Go forks once to see what the kernel can do; others are missed below
		}
		if l.exit < l.fork {
			b.t.Errorf("no exit of %v", id)
		}
		x := l.exec
		n := -1
		if len(x.Args) == 4 {
			n, _ = strconv.Atoi(x.Args[2])
		}
		if n < 0 || n >= shorts || x.Args[0] != "/bin/true" || x.Args[3] != strings.Repeat("x", n) || x.ArgsTruncated {
			b.t.Fatalf("arguments of %v: %.100q", id, x.Args)
		}
		seen[n] = true
		if x.Path != realPath(b.t, "/bin/true") || x.Cwd != c.Dir || x.Comm != "true" || x.Parent != c.id {
			b.t.Fatalf("exec of %v: path %q, cwd %q, comm %q, parent %v", id, x.Path, x.Cwd, x.Comm, x.Parent)
		}
	}
	if i := slices.Index(seen, false); i >= 0 {
		b.t.Errorf("process %d was not seen", i)
	}
}

func realPath(t *testing.T, path string) string {
	t.Helper()
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return real
}

// longArgs are as many bytes of arguments, none too long for the kernel.
func longArgs(size int) []string {
	args := []string{"/bin/true"}
	for n := 0; size > 0; n++ {
		len := min(size-1, 20000)
		args = append(args, strings.Repeat(string(rune('a'+n)), len))
		size -= len + 1
	}
	return args
}

func actLongArgs(io.Writer) error {
	for _, size := range []int{8000, 9000, 100 << 10, 250 << 10, 300 << 10} {
		if err := exec.Command("/bin/true", longArgs(size)[1:]...).Run(); err != nil {
			return err
		}
	}
	return nil
}

func testLongArgs(b *bench) {
	b.run("long-args")
	got := bodies[event.Exec](b, event.ProcID{})
	if len(got) != 5 {
		b.t.Fatalf("%d execs, want 5", len(got))
	}
	for i, size := range []int{8000, 9000, 100 << 10, 250 << 10} {
		if x := got[i]; !slices.Equal(x.Args, longArgs(size)) || x.ArgsTruncated {
			b.t.Errorf("%d bytes of arguments: %d words, truncated %v", size, len(x.Args), x.ArgsTruncated)
		}
	}
	last, want := strings.Join(got[4].Args, " "), strings.Join(longArgs(300<<10), " ")
	if !got[4].ArgsTruncated || len(last) != 256<<10 || !strings.HasPrefix(want, last) {
		b.t.Errorf("300 KiB of arguments: %d bytes, truncated %v", len(last), got[4].ArgsTruncated)
	}
}

func actEnvironment(io.Writer) error {
	small := exec.Command("/bin/true")
	small.Env = []string{"A=1", "LONG=" + strings.Repeat("SECRET=", 10000), "B=x=y", "nothing", "EMPTY="}
	large := exec.Command("/bin/true")
	for i := range 3000 {
		large.Env = append(large.Env, fmt.Sprintf("N%d=SECRET", i))
	}
	return errors.Join(small.Run(), large.Run())
}

func testEnvironment(b *bench) {
	b.run("environment")
	got := bodies[event.Exec](b, event.ProcID{})
	if len(got) != 2 {
		b.t.Fatalf("%d execs, want 2", len(got))
	}
	if want := []string{"A", "LONG", "B", "EMPTY"}; !slices.Equal(got[0].EnvNames, want) || got[0].EnvTruncated {
		b.t.Errorf("names %d, truncated %v, want %q", len(got[0].EnvNames), got[0].EnvTruncated, want)
	}
	if n := len(got[1].EnvNames); !got[1].EnvTruncated || n < 1000 {
		b.t.Errorf("%d of 3000 names, truncated %v", n, got[1].EnvTruncated)
	}
	if strings.Contains(fmt.Sprint(got), "SECRET") {
		b.t.Error("a value is among the names")
	}
}

func testDetached(b *bench) {
	script := `echo ready; read x; setsid sh -c 'env -i /bin/sh -c "(/bin/true detached &) &"'; exit 0`
	c := b.startCommand(exec.Command("/bin/sh", "-c", script))
	if err := b.Watch(c.id); err != nil {
		b.t.Fatal(err)
	}
	c.act(b.t)
	e := b.until("detached exec", func(e event.Event) bool {
		x, ok := e.Body.(event.Exec)
		return ok && slices.Equal(x.Args, []string{"/bin/true", "detached"})
	})
	b.untilExit(e.Proc)
}

// actThreadExec execs from a thread that is not the leader.
func actThreadExec(io.Writer) error {
	failed := make(chan error)
	for range 2 { // one of them may be the leader
		go func() {
			runtime.LockOSThread()
			if unix.Gettid() == os.Getpid() {
				select {}
			}
			failed <- execShell("/bin/true from-thread; exit 0")
		}()
	}
	return <-failed
}

// execShell is without the precautions of syscall.Exec, which needs all threads.
func execShell(script string) error {
	argv, err := syscall.SlicePtrFromStrings([]string{"/bin/sh", "-c", script})
	if err != nil {
		return err
	}
	envp := []*byte{nil}
	_, _, errno := unix.RawSyscall(unix.SYS_EXECVE,
		uintptr(unsafe.Pointer(argv[0])), uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envp[0])))
	return errno
}

// actLeaderGone does the same after the leader has ended.
func actLeaderGone(out io.Writer) error {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		go func() {
			for {
				b, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/stat", os.Getpid()))
				if err != nil || strings.Contains(string(b), ") Z ") {
					break
				}
			}
			_ = actThreadExec(out)
		}()
		unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
	}
	return errors.New("the first goroutine is not on the first thread")
}

func testThreadExec(b *bench) { expectThreadExec(b, "thread-exec") }
func testLeaderGone(b *bench) { expectThreadExec(b, "leader-gone") }

func expectThreadExec(b *bench, action string) {
	c := b.start(action)
	if err := b.Watch(c.id); err != nil {
		b.t.Fatal(err)
	}
	c.act(b.t)
	b.until("exec by the process itself", func(e event.Event) bool {
		_, ok := e.Body.(event.Exec)
		return ok && e.Proc == c.id
	})
	b.until("exec of its child", func(e event.Event) bool {
		x, ok := e.Body.(event.Exec)
		return ok && x.Parent == c.id && slices.Equal(x.Args, []string{"/bin/true", "from-thread"})
	})
	b.untilExit(c.id)
	if n := len(bodies[event.Exit](b, c.id)); n != 1 {
		b.t.Errorf("%d exits, want 1", n)
	}
}

func testExitStatus(b *bench) {
	script := `echo ready; read x; exec 2>/dev/null; (exit 7); (kill -9 $(cut -d" " -f4 /proc/self/stat)); exit 3`
	c := b.startCommand(exec.Command("/bin/sh", "-c", script))
	if err := b.Watch(c.id); err != nil {
		b.t.Fatal(err)
	}
	c.act(b.t)
	if exit := b.untilExit(c.id); exit != (event.Exit{Code: 3}) {
		b.t.Errorf("shell ended with %+v, want status 3", exit)
	}
	all := bodies[event.Exit](b, event.ProcID{})
	for _, want := range []event.Exit{{Code: 7}, {Signal: 9}} {
		if !slices.Contains(all, want) {
			b.t.Errorf("no %+v among %+v", want, all)
		}
	}
}

func testUnwatched(b *bench) {
	other := b.start("opens")
	other.act(b.t)
	_ = other.Wait()
	b.run("opens") // what the other did is in the ring by now, if anything is
	for _, e := range b.seen {
		if e.Proc == other.id || e.Proc.PID == int32(os.Getpid()) {
			b.t.Fatalf("unwatched %v: %+v", e.Proc, e.Body)
		}
	}
}

func testUnwatch(b *bench) {
	c := b.start("opens")
	if err := b.Watch(c.id); err != nil {
		b.t.Fatal(err)
	}
	if err := b.Watch(c.id); err != nil {
		b.t.Errorf("watch it again: %v", err)
	}
	if err := b.Unwatch(c.id); err != nil {
		b.t.Fatal(err)
	}
	if err := b.Unwatch(c.id); err != nil {
		b.t.Errorf("unwatch it again: %v", err)
	}
	c.act(b.t)
	_ = c.Wait()
	b.run("opens")
	for _, e := range b.seen {
		if e.Proc == c.id {
			b.t.Fatalf("after unwatch: %+v", e.Body)
		}
	}
	if err := b.Watch(c.id); !errors.Is(err, fs.ErrNotExist) {
		b.t.Errorf("watch the dead: %v, want %v", err, fs.ErrNotExist)
	}
}

func testWrongStart(b *bench) {
	c := b.start("opens")
	wrong := event.ProcID{PID: c.id.PID, Start: c.id.Start + 1}
	if err := b.Watch(wrong); !errors.Is(err, fs.ErrNotExist) {
		b.t.Errorf("watch %v: %v, want %v", wrong, err, fs.ErrNotExist)
	}
	self, err := readStart("/proc", int32(os.Getpid()))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.Watch(event.ProcID{PID: int32(os.Getpid()), Start: self}); err == nil {
		b.t.Error("the sensor watches itself")
	}
}

func testCandidate(b *bench) {
	script := `echo ready; read x; printf openclaw-x > /proc/self/comm; /bin/true its-child; read y; exit 0`
	c := b.startCommand(exec.Command("/bin/sh", "-c", script))
	c.act(b.t)
	e := b.until("candidate", func(e event.Event) bool {
		_, ok := e.Body.(event.Candidate)
		return ok
	})
	if want := (event.Candidate{Comm: "openclaw-x"}); e.Proc != c.id || e.Body != want {
		b.t.Errorf("%v %+v, want %v %+v", e.Proc, e.Body, c.id, want)
	}
	b.until("its child", func(e event.Event) bool {
		x, ok := e.Body.(event.Exec)
		return ok && slices.Equal(x.Args, []string{"/bin/true", "its-child"})
	})
	if err := b.Unwatch(c.id); err != nil {
		b.t.Fatal(err)
	}
}

func testDisarm(b *bench) {
	b.run("opens")
	eventually(b.t, "disarm", func() bool {
		if err := b.disarmIdle(); err != nil {
			b.t.Fatal(err)
		}
		return !b.isArmed() || b.ours.hasStranger() // what other tests left behind may take a moment to die
	})
	if b.ours.hasStranger() {
		b.t.Skip("this host runs an OpenClaw, which is watched")
	}
	c := b.run("opens")
	if len(bodies[event.FileOpen](b, c.id)) == 0 {
		b.t.Error("no opens after it was armed again")
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for late := time.Now().Add(patience); !ok(); runtime.Gosched() {
		if time.Now().After(late) {
			t.Fatalf("no %s", what)
		}
	}
}
