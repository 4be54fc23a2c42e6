package agent

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/internal/event"
)

// marks is a sensor that only notes what is asked of it.
type marks struct {
	sync.Mutex
	files map[event.FileKey]bool
	procs map[event.ProcID]bool
}

func (m *marks) Run(context.Context, func(event.Event)) error { return nil }
func (m *marks) Close() error                                 { return nil }
func (m *marks) Watch(id event.ProcID) error                  { return m.set(func() { m.procs[id] = true }) }
func (m *marks) Unwatch(id event.ProcID) error                { return m.set(func() { delete(m.procs, id) }) }
func (m *marks) WatchFile(k event.FileKey) error              { return m.set(func() { m.files[k] = true }) }
func (m *marks) UnwatchFile(k event.FileKey) error            { return m.set(func() { delete(m.files, k) }) }

func (m *marks) set(do func()) error {
	m.Lock()
	defer m.Unlock()
	do()
	return nil
}

func (m *marks) watches(k event.FileKey) bool {
	m.Lock()
	defer m.Unlock()
	return m.files[k]
}

// marking is an idle agent with such a sensor, that runs what looks for copies.
func marking(t *testing.T) (*Agent, *marks) {
	a := idle(t)
	m := &marks{files: map[event.FileKey]bool{}, procs: map[event.ProcID]bool{}}
	a.sensors.open = []collectors.Opened{{Collector: m}}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { a.watchCopies(ctx); close(done) }()
	t.Cleanup(func() { stop(); <-done })
	return a, m
}

const secret = "#!/bin/sh\necho from the skill\n"

// cp is a process that reads a file and makes others, as the sensor tells of it. It has
// not ended.
func (a *Agent) cp(t *testing.T, id event.ProcID, from event.Left, made map[string]string) map[string]event.FileKey {
	t.Helper()
	h := event.Heir{File: from.File, Path: from.Path, Comm: "cp", UID: 1000, Image: &event.Exec{Path: "/usr/bin/cp", Args: []string{"cp"}, Comm: "cp"}}
	if facts, taken := a.fromOutside(event.Event{Proc: id, Body: h}); !taken || facts != nil {
		t.Fatalf("a reader gives %v, taken %v", facts, taken)
	}
	keys := map[string]event.FileKey{}
	for path, text := range made {
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		key, _, _, err := identify(path)
		if err != nil {
			t.Fatal(err)
		}
		keys[path] = key
		a.quietly(t, id, event.FileOpen{Path: path, File: key, Write: true, Create: true})
	}
	return keys
}

// quietly has a fact told that nothing is to be said of.
func (a *Agent) quietly(t *testing.T, id event.ProcID, b event.Body) {
	t.Helper()
	if facts, taken := a.fromOutside(event.Event{Proc: id, Body: b}); !taken || facts != nil {
		t.Errorf("%+v gives %v, taken %v", b, facts, taken)
	}
}

// next is the next file that is told to be left behind.
func (a *Agent) next(t *testing.T) event.Left {
	t.Helper()
	select {
	case ev := <-a.facts:
		return ev.Body.(event.Left)
	case <-time.After(30 * time.Second):
		t.Fatal("nothing is told")
		return event.Left{}
	}
}

var copier = event.ProcID{PID: 1 << 22, Start: 1} // of no process

func TestACopyOfWhatWasLeftIsLeftByTheSame(t *testing.T) {
	a, m := marking(t)
	l := a.leave(t, "tool.sh", secret)
	dir := t.TempDir()
	made := a.cp(t, copier, l, map[string]string{dir + "/copy": secret, dir + "/other": strings.ToUpper(secret), dir + "/short": "x"})
	a.quietly(t, copier, event.FileRename{Old: dir + "/copy", New: dir + "/renamed"})
	if err := os.Rename(dir+"/copy", dir+"/renamed"); err != nil {
		t.Fatal(err)
	}
	a.quietly(t, copier, event.Exit{})
	c := a.next(t)
	want := "by cp (uid 1000) from " + l.Path + ", which was made"
	if c.Path != dir+"/renamed" || c.File != made[dir+"/copy"] || c.How != event.LeftCopied || c.Story != want || c.By.Skill == nil || c.By.Skill.Name != "weather" || c.Changed {
		t.Errorf("told is %+v", c)
	}
	if !m.watches(c.File) {
		t.Error("it is not watched")
	}
	for _, other := range []string{dir + "/other", dir + "/short"} {
		if _, known := a.left.get(made[other]); known || m.watches(made[other]) {
			t.Errorf("%s is taken for a copy", other)
		}
	}
	if kept := <-a.left.queue; kept.File != c.File || kept.By.Skill == nil {
		t.Errorf("kept is %+v", kept)
	}

	// a copy of the copy says where it is from
	again := a.cp(t, event.ProcID{PID: 1 << 22, Start: 2}, c, map[string]string{dir + "/again": secret})
	a.quietly(t, event.ProcID{PID: 1 << 22, Start: 2}, event.Exit{})
	if c := a.next(t); c.File != again[dir+"/again"] || !strings.Contains(c.Story, "/renamed, which was copied "+want) {
		t.Errorf("then it is %+v", c)
	}
}

