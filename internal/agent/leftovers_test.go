package agent

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/internal/event"
)

// idle is an agent that observes nothing by itself.
func idle(t *testing.T) *Agent {
	a := &Agent{log: slog.New(slog.DiscardHandler), facts: make(chan event.Event, 64), left: newLeftovers()}
	a.host = collectors.Config{Proc: os.DirFS("/proc"), ProcPath: "/proc"}
	return a
}

// leave has a file left behind by a skill.
func (a *Agent) leave(t *testing.T, name, text string) event.Left {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	key, born, links, err := identify(file)
	if err != nil {
		t.Fatal(err)
	}
	l := event.Left{Path: file, File: key, Born: born, How: event.LeftMade, At: time.Now(), By: by("weather")}
	a.left.add(l, links)
	return l
}

func by(skill string) event.Attribution {
	return event.Attribution{Gateway: "/g", Session: "s", Skill: &event.SkillID{Name: skill, Dir: "/skills/" + skill}, Confidence: event.Strong}
}

func TestWhoLeavesTooMuchLosesItsOwn(t *testing.T) {
	l := newLeftovers()
	add := func(skill string, n uint64) []event.FileKey {
		return l.add(event.Left{File: event.FileKey{Dev: 1, Inode: n}, At: time.Unix(int64(n), 0), By: by(skill)}, 1)
	}
	for i := range uint64(10) {
		add("quiet", i)
	}
	var gone []event.FileKey
	for i := range uint64(2 * maxLeft) {
		gone = append(gone, add("loud", 100+i)...)
	}
	for _, k := range gone {
		if k.Inode < 100 {
			t.Errorf("file %d of the other skill is gone", k.Inode)
		}
	}
	if n := len(l.keys()); n > maxLeft || n < maxLeft*9/10 {
		t.Errorf("%d are kept", n)
	}
	if gone[0].Inode != 100 {
		t.Errorf("the first to go is %d and not the oldest", gone[0].Inode)
	}
}

