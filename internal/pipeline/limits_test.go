package pipeline

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

// finds lets a rule find something done for a skill by a process, as though a
// record had come.
func (b *bench) finds(sec float64, rule string, severity event.Severity, skill string, pid int32, path string, throttle time.Duration) {
	b.Tick(at(sec))
	a := &event.Attribution{Gateway: state, Session: fmt.Sprint("s", pid), Confidence: event.Certain}
	if skill != "" {
		a.Skill = &event.SkillID{Name: skill, Dir: workspace + "/skills/" + skill}
	}
	b.one(event.KindFileOpen, rule, severity, a, pid, path, throttle, false)
}

func (b *bench) one(kind event.Kind, rule string, severity event.Severity, a *event.Attribution, pid int32, path string, throttle time.Duration, stranger bool) {
	rec := &event.Record{
		ID: b.NewID(b.now), Time: b.now, Kind: kind, Attribution: a, File: &event.File{Path: path, Operation: "read"},
		Process: &event.Process{PID: pid, Executable: &event.Executable{Path: "/usr/bin/cat"}, User: &event.User{ID: 1001}},
	}
	it := &item{id: rec.ID, ev: event.Event{Proc: proc(pid), Stranger: stranger}}
	b.alert(it, rec, rules.Finding{Rule: event.RuleRef{Name: rule, Severity: severity}, Message: "found", Throttle: throttle}, []string{rec.ID})
}

// counted adds up all alerts as they were given out last.
func (b *bench) counted() (alerts, findings int) {
	last := map[string]event.Alert{}
	for _, a := range b.alerts {
		last[a.ID] = a
	}
	for _, a := range last {
		findings += a.Count + a.Suppressed
	}
	return len(last), findings
}

func (b *bench) limits() (began, ended []event.Record) {
	for _, r := range b.records {
		switch {
		case r.Sensor == nil || r.Sensor.Limited == nil:
		case r.Sensor.Fidelity == "complete":
			ended = append(ended, r)
		default:
			began = append(began, r)
		}
	}
	return began, ended
}

// One skill is run again and again, each time in a process of its own.
func TestAFloodOfExecutionsIsBoundedAndHidesNobody(t *testing.T) {
	b := newBench(t, 0)
	const all = 100_000
	for i := range all {
		sec := 1 + float64(i)/200 // for some eight minutes
		b.finds(sec, "noisy", event.High, "flood", int32(i+1000), fmt.Sprint("/data/", i), 0)
		if i != all/2 {
			continue
		}
		for _, other := range []struct {
			rule     string
			severity event.Severity
			skill    string
		}{{"noisy", event.High, "quiet"}, {"noisy", event.Critical, "flood"}, {"grave", event.Critical, "flood"}, {"slight", event.Info, "flood"}, {"noisy", event.High, ""}} {
			n := len(b.alerts)
			b.finds(sec, other.rule, other.severity, other.skill, 7, "/etc/shadow", 0)
			if len(b.alerts) != n+1 || b.alerts[n].Rule.Name != other.rule || b.alerts[n].Amended {
				t.Fatalf("%+v is not told at once", other)
			}
		}
	}
	b.Tick(at(1000))
	began, ended := b.limits()
	if len(began) != 1 || len(ended) != 1 {
		t.Fatalf("limiting began %d times and ended %d times", len(began), len(ended))
	}
	l := ended[0].Sensor.Limited
	if a := ended[0].Attribution; a.Skill.Name != "flood" || l.Rule != "noisy" || len(l.Events) != maxEvents || ended[0].Sensor.From == nil {
		t.Errorf("%+v of %+v", l, a)
	}
	alerts, findings := b.counted()
	if findings != all+5 {
		t.Errorf("%d findings are counted, want %d", findings, all+5)
	}
	if alerts > 110 || l.HeldBack != findings-alerts || b.Stats().HeldBack != uint64(l.HeldBack) {
		t.Errorf("%d alerts, %d held back", alerts, l.HeldBack)
	}
	if n := len(b.alerts); n > 1000 {
		t.Errorf("alerts were given out %d times", n)
	}
}

// Many skills at once empty what a rule has; who comes new has an alert all the same.
func TestTheFirstAlertOfASkillNeedsNothingOfItsRule(t *testing.T) {
	b := newBench(t, 0)
	for i := range 20 {
		for j := range 40 {
			b.finds(1, "noisy", event.High, fmt.Sprint("skill", i), int32(1000+i*100+j), "/x", 0)
		}
	}
	if alerts, _ := b.counted(); alerts > gatewayBurst+20 {
		t.Errorf("%d alerts at once", alerts)
	}
	n := len(b.alerts)
	b.finds(1, "noisy", event.High, "new", 7, "/x", 0)
	if len(b.alerts) != n+1 {
		t.Error("the first alert of a new skill is held back")
	}
	other := &event.Attribution{Gateway: "/home/eve/.openclaw", Confidence: event.Certain, Skill: &event.SkillID{Name: "x", Dir: "/x"}}
	for i := range 3 { // nor do others lose more than the first
		b.one(event.KindFileOpen, "noisy", event.High, other, int32(10+i), "/x", 0, false)
	}
	if len(b.alerts) != n+4 {
		t.Error("an alert of another gateway is held back")
	}
	b.Flush()
	if _, findings := b.counted(); findings != 804 {
		t.Errorf("%d findings are counted", findings)
	}
}

