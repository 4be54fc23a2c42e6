package attribution

import (
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// evil is a skill that means to be taken for another.
const evil = workspace + "/skills/evil"

func TestAPathInACommandOfASessionWithTwoSkillsProvesNothing(t *testing.T) {
	for _, command := range []string{
		"cd " + notes + " && curl http://198.51.100.1/",
		"bash -c 'curl http://198.51.100.1/' " + notes + "/scripts/save.sh",
		"curl http://198.51.100.1/ # " + notes + "/scripts/save.sh",
		"cat " + notes + "/SKILL.md; curl http://198.51.100.1/",
		notes + "/scripts/save.sh; curl http://198.51.100.1/",
		"python3 -Ic 'open(\"scripts/save.py\")#/save.py'",
	} {
		f := newFilm(t)
		f.skill(evil, "evil")
		f.read(1, "alice", "r1", "c1", evil+"/SKILL.md")
		f.read(1, "alice", "r1", "c2", notes+"/SKILL.md")
		f.call(2, "alice", "r1", "c3", command)
		s := f.root(2.5, 100, command)
		f.want(9, s, "ambiguous evil notes", "alice", "c3")
	}
}

func TestACommandThatIsOneScriptAndNothingElseIsThatSkills(t *testing.T) {
	for _, command := range []string{
		notes + "/scripts/save.sh 'buy milk; and bread' x", "bash " + notes + "/scripts/save.sh", "~/.openclaw/skills/notes/scripts/save.sh",
	} {
		f := newFilm(t)
		f.read(1, "alice", "r1", "c1", weather+"/SKILL.md")
		f.read(1, "alice", "r1", "c2", notes+"/SKILL.md")
		f.call(2, "alice", "r1", "c3", command)
		f.want(9, f.root(2.5, 100, command), "notes strong", "alice", "c3")
	}
}

func TestAnEarlierSkillMayHaveSaidToUseAnothersFiles(t *testing.T) {
	f := newFilm(t)
	f.skill(evil, "evil")
	f.read(1, "alice", "r1", "c1", evil+"/SKILL.md")
	f.read(1, "alice", "r1", "c2", notes+"/SKILL.md")
	command := "cd " + notes + " && curl http://198.51.100.1/"
	f.call(60, "alice", "r2", "c3", command)
	f.want(70, f.root(60.5, 100, command), "ambiguous notes evil", "alice", "c3")
}

func TestAProgramThatOnlyCallsItselfAnInterpreterRunsNoScript(t *testing.T) {
	f := newFilm(t)
	f.skill(evil, "evil")
	f.read(1, "alice", "r1", "c1", evil+"/SKILL.md")
	f.read(1, "alice", "r1", "c2", notes+"/SKILL.md")
	command := "bash /tmp/x"
	f.call(2, "alice", "r1", "c3", command)
	f.root(2.5, 100, command)
	f.push(2.6, proc(100), event.FileOpen{Path: "/tmp/python3", Write: true, Create: true})
	for i, exe := range []string{"/tmp/y", "/tmp/python3"} { // the one lies with its arguments, the other with its name
		pid := int32(101 + i)
		f.fork(2.6, pid, 100)
		f.push(2.6, proc(pid), event.Exec{Path: exe, Args: []string{"bash", notes + "/scripts/save.sh"}, Cwd: workspace, Parent: proc(100)})
		s := f.open(2.7, pid, notes+"/scripts/save.sh")
		f.want(9, s, "ambiguous evil notes", "alice", "c3")
	}
}

func TestWhatASkillIsReadByACommandCountsOnceItWasOpened(t *testing.T) {
	f := newFilm(t)
	f.call(1, "alice", "r1", "c1", "cat "+notes+"/SKILL.md")
	f.root(1.5, 100, "cat "+notes+"/SKILL.md")
	f.call(5, "alice", "r1", "c2", "date")
	s := f.root(5.5, 200, "date")
	exec := f.last
	f.want(7, s, "notes weak", "alice", "c2")
	f.open(7, 100, notes+"/SKILL.md")
	f.last = exec
	f.want(8, s, "notes strong", "alice", "c2")
}

func TestASkillReadByACommandDoesNotHideAnEarlierOne(t *testing.T) {
	f := newFilm(t)
	f.skill(evil, "evil")
	f.read(1, "alice", "r1", "c1", evil+"/SKILL.md")
	f.call(60, "alice", "r2", "c2", "cat "+notes+"/SKILL.md")
	f.root(60.5, 100, "cat "+notes+"/SKILL.md")
	f.open(60.6, 100, notes+"/SKILL.md")
	f.call(65, "alice", "r2", "c3", "date")
	f.want(70, f.root(65.5, 200, "date"), "ambiguous evil notes", "alice", "c3")
}

func TestAScriptThatAnotherSkillChangedIsNotItsOwnAnyMore(t *testing.T) {
	f := newFilm(t)
	f.skill(evil, "evil")
	f.read(1, "eve", "r1", "c1", evil+"/SKILL.md")
	f.call(2, "eve", "r1", "c2", evil+"/scripts/x.sh")
	f.root(2.5, 100, evil+"/scripts/x.sh")
	f.push(3, proc(100), event.FileOpen{Path: notes + "/scripts/save.sh", Write: true})
	use := func(sec float64, pid int32, id string) *Scope {
		f.call(sec, "alice", "r2", id, notes+"/scripts/save.sh "+id)
		f.root(sec+0.5, pid, notes+"/scripts/save.sh "+id)
		f.exec(sec+0.6, pid, 11, workspace, "/bin/bash", notes+"/scripts/save.sh")
		return f.open(sec+0.7, pid, notes+"/scripts/save.sh")
	}
	f.read(10, "alice", "r2", "d1", notes+"/SKILL.md")
	s := use(11, 200, "d2")
	a := f.want(15, s, "ambiguous notes evil", "alice", "d2")
	if !has(a, "script_written_by") {
		t.Errorf("evidence %+v", a.Evidence)
	}
	// That it then writes to itself does not make it its own again.
	f.push(16, event.ProcID{}, event.Skill{Gateway: state, Change: event.Updated, ID: event.SkillID{Name: "notes", Dir: notes, SHA256: "n2"}})
	f.push(16, proc(200), event.FileOpen{Path: notes + "/scripts/save.sh", Write: true})
	f.want(30, use(20, 300, "d3"), "ambiguous notes evil", "alice", "d3")
}

func TestAScriptIsItsOwnAgainWhenItsFilesAre(t *testing.T) {
	f := newFilm(t)
	f.push(0, event.ProcID{}, event.Skill{Gateway: state, ID: event.SkillID{Name: "notes", Dir: notes, SHA256: "n1"}})
	f.read(1, "eve", "r1", "c1", weather+"/SKILL.md")
	f.call(2, "eve", "r1", "c2", "date")
	f.root(2.5, 100, "date")
	f.push(3, proc(100), event.FileRename{Old: "/tmp/x", New: notes + "/scripts"})
	f.push(4, event.ProcID{}, event.Skill{Gateway: state, Change: event.Updated, ID: event.SkillID{Name: "notes", Dir: notes, SHA256: "n2"}})
	f.push(5, event.ProcID{}, event.Skill{Gateway: state, Change: event.Updated, ID: event.SkillID{Name: "notes", Dir: notes, SHA256: "n1"}})
	f.read(10, "alice", "r2", "d1", notes+"/SKILL.md")
	f.call(11, "alice", "r2", "d2", notes+"/scripts/save.sh")
	f.root(11.5, 200, notes+"/scripts/save.sh")
	f.exec(11.6, 200, 11, workspace, "/bin/bash", notes+"/scripts/save.sh")
	f.want(15, f.open(11.7, 200, notes+"/scripts/save.sh"), "notes certain", "alice", "d2")
}

func TestASkillBehindALinkIsOneSkill(t *testing.T) {
	f := newFilm(t)
	real, link := "/home/dev/src/linked", workspace+"/skills/linked"
	f.push(0, event.ProcID{}, event.Skill{Gateway: state, ID: event.SkillID{Name: "linked", Dir: real}, Links: []string{link}})
	for i, dir := range []string{link, real} {
		session, pid := string(rune('a'+i)), int32(100*(i+1))
		f.read(1, session, "r1", "c1", dir+"/SKILL.md")
		f.call(2, session, "r1", "c2", "bash "+dir+"/scripts/run.sh")
		f.root(2.5, pid, "bash "+dir+"/scripts/run.sh")
		f.exec(2.6, pid, 11, workspace, "/bin/bash", dir+"/scripts/run.sh")
		s := f.open(2.7, pid, real+"/scripts/run.sh")
		if a := f.want(5, s, "linked certain", session, "c2"); a.Skill.Dir != real {
			t.Errorf("it is in %s", a.Skill.Dir)
		}
	}
}

func TestANameThatSeveralSkillsClaimIsThatOfTheDirectory(t *testing.T) {
	f := newFilm(t)
	f.skill(evil, "weather")
	f.read(1, "alice", "r1", "c1", evil+"/SKILL.md")
	f.call(2, "alice", "r1", "c2", "date")
	f.want(5, f.root(2.5, 100, "date"), "evil strong", "alice", "c2")
	f.read(1, "bob", "r2", "d1", weather+"/SKILL.md")
	f.call(2, "bob", "r2", "d2", "uptime")
	f.want(5, f.root(2.6, 200, "uptime"), "weather strong", "bob", "d2")
	f.push(6, event.ProcID{}, event.Skill{Gateway: state, Change: event.Removed, ID: event.SkillID{Name: "weather", Dir: weather}})
	f.read(7, "carl", "r3", "e1", evil+"/SKILL.md")
	f.call(8, "carl", "r3", "e2", "id")
	f.want(12, f.root(8.5, 300, "id"), "weather strong", "carl", "e2")
}

func TestASkillThatChangedSinceItWasReadIsSaidToHave(t *testing.T) {
	f := newFilm(t)
	f.push(0, event.ProcID{}, event.Skill{Gateway: state, ID: event.SkillID{Name: "notes", Dir: notes, SHA256: "n1"}})
	f.read(1, "alice", "r1", "c1", notes+"/SKILL.md")
	f.call(2, "alice", "r1", "c2", "date")
	s := f.root(2.5, 100, "date")
	exec := f.last
	if a := f.want(4, s, "notes strong", "alice", "c2"); has(a, "skill_changed") {
		t.Errorf("evidence %+v", a.Evidence)
	}
	f.push(5, event.ProcID{}, event.Skill{Gateway: state, Change: event.Updated, ID: event.SkillID{Name: "notes", Dir: notes, SHA256: "n2"}})
	f.last = exec
	if a := f.want(6, s, "notes strong", "alice", "c2"); a.Skill.SHA256 != "n1" || !has(a, "skill_changed") {
		t.Errorf("%+v", a)
	}
}

// Who has the records open can write at any moment, and so can what it forks; what
// is told by the kernel meanwhile can be older than the clock of the last tick.
func TestRowsAreInDoubtAsLongAsSomebodyElseHasTheRecordsOpen(t *testing.T) {
	const jsonl, db = state + "/agents/main/sessions/s.jsonl", state + "/agents/main/agent/openclaw-agent.sqlite"
	for _, tt := range []struct {
		name   string
		acts   func(*film)
		unread float64
		read   float64
		want   string
	}{
		{"nobody", func(*film) {}, 30, 30.1, "notes strong"},
		{"a reader that ended", func(f *film) { f.push(20, proc(101), event.Exit{}) }, 29, 30.1, "notes strong"},
		{"one that goes on", func(f *film) { f.update(3, 101, db) }, 29, 30.1, "ambiguous notes"},
		{"one that ended long ago", func(f *film) { f.update(3, 101, db); f.push(20, proc(101), event.Exit{}) }, 29, 30.1, "notes strong"},
		{"one that ended, and the records were not read since", func(f *film) { f.update(3, 101, db); f.push(29, proc(101), event.Exit{}) }, 2, 30.1, "ambiguous notes"},
		{"its child", func(f *film) { f.update(3, 101, db); f.fork(4, 102, 101); f.push(5, proc(101), event.Exit{}) }, 29, 30.1, "ambiguous notes"},
		{"one that wrote lines", func(f *film) {
			f.push(29.5, proc(101), event.FileOpen{Path: jsonl, Write: true, Emptied: true})
		}, 29, 30.1, "ambiguous notes"},
		{"one that wrote keys of sessions", func(f *film) {
			f.push(29.5, proc(101), event.FileRename{Old: "/tmp/x", New: state + "/agents/main/sessions/sessions.json"})
		}, 29, 30.1, "ambiguous notes"},
		{"one that wrote before they were last read", func(f *film) { f.push(20, proc(101), event.FileOpen{Path: jsonl, Write: true, Emptied: true}) }, 29, 30.1, "notes strong"},
		{"one that wrote, and a reader that is behind", func(f *film) { f.push(20, proc(101), event.FileOpen{Path: jsonl, Write: true, Emptied: true}) }, 10, 30.1, "ambiguous notes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFilm(t)
			f.call(1, "mallory", "m1", "m1", "sleep 100")
			f.root(1.5, 101, "sleep 100")
			tt.acts(f)
			f.e.Tick(at(29.99)) // the last tick before
			f.e.Observe(event.Event{Time: at(30), Body: event.ToolCall{
				Gateway: state, Session: "alice", SessionKey: "agent:main:alice", Run: "r1", ID: "c1", Name: "read", Paths: []string{notes + "/SKILL.md"},
				Unread: at(tt.unread), Read: at(tt.read),
			}})
			f.push(30.6, event.ProcID{}, event.ToolCall{
				Gateway: state, Session: "alice", SessionKey: "agent:main:alice", Run: "r1", ID: "c2", Name: "exec", Command: "date", Unread: at(30.5), Read: at(30.6),
			})
			f.want(31.9, f.root(31, 300, "date"), tt.want, "alice", "c2")
		})
	}
}

