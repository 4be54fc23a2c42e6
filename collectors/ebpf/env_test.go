package ebpf

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// untilRead has a shell exec a program that looks variables up for each line
// that it reads, and feeds it until that of one variable is seen: when the probe
// is in, nobody can say.
func untilRead(b *bench, name, program string, env ...string) []event.EnvRead {
	b.t.Helper()
	c := b.startCommand(exec.Command("/bin/sh", "-c", "echo ready; read x; exec "+program), env...)
	if err := b.Watch(c.id); err != nil {
		b.t.Fatal(err)
	}
	c.act(b.t)
	b.until("exec", func(e event.Event) bool {
		_, ok := e.Body.(event.Exec)
		return ok && e.Proc == c.id
	})
	stop, stopped := make(chan bool), make(chan bool)
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := c.in.Write([]byte("line\n")); err != nil {
					return
				}
				if _, err := c.out.ReadString('\n'); err != nil {
					return
				}
			}
		}
	}()
	b.until("read of "+name, func(e event.Event) bool {
		r, ok := e.Body.(event.EnvRead)
		return ok && e.Proc == c.id && r.Names[0] == name
	})
	close(stop)
	<-stopped
	c.in.Close()
	b.untilExit(c.id)
	return bodies[event.EnvRead](b, c.id)
}

// It has a sensor of its own, as others may have used up what may be tapped.
func TestVariables(t *testing.T) {
	b := newBench(t, 0)
	t.Run("A program that calls getenv is noticed", func(t *testing.T) { testGetenv(b.on(t)) })
	t.Run("A variable that bash looks up is noticed", func(t *testing.T) { testShellVariable(b.on(t)) })
}

func testGetenv(b *bench) {
	if _, err := os.Stat("/usr/bin/perl"); err != nil {
		b.t.Skip("no perl, whose localtime asks for TZ each time")
	}
	got := untilRead(b, "TZ", `/usr/bin/perl -ne '$| = 1; @x = localtime; print'`, "TZ=UTC0")
	names := map[string]int{}
	for _, r := range got {
		names[r.Names[0]]++
		if r.Method != event.EnvGetenv {
			b.t.Errorf("%+v", r)
		}
	}
	if names["TZ"] != 1 {
		b.t.Errorf("TZ was reported %d times, want once", names["TZ"])
	}
}

func testShellVariable(b *bench) {
	if text, err := os.ReadFile("/bin/bash"); err != nil || !bytes.Contains(text, []byte("find_variable")) {
		b.t.Skip("no bash with symbols")
	}
	got := untilRead(b, "TAP_SECRET", `/bin/bash -c 'while read y; do own=1; : "$own" "$TAP_SECRET"; echo; done'`, "TAP_SECRET=VALUE", "TAP_OTHER=x")
	var names []string
	for _, r := range got {
		if r.Method != event.EnvShell {
			b.t.Errorf("%+v", r)
		}
		names = append(names, r.Names...)
	}
	// The ones that bash itself looks up depend on its version.
	if !slices.Contains(names, "TAP_SECRET") || slices.Contains(names, "TAP_OTHER") || slices.Contains(names, "own") {
		b.t.Errorf("names %v, want TAP_SECRET, and neither TAP_OTHER nor own", names)
	}
	if strings.Contains(b.log(), "VALUE") {
		b.t.Error("a value was reported")
	}
}

// What execs while nobody takes probes in is counted, and memory is bounded.
func TestTooManyAtOnceAreCounted(t *testing.T) {
	taps := newTaps()
	for pid := range int32(tapQueue + 10) {
		taps.exec(event.ProcID{PID: pid + 1}, event.Exec{EnvNames: []string{"A"}})
	}
	if n := taps.takeMissed(); n != 10 {
		t.Errorf("%d missed, want 10", n)
	}
	if n := taps.takeMissed(); n != 0 {
		t.Errorf("%d missed again", n)
	}
	if len(taps.had) != tapQueue {
		t.Errorf("%d kept, want %d", len(taps.had), tapQueue)
	}
}

func TestTapsAreRationed(t *testing.T) {
	var b bucket
	now := time.Now()
	took := func() (n int) {
		for b.take(now) {
			n++
		}
		return n
	}
	if n := took(); n != maxTapped {
		t.Errorf("%d at first, want %d", n, maxTapped)
	}
	now = now.Add(time.Second)
	if n := took(); n != tapRate {
		t.Errorf("%d a second later, want %d", n, tapRate)
	}
	now = now.Add(time.Hour)
	if n := took(); n != maxTapped {
		t.Errorf("%d an hour later, want %d", n, maxTapped)
	}
}

func TestOnlyWhatWasHandedOverIsRead(t *testing.T) {
	taps, id := newTaps(), event.ProcID{PID: 7, Start: 8}
	taps.exec(id, event.Exec{EnvNames: []string{"A"}})
	read := func(name string) string {
		whole, ok := taps.read(id, name)
		if !ok {
			return ""
		}
		return whole
	}
	if read("A") != "A" || read("B") != "" {
		t.Error("A was handed over and B was not")
	}
	long := strings.Repeat("L", 100)
	taps.exec(id, event.Exec{EnvNames: []string{long}})
	if read(long[:sensorGetenvBytes-1]) != long || read(long[:9]) != "" {
		t.Error("a name that was cut does not come back whole")
	}
	taps.exec(id, event.Exec{EnvNames: []string{"A"}, EnvTruncated: true})
	if read("B") != "B" {
		t.Error("B may be among the names that were cut")
	}
}

func TestLoaderAndSymbolsAreFound(t *testing.T) {
	f, err := os.Open("/bin/sh")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	loader, err := loaderOf(f)
	if err != nil || !strings.Contains(loader, "/ld-") {
		t.Errorf("loader %q, %v", loader, err)
	}
	for _, name := range libraries {
		lib, err := os.Open(name)
		if err != nil {
			continue
		}
		defer lib.Close()
		got, err := symbolsOf(lib, "getenv", "secure_getenv")
		if err != nil || len(got) != 2 || got[0] == got[1] {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		return
	}
	t.Skip("no glibc")
}

func FuzzLibrary(f *testing.F) {
	f.Add(int80(64))
	f.Add(int80(32))
	f.Fuzz(func(_ *testing.T, b []byte) { // must not panic
		_, _ = loaderOf(bytes.NewReader(b))
		_, _ = symbolsOf(bytes.NewReader(b), "getenv")
	})
}
