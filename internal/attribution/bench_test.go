package attribution

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/proctab"
)

// busy is a gateway with 200 skills, 100 of which run a tool call each; the
// calls have 10,000 living processes between them, whose IDs it returns.
func busy() (*film, []event.ProcID) {
	f := newFilm(nil)
	var live []event.ProcID
	for i := range 200 {
		f.push(0, event.ProcID{}, event.Skill{Gateway: state, ID: event.SkillID{Name: fmt.Sprint("skill", i), Dir: fmt.Sprintf("%s/skills/skill%d", workspace, i)}})
	}
	for i := range int32(100) {
		session, dir, first := fmt.Sprint("session", i), fmt.Sprintf("%s/skills/skill%d", workspace, i), 1000+i*100
		f.read(1, session, "run", "read", dir+"/SKILL.md")
		command := fmt.Sprintf("bash %s/scripts/run.sh %d", dir, i)
		f.call(1.1, session, "run", "call", command)
		f.root(1.5, first, command)
		live = append(live, proc(first))
		for pid := first + 1; pid < first+100; pid++ {
			f.fork(1.6, pid, first)
			f.exec(1.6, pid, first, workspace, "/bin/bash", dir+"/scripts/run.sh")
			f.open(1.6, pid, dir+"/scripts/run.sh")
			live = append(live, proc(pid))
		}
	}
	f.e.Tick(at(10))
	return f, live
}

// BenchmarkEvent: one fact at 10,000 living processes and 200 skills, from
// observed to attributed. It is to stay below 5 µs.
func BenchmarkEvent(b *testing.B) {
	f, live := busy()
	one := func(ev event.Event) {
		s := f.e.Observe(ev)
		if !f.e.Settled(s, ev, ev.Time) {
			b.Fatalf("%v is not settled", ev)
		}
		if a := f.e.Attribute(s, ev); a.Confidence != event.Certain && a.Confidence != event.Strong {
			b.Fatalf("%v is %s", ev, a.Confidence)
		}
	}
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			one(event.Event{Time: at(10), Proc: live[i%len(live)], Body: event.FileOpen{Path: "/usr/lib/libc.so.6", Read: true}})
		}
	})
	b.Run("process", func(b *testing.B) { // fork, exec and exit
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			parent, id := live[i%len(live)], event.ProcID{PID: 20_000, Start: uint64(1_000_000 + i)}
			one(event.Event{Time: at(10), Proc: id, Body: event.Fork{Parent: parent}})
			one(event.Event{Time: at(10), Proc: id, Body: event.Exec{Path: "/usr/bin/true", Args: []string{"true"}, Cwd: "/", Parent: parent}})
			one(event.Event{Time: at(10), Proc: id, Body: event.Exit{}})
			f.e.Forget(id)
		}
	})
}

// A million processes in a thousand seconds. A thousand are the roots of calls that
// no record explains; of the others a tenth execs.
func TestAMillionShortLivesTakeBoundedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	f := newFilm(nil)
	before := heap()
	table := proctab.New(proctab.DefaultLimits, f.e.Forget)
	const lives, each = 1_000_000, 1000 // processes of a call
	begin, args := f.at(1), []string{"true"}
	var root event.ProcID
	most, open := 0, 0
	for i := range lives {
		now := begin.Add(time.Duration(i) * time.Millisecond)
		id := event.ProcID{PID: int32(1000 + i%30_000), Start: uint64(100_000 + i)}
		ex := event.Exec{Path: "/usr/bin/true", Args: args, Cwd: "/", Parent: root}
		if i%each == 0 {
			if !root.IsZero() {
				table.Exit(root, now)
			}
			root = id
			ex = event.Exec{Path: "/bin/bash", Args: []string{"/bin/bash", "-c", fmt.Sprintf("eval 'unset OPENCLAW_PREPEND_PATH; do %d'", i)}, Parent: proc(11)}
		}
		table.Fork(id, event.Fork{Parent: ex.Parent})
		f.e.Observe(event.Event{Time: now, Proc: id, Body: event.Fork{Parent: ex.Parent}})
		if i%10 == 0 {
			table.Exec(id, ex)
			f.e.Observe(event.Event{Time: now, Proc: id, Body: ex})
		}
		if i%100 == 0 { // they write into a skill, and the gateway asks for names
			f.e.Observe(event.Event{Time: now, Proc: id, Body: event.FileOpen{Path: fmt.Sprint(notes, "/", i), Write: true, Create: true}})
			addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			f.e.Observe(event.Event{Time: now, Proc: proc(10), Body: event.DNSAnswer{Name: fmt.Sprint(i), Addresses: []netip.Addr{addr}}})
		}
		if role := f.e.Scope(id).Role(); role != event.RoleTool {
			t.Fatalf("process %d is %q, want a tool call's", i, role)
		}
		if id != root {
			f.e.Observe(event.Event{Time: now, Proc: id, Body: event.Exit{}})
			table.Exit(id, now)
		}
		if i%each == 0 {
			f.e.Tick(now)
			table.Expire(now)
		}
		most, open = max(most, len(f.e.scopes)), max(open, len(f.e.open))
	}
	if limit := proctab.DefaultLimits.Dead + 2*each; most > limit || table.Len() > limit {
		t.Errorf("%d scopes and %d processes at most, want %d", most, table.Len(), limit)
	}
	// So long a call can be matched that comes late.
	if limit := int((deadline+late)/(each*time.Millisecond)) + 2; open > limit {
		t.Errorf("%d executions were open, want %d at most", open, limit)
	}
	if grown := heap() - before; grown > 48<<20 {
		t.Errorf("the heap grew by %d KiB while processes came and went", grown>>10)
	}
	f.e.Tick(begin.Add(time.Hour))
	if table.Expire(begin.Add(time.Hour)); len(f.e.open) > 0 || len(f.e.scopes) > 10 {
		t.Errorf("an hour later %d executions and %d scopes are left", len(f.e.open), len(f.e.scopes))
	}
	grown := heap() - before
	if grown > 24<<20 { // of files that were left behind, mostly
		t.Errorf("an hour later the heap is larger by %d KiB", grown>>10)
	}
	t.Logf("an hour later the heap is larger by %d KiB", grown>>10)
	runtime.KeepAlive(table)
}

// heap is what is in use, in bytes.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
