package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/internal/agent"
	"github.com/clawwatch/clawwatch/internal/policy/yamlfile"
)

// configuring is what the verbs that read the configuration have in common.
type configuring struct {
	file, policy, rules, stateDir, socket string
	otlp                                  []string
}

func (c *configuring) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.file, "config", agent.DefaultConfig, "configuration `file`")
	f.StringVar(&c.policy, "policy", "", "policy `file`, read over the built-in policy")
	f.StringVar(&c.rules, "rules", "", "`directory` of further rules")
	f.StringVar(&c.stateDir, "state-dir", "", "`directory` for the store and the queues")
	f.StringVar(&c.socket, "socket", "", "`path` of the socket that the other verbs ask")
	f.StringArrayVar(&c.otlp, "otlp", nil, "`URL` of an OTLP receiver: http(s)://host:4318 or grpc(s)://host:4317; may be repeated")
}

// load reads the files and lays the flags over them. origins says where each
// value is from. The configuration is there also when there is an error.
func (c *configuring) load() (cfg agent.Config, origins map[string]string, err error) {
	cfg, err = agent.LoadConfig(c.file)
	origins = agent.Origins(c.file)
	for _, o := range []struct {
		value, flag, key string
		to               *string
	}{
		{c.policy, "--policy", "policy", &cfg.Policy},
		{c.rules, "--rules", "rules_dir", &cfg.RulesDir},
		{c.stateDir, "--state-dir", "state_dir", &cfg.StateDir},
		{c.socket, "--socket", "socket", &cfg.Socket},
	} {
		if o.value != "" {
			*o.to, origins[o.key] = o.value, o.flag
		}
	}
	for _, endpoint := range c.otlp {
		t := agent.Target{Endpoint: endpoint}
		if bad := t.Validate(); bad != nil {
			return cfg, origins, usageError{fmt.Errorf("read --otlp: %w", bad)}
		}
		origins[fmt.Sprintf("otlp[%d].endpoint", len(cfg.OTLP))] = "--otlp"
		cfg.OTLP = append(cfg.OTLP, t)
	}
	return cfg, origins, err
}

// check reads everything that a run would read, and gives all the mistakes.
func (c *configuring) check() (cfg agent.Config, rules int, mistakes []error) {
	cfg, origins, err := c.load()
	_, policyErr := agent.LoadPolicy(cfg.Policy)
	set, rulesErr := agent.LoadRules(cfg.RulesDir)
	if set != nil {
		rules = len(set.Rules())
	}
	return cfg, rules, separate(err, cfg.Files(origins), policyErr, rulesErr)
}

// separate takes joined errors apart.
func separate(errs ...error) (all []error) {
	for _, err := range errs {
		if err == nil {
			continue
		}
		if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // one level at a time
			all = append(all, separate(joined.Unwrap()...)...)
			continue
		}
		all = append(all, err)
	}
	return all
}

// notWell ends a verb that did its work and found something amiss.
type notWell struct{ error }

func (notWell) ExitStatus() int { return exitNotWell }

func newConfigCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check and show the configuration",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigCheckCmd(), newConfigShowCmd())
	return cmd
}

func newConfigCheckCmd() *cobra.Command {
	var c configuring
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Report every mistake in configuration, policy and rules, with its place",
		Long: `Report every mistake in the configuration file, conf.d beside it, the policy
and the rules, with file, line and column. The exit status is 3 when there is one.`,
		Example: `  clawwatch config check
  clawwatch config check --config ./clawwatch.yaml --policy ./policy.yaml --rules ./rules.d`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, rules, mistakes := c.check()
			out := newPrinter(cmd.OutOrStdout())
			for _, m := range mistakes {
				var usage usageError
				if errors.As(m, &usage) {
					return m
				}
				if asJSON {
					out.json(mistakeOf(m))
				} else {
					out.line(printable(m.Error()))
				}
			}
			if len(mistakes) > 0 {
				return notWell{fmt.Errorf("check configuration: %s", count(len(mistakes), "mistake"))}
			}
			if !asJSON {
				out.linef("configuration, policy and %s are well (%s, %s, %s)", count(rules, "rule"), existing(c.file), existing(cfg.Policy), existing(cfg.RulesDir))
			}
			return out.err
		},
	}
	c.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a mistake")
	return cmd
}

func newConfigShowCmd() *cobra.Command {
	var c configuring
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the effective configuration and where each value is from",
		Long: `Show the values that a run with the same flags would have, and where each is
from: the default, a line of a file, or a flag. Secrets are masked. What a
running agent was started with is not asked.`,
		Example: "  clawwatch config show --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, origins, err := c.load()
			if err != nil {
				return hinted{fmt.Errorf("show configuration: %w", err), "clawwatch config check shows all mistakes, of policy and rules too"}
			}
			out := newPrinter(cmd.OutOrStdout())
			columns := []column{{"KEY", 28}, {"VALUE", 40}, {"FROM", 0}}
			if !asJSON {
				out.header(columns)
			}
			for _, s := range cfg.Settings(origins) {
				if asJSON {
					out.json(s)
				} else {
					out.row(columns, text(s.Key), orDash(s.Value), text(s.Origin))
				}
			}
			return out.err
		},
	}
	c.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a value")
	return cmd
}

// mistake is a mistake as JSON.
type mistake struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
}

func mistakeOf(err error) mistake {
	var y *yamlfile.Error
	if errors.As(err, &y) {
		return mistake{y.File, y.Line, y.Column, y.Message}
	}
	return mistake{Message: err.Error()}
}

// printable makes each line of a text safe for a terminal.
func printable(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		indent := len(l) - len(strings.TrimLeft(l, " "))
		lines[i] = l[:indent] + text(l[indent:])
	}
	return strings.Join(lines, "\n")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// existing names a file, and says when there is none.
func existing(file string) string {
	if file == "" {
		return "none"
	}
	if _, err := os.Stat(file); err != nil {
		return "no " + text(file)
	}
	return text(file)
}

// statusJSON reads what the agent says of itself.
func statusJSON(raw json.RawMessage) (agent.Status, error) {
	var s agent.Status
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, fmt.Errorf("parse status: %w", err)
	}
	return s, nil
}

// again reads a part of an answer, which was decoded without its type, into
// its type.
func again(from, to any) error {
	raw, err := json.Marshal(from)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return json.Unmarshal(raw, to)
}
