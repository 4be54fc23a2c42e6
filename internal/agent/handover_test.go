package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// fakeMarks is a sensor that only takes marks.
type fakeMarks struct{ marked map[event.ProcID]bool }

func (fakeMarks) Run(context.Context, func(event.Event)) error { return nil }
func (fakeMarks) Close() error                                 { return nil }
func (m fakeMarks) Watch(id event.ProcID) error                { m.marked[id] = true; return nil }
func (m fakeMarks) Unwatch(id event.ProcID) error              { delete(m.marked, id); return nil }
func (fakeMarks) WatchFile(event.FileKey) error                { return nil }
func (fakeMarks) UnwatchFile(event.FileKey) error              { return nil }

var (
	systemd = event.ProcID{PID: 1 << 22, Start: 1} // these are of no process
	askerID = event.ProcID{PID: 1<<22 + 1, Start: 2}
	job     = event.ProcID{PID: 1<<22 + 2, Start: 3}
)

// asking is an agent whose systemd has been summoned.
func asking(t *testing.T) (*Agent, fakeMarks) {
	a := idle(t)
	m := fakeMarks{map[event.ProcID]bool{}}
	a.sensors.open = []collectors.Opened{{Collector: m}}
	a.left.run = t.TempDir()
	a.left.starters[systemd] = &starter{files: map[event.FileKey]bool{}, until: time.Now().Add(time.Minute)}
	return a, m
}

// runs has a watched process run a program.
func (a *Agent) runs(t *testing.T, id event.ProcID, args ...string) {
	t.Helper()
	ev := event.Event{Time: time.Now(), Proc: id, Body: event.Exec{Path: "/usr/bin/" + args[0], Args: args, UID: 1000}}
	if _, taken := a.fromOutside(ev); taken {
		t.Errorf("what %v does is taken", args)
	}
}

