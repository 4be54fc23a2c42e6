package pipeline

import (
	"strings"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
)

// The digest comes when the facts of the call have gone out already.
func TestWhatRunsACopyIsToldAgainUnderItsSkill(t *testing.T) {
	b := newBench(t, 0)
	sum := strings.Repeat("ab", 32)
	b.push(0, event.ProcID{}, event.Skill{
		Gateway: state, Change: event.Updated, ID: event.SkillID{Name: "weather", Dir: weather},
		Scripts: []event.SkillScript{{Path: "scripts/w.sh", SHA256: sum, Changed: 1}},
	})
	const copied = "/home/dev/w.sh"
	b.push(1, event.ProcID{}, event.ToolCall{Gateway: state, Session: "alice", Run: "r1", ID: "call1", Name: "exec", Command: "bash " + copied})
	b.shell(1.5, "bash "+copied)
	b.push(1.6, proc(101), event.Fork{Parent: proc(100)})
	b.push(1.6, proc(101), event.Exec{Path: "/usr/bin/bash", Args: []string{"bash", copied}, Cwd: workspace, Parent: proc(100)})
	b.Tick(at(5))
	b.push(5, event.ProcID{}, event.Digest{File: event.FileID{Inode: 7, Changed: 2}, SHA256: sum, Script: copied, Proc: proc(101)})
	b.Tick(at(6))
	got := b.find(event.KindExec, 101)
	if len(got) != 2 || got[0].Attribution.Skill != nil || got[0].ID != got[1].ID || !got[1].Amended {
		t.Fatalf("it is told as %+v", got)
	}
	a := got[1].Attribution
	if a.Skill == nil || a.Skill.Dir != weather || a.Confidence != event.Weak {
		t.Errorf("then it is %+v", a)
	}
	for _, e := range a.Evidence {
		if e.Kind == "content" && strings.Contains(e.Detail, sum) && e.Source == event.FromSkillTree {
			return
		}
	}
	t.Errorf("the evidence is %+v", a.Evidence)
}
