package pipeline

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func did(dir, kind, name string) *event.Record {
	r := &event.Record{Attribution: &event.Attribution{Gateway: "g", Confidence: event.Strong, Skill: &event.SkillID{Dir: dir}}}
	switch kind {
	case "call":
		r.Kind, r.Tool = event.KindToolCall, &event.Tool{Name: name}
	case "host":
		r.Kind, r.Network = event.KindConnect, &event.Network{Transport: event.TCP, Direction: "outbound", PeerAddress: name, PeerPort: 443}
	case "dns":
		r.Kind, r.Network = event.KindConnect, &event.Network{Transport: event.UDP, Direction: "outbound", PeerAddress: name, PeerPort: 53}
	case "program":
		r.Kind, r.Process = event.KindExec, &event.Process{Role: event.RoleTool, Executable: &event.Executable{Path: "/usr/bin/" + name}}
	case "variable":
		r.Kind, r.Env = event.KindEnvRead, &event.Env{Method: event.EnvGetenv, Names: []string{name}}
	}
	return r
}

func TestWhatASkillNeverDidIsNewOnce(t *testing.T) {
	var h habits
	h.tree(skillKey{"g", "/s/a"}, "one", noon)
	for range 3 {
		h.add(did("/s/a", "call", "exec"), noon)
	}
	h.add(did("/s/a", "host", "192.0.2.1"), noon)
	h.tree(skillKey{"g", "/s/a"}, "one", noon.Add(time.Hour)) // written anew, as it was
	if got := h.add(did("/s/a", "host", "192.0.2.2"), noon.Add(time.Hour)); !reflect.DeepEqual(got, rules.Profile{NewHosts: []string{"192.0.2.2"}}) {
		t.Errorf("before any change: %+v", got)
	}
	h.tree(skillKey{"g", "/s/a"}, "two", noon.Add(2*time.Hour))
	later := noon.Add(3 * time.Hour)
	changed := rules.Profile{Changed: true, Age: time.Hour, Calls: 3}
	with := func(change func(*rules.Profile)) rules.Profile { p := changed; change(&p); return p }
	doubtful := did("/s/a", "host", "192.0.2.9")
	doubtful.Attribution.Confidence = event.Weak
	for i, step := range []struct {
		record *event.Record
		want   rules.Profile
	}{
		{did("/s/a", "host", "192.0.2.1"), changed},
		{did("/s/a", "host", "192.0.2.3"), with(func(p *rules.Profile) { p.NewHosts = []string{"192.0.2.3"} })},
		{did("/s/a", "host", "192.0.2.3"), changed},
		{did("/s/a", "dns", "192.0.2.53"), changed},
		{did("/s/a", "program", "nc"), with(func(p *rules.Profile) { p.NewPrograms = []string{"nc"} })},
		{did("/s/a", "variable", "A_TOKEN"), with(func(p *rules.Profile) { p.NewVariables = []string{"A_TOKEN"} })},
		{did("/s/a", "call", "read"), changed},
		{doubtful, rules.Profile{}},
		{did("/s/b", "host", "192.0.2.3"), rules.Profile{NewHosts: []string{"192.0.2.3"}}}, // another skill
	} {
		if got := h.add(step.record, later); !reflect.DeepEqual(got, step.want) {
			t.Errorf("%d: %+v, want %+v", i, got, step.want)
		}
	}
	if got := h.add(did("/s/a", "host", "192.0.2.4"), noon.Add(habitsOutdated+3*time.Hour)); got.Changed {
		t.Errorf("a month later: %+v", got)
	}
}

// Who makes up names and skills fills what there is room for, and no more.
func TestHabitsAreBounded(t *testing.T) {
	var h habits
	for i := range 2 * maxTraits {
		got := h.add(did("/s/a", "host", fmt.Sprint("h", i)), noon)
		if isNew := len(got.NewHosts) == 1; isNew != (i < maxTraits) {
			t.Fatalf("host %d is new: %v", i, isNew)
		}
	}
	for i := range maxHabits + 10 {
		h.add(did(fmt.Sprint("/s/", i), "host", "h"), noon)
	}
	if len(h.of) > maxHabits || h.n > maxAllTraits+maxHabits {
		t.Errorf("%d skills, %d traits", len(h.of), h.n)
	}
}

// A skill that is known from before the agent was started changes, and then connects
// to a host that it never did.
func TestANewHostAfterAnUpdateAlerts(t *testing.T) {
	b := newBench(t, 0)
	b.Recall([]event.Habit{{
		Gateway: state, Dir: weather, Calls: 7, Trees: []string{"one"},
		Traits: []event.Trait{{What: event.TraitHost, Name: server.Addr().String()}},
	}})
	b.push(0.5, event.ProcID{}, event.Skill{Gateway: state, Change: event.Updated, ID: event.SkillID{Name: "weather", Dir: weather, SHA256: "two"}, Previous: "one"})
	b.use(1, "bash "+script)
	b.run(1.5, "bash "+script)
	b.push(3, proc(101), event.Connect{Transport: event.TCP, Local: client, Peer: server, Socket: 7})
	for i := range 2 {
		b.push(4+float64(i), proc(101), event.Connect{Transport: event.TCP, Local: client, Peer: netip.MustParseAddrPort("198.51.100.7:443"), Socket: uint64(8 + i)})
	}
	b.Tick(at(20))
	var told []string
	for _, a := range b.alerts {
		if a.Rule.Name == "new-behaviour-after-update" && !a.Amended {
			told = append(told, a.Message)
		}
	}
	if len(told) != 1 || !strings.Contains(told[0], "connected to 198.51.100.7 for the first time, after 7 tool calls") {
		t.Errorf("told %q", told)
	}
}
