package attribution

import (
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
)

func TestAScriptOfASkillThatWasReadIsCertain(t *testing.T) {
	f := newFilm(t)
	f.read(1, "alice", "r1", "c1", "~/.openclaw/workspace/skills/weather/SKILL.md")
	f.call(2, "alice", "r1", "c2", "python3 "+weather+"/scripts/w.py Graz")
	root := f.root(2.5, 100, "python3 "+weather+"/scripts/w.py Graz")
	f.want(3.3, root, "weather strong", "alice", "c2")
	f.fork(3.4, 101, 100)
	f.exec(3.4, 101, 100, workspace, "python3", weather+"/scripts/w.py", "Graz")
	s := f.open(3.5, 101, weather+"/scripts/w.py")
	f.want(3.5, s, "weather certain", "alice", "c2")
	f.fork(3.6, 102, 101)
	f.want(3.6, f.exec(3.6, 102, 101, "/", "curl", "http://198.51.100.1"), "weather certain", "alice", "c2")
}

func TestAScriptThatIsNamedButNotOpenedProvesNothing(t *testing.T) {
	f := newFilm(t)
	f.read(1, "alice", "r1", "c1", weather+"/SKILL.md")
	f.read(1, "alice", "r1", "c1b", notes+"/SKILL.md")
	cmd := "cd " + notes + " && perl -ne 'system q(curl evil)' code"
	f.call(2, "alice", "r1", "c2", cmd)
	f.root(2.5, 100, cmd)
	f.fork(3.4, 101, 100)
	s := f.exec(3.4, 101, 100, notes, "perl", "-ne", "scripts/x.pl")
	if a := f.want(9, s, "ambiguous weather notes", "alice", "c2"); a.Skill != nil {
		t.Error("named without the script having been opened")
	}
}

func TestLineageSurvivesDaemonisingAndACopy(t *testing.T) {
	f := newFilm(t)
	f.read(1, "bob", "r1", "c1", notes+"/SKILL.md")
	f.call(2, "bob", "r1", "c2", notes+"/scripts/save.sh x")
	f.root(2.5, 100, notes+"/scripts/save.sh x")
	f.fork(2.6, 101, 100)
	f.exec(2.6, 101, 100, workspace, "/bin/bash", notes+"/scripts/save.sh", "x")
	f.open(2.61, 101, notes+"/scripts/save.sh")
	f.fork(2.7, 102, 101)
	f.fork(2.8, 103, 102)
	f.push(2.9, proc(102), event.Exit{})
	f.push(2.9, proc(101), event.Exit{})
	s := f.exec(4, 103, 1, "/", "bash", "/tmp/worker.sh")
	a := f.want(4.2, s, "notes certain", "bob", "c2")
	if a.Evidence[1].Kind != "lineage" {
		t.Errorf("evidence %+v, want lineage second", a.Evidence)
	}
}

func TestTheSameCommandInTwoSessionsIsAmbiguous(t *testing.T) {
	f := newFilm(t)
	f.read(1, "alice", "r1", "c1", weather+"/SKILL.md")
	f.read(1, "bob", "r2", "d1", notes+"/SKILL.md")
	f.call(2, "alice", "r1", "c2", "curl -s http://198.51.100.1/")
	s := f.root(2.4, 100, "curl -s http://198.51.100.1/")
	exec := f.last
	f.e.Tick(at(2.9))
	f.e.Observe(event.Event{Time: at(2.3), Body: event.ToolCall{ // read late
		Gateway: state, Session: "bob", Run: "r2", ID: "d2", Name: "exec", Command: "curl -s http://198.51.100.1/",
	}})
	f.last = exec
	a := f.want(3.2, s, "ambiguous weather notes", "", "")
	if len(a.Evidence) == 0 || a.Evidence[0].Kind != "exec_argv" {
		t.Errorf("evidence %+v", a.Evidence)
	}
}

func TestAnIdenticalCommandOfASessionWithoutSkillsLeavesDoubt(t *testing.T) {
	f := newFilm(t)
	f.read(1, "alice", "r1", "c1", weather+"/SKILL.md")
	f.call(2, "alice", "r1", "c2", "id")
	f.call(2, "bob", "r2", "d2", "id")
	f.want(3.5, f.root(2.4, 100, "id"), "ambiguous weather", "", "")
}

func TestParallelIdenticalCallsOfOneSessionKeepSessionAndSkill(t *testing.T) {
	f := newFilm(t)
	f.read(1, "alice", "r1", "c1", weather+"/SKILL.md")
	f.call(2, "alice", "r1", "c2", "date")
	f.call(2, "alice", "r1", "c3", "date")
	f.root(2.4, 100, "date")
	f.want(3.5, f.root(2.4, 101, "date"), "weather strong", "alice", "")
}

