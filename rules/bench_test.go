package rules_test

import (
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/rules"
)

func BenchmarkEval(b *testing.B) {
	const state = "/home/dev/.openclaw"
	view := policy.Default().For(event.GatewayFound{
		StateDir: state, Home: "/home/dev", Workspaces: []string{state + "/workspace"}, SkillRoots: []string{state + "/workspace/skills"},
	}, policy.Host{Resolvers: []netip.Addr{netip.MustParseAddr("127.0.0.53")}})
	record := func(k event.Kind) *event.Record {
		r := connect()
		r.Kind, r.Network = k, nil
		r.Attribution.Skill.Dir = state + "/workspace/skills/weather"
		return r
	}
	open := record(event.KindFileOpen)
	open.File = &event.File{Path: "/usr/lib/x86_64-linux-gnu/libc.so.6", Operation: "read"}
	work := record(event.KindFileCreate)
	work.File = &event.File{Path: state + "/workspace/notes/2026-11-22.md", Operation: "create"}
	key := record(event.KindFileOpen)
	key.File = &event.File{Path: "/home/dev/.ssh/id_ed25519", Operation: "read"}
	approved := record(event.KindConnect)
	approved.Network = &event.Network{Transport: event.TCP, Direction: "outbound", PeerAddress: "192.0.2.1", PeerPort: 443, Host: "api.openai.com"}
	for name, r := range map[string]*event.Record{
		"open": open, "create": work, "key": key, "connect": approved, "unapproved": connect(), "exit": record(event.KindExit),
	} {
		b.Run(name, func(b *testing.B) {
			set, in := rules.Builtin(), rules.Input{Record: r, View: view}
			b.ReportAllocs()
			for b.Loop() {
				set.Eval(in)
			}
		})
	}
}

// BenchmarkRules judges a mix of records by many rules, as operators and the import
// of Sigma write them. median is that of single records, with the index and with
// every rule of the kind evaluated, in turns.
func BenchmarkRules(b *testing.B) {
	for _, n := range []int{0, 100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			m := newMaker(7)
			set, err := m.set(n, m.condition)
			if err != nil {
				b.Fatal(err)
			}
			inputs, view := make([]rules.Input, 512), devView()
			for i := range inputs {
				inputs[i] = rules.Input{Record: m.record(), View: view}
			}
			measure(b, set, inputs)
		})
	}
}

// measure reports what a record costs, in the middle, for one in a hundred, and
// in the middle of each kind.
func measure(b *testing.B, set *rules.Set, inputs []rules.Input) {
	var indexed, every []time.Duration
	kinds := map[event.Kind][]time.Duration{}
	for i := 0; b.Loop(); i++ {
		in := inputs[i%len(inputs)]
		start := time.Now()
		set.Eval(in)
		took := time.Since(start)
		indexed, kinds[in.Record.Kind] = append(indexed, took), append(kinds[in.Record.Kind], took)
		if i%8 == 0 {
			start = time.Now()
			set.EvalEvery(in)
			every = append(every, time.Since(start))
		}
	}
	at := func(all []time.Duration, share float64) float64 {
		slices.Sort(all)
		return float64(all[int(share*float64(len(all)-1))].Nanoseconds())
	}
	b.ReportMetric(at(indexed, 0.5), "median-ns")
	b.ReportMetric(at(indexed, 0.99), "p99-ns")
	b.ReportMetric(at(every, 0.5), "every-median-ns")
	for _, k := range []event.Kind{event.KindExec, event.KindFileOpen, event.KindConnect, event.KindEnvRead} {
		if len(kinds[k]) > 0 {
			b.ReportMetric(at(kinds[k], 0.5), string(k)+"-ns")
		}
	}
	b.ReportMetric(0, "ns/op") // both ways together: says nothing
}
