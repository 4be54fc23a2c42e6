package pipeline

import (
	"fmt"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Discard is where a benchmark's records go.
type discard struct{}

func (discard) Record(event.Record) {}
func (discard) Alert(event.Alert)   {}

// BenchmarkOpen: a file opened in a settled execution, from the fact to the
// judged record.
func BenchmarkOpen(b *testing.B) {
	t := newBench(nil, 0)
	t.use(1, "bash "+script)
	t.run(1.5, "bash "+script)
	t.Tick(at(10))
	t.Sink = discard{}
	ev := event.Event{Time: at(10), Proc: proc(101), Body: event.FileOpen{Path: "/usr/lib/x86_64-linux-gnu/libc.so.6", Read: true}}
	b.ReportAllocs()
	for b.Loop() {
		t.Push(ev)
	}
}

// BenchmarkProcess: fork, exec and exit of a short child.
func BenchmarkProcess(b *testing.B) {
	t := newBench(nil, 0)
	t.use(1, "bash "+script)
	t.run(1.5, "bash "+script)
	t.Tick(at(10))
	t.Sink = discard{}
	env := make([]string, 30)
	for i := range env {
		env[i] = fmt.Sprint("VARIABLE_", i)
	}
	b.ReportAllocs()
	for n := int32(1000); b.Loop(); n++ {
		id := event.ProcID{PID: n%30000 + 200, Start: uint64(n)}
		t.Push(event.Event{Time: at(10), Proc: id, Body: event.Fork{Parent: proc(101)}})
		t.Push(event.Event{Time: at(10), Proc: id, Body: event.Exec{Path: "/usr/bin/true", Args: []string{"true"}, Cwd: "/", Parent: proc(101), EnvNames: env}})
		t.Push(event.Event{Time: at(10), Proc: id, Body: event.Exit{}})
	}
}
