package attribution

import (
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Releases before 2026.9 have no spawn broker: the gateway forks the shells
// itself, and helpers of its own beside them. What is written to a transcript has
// a time of its own, and may be read long after it.
func TestTheOlderShapeIsUnderstoodThoughItsRowsComeLate(t *testing.T) {
	f := &film{t: t, e: New(nil)}
	f.push(0, proc(10), event.GatewayFound{
		ID: state, Role: event.RoleGateway, StateDir: state, Home: "/home/dev",
		Workspaces: []string{workspace}, SkillRoots: []string{workspace + "/skills"},
	})
	f.skill(weather, "weather")
	f.fork(1, 50, 10)
	if s := f.exec(1, 50, 10, workspace, "/bin/bash", "-l", "-c", "env -0"); s.Role() != event.RoleHelper {
		t.Errorf("the look at the environment is %s", s.Role())
	}
	f.fork(2.5, 100, 10)
	bash := []string{"/bin/bash", "--noprofile", "--norc", "-c", "export PATH='/bin'\neval 'cd " + weather + " && scripts/w.sh '\\''New York'\\'''"}
	f.exec(2.5, 100, 10, workspace, append([]string{"/bin/sh", "-c", oomWrapper + ` 2>/dev/null; exec "$0" "$@"`}, bash...)...)
	root := f.exec(2.51, 100, 10, workspace, bash...)
	if root.Role() != event.RoleTool {
		t.Fatalf("the shell is %s", root.Role())
	}
	last := f.last

	// The rows were written before, and come now.
	f.e.Tick(at(5))
	for _, call := range []event.Event{
		{Time: at(1.5), Body: event.ToolCall{Gateway: state, Agent: "main", Session: "alice", Run: "u1", ID: "c1", Name: "read", Paths: []string{weather + "/SKILL.md"}}},
		{Time: at(2.3), Body: event.ToolCall{Gateway: state, Agent: "main", Session: "alice", Run: "u1", ID: "c2", Name: "exec", Command: "cd " + weather + " && scripts/w.sh 'New York'"}},
	} {
		f.e.Observe(call)
	}
	f.last = last
	f.want(5, root, "weather strong", "alice", "c2")
	f.fork(5.1, 101, 100)
	f.exec(5.1, 101, 100, weather, "/bin/bash", weather+"/scripts/w.sh", "New York")
	f.want(5.2, f.open(5.2, 101, weather+"/scripts/w.sh"), "weather certain", "alice", "c2")
}

// What was recorded before our time, and had ended by then, is no call that a
// process of today can be.
func TestACallThatEndedBeforeOurTimeIsNoCandidate(t *testing.T) {
	f := newFilm(t)
	const cmd = "curl -s http://198.51.100.1/"
	f.push(1, event.ProcID{}, event.ToolCall{Gateway: state, Agent: "main", Session: "bob", Run: "r0", ID: "old", Name: "exec", Command: cmd, Backfill: true})
	f.push(2, event.ProcID{}, event.ToolResult{Gateway: state, Agent: "main", Session: "bob", Run: "r0", ID: "old", Backfill: true})
	f.read(10, "alice", "r1", "c1", weather+"/SKILL.md")
	f.call(11, "alice", "r1", "c2", cmd)
	f.want(12.5, f.root(11.5, 100, cmd), "weather strong", "alice", "c2")
}
