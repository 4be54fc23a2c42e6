package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

// Bounds on new alerts. What is beyond them is counted as suppressed in the
// latest alert of its source, and all records are kept.
const (
	sourceBurst  = 50
	sourceEvery  = 12 * time.Second // one more
	gatewayBurst = 200              // of one rule, about one gateway's skills, or about whoever else comes near it
	gatewayEvery = 2 * time.Second
	ruleBurst    = 1000 // of one rule
	ruleEvery    = 500 * time.Millisecond
	limitQuiet   = time.Minute // without anything held back: the limiting is over
	maxSources   = 8192
	maxOfClass   = 128 // sources of one rule, gateway and class; the rest of them is one source
)

// A bucket holds what may still be given out at once.
type bucket struct {
	left float64
	at   time.Time
}

func (b *bucket) refill(burst int, every time.Duration, now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.left = min(b.left+float64(d)/float64(every), float64(burst))
		b.at = now
	}
}

// A classKey is a sort of sources that must not take each other's place.
type classKey struct {
	rule     string
	severity event.Severity
	gateway  string
	class    string // how sure the skill is; candidates; the user of a stranger
}

// A sourceKey says whose findings of a rule are limited together: those of a
// skill, or of whoever it may be.
type sourceKey struct {
	classKey
	who string
}

func (k classKey) isSkill() bool { return strings.HasPrefix(k.class, "skill ") }

// A source is one that findings come from.
type source struct {
	key    sourceKey
	bucket bucket
	kept   []*finding // alerts that are still counted in, oldest first
	latest *finding

	limited bool      // something is held back
	began   time.Time // since then
	held    time.Time // when something was last
	count   int       // of what was
	events  []string  // the first of them
}

// A sharedKey says which sources have a bucket in common: those of one rule, or
// only those of one gateway, skills apart from others.
type sharedKey struct {
	rule, gateway string
	skills, all   bool
}

func (k sharedKey) size() (burst int, every time.Duration) {
	if k.all {
		return ruleBurst, ruleEvery
	}
	return gatewayBurst, gatewayEvery
}

// limits are what keeps a flood of alerts from burying others: each source has a
// bucket of its own, and the sources of a rule have some in common, from which the
// first alert of a source need not be taken. So no flood of one skill delays the
// first alert of another, and no rule has anything to do with another.
type limits struct {
	sources map[sourceKey]*source
	classes map[classKey]int
	shared  map[sharedKey]*bucket
}

func newLimits() limits {
	return limits{sources: map[sourceKey]*source{}, classes: map[classKey]int{}, shared: map[sharedKey]*bucket{}}
}

// source gives the source of a finding. Of who is no skill there may be any
// number, and they may take half the room.
func (l *limits) source(it *item, rec *event.Record, rule event.RuleRef, now time.Time) *source {
	key := sourceOf(it, rec)
	key.rule, key.severity = rule.Name, rule.Severity
	if s := l.sources[key]; s != nil {
		return s
	}
	room := maxSources
	if !key.isSkill() {
		room /= 2
	}
	if l.classes[key.classKey] >= maxOfClass {
		key.who = ""
	}
	if len(l.sources) >= room {
		key = sourceKey{classKey: classKey{rule: rule.Name, severity: rule.Severity}}
	}
	if s := l.sources[key]; s != nil {
		return s
	}
	s := &source{key: key, bucket: bucket{sourceBurst, now}}
	l.sources[key] = s
	l.classes[key.classKey]++
	return s
}

func sourceOf(it *item, rec *event.Record) (key sourceKey) {
	a := rec.Attribution
	if a != nil {
		key.gateway = a.Gateway
	}
	switch {
	case it.ev.Stranger:
		key.class, key.who = "stranger "+userOf(rec.Process), programOf(rec.Process)
	case a != nil && a.Skill != nil:
		key.class, key.who = "skill "+string(a.Confidence), a.Skill.Dir
	case a != nil && len(a.Candidates) > 0:
		dirs := make([]string, len(a.Candidates))
		for i, c := range a.Candidates {
			dirs[i] = c.Dir
		}
		slices.Sort(dirs)
		key.class, key.who = "candidates", strings.Join(dirs, "\x00")
	default:
		key.class, key.who = "none", "role "+string(it.scope.Role())
	}
	return key
}

