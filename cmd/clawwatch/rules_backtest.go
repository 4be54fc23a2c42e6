package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/internal/agent"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/pipeline"
	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/internal/store"
	"github.com/clawwatch/clawwatch/rules"
)

// Bounds of a backtest.
const (
	maxTallies  = 10_000 // rules and skills; further skills are one
	maxGateways = 256    // that are asked for from before
)

func newRulesBacktestCmd() *cobra.Command {
	var c configuring
	var a asking
	var file string
	cmd := &cobra.Command{
		Use:   "backtest [FILE or DIR…]",
		Short: "Say what rules would have found in what the agent has stored",
		Long: `Judge what the running agent has stored by the rules of the files, or of the
directories' *.yaml, before they are in force, and by the built-in rules that they
change: for each rule and skill, how often it would have been fulfilled and how many
alerts that would have been. Without FILE and DIR, the rules in force are judged by.
Nothing is changed.`,
		Example: `  clawwatch rules backtest --since 7d rules.d/mail.yaml
  clawwatch rules backtest --events week.jsonl --json rules.d`,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.limit = 0
			q, err := a.query()
			if err != nil {
				return err
			}
			set, err := c.toTry(args)
			if err != nil {
				return fmt.Errorf("backtest rules: %w", err)
			}
			pol, err := c.policyInForce()
			if err != nil {
				return fmt.Errorf("backtest rules: %w", err)
			}
			b := newBacktest(set, pol)
			if file != "" {
				err = b.file(cmd, file, q)
			} else {
				err = explain("backtest rules", eachStored(cmd.Context(), &a, q, b.replay.Know, b.push))
			}
			var amiss notWell
			if err != nil && !errors.As(err, &amiss) {
				return err
			}
			b.replay.Flush()
			out := newPrinter(cmd.OutOrStdout())
			b.show(out, a.json)
			return errors.Join(out.err, b.failed(), err)
		},
	}
	c.registerTrial(cmd)
	a.registerPast(cmd, &file)
	cmd.Flags().BoolVar(&a.json, "json", false, "print one JSON object a rule and skill")
	return cmd
}

// registerPast adds the flags that say which of the events there were are looked at.
func (a *asking) registerPast(cmd *cobra.Command, file *string) {
	f := cmd.Flags()
	f.StringVar(&a.since, "since", "7d", "`time` to begin at: 10m, 7d, 2026-11-22 or 2026-11-22T07:00:00Z")
	f.StringVar(&a.until, "until", "", "`time` to end before")
	f.StringVar(&a.skill, "skill", "", "only this skill `name`")
	f.StringVar(file, "events", "", "`file` of recorded events, instead of the agent's store; - is standard input")
	a.registerSocket(cmd)
}

// registerTrial adds the flags that say what is in force besides.
func (c *configuring) registerTrial(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.file, "config", agent.DefaultConfig, "configuration `file`, which names rules and policy")
	cmd.Flags().StringVar(&c.policy, "policy", "", "policy `file`, read over the built-in policy")
}

// toTry gives what files and directories are about: their rules, and the built-in ones
// that they change; without any, the rules in force.
func (c *configuring) toTry(args []string) (*rules.Set, error) {
	if len(args) == 0 {
		return c.rulesInForce()
	}
	var files []string
	for _, arg := range args {
		if fi, err := os.Stat(arg); err != nil || !fi.IsDir() {
			files = append(files, arg) // what is amiss is said when it is read
			continue
		}
		inside, err := filepath.Glob(filepath.Join(arg, "*.yaml"))
		if err != nil || len(inside) == 0 {
			return nil, errors.Join(fmt.Errorf("no *.yaml in %s", text(arg)), err)
		}
		files = append(files, inside...)
	}
	sources, err := agent.ReadRules(files)
	if err != nil {
		return nil, err
	}
	set, err := rules.Try(sources...)
	if err != nil {
		return nil, hinted{err, "clawwatch rules check shows the mistakes alone"}
	}
	return set, nil
}

// A tally is what one rule found about one skill.
type tally struct {
	Rule     string         `json:"rule"`
	Severity event.Severity `json:"severity"`
	Gateway  string         `json:"gateway,omitempty"`
	Skill    string         `json:"skill,omitempty"`     // absent: no skill is known, or there are candidates
	Dir      string         `json:"skill_dir,omitempty"` // which tells skills of one name apart
	Doubt    []string       `json:"candidates,omitempty"`
	Hits     int            `json:"hits"`
	Alerts   int            `json:"alerts"` // what is left when repetitions are counted in one, and floods held back
	First    time.Time      `json:"first,omitzero"`
	Last     time.Time      `json:"last,omitzero"`
	Example  string         `json:"example,omitempty"` // ID of the first event
}

// tallyKey says which findings are added up.
type tallyKey struct{ rule, gateway, skill string }

