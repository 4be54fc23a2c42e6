package attribution

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
)

// leaves has a tool call of a skill write a file by a script of its own.
func (f *film) leaves(sec float64, skill string, pid int32, files ...string) {
	session := fmt.Sprint("s", pid)
	f.read(sec-0.1, session, "r", "read", skill+"/SKILL.md")
	command := "bash " + skill + "/scripts/run.sh"
	f.call(sec, session, "r", fmt.Sprint("call", pid), command)
	f.root(sec+0.5, pid, command)
	f.fork(sec+0.5, pid+1, pid)
	f.exec(sec+0.5, pid+1, pid, workspace, "/bin/bash", skill+"/scripts/run.sh")
	f.open(sec+0.5, pid+1, skill+"/scripts/run.sh")
	for _, file := range files {
		f.push(sec+0.6, proc(pid+1), event.FileOpen{Path: file, File: key(file), Write: true, Create: true})
	}
	f.e.Tick(at(sec + 2))
}

// changes has it append to a file that is there.
func (f *film) changes(sec float64, skill string, pid int32, file string) {
	f.leaves(sec, skill, pid)
	f.push(sec+0.7, proc(pid+1), event.FileOpen{Path: file, File: key(file), Write: true})
}

// key makes a file's identity of its first name.
func key(file string) event.FileKey {
	k := event.FileKey{Dev: 1}
	for _, c := range []byte(file) {
		k.Inode = k.Inode*31 + uint64(c)
	}
	return k
}

func (f *film) heir(sec float64, pid int32, h event.Heir) *Scope {
	return f.push(sec, proc(pid), h)
}

const dropped = "/home/dev/.local/bin/helper"

func ran(file string) event.Heir {
	return event.Heir{File: key(file), Path: file, Program: true, Comm: "helper"}
}

func evidence(a *event.Attribution, kind string) string {
	var all []string
	for _, e := range a.Evidence {
		if e.Kind == kind {
			all = append(all, e.Detail)
		}
	}
	return strings.Join(all, "\n")
}

func TestWhoRunsWhatASkillLeftActsForThatSkill(t *testing.T) {
	f := newFilm(t)
	f.leaves(1, weather, 100, dropped)
	s := f.heir(100, 900, ran(dropped))
	a := f.want(102, s, "weather strong", "s100", "call100")
	if got := evidence(a, "file_provenance"); !strings.Contains(got, dropped) || !strings.Contains(got, "call100 of skill weather (certain)") {
		t.Errorf("provenance is told as %q", got)
	}
	if got := evidence(a, "heir"); !strings.Contains(got, "process 900 (helper), outside of OpenClaw's trees, runs that file") {
		t.Errorf("the heir is told as %q", got)
	}
	f.fork(103, 901, 900)
	child := f.exec(103, 901, 900, "/", "curl", "http://198.51.100.1/")
	f.want(104, child, "weather strong", "s100", "call100")
	if child.Role() != event.RoleHeir {
		t.Errorf("what it forks is %q", child.Role())
	}
}

func TestWhoTakesInWhatASkillLeftIsWeaklyItsOwn(t *testing.T) {
	f := newFilm(t)
	f.leaves(1, weather, 100, "/home/dev/.bash_aliases")
	s := f.heir(100, 900, event.Heir{File: key("/home/dev/.bash_aliases"), Path: "/home/dev/.bash_aliases", Comm: "bash"})
	f.want(102, s, "weather weak", "s100", "call100")
}

func TestWhatOthersChangedSinceIsWeak(t *testing.T) {
	f := newFilm(t)
	f.leaves(1, weather, 100, dropped)
	h := ran(dropped)
	h.Changed = true
	f.want(102, f.heir(100, 900, h), "weather weak", "s100", "call100")
}

func TestWhatTwoSkillsWroteIsAmbiguous(t *testing.T) {
	f := newFilm(t)
	f.leaves(1, weather, 100, dropped)
	f.changes(10, notes, 200, dropped)
	a := f.want(102, f.heir(100, 900, ran(dropped)), "ambiguous notes weather", "", "")
	if got := evidence(a, "file_provenance"); !strings.Contains(got, "call100 of skill weather") {
		t.Errorf("nothing says who wrote it first: %q", got)
	}
}

func TestWhatASkillWroteAnewIsItsOwn(t *testing.T) {
	f := newFilm(t)
	f.leaves(1, weather, 100, dropped)
	f.leaves(10, notes, 200, dropped)
	f.want(102, f.heir(100, 900, ran(dropped)), "notes strong", "s200", "call200")
}

