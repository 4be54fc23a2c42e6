package procevents

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

func start(t *testing.T) (*collector, <-chan event.Event) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root, and in CI has to have it")
		}
		t.Skip("needs root")
	}
	opened, err := Probe.Open(collectors.Config{Proc: os.DirFS("/proc"), ProcPath: "/proc"})
	if errors.Is(err, collectors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := opened.(*collector)
	events := make(chan event.Event, 1<<16)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, func(ev event.Event) { events <- ev }) }()
	for running := false; !running; time.Sleep(time.Millisecond) {
		c.out.Lock()
		running = c.emit != nil
		c.out.Unlock()
	}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := errors.Join(c.Close(), c.Close()); err != nil {
			t.Error(err)
		}
	})
	return c, events
}

// shell starts a shell that waits for a line, is watched, and then runs script.
func shell(t *testing.T, c *collector, script string) event.ProcID {
	t.Helper()
	cmd := exec.Command("/bin/bash", "-c", "read -r line; "+script)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "CLAW_TOKEN=very-secret"}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	id, err := procfs.Identify(os.DirFS("/proc"), int32(cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Watch(id), c.Watch(id)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(in, "go")
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return id
}

// until collects events up to the exit of a process.
func until(t *testing.T, events <-chan event.Event, id event.ProcID) []event.Event {
	t.Helper()
	var all []event.Event
	for after := time.After(20 * time.Second); ; {
		select {
		case ev := <-events:
			all = append(all, ev)
			if _, ok := ev.Body.(event.Exit); ok && ev.Proc == id {
				return all
			}
		case <-after:
			t.Fatalf("no exit of %v in %+v", id, all)
		}
	}
}

func TestATreeIsSeenFromForkToExit(t *testing.T) {
	c, events := start(t)
	root := shell(t, c, "cd /tmp; (sleep 0.2; exec setsid /bin/sleep 0.3) & wait; (exit 7) & wait; sh -c 'kill -9 $$; exit'; true")
	all := until(t, events, root)
	parents := map[event.ProcID]event.ProcID{}
	var setsid, sleep bool
	codes, signals := map[int]int{}, map[int]int{}
	for _, ev := range all {
		if ev.Source != event.SourceProcEvents || ev.Proc.IsZero() || time.Since(ev.Time).Abs() > time.Minute {
			t.Errorf("%+v", ev)
		}
		switch b := ev.Body.(type) {
		case event.Fork:
			parents[ev.Proc] = b.Parent
		case event.Exec:
			if ev.Proc != root && parents[ev.Proc].IsZero() {
				t.Errorf("exec of %v before its fork", ev.Proc)
			}
			if len(b.Args) == 2 && b.Args[1] == "0.3" && b.Args[0] == "/bin/sleep" {
				sleep = true
				if b.Snapshot || b.Cwd != "/tmp" || !slices.Contains(b.EnvNames, "CLAW_TOKEN") || !strings.HasSuffix(b.Path, "/sleep") || b.Parent.Start == 0 {
					t.Errorf("%+v", b)
				}
			}
			setsid = setsid || strings.HasSuffix(b.Path, "/setsid")
		case event.Exit:
			codes[b.Code]++
			signals[b.Signal]++
		}
	}
	if !sleep || codes[7] != 1 || signals[9] != 1 {
		t.Errorf("sleep %v, codes %v, signals %v in %+v", sleep, codes, signals, all)
	}
}

func TestEveryExecIsSeenAndMostArguments(t *testing.T) {
	c, events := start(t)
	const n = 500
	root := shell(t, c, fmt.Sprintf("for i in {1..%d}; do /bin/true $i; done", n))
	forks, execs, args, exits := 0, 0, 0, 0
	for _, ev := range until(t, events, root) {
		if ev.Proc == root {
			continue // its exec may be told after it was watched
		}
		switch b := ev.Body.(type) {
		case event.Fork:
			forks++
		case event.Exec:
			execs++
			if len(b.Args) == 2 {
				args++
			} else if !b.ArgsTruncated {
				t.Errorf("not all arguments, and it is not said: %+v", b)
			}
		case event.Exit:
			exits++
		}
	}
	if forks != n || execs != n || exits != n {
		t.Errorf("%d forks, %d execs, %d exits; want %d", forks, execs, exits, n)
	}
	t.Logf("%d %% with arguments", 100*args/n)
}

func TestAnExecIsNotGivenTheArgumentsOfTheNext(t *testing.T) {
	c, events := start(t)
	// Each of these execs the next one at once; the number says which it is.
	root := shell(t, c, "for i in {1..100}; do (exec /bin/sh -c \"exec /bin/sh -c 'exec /bin/true third$i' second$i\" first$i); done")
	nth := map[event.ProcID]int{}
	for _, ev := range until(t, events, root) {
		b, ok := ev.Body.(event.Exec)
		if !ok || ev.Proc == root {
			continue
		}
		nth[ev.Proc]++
		if last := len(b.Args) - 1; last > 0 && !strings.HasPrefix(b.Args[last], []string{"", "first", "second", "third"}[nth[ev.Proc]]) {
			t.Errorf("exec %d of %v has %q", nth[ev.Proc], ev.Proc, b.Args)
		} else if last < 0 && !b.ArgsTruncated {
			t.Errorf("%+v", b)
		}
	}
}

func TestOthersAreLeftAlone(t *testing.T) {
	c, events := start(t)
	if err := exec.Command("/bin/true").Run(); err != nil {
		t.Fatal(err)
	}
	root := shell(t, c, "true")
	for _, ev := range until(t, events, root) {
		if ev.Proc != root {
			t.Errorf("%+v", ev)
		}
	}
}

func TestAProcessThatTakesTheNameIsWatched(t *testing.T) {
	_, events := start(t)
	cmd := exec.Command("/bin/bash", "-c", "echo -n openclaw-gatewa > /proc/$$/comm; sleep 0.3; :")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	after := time.After(20 * time.Second)
	var candidate event.ProcID
	for {
		select {
		case ev := <-events:
			switch b := ev.Body.(type) {
			case event.Candidate:
				if b.Comm != "openclaw-gatewa" {
					t.Errorf("%+v", b)
				}
				if int(ev.Proc.PID) == cmd.Process.Pid {
					candidate = ev.Proc
				}
			case event.Fork:
				if b.Parent == candidate && !candidate.IsZero() {
					return
				}
			}
		case <-after:
			t.Fatalf("no candidate with a child; candidate %v", candidate)
		}
	}
}

// watchSelf watches the test. Watch refuses that: the agent does not watch itself.
func watchSelf(t *testing.T, c *collector) {
	t.Helper()
	self, err := procfs.Identify(os.DirFS("/proc"), int32(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tree.Add(self)
}

func TestSyncKnowsWhoWasForkedBefore(t *testing.T) {
	c, _ := start(t)
	watchSelf(t, c)
	for range 50 {
		cmd := exec.Command("/bin/sleep", "10")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c.Sync()
		if _, ok := c.Living(int32(cmd.Process.Pid)); !ok {
			t.Error("a child is not known")
		}
		cmd.Process.Kill()
		cmd.Wait()
	}
}

func TestSyncTellsOfAForkBeforeItReturns(t *testing.T) {
	c, events := start(t)
	watchSelf(t, c)
	for range 50 {
		cmd := exec.Command("/bin/sleep", "10")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c.Sync()
		told := false
		for len(events) > 0 { // without waiting: it has to be there
			ev := <-events
			_, fork := ev.Body.(event.Fork)
			told = told || fork && int(ev.Proc.PID) == cmd.Process.Pid
		}
		if !told {
			t.Error("a child is not told of")
		}
		cmd.Process.Kill()
		cmd.Wait()
	}
}

func TestWatchRefusesTheGoneAndItself(t *testing.T) {
	c, _ := start(t)
	if err := c.Watch(event.ProcID{PID: 1, Start: 12345678}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a reused PID: %v", err)
	}
	self, _ := procfs.Identify(os.DirFS("/proc"), int32(os.Getpid()))
	if err := c.Watch(self); err == nil {
		t.Error("it watches itself")
	}
}

func FuzzParse(f *testing.F) {
	for _, what := range []byte{0, 1, 2, 4} {
		b := make([]byte, 100)
		b[36] = what
		f.Add(b)
		f.Add(b[:50])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := parse(b); err == nil && len(e.comm) > 16 {
			t.Errorf("%+v", e)
		}
	})
}
