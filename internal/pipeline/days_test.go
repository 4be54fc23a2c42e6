package pipeline

import (
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/rules"
)

func TestADayEndsAtMidnightAndIsOneSkillsOwn(t *testing.T) {
	var d days
	of := func(dir string) *event.Attribution {
		return &event.Attribution{Gateway: "g", Skill: &event.SkillID{Dir: dir}}
	}
	sent := func(before, after uint64) rules.Run { return rules.Run{PreviousBytesSent: before, BytesSent: after} }
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i, step := range []struct {
		of   *event.Attribution
		run  rules.Run
		at   time.Time
		want rules.Day
	}{
		{of("a"), sent(0, 10), noon, rules.Day{BytesSent: 10}},
		{of("a"), sent(10, 15), noon, rules.Day{PreviousBytesSent: 10, BytesSent: 15}},
		{of("a"), sent(0, 7), noon, rules.Day{PreviousBytesSent: 15, BytesSent: 22}}, // another run
		{of("b"), sent(0, 1), noon, rules.Day{BytesSent: 1}},
		{of("a"), rules.Run{PreviousBytesReceived: 1, BytesReceived: 4}, noon, rules.Day{PreviousBytesSent: 22, BytesSent: 22, BytesReceived: 3}},
		{nil, sent(0, 9), noon, rules.Day{}},
		{&event.Attribution{Gateway: "g"}, sent(0, 9), noon, rules.Day{}}, // nobody is named
		{of("a"), sent(7, 7), noon, rules.Day{}},                          // nothing moved
		{of("a"), sent(7, 8), noon.Add(13 * time.Hour), rules.Day{BytesSent: 1}},
	} {
		if got := d.add(step.of, step.run, step.at); got != step.want {
			t.Errorf("%d: %+v, want %+v", i, got, step.want)
		}
	}
}

// Portions that stay below the limit of a run add up.
func TestTheDaysLimitIsCrossedOnce(t *testing.T) {
	b := skill(t)
	pol := policy.Default()
	pol.Limits = policy.Limits{BytesPerSkillDay: 20e6}
	b.SetRules(b.Rules, pol)
	alerts := func() (n int) {
		for _, a := range b.alerts {
			if a.Rule.Name == "daily-data-volume" && !a.Amended {
				n++
			}
		}
		return n
	}
	for i := range 5 {
		b.push(10+float64(i), proc(101), event.Close{Transport: event.TCP, Local: client, Peer: server, Socket: uint64(10 + i), Sent: 4e6})
	}
	b.Tick(at(20))
	if alerts() != 0 {
		t.Fatalf("20 MB are over the limit: %v", b.fired())
	}
	for i := range 3 {
		b.push(21+float64(i), proc(101), event.Close{Transport: event.TCP, Local: client, Peer: server, Socket: uint64(20 + i), Sent: 4e6})
	}
	b.Tick(at(30))
	if alerts() != 1 {
		t.Errorf("%d alerts for 32 MB, want 1: %v", alerts(), b.fired())
	}
}