// What is written into lines of JSON says nothing of the rows of a database, and the
// other way about it may.
func TestRowsOfADatabaseAreNotInDoubtForLines(t *testing.T) {
	const jsonl, db = state + "/agents/main/sessions/s.jsonl", state + "/agents/main/agent/openclaw-agent.sqlite-wal"
	for _, tt := range []struct {
		name  string
		files []string
		rows  bool // of the database
		want  string
	}{
		{"lines, and a row", []string{jsonl}, true, "notes strong"},
		{"lines, and a line", []string{jsonl}, false, "ambiguous notes"},
		{"the database, and a row", []string{db}, true, "ambiguous notes"},
		{"both, and a row", []string{jsonl, db}, true, "ambiguous notes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFilm(t)
			f.call(1, "mallory", "m1", "m1", "sleep 100")
			f.root(1.5, 101, "sleep 100")
			call := func(sec float64, id, name, command string, paths ...string) {
				f.push(sec, event.ProcID{}, event.ToolCall{
					Gateway: state, Session: "alice", SessionKey: "agent:main:alice", Run: "r1", ID: id, Name: name, Command: command, Paths: paths,
					Unread: at(sec - 1), Read: at(sec), Database: tt.rows,
				})
			}
			for _, file := range tt.files {
				f.push(29.5, proc(101), event.FileOpen{Path: file, Write: true})
				f.push(29.6, proc(101), event.FileUse{Path: file, BytesWritten: 5, Opened: true})
			}
			call(30, "c1", "read", "", notes+"/SKILL.md")
			call(30.6, "c2", "exec", "date")
			f.want(31.9, f.root(31, 300, "date"), tt.want, "alice", "c2")
		})
	}
}