func TestARowThatComesLateIsWaitedFor(t *testing.T) {
	f := newFilm(t)
	s := f.root(2, 100, "date")
	exec := f.last
	f.e.Tick(at(5))
	if f.e.Settled(s, exec, exec.Time) {
		t.Fatal("settled without a record before the deadline")
	}
	f.e.Observe(event.Event{Time: at(1.9), Body: event.ToolCall{Gateway: state, Session: "alice", ID: "c2", Name: "exec", Command: "date"}})
	f.last = exec
	f.want(5.1, s, "none", "alice", "c2")
}

func TestARowThatComesTooLateAmends(t *testing.T) {
	f := newFilm(t)
	s := f.root(2, 100, "date")
	exec := f.last
	f.want(9, s, "none", "", "")
	f.e.Observe(event.Event{Time: at(1.9), Body: event.ToolCall{Gateway: state, Session: "alice", ID: "c2", Name: "exec", Command: "date"}})
	f.e.Tick(at(20))
	if roots := f.e.Amended(); len(roots) != 1 || roots[0] != proc(100) {
		t.Fatalf("amended %v, want the root", roots)
	}
	f.last = exec
	f.want(20, s, "none", "alice", "c2")
}

func TestTwoSkillsInOneSessionAreToldApartByScriptAndByNothingElse(t *testing.T) {
	f := newFilm(t)
	f.read(1, "alice", "r1", "c1", weather+"/SKILL.md")
	f.read(1, "alice", "r1", "c2", notes+"/SKILL.md")
	f.call(2, "alice", "r1", "c3", "python3 "+weather+"/scripts/w.py")
	f.call(2, "alice", "r1", "c4", "curl http://198.51.100.1/")
	f.root(2.4, 100, "python3 "+weather+"/scripts/w.py")
	inline := f.root(2.4, 200, "curl http://198.51.100.1/")
	last := f.last
	f.fork(2.5, 101, 100)
	f.exec(2.5, 101, 100, workspace, "python3", weather+"/scripts/w.py")
	f.want(3.5, f.open(2.6, 101, weather+"/scripts/w.py"), "weather strong", "alice", "c3")
	f.last = last
	f.want(3.5, inline, "ambiguous weather notes", "alice", "c4")
}

func TestAScriptOfAnotherSkillIsAmbiguousWithItsCaller(t *testing.T) {
	f := newFilm(t)
	f.read(1, "alice", "r1", "c1", weather+"/SKILL.md")
	f.call(2, "alice", "r1", "c2", "bash "+weather+"/scripts/run.sh")
	f.root(2.4, 100, "bash "+weather+"/scripts/run.sh")
	f.fork(2.5, 101, 100)
	f.exec(2.5, 101, 100, workspace, "bash", weather+"/scripts/run.sh")
	f.open(2.5, 101, weather+"/scripts/run.sh")
	f.fork(2.6, 102, 101)
	f.exec(2.6, 102, 101, workspace, "bash", notes+"/scripts/save.sh")
	f.want(4, f.open(2.7, 102, notes+"/scripts/save.sh"), "ambiguous notes weather", "alice", "c2")
}

func TestAnInlineCallOfAnotherSkillsScriptIsAmbiguous(t *testing.T) {
	f := newFilm(t)
	f.read(1, "alice", "r1", "c1", weather+"/SKILL.md")
	cmd := notes + "/scripts/save.sh; curl http://198.51.100.1/"
	f.call(2, "alice", "r1", "c2", cmd)
	f.root(2.4, 100, cmd)
	f.fork(2.5, 101, 100)
	f.want(4, f.exec(2.5, 101, 100, workspace, "curl", "http://198.51.100.1/"), "ambiguous weather notes", "alice", "c2")
}

func TestASkillOfAnEarlierRunIsWeak(t *testing.T) {
	f := newFilm(t)
	f.read(1, "alice", "r1", "c1", weather+"/SKILL.md")
	f.call(60, "alice", "r2", "c2", "date")
	f.want(62, f.root(60.5, 100, "date"), "weather weak", "alice", "c2")
	f.call(70, "alice", "r2", "c3", "bash "+weather+"/scripts/run.sh")
	f.want(72, f.root(70.5, 200, "bash "+weather+"/scripts/run.sh"), "weather strong", "alice", "c3")
}

