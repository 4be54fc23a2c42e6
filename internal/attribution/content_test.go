package attribution

import (
	"fmt"
	"strings"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
)

const copied = "/home/dev/bin/copied.sh"

func sum(text string) string { return fmt.Sprintf("%064x", text) }

// ships has a skill hold files, as they are from a moment on; texts are file and content.
func (f *film) ships(sec float64, dir string, texts ...string) {
	s := event.Skill{Gateway: state, Change: event.Updated, ID: event.SkillID{Name: dir[strings.LastIndex(dir, "/")+1:], Dir: dir}}
	for i := 0; i < len(texts); i += 2 {
		s.Scripts = append(s.Scripts, event.SkillScript{Path: texts[i], SHA256: sum(texts[i+1]), Changed: at(sec).UnixNano()})
	}
	f.push(sec, event.ProcID{}, s)
}

// runsCopy has a session call a command that runs a script, of which the digest is told
// a moment later. It gives the scope of what the script starts.
func (f *film) runsCopy(sec float64, session string, pid int32, file, text string, changed float64) *Scope {
	command := "bash " + file
	f.call(sec, session, "r", "call", command)
	f.root(sec+0.5, pid, command)
	f.fork(sec+0.5, pid+1, pid)
	f.exec(sec+0.5, pid+1, pid, workspace, "/bin/bash", file)
	f.open(sec+0.5, pid+1, file)
	f.fork(sec+0.6, pid+2, pid+1)
	s := f.exec(sec+0.6, pid+2, pid+1, workspace, "curl", "http://198.51.100.1/")
	last := f.last
	f.push(sec+0.6, event.ProcID{}, event.Digest{File: event.FileID{Inode: 1, Changed: at(changed).UnixNano()}, SHA256: sum(text), Script: file, Proc: proc(pid + 1)})
	f.last = last
	return s
}

func TestACopyOfASkillsScriptNamesTheSkillAsAMentionDoes(t *testing.T) {
	for name, tt := range map[string]struct {
		read []string
		want string
	}{
		"that skill was read": {[]string{notes}, "notes strong"},
		"nothing was read":    {nil, "notes weak"},
		"another was":         {[]string{weather}, "ambiguous weather notes"},
		"both were":           {[]string{weather, notes}, "ambiguous weather notes"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFilm(t)
			f.ships(0.1, notes, "scripts/save.sh", "save")
			for i, dir := range tt.read {
				f.read(1+float64(i)/10, "alice", "r", fmt.Sprint("read", i), dir+"/SKILL.md")
			}
			a := f.want(9, f.runsCopy(2, "alice", 100, copied, "save", 1), tt.want, "alice", "call")
			got := evidence(a, "content")
			for _, part := range []string{"process 101", copied, "scripts/save.sh of skill notes", sum("save")} {
				if !strings.Contains(got, part) {
					t.Errorf("the evidence %q does not say %q", got, part)
				}
			}
		})
	}
}

func TestACopyOfASkillReadBeforeIsThatSkills(t *testing.T) {
	f := newFilm(t)
	f.ships(0.1, notes, "scripts/save.sh", "save")
	f.read(1, "alice", "earlier", "read", notes+"/SKILL.md")
	f.want(9, f.runsCopy(2, "alice", 100, copied, "save", 1), "notes strong", "alice", "call")
}

func TestAProgramIsKnownByItsContentToo(t *testing.T) {
	file := event.FileID{Dev: 1, Inode: 7, Changed: at(1).UnixNano()}
	tool := event.Exec{Path: "/home/dev/bin/tool", Args: []string{"tool"}, Cwd: workspace, File: file}
	for _, first := range []bool{false, true} { // the gateway ran it before, and it is told once
		f := newFilm(t)
		f.ships(0.1, notes, "bin/tool", "tool")
		digest := event.Digest{File: file, SHA256: sum("tool")}
		if first {
			f.fork(1.5, 50, 10)
			f.push(1.5, proc(50), tool)
			f.push(1.6, event.ProcID{}, digest)
		}
		f.call(2, "alice", "r", "call", "tool")
		f.root(2.5, 100, "tool")
		s := f.push(2.6, proc(100), tool)
		last := f.last
		if !first {
			f.push(2.7, event.ProcID{}, digest)
		}
		f.last = last
		f.want(9, s, "notes weak", "alice", "call")
	}
}

