package agent

import (
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

// ruleProbe begins the name under which sensor.coverage tells that a rule is left out
// because it takes too much or fails; the rule rule-disabled goes by it.
const ruleProbe = "rule "

// leftOut is the rules of the set in force that are not evaluated as they should be.
type leftOut map[string]bool

// say gives what there is to say of a set's rules since the last time.
func (l leftOut) say(set *rules.Set, now time.Time) []event.Event {
	var all []event.Event
	for _, o := range set.Overruns() {
		c := event.Coverage{Probe: ruleProbe + o.Rule, Fidelity: "sampled", Reason: o.Reason + "; it is left out for some seconds"}
		switch {
		case o.Reason == "":
			c.Fidelity, c.Reason = "complete", ""
		case o.Disabled:
			c.Fidelity, c.Reason = "none", o.Reason+"; it is left out until the rules are loaded anew"
		}
		l[o.Rule] = o.Reason != ""
		all = append(all, event.Event{Time: now, Source: event.SourceAgent, Body: c})
	}
	return all
}

// anew is for another set, whose rules are all evaluated.
func (l leftOut) anew(now time.Time) []event.Event {
	var all []event.Event
	for name, out := range l {
		if out {
			all = append(all, event.Event{Time: now, Source: event.SourceAgent, Body: event.Coverage{Probe: ruleProbe + name, Fidelity: "complete"}})
		}
	}
	clear(l)
	return all
}
