package pipeline

import (
	"slices"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
)

// stranger pushes what a process outside of every tree did, as it comes: late,
// and behind what the process is.
func (b *bench) stranger(sec, did float64, id event.ProcID, body event.Body) {
	b.Tick(at(sec))
	for _, x := range []event.Body{event.Exec{Path: "/usr/bin/python3", Args: []string{"python3", "x.py"}, UID: 1001, Snapshot: true}, body} {
		b.Push(event.Event{Time: at(did), Proc: id, Source: event.SourceFanotify, Body: x, Stranger: true, Gateway: state})
	}
}

func TestAStrangersActSaysWhoItWasAndWhoseTheFileIs(t *testing.T) {
	b := newBench(t, 0)
	b.UserName = func(uid uint32) string { return map[uint32]string{0: "dev", 1001: "eve"}[uid] }
	b.stranger(5, 3, proc(500), event.FileOpen{Path: state + "/openclaw.json", Read: true})
	b.stranger(6, 4, proc(500), event.FileOpen{Path: workspace + "/SOUL.md", Write: true})
	b.Flush()
	opens := b.find(event.KindFileOpen, 500)
	if len(opens) != 2 || len(b.find(event.KindExec, 500)) != 0 {
		t.Fatalf("records: %+v", b.records)
	}
	r := opens[0]
	if !r.Stranger || r.Process.Executable.Path != "/usr/bin/python3" || r.Process.User.Name != "eve" || r.File.Owner.Name != "dev" {
		t.Errorf("%+v by %+v", r, r.Process)
	}
	if a := r.Attribution; a.Gateway != state || a.Confidence != event.None || a.Skill != nil {
		t.Errorf("attributed to %+v", a)
	}
	b.wantFired("openclaw-secrets-read-from-outside  1", "openclaw-files-touched-from-outside  1")
}

func TestAStrangerOfWhomNothingIsKnownHasNoProgram(t *testing.T) {
	b := newBench(t, 0)
	b.Push(event.Event{Time: at(1), Proc: event.ProcID{PID: 77}, Body: event.FileOpen{Path: state + "/.env", Read: true}, Stranger: true, Gateway: state})
	b.Flush()
	got := b.find(event.KindFileOpen, 77)
	if len(got) != 1 || got[0].Process.Executable != nil || got[0].Process.User != nil {
		t.Fatalf("%+v", b.records)
	}
	if got := b.find(event.KindEnvRead, 0); got != nil {
		t.Errorf("a stranger's read is an agent's: %+v", got)
	}
	b.wantFired("openclaw-secrets-read-by-its-user  1")
}

func TestAChangeByNobodyKnownNamesTheGatewayAndNoProcess(t *testing.T) {
	b := newBench(t, 0)
	b.Push(event.Event{Time: at(1), Source: event.SourceInotify, Gateway: state, Body: event.FileOpen{Path: workspace + "/SOUL.md", Write: true}})
	b.Flush()
	got := b.find(event.KindFileOpen, 0)
	if len(got) != 1 || got[0].Process != nil || got[0].Stranger || got[0].Attribution.Gateway != state || got[0].Attribution.Confidence != event.None {
		t.Errorf("%+v", got)
	}
	b.wantFired()
}

func TestAStrangersProcessIsNoChildOfATree(t *testing.T) {
	b := newBench(t, 0)
	b.Tick(at(1))
	b.Push(event.Event{Time: at(1), Proc: proc(500), Stranger: true, Gateway: state, Body: event.Exec{Path: "/bin/x", Parent: proc(10), Snapshot: true}})
	b.push(1, proc(501), event.Fork{Parent: proc(500)})
	b.push(1, proc(501), event.FileOpen{Path: "/home/dev/.ssh/id_rsa", Read: true})
	b.Flush()
	for _, r := range b.find(event.KindFileOpen, 501) {
		if r.Process.Role != "" || r.Attribution != nil {
			t.Errorf("%+v for %+v", r.Process, r.Attribution)
		}
	}
}

func TestStrangersDoNotFillTheTable(t *testing.T) {
	b := newBench(t, 0)
	before := b.Stats().Processes
	for n := range int32(1000) {
		b.stranger(float64(n), float64(n), proc(1000+n), event.FileOpen{Path: state + "/x", Read: true})
	}
	if n := b.Stats().Processes - before; n > 200 { // the grace is two minutes
		t.Errorf("%d processes are kept", n)
	}
}