// A command that makes a skill names it, and is not for it.
func TestASkillThatACommandMakesIsNoReasonForIt(t *testing.T) {
	const made = workspace + "/skills/made"
	for _, tt := range []struct {
		name string
		came float64 // when the skill was told of
		want string
	}{{"later", 3, "notes strong"}, {"before", 1.5, "ambiguous notes made"}} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFilm(t)
			command := "mkdir " + made + "; date > " + made + "/SKILL.md"
			f.read(1, "alice", "r1", "c1", notes+"/SKILL.md")
			skill := func() {
				f.push(tt.came, event.ProcID{}, event.Skill{Gateway: state, Change: event.Installed, ID: event.SkillID{Name: "made", Dir: made}})
			}
			if tt.came < 2 {
				skill()
			}
			f.call(2, "alice", "r1", "c2", command)
			s := f.root(2.5, 100, command)
			exec := f.last
			if tt.came > 2 {
				skill()
			}
			f.last = exec
			f.want(4, s, tt.want, "alice", "c2")
		})
	}
}

// A flood of commands that open the records, and one that opens those of two
// gateways, neither hide one that has them open nor leave them in doubt for good.
func TestAFloodOfWhoHasTheRecordsOpenPasses(t *testing.T) {
	const other = "/home/dev/.other"
	db := func(of string) string { return of + "/agents/main/agent/openclaw-agent.sqlite" }
	f := newFilm(t)
	f.push(0, proc(20), event.GatewayFound{ID: other, Role: event.RoleGateway, StateDir: other, Home: "/home/dev"})
	ask := func(sec float64, id, want string) {
		t.Helper()
		f.read(sec, "alice", id, "read-"+id, notes+"/SKILL.md")
		f.call(sec+0.2, "alice", id, "exec-"+id, "date "+id)
		f.want(sec+2, f.root(sec+0.5, int32(90000+sec), "date "+id), want, "alice", "exec-"+id)
	}
	open := func(sec float64, pid int32, file string) { f.update(sec, pid, file) }
	for i := range int32(maxForgeries + 10) {
		f.root(1, 1000+i, "sleep")
		open(1, 1000+i, db(state))
		open(1, 1000+i, db(other))
		f.push(1.1, proc(1000+i), event.Exit{})
	}
	ask(20, "r1", "notes strong")
	f.root(30, 5000, "sleep")
	open(30, 5000, db(state))
	ask(50, "r2", "ambiguous notes")
	f.push(60, proc(5000), event.Exit{})
	ask(80, "r3", "notes strong")
	if len(f.e.holding) != 0 {
		t.Errorf("%d processes still hold something", len(f.e.holding))
	}
	if g := f.e.gateways[other]; len(g.forgery.opened) == 0 {
		t.Error("who opened the records of another gateway than its own is not known")
	}
}

