package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/internal/agent"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

func newRulesCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "List, check, test, explain, import and backtest rules",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRulesListCmd(), newRulesCheckCmd(), newRulesTestCmd(), newRulesExplainCmd(), newRulesImportCmd(), newRulesBacktestCmd())
	return cmd
}

var ruleColumns = []column{{"RULE", 34}, {"SEVERITY", 8}, {"ENABLED", 7}, {"VERSION", 7}, {"KINDS", 30}, {"EXCEPTIONS", 10}, {"DESCRIPTION", 0}}

// described is a rule as JSON.
type described struct {
	Name        string         `json:"name"`
	Severity    event.Severity `json:"severity"`
	Enabled     bool           `json:"enabled"`
	Kinds       []event.Kind   `json:"kinds,omitempty"`
	Tags        []string       `json:"tags,omitempty"`
	Description string         `json:"description"`
	Condition   string         `json:"condition"`
	References  []string       `json:"references,omitempty"`
	Words       []string       `json:"words,omitempty"` // lists and macros that the condition uses

	Exceptions []rules.Exception `json:"exceptions,omitempty"`
	Overridden string            `json:"overridden,omitempty"` // file that changed severity or enabled
	Throttle   float64           `json:"throttle_seconds,omitempty"`
	Count      *counted          `json:"count,omitempty"`

	Version int    `json:"version"`
	Digest  string `json:"digest"`
	Ruleset string `json:"ruleset"`
}

func describe(r rules.Rule) described {
	d := described{r.Name, r.Severity, r.Enabled, r.Kinds, r.Tags, r.Description, r.Condition, r.References, nil, r.Exceptions, r.Overridden, r.Throttle.Seconds(), countOf(r.Repeat), r.Version, r.Digest, r.Ruleset}
	for _, w := range r.Words {
		d.Words = append(d.Words, w.Name)
	}
	return d
}

func newRulesListCmd() *cobra.Command {
	var c configuring
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the built-in rules and those of rules_dir",
		Example: "  clawwatch rules list\n  clawwatch rules list --rules ./rules.d --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := c.rulesInForce()
			if err != nil {
				return err
			}
			out := newPrinter(cmd.OutOrStdout())
			if !asJSON {
				out.header(ruleColumns)
			}
			for _, r := range set.Rules() {
				if asJSON {
					out.json(describe(r))
					continue
				}
				out.row(ruleColumns, text(r.Name), text(string(r.Severity)), yesNo(r.Enabled), strconv.Itoa(r.Version), kindNames(r.Kinds), text(excepted(r)), firstSentence(r.Description))
			}
			return out.err
		},
	}
	c.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a rule")
	return cmd
}

func (c *configuring) rulesInForce() (*rules.Set, error) {
	cfg, _, err := c.load()
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	set, err := agent.LoadRules(cfg.RulesDir)
	if err != nil {
		return nil, hinted{fmt.Errorf("load rules: %w", err), "clawwatch rules check shows the mistakes alone"}
	}
	return set, nil
}

func newRulesCheckCmd() *cobra.Command {
	var c configuring
	cmd := &cobra.Command{
		Use:   "check [FILE…]",
		Short: "Compile rules, and report every mistake with its place",
		Long: `Compile the rules of the files, or those of rules_dir, together with the
built-in ones, and report every mistake with its place. The exit status is 3
when there is one.`,
		Example: "  clawwatch rules check rules.d/*.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			out := newPrinter(cmd.OutOrStdout())
			set, err := c.compile(args)
			mistakes := separate(err)
			for _, m := range mistakes {
				out.line(printable(m.Error()))
			}
			if len(mistakes) > 0 {
				return notWell{fmt.Errorf("check rules: %s", count(len(mistakes), "mistake"))}
			}
			out.linef("%s are well", count(len(set.Rules()), "rule"))
			return out.err
		},
	}
	c.register(cmd)
	return cmd
}

func (c *configuring) compile(files []string) (*rules.Set, error) {
	if len(files) == 0 {
		cfg, _, err := c.load()
		if err != nil {
			return nil, err
		}
		return agent.LoadRules(cfg.RulesDir)
	}
	sources, err := agent.ReadRules(files)
	if err != nil {
		return nil, err
	}
	return rules.Load(append(rules.BuiltinFiles(), sources...)...)
}

func newRulesTestCmd() *cobra.Command {
	var c configuring
	cmd := &cobra.Command{
		Use:   "test [DIR…]",
		Short: "Run the tests that lie in testdata beside the rules",
		Long: `Run the tests of rules: DIR/*.yaml are rules, DIR/testdata/*.yaml their tests;
without DIR, rules_dir. The built-in rules are loaded besides, and may be
tested too. The exit status is 3 when a case fails.`,
		Example: "  clawwatch rules test ./rules.d",
		RunE: func(cmd *cobra.Command, dirs []string) error {
			if len(dirs) == 0 {
				cfg, _, err := c.load()
				if err != nil {
					return fmt.Errorf("test rules: %w", err)
				}
				dirs = []string{cfg.RulesDir}
			}
			out := newPrinter(cmd.OutOrStdout())
			cases, failed := 0, 0
			for _, dir := range dirs {
				n, bad, err := testDir(out, dir)
				if err != nil {
					return fmt.Errorf("test rules: %w", err)
				}
				cases, failed = cases+n, failed+bad
			}
			if failed > 0 {
				return notWell{fmt.Errorf("test rules: %d of %s failed", failed, count(cases, "case"))}
			}
			out.linef("%s passed", count(cases, "case"))
			return out.err
		},
	}
	c.register(cmd)
	return cmd
}

