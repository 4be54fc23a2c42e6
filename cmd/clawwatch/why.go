package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/internal/api"
	"github.com/clawwatch/clawwatch/internal/console"
	"github.com/clawwatch/clawwatch/internal/event"
)

func newWhyCmd() *cobra.Command {
	var a asking
	cmd := &cobra.Command{
		Use:   "why ID",
		Short: "Say who did it, how sure that is, and why",
		Long: `Say of an event or alert for which skill it was done, how sure that is, every
piece of evidence, and what else was considered. The beginning of an ID is
enough where no other begins so.`,
		Example: "  clawwatch why 01J9Z3K8ABCDEF",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("read ID: want one, got %d", len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := a.client().Why(cmd.Context(), args[0])
			if err != nil {
				return explain("explain", err)
			}
			out := newPrinter(cmd.OutOrStdout())
			if a.json {
				out.json(w)
			} else {
				printWhy(out, &w)
			}
			return out.err
		},
	}
	cmd.Flags().BoolVar(&a.json, "json", false, "print one JSON object")
	a.registerSocket(cmd)
	return cmd
}

func printWhy(out *printer, w *api.Why) {
	switch {
	case w.Alert != nil:
		printAlert(out, w)
	case w.Record != nil:
		r := w.Record
		out.linef("%s  %s  %s", out.paint("Event "+text(r.ID), console.Bold), text(string(r.Kind)), console.Time(r.Time))
		out.line("  " + what(r))
		printAttribution(out, r.Attribution)
		printProcess(out, r.Process)
		out.linef("\nSeen by %s%s", text(string(r.Source)), amended(r.Amended))
	}
}

func amended(yes bool) string {
	if yes {
		return "; amended when more became known"
	}
	return ""
}

func printAlert(out *printer, w *api.Why) {
	a := w.Alert
	out.linef("%s  %s  %s  %s", out.paint("Alert "+text(a.ID), console.Bold),
		out.paint(strings.ToUpper(text(string(a.Rule.Severity))), console.SeverityStyle(a.Rule.Severity)), text(a.Rule.Name), console.Time(a.Time))
	out.line("  " + text(a.Message))
	if len(a.Rule.Tags) > 0 {
		out.line("  tags: " + text(strings.Join(a.Rule.Tags, ", ")))
	}
	if a.Suppressed > 0 {
		out.linef("  suppressed: %d more like it", a.Suppressed)
	}
	printAttribution(out, a.Attribution)
	process := a.Process
	if process == nil && len(w.Events) > 0 {
		process = w.Events[0].Process
	}
	printProcess(out, process)
	out.line("\nWhat happened")
	for i := range w.Events {
		r := &w.Events[i]
		out.linef("  %s  %s  %-15s  %s", stamp(r.Time), short(r.ID), text(string(r.Kind)), what(r))
	}
	if n := len(w.Missing); n > 0 {
		out.linef("  %d of %d events are no longer stored", n, n+len(w.Events))
	}
}

// meaning says what a confidence is worth.
var meaning = map[event.Confidence]string{
	event.Certain:   "it would stand in an incident review",
	event.Strong:    "one candidate, and nothing speaks against it",
	event.Weak:      "one candidate, by circumstance",
	event.Ambiguous: "several skills fit",
	event.None:      "the gateway or session is known, the skill is not",
}

func printAttribution(out *printer, a *event.Attribution) {
	if a == nil {
		out.line("\nAttributed to nobody: no agent is involved")
		return
	}
	claim := "no skill"
	switch {
	case a.Skill != nil:
		claim = words("skill", a.Skill.Name, a.Skill.Version)
	case len(a.Candidates) > 0:
		claim = console.Candidates(a.Candidates)
	}
	sure := cmp.Or(meaning[a.Confidence], "how sure is not known")
	out.linef("\n%s: %s (%s)", out.paint("Attributed to "+claim, console.Bold), text(string(cmp.Or(a.Confidence, "unsure"))), sure)
	if a.Skill != nil {
		out.field("tree hash", a.Skill.SHA256)
		out.field("directory", a.Skill.Dir)
	}
	out.field("gateway", a.Gateway)
	out.field("agent", a.Agent)
	out.field("session", strings.TrimSpace(a.Session+"  "+a.SessionKey))
	out.field("run", a.Run)
	out.field("tool call", a.ToolCall)

	out.line("\nEvidence, strongest first")
	for i, e := range a.Evidence {
		if e.Kind == "rejected" {
			continue // these come last, and below
		}
		out.linef("  %d. %-18s %s", i+1, text(e.Kind), text(e.Detail))
	}
	if len(a.Evidence) == 0 {
		out.line("  none")
	}
	out.line("\nAlso considered")
	n := 0
	for _, c := range a.Candidates {
		if a.Skill != nil && c == *a.Skill {
			continue
		}
		n++
		out.linef("  %-20s %s", words(c.Name, c.Version), text(c.Dir))
	}
	for _, e := range a.Evidence {
		if e.Kind == "rejected" {
			n++
			out.line("  " + text(e.Detail))
		}
	}
	if n == 0 {
		out.line("  no other skill")
	}
}

// field prints one named value, when there is one.
func (p *printer) field(name, value string) {
	if value != "" {
		p.linef("  %-10s %s", name, text(value))
	}
}

func printProcess(out *printer, p *event.Process) {
	if p == nil {
		return
	}
	head := fmt.Sprintf("PID %d", p.PID)
	if p.Executable != nil {
		head = text(p.Executable.Path) + ", " + head
	}
	out.line("\n" + out.paint("Process "+head, console.Bold))
	if p.User != nil {
		out.field("user", strings.TrimSpace(fmt.Sprintf("%s (%d)", p.User.Name, p.User.ID)))
	}
	if len(p.CommandArgs) > 0 {
		out.linef("  %-10s %s", "command", command(p))
	}
	out.field("directory", p.Cwd)
	out.field("role", string(p.Role))
	out.field("container", p.ContainerID)
	if up := lineage(p.Ancestors); up != "" {
		out.linef("  %-10s %s", "parents", up)
	}
}
