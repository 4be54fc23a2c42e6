package attribution

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A world is what is true, and when which part of it is told.
type world struct {
	t       *rapid.T
	tick    uint64
	pid     int32
	calls   int
	told    []telling
	session map[event.ProcID]string // which session each process serves
	skill   map[string]string       // by session; empty: none was read
	alive   []event.ProcID
	owner   map[string]string // by file: the session that left it as it is
	// Either rows are lost or the events of roots. Of a call of which the row is
	// lost, and one with the same command of which the process is, nobody can
	// say that they are two.
	losesRows bool
}

// A telling is a fact that arrives at a moment.
type telling struct {
	at float64
	ev event.Event
}

func (w *world) tell(at, arrives float64, id event.ProcID, b event.Body) {
	var f film
	w.told = append(w.told, telling{arrives, event.Event{Time: f.at(at), Proc: id, Body: b}})
}

// one reports whether something that happens one time in n does.
func (w *world) one(n int, what string) bool { return rapid.IntRange(1, n).Draw(w.t, what) == 1 }

// process is a new identity: usually of a new PID, sometimes of one that was just
// given back, in the very next tick.
func (w *world) process() event.ProcID {
	if !w.one(3, "same tick") { // several processes can start in one tick
		w.tick++
	}
	w.pid++
	return event.ProcID{PID: w.pid, Start: w.tick}
}

// An estate is a gateway with its broker, sessions and skills.
type estate struct {
	gateway  string
	broker   event.ProcID
	sessions []string
	skills   []string
}

var property = []estate{
	{state, proc(11), []string{"alice", "bob", "carol"}, []string{"", weather, notes}},
	{"/home/eve/.openclaw", proc(21), []string{"dave", "erin"}, []string{"", "/home/eve/.openclaw/skills/weather", "/home/eve/.openclaw/skills/notes"}},
}

func (w *world) begin(f *film) {
	eve := property[1].gateway
	f.push(0, proc(20), event.GatewayFound{ID: eve, Role: event.RoleGateway, StateDir: eve, Home: "/home/eve", SkillRoots: []string{eve + "/skills"}})
	for _, name := range []string{"weather", "notes"} {
		f.push(0, event.ProcID{}, event.Skill{Gateway: eve, ID: event.SkillID{Name: name, Dir: eve + "/skills/" + name}})
	}
	f.push(0, proc(21), event.Fork{Parent: proc(20)})
	f.push(0, proc(21), event.Exec{Path: "/usr/bin/node", Args: []string{"node", "/npm/openclaw/dist/process/spawn-broker/worker.js"}, Parent: proc(20)})
	for _, g := range property {
		for _, dir := range g.skills[1:] { // one file each has alone, one they share
			own := event.SkillScript{Path: "own.sh", SHA256: sum(dir), Changed: 1}
			f.push(0, event.ProcID{}, event.Skill{
				Gateway: g.gateway, ID: event.SkillID{Name: dir[strings.LastIndex(dir, "/")+1:], Dir: dir}, Scripts: []event.SkillScript{own, {Path: "both.sh", SHA256: sum("both"), Changed: 1}},
			})
		}
		for i, s := range g.sessions {
			if dir := rapid.SampledFrom(g.skills).Draw(w.t, "reads"); dir != "" {
				at := 0.1 + float64(i)/100
				w.tell(at, at, event.ProcID{}, event.ToolCall{Gateway: g.gateway, Session: s, Run: "r-" + s, ID: "read-" + s, Name: "read", Paths: []string{dir + "/SKILL.md"}})
				w.skill[s] = dir
			}
		}
	}
}