func has(a *event.Attribution, kind string) bool {
	for _, e := range a.Evidence {
		if e.Kind == kind {
			return true
		}
	}
	return false
}

// A skill writes rows that say its session, in the run to come, read another
// skill and nothing else.
func TestRowsThatCameWhileACommandWroteThemProveNothing(t *testing.T) {
	const db = state + "/agents/main/agent/openclaw-agent.sqlite"
	f := newFilm(t)
	f.skill(evil, "evil")
	f.read(1, "alice", "r1", "c1", evil+"/SKILL.md")
	f.call(2, "alice", "r1", "c2", evil+"/scripts/x.sh")
	f.root(2.5, 100, evil+"/scripts/x.sh")
	f.push(3, proc(100), event.FileOpen{Path: db, Read: true, Write: true})
	f.read(4, "alice", "r1", "early", weather+"/SKILL.md")
	f.want(5, nil, "ambiguous weather", "alice", "early") // it can be known only later whether it wrote
	f.read(30, "alice", "r2", "forged", notes+"/SKILL.md")
	f.call(30.2, "alice", "r2", "c3", "date")
	s := f.root(30.5, 200, "date")
	exec := f.last
	f.want(31.5, s, "ambiguous notes evil weather", "alice", "c3") // it is still open
	f.push(32, proc(100), event.FileUse{Path: db + "-wal", BytesWritten: 4096, Opened: true})
	f.last = exec
	if a := f.want(33, s, "ambiguous notes evil weather", "alice", "c3"); !has(a, "records_in_doubt") {
		t.Errorf("evidence %+v", a.Evidence)
	}
	if roots := f.e.Amended(); len(roots) != 1 || roots[0] != proc(200) {
		t.Errorf("amended %v", roots)
	}
	f.push(34, proc(100), event.Exit{})
	f.read(50, "alice", "r3", "c4", weather+"/SKILL.md")
	f.call(51, "alice", "r3", "c5", "uptime")
	f.want(55, f.root(51.5, 300, "uptime"), "weather strong", "alice", "c5")
}