func TestAFileKeepsItsStoryThroughNames(t *testing.T) {
	f := newFilm(t)
	f.leaves(1, weather, 100, "/tmp/x")
	f.push(2, proc(101), event.FileRename{Old: "/tmp/x", New: dropped})
	f.push(2, proc(101), event.FileLink{Old: dropped, Path: "/tmp/second"})
	f.push(2, proc(101), event.FileDelete{Path: dropped})
	// neither name nor number of the first file is needed
	f.want(102, f.heir(100, 900, event.Heir{Path: "/tmp/second", Program: true}), "weather strong", "s100", "call100")
	if f.heir(100, 901, event.Heir{File: event.FileKey{Dev: 1, Inode: 1}, Path: dropped, Program: true}) != nil {
		t.Error("a file that took a name which is free again is taken for the one that had it")
	}
}

func TestAnHeirLeavesHeirs(t *testing.T) {
	f := newFilm(t)
	f.leaves(1, weather, 100, dropped)
	f.heir(100, 900, ran(dropped))
	f.push(101, proc(900), event.FileOpen{Path: "/tmp/next", File: key("/tmp/next"), Write: true, Create: true})
	s := f.heir(200, 950, ran("/tmp/next"))
	a := f.want(202, s, "weather strong", "s100", "call100")
	if got := evidence(a, "file_provenance"); !strings.Contains(got, "/tmp/next") || !strings.Contains(got, dropped) {
		t.Errorf("the chain is told as %q", got)
	}
}

func TestChainsOfFilesEnd(t *testing.T) {
	f := newFilm(t)
	f.leaves(1, weather, 100, "/tmp/0")
	last := 0
	for i := range int32(40) {
		file := fmt.Sprint("/tmp/", i)
		if f.heir(100+float64(i), 900+i, ran(file)) == nil {
			break
		}
		last = int(i)
		next := fmt.Sprint("/tmp/", i+1)
		f.push(100+float64(i), proc(900+i), event.FileOpen{Path: next, File: key(next), Write: true, Create: true})
	}
	if last != maxHops {
		t.Errorf("the chain ends after %d steps, want %d", last, maxHops)
	}
}

func TestAnotherCallThatRunsWhatASkillLeftIsThatSkills(t *testing.T) {
	f := newFilm(t)
	f.leaves(1, weather, 100, "/tmp/tool.sh")
	f.call(20, "other", "r", "later", "bash /tmp/tool.sh")
	f.root(20.5, 300, "bash /tmp/tool.sh")
	f.fork(20.5, 301, 300)
	f.exec(20.5, 301, 300, workspace, "/bin/bash", "/tmp/tool.sh")
	s := f.open(20.6, 301, "/tmp/tool.sh")
	a := f.want(23, s, "weather strong", "other", "later")
	if evidence(a, "file_provenance") == "" {
		t.Errorf("nothing says where the script is from: %v", a.Evidence)
	}
	// where another skill was read for it, it can be either's
	f.read(29, "third", "r", "read", notes+"/SKILL.md")
	f.call(30, "third", "r", "mixed", "/tmp/tool.sh now")
	f.root(30.5, 400, "/tmp/tool.sh now")
	f.fork(30.5, 401, 400)
	f.exec(30.5, 401, 400, workspace, "/bin/bash", "/tmp/tool.sh", "now")
	f.want(33, f.open(30.6, 401, "/tmp/tool.sh"), "ambiguous weather notes", "third", "mixed")
}

func TestASkillsScriptThatAnotherChangedIsAmbiguous(t *testing.T) {
	f := newFilm(t)
	f.changes(1, notes, 100, weather+"/scripts/run.sh")
	f.leaves(20, weather, 200)
	s := f.open(20.7, 201, "/etc/hostname")
	f.want(23, s, "ambiguous weather notes", "s200", "call200")
}

func TestAnExecutionsOwnFilesChangeNothing(t *testing.T) {
	f := newFilm(t)
	f.leaves(1, weather, 100, "/tmp/worker")
	f.fork(2, 102, 101)
	f.exec(2, 102, 101, "/", "/bin/bash", "/tmp/worker")
	f.want(4, f.open(2.1, 102, "/tmp/worker"), "weather certain", "s100", "call100")
}

func TestWhatWasLeftBeforeTheAgentStartedIsTold(t *testing.T) {
	f := newFilm(t)
	id := event.SkillID{Name: "weather", Dir: weather}
	f.push(0, event.ProcID{}, event.Left{Path: dropped, File: key(dropped), How: event.LeftMade, At: at(-500), By: event.Attribution{
		Gateway: state, Session: "old", ToolCall: "call1", Skill: &id, Confidence: event.Certain,
	}})
	f.want(102, f.heir(100, 900, ran(dropped)), "weather strong", "old", "call1")
}