// call is a tool call: its row may come late or not at all, and so may the exec
// of its process.
func (w *world) call(now float64) {
	g := property[rapid.IntRange(0, 1).Draw(w.t, "gateway")]
	s := rapid.SampledFrom(g.sessions).Draw(w.t, "session")
	cmd := rapid.SampledFrom([]string{"date", "curl http://198.51.100.1/", "uptime"}).Draw(w.t, "command")
	w.calls++
	id := fmt.Sprint("call-", w.calls)
	delay := rapid.SampledFrom([]float64{0, 0.05, 0.6, 2, 4.9}).Draw(w.t, "row delay")
	if !w.losesRows || !w.one(6, "row lost") {
		w.tell(now, now+delay, event.ProcID{}, event.ToolCall{Gateway: g.gateway, Session: s, Run: "r-" + s, ID: id, Name: "exec", Command: cmd})
		if w.one(3, "ends") {
			end := now + 0.4 + rapid.Float64Range(0, 5).Draw(w.t, "duration")
			w.tell(end, max(end, now+delay)+0.05, event.ProcID{}, event.ToolResult{Gateway: g.gateway, Session: s, ID: id})
		}
	}
	root := w.process()
	w.session[root] = s
	args := []string{"/bin/bash", "--noprofile", "--norc", "-c", "eval 'unset OPENCLAW_PREPEND_PATH; " + cmd + "'"}
	if w.losesRows || !w.one(6, "root lost") {
		w.tell(now+0.3, now+0.3, root, event.Fork{Parent: g.broker})
		w.tell(now+0.3, now+0.301, root, event.Exec{Path: "/bin/bash", Args: args, Cwd: workspace, Parent: g.broker})
	}
	w.alive = append(w.alive, root)
}

// child is forked by a living process. The kernel may not tell of the fork, or of
// the exec before it, and its parent may have gone by then.
func (w *world) child(now float64) {
	parent := rapid.SampledFrom(w.alive).Draw(w.t, "parent")
	child := w.process()
	w.session[child] = w.session[parent]
	now += 0.35 // its parent has begun
	fork, exec := now, now+0.001
	if w.one(5, "out of order") {
		fork, exec = exec, fork
	}
	if !w.one(5, "fork lost") {
		w.tell(now, fork, child, event.Fork{Parent: parent})
	}
	real := parent
	if w.one(4, "orphan") {
		real = event.ProcID{PID: 1, Start: 1}
	}
	w.tell(now, exec, child, event.Exec{Path: "/usr/bin/curl", Args: []string{"curl"}, Parent: real})
	w.alive = append(w.alive, child)
}

// copied has a living process run a copy of a skill's script, whoever it works for.
// The digest can be told late, or not at all.
func (w *world) copied(now float64) {
	runner := rapid.SampledFrom(w.alive).Draw(w.t, "runner")
	text := rapid.SampledFrom([]string{weather, notes, property[1].skills[1], "both", "nobody's"}).Draw(w.t, "content")
	now += 0.4
	w.tell(now, now, runner, event.Exec{Path: "/bin/bash", Args: []string{"bash", "/home/dev/copy.sh"}, Cwd: "/", Parent: event.ProcID{PID: 1, Start: 1}})
	if !w.one(5, "digest lost") {
		late := now + rapid.SampledFrom([]float64{0.002, 1, 8}).Draw(w.t, "digest delay")
		w.tell(late, late, event.ProcID{}, event.Digest{File: event.FileID{Inode: 1, Changed: 2}, SHA256: sum(text), Script: "/home/dev/copy.sh", Proc: runner})
	}
}

// write has a living process make a file anew.
func (w *world) write(now float64) {
	writer := rapid.SampledFrom(w.alive).Draw(w.t, "writer")
	file := rapid.SampledFrom([]string{"/tmp/a", "/tmp/b"}).Draw(w.t, "file")
	w.owner[file] = w.session[writer]
	w.tell(now+0.5, now+0.5, writer, event.FileOpen{Path: file, File: key(file), Write: true, Emptied: true})
}

