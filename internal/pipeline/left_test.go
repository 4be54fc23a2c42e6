package pipeline

import (
	"fmt"
	"strings"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
)

// left has a pipeline tell what is left behind.
func (b *bench) left() *[]event.Left {
	var all []event.Left
	b.Leave = func(l event.Left) { all = append(all, l) }
	return &all
}

func TestWhatACallLeavesIsToldAtOnceAndAgainForWhom(t *testing.T) {
	b := newBench(t, 0)
	left := b.left()
	b.use(1, "bash "+script)
	b.run(1.5, "bash "+script)
	b.push(1.6, proc(101), event.FileOpen{Path: "/home/dev/x.sh", Write: true, Create: true})
	if len(*left) != 1 || (*left)[0].By.Gateway != "" || (*left)[0].How != event.LeftMade {
		t.Fatalf("at once it is told as %+v", *left)
	}
	b.push(1.7, proc(10), event.FileOpen{Path: state + "/own.json", Write: true, Create: true}) // nobody's call
	b.Tick(at(9))
	b.Flush()
	if len(*left) != 2 || (*left)[1].By.Skill == nil || (*left)[1].By.Skill.Dir != weather || (*left)[1].By.ToolCall != "call1" {
		t.Fatalf("then it is told as %+v", *left)
	}
	b.push(10, proc(101), event.FileDelete{Path: "/home/dev/x.sh"})
	b.Flush()
	if len(*left) != 3 || (*left)[2].How != event.LeftNoMore {
		t.Fatalf("its end is told as %+v", (*left)[2:])
	}
}

func TestWhatTheGatewayWritesForACallIsLeftBehind(t *testing.T) {
	b := newBench(t, 0)
	left := b.left()
	b.use(1, "true")
	b.push(2, event.ProcID{}, event.ToolCall{Gateway: state, Session: "alice", Run: "r1", ID: "w", Name: "write", Paths: []string{"/home/dev/x.sh"}})
	b.push(2.1, proc(10), event.FileOpen{Path: "/home/dev/x.sh", Write: true, Create: true, TID: 12})
	b.Tick(at(9))
	b.Flush()
	if len(*left) != 1 || (*left)[0].By.ToolCall != "w" || (*left)[0].By.Skill == nil {
		t.Fatalf("it is told as %+v", *left)
	}
	b.push(20, proc(900), event.Heir{Path: "/home/dev/x.sh", Program: true, Comm: "x.sh"})
	b.Tick(at(29))
	b.Flush()
	if got := b.find(event.KindHeir, 900); len(got) != 1 || got[0].Attribution.ToolCall != "w" || got[0].File.Operation != "execute" || got[0].Process.Role != event.RoleHeir {
		t.Errorf("who runs it is %+v", got)
	}
	b.wantFired("file-outside-approved-directories weather 1", "left-behind-file-used weather 1")
}

func TestAFloodOfFilesIsCountedAndNotTold(t *testing.T) {
	b := newBench(t, 0)
	left := b.left()
	b.use(1, "bash "+script)
	b.run(1.5, "bash "+script)
	for i := range 3000 {
		b.push(1.6, proc(101), event.FileOpen{Path: fmt.Sprint("/tmp/", i), Write: true, Create: true})
	}
	b.Tick(at(20))
	b.Flush()
	if n := len(*left); n != 2*2048 {
		t.Errorf("%d are told, want each of 2048 twice", n)
	}
	lost := b.find(event.KindLost, 0)
	if len(lost) != 1 || lost[0].Sensor.Lost != 3000-2048 || !strings.Contains(lost[0].Sensor.Reason, "left behind") {
		t.Errorf("lost: %+v", lost)
	}
}
