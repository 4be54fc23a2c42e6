package proctab

import (
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

var t0 = time.Unix(1_800_000_000, 0)

func id(pid int32, start uint64) event.ProcID { return event.ProcID{PID: pid, Start: start} }

func TestAReusedPIDIsAnotherProcess(t *testing.T) {
	tab := New(DefaultLimits, nil)
	tab.Exec(id(7, 1), event.Exec{Path: "/bin/old"})
	tab.Exit(id(7, 1), t0)
	tab.Fork(id(7, 9), event.Fork{Parent: id(3, 2)})
	if p := tab.ByPID(7); p.ID != id(7, 9) || p.Path != "" {
		t.Errorf("pid 7 is %v with image %q, want the young one with none", p.ID, p.Path)
	}
	if p := tab.Get(id(7, 1)); p == nil || p.Path != "/bin/old" {
		t.Errorf("the old process is gone within its grace: %+v", p)
	}
}

func TestADeadParentIsKeptWhileAChildLives(t *testing.T) {
	tab := New(Limits{Grace: time.Second, Dead: 10}, nil)
	tab.Exec(id(1, 1), event.Exec{Path: "/bin/bash"})
	tab.Fork(id(2, 2), event.Fork{Parent: id(1, 1)})
	tab.Exit(id(1, 1), t0)
	tab.Expire(t0.Add(time.Hour))
	if up := tab.Ancestors(id(2, 2), 8); len(up) != 1 || up[0].Path != "/bin/bash" {
		t.Fatalf("ancestors %v, want the dead shell", up)
	}
	tab.Exit(id(2, 2), t0.Add(time.Hour))
	tab.Expire(t0.Add(2 * time.Hour))
	if n := tab.Len(); n != 0 {
		t.Errorf("%d processes left, want none", n)
	}
}

func TestShortLivesTakeBoundedMemory(t *testing.T) {
	gone := 0
	tab := New(Limits{Grace: time.Hour, Dead: 100}, func(event.ProcID) { gone++ })
	tab.Exec(id(1, 1), event.Exec{Path: "/bin/sh"})
	const n = 100_000
	for i := range uint64(n) {
		child := id(int32(2+i%30_000), 2+i)
		tab.Fork(child, event.Fork{Parent: id(1, 1)})
		tab.Exit(child, t0)
	}
	if tab.Len() > 101 || gone != n-100 {
		t.Errorf("%d kept and %d forgotten of %d", tab.Len(), gone, n)
	}
	if p := tab.Get(id(1, 1)); p.children != 0 {
		t.Errorf("%d children counted as living, want 0", p.children)
	}
}

func TestAncestorsEndInALoopOfParents(t *testing.T) {
	tab := New(DefaultLimits, nil)
	tab.Fork(id(1, 1), event.Fork{Parent: id(2, 2)})
	tab.Fork(id(2, 2), event.Fork{Parent: id(1, 1)})
	if up := tab.Ancestors(id(1, 1), 16); len(up) > 16 {
		t.Errorf("%d ancestors", len(up))
	}
}
