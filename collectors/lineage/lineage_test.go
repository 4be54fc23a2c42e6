package lineage

import (
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

func at(sec int) time.Time { return time.Unix(1_800_000_000+int64(sec), 0) }

func id(pid int32, start uint64) event.ProcID { return event.ProcID{PID: pid, Start: start} }

func TestAllAreInTheOrderOfTheirStart(t *testing.T) {
	var tree Tree
	if !tree.Add(id(12, 3)) || !tree.Add(id(10, 1)) || !tree.Add(id(11, 2)) || tree.Add(id(11, 2)) {
		t.Error("what is new is not told from what is known")
	}
	if got := tree.All(); len(got) != 3 || got[0] != id(10, 1) || got[2] != id(12, 3) {
		t.Errorf("all: %v", got)
	}
}

func TestAReusedPIDIsNotTheProcessThatHadIt(t *testing.T) {
	var tree Tree
	tree.Add(id(10, 1))
	tree.End(id(10, 1), at(5))
	if _, ok := tree.Living(10); ok {
		t.Error("the dead lives")
	}
	if !tree.Has(id(10, 1)) || tree.Has(id(10, 2)) {
		t.Error("identity is not PID and start time")
	}
	if got, ok := tree.Since(10, at(5)); !ok || got != id(10, 1) {
		t.Errorf("what was done up to its end is not its own: %v %v", got, ok)
	}
	if _, ok := tree.Since(10, at(6)); ok {
		t.Error("what was done after its end is its own")
	}
}

func TestTheDeadAreForgotten(t *testing.T) {
	var tree Tree
	for pid := range int32(1000) {
		tree.Add(id(pid+1, uint64(pid)))
		tree.End(id(pid+1, uint64(pid)), at(int(pid)))
	}
	if n := len(tree.lives); n > int(keep/time.Second)+1 {
		t.Errorf("%d processes are kept", n)
	}
}

func TestOneProcessWithManyLivesIsBounded(t *testing.T) {
	var tree Tree
	for n := range uint64(100) {
		tree.Add(id(7, n))
	}
	if n := len(tree.lives[7]); n != maxLives {
		t.Errorf("%d lives of one PID", n)
	}
}
