package attribution

import (
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A film plays facts to an engine at given moments, in seconds, and asks what
// it makes of them.
type film struct {
	t *testing.T
	e *Engine
	// The gateway is process 10, its spawn broker 11.
	last event.Event
}

const (
	state     = "/home/dev/.openclaw"
	workspace = state + "/workspace"
	weather   = workspace + "/skills/weather"
	notes     = state + "/skills/notes"
)

var start = time.Unix(1_800_000_000, 0)

func at(sec float64) time.Time { return start.Add(time.Duration(sec * float64(time.Second))) }

func (*film) at(sec float64) time.Time { return at(sec) }

func proc(pid int32) event.ProcID { return event.ProcID{PID: pid, Start: uint64(pid)} }

func newFilm(t *testing.T) *film {
	f := &film{t: t, e: New(nil)}
	f.push(0, proc(10), event.GatewayFound{
		ID: state, Role: event.RoleGateway, StateDir: state, Home: "/home/dev",
		Workspaces: []string{workspace}, SkillRoots: []string{workspace + "/skills", state + "/skills"},
	})
	f.skill(weather, "weather", "WEATHER_API_KEY")
	f.skill(notes, "notes")
	f.fork(0, 11, 10)
	f.exec(0, 11, 10, "/", "node", "/npm/openclaw/dist/process/spawn-broker/worker.js")
	return f
}

func (f *film) push(sec float64, id event.ProcID, b event.Body) *Scope {
	f.e.Tick(at(sec))
	f.last = event.Event{Time: at(sec), Proc: id, Body: b}
	return f.e.Observe(f.last)
}

func (f *film) skill(dir, name string, env ...string) {
	f.push(0, event.ProcID{}, event.Skill{Gateway: state, ID: event.SkillID{Name: name, Dir: dir}, EnvNames: env})
}

func (f *film) fork(sec float64, pid, parent int32) *Scope {
	return f.push(sec, proc(pid), event.Fork{Parent: proc(parent)})
}

func (f *film) exec(sec float64, pid, parent int32, cwd string, args ...string) *Scope {
	exe := args[0]
	if !strings.HasPrefix(exe, "/") {
		exe = "/usr/bin/" + exe
	}
	return f.push(sec, proc(pid), event.Exec{Path: exe, Args: args, Cwd: cwd, Parent: proc(parent)})
}

// root starts an exec tool call as the spawn broker does.
func (f *film) root(sec float64, pid int32, command string) *Scope {
	return f.rootAs(sec, proc(pid), command)
}

func (f *film) rootAs(sec float64, id event.ProcID, command string) *Scope {
	return f.rootIn(sec, id, workspace, command)
}

func (f *film) rootIn(sec float64, id event.ProcID, cwd, command string) *Scope {
	cmd := "export PATH='/bin'\neval 'export PATH=\"${OPENCLAW_PREPEND_PATH}${PATH:+:$PATH}\"; unset OPENCLAW_PREPEND_PATH; " +
		strings.ReplaceAll(command, "'", `'\''`) + "'"
	f.push(sec, id, event.Fork{Parent: proc(11)})
	bash := []string{"/bin/bash", "--noprofile", "--norc", "-c", cmd}
	sh := append([]string{"/bin/sh", "-c", oomWrapper + ` 2>/dev/null; exec "$0" "$@"`}, bash...)
	f.push(sec, id, event.Exec{Path: "/bin/dash", Args: sh, Cwd: cwd, Parent: proc(11)})
	return f.push(sec, id, event.Exec{Path: "/bin/bash", Args: bash, Cwd: cwd, Parent: proc(11)})
}

func (f *film) call(sec float64, session, run, id, command string) {
	f.push(sec, event.ProcID{}, event.ToolCall{
		Gateway: state, Agent: "main", Session: session, SessionKey: "agent:main:" + session,
		Run: run, ID: id, Name: "exec", Command: command,
	})
}

func (f *film) read(sec float64, session, run, id, path string) {
	f.push(sec, event.ProcID{}, event.ToolCall{
		Gateway: state, Agent: "main", Session: session, SessionKey: "agent:main:" + session,
		Run: run, ID: id, Name: "read", Paths: []string{path},
	})
}

func (f *film) open(sec float64, pid int32, path string) *Scope {
	return f.push(sec, proc(pid), event.FileOpen{Path: path, Read: true, TID: pid})
}

// update opens a file to read and to write.
func (f *film) update(sec float64, pid int32, path string) *Scope {
	return f.push(sec, proc(pid), event.FileOpen{Path: path, Read: true, Write: true, TID: pid})
}

// want says who the latest fact of a process must be attributed to at a moment:
// "weather certain", "ambiguous weather notes", "none".
func (f *film) want(sec float64, s *Scope, want, session, toolCall string) *event.Attribution {
	f.t.Helper()
	f.e.Tick(at(sec))
	if !f.e.Settled(s, f.last, f.last.Time) {
		f.t.Errorf("at %v s: not settled", sec)
	}
	a := f.e.Attribute(s, f.last)
	if a == nil {
		f.t.Fatalf("no attribution, want %q", want)
	}
	got := []string{string(a.Confidence)}
	if a.Skill != nil {
		got = []string{a.Skill.Name, string(a.Confidence)}
	}
	for _, c := range a.Candidates {
		got = append(got, c.Name)
	}
	if g := strings.Join(got, " "); g != want || a.Session != session || a.ToolCall != toolCall {
		f.t.Errorf("got %q session %q call %q, want %q %q %q\nevidence %+v", g, a.Session, a.ToolCall, want, session, toolCall, a.Evidence)
	}
	return a
}