func TestACopyOfWhatOthersChangedIsNoBetter(t *testing.T) {
	a, _ := marking(t)
	l := a.leave(t, "tool.sh", secret)
	a.changed(l.File)
	<-a.left.queue
	a.cp(t, copier, l, map[string]string{filepath.Join(t.TempDir(), "copy"): secret})
	a.quietly(t, copier, event.Exit{})
	if c := a.next(t); !c.Changed {
		t.Errorf("it is %+v", c)
	}
}

func TestWhatMvHasTakenAwayIsKnownByWhatItWas(t *testing.T) {
	a, _ := marking(t)
	l := a.leave(t, "tool.sh", secret)
	kept, _, ok := a.keep(l) // once it is known who left it
	if !ok || kept.SHA256 == "" || kept.Size != uint64(len(secret)) {
		t.Fatalf("it is kept as %+v", kept)
	}
	made := a.cp(t, copier, kept, map[string]string{filepath.Join(t.TempDir(), "moved"): secret})
	if err := os.Remove(l.Path); err != nil {
		t.Fatal(err)
	}
	a.quietly(t, copier, event.FileDelete{Path: l.Path})
	a.quietly(t, copier, event.Exit{})
	if c := a.next(t); made[c.Path] != c.File {
		t.Errorf("it is %+v", c)
	}
}

// The one who copies can be faster than the records that say whose the file is.
func TestACopyIsKeptOnceItIsKnownWhoLeftTheFirst(t *testing.T) {
	a, m := marking(t)
	l := a.leave(t, "tool.sh", secret)
	unknown := l
	unknown.By = event.Attribution{}
	a.left.drop(l.File)
	a.left.add(unknown, 1)
	a.cp(t, copier, unknown, map[string]string{filepath.Join(t.TempDir(), "copy"): secret})
	a.quietly(t, copier, event.Exit{})
	c := a.next(t)
	if c.Of != l.File || c.By.Gateway != "" || !m.watches(c.File) {
		t.Errorf("told is %+v", c)
	}
	a.left.add(l, 1)
	select {
	case kept := <-a.left.queue:
		if kept.File != c.File || kept.By.Skill == nil || kept.Of != (event.FileKey{}) {
			t.Errorf("kept is %+v", kept)
		}
	case <-time.After(30 * time.Second):
		t.Error("it is not kept")
	}
}