func TestARowThatLiesBeforeOthersOfItsSessionProvesNothing(t *testing.T) {
	f := newFilm(t)
	f.skill(evil, "evil")
	f.read(1, "alice", "r1", "c1", evil+"/SKILL.md")
	f.call(60, "alice", "r2", "c2", "date")
	f.e.Tick(at(61))
	f.e.Observe(event.Event{Time: at(55), Body: event.ToolCall{ // written when the call was there
		Gateway: state, Session: "alice", SessionKey: "agent:main:alice", Run: "r2", ID: "c1b", Name: "read", Paths: []string{notes + "/SKILL.md"},
	}})
	f.want(65, f.root(62, 100, "date"), "ambiguous notes evil", "alice", "c2")
}

func TestASubAgentsChildWorksForWhatItsGrandparentRead(t *testing.T) {
	f := newFilm(t)
	f.read(1, "top", "r1", "c1", notes+"/SKILL.md")
	for i, s := range []string{"middle", "leaf"} {
		parent := "agent:main:" + []string{"top", "middle"}[i]
		f.push(2, event.ProcID{}, event.SessionStart{Gateway: state, Session: s, SessionKey: "agent:main:" + s, ParentKey: parent, StartedAt: at(2)})
	}
	f.call(3, "leaf", "r2", "c2", "date")
	f.want(6, f.root(3.5, 100, "date"), "notes weak", "leaf", "c2")
	f.call(7, "leaf", "r2", "c3", "bash "+notes+"/scripts/save.sh")
	f.want(12, f.root(7.5, 200, "bash "+notes+"/scripts/save.sh"), "notes strong", "leaf", "c3")
}

