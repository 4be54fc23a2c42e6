package pipeline

import (
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
)

func TestAForgedTagIsAnAlertAndNobodysDeedButItsOwn(t *testing.T) {
	b := newBench(t, 0)
	plugin := func(sec float64, p event.ToolPhase) { b.push(sec, proc(10), p) }
	plugin(0.5, event.ToolPhase{Phase: event.PhaseJoined})
	plugin(1, event.ToolPhase{Phase: event.PhaseTag, Session: "bob", Tag: "B"})
	plugin(1, event.ToolPhase{Phase: event.PhaseTag, Session: "alice", Tag: "A"})
	b.use(1, "bash "+script)
	b.push(1.5, proc(100), event.Fork{Parent: proc(11)})
	b.push(1.5, proc(100), event.Exec{
		Path: "/usr/bin/bash", Args: []string{"/bin/bash", "-c", "eval 'unset OPENCLAW_PREPEND_PATH; bash " + script + "'"},
		Cwd: workspace, Parent: proc(11), Tag: "A",
	})
	for pid, tag := range map[int32]string{101: "A", 102: "B"} {
		b.push(1.6, proc(pid), event.Fork{Parent: proc(100)})
		b.push(1.6, proc(pid), event.Exec{Path: "/usr/bin/curl", Args: []string{"curl"}, Cwd: workspace, Parent: proc(100), Tag: tag})
	}
	b.Tick(at(10))
	if got := b.find(event.KindToolPhase, 0); len(got) != 0 {
		t.Errorf("what the plugin says became a record: %+v", got)
	}
	for pid, want := range map[int32]string{101: "plugin_tag", 102: event.EvidenceForgedTag} {
		got := b.find(event.KindExec, pid)
		if len(got) != 1 || got[0].Attribution.Session != "alice" || got[0].Attribution.Skill == nil || got[0].Attribution.Evidence[0].Kind != want {
			t.Errorf("process %d: %+v, want the evidence %s first", pid, got, want)
		}
	}
	b.wantFired("forged-attribution-tag weather 1")
}
