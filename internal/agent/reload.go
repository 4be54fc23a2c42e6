package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/internal/policy/yamlfile"
	"github.com/clawwatch/clawwatch/rules"
)

// look is how often the files of policy and rules are looked at. A change is
// taken in when the next look finds the file as the last one did, so that none
// is read while it is being written.
const look = time.Second

// configurationProbe is the name under which sensor.coverage tells whether the
// files of policy and rules are in force; the rule configuration-rejected goes
// by it.
const configurationProbe = "configuration"

// A judgement is what the pipeline judges by.
type judgement struct {
	policy *policy.Policy
	rules  *rules.Set
}

// Intent is how policy and rules are.
type Intent struct {
	Policy   string    `json:"policy,omitempty"`
	RulesDir string    `json:"rules_dir,omitempty"`
	Rules    int       `json:"rules"`    // in force
	Ruleset  string    `json:"ruleset"`  // their digest, which alerts have too
	Loaded   time.Time `json:"loaded"`   // when those in force were read
	Rejected string    `json:"rejected"` // why the files are not in force as they are now; empty: they are

	inForce judgement
}

// reload puts policy and rules in force anew when their files change, or on a
// signal. Files with a mistake in them change nothing but what the agent says
// of itself.
func (a *Agent) reload(ctx context.Context) {
	ticks := time.NewTicker(look)
	defer ticks.Stop()
	loaded := a.files
	previous := loaded
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.opt.Reload:
			previous = a.fingerprint()
		case <-ticks.C:
			now := a.fingerprint()
			settled := now == previous
			if previous = now; !settled || now == loaded {
				continue
			}
		}
		loaded = previous
		j, err := a.read()
		if err != nil {
			a.reject(err)
			continue
		}
		select {
		case a.judged <- j:
			a.accept(j)
		case <-ctx.Done():
			return
		}
	}
}

func (a *Agent) read() (judgement, error) {
	p, perr := LoadPolicy(a.cfg.Policy)
	r, rerr := LoadRules(a.cfg.RulesDir)
	return judgement{p, r}, errors.Join(perr, rerr)
}

// fingerprint changes when a file does, by its metadata.
func (a *Agent) fingerprint() string {
	var b strings.Builder
	names, _ := filepath.Glob(filepath.Join(a.cfg.RulesDir, "*.yaml")) // the pattern is well formed
	if a.cfg.RulesDir == "" {
		names = nil
	}
	for _, name := range append(names, a.cfg.Policy) {
		st, err := os.Stat(name)
		if err != nil {
			fmt.Fprintln(&b, name, errors.Is(err, fs.ErrNotExist))
			continue
		}
		fmt.Fprintln(&b, name, st.ModTime().UnixNano(), st.Size(), st.Mode())
	}
	return b.String()
}

// reject says that the files are wrong, here, in the data and, by a rule, as an
// alert.
func (a *Agent) reject(err error) {
	a.log.Error("reload policy and rules: rejected, those before stay in force", "error", err.Error())
	intent := *a.intent.Load()
	intent.Rejected = firstMistake(err)
	a.intent.Store(&intent)
	a.emit(event.Event{
		Time: time.Now(), Source: event.SourceAgent,
		Body: event.Coverage{Probe: configurationProbe, Fidelity: "none", Reason: intent.Rejected},
	})
}

func (a *Agent) accept(j judgement) {
	was := a.intent.Load().Rejected
	a.intent.Store(a.intentOf(j))
	a.log.Info("reload policy and rules: in force", "rules", len(j.rules.Rules()), "ruleset", j.rules.Digest(), "well_again", was != "")
	if was != "" {
		a.emit(event.Event{Time: time.Now(), Source: event.SourceAgent, Body: event.Coverage{Probe: configurationProbe, Fidelity: "complete"}})
	}
}

func (a *Agent) intentOf(j judgement) *Intent {
	return &Intent{Policy: a.cfg.Policy, RulesDir: a.cfg.RulesDir, Rules: len(j.rules.Rules()), Ruleset: j.rules.Digest(), Loaded: time.Now(), inForce: j}
}

// firstMistake gives the first of several mistakes, without the line of the
// file, which may hold what is not to be shipped.
func firstMistake(err error) string {
	all := mistakes(err)
	first := all[0].Error()
	var y *yamlfile.Error
	if errors.As(all[0], &y) {
		short := *y
		short.Excerpt = ""
		first = short.Error()
	}
	if len(all) > 1 {
		first += fmt.Sprintf(" (and %d more)", len(all)-1)
	}
	return first
}

// mistakes takes joined errors apart.
func mistakes(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // one level at a time
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, mistakes(e)...)
	}
	return all
}