// admit reports whether a source may have a new alert.
func (l *limits) admit(s *source, now time.Time) bool {
	s.bucket.refill(sourceBurst, sourceEvery, now)
	gateway := l.common(sharedKey{rule: s.key.rule, gateway: s.key.gateway, skills: s.key.isSkill()}, now)
	all := l.common(sharedKey{rule: s.key.rule, all: true}, now)
	first := s.bucket.left >= sourceBurst
	if s.bucket.left < 1 || !first && (gateway.left < 1 || all.left < 1) {
		return false
	}
	s.bucket.left--
	gateway.left, all.left = max(gateway.left-1, 0), max(all.left-1, 0)
	return true
}

func (l *limits) common(key sharedKey, now time.Time) *bucket {
	burst, every := key.size()
	b := l.shared[key]
	if b == nil {
		b = &bucket{float64(burst), now}
		l.shared[key] = b
	}
	b.refill(burst, every, now)
	return b
}

// largest gives the source that keeps most.
func (l *limits) largest() (most *source) {
	for _, s := range l.sources {
		if most == nil || len(s.kept) > len(most.kept) {
			most = s
		}
	}
	return most
}

// expire forgets sources that have been quiet for long enough to begin anew.
func (l *limits) expire(now time.Time, counted map[*finding]bool) {
	for key, s := range l.sources {
		s.bucket.refill(sourceBurst, sourceEvery, now)
		if len(s.kept) > 0 || s.limited || s.bucket.left < sourceBurst || counted[s.latest] {
			continue
		}
		delete(l.sources, key)
		if l.classes[key.classKey]--; l.classes[key.classKey] == 0 {
			delete(l.classes, key.classKey)
		}
	}
	for key := range l.shared {
		if burst, _ := key.size(); l.common(key, now).left >= float64(burst) {
			delete(l.shared, key)
		}
	}
}

// holdBack counts a finding that is no alert of its own, and tells of the first.
func (p *Pipeline) holdBack(s *source, rec *event.Record) {
	p.stats.HeldBack++
	s.held = p.now
	s.count++
	if len(s.events) < maxEvents {
		s.events = append(s.events, rec.ID)
	}
	if !s.limited {
		s.limited, s.began = true, p.now
		p.tellLimit(s, "sampled", fmt.Sprintf("more alerts of rule %s than are given out one by one: what follows is counted as suppressed in the latest of them", s.key.rule))
	}
}

// letGo tells of what was held back, where nothing is any more.
func (p *Pipeline) letGo(all bool) {
	var over []*source
	for _, s := range p.findings.limits.sources {
		if s.limited && (all || p.now.Sub(s.held) >= limitQuiet) {
			over = append(over, s)
		}
	}
	slices.SortFunc(over, func(a, b *source) int { return strings.Compare(a.latest.alert.ID, b.latest.alert.ID) })
	for _, s := range over {
		s.limited = false
		p.tellLimit(s, "complete", fmt.Sprintf("alerts of rule %s are given out one by one again: %d findings were counted as suppressed instead", s.key.rule, s.count))
		s.count, s.events = 0, nil
	}
}

// alertsProbe is the name under which sensor.coverage tells of alerts that are
// held back.
const alertsProbe = "alerts"

// tellLimit gives out a record of a source whose alerts are held back, or no
// longer are. Of whom it tells is what its latest alert says.
func (p *Pipeline) tellLimit(s *source, fidelity, reason string) {
	rec := event.Record{
		ID: p.NewID(p.now), Time: p.now, Kind: event.KindCoverage, Source: event.SourceAgent,
		Sensor: &event.Sensor{Probe: alertsProbe, Fidelity: fidelity, Reason: reason, Limited: &event.Limited{
			Rule: s.key.rule, Alert: s.latest.alert.ID, HeldBack: s.count, Events: slices.Clone(s.events),
		}},
	}
	if fidelity == "complete" {
		from := s.began
		rec.Sensor.From = &from
	}
	if a := s.latest.alert.Attribution; a != nil {
		rec.Attribution = &event.Attribution{Gateway: a.Gateway, Skill: a.Skill, Candidates: a.Candidates, Confidence: a.Confidence}
	}
	p.stats.Records++
	p.Sink.Record(rec)
	it := &item{id: rec.ID, ev: event.Event{Time: rec.Time, Source: rec.Source, Body: event.Coverage{Probe: alertsProbe}}}
	p.judge(it, rules.Input{Record: &rec, View: p.view(nil, rec.Attribution)})
}