// heir is a process outside of every tree that runs such a file.
func (w *world) heir(now float64) {
	file := rapid.SampledFrom([]string{"/tmp/a", "/tmp/b"}).Draw(w.t, "file")
	id := w.process()
	if s := w.owner[file]; s != "" {
		w.session[id] = s
		w.alive = append(w.alive, id)
	}
	w.tell(now+0.5, now+0.5, id, event.Heir{File: key(file), Path: file, Program: true})
}

// exit gives a PID back; a stranger has it in the next tick.
func (w *world) exit(now float64) {
	i := rapid.IntRange(0, len(w.alive)-1).Draw(w.t, "exits")
	old := w.alive[i]
	w.alive = slices.Delete(w.alive, i, i+1)
	if !w.one(5, "exit lost") {
		w.tell(now+0.4, now+0.4, old, event.Exit{})
	}
	w.tick = max(w.tick, old.Start) + 1
	stranger := event.ProcID{PID: old.PID, Start: rapid.SampledFrom([]uint64{old.Start + 1, w.tick}).Draw(w.t, "start")}
	w.tell(now+0.41, now+0.41, stranger, event.Exec{Path: "/usr/bin/ssh", Args: []string{"ssh"}, Parent: event.ProcID{PID: 1, Start: 1}})
}

// TestNoSessionIsEverTakenForAnother plays random interleavings of tool calls
// of several sessions of two gateways: late and missing records, lost and
// disordered forks, execs and exits, reused PIDs, files left behind and whoever runs
// them, copies of skills' scripts. Whatever is lost, a named
// gateway, session or skill must be the true one.
func TestNoSessionIsEverTakenForAnother(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, tick: 1000, pid: 100, session: map[event.ProcID]string{}, skill: map[string]string{}, owner: map[string]string{}, losesRows: rapid.Bool().Draw(t, "loses rows")}
		f := newFilm(nil)
		w.begin(f)
		now := 1.0
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now += rapid.Float64Range(0, 1.5).Draw(t, "pause")
			switch action := rapid.IntRange(0, 14).Draw(t, "action"); {
			case action < 5:
				w.call(now)
			case action < 8 && len(w.alive) > 0:
				w.child(now)
			case action < 10 && len(w.alive) > 0:
				w.write(now)
			case action < 11:
				w.heir(now)
			case action < 13 && len(w.alive) > 0:
				w.copied(now)
			case len(w.alive) > 0:
				w.exit(now)
			}
		}
		slices.SortStableFunc(w.told, func(a, b telling) int { return cmp.Compare(a.at, b.at) })
		type fact struct {
			scope *Scope
			ev    event.Event
		}
		var facts []fact
		for _, x := range w.told {
			f.e.Tick(f.at(x.at))
			scope := f.e.Observe(x.ev)
			if _, known := w.session[x.ev.Proc]; !known && !x.ev.Proc.IsZero() && scope != nil {
				t.Fatalf("the stranger %v inherits %v", x.ev.Proc, scope.Role())
			}
			if scope != nil {
				facts = append(facts, fact{scope, x.ev})
			}
		}
		f.e.Tick(f.at(now + 60))
		for _, x := range facts {
			w.judge(f.e.Attribute(x.scope, x.ev), x.ev)
		}
	})
}

func (w *world) judge(a *event.Attribution, ev event.Event) {
	want := w.session[ev.Proc]
	if a.Session != "" && a.Session != want {
		w.t.Fatalf("%v of session %s is given to %s\n%+v", ev.Proc, want, a.Session, a.Evidence)
	}
	if i := slices.IndexFunc(property, func(g estate) bool { return slices.Contains(g.sessions, want) }); a.Gateway != property[i].gateway {
		w.t.Fatalf("%v of gateway %s is given to %s", ev.Proc, property[i].gateway, a.Gateway)
	}
	if a.Skill != nil && a.Skill.Dir != w.skill[want] && (a.Confidence == event.Certain || a.Confidence == event.Strong) {
		w.t.Fatalf("%v of skill %q is given to %q (%s)", ev.Proc, w.skill[want], a.Skill.Dir, a.Confidence)
	}
}
