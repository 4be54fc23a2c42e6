package rules_test

import (
	"net/netip"
	"testing"

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