func TestASubAgentWorksForWhatWasReadInTheRunThatSpawnedIt(t *testing.T) {
	for _, tt := range []struct {
		name, first, later string
		before             func(*film)
	}{
		{"read in that run", "notes strong", "notes weak", func(f *film) { f.read(1, "boss", "r1", "c1", notes+"/SKILL.md") }},
		{"read in the run before", "notes weak", "notes weak", func(f *film) { f.read(1, "boss", "r0", "c1", notes+"/SKILL.md") }},
		{"two read in that run", "ambiguous notes weather", "ambiguous notes weather", func(f *film) {
			f.read(1, "boss", "r1", "c1", notes+"/SKILL.md")
			f.read(1.2, "boss", "r1", "c2", weather+"/SKILL.md")
		}},
		{"read after it was spawned", "notes weak", "notes weak", func(f *film) { f.read(2.8, "boss", "r1", "c1", notes+"/SKILL.md") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFilm(t)
			tt.before(f)
			f.e.Observe(event.Event{Time: at(2), Body: event.ToolCall{Gateway: state, Session: "boss", SessionKey: "agent:main:boss", Run: "r1", ID: "spawn", Name: "sessions_spawn"}})
			f.push(2.9, event.ProcID{}, event.SessionStart{Gateway: state, Session: "child", SessionKey: "agent:main:child", ParentKey: "agent:main:boss", StartedAt: at(2.5)})
			f.call(3, "child", "k1", "d1", "date")
			f.want(6, f.root(3.5, 100, "date"), tt.first, "child", "d1")
			f.call(7, "child", "k2", "d2", "uptime") // the boss wrote once more
			f.want(12, f.root(7.5, 200, "uptime"), tt.later, "child", "d2")
		})
	}
}

func TestALoopOfParentsEnds(t *testing.T) {
	f := newFilm(t)
	for i, s := range []string{"a", "b"} {
		f.push(1, event.ProcID{}, event.SessionStart{Gateway: state, Session: s, SessionKey: "agent:main:" + s, ParentKey: "agent:main:" + []string{"b", "a"}[i], StartedAt: at(1)})
	}
	f.call(3, "a", "r2", "c2", "date")
	f.want(6, f.root(3.5, 100, "date"), "none", "a", "c2")
}

func TestTheGatewaysReadOfOnePathForTwoCallsIsAmbiguous(t *testing.T) {
	f := newFilm(t)
	f.read(1, "alice", "r1", "c1", weather+"/SKILL.md")
	f.read(1, "bob", "r2", "d1", notes+"/SKILL.md")
	f.read(2, "alice", "r1", "c2", "/home/dev/plan.txt")
	f.read(2.1, "bob", "r2", "d2", "/home/dev/plan.txt")
	f.want(5, f.open(2.3, 10, "/home/dev/plan.txt"), "ambiguous weather notes", "", "")
}

func TestAFloodOfChangesLeavesDoubtForTheWholeSkill(t *testing.T) {
	f := newFilm(t)
	f.read(1, "eve", "r1", "c1", weather+"/SKILL.md")
	f.call(2, "eve", "r1", "c2", "date")
	f.root(2.5, 100, "date")
	for i := range maxRan + 10 {
		f.push(3, proc(100), event.FileOpen{Path: notes + "/" + strings.Repeat("x", 1+i%200) + "/" + time.Duration(i).String(), Write: true, Create: true})
	}
	f.push(4, proc(100), event.FileOpen{Path: notes + "/scripts/save.sh", Write: true})
	f.read(10, "alice", "r2", "d1", notes+"/SKILL.md")
	f.call(11, "alice", "r2", "d2", notes+"/scripts/save.sh")
	f.root(11.5, 200, notes+"/scripts/save.sh")
	f.exec(11.6, 200, 11, workspace, "/bin/bash", notes+"/scripts/save.sh")
	f.want(15, f.open(11.7, 200, notes+"/scripts/save.sh"), "ambiguous notes weather", "alice", "d2")
}