func TestTheGatewaysOwnReadBelongsToTheCallThatNamesThePath(t *testing.T) {
	f := newFilm(t)
	f.read(2, "alice", "r1", "c1", "~/.ssh/id_ed25519")
	f.want(4, f.open(2.3, 10, "/home/dev/.ssh/id_ed25519"), "none", "alice", "c1")
	f.want(6, f.open(4.3, 10, "/home/dev/.ssh/config"), "none", "", "")
	f.push(7, event.ProcID{}, event.ToolResult{Gateway: state, Session: "alice", ID: "c1"})
	f.want(30, f.open(20, 10, "/home/dev/.ssh/id_ed25519"), "none", "", "")
	f.read(40, "alice", "r1", "c2", weather+"/SKILL.md")
	f.want(42, f.open(40.2, 10, weather+"/SKILL.md"), "none", "", "") // by its main thread: it lists the skills
	f.want(44, f.push(42.3, proc(10), event.FileOpen{Path: weather + "/SKILL.md", Read: true, TID: 17}), "weather strong", "alice", "c2")
}

func TestTheServiceShapeIsUnderstood(t *testing.T) {
	f := newFilm(t)
	f.call(1, "alice", "r1", "c1", "date")
	f.fork(1.2, 50, 11)
	f.exec(1.2, 50, 11, "/", "node", "/npm/openclaw/dist/process/supervisor/service-child-relay.js")
	f.fork(1.3, 51, 50)
	relay := f.exec(1.3, 51, 50, "/", "node", "/npm/openclaw/dist/process/supervisor/service-child-group-anchor.js")
	if relay.Role() != event.RoleHelper {
		t.Errorf("the anchor is a %q", relay.Role())
	}
	f.fork(1.4, 52, 51)
	s := f.exec(1.4, 52, 51, workspace, "/bin/bash", "--noprofile", "--norc", "-c", "eval 'unset OPENCLAW_PREPEND_PATH; date'")
	f.want(3, s, "none", "alice", "c1")
}

func TestAReusedPIDInheritsNothing(t *testing.T) {
	f := newFilm(t)
	f.call(1, "alice", "r1", "c1", "date")
	f.root(1.2, 100, "date")
	young := event.ProcID{PID: 100, Start: 9999}
	if s := f.push(5, young, event.Exec{Path: "/usr/bin/ssh", Args: []string{"ssh"}, Parent: event.ProcID{PID: 1, Start: 1}}); s != nil {
		t.Errorf("a stranger under an old PID is a %q", s.Role())
	}
}

func TestWhatOpenClawRunsForItselfIsNoToolCall(t *testing.T) {
	f := newFilm(t)
	for i, args := range [][]string{
		{"/bin/bash", "-l", "-c", `printf '\0'; env -0`},
		{"/bin/bash", "-l", "-c", `env -0`},
		{"/bin/bash", "-i", "-c", "{ :; } # __OPENCLAW_SHELL_SNAPSHOT_CAPTURE__"},
		{"npm", "root", "-g"},
	} {
		pid := int32(300 + i)
		f.fork(1, pid, 10)
		if s := f.exec(1, pid, 10, "/", args...); s.Role() != event.RoleHelper {
			t.Errorf("%q is a %q", args, s.Role())
		}
	}
}

func TestABackgroundCallIsKnownByTheRecordedPID(t *testing.T) {
	f := newFilm(t)
	f.call(1, "alice", "r1", "c1", "sleep 8")
	f.call(1, "bob", "r2", "d1", "sleep 8")
	s := f.root(1.2, 100, "sleep 8")
	f.push(1.5, event.ProcID{}, event.ToolResult{Gateway: state, Session: "bob", ID: "d1", PID: 100, Running: true})
	f.last = event.Event{Time: at(1.2), Proc: proc(100), Body: event.Exec{}}
	f.want(3, s, "none", "bob", "d1")
}

func TestWhatWasLeftBehindBeforeTheStartIsClaimedByItsVariablesOnly(t *testing.T) {
	f := newFilm(t)
	s := f.push(1, proc(77), event.Exec{Path: "/usr/bin/bash", Args: []string{"bash", "/tmp/worker.sh"}, Snapshot: true, Claim: state})
	a := f.want(3, s, "none", "", "")
	if s.Role() != event.RoleTool || a.Gateway != state || a.Evidence[0].Kind != "environment_marker" {
		t.Errorf("a %q of %q, evidence %+v", s.Role(), a.Gateway, a.Evidence)
	}
	f.fork(3, 78, 77)
	if s := f.exec(3, 78, 77, "/", "curl"); s.Role() != event.RoleTool {
		t.Errorf("its child is a %q", s.Role())
	}
}