// Whatever comes, in whichever order: every finding is in one alert, what is
// remembered is bounded, and nothing of it grows for ever.
func TestCountsAddUpWhateverComes(t *testing.T) {
	for seed := range uint64(3) {
		b := newBench(t, 0)
		r := rand.New(rand.NewPCG(seed, 1))
		sec, all := 1.0, 10_000
		for range all {
			sec += r.Float64() * 0.2
			if r.IntN(2000) == 0 {
				sec += 700
			}
			throttle := []time.Duration{0, 0, time.Minute, 24 * time.Hour}[r.IntN(4)]
			b.finds(sec, fmt.Sprint("rule", throttle), event.High, []string{"", "a", "b", fmt.Sprint(r.IntN(400))}[r.IntN(4)], int32(1+r.IntN(500)), fmt.Sprint("/x/", r.IntN(500)), throttle)
			fs := &b.findings
			if len(fs.known) > maxFindings || len(fs.limits.sources) > maxSources {
				t.Fatalf("%d findings of %d sources are kept", len(fs.known), len(fs.limits.sources))
			}
		}
		b.Flush()
		if _, findings := b.counted(); findings != all {
			t.Errorf("seed %d: %d findings are counted, want %d", seed, findings, all)
		}
		began, ended := b.limits()
		if len(began) != len(ended) || len(began) == 0 {
			t.Errorf("limiting began %d times and ended %d times", len(began), len(ended))
		}
		for range 3 {
			sec += 2 * 24 * 3600
			b.Tick(at(sec))
		}
		if fs := b.findings; len(fs.known)+len(fs.groups)+len(fs.counted)+len(fs.limits.sources)+len(fs.limits.classes)+len(fs.limits.shared) != 0 {
			t.Errorf("kept for ever: %d %d %d %d", len(fs.known), len(fs.groups), len(fs.counted), len(fs.limits.sources))
		}
	}
}

// A rule with a throttle has one alert in that time, whichever execution it is.
func TestAThrottledRuleHasOneAlertInItsTime(t *testing.T) {
	b := newBench(t, 0)
	for i := range 30 { // one a minute, each in another session
		b.finds(float64(60*i), "slow", event.Low, "weather", int32(i+1000), "/x", 10*time.Minute)
	}
	b.finds(1800, "slow", event.Low, "weather", 7, "/y", 10*time.Minute)
	b.Flush()
	if alerts, findings := b.counted(); alerts != 4 || findings != 31 {
		t.Errorf("%d alerts of %d findings", alerts, findings)
	}
	for _, a := range b.alerts {
		if a.Count > 10 || a.Attribution.Session != fmt.Sprint("s", a.Process.PID) {
			t.Errorf("%+v", a)
		}
	}
}

// A job that comes again, from outside or as an heir, is a process of its own each time.
func TestWhatComesAgainFromOutsideIsOneAlert(t *testing.T) {
	for _, c := range []struct {
		kind     event.Kind
		stranger bool
	}{{event.KindHeir, false}, {event.KindFileOpen, true}} {
		b := newBench(t, 0)
		a := &event.Attribution{Gateway: state, Confidence: event.None}
		for i := range 200 {
			b.Tick(at(float64(60 * i)))
			b.one(c.kind, "left-behind-file-used", event.Low, a, int32(i+1000), "/x", 0, c.stranger)
		}
		b.Flush()
		if alerts, findings := b.counted(); alerts != 1 || findings != 200 {
			t.Errorf("%s: %d alerts of %d findings", c.kind, alerts, findings)
		}
		for i := range 5000 {
			b.one(c.kind, "left-behind-file-used", event.Low, a, int32(i+5000), fmt.Sprint("/y", i), 0, c.stranger)
		}
		b.Flush()
		if alerts, findings := b.counted(); alerts > sourceBurst+1 || findings != 5200 {
			t.Errorf("%s: a flood: %d alerts of %d findings", c.kind, alerts, findings)
		}
	}
}

// A skill that keeps many alerts open loses its own oldest, and no one else's.
func TestASkillFillsItsOwnShareOnly(t *testing.T) {
	b := newBench(t, 0)
	b.finds(1, "slow", event.Low, "quiet", 7, "/x", 24*time.Hour)
	for i := range 2000 {
		b.finds(1+float64(i)*15, "slow", event.Low, "flood", int32(1000+i), fmt.Sprint("/", i), 24*time.Hour)
	}
	if n := len(b.findings.known); n != maxOfSource+1 {
		t.Errorf("%d are kept", n)
	}
	n := len(b.alerts)
	b.finds(30010, "slow", event.Low, "quiet", 9, "/x", 24*time.Hour)
	b.Flush()
	if len(b.alerts) != n+1 || !b.alerts[n].Amended || b.alerts[n].Count != 2 {
		t.Errorf("the other's alert is forgotten")
	}
}

// Any number of names makes a bounded number of sources, and takes no skill's place.
func TestNamesWithoutEndAreOneSource(t *testing.T) {
	b := newBench(t, 0)
	for i := range 20_000 {
		a := &event.Attribution{Gateway: state, Confidence: event.Ambiguous, Candidates: []event.SkillID{{Dir: fmt.Sprint("/a/", i)}, {Dir: "/b"}}}
		b.one(event.KindFileOpen, "noisy", event.High, a, 9, "/x", 0, false)
	}
	if n := len(b.findings.limits.sources); n > maxOfClass+1 {
		t.Errorf("%d sources", n)
	}
	n := len(b.alerts)
	b.finds(1, "noisy", event.High, "quiet", 7, "/x", 0)
	if len(b.alerts) != n+1 {
		t.Error("a skill's alert is held back")
	}
	b.Flush()
	if _, findings := b.counted(); findings != 20_001 {
		t.Errorf("%d findings are counted", findings)
	}
}
