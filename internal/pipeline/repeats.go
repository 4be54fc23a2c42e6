package pipeline

import (
	"slices"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

// maxRepeats bounds who is counted at the same time. Beyond, a finding is an alert
// without others: who makes up sessions to fill it is no less seen for it.
const maxRepeats = 4096

// A repeatKey says what is counted together.
type repeatKey struct {
	rule, gateway, session, skill, stranger string
	execution                               event.ProcID
}

// A repeat is the latest findings of one key that are no alert yet.
type repeat struct {
	seen   []sighting
	within time.Duration
}

type sighting struct {
	at time.Time
	id string
}

// repeats count findings of rules that want several in a time.
type repeats map[repeatKey]*repeat

// add takes in a finding. Where it completes what the rule wants, the IDs of all the
// records are given, and counting begins anew.
func (r repeats) add(key repeatKey, want rules.Repeat, rec *event.Record) (ids []string, enough bool) {
	x := r[key]
	if x == nil {
		if len(r) >= maxRepeats {
			return []string{rec.ID}, true
		}
		x = &repeat{within: want.Within}
		r[key] = x
	}
	if slices.ContainsFunc(x.seen, func(s sighting) bool { return s.id == rec.ID }) {
		return nil, false // it is amended
	}
	x.seen = append(x.seen, sighting{rec.Time, rec.ID})
	latest := slices.MaxFunc(x.seen, func(a, b sighting) int { return a.at.Compare(b.at) }).at
	x.seen = slices.DeleteFunc(x.seen, func(s sighting) bool { return latest.Sub(s.at) > want.Within })
	if len(x.seen) < want.Of {
		return nil, false
	}
	for _, s := range x.seen {
		ids = append(ids, s.id)
	}
	delete(r, key)
	return ids, true
}

func (r repeats) expire(now time.Time) {
	for key, x := range r {
		if !slices.ContainsFunc(x.seen, func(s sighting) bool { return now.Sub(s.at) <= x.within }) {
			delete(r, key)
		}
	}
}

// repeatKeyOf says with what a finding is counted.
func repeatKeyOf(it *item, rec *event.Record, f rules.Finding) repeatKey {
	key := repeatKey{rule: f.Rule.Name}
	if it.ev.Stranger {
		key.stranger = strangerOf(rec.Process)
		return key
	}
	skill := ""
	if a := rec.Attribution; a != nil {
		key.gateway, key.session = a.Gateway, a.Session
		if a.Skill != nil {
			skill = a.Skill.Dir
		}
	}
	switch f.Repeat.Over {
	case rules.OverExecution:
		if key.execution = it.scope.Execution(); key.execution.IsZero() {
			key.execution = it.ev.Proc
		}
		key.session = ""
	case rules.OverSkill:
		if key.skill = skill; skill != "" {
			key.session = ""
		}
	}
	return key
}

// complete reports whether a finding is an alert by now. One that is no alert by
// itself speaks for those before it as well.
func (p *Pipeline) complete(it *item, rec *event.Record, f rules.Finding) (ids []string, ok bool) {
	if f.Repeat.Of < 2 {
		return []string{rec.ID}, true
	}
	return p.repeats.add(repeatKeyOf(it, rec, f), f.Repeat, rec)
}