func TestAnAnswerThatTheContentChangesIsGivenOutAgain(t *testing.T) {
	f := newFilm(t)
	f.ships(0.1, notes, "scripts/save.sh", "save")
	f.call(2, "alice", "r", "call", "bash "+copied)
	f.root(2.5, 100, "bash "+copied)
	s := f.exec(2.6, 100, 11, workspace, "/bin/bash", copied)
	last := f.last
	f.want(4, s, "none", "alice", "call") // it is not held for the digest
	digest := event.Digest{File: event.FileID{Changed: at(1).UnixNano()}, SHA256: sum("save"), Script: copied, Proc: proc(100)}
	f.push(4.1, event.ProcID{}, digest)
	f.last = last
	f.want(4.2, s, "notes weak", "alice", "call")
	if roots := f.e.Amended(); len(roots) != 1 || roots[0] != proc(100) {
		t.Errorf("amended %v", roots)
	}
	f.push(5, event.ProcID{}, digest)
	digest.SHA256 = sum("nobody's")
	f.push(5, event.ProcID{}, digest)
	if roots := f.e.Amended(); len(roots) > 0 {
		t.Errorf("amended %v, although nothing is new", roots)
	}
}

func TestACopyOutlivesTheFileAndTheSkill(t *testing.T) {
	f := newFilm(t)
	f.ships(0.1, notes, "scripts/save.sh", "save")
	f.ships(5, notes, "scripts/save.sh", "save better")
	a := f.want(19, f.runsCopy(10, "alice", 100, copied, "save", 1), "notes weak", "alice", "call")
	if got := evidence(a, "content"); !strings.Contains(got, "notes, as it was") {
		t.Errorf("the evidence is %q", got)
	}
	f.push(20, event.ProcID{}, event.Skill{Gateway: state, Change: event.Removed, ID: event.SkillID{Name: "notes", Dir: notes}})
	f.want(39, f.runsCopy(30, "bob", 200, copied+".new", "save better", 6), "notes weak", "bob", "call")
}

func TestSkillsThatAreKnownLateAreNamed(t *testing.T) {
	f := newFilm(t)
	s := f.runsCopy(2, "alice", 100, copied, "save", 1)
	f.want(9, s, "none", "alice", "call")
	last := f.last
	f.ships(0.1, weather, "w.sh", "forecast")
	if roots := f.e.Amended(); len(roots) > 0 {
		t.Errorf("amended %v for another", roots)
	}
	f.ships(0.1, notes, "scripts/save.sh", "save")
	if roots := f.e.Amended(); len(roots) != 1 || roots[0] != proc(100) {
		t.Errorf("amended %v", roots)
	}
	f.last = last
	f.want(9, s, "notes weak", "alice", "call")
}