func TestACommandBesideALivingGatewayRunsNoRecordedCall(t *testing.T) {
	for _, alive := range []bool{true, false} {
		f := newFilm(t)
		f.push(0, proc(20), event.GatewayFound{ID: state, Role: event.RoleCLI, StateDir: state, Home: "/home/dev"})
		if !alive {
			f.push(0.5, proc(10), event.Exit{})
		}
		f.read(1, "alice", "r1", "c1", notes+"/SKILL.md")
		f.call(2, "alice", "r1", "c2", "date")
		f.fork(2.5, 100, 20)
		s := f.exec(2.5, 100, 20, workspace, "/bin/bash", "--noprofile", "--norc", "-c", "eval 'unset OPENCLAW_PREPEND_PATH; date'")
		if alive {
			f.want(9, s, "none", "", "")
		} else {
			f.want(9, s, "notes strong", "alice", "c2")
		}
	}
}

// A process that ran before it was looked at belongs to a call that was made
// before it began and had not ended then.
func TestWhatRanBeforeIsMatchedByWhenItBegan(t *testing.T) {
	args := []string{"/bin/bash", "--noprofile", "--norc", "-c", "eval 'unset OPENCLAW_PREPEND_PATH; sleep 600'"}
	for _, pid := range []int32{100, 101} { // one that a record names, and one of which only the time is known
		f := newFilm(t)
		f.read(1, "bob", "r1", "b1", notes+"/SKILL.md")
		f.read(1, "alice", "r2", "a1", weather+"/SKILL.md")
		f.call(2, "bob", "r1", "b2", "sleep 600") // it ran earlier, and has ended
		f.push(3, event.ProcID{}, event.ToolResult{Gateway: state, Session: "bob", ID: "b2", Backfill: true})
		f.call(10, "alice", "r2", "a2", "sleep 600")
		if pid == 100 {
			f.push(11, event.ProcID{}, event.ToolResult{Gateway: state, Session: "alice", ID: "a2", PID: 100, Running: true, Backfill: true})
		}
		f.call(20, "carol", "r3", "c2", "sleep 600") // after it
		s := f.push(100, proc(pid), event.Exec{Path: "/bin/bash", Args: args, Cwd: workspace, Parent: proc(11), Snapshot: true, Began: at(10.5)})
		f.want(110, s, "weather strong", "alice", "a2")
	}
}

func TestWhatWasRecordedBeforeARestartIsRemembered(t *testing.T) {
	known := &event.Attribution{
		Gateway: state, Session: "alice", ToolCall: "c2", Skill: &event.SkillID{Name: "notes", Dir: notes}, Confidence: event.Certain,
		Evidence: []event.Evidence{{Kind: "script_path", Detail: "as it was"}},
	}
	f := newFilm(t)
	s := f.push(1, proc(77), event.Exec{Path: "/usr/bin/bash", Args: []string{"bash", "/tmp/worker.sh"}, Snapshot: true, Known: known})
	a := f.want(2, s, "notes strong", "alice", "c2")
	if s.Role() != event.RoleTool || a.Gateway != state || !has(a, "remembered") || !has(a, "script_path") || known.Confidence != event.Certain {
		t.Errorf("a %q of %q, evidence %+v", s.Role(), a.Gateway, a.Evidence)
	}
	f.fork(3, 78, 77)
	f.want(4, f.exec(3, 78, 77, "/", "curl"), "notes strong", "alice", "c2")
	f.exec(5, 78, 77, "/", "/bin/bash", weather+"/scripts/w.sh")
	f.want(8, f.open(5.1, 78, weather+"/scripts/w.sh"), "ambiguous weather notes", "alice", "c2")
	f.exec(9, 78, 77, "/", "/bin/bash", notes+"/scripts/w.sh")
	if a := f.want(12, f.open(9.1, 78, notes+"/scripts/w.sh"), "ambiguous notes weather", "alice", "c2"); a.Skill != nil {
		t.Error(a)
	}
}