func TestWhatIsNoCopyIsNotWatched(t *testing.T) {
	a, m := marking(t)
	l := a.leave(t, "tool.sh", secret)
	dir := t.TempDir()
	made := a.cp(t, copier, l, map[string]string{dir + "/link": "", dir + "/swapped": secret, dir + "/large": "", dir + "/last": secret})
	for _, err := range []error{
		os.Remove(dir + "/link"), os.Symlink(l.Path, dir+"/link"),
		os.WriteFile(dir+"/new", []byte(secret), 0o600), os.Rename(dir+"/new", dir+"/swapped"),
		os.WriteFile(dir+"/large", bytes.Repeat([]byte("x"), maxCopy+1), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	a.quietly(t, copier, event.Exit{})
	if c := a.next(t); c.Path != dir+"/last" {
		t.Errorf("told is %+v", c)
	}
	a.cp(t, event.ProcID{PID: 1 << 22, Start: 2}, l, map[string]string{dir + "/done": secret})
	a.quietly(t, event.ProcID{PID: 1 << 22, Start: 2}, event.Exit{})
	done := a.next(t) // the first one has been looked at
	for path, key := range made {
		if path != dir+"/last" && m.watches(key) && key != done.File { // which may have the number of one that is gone
			t.Errorf("%s is watched", path)
		}
	}
}

func TestAReaderIsFollowedForAMomentOnly(t *testing.T) {
	a, m := marking(t)
	l := a.leave(t, "tool.sh", secret)
	_ = m.Watch(copier) // as the kernel side does
	a.cp(t, copier, l, map[string]string{filepath.Join(t.TempDir(), "copy"): secret})
	a.next(t) // although it does not end
	for marked := true; marked; time.Sleep(time.Millisecond) {
		m.Lock()
		marked = m.procs[copier]
		m.Unlock()
	}
	a.left.Lock()
	defer a.left.Unlock()
	if n := len(a.left.readers); n > 0 {
		t.Errorf("%d are still followed", n)
	}
}

func TestReadersAreBounded(t *testing.T) {
	a := idle(t) // nobody lets them go
	l := a.leave(t, "tool.sh", secret)
	read := func(id event.ProcID) { a.followReader(id, event.Heir{File: l.File}) }
	for i := range uint64(4 * maxReaders) {
		read(event.ProcID{PID: 1 << 22, Start: i})
	}
	if n := len(a.left.readers); n != maxReaders {
		t.Errorf("%d are followed", n)
	}
	for i := range uint64(2 * maxMade) {
		id := event.ProcID{PID: 1 << 22, Start: 1}
		a.readOn(event.Event{Proc: id, Body: event.FileOpen{Path: "/x", File: event.FileKey{Dev: 1, Inode: i + 1}, Write: true, Create: true}})
		a.followReader(id, event.Heir{File: event.FileKey{Dev: 1, Inode: i}})
	}
	if r := a.left.readers[event.ProcID{PID: 1 << 22, Start: 1}]; len(r.made) != maxMade || len(r.read) != maxRead {
		t.Errorf("%d made and %d read are kept", len(r.made), len(r.read))
	}
	a.left.readers = map[event.ProcID]*reader{}
	for range 2 * maxMoments {
		read(copier)
		delete(a.left.readers, copier)
	}
	if n := a.left.moments[copier]; n != maxMoments {
		t.Errorf("one is followed %d times", n)
	}
}

// While it is followed, the sensor does not tell of it as of one from outside.
func TestAReaderThatRunsTheFileInItsMomentIsAnHeir(t *testing.T) {
	a, m := marking(t)
	l := a.leave(t, "tool.sh", secret)
	a.cp(t, copier, l, nil)
	child := event.ProcID{PID: 1 << 22, Start: 3}
	a.quietly(t, child, event.Fork{Parent: copier})
	facts, taken := a.fromOutside(event.Event{Proc: child, Body: event.Exec{Path: l.Path, Comm: "tool.sh", File: event.FileID{Dev: l.File.Dev, Inode: l.File.Inode}}})
	if !taken || len(facts) != 2 || !facts[0].Body.(event.Heir).Program || facts[1].Body.Kind() != event.KindExec {
		t.Fatalf("its child gives %+v", facts)
	}
	if !m.procs[child] {
		t.Error("it is not followed")
	}
	a.quietly(t, copier, event.Exec{Path: "/usr/bin/bash", Args: []string{"bash"}, Comm: "bash"})
	facts, taken = a.fromOutside(event.Event{Proc: copier, Body: event.FileOpen{Path: l.Path, File: l.File, Read: true}})
	if !taken || len(facts) == 0 || facts[0].Body.(event.Heir).Program {
		t.Fatalf("who takes it in gives %+v", facts)
	}
	if _, taken := a.fromOutside(event.Event{Proc: copier, Body: event.FileOpen{Path: "/etc/passwd"}}); taken {
		t.Error("what the heir does is not told")
	}
}

func TestAReaderThatWritesToTheFileHasChangedIt(t *testing.T) {
	a, _ := marking(t)
	l := a.leave(t, "tool.sh", secret)
	a.cp(t, copier, l, nil)
	a.quietly(t, copier, event.FileOpen{Path: l.Path, File: l.File, Write: true, Emptied: true})
	if f, _ := a.left.get(l.File); !f.Changed {
		t.Error("that it did is not kept")
	}
}

// BenchmarkContent: what it costs to know a file of 10 KiB by its content.
func BenchmarkContent(b *testing.B) {
	a := &Agent{left: newLeftovers()}
	path := filepath.Join(b.TempDir(), "x.js")
	if err := os.WriteFile(path, bytes.Repeat([]byte("0123456789"), 1024), 0o600); err != nil {
		b.Fatal(err)
	}
	key, _, _, err := identify(path)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if sum, _ := a.contentOf(event.Left{Path: path, File: key}); sum == "" {
			b.Fatal("it has none")
		}
	}
}