func testDir(out *printer, dir string) (cases, failed int, err error) {
	set, err := agent.LoadRules(dir)
	if err != nil {
		return 0, 0, err
	}
	names, err := filepath.Glob(filepath.Join(dir, "testdata", "*.yaml"))
	if err != nil {
		return 0, 0, err
	}
	tests, err := agent.ReadRules(names)
	if err != nil {
		return 0, 0, err
	}
	for _, t := range tests {
		results, err := set.Test(t)
		if err != nil {
			return cases, failed, err
		}
		for _, r := range results {
			if cases++; r.Err != nil {
				failed++
				out.linef("FAIL  %s: %s: %s", text(t.Name), text(r.Case), text(r.Err.Error()))
			}
		}
	}
	return cases, failed, nil
}

func newRulesExplainCmd() *cobra.Command {
	var c configuring
	cmd := &cobra.Command{
		Use:     "explain NAME",
		Short:   "Say what a rule, or a list or macro of rules, means",
		Example: "  clawwatch rules explain unapproved-endpoint",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("explain rule: the name of one rule is wanted; clawwatch rules list prints them")}
			}
			set, err := c.rulesInForce()
			if err != nil {
				return err
			}
			all := set.Rules()
			i := slices.IndexFunc(all, func(r rules.Rule) bool { return r.Name == args[0] })
			out := newPrinter(cmd.OutOrStdout())
			if i < 0 {
				words := set.Words()
				if i := slices.IndexFunc(words, func(w rules.Word) bool { return w.Name == args[0] }); i >= 0 {
					explainWord(out, words[i])
					return out.err
				}
				return hinted{fmt.Errorf("explain rule: there is no rule %q", text(args[0])), "clawwatch rules list prints the names"}
			}
			explainRule(out, all[i])
			return out.err
		},
	}
	c.register(cmd)
	return cmd
}

// counted is how often a rule has to be fulfilled.
type counted struct {
	Of     int     `json:"of"`
	Within float64 `json:"within_seconds"`
	Over   string  `json:"over"`
}

func countOf(r rules.Repeat) *counted {
	if r.Of < 2 {
		return nil
	}
	return &counted{r.Of, r.Within.Seconds(), r.Over}
}

func explainRule(out *printer, r rules.Rule) {
	out.linef("%s  %s%s", text(r.Name), text(string(r.Severity)), map[bool]string{false: "  (not enabled)"}[r.Enabled])
	if r.Overridden != "" {
		out.linef("overridden in %s", text(r.Overridden))
	}
	out.line("")
	out.line(indent(printable(r.Description)))
	out.line("")
	out.linef("kinds      %s", kindNames(r.Kinds))
	out.linef("tags       %s", orDash(strings.Join(r.Tags, " ")))
	out.linef("version    %d, digest %s, of the rules with digest %s", r.Version, r.Digest, r.Ruleset)
	if n := r.Repeat; n.Of > 1 {
		out.linef("count      %d within %s, over one %s", n.Of, n.Within, n.Over)
	}
	if r.Throttle > 0 {
		out.linef("throttle   %s", r.Throttle)
	}
	for _, ref := range r.References {
		out.linef("reference  %s", text(ref))
	}
	out.line("")
	out.line("condition")
	out.line(indent(printable(r.Condition)))
	out.line("")
	whole := r.Condition
	for _, w := range r.Words {
		explainWord(out, w)
		out.line("")
		whole += " " + w.Text
	}
	for _, x := range r.Exceptions {
		explainException(out, x)
		out.line("")
		whole += " " + strings.Join(x.Fields, " ")
	}
	out.line("fields that it goes by")
	for _, f := range rules.Fields() {
		if regexp.MustCompile(`(^|[^\w.])` + regexp.QuoteMeta(f.Name) + `\b`).MatchString(whole) {
			out.linef("  %-28s %s", f.Name, f.Type)
		}
	}
}

// excepted is how many rows of exceptions a rule has.
func excepted(r rules.Rule) string {
	n := 0
	for _, x := range r.Exceptions {
		n += len(x.Values)
	}
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

func explainException(out *printer, x rules.Exception) {
	columns := make([]string, len(x.Fields))
	for i := range x.Fields {
		columns[i] = x.Fields[i] + " " + x.Comparisons[i]
	}
	out.linef("exception %s: %s", text(x.Name), text(strings.Join(columns, ", ")))
	for _, row := range x.Values {
		out.line("  " + text(strings.Join(row, ", ")))
	}
	if len(x.Values) == 0 {
		out.line("  (no values)")
	}
}

func explainWord(out *printer, w rules.Word) {
	if w.List == nil {
		out.linef("macro %s", text(w.Name))
		out.line(indent(printable(w.Text)))
		return
	}
	out.linef("list %s", text(w.Name))
	for _, item := range w.List {
		out.line("  " + text(item))
	}
}

func indent(s string) string { return "  " + strings.ReplaceAll(s, "\n", "\n  ") }

func kindNames(kinds []event.Kind) string {
	if len(kinds) == 0 {
		return "all"
	}
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	return strings.Join(names, " ")
}

// firstSentence of a description, on one line.
func firstSentence(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if i := strings.Index(s, ". "); i > 0 {
		s = s[:i]
	}
	return text(strings.TrimSuffix(s, "."))
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
