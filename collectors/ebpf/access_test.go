package ebpf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// actAccess does to children of its own all that one process can do to another,
// and says which children those were.
func actAccess(out io.Writer) error {
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()
	var errs []error
	do := func(err error) { errs = append(errs, err) }
	signals := []func(pid int) error{
		func(pid int) error { return unix.Kill(pid, unix.SIGTERM) },
		func(pid int) error { return unix.Tgkill(pid, pid, unix.SIGUSR1) },
		func(pid int) error {
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		},
	}
	for _, send := range signals {
		target, err := startTarget()
		if err != nil {
			return err
		}
		do(send(target.Process.Pid))
		_ = target.Wait()
		fmt.Fprintln(out, target.Process.Pid)
	}
	target, err := startTarget()
	if err != nil {
		return err
	}
	pid := target.Process.Pid
	do(reachInto(pid))
	do(target.Process.Kill())
	_ = target.Wait()
	fmt.Fprintln(out, pid)
	traced := exec.Command("/bin/true")
	traced.SysProcAttr = &unix.SysProcAttr{Ptrace: true}
	do(traced.Start())
	fmt.Fprintln(out, traced.Process.Pid)
	_ = traced.Wait()
	_ = unix.PtraceDetach(traced.Process.Pid)
	return errors.Join(errs...)
}

// startTarget starts a process that waits to be ended.
func startTarget() (*exec.Cmd, error) {
	c := exec.Command("/bin/sh", "-c", "echo ready; read x")
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if _, err := c.StdinPipe(); err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	_, err = io.ReadFull(out, make([]byte, len("ready\n")))
	return c, err
}

// reachInto reads and writes a process's memory, takes a descriptor from it,
// and traces it.
func reachInto(pid int) error {
	at, err := writable(pid)
	if err != nil {
		return err
	}
	var errs []error
	buf := make([]byte, 8)
	local := []unix.Iovec{{Base: &buf[0], Len: 8}}
	remote := []unix.RemoteIovec{{Base: uintptr(at), Len: 8}}
	for range 3 { // repeats within a second are not reported
		_, err = unix.ProcessVMReadv(pid, local, remote, 0)
		errs = append(errs, err)
	}
	_, err = unix.ProcessVMWritev(pid, local, remote, 0)
	errs = append(errs, err)
	fd, err := unix.PidfdOpen(pid, 0)
	errs = append(errs, err)
	got, err := unix.PidfdGetfd(fd, 1, 0)
	errs = append(errs, err, unix.Close(got), unix.Close(fd), unix.PtraceSeize(pid), unix.PtraceInterrupt(pid))
	_, err = unix.Wait4(pid, nil, unix.WALL, nil)
	return errors.Join(append(errs, err, unix.PtraceDetach(pid))...)
}

// writable gives the address of memory that can be written.
func writable(pid int) (uint64, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, "[stack]") {
			from, _, _ := strings.Cut(line, "-")
			at, err := strconv.ParseUint(from, 16, 64)
			return at + 0x1000, err
		}
	}
	return 0, errors.New("no stack")
}

func testAccess(b *bench) {
	c := b.run("access")
	var pids []int32
	for range 5 {
		n, err := strconv.Atoi(c.line(b.t))
		if err != nil {
			b.t.Fatal(err)
		}
		pids = append(pids, int32(n))
	}
	type seen struct {
		target int32
		method event.AccessMethod
		signal int
	}
	var got []seen
	for _, a := range bodies[event.Access](b, c.id) {
		if a.Target.Start != 0 && a.Target.Start < c.id.Start {
			b.t.Errorf("%+v: started before who did it", a)
		}
		got = append(got, seen{a.Target.PID, a.Method, a.Signal})
	}
	want := []seen{
		{pids[0], event.AccessSignal, 15},
		{pids[1], event.AccessSignal, 10},
		{pids[2], event.AccessSignal, 9},
		{pids[3], event.AccessVMRead, 0},
		{pids[3], event.AccessVMWrite, 0},
		{pids[3], event.AccessGetFD, 0},
		{pids[3], event.AccessPtrace, 0},
		{pids[3], event.AccessSignal, 9},
		{pids[4], event.AccessTraced, 0},
	}
	if !slices.Equal(got, want) {
		b.t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// testGuard has a process in no watched tree get at a guarded one, and at
// another.
func testGuard(b *bench) {
	watched := b.start("opens") // arms
	if err := b.Watch(watched.id); err != nil {
		b.t.Fatal(err)
	}
	guarded, other, stranger := b.start("opens"), b.start("opens"), b.start("reach")
	if err := b.Guard(guarded.id); err != nil {
		b.t.Fatal(err)
	}
	fmt.Fprintf(stranger.in, "go %d %d\n", other.Process.Pid, guarded.Process.Pid)
	if err := stranger.Wait(); err != nil {
		b.t.Fatal(err)
	}
	watched.act(b.t)
	b.untilExit(watched.id)
	if err := b.Unguard(guarded.id); err != nil {
		b.t.Fatal(err)
	}
	var methods []event.AccessMethod
	snapshots := 0
	for _, e := range b.seen {
		if e.Proc != stranger.id {
			continue
		}
		switch x := e.Body.(type) {
		case event.Exec:
			snapshots++
			if snapshots != len(methods)+1 || !x.Snapshot || x.Comm == "" || !e.Stranger {
				b.t.Errorf("%+v after %v", e, methods)
			}
		case event.Access:
			methods = append(methods, x.Method)
			if !e.Stranger || x.Target != guarded.id {
				b.t.Errorf("%+v, want one at %v", e, guarded.id)
			}
		}
	}
	want := []event.AccessMethod{event.AccessVMRead, event.AccessVMWrite, event.AccessGetFD, event.AccessPtrace, event.AccessSignal}
	if !slices.Equal(methods, want) {
		b.t.Errorf("methods %v, want %v\n%s", methods, want, b.log())
	}
}

// actReach gets at the processes that its line names.
func actReach(pids []string) error {
	runtime.LockOSThread()
	var errs []error
	for _, text := range pids {
		pid, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		errs = append(errs, reachInto(pid), unix.Kill(pid, unix.SIGTERM))
	}
	return errors.Join(errs...)
}

func TestParseTgid(t *testing.T) {
	if n, err := parseTgid([]byte("Name:\tx\\nTgid: 3\nUmask:\t0022\nTgid:\t41\nNgid:\t0\n")); n != 41 || err != nil {
		t.Errorf("%d, %v, want 41", n, err)
	}
	for _, bad := range []string{"", "Name:\tx\n", "Tgid:\tx\n", "Tgid:\t99999999999\n"} {
		if n, err := parseTgid([]byte(bad)); err == nil {
			t.Errorf("%q: %d, want an error", bad, n)
		}
	}
}

func FuzzParseTgid(f *testing.F) {
	f.Add([]byte("Name:\tx\nTgid:\t41\n"))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseTgid(b) }) // must not panic
}