func TestAChangedSkillHasItsWriterWhereverThatRan(t *testing.T) {
	skill := event.SkillID{Name: "weather", Dir: weather, Root: workspace + "/skills"}
	for name, by := range map[string]event.Body{
		"its SKILL.md":       event.FileOpen{Path: weather + "/SKILL.md", Write: true},
		"a script":           event.FileOpen{Path: weather + "/scripts/deep/w.sh", Write: true},
		"a removal":          event.FileDelete{Path: weather + "/scripts/w.sh"},
		"a rename":           event.FileRename{Old: "/tmp/x", New: weather + "/scripts/w.sh"},
		"the whole":          event.FileRename{Old: "/tmp/x", New: weather},
		"a directory for it": event.FileOpen{Path: weather, Write: true, Create: true, Directory: true},
	} {
		b := newBench(t, 0)
		b.push(3.4, event.ProcID{}, event.Skill{Change: event.Updated, Gateway: state, ID: skill})
		b.stranger(5.2, 3, proc(500), by)
		b.Tick(at(5.3))
		got := b.find(event.KindSkillUpdated, 500)
		if len(got) != 1 || !got[0].Stranger || got[0].Process.Executable.Path != "/usr/bin/python3" || got[0].Attribution.Gateway != state {
			t.Errorf("%s: %+v", name, b.find(event.KindSkillUpdated, 0))
		}
		if !slices.Contains(b.fired(), "skill-installation  1") {
			t.Errorf("%s: fired %q", name, b.fired())
		}
	}
}

func TestWhoWroteLastIsTheWriter(t *testing.T) {
	b := newBench(t, 0)
	b.use(1, "bash "+script)
	b.run(1.5, "bash "+script)
	b.stranger(4, 2, proc(500), event.FileOpen{Path: weather + "/SKILL.md", Write: true})
	b.push(5, proc(101), event.FileOpen{Path: weather + "/cache.json", Write: true, Create: true})
	b.push(5.4, event.ProcID{}, event.Skill{Change: event.Updated, Gateway: state, ID: event.SkillID{Name: "weather", Dir: weather}})
	b.Flush()
	if got := b.find(event.KindSkillUpdated, 101); len(got) != 1 || got[0].Stranger {
		t.Errorf("%+v", b.find(event.KindSkillUpdated, 0))
	}
}

func TestWhatStandsBesideASkillIsNotTheSkill(t *testing.T) {
	b := newBench(t, 0)
	b.stranger(4, 2, proc(500), event.FileOpen{Path: weather + "-2/SKILL.md", Write: true})
	b.stranger(4, 2, proc(501), event.FileOpen{Path: workspace + "/skills/README", Write: true})
	b.push(4.4, event.ProcID{}, event.Skill{Change: event.Updated, Gateway: state, ID: event.SkillID{Name: "weather", Dir: weather}})
	b.Flush()
	if got := b.find(event.KindSkillUpdated, 0); len(got) != 1 || got[0].Process != nil {
		t.Errorf("%+v", got)
	}
}

// The same path in a container is another file.
func TestWhoWroteElsewhereIsNotTheWriter(t *testing.T) {
	b := newBench(t, 0)
	box := event.GatewayFound{ID: "box:" + state, Role: event.RoleGateway, StateDir: state, Mount: 7, SkillRoots: []string{workspace + "/skills"}}
	b.push(1, proc(20), box)
	write := event.FileOpen{Path: weather + "/SKILL.md", Write: true}
	b.stranger(4, 2, proc(500), write)
	b.push(4.4, event.ProcID{}, event.Skill{Change: event.Updated, Gateway: box.ID, ID: event.SkillID{Name: "weather", Dir: weather}})
	b.Push(event.Event{Time: at(5), Proc: proc(501), Body: write, Stranger: true, Gateway: box.ID})
	b.push(5.4, event.ProcID{}, event.Skill{Change: event.Updated, Gateway: state, ID: event.SkillID{Name: "weather", Dir: weather}})
	b.Flush()
	got := b.find(event.KindSkillUpdated, 0)
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	for _, r := range got {
		want := map[string]int32{state: 500, box.ID: 501}[r.Attribution.Gateway]
		if r.Process == nil || r.Process.PID != want {
			t.Errorf("%s: %+v, want process %d", r.Attribution.Gateway, r.Process, want)
		}
	}
}
