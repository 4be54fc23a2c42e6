package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/internal/agent"
	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/rules"
)

func newRunCmd() *cobra.Command {
	var file, policyFile, rulesDir, stateDir, socket string
	var otlp []string
	var console bool
	cmd := &cobra.Command{
		Use:     "run",
		Short:   "Run the agent in the foreground",
		Example: "  clawwatch run --otlp http://siem.example:4318 --policy policy.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := agent.LoadConfig(file)
			if err != nil {
				return fmt.Errorf("run: %w", err)
			}
			override(&cfg.Policy, policyFile)
			override(&cfg.RulesDir, rulesDir)
			override(&cfg.StateDir, stateDir)
			override(&cfg.Socket, socket)
			for _, endpoint := range otlp {
				t := agent.Target{Endpoint: endpoint}
				if err := t.Validate(); err != nil {
					return usageError{fmt.Errorf("run --otlp: %w", err)}
				}
				cfg.OTLP = append(cfg.OTLP, t)
			}
			opt := agent.Options{Version: version, Log: slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)), Ready: announce(cmd.ErrOrStderr())}
			if opt.Policy, err = loadPolicy(cfg.Policy); err != nil {
				return fmt.Errorf("run: load policy: %w", err)
			}
			if opt.Rules, err = loadRules(cfg.RulesDir); err != nil {
				return fmt.Errorf("run: load rules: %w", err)
			}
			tty := isatty.IsTerminal(os.Stdout.Fd())
			if console || tty && !cmd.Flags().Changed("console") {
				opt.Console, opt.Colour = cmd.OutOrStdout(), tty && os.Getenv("NO_COLOR") == ""
			}
			if err := agent.Run(cmd.Context(), cfg, opt); err != nil {
				return fmt.Errorf("run agent: %w", err)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "config", agent.DefaultConfig, "configuration `file`")
	f.StringVar(&policyFile, "policy", "", "policy `file`, read over the built-in policy")
	f.StringVar(&rulesDir, "rules", "", "`directory` of further rules")
	f.StringVar(&stateDir, "state-dir", "", "`directory` for the store and the queues")
	f.StringVar(&socket, "socket", "", "`path` of the socket that the other verbs ask")
	f.StringArrayVar(&otlp, "otlp", nil, "`URL` of an OTLP receiver: http(s)://host:4318 or grpc(s)://host:4317; may be repeated")
	f.BoolVar(&console, "console", false, "print alerts as they happen (default: on a terminal)")
	return cmd
}

func override(dst *string, flag string) {
	if flag != "" {
		*dst = flag
	}
}

func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}

func loadPolicy(file string) (*policy.Policy, error) {
	if file == "" {
		return policy.Default(), nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return policy.Load(file, data)
}

// loadRules loads the built-in rules and those of a directory.
func loadRules(dir string) (*rules.Set, error) {
	files := rules.BuiltinFiles()
	if dir == "" {
		return rules.Load(files...)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	var errs []error
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		files = append(files, rules.Source{Name: name, Data: data})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return rules.Load(files...)
}

// announce says in a few lines what was found, once everything runs.
func announce(w io.Writer) func(agent.Status) {
	return func(s agent.Status) {
		var b strings.Builder
		fmt.Fprintf(&b, "clawwatch %s is running; socket %s\n", version, s.Socket)
		for _, c := range s.Coverage {
			if c.Fidelity == "none" && len(c.Kinds) > 0 {
				fmt.Fprintf(&b, "  blind: %v: %s\n", c.Kinds, c.Reason)
			} else if c.Fidelity != "none" {
				fmt.Fprintf(&b, "  %s: %s for %d kinds of events\n", c.Probe, c.Fidelity, len(c.Kinds))
			}
		}
		fmt.Fprintln(&b, "  looking for OpenClaw gateways, those that run and those that start later")
		io.WriteString(w, b.String()) //nolint:errcheck // a closed terminal is no reason to stop
	}
}
