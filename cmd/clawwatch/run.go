package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/internal/agent"
	"github.com/clawwatch/clawwatch/internal/event"
)

func newRunCmd() *cobra.Command {
	var c configuring
	var console bool
	var record string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the agent in the foreground",
		Long: `Run the agent in the foreground. Without any file it runs with built-in
defaults. Policy and rules are read again when their files change, and on
SIGHUP; a file with a mistake leaves the old ones in force and raises an alert.`,
		Example: "  clawwatch run --otlp http://siem.example:4318 --policy policy.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, _, err := c.load()
			if err != nil {
				return fmt.Errorf("run: %w", err)
			}
			journal := underManager()
			opt := agent.Options{Version: version, Log: newLog(cmd.ErrOrStderr(), journal), Record: record}
			if opt.Policy, err = agent.LoadPolicy(cfg.Policy); err != nil {
				return fmt.Errorf("run: load policy: %w", err)
			}
			if opt.Rules, err = agent.LoadRules(cfg.RulesDir); err != nil {
				return fmt.Errorf("run: load rules: %w", err)
			}
			opt.Ready = announce(cmd.ErrOrStderr(), cfg)
			if journal {
				opt.Ready = logReady(opt.Log, cfg)
			}
			reload := make(chan os.Signal, 1)
			signal.Notify(reload, syscall.SIGHUP)
			defer signal.Stop(reload)
			opt.Reload = reload
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
	c.register(cmd)
	cmd.Flags().StringVar(&record, "record", "", "`file` to which all events and alerts are appended, redacted, for clawwatch replay")
	cmd.Flags().BoolVar(&console, "console", false, "print alerts as they happen (default: on a terminal)")
	return cmd
}

func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}

// announce says in a few lines what there is, once everything runs. Gateways
// are logged as they are found.
func announce(w io.Writer, cfg agent.Config) func(agent.Status) {
	return func(s agent.Status) {
		var b strings.Builder
		fmt.Fprintf(&b, "clawwatch %s is running; socket %s, store %s\n", version, s.Socket, cfg.StateDir)
		for _, c := range s.Coverage {
			switch {
			case c.Fidelity == "none" && len(c.Kinds) > 0:
				fmt.Fprintf(&b, "  blind: %v: %s\n", c.Kinds, c.Reason)
			case c.Fidelity == "none":
			case c.Reason != "":
				fmt.Fprintf(&b, "  %s: %s\n", c.Probe, c.Reason)
			default:
				fmt.Fprintf(&b, "  %s: %s sees %d kinds of events, %s\n", side(c), c.Probe, len(c.Kinds), c.Fidelity)
			}
		}
		fmt.Fprintf(&b, "  rules: %d; policy: %s\n", s.Intent.Rules, policyName(cfg.Policy))
		for _, t := range cfg.OTLP {
			fmt.Fprintf(&b, "  shipping to %s\n", t.Endpoint)
		}
		fmt.Fprintln(&b, "  looking for OpenClaw gateways, those that run and those that start later")
		fmt.Fprintln(&b, "  ask from another terminal: clawwatch doctor, clawwatch alerts --follow")
		io.WriteString(w, b.String()) //nolint:errcheck // a closed terminal is no reason to stop
	}
}

// side says of whom a probe tells.
func side(c event.Coverage) string {
	if c.Probe == agent.StrangersProbe {
		return "others"
	}
	return "kernel"
}

// logReady says the same in a journal, one entry a fact.
func logReady(log *slog.Logger, cfg agent.Config) func(agent.Status) {
	return func(s agent.Status) {
		log.Info("agent is running", "version", version, "socket", s.Socket, "store", cfg.StateDir, "rules", s.Intent.Rules, "policy", policyName(cfg.Policy))
		for _, c := range s.Coverage {
			switch {
			case c.Fidelity == "none" && len(c.Kinds) > 0:
				log.Warn("blind", "probe", c.Probe, "kinds", c.Kinds, "reason", c.Reason)
			case c.Fidelity == "none":
			case c.Reason != "":
				log.Warn("sees less", "probe", c.Probe, "kinds", c.Kinds, "reason", c.Reason)
			default:
				log.Info("sees", "probe", c.Probe, "kinds", len(c.Kinds), "fidelity", c.Fidelity)
			}
		}
		for _, t := range cfg.OTLP {
			log.Info("shipping", "endpoint", t.Endpoint)
		}
	}
}

func policyName(file string) string {
	if file == "" {
		return "built in"
	}
	if _, err := os.Stat(file); err != nil {
		return "built in (there is no " + file + ")"
	}
	return file
}
