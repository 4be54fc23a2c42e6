package agent

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// seen is what collectors said of gateways' skills and of themselves.
type seen struct {
	sync.Mutex
	skills   map[string]map[string]bool // directories of skills, by gateway
	coverage map[string]event.Coverage  // by probe
}

// note keeps what Status tells.
func (s *seen) note(ev event.Event) {
	switch b := ev.Body.(type) {
	case event.Skill:
		s.Lock()
		defer s.Unlock()
		if s.skills == nil {
			s.skills = map[string]map[string]bool{}
		}
		if s.skills[b.Gateway] == nil {
			s.skills[b.Gateway] = map[string]bool{}
		}
		if b.Change == event.Removed {
			delete(s.skills[b.Gateway], b.ID.Dir)
		} else {
			s.skills[b.Gateway][b.ID.Dir] = true
		}
	case event.Coverage:
		s.Lock()
		defer s.Unlock()
		if s.coverage == nil {
			s.coverage = map[string]event.Coverage{}
		}
		s.coverage[b.Probe] = b
	}
}

// noting keeps what passes by.
func (a *Agent) noting(emit func(event.Event)) func(event.Event) {
	return func(ev event.Event) {
		a.seen.note(ev)
		emit(ev)
	}
}

// skillCounts gives the number of skills by gateway.
func (s *seen) skillCounts() map[string]int {
	s.Lock()
	defer s.Unlock()
	counts := make(map[string]int, len(s.skills))
	for gateway, dirs := range s.skills {
		counts[gateway] = len(dirs)
	}
	return counts
}

// probes gives the coverage that collectors reported, by the probe's name.
func (s *seen) probes() []event.Coverage {
	s.Lock()
	defer s.Unlock()
	return slices.SortedFunc(maps.Values(s.coverage), func(a, b event.Coverage) int { return cmp.Compare(a.Probe, b.Probe) })
}

// narrate logs a line for each gateway that is found, once its skills have been
// counted, and says when there is none yet.
func (a *Agent) narrate(ctx context.Context) {
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	told, before := map[string]bool{}, map[string]int{}
	waiting := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		counts, any := a.seen.skillCounts(), false
		for _, g := range a.found.list() {
			if g.Role != event.RoleGateway {
				continue
			}
			any = true
			last, known := before[g.ID]
			before[g.ID] = counts[g.ID]
			if told[g.ID] || !known || last != counts[g.ID] {
				continue
			}
			told[g.ID] = true
			a.log.Info("gateway found", "id", g.ID, "uid", g.UID, "version", g.Version, "port", g.Port, "skills", counts[g.ID])
		}
		if !any && !waiting {
			a.log.Info("no OpenClaw gateway runs yet; waiting for one")
		}
		waiting = true
	}
}