func TestWhoRunsAnythingElseIsNobody(t *testing.T) {
	f := newFilm(t)
	f.leaves(1, weather, 100, dropped)
	if s := f.heir(100, 900, ran("/usr/bin/true")); s != nil {
		t.Errorf("it is taken for %v", s.Role())
	}
}

func TestOneCallCannotHaveEverybodysFilesForgotten(t *testing.T) {
	f := newFilm(t)
	f.leaves(1, weather, 100, dropped)
	many := make([]string, maxLegacies+10)
	for i := range many {
		many[i] = fmt.Sprint("/tmp/flood/", i)
	}
	f.leaves(10, notes, 200, many...)
	f.want(102, f.heir(100, 900, ran(dropped)), "weather strong", "s100", "call100")
	if n := f.e.Overlooked(); n != uint64(len(many)-maxLeftByOne) {
		t.Errorf("%d are said to be overlooked, want %d", n, len(many)-maxLeftByOne)
	}
}

func TestAnHeirWaitsUntilItIsKnownWhoLeftIt(t *testing.T) {
	f := newFilm(t)
	f.root(1, 100, "echo hi > /tmp/x") // whose row has not come yet
	f.push(1.1, proc(100), event.FileOpen{Path: "/tmp/x", File: key("/tmp/x"), Write: true, Create: true})
	s := f.heir(1.2, 900, ran("/tmp/x"))
	if f.e.Settled(s, f.last, f.last.Time) {
		t.Error("it is settled before the call is known")
	}
	f.read(0.1, "late", "r", "read", notes+"/SKILL.md")
	f.call(0.9, "late", "r", "call", "echo hi > /tmp/x")
	last := event.Event{Time: at(1.2), Proc: proc(900), Body: ran("/tmp/x")}
	f.e.Tick(at(4))
	if !f.e.Settled(s, last, last.Time) {
		t.Fatal("it is not settled when the call is known")
	}
	if a := f.e.Attribute(s, last); a.ToolCall != "call" || a.Skill == nil || a.Skill.Name != "notes" {
		t.Errorf("it is %+v", a)
	}
}

func TestChainKeepsWhatLedFromFileToFile(t *testing.T) {
	all := slices.Repeat([]event.Evidence{{Kind: "file_provenance"}, {Kind: "skill_read"}, {Kind: "heir"}}, maxChain)
	if got := Chain(all); len(got) != maxChain || slices.ContainsFunc(got, func(e event.Evidence) bool { return e.Kind == "skill_read" }) {
		t.Errorf("the chain is %v", got)
	}
}

// The same path in a container is another file.
func TestWhatIsInAContainerIsNotLeftOnTheHost(t *testing.T) {
	e := New(nil)
	s := &Scope{role: event.RoleTool, origin: &origin{gateway: newGateway(e, "box:/state")}, exec: &execution{}}
	rename := event.Event{Body: event.FileRename{Old: "/tmp/x", New: "/etc/profile.d/x.sh"}}
	if _, left := e.Leaves(s, rename); !left {
		t.Error("on the host nothing is left")
	}
	s.origin.gateway.found.Mount = 7
	if l, left := e.Leaves(s, rename); left {
		t.Errorf("left %+v", l)
	}
	e.left.put(&legacy{Left: event.Left{Path: "/tmp/x.sh"}})
	if l := e.leftAt(s, event.FileKey{}, "/tmp/x.sh"); l != nil {
		t.Errorf("found %+v", l)
	}
}

// A process that is remembered runs what its own tool call left: both are told anew.
func TestWhatARememberedProcessRunsOfItsOwnChangesNothing(t *testing.T) {
	f := newFilm(t)
	id := event.SkillID{Name: "weather", Dir: weather}
	was := event.Attribution{Gateway: state, Session: "old", ToolCall: "call1", Skill: &id, Confidence: event.Certain}
	f.push(0, event.ProcID{}, event.Left{Path: "/tmp/worker", File: key("/tmp/worker"), How: event.LeftMade, At: at(-500), By: was})
	s := f.push(1, proc(900), event.Exec{Path: "/bin/bash", Args: []string{"bash", "/tmp/worker"}, Cwd: "/", Parent: proc(1), Snapshot: true, Known: &was})
	f.want(9, s, "weather strong", "old", "call1")
	f.fork(10, 901, 900)
	f.want(12, f.exec(10, 901, 900, "/", "curl"), "weather strong", "old", "call1")
}

