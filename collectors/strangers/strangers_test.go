package strangers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/collectors/lineage"
	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// A rig is a collector that runs, on a state directory of its own.
type rig struct {
	*Collector
	t      *testing.T
	tree   lineage.Tree
	state  string
	events chan event.Event
	all    []event.Event
}

func start(t *testing.T, more ...func(state string) event.GatewayFound) *rig {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root, and in CI has to have it")
		}
		t.Skip("needs root")
	}
	r := &rig{t: t, state: t.TempDir(), events: make(chan event.Event, 1<<16)}
	for _, d := range []string{"workspace/skills/weather", "workspace/memory", "workspace/src", "credentials", "agents/main/sessions"} {
		if err := os.MkdirAll(filepath.Join(r.state, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"openclaw.json", "workspace/SOUL.md", "workspace/src/main.c", "workspace/notes.md", "workspace/skills/weather/SKILL.md", "credentials/x.json"} {
		if err := os.WriteFile(filepath.Join(r.state, f), []byte("text\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if r.Collector, err = Open(collectors.Config{Proc: os.DirFS("/proc"), ProcPath: "/proc", Lineage: &r.tree}); err != nil {
		t.Fatal(err)
	}
	r.Follow(event.GatewayFound{
		ID: r.state, StateDir: r.state, Workspaces: []string{r.state + "/workspace"}, SkillRoots: []string{r.state + "/workspace/skills", r.state + "/skills"},
	})
	for _, g := range more {
		r.Follow(g(r.state))
	}
	for _, g := range r.taken() { // before anything is done, and not some time after
		r.places.follow(g)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, func(ev event.Event) { r.events <- ev }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// shell runs a script in the state directory and waits for it.
func (r *rig) shell(script string) event.ProcID {
	r.t.Helper()
	cmd := exec.Command("/bin/bash", "-c", script)
	cmd.Dir = r.state
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	id, err := procfs.Identify(os.DirFS("/proc"), int32(cmd.Process.Pid))
	if err != nil {
		r.t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		r.t.Fatalf("%s: %v: %s", script, err, out.String())
	}
	return id
}

// said gives an event in a line.
func (r *rig) said(ev event.Event) string {
	short := func(p string) string { return strings.TrimPrefix(p, r.state+"/") }
	switch b := ev.Body.(type) {
	case event.FileOpen:
		switch {
		case b.Create:
			return "create " + short(b.Path)
		case b.Write:
			return "write " + short(b.Path)
		}
		return "read " + short(b.Path)
	case event.FileRename:
		return "rename " + short(b.Old) + " " + short(b.New)
	case event.FileDelete:
		return "delete " + short(b.Path)
	case event.Access:
		return fmt.Sprintf("%s %v", b.Method, b.Write)
	case event.Exec:
		return "exec " + b.Path
	}
	return fmt.Sprintf("%s %+v", ev.Body.Kind(), ev.Body)
}

// until collects events until one says so.
func (r *rig) until(want string) event.Event {
	r.t.Helper()
	after := time.After(20 * time.Second)
	for {
		select {
		case ev := <-r.events:
			r.all = append(r.all, ev)
			if r.said(ev) == want {
				return ev
			}
		case <-after:
			r.t.Fatalf("no %q in %q", want, r.log())
		}
	}
}

func (r *rig) log() []string {
	var log []string
	for _, ev := range r.all {
		log = append(log, r.said(ev))
	}
	return log
}

func (r *rig) wantNot(said string) {
	r.t.Helper()
	if slices.Contains(r.log(), said) {
		r.t.Errorf("%q in %q", said, r.log())
	}
}

func TestAStrangerIsSeenWithItsProgramAndUser(t *testing.T) {
	r := start(t)
	id := r.shell("read x < openclaw.json; sleep 0.3; read x < workspace/src/main.c; read x < workspace/notes.md; echo x >> workspace/SOUL.md")
	ev := r.until("read openclaw.json")
	r.until("write workspace/SOUL.md")
	if !ev.Stranger || ev.Gateway != r.state || ev.Proc != id || ev.Source != event.SourceFanotify {
		t.Errorf("%+v, want process %v", ev, id)
	}
	i := slices.IndexFunc(r.all, func(e event.Event) bool { return e.Body.Kind() == event.KindExec && e.Proc == id })
	if i < 0 {
		t.Fatalf("no process in %q", r.log())
	}
	x := r.all[i].Body.(event.Exec)
	if !x.Snapshot || !r.all[i].Stranger || filepath.Base(x.Path) != "bash" || x.UID != 0 || len(x.Args) != 3 || x.Parent.PID != int32(os.Getpid()) {
		t.Errorf("process: %+v", x)
	}
	r.wantNot("read workspace/notes.md")
	r.wantNot("read workspace/src/main.c")
	r.wantNot("read workspace/SOUL.md")
}

func TestEveryWayOfChangingIsSeen(t *testing.T) {
	r := start(t)
	r.shell("echo y > new.json; mv new.json openclaw.json; rm credentials/x.json; cp /etc/hostname /tmp/in.$$; mv /tmp/in.$$ skillless; mv skillless /tmp/out.$$; rm /tmp/out.$$")
	for _, want := range []string{"create new.json", "rename new.json openclaw.json", "delete credentials/x.json", "delete skillless"} {
		if !slices.Contains(r.log(), want) {
			r.until(want)
		}
	}
	r.wantNot("write new.json") // that it was made says it
}

func TestANewDirectoryIsWatchedAtOnce(t *testing.T) {
	r := start(t)
	r.shell("mkdir -p skills/evil/scripts; sleep 0.3; echo x > skills/evil/scripts/run.sh; mv skills/evil skills/good; sleep 0.3; echo x > skills/good/SKILL.md")
	r.until("create skills/good/SKILL.md")
	for _, want := range []string{"create skills", "create skills/evil/scripts/run.sh", "rename skills/evil skills/good"} {
		if !slices.Contains(r.log(), want) {
			t.Errorf("no %q in %q", want, r.log())
		}
	}
}

func TestTheWatchedAreLeftToTheSensor(t *testing.T) {
	r := start(t)
	for name, join := range map[string]func(event.ProcID){
		"before": func(id event.ProcID) { r.tree.Add(id) },
		"ended":  func(id event.ProcID) { r.tree.Add(id); r.tree.End(id, time.Now()) },
	} {
		id := r.shell("cat openclaw.json > /dev/null; read x < credentials/x.json")
		join(id) // as late as the kernel sensor's word may come
		r.shell("read x < openclaw.json")
		ev := r.until("read openclaw.json")
		if ev.Proc == id {
			t.Errorf("%s: a watched process is a stranger", name)
		}
		r.wantNot("read credentials/x.json")
		time.Sleep(10 * time.Millisecond)
	}
}

func TestADescendantOfTheWatchedIsNoStranger(t *testing.T) {
	r := start(t)
	self, err := procfs.Identify(os.DirFS("/proc"), int32(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	r.tree.Add(self)
	r.shell("read x < credentials/x.json; sleep 0.2") // its fork was lost
	r.tree.Remove(self)
	r.tree.Add(event.ProcID{PID: self.PID, Start: self.Start + 1}) // the PID alone is no kinship
	r.shell("read x < openclaw.json; sleep 0.2")
	r.until("read openclaw.json")
}

func TestTheSameIsSaidOnceAMinute(t *testing.T) {
	r := start(t)
	r.shell("for i in {1..500}; do read x < openclaw.json; done; sleep 3; for i in {1..50}; do read x < openclaw.json; done; echo >> workspace/SOUL.md; sleep 0.3")
	r.until("write workspace/SOUL.md")
	n := 0
	for _, said := range r.log() {
		if said == "read openclaw.json" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("said %d times: %q", n, r.log())
	}
}

func TestAFileThatIsHeldOpenIsSeen(t *testing.T) {
	r := start(t)
	r.shell("exec 3<>openclaw.json; exec 4<credentials/x.json; sleep 4")
	r.until("write openclaw.json")
	r.until("read credentials/x.json")
}

func TestAFloodIsBoundedAndCounted(t *testing.T) {
	r := start(t)
	r.shell("mkdir agents/main/many; sleep 0.3; for i in {1..600}; do echo > agents/main/many/$i; done")
	r.shell("for i in {1..600}; do read x < agents/main/many/$i; done; read x < openclaw.json")
	r.until("read openclaw.json")
	reads := 0
	for {
		ev := <-r.events
		r.all = append(r.all, ev)
		if lost, ok := ev.Body.(event.Lost); ok {
			if lost.Count == 0 {
				t.Error("none lost")
			}
			break
		}
	}
	for _, said := range r.log() {
		if strings.HasPrefix(said, "read agents/main/many") {
			reads++
		}
	}
	if reads != maxOfOne {
		t.Errorf("%d reads are told", reads)
	}
}

// The same path in a container is another place, also for what is made there later.
func TestAPlaceInAContainerIsToldAsItIsCalledThere(t *testing.T) {
	top := t.TempDir()
	box, ns := filepath.Join(top, "box"), filepath.Join(top, "proc/10/ns/mnt")
	r := start(t, func(state string) event.GatewayFound {
		if err := errors.Join(
			os.MkdirAll(filepath.Dir(ns), 0o755), os.WriteFile(ns, nil, 0o644), os.Symlink(box, filepath.Join(top, "proc/10/root")),
			os.MkdirAll(box+state+"/workspace/skills", 0o755), os.WriteFile(box+state+"/openclaw.json", nil, 0o644),
		); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(ns)
		if err != nil {
			t.Fatal(err)
		}
		return event.GatewayFound{
			ID: "box", StateDir: state, Workspaces: []string{state + "/workspace"}, SkillRoots: []string{state + "/workspace/skills"},
			Root: filepath.Join(top, "proc/10/root"), Mount: uint32(fi.Sys().(*syscall.Stat_t).Ino),
		}
	})
	told := map[string]string{}
	r.shell("cd " + box + r.state + "; read x < openclaw.json; mkdir workspace/skills/new; sleep 0.3; echo x > workspace/skills/new/SKILL.md; sleep 1")
	r.shell("read x < credentials/x.json; sleep 1")
	r.until("read credentials/x.json")
	for _, ev := range r.all {
		told[r.said(ev)] = ev.Gateway
	}
	for said, gateway := range map[string]string{
		"read openclaw.json": "box", "create workspace/skills/new": "box", "create workspace/skills/new/SKILL.md": "box", "read credentials/x.json": r.state,
	} {
		if told[said] != gateway {
			t.Errorf("%q is told of gateway %q, want %q; all: %v", said, told[said], gateway, told)
		}
	}
}