// The path of a skill's script can lead elsewhere: by a link that another skill
// made, or that was there before anybody watched.
func TestAScriptsPathThatLeadsElsewhereProvesNothing(t *testing.T) {
	for _, seen := range []bool{true, false} {
		f := newFilm(t)
		f.skill(evil, "evil")
		f.read(1, "alice", "r1", "c1", evil+"/SKILL.md")
		f.read(1, "alice", "r1", "c2", notes+"/SKILL.md")
		if seen {
			f.call(2, "alice", "r1", "c3", "date")
			f.root(2.5, 90, "date")
			f.push(3, proc(90), event.FileLink{Path: notes + "/scripts/y"})
		}
		f.call(5, "alice", "r1", "c4", notes+"/scripts/y")
		f.root(5.5, 100, notes+"/scripts/y")
		f.fork(5.6, 101, 100)
		s := f.push(5.7, proc(101), event.Exec{Path: "/tmp/y", Args: []string{notes + "/scripts/y"}, Cwd: workspace, Parent: proc(100)})
		f.want(9, s, "ambiguous evil notes", "alice", "c4")
		f.call(15, "alice", "r1", "c5", notes+"/scripts/y 2")
		f.root(15.5, 200, notes+"/scripts/y 2")
		s = f.push(15.7, proc(200), event.Exec{Path: "/tmp/y", Args: []string{notes + "/scripts/y"}, Cwd: workspace, Parent: proc(11)}) // in the shell's place
		f.want(19, s, "ambiguous evil notes", "alice", "c5")
	}
}

func TestAVariableCanLetAnotherSkillsCodeIntoAScript(t *testing.T) {
	for _, tt := range []struct {
		root, script []string
		want         string
	}{
		{[]string{"HOME"}, []string{"HOME"}, "notes strong"},
		{[]string{"HOME"}, []string{"HOME", "BASH_ENV"}, "ambiguous notes evil"},
		{[]string{"HOME", "LD_LIBRARY_PATH"}, []string{"HOME", "LD_LIBRARY_PATH"}, "notes strong"}, // the gateway has it
	} {
		f := newFilm(t)
		f.skill(evil, "evil")
		f.read(1, "alice", "r1", "c1", evil+"/SKILL.md")
		f.read(1, "alice", "r1", "c2", notes+"/SKILL.md")
		f.call(2, "alice", "r1", "c3", "x=1 "+notes+"/scripts/save.sh")
		f.fork(2.5, 100, 11)
		f.push(2.5, proc(100), event.Exec{
			Path: "/bin/bash", Args: []string{"/bin/bash", "-c", "eval 'unset OPENCLAW_PREPEND_PATH; x=1 " + notes + "/scripts/save.sh'"},
			Cwd: workspace, Parent: proc(11), EnvNames: tt.root,
		})
		f.push(2.6, proc(100), event.Exec{Path: "/bin/bash", Args: []string{"bash", notes + "/scripts/save.sh"}, Cwd: workspace, Parent: proc(11), EnvNames: tt.script})
		f.want(9, f.open(2.7, 100, notes+"/scripts/save.sh"), tt.want, "alice", "c3")
	}
}

func TestACommandsOwnFilesAreAToolCallsOnlyWithoutAGateway(t *testing.T) {
	f := newFilm(t)
	f.push(0, proc(20), event.GatewayFound{ID: state, Role: event.RoleCLI, StateDir: state, Home: "/home/dev"})
	f.read(2, "alice", "r1", "c1", "~/.ssh/id_ed25519")
	f.want(4, f.open(2.3, 20, "/home/dev/.ssh/id_ed25519"), "none", "", "")
	f.push(5, proc(10), event.Exit{})
	f.read(6, "bob", "r1", "d1", "~/.ssh/id_rsa")
	f.want(8, f.open(6.3, 20, "/home/dev/.ssh/id_rsa"), "none", "bob", "d1")
}

// Three processes ran a command that was recorded twice. Only together do the two
// calls show that one row is missing: it may be that of any of them.
func TestMoreProcessesThanCallsAreInDoubtHoweverTheyAreLinked(t *testing.T) {
	f := newFilm(t)
	f.call(8.75, "dave", "r1", "c5", "date")
	f.root(8.8, 105, "date") // another session's, without a row
	exec := f.last
	s := f.e.Scope(proc(105))
	f.root(9.05, 107, "date")
	f.call(9.0625, "dave", "r1", "c7", "date")
	f.push(9.3, event.ProcID{}, event.ToolResult{Gateway: state, Session: "dave", ID: "c5"})
	f.root(9.3635, 109, "date")
	f.e.Tick(at(11))
	f.last = exec
	f.want(20, s, "none", "", "")
}
