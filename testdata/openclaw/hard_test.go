package openclaw_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/testdata/openclaw/truth"
)

// A hardCase is a scenario that is made to mislead. How sure the answer must be
// is said by label; check looks at what no line of the truth tells.
type hardCase struct {
	scenario
	check func(said) []string
}

// said is all that clawwatch told.
type said struct {
	events []truth.Event
	alerts []truth.Alert
}

// TestHardCases plays what is hard to attribute: on a gateway as a person starts
// it, on one as its systemd unit does, and on the older release. The cases of an act
// play at the same time, in sessions of their own.
func TestHardCases(t *testing.T) {
	needs(t)
	var all truth.Report
	for _, shape := range []struct {
		name, release string
		service       bool
	}{{"foreground", newest, false}, {"service", newest, true}, {"older", older, false}} {
		t.Run(shape.name, func(t *testing.T) {
			all.Add(playHard(t, shape.name, shape.release, shape.service))
		})
	}
	t.Logf("all of them\n%s", all.Table())
}

func playHard(t *testing.T, name, release string, service bool) truth.Report {
	t.Helper()
	h := newHouse(t, release)
	s := h.newStage(t, name, service)
	s.furnish(t)
	s.start(t)
	watch := startAgent(t, filepath.Join(h.dir, "agent"), h.endpoint, "")
	watch.awaitGateway(t, s.gateway)
	p := production{house: h, stage: s, watch: watch, only: regexp.MustCompile(os.Getenv("CLAWWATCH_E2E_ONLY"))}
	p.act(t, s.mistaken()...)
	p.act(t, append(s.rewritten(p.awaitUpdate), s.leftBehind(p.awaitFile), s.copiedOut(t.TempDir()))...)
	p.act(t, s.imitated(t, h)...)
	p.act(t, s.forged())
	p.compare(t)
	time.Sleep(7 * time.Second) // for five the records stay in doubt after somebody had them open
	return p.restarts(t)
}

// A production is the cases played so far.
type production struct {
	*stage
	house  *house
	watch  *agent
	only   *regexp.Regexp
	played []hardCase
}

// act plays cases side by side.
func (p *production) act(t *testing.T, cases ...hardCase) {
	t.Helper()
	var wg sync.WaitGroup
	for _, c := range cases {
		if !p.only.MatchString(c.name) {
			continue
		}
		p.played = append(p.played, c)
		wg.Go(func() { p.play(t.Context(), t, p.llm, c.scenario) })
	}
	wg.Wait()
}

// compare waits until clawwatch's word and the truth agree, or do not in time.
func (p *production) compare(t *testing.T) truth.Report {
	t.Helper()
	in := truth.Input{Labels: p.labels.known, Limits: p.labels.limits, Enough: truth.Enough}
	for _, c := range p.played {
		in.Expect = append(in.Expect, c.alerts...)
	}
	var err error
	if in.Lines, err = p.recorder.Lines(); err != nil {
		t.Errorf("not everything happened as it should: %v", err)
	}
	keepTruth(t, p.house.dir, in)
	var report truth.Report
	var faults []string
	for began := time.Now(); ; time.Sleep(2 * time.Second) { // records that come late may still amend
		if in.Events, in.Alerts, err = p.watch.told(t.Context()); err != nil {
			t.Fatal(err)
		}
		all := said{in.Events, in.Alerts}
		// Other gateways of this host are none of our business.
		in.Events = slices.DeleteFunc(slices.Clone(in.Events), func(e truth.Event) bool { return p.others(e.Attribution) })
		in.Alerts = slices.DeleteFunc(slices.Clone(in.Alerts), func(a truth.Alert) bool { return p.others(a.Attribution) })
		report = truth.Compare(in)
		faults = report.Faults
		for _, c := range p.played {
			if c.check != nil {
				for _, f := range c.check(all) {
					faults = append(faults, c.name+": "+f)
				}
			}
		}
		if len(faults) == 0 || time.Since(began) > 30*time.Second {
			break
		}
	}
	t.Logf("clawwatch told of %d events and %d alerts\n%s", len(in.Events), len(in.Alerts), report.Table())
	for _, d := range report.Doubts {
		t.Log(d)
	}
	for _, f := range faults {
		t.Error(f)
	}
	return report
}

func (p *production) others(a *truth.Attribution) bool {
	return a != nil && a.Gateway != "" && a.Gateway != p.state
}

// furnish puts the skills of the hard cases in their places.
func (s *stage) furnish(t *testing.T) {
	t.Helper()
	vars := strings.NewReplacer(append(s.vars(filepath.Dir(s.home)), "@HOME@", s.home, "@WORKSPACE@", s.workspace, "@STATE@", s.state, "@NODE@", filepath.Join(s.node, "node"))...)
	for from, to := range map[string]string{
		"workspace": filepath.Join(s.workspace, "skills"), "managed": filepath.Join(s.state, "skills"), "elsewhere": filepath.Join(s.home, "elsewhere"),
	} {
		entries, err := os.ReadDir(filepath.Join("hard", from))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			copySkill(t, filepath.Join("hard", from, e.Name()), filepath.Join(to, e.Name()), vars)
		}
	}
	put(t, filepath.Join(s.home, "Documents", "shared.txt"), "Shared.\n", 0o644)
	if err := os.Symlink(filepath.Join(s.home, "elsewhere", "linked"), filepath.Join(s.workspace, "skills", "linked")); err != nil {
		t.Fatal(err)
	}
}

// sure is a label of which everything must be attributed right.
func (s *stage) sure(scenario, session, skill string) string {
	return s.limit(truth.Limit{Worst: truth.Right}, scenario, session, skill)
}

// doubted is a label of which nobody can be sure, for the reason given.
func (s *stage) doubted(worst truth.Verdict, why, scenario, session, skill string) string {
	return s.limit(truth.Limit{Worst: worst, Why: why}, scenario, session, skill)
}

func (s *stage) limit(l truth.Limit, scenario, session, skill string) string {
	word := s.label(scenario, session, skill)
	s.labels.Lock()
	defer s.labels.Unlock()
	s.labels.limits[word] = l
	return word
}

// in says which of several skills of a name a label means.
func (s *stage) in(word, dir string) string {
	s.labels.Lock()
	defer s.labels.Unlock()
	l := s.labels.known[word]
	l.Dir = dir
	s.labels.known[word] = l
	return word
}

// of are the skills' directories that are named for a skill of a name.
func (w said) dirs(name string) map[string]bool {
	dirs := map[string]bool{}
	for _, e := range w.events {
		if a := e.Attribution; a != nil {
			if a.Skill != nil && a.Skill.Name == name {
				dirs[a.Skill.Dir] = true
			}
			for _, c := range a.Candidates {
				if c.Name == name {
					dirs[c.Dir] = true
				}
			}
		}
	}
	return dirs
}

// raised reports whether a rule fired for a session.
func (w said) raised(rule, session string) bool {
	for _, a := range w.alerts {
		if a.Rule.Name == rule && a.Attribution != nil && a.Attribution.Session == session {
			return true
		}
	}
	return false
}

// awaitUpdate returns when clawwatch has told that a skill changed.
func (p *production) awaitUpdate(ctx context.Context, dir string) error {
	for began := time.Now(); ; time.Sleep(500 * time.Millisecond) {
		events, _, err := p.watch.told(ctx)
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.Kind == "skill.updated" && e.Skill.ID.Dir == dir {
				return nil
			}
		}
		if time.Since(began) > time.Minute {
			return fmt.Errorf("clawwatch does not tell that %s changed", dir)
		}
	}
}
