package pipeline

import (
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

// Bounds on habits. Names are hostile programs' own.
const (
	maxHabits      = 4096    // skills
	maxTraits      = 256     // of one sort, of one skill: beyond, nothing of that sort is new any more
	maxAllTraits   = 100_000 // of all
	habitsOutdated = 30 * 24 * time.Hour
)

// habits are what skills do usually, so that what is new can be told.
type habits struct {
	of map[skillKey]*habit
	n  int // traits of all
}

type habit struct {
	traits map[event.TraitSort]map[string]bool
	trees  map[string]bool // digests of what lay in its directory
	calls  int             // tool calls that were made for it

	changed time.Time // when another tree than those lay there; zero: none did
	before  int       // calls until then
}

// Recall takes in what skills were seen to do before the agent was started.
func (p *Pipeline) Recall(all []event.Habit) {
	h := &p.habits
	for _, x := range all {
		known := h.get(skillKey{x.Gateway, x.Dir})
		if known == nil {
			return
		}
		known.calls += x.Calls
		for _, tree := range x.Trees {
			known.trees[tree] = true
		}
		for _, t := range x.Traits {
			h.learn(known, t)
		}
	}
}

func (h *habits) get(key skillKey) *habit {
	if h.of == nil {
		h.of = map[skillKey]*habit{}
	}
	x := h.of[key]
	if x == nil && len(h.of) < maxHabits {
		x = &habit{traits: map[event.TraitSort]map[string]bool{}, trees: map[string]bool{}}
		h.of[key] = x
	}
	return x
}

// tree takes note of what lies in a skill's directory. Whoever writes a tree that was
// there before has nothing new to show.
func (h *habits) tree(key skillKey, digest string, now time.Time) {
	x := h.get(key)
	if x == nil || digest == "" || x.trees[digest] {
		return
	}
	if len(x.trees) > 0 {
		x.changed, x.before = now, x.calls
	}
	if len(x.trees) < maxTraits {
		x.trees[digest] = true
	}
}

// learn reports whether a trait is new. An empty name says that there were more than
// are known.
func (h *habits) learn(x *habit, t event.Trait) bool {
	known := x.traits[t.What]
	if known == nil {
		known = map[string]bool{}
		x.traits[t.What] = known
	}
	if known[t.Name] || known[""] {
		return false
	}
	if len(known) >= maxTraits || h.n >= maxAllTraits {
		t.Name = ""
	}
	known[t.Name] = true
	h.n++
	return t.Name != ""
}

// add takes in what a record tells of its skill, and says what of it is new.
func (h *habits) add(r *event.Record, now time.Time) rules.Profile {
	if r.Skill != nil && r.Attribution != nil { // of a replay; else it is known already
		h.tree(skillKey{r.Attribution.Gateway, r.Skill.ID.Dir}, r.Skill.ID.SHA256, now)
		return rules.Profile{}
	}
	traits := r.Traits()
	if len(traits) == 0 {
		return rules.Profile{}
	}
	x := h.get(skillKey{r.Attribution.Gateway, r.Attribution.Skill.Dir})
	if x == nil {
		return rules.Profile{}
	}
	p := rules.Profile{Calls: x.before}
	if !x.changed.IsZero() && now.Sub(x.changed) < habitsOutdated {
		p.Changed, p.Age = true, now.Sub(x.changed)
	}
	for _, t := range traits {
		if t.What == event.TraitCall {
			x.calls++
		}
		if !h.learn(x, t) {
			continue
		}
		switch t.What {
		case event.TraitHost:
			if r.Network.PeerPort != 53 { // name servers are every program's
				p.NewHosts = append(p.NewHosts, t.Name)
			}
		case event.TraitProgram:
			p.NewPrograms = append(p.NewPrograms, t.Name)
		case event.TraitVariable:
			p.NewVariables = append(p.NewVariables, t.Name)
		}
	}
	return p
}