// What an author can gain by shipping what others run.
func TestASkillThatShipsWhatOthersRunGainsLittle(t *testing.T) {
	use := func(f *film, file, text string, changed float64) *Scope {
		f.skill(evil, "evil")
		f.read(1, "alice", "r", "read", notes+"/SKILL.md")
		return f.runsCopy(10, "alice", 100, file, text, changed)
	}
	for name, tt := range map[string]struct {
		play func(f *film) *Scope
		want string
	}{
		"a program of the system": {func(f *film) *Scope {
			f.ships(0.1, evil, "bin/pip", "pip")
			return use(f, "/usr/bin/pip", "pip", 5)
		}, "notes strong"},
		"a person's own script, which was there before": {func(f *film) *Scope {
			f.ships(5, evil, "x.sh", "deploy")
			return use(f, "/home/dev/bin/deploy", "deploy", 4)
		}, "notes strong"},
		"a script that lies in another skill": {func(f *film) *Scope {
			f.ships(0.1, evil, "x.sh", "save")
			return use(f, notes+"/scripts/save.sh", "save", 5)
		}, "notes certain"},
		"a copy of the script of the skill that was read": {func(f *film) *Scope {
			f.ships(0.1, notes, "scripts/save.sh", "save")
			f.ships(0.2, evil, "x.sh", "save")
			return use(f, copied, "save", 5)
		}, "notes strong"},
		"a copy, made before its own, of the script of another skill": {func(f *film) *Scope {
			f.ships(0.1, weather, "w.sh", "forecast")
			f.ships(5, evil, "x.sh", "forecast")
			f.skill(evil, "evil")
			return f.runsCopy(10, "alice", 100, copied, "forecast", 4)
		}, "weather weak"},
		"a copy of the script of another skill, and nothing was read": {func(f *film) *Scope {
			f.ships(0.1, weather, "w.sh", "forecast")
			f.ships(5, evil, "x.sh", "forecast")
			f.skill(evil, "evil")
			return f.runsCopy(10, "alice", 100, copied, "forecast", 6)
		}, "ambiguous weather evil"},
		"an interpreter": {func(f *film) *Scope {
			f.ships(0.1, evil, "bin/node", "node")
			f.skill(evil, "evil")
			f.read(1, "alice", "r", "read", notes+"/SKILL.md")
			f.call(2, "alice", "r", "call", "node -e 1")
			f.root(2.5, 100, "node -e 1")
			file := event.FileID{Inode: 9, Changed: at(2).UnixNano()}
			s := f.push(2.6, proc(100), event.Exec{Path: "/home/dev/.nvm/bin/node", Args: []string{"node", "-e", "1"}, Cwd: workspace, File: file})
			last := f.last
			f.push(2.7, event.ProcID{}, event.Digest{File: file, SHA256: sum("node")})
			f.last = last
			return s
		}, "notes strong"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFilm(t)
			f.want(19, tt.play(f), tt.want, "alice", "call")
		})
	}
}

// A skill that is read has another's file run, to have its own work called that one's.
func TestACopyDoesNotTakeTheBlameFromTheSkillThatWasRead(t *testing.T) {
	f := newFilm(t)
	f.skill(evil, "evil")
	f.ships(0.1, notes, "scripts/save.sh", "save")
	f.read(1, "alice", "r", "read", evil+"/SKILL.md")
	f.want(9, f.runsCopy(2, "alice", 100, copied, "save", 1), "ambiguous evil notes", "alice", "call")
	// from a script of its own, it stays its own
	f.read(20, "bob", "r", "read", evil+"/SKILL.md")
	f.call(21, "bob", "r", "call", "bash "+evil+"/x.sh")
	f.root(21.5, 200, "bash "+evil+"/x.sh")
	f.exec(21.5, 200, 11, workspace, "/bin/bash", evil+"/x.sh")
	f.open(21.5, 200, evil+"/x.sh")
	f.fork(21.6, 201, 200)
	s := f.exec(21.6, 201, 200, workspace, "/bin/bash", copied)
	last := f.last
	f.push(21.7, event.ProcID{}, event.Digest{File: event.FileID{Changed: at(1).UnixNano()}, SHA256: sum("save"), Script: copied, Proc: proc(201)})
	f.last = last
	f.want(29, s, "evil certain", "bob", "call")
}

// A skill puts its own text into another's directory, and runs a copy from elsewhere.
func TestWhoWroteTheFileThatACopyIsLikeIsNamedToo(t *testing.T) {
	f := newFilm(t)
	f.skill(evil, "evil")
	f.read(1, "eve", "r1", "c1", evil+"/SKILL.md")
	f.call(2, "eve", "r1", "c2", "date")
	f.root(2.5, 100, "date")
	f.push(3, proc(100), event.FileOpen{Path: notes + "/scripts/new.sh", Write: true, Create: true})
	f.ships(4, notes, "scripts/new.sh", "bad")
	a := f.want(19, f.runsCopy(10, "alice", 200, copied, "bad", 5), "ambiguous notes evil", "alice", "call")
	if !has(a, "script_written_by") {
		t.Errorf("evidence %+v", a.Evidence)
	}
}