func TestWhatACronJobStartsIsToldFromItsOtherJobs(t *testing.T) {
	a := idle(t)
	l := a.leave(t, "crontab", "* * * * * echo from the skill\n")
	cron, child, sh, other := event.ProcID{PID: 10, Start: 1}, event.ProcID{PID: 11, Start: 2}, event.ProcID{PID: 12, Start: 3}, event.ProcID{PID: 13, Start: 4}
	a.heed(cron, l.File)
	quiet := func(id event.ProcID, b event.Body) {
		t.Helper()
		if facts, taken := a.followStarter(event.Event{Proc: id, Body: b}); len(facts) > 0 || !taken {
			t.Errorf("%v of %v gives %v, taken %v", b, id, facts, taken)
		}
	}
	shell := func(said string) event.Exec {
		return event.Exec{Path: "/usr/bin/dash", Args: []string{"/bin/sh", "-c", said}, Comm: "sh"}
	}
	quiet(cron, event.FileOpen{Path: "/etc/passwd", Read: true})
	quiet(child, event.Fork{Parent: cron})
	quiet(sh, event.Fork{Parent: child})
	quiet(other, event.Fork{Parent: child})
	quiet(other, shell("echo from a person"))
	if !a.passes(event.Event{Proc: other, Body: event.FileOpen{}}) {
		t.Error("what another job does is told")
	}
	facts, _ := a.followStarter(event.Event{Proc: sh, Body: shell("echo from the skill")})
	if len(facts) != 2 {
		t.Fatalf("the job gives %v", facts)
	}
	if h := facts[0].Body.(event.Heir); h.File != l.File || h.Said != "echo from the skill" || !h.Alone || h.Left.By.Skill.Name != "weather" {
		t.Errorf("the job is %+v", h)
	}
	if _, taken := a.followStarter(event.Event{Proc: sh, Body: event.FileOpen{}}); taken {
		t.Error("what the job does is not told")
	}
	// one order among others does not stand for the whole file
	if err := os.WriteFile(l.Path, []byte("* * * * * echo mine\n* * * * * echo from the skill\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(l.Path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	quiet(sh, event.Fork{Parent: child})
	facts, _ = a.followStarter(event.Event{Proc: sh, Body: shell("echo from the skill")})
	if len(facts) != 2 || facts[0].Body.(event.Heir).Alone {
		t.Errorf("one of two jobs gives %v", facts)
	}
}

func TestWhoCallsHimselfCronIsNone(t *testing.T) {
	a := idle(t)
	if a.isStarter("cron", self()) {
		t.Error("this program is taken for root's cron") // it is a test binary in a directory of the tester's
	}
	if a.isStarter("bash", self()) {
		t.Error("bash is taken for a starter")
	}
}

func TestAnotherFileUnderTheNumberIsNoneLeftBehind(t *testing.T) {
	a := idle(t)
	l := a.leave(t, "script.sh", "true\n")
	forged := l
	forged.Born++
	a.left.add(forged, 1)
	h := event.Heir{File: l.File, Path: l.Path, Program: true, Comm: "script.sh"}
	if facts := a.heir(event.Event{Proc: self(), Body: h}, h); facts != nil {
		t.Errorf("it gives %v", facts)
	}
	if _, known := a.left.get(l.File); known {
		t.Error("the file that is gone is still known")
	}
	a.left.add(l, 1)
	if facts := a.heir(event.Event{Proc: self(), Body: h}, h); len(facts) != 1 || !facts[0].Body.(event.Heir).Program {
		t.Errorf("the very file gives %v", facts)
	}
	h.Write, h.Program = true, false
	if facts := a.heir(event.Event{Proc: self(), Body: h}, h); facts != nil {
		t.Errorf("who only changes it gives %v", facts)
	}
	if f, _ := a.left.get(l.File); !f.Changed {
		t.Error("that others changed it is not kept")
	}
}

func TestAFileThatHasOnlyTheNameIsNotWatched(t *testing.T) {
	a := idle(t)
	l := a.leave(t, "x", "")
	other := l
	other.File.Inode++
	if _, _, ok := a.keep(other); ok {
		t.Error("a file is kept for one that had its name")
	}
	dir := l
	dir.Path = filepath.Dir(l.Path)
	if _, _, ok := a.keep(dir); ok {
		t.Error("a directory is kept")
	}
}

func BenchmarkLeave(b *testing.B) {
	l := newLeftovers()
	for i := range b.N {
		l.add(event.Left{File: event.FileKey{Dev: 1, Inode: uint64(i)}, At: time.Unix(int64(i), 0), By: by(fmt.Sprint(i % 50))}, 1)
	}
}

func TestAFileThatIsRemovedIsForgottenUnlessItHasAnotherName(t *testing.T) {
	a := idle(t)
	one, two := a.leave(t, "one", ""), a.leave(t, "two", "")
	if err := os.Link(two.Path, two.Path+".other"); err != nil {
		t.Fatal(err)
	}
	key, _, links, err := identify(two.Path)
	if err != nil || links != 2 {
		t.Fatalf("%v has %d names, %v", key, links, err)
	}
	a.left.add(two, links)
	for _, l := range []event.Left{one, two} {
		if _, _, ok := a.keep(event.Left{Path: l.Path, How: event.LeftNoMore}); ok {
			t.Errorf("%s is kept", l.Path)
		}
	}
	if _, known := a.left.get(one.File); known {
		t.Error("the file that is gone is known")
	}
	if _, known := a.left.get(two.File); !known {
		t.Error("the file with another name is forgotten")
	}
}

func TestWhatMakesUsWaitIsLeftAlone(t *testing.T) {
	var p patience
	hang := make(chan struct{})
	for range maxStuck {
		if p.look(func() { <-hang }) {
			t.Fatal("a look that hangs has ended")
		}
	}
	ran := false
	if p.look(func() { ran = true }) || ran {
		t.Error("there is one more look while so many hang")
	}
	close(hang)
	for p.stuck.Load() > 0 {
		time.Sleep(time.Millisecond)
	}
	if !p.look(func() { ran = true }) || !ran {
		t.Error("there is no look when none hangs any more")
	}
}

// A person's shell that has read a file as data may take it in later.
func TestAReaderCanBecomeAnHeir(t *testing.T) {
	a := idle(t)
	l := a.leave(t, "aliases.sh", "true\n")
	read := event.Heir{File: l.File, Path: l.Path, Comm: "cat", Image: &event.Exec{Path: "/usr/bin/cat", Args: []string{"cat", l.Path}}}
	id := event.ProcID{PID: 1 << 22, Start: 1} // of no process
	if facts, taken := a.fromOutside(event.Event{Proc: id, Body: read}); !taken || facts != nil {
		t.Errorf("a reader gives %v, taken %v", facts, taken)
	}
	if _, taken := a.fromOutside(event.Event{Proc: id, Body: event.FileOpen{}}); !taken {
		t.Error("what a reader does is told")
	}
	read.Image = &event.Exec{Path: "/usr/bin/bash", Args: []string{"bash"}}
	facts, _ := a.fromOutside(event.Event{Proc: id, Body: read})
	if len(facts) != 2 || facts[0].Body.(event.Heir).Program {
		t.Errorf("who takes it in gives %v", facts)
	}
	if _, taken := a.fromOutside(event.Event{Proc: id, Body: event.FileOpen{}}); taken {
		t.Error("what an heir does is not told")
	}
}