// A backtest adds up what rules find in recorded events.
type backtest struct {
	set     *rules.Set
	replay  *pipeline.Replay
	tallies map[tallyKey]*tally
	events  int
}

func newBacktest(set *rules.Set, pol *policy.Policy) *backtest {
	b := &backtest{set: set, tallies: map[tallyKey]*tally{}}
	b.replay = agent.NewReplay(set, pol, func(a event.Alert) {
		if !a.Amended {
			b.tally(a.Rule, a.Attribution).Alerts++
		}
	})
	return b
}

func (b *backtest) push(rec event.Record) {
	b.events++
	for _, f := range b.replay.Push(rec) {
		t := b.tally(f.Rule, rec.Attribution)
		t.Hits++
		if t.First.IsZero() || rec.Time.Before(t.First) {
			t.First, t.Example = rec.Time, rec.ID
		}
		if rec.Time.After(t.Last) {
			t.Last = rec.Time
		}
	}
}

func (b *backtest) tally(rule event.RuleRef, a *event.Attribution) *tally {
	row := tally{Rule: rule.Name, Severity: rule.Severity}
	key := tallyKey{rule: rule.Name}
	if a != nil {
		row.Gateway, key.gateway = a.Gateway, a.Gateway
		for _, c := range a.Candidates {
			row.Doubt = append(row.Doubt, c.Name)
			key.skill += "\x00" + c.Dir
		}
		if a.Skill != nil {
			row.Skill, row.Dir, row.Doubt = a.Skill.Name, a.Skill.Dir, nil
			key.skill = a.Skill.Name + "\x00" + a.Skill.Dir
		}
	}
	if b.tallies[key] == nil && len(b.tallies) >= maxTallies {
		key = tallyKey{rule: rule.Name, skill: "others"}
		row = tally{Rule: rule.Name, Severity: rule.Severity, Doubt: []string{"others"}}
	}
	if b.tallies[key] == nil {
		b.tallies[key] = &row
	}
	return b.tallies[key]
}

// file judges what is in a file, of the same time and skill.
func (b *backtest) file(cmd *cobra.Command, name string, q store.Query) error {
	if !cmd.Flags().Changed("since") {
		q.Since = time.Time{} // a file is as long as it is
	}
	return eachRecorded(cmd, "backtest rules", name, func(rec event.Record) {
		if inTime(rec, q) && (q.Skill == "" || isOf(rec, q.Skill)) {
			b.push(rec)
		} else {
			b.replay.Know(rec)
		}
	})
}

func isOf(rec event.Record, skill string) bool {
	a := rec.Attribution
	return a != nil && a.Skill != nil && a.Skill.Name == skill || rec.Skill != nil && rec.Skill.ID.Name == skill
}

var tallyColumns = []column{{"RULE", 34}, {"SEVERITY", 8}, {"SKILL", 24}, {"HITS", 8}, {"ALERTS", 7}, {"FIRST", 14}, {"LAST", 14}, {"EXAMPLE", 0}}

// show prints what was found, a rule without a hit too.
func (b *backtest) show(out *printer, asJSON bool) {
	rows := make([]*tally, 0, len(b.tallies))
	hit := map[string]bool{}
	for _, t := range b.tallies {
		rows, hit[t.Rule] = append(rows, t), true
	}
	slices.SortFunc(rows, func(x, y *tally) int {
		return cmp.Or(cmp.Compare(x.Rule, y.Rule), cmp.Compare(y.Hits, x.Hits), cmp.Compare(x.Gateway, y.Gateway), cmp.Compare(x.Skill+x.Dir, y.Skill+y.Dir), slices.Compare(x.Doubt, y.Doubt))
	})
	var quiet []string
	for _, r := range b.set.Rules() {
		if r.Enabled && !hit[r.Name] {
			quiet = append(quiet, r.Name)
			if asJSON {
				rows = append(rows, &tally{Rule: r.Name, Severity: r.Severity})
			}
		}
	}
	if asJSON {
		for _, t := range rows {
			out.line(plainJSON(t))
		}
		return
	}
	out.header(tallyColumns)
	for _, t := range rows {
		skill := t.Skill
		if len(t.Doubt) > 0 {
			skill = strings.Join(t.Doubt, " or ") + "?"
		}
		out.row(tallyColumns, text(t.Rule), text(string(t.Severity)), orDash(text(skill)), strconv.Itoa(t.Hits), strconv.Itoa(t.Alerts), stamp(t.First), stamp(t.Last), short(t.Example))
	}
	out.linef("%s judged; no hits: %s", count(b.events, "event"), orDash(strings.Join(quiet, " ")))
}

// failed tells of rules that could not be evaluated for some events.
func (b *backtest) failed() error {
	var all []error
	for _, s := range b.set.Stats() {
		if s.Errors > 0 {
			all = append(all, notWell{fmt.Errorf("backtest rules: %s failed %d times: %s", text(s.Rule), s.Errors, text(s.LastError))})
		}
	}
	return errors.Join(all...)
}
