package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/internal/api"
	"github.com/clawwatch/clawwatch/internal/console"
	"github.com/clawwatch/clawwatch/internal/event"
)

func newWhyCmd() *cobra.Command {
	var a asking
	cmd := &cobra.Command{
		Use:   "why ID",
		Short: "Say who did it, how sure that is, and why, as an incident note",
		Long: `Say of an event or alert what was done for which skill, how sure that is, every
piece of evidence with its time and source, what else was considered, what would
make it surer, and what else the same tool call did. It is plain text, and can be
pasted into a ticket. The beginning of an ID is enough where no other begins so.`,
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

// printWhy prints what is known about a record or an alert, as a note about an
// incident: the claim first, then what it rests on.
func printWhy(out *printer, w *api.Why) {
	switch {
	case w.Alert != nil:
		printAlert(out, w)
	case w.Record != nil:
		r := w.Record
		out.linef("%s  %s  %s", out.paint("Event "+text(r.ID), console.Bold), text(string(r.Kind)), console.Time(r.Time))
		out.line("  " + claim(r))
		printAttribution(out, r.Attribution)
		printProcess(out, r.Process)
		printSensitive(out, r.Sensitive)
		printTimeline(out, w, console.Whose(r.Attribution), r.ID)
		out.linef("\nSeen by %s%s", text(string(r.Source)), amended(r.Amended))
	}
}

func printSensitive(out *printer, all []event.Sensitive) {
	if len(all) == 0 {
		return
	}
	out.line("\nSensitive data in its texts; the data itself is not kept")
	for _, s := range all {
		out.line("  " + text(s.String()))
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
	out.line("  " + sentence(text(a.Message), a.Time, a.Attribution))
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
		printMoment(out, &w.Events[i], console.Whose(a.Attribution))
	}
	if n := len(w.Missing); n > 0 {
		out.linef("  %d of %d events are no longer stored", n, n+len(w.Events))
	}
	ids := make([]string, len(w.Events))
	for i := range w.Events {
		ids[i] = w.Events[i].ID
	}
	printTimeline(out, w, console.Whose(a.Attribution), ids...)
}

// printMoment is one line of what happened, and for whom where that is another
// than the note is about.
func printMoment(out *printer, r *event.Record, about string) {
	line := what(r)
	if whose := console.Whose(r.Attribution); whose != about {
		line += "  [" + whose + "]"
	}
	out.linef("  %s  %s  %-15s  %s", stamp(r.Time), short(r.ID), text(string(r.Kind)), line)
}

// printTimeline prints what the same tool call did besides what the note is
// about.
func printTimeline(out *printer, w *api.Why, whose string, shown ...string) {
	t := w.Timeline
	if t == nil {
		return
	}
	about := map[string]bool{}
	for _, id := range shown {
		about[id] = true
	}
	out.line("\nWhat else this tool call did")
	n := 0
	for i := range t.Records {
		if !about[t.Records[i].ID] {
			printMoment(out, &t.Records[i], whose)
			n++
		}
	}
	switch {
	case t.More > 0:
		out.linef("  and %d things that tell less", t.More)
	case n == 0:
		out.line("  nothing that is stored, or that a person should see")
	}
	if t.Partial {
		out.line("  the session has more events than were looked at")
	}
}

// printEvidence prints the reasons: when, from where, what.
func printEvidence(out *printer, all []event.Evidence) {
	out.line("\nEvidence, strongest first")
	n := 0
	for _, e := range all {
		if e.Kind == "rejected" {
			continue // these come below
		}
		n++
		when := ""
		if !e.Time.IsZero() {
			when = e.Time.Local().Format("15:04:05.000")
		}
		out.linef("  %d. %-12s  %-10s  %-18s %s", n, when, text(string(e.Source)), text(e.Kind), text(e.Detail))
	}
	if n == 0 {
		out.line("  none")
	}
}

// printConsidered prints the skills that it could have been, and why it is not
// one of them.
func printConsidered(out *printer, a *event.Attribution) {
	out.line("\nAlso considered")
	n := 0
	for _, c := range a.Candidates {
		if a.Skill != nil && c == *a.Skill {
			continue
		}
		n++
		out.linef("  %-20s possible: %s", words(c.Name, c.Version), text(c.Dir))
	}
	for _, e := range a.Evidence {
		if e.Kind == "rejected" {
			n++
			out.line("  rejected: " + text(e.Detail))
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
		out.field("user", person(p.User))
	}
	if len(p.CommandArgs) > 0 {
		out.linef("  %-10s %s", "command", command(p))
	}
	if p.Executable != nil {
		out.field("sha256", p.Executable.SHA256)
	}
	out.field("directory", p.Cwd)
	out.field("role", string(p.Role))
	out.field("container", p.ContainerID)
	if up := lineage(p.Ancestors); up != "" {
		out.linef("  %-10s %s", "parents", up)
	}
}

// moment is a time that can be read in another place.
func moment(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000 MST") }
