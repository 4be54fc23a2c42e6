package pipeline

import (
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Who has a terminal server run something hands the work to nobody if the server is
// followed for the same skill in the same session.
func TestAServerOfTheSameWorkIsNoHandOver(t *testing.T) {
	const socket = "/home/dev/op.sock"
	listen := event.Listen{Transport: event.Unix, Name: socket}
	for _, tt := range []struct {
		name string
		acts func(*bench)
		own  bool
	}{
		{"of nobody who is followed", func(*bench) {}, false},
		{"of the same tool call", func(b *bench) {
			b.push(2.5, proc(103), event.Fork{Parent: proc(100)})
			b.push(2.6, proc(103), event.Exec{Path: "/usr/bin/tmux", Args: []string{"tmux", "new", "-d"}, Parent: proc(100)})
			b.push(2.7, proc(103), listen)
		}, true},
		{"that has ended", func(b *bench) {
			b.push(2.5, proc(103), event.Fork{Parent: proc(100)})
			b.push(2.7, proc(103), listen)
			b.push(2.8, proc(103), event.Exit{})
		}, false},
		{"of the gateway", func(b *bench) { b.push(2.7, proc(10), listen) }, false},
		{"of an earlier call of the session", func(b *bench) {
			b.push(2.2, event.ProcID{}, event.ToolCall{Gateway: state, Session: "alice", Run: "r1", ID: "server", Name: "exec", Command: "tmux new -d"})
			b.push(2.3, proc(200), event.Fork{Parent: proc(11)})
			b.push(2.4, proc(200), event.Exec{Path: "/usr/bin/bash", Args: []string{"/bin/bash", "-c", "eval 'unset OPENCLAW_PREPEND_PATH; tmux new -d'"}, Parent: proc(11)})
			b.push(2.7, proc(200), listen)
		}, true},
		{"of another session", func(b *bench) {
			b.push(2.1, event.ProcID{}, event.ToolCall{Gateway: state, Session: "bob", Run: "r2", ID: "readB", Name: "read", Paths: []string{weather + "/SKILL.md"}})
			b.push(2.2, event.ProcID{}, event.ToolCall{Gateway: state, Session: "bob", Run: "r2", ID: "server", Name: "exec", Command: "tmux new -d"})
			b.push(2.3, proc(200), event.Fork{Parent: proc(11)})
			b.push(2.4, proc(200), event.Exec{Path: "/usr/bin/bash", Args: []string{"/bin/bash", "-c", "eval 'unset OPENCLAW_PREPEND_PATH; tmux new -d'"}, Parent: proc(11)})
			b.push(2.7, proc(200), listen)
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, 0)
			b.push(1, event.ProcID{}, event.ToolCall{Gateway: state, Session: "alice", Run: "r1", ID: "readA", Name: "read", Paths: []string{weather + "/SKILL.md"}})
			b.push(1.5, event.ProcID{}, event.ToolCall{Gateway: state, Session: "alice", Run: "r1", ID: "op", Name: "exec", Command: "op"})
			b.shell(2, "op")
			tt.acts(b)
			b.push(3, proc(104), event.Fork{Parent: proc(100)})
			b.push(3.1, proc(104), event.Exec{Path: "/usr/bin/tmux", Args: []string{"tmux", "-S", socket, "send-keys", "op whoami", "Enter"}, Parent: proc(100)})
			b.push(3.2, proc(104), event.Connect{Transport: event.Unix, Name: socket})
			b.Tick(at(20))
			got := b.find(event.KindConnect, 104)
			if len(got) != 1 || got[0].Network.Own != tt.own {
				t.Fatalf("records %+v", got)
			}
			fired := false
			for _, a := range b.alerts {
				fired = fired || a.Rule.Name == "work-handed-over"
			}
			if fired == tt.own {
				t.Errorf("work-handed-over fired: %v", fired)
			}
		})
	}
}
