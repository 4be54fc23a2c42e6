package agent

import (
	"slices"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A BlindRule is a rule in force that waits for what nothing on this host sees.
type BlindRule struct {
	Rule   string       `json:"rule"`
	Unseen []event.Kind `json:"unseen"` // of the kinds that it is for
	Whole  bool         `json:"whole"`  // all of them: it can never be true
}

// blind gives the rules that are for kinds of events which some sensor is there for
// and none sees. A rule says by its kinds what it needs.
func (j judgement) blind(coverage []event.Coverage) []BlindRule {
	unseen := unseenKinds(coverage)
	if len(unseen) == 0 || j.rules == nil {
		return nil
	}
	var all []BlindRule
	for _, r := range j.rules.Rules() {
		var lacks []event.Kind
		for _, k := range r.Kinds {
			if unseen[k] {
				lacks = append(lacks, k)
			}
		}
		if r.Enabled && len(lacks) > 0 {
			all = append(all, BlindRule{r.Name, lacks, len(lacks) == len(r.Kinds)})
		}
	}
	return all
}

// unseenKinds are those that a sensor would see here and does not, nor another.
func unseenKinds(coverage []event.Coverage) map[event.Kind]bool {
	unseen := map[event.Kind]bool{}
	for _, c := range coverage {
		for _, k := range c.Kinds {
			if c.Fidelity == "none" && !slices.ContainsFunc(coverage, func(o event.Coverage) bool { return o.Fidelity != "none" && slices.Contains(o.Kinds, k) }) {
				unseen[k] = true
			}
		}
	}
	return unseen
}