// writes has systemd write a unit.
func (a *Agent) writes(t *testing.T, name, command string) string {
	t.Helper()
	file := filepath.Join(a.left.run, "user/1000/systemd/transient", name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("[Service]\nExecStart=\nExecStart="+command+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// execs has systemd start a process, and gives what is said of it.
func (a *Agent) execs(t *testing.T, id event.ProcID, args ...string) []event.Event {
	t.Helper()
	a.fromOutside(event.Event{Time: time.Now(), Proc: id, Body: event.Fork{Parent: systemd}})
	facts, taken := a.fromOutside(event.Event{Time: time.Now(), Proc: id, Body: event.Exec{Path: "/usr/bin/dash", Args: args, Comm: "sh"}})
	if !taken {
		t.Error("what systemd starts is not looked at")
	}
	return facts
}

// leftSaid gives what was said to be left behind.
func (a *Agent) leftSaid() []event.Event {
	var all []event.Event
	for len(a.facts) > 0 {
		if ev := <-a.facts; ev.Body.Kind() == event.KindLeft {
			all = append(all, ev)
		}
	}
	return all
}

func TestWhatSystemdRunAskedForIsFollowed(t *testing.T) {
	a, m := asking(t)
	a.runs(t, askerID, "systemd-run", "--user", "-p", "Nice=5", "sh", "-c", "echo x")
	if init, err := procfs.Identify(a.host.Proc, 1); err == nil && a.isStarter("systemd", init) && !m.marked[init] {
		t.Error("systemd is not marked")
	}
	unit := a.writes(t, "run-r1.service", `"/usr/bin/sh" "-c" "echo x"`)
	facts := a.execs(t, job, "/usr/bin/sh", "-c", "echo x")
	if len(facts) != 2 {
		t.Fatalf("it gives %v", facts)
	}
	if h := facts[0].Body.(event.Heir); h.Path != unit || !h.Alone || h.Left.How != event.LeftAsked || h.Said != `"/usr/bin/sh" "-c" "echo x"` {
		t.Errorf("it is %+v", h)
	}
	said := a.leftSaid()
	if len(said) != 1 || said[0].Proc != askerID || said[0].Body.(event.Left).Asker != fmt.Sprintf("process %d (systemd-run --user -p Nice=5 sh -c echo x)", askerID.PID) {
		t.Errorf("left behind is said to be %+v", said)
	}
	if _, taken := a.fromOutside(event.Event{Proc: job, Body: event.FileOpen{}}); taken {
		t.Error("what it does is not told")
	}
}

func TestAUnitThatComesLaterIsKnownWhenItsAskerEnds(t *testing.T) {
	a, _ := asking(t)
	a.runs(t, askerID, "systemd-run", "--user", "--on-active=60", "sh", "-c", "echo later")
	a.writes(t, "run-r1.service", `"/usr/bin/sh" "-c" "echo later"`)
	a.fromOutside(event.Event{Time: time.Now(), Proc: askerID, Body: event.Exit{}})
	if said := a.leftSaid(); len(said) != 1 || said[0].Body.(event.Left).How != event.LeftAsked {
		t.Fatalf("left behind is said to be %+v", said)
	}
	delete(a.left.asks, askerID) // a minute later
	if facts := a.execs(t, job, "/usr/bin/sh", "-c", "echo later"); len(facts) != 2 {
		t.Errorf("it gives %v", facts)
	}
}

func TestWhatOthersAskSystemdForIsLetGo(t *testing.T) {
	a, m := asking(t)
	a.runs(t, askerID, "systemd-run", "--user", "sh", "-c", "echo x")
	a.writes(t, "run-r2.service", `"/usr/bin/sh" "-c" "echo mine"`)
	if facts := a.execs(t, job, "/usr/bin/sh", "-c", "echo mine"); facts != nil || m.marked[job] {
		t.Errorf("a person's own gives %v", facts)
	}
	if said := a.leftSaid(); len(said) > 0 {
		t.Errorf("left behind is said to be %+v", said)
	}
}

func TestAUnitUnderTheNameOfAnotherIsNotFollowed(t *testing.T) {
	a, _ := asking(t)
	a.runs(t, askerID, "systemd-run", "--user", "--unit=x", "sh", "-c", "echo x")
	file := a.writes(t, "x.service", `"/usr/bin/sh" "-c" "echo x"`)
	a.fromOutside(event.Event{Time: time.Now(), Proc: askerID, Body: event.Exit{}})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	delete(a.left.asks, askerID)
	other := a.writes(t, "y.service", "true")
	a.writes(t, "x.service", `"/usr/bin/sh" "-c" "echo x"`) // the number of the first may be y's now
	if facts := a.execs(t, job, "/usr/bin/sh", "-c", "echo x"); facts != nil {
		t.Errorf("with %s there it gives %v", other, facts)
	}
}

func TestAUnitThatIsGoneIsGuessedByWhatWasAsked(t *testing.T) {
	a, _ := asking(t)
	a.runs(t, askerID, "systemd-run", "--user", "sh", "-c", "echo short")
	facts := a.execs(t, job, "/usr/bin/sh", "-c", "echo short")
	if len(facts) != 2 {
		t.Fatalf("it gives %v", facts)
	}
	if h := facts[0].Body.(event.Heir); h.Alone || h.Left.How != event.LeftPerhaps {
		t.Errorf("it is %+v", h)
	}
	a.runs(t, systemdTwin, "systemd-run", "--user", "sh", "-c", "echo short")
	if facts := a.execs(t, event.ProcID{PID: 1<<22 + 9, Start: 9}, "/usr/bin/sh", "-c", "echo short"); facts != nil {
		t.Errorf("with two who asked for the same it gives %v", facts)
	}
}

var systemdTwin = event.ProcID{PID: 1<<22 + 8, Start: 8}

func TestWhoAsksIsToldFromWhoCanHaveAsked(t *testing.T) {
	now := time.Now()
	words := read(writeUnit(t, `"/bin/sh" "-c" "x"`), words{}).words
	run := func(pid int32, args ...string) *ask {
		return &ask{id: event.ProcID{PID: pid}, args: args, only: args[0] == "systemd-run", began: now.Add(-time.Second)}
	}
	says, other, knows := run(1, "systemd-run", "sh", "-c", "x"), run(2, "systemd-run", "sh", "-c", "y"), run(3, "python3", "ask.py")
	twin, over, early, served := run(4, "systemd-run", "sh", "-c", "x"), run(5, "python3"), run(6, "python3"), run(7, "systemd-run", "sh", "-c", "x")
	over.ended, early.began, served.unit = now.Add(-500*time.Millisecond), now.Add(-time.Minute), "/run/other.service"
	for _, c := range []struct {
		asks []*ask
		want string
	}{
		{[]*ask{says, other, knows, over, early}, "[1] asked of systemd"},
		{[]*ask{says, twin}, "[1 4] perhaps asked of systemd"},
		{[]*ask{other, knows, over, early}, "[3] perhaps asked of systemd"},
		{[]*ask{other, over, early}, "[] perhaps asked of systemd"},
		{[]*ask{served}, "[7] perhaps asked of systemd"},
	} {
		_, who, how := askedFor(words, c.asks, now)
		pids := []int32{}
		for _, k := range who {
			pids = append(pids, k.id.PID)
		}
		if got := fmt.Sprint(pids, " ", how); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func writeUnit(t *testing.T, command string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "systemd")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "x.service")
	if err := os.WriteFile(file, []byte("ExecStart="+command+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSystemdIsLetGoWhenItsTimeIsOver(t *testing.T) {
	a, _ := asking(t)
	a.left.starters[systemd].until = time.Now().Add(-time.Second)
	if facts, taken := a.fromOutside(event.Event{Time: time.Now(), Proc: systemd, Body: event.FileOpen{}}); facts != nil || !taken {
		t.Errorf("it gives %v, taken %v", facts, taken)
	}
	if a.isForked(systemd) {
		t.Error("it is followed on")
	}
	a, _ = asking(t)
	a.runs(t, askerID, "systemd-run", "--user", "sh", "-c", "echo x")
	file := a.writes(t, "x.service", `"/usr/bin/sh" "-c" "echo x"`)
	a.fromOutside(event.Event{Time: time.Now(), Proc: askerID, Body: event.Exit{}})
	late := time.Now().Add(2 * time.Minute)
	a.fromOutside(event.Event{Time: late, Proc: systemd, Body: event.FileOpen{}})
	if !a.isForked(systemd) {
		t.Error("it is let go while a unit of somebody's asking is there")
	}
	a.fromOutside(event.Event{Time: late, Proc: systemd, Body: event.FileDelete{Path: file}})
	a.fromOutside(event.Event{Time: late.Add(time.Minute), Proc: systemd, Body: event.FileOpen{}})
	if a.isForked(systemd) {
		t.Error("it is followed on when the unit is gone")
	}
}