// A unit that systemd wrote for process pid+1 of a tool call, or perhaps for it.
func (f *film) hands(sec float64, pid int32, how event.LeftHow, unit string) {
	f.push(sec, proc(pid+1), event.Left{Path: unit, File: key(unit), How: how, At: at(sec), Asker: fmt.Sprintf("process %d (systemd-run sh -c x)", pid+1)})
}

const transient = "/run/systemd/transient/run-r1.service"

func started(unit string) event.Heir {
	return event.Heir{File: key(unit), Path: unit, Comm: "sh", Said: `"/bin/sh" "-c" "x"`, Alone: true}
}

func TestWhatSystemdWasAskedForIsTheAskers(t *testing.T) {
	f := newFilm(t)
	f.leaves(1, weather, 100)
	f.hands(2, 100, event.LeftAsked, transient)
	a := f.want(102, f.heir(3, 900, started(transient)), "weather strong", "s100", "call100")
	if got := evidence(a, "handed_over"); !strings.Contains(got, transient+" was asked of systemd for tool call call100 of skill weather (certain), by process 101 (systemd-run sh -c x)") {
		t.Errorf("who asked is told as %q", got)
	}
	if got := evidence(a, "heir"); !strings.Contains(got, "systemd started process 900 (sh)") || !strings.Contains(got, "-c") {
		t.Errorf("what systemd did is told as %q", got)
	}
}

func TestWhatSystemdWasPerhapsAskedForIsWeak(t *testing.T) {
	f := newFilm(t)
	f.leaves(1, weather, 100)
	f.hands(2, 100, event.LeftPerhaps, transient)
	f.want(102, f.heir(3, 900, started(transient)), "weather weak", "s100", "call100")
}

func TestTwoWhoCanHaveAskedAreAmbiguous(t *testing.T) {
	f := newFilm(t)
	f.leaves(1, weather, 100)
	f.leaves(5, notes, 200)
	f.hands(6, 100, event.LeftPerhaps, transient)
	f.hands(6, 200, event.LeftPerhaps, transient)
	f.want(102, f.heir(7, 900, started(transient)), "ambiguous notes weather", "", "")
}

func TestWhatNobodyInATreeAskedForIsNobodys(t *testing.T) {
	f := newFilm(t)
	f.leaves(1, weather, 100)
	f.push(2, proc(11), event.Left{Path: transient, File: key(transient), How: event.LeftAsked, At: at(2)}) // OpenClaw itself
	f.push(2, proc(77), event.Left{Path: transient, File: key(transient), How: event.LeftAsked, At: at(2)})
	if s := f.heir(3, 900, started(transient)); s != nil {
		t.Errorf("it is %v", s.Role())
	}
}

func TestAUnitThatAToolCallWroteItselfIsNotTheAskers(t *testing.T) {
	f := newFilm(t)
	f.leaves(1, notes, 200, transient)
	f.leaves(5, weather, 100)
	f.hands(6, 100, event.LeftAsked, transient)
	f.want(102, f.heir(7, 900, started(transient)), "notes strong", "s200", "call200")
}

// Somebody outside of the trees has copied it, before it was known who left it.
func TestACopySomebodyMadeIsLeftByWhoLeftTheFirst(t *testing.T) {
	for _, changed := range []bool{false, true} {
		f := newFilm(t)
		f.leaves(1, weather, 100, dropped)
		f.push(2, event.ProcID{}, event.Left{
			Path: "/home/dev/copy", File: key("/home/dev/copy"), How: event.LeftCopied, Story: "by cp (uid 1000) from " + dropped + ", which was made", At: at(2), Of: key(dropped), Changed: changed,
		})
		a := f.want(102, f.heir(100, 900, ran("/home/dev/copy")), map[bool]string{false: "weather strong", true: "weather weak"}[changed], "s100", "call100")
		if got := evidence(a, "file_provenance"); !strings.Contains(got, "/home/dev/copy was copied by cp (uid 1000) from "+dropped+", which was made for tool call call100 of skill weather") {
			t.Errorf("provenance is told as %q", got)
		}
	}
	f := newFilm(t)
	f.changes(1, weather, 100, dropped) // somebody else's file
	f.changes(10, notes, 200, dropped)
	f.push(20, event.ProcID{}, event.Left{Path: "/home/dev/copy", File: key("/home/dev/copy"), How: event.LeftCopied, Of: key(dropped)})
	f.want(102, f.heir(100, 900, ran("/home/dev/copy")), "ambiguous notes weather", "", "")
}