func TestAnHeirThatRunsACopyNamesItsSkillOnlyWhereNobodyIsSure(t *testing.T) {
	heir := func(f *film, h event.Heir) *Scope {
		f.heir(100, 900, h)
		f.fork(101, 901, 900)
		s := f.exec(101, 901, 900, "/", "/bin/bash", copied)
		last := f.last
		f.push(101.1, event.ProcID{}, event.Digest{File: event.FileID{Changed: at(1).UnixNano()}, SHA256: sum("save"), Script: copied, Proc: proc(901)})
		f.last = last
		return s
	}
	f := newFilm(t)
	f.ships(0.1, notes, "scripts/save.sh", "save")
	f.leaves(1, weather, 100, dropped)
	a := f.want(109, heir(f, ran(dropped)), "weather strong", "s100", "call100")
	if !has(a, "content") {
		t.Errorf("nothing tells of the copy: %+v", a.Evidence)
	}
	f = newFilm(t)
	f.ships(0.1, notes, "scripts/save.sh", "save")
	f.leaves(1, weather, 100, dropped)
	h := ran(dropped)
	h.Changed = true // by a person, who may have added the copy
	f.want(109, heir(f, h), "ambiguous weather notes", "s100", "call100")
	f = newFilm(t)
	f.ships(0.1, notes, "scripts/save.sh", "save")
	f.call(1, "alice", "r", "call", "date > "+dropped)
	f.root(1.5, 100, "date > "+dropped)
	f.push(1.6, proc(100), event.FileOpen{Path: dropped, File: key(dropped), Write: true, Create: true})
	f.want(109, heir(f, ran(dropped)), "notes weak", "alice", "call")
}

func TestWhatIsKnownOfSkillsContentsIsBounded(t *testing.T) {
	f := newFilm(t)
	var c catalogue
	skill := func(dir string, change event.Change, n int) {
		s := event.Skill{Change: change, ID: event.SkillID{Name: dir, Dir: dir}}
		for i := range n {
			s.Scripts = append(s.Scripts, event.SkillScript{Path: fmt.Sprint(i), SHA256: sum(fmt.Sprint(dir, change, i)), Changed: 1})
		}
		c.put(s, start)
	}
	skill("/gone", event.Present, 10)
	skill("/gone", event.Removed, 10)
	for i := range 300 {
		for range 2 { // its first files, and others
			skill(fmt.Sprint("/", i), event.Change(i%2), maxSources-i%7)
		}
	}
	count := 0
	for _, all := range c.sources.bySum {
		count += len(all)
	}
	if count != c.sources.n || count > maxAllSources || count < maxAllSources*9/10 {
		t.Errorf("%d files are known, %d counted, of %d", count, c.sources.n, maxAllSources)
	}
	if len(c.sources.byDir["/gone"]) > 0 {
		t.Error("a skill that is gone has room that others need")
	}
	x := &execution{origin: &origin{gateway: f.e.gateway(state)}}
	f.ships(0, notes, "scripts/save.sh", "save")
	for i := range 10 * maxContents {
		f.e.holds(x, content{sum: sum(fmt.Sprint(i)), path: copied, changed: at(1).UnixNano()})
	}
	f.e.holds(x, content{sum: sum("save"), path: copied, changed: at(1).UnixNano()})
	if named, _ := f.e.copies(x, true); len(x.contents) != maxContents || len(named) != 1 {
		t.Errorf("%d contents name %v", len(x.contents), named)
	}
	for i := range uint64(2 * maxImages) {
		f.push(1, proc(10), event.Exec{Path: "/home/dev/x", File: event.FileID{Inode: i}})
	}
	if n := len(f.e.images); n > maxImages {
		t.Errorf("%d programs are known", n)
	}
}
