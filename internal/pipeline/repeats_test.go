package pipeline

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

func TestFindingsAreCountedWithinATime(t *testing.T) {
	want := rules.Repeat{Of: 3, Within: time.Minute}
	r := repeats{}
	add := func(key string, second int, id string) []string {
		ids, ok := r.add(repeatKey{rule: key}, want, &event.Record{ID: id, Time: noon.Add(time.Duration(second) * time.Second)})
		if ok != (ids != nil) {
			t.Errorf("%s: %v, %v", id, ids, ok)
		}
		return ids
	}
	for _, step := range []struct {
		key    string
		second int
		id     string
		want   []string
	}{
		{"a", 0, "1", nil}, {"a", 10, "2", nil}, {"a", 10, "2", nil}, // amended
		{"b", 11, "3", nil}, {"a", 65, "4", nil}, // the first is too old by then
		{"a", 20, "5", []string{"2", "4", "5"}}, // late
		{"a", 66, "6", nil}, {"a", 67, "7", nil}, {"a", 68, "8", []string{"6", "7", "8"}},
	} {
		if got := add(step.key, step.second, step.id); !slices.Equal(got, step.want) {
			t.Errorf("%s: %v, want %v", step.id, got, step.want)
		}
	}
	r.expire(noon.Add(71 * time.Second))
	if len(r) != 1 {
		t.Errorf("%d are counted", len(r))
	}
	if r.expire(noon.Add(72 * time.Second)); len(r) != 0 {
		t.Errorf("%d are still counted", len(r))
	}
	for i := range maxRepeats {
		add(fmt.Sprint("x", i), 100, "1")
	}
	if got := add("y", 100, "9"); !slices.Equal(got, []string{"9"}) || len(r) != maxRepeats {
		t.Errorf("beyond the bound: %v, %d", got, len(r))
	}
}

const counting = `
rules:
  - name: refusals
    description: d
    severity: low
    condition: kind == "network.connect" and acting
    count: {of: 3, within: 1m, over: skill}
    message: "{who} at last {endpoint}"
  - name: after
    description: d
    severity: low
    condition: kind == "network.connect" and "refusals" in run.fired
    message: after
`

// Whoever fulfils a rule often enough has one alert, which says how often, and what
// rules gave an alert before is known to others.
func TestARuleThatCountsAlertsOnceThereWereEnough(t *testing.T) {
	b := skill(t)
	set, err := rules.Load(rules.Source{Name: "r.yaml", Data: []byte(counting)})
	if err != nil {
		t.Fatal(err)
	}
	b.SetRules(set, b.Policy)
	for i := range 6 {
		b.push(10+float64(i), proc(101), event.Connect{Transport: event.TCP, Local: client, Peer: netip.AddrPortFrom(server.Addr(), uint16(1000+i)), Socket: uint64(20 + i)})
	}
	b.Tick(at(40))
	var got []string
	counts := map[string]int{}
	for _, a := range b.alerts {
		if counts[a.ID] = a.Count; !a.Amended {
			got = append(got, fmt.Sprint(a.Rule.Name, " ", a.Count, " ", len(a.Events)))
		}
	}
	if want := []string{"refusals 3 3", "after 1 1", "after 1 1", "after 1 1"}; !slices.Equal(got, want) {
		t.Errorf("alerts %q, want %q", got, want)
	}
	if counts[b.alerts[0].ID] != 6 {
		t.Errorf("the first counts %d in the end, want all six", counts[b.alerts[0].ID])
	}
}

func TestFindingsAreCountedOverWhatTheRuleSays(t *testing.T) {
	key := func(over string, pid int32, session, dir string) repeatKey {
		rec := &event.Record{Attribution: &event.Attribution{Gateway: "g", Session: session}}
		if dir != "" {
			rec.Attribution.Skill = &event.SkillID{Dir: dir}
		}
		return repeatKeyOf(&item{ev: event.Event{Proc: proc(pid)}}, rec, rules.Finding{Repeat: rules.Repeat{Over: over}})
	}
	type who struct {
		pid          int32
		session, dir string
	}
	for _, tt := range []struct {
		a, b                      who
		skill, session, execution bool // together
	}{
		{who{1, "s", "/a"}, who{1, "s", "/a"}, true, true, true},
		{who{1, "s", "/a"}, who{2, "s", "/a"}, true, true, false},
		{who{1, "s", "/a"}, who{2, "t", "/a"}, true, false, false},
		{who{1, "s", "/a"}, who{2, "s", "/b"}, false, true, false},
		{who{1, "s", ""}, who{2, "s", ""}, true, true, false},
		{who{1, "s", ""}, who{2, "t", ""}, false, false, false},
	} {
		for over, want := range map[string]bool{rules.OverSkill: tt.skill, rules.OverSession: tt.session, rules.OverExecution: tt.execution} {
			a, b := key(over, tt.a.pid, tt.a.session, tt.a.dir), key(over, tt.b.pid, tt.b.session, tt.b.dir)
			if (a == b) != want {
				t.Errorf("over %s: %+v and %+v together: %v", over, tt.a, tt.b, a == b)
			}
		}
	}
}
