package pipeline

import (
	"slices"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Bounds on what is remembered of the agent's own sight.
const (
	maxProbes  = 256
	maxLapses  = 256
	lapse      = time.Minute      // how far back a loss reaches that does not say from when
	adjustment = 10 * time.Second // after a probe is armed: until what runs already has been looked at
)

// sight is which kinds of events were seen whole, and since when. That something
// was not seen says nothing where nobody looked.
type sight struct {
	probes map[string]event.Coverage
	since  map[event.Kind]time.Time // some probe sees all of the kind; absent: none does
	lapses []gap
}

// A gap is a time in which events of these kinds may have been missed; none:
// of any kind.
type gap struct {
	kinds    []event.Kind
	from, to time.Time
}

// note takes in what a collector says of itself.
func (s *sight) note(ev event.Event) {
	switch b := ev.Body.(type) {
	case event.Coverage:
		if !b.Known && (s.probes[b.Probe].Probe != "" || len(s.probes) < maxProbes) {
			s.probes[b.Probe] = b
			s.settle(ev.Time)
		}
	case event.Lost:
		from := b.From
		if from.IsZero() {
			from = ev.Time.Add(-lapse)
		}
		g := gap{nil, from, ev.Time}
		if b.Of != "" {
			g.kinds = []event.Kind{b.Of}
		}
		s.lapse(g)
	case event.Gap:
		s.lapse(gap{b.Kinds, ev.Time.Add(-lapse), ev.Time})
	}
}

func (s *sight) lapse(g gap) {
	if s.lapses = append(s.lapses, g); len(s.lapses) > maxLapses {
		s.lapses = s.lapses[1:]
	}
}

// settle works out what is seen whole, now that a probe has said something. One
// that says that it should see, and does not, speaks against all others.
func (s *sight) settle(at time.Time) {
	seen, blind := map[event.Kind]bool{}, map[event.Kind]bool{}
	for _, c := range s.probes {
		for _, k := range c.Kinds {
			if c.Fidelity == "complete" {
				seen[k] = true
			} else if c.Probe == trialProbe {
				blind[k] = true
			}
		}
	}
	for k := range s.since {
		if !seen[k] || blind[k] {
			delete(s.since, k)
		}
	}
	for k := range seen {
		if _, known := s.since[k]; !known && !blind[k] {
			s.since[k] = at
		}
	}
}

// trialProbe is the name under which the agent reports what it did and did not
// see itself do.
const trialProbe = "canary"

// clear reports whether all of these kinds were seen whole all the time.
func (s *sight) clear(kinds []event.Kind, from, to time.Time) bool {
	for _, k := range kinds {
		since, known := s.since[k]
		if !known || from.Before(since.Add(adjustment)) {
			return false
		}
	}
	return !slices.ContainsFunc(s.lapses, func(g gap) bool {
		hits := len(g.kinds) == 0 || slices.ContainsFunc(g.kinds, func(k event.Kind) bool { return slices.Contains(kinds, k) })
		return hits && !g.from.After(to) && !g.to.Before(from)
	})
}
