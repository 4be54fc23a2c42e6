package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/internal/console"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

var skillColumns = []column{{"SKILL", 20}, {"VERSION", 10}, {"TREE HASH", 12}, {"INSTALLER", 10}, {"INSTALLED", 14}, {"STATE", 8}, {"ALERTS", 6}, {"DIRECTORY", 0}}

func newSkillsCmd() *cobra.Command {
	var a asking
	cmd := &cobra.Command{
		Use:   "skills [NAME]",
		Short: "List the skills that gateways can load; with NAME, what one says against what it does",
		Long: `List the skills that gateways can load, with version, hash of the whole tree,
installer and number of alerts. --since and --until count the alerts.

With NAME, show each skill of that name: where it is from, the versions that
were seen, and what its SKILL.md says that it needs (programs, variables that
look like secrets, hosts) against what it was seen to use since it was first
seen. Only what is certainly or strongly its own counts as seen.`,
		Example: "  clawwatch skills --since 7d\n  clawwatch skills weather",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := a.query()
			if err != nil {
				return err
			}
			out, ctx := newPrinter(cmd.OutOrStdout()), cmd.Context()
			switch {
			case len(args) > 1:
				return usageError{errors.New("read NAME: more than one given")}
			case len(args) == 1:
				q.Skill = args[0]
				return showProfiles(ctx, out, &a, q)
			}
			return explain("list skills", show(ctx, out, &a, skillColumns, false, a.client().Skills(ctx, q), func(k store.Skill) { skillRow(out, &k) }))
		},
	}
	a.register(cmd)
	return cmd
}

func showProfiles(ctx context.Context, out *printer, a *asking, q store.Query) error {
	n := 0
	for p, err := range a.client().Profiles(ctx, q) {
		if err != nil {
			return explain("show skill", err)
		}
		if a.json {
			out.json(p)
		} else {
			printProfile(out, &p, n)
		}
		n++
	}
	if n == 0 {
		return hinted{fmt.Errorf("show skill %s: %w", text(q.Skill), store.ErrNotFound), "clawwatch skills lists their names"}
	}
	return out.err
}

func skillRow(out *printer, k *store.Skill) {
	state, installed := "present", "-"
	if k.Removed {
		state = "removed"
	}
	if k.Skill.Installed != nil {
		installed = stamp(*k.Skill.Installed)
	}
	out.row(skillColumns, text(k.Skill.ID.Name), orDash(k.Skill.ID.Version), orDash(clip(k.Skill.ID.SHA256, 12)), orDash(k.Skill.Installer), installed, state, strconv.Itoa(k.Alerts), text(k.Skill.ID.Dir))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return text(s)
}

// printProfile prints one skill; n is how many were printed before.
func printProfile(out *printer, p *store.Profile, n int) {
	if n > 0 {
		out.line("")
	}
	k := p.Skill.Skill
	out.line(out.paint(words("Skill", k.ID.Name, k.ID.Version), console.Bold))
	out.field("directory", k.ID.Dir)
	out.field("gateway", p.Gateway)
	out.field("tree hash", k.ID.SHA256)
	out.field("installer", cmp.Or(k.Installer, "none known"))
	if k.Installed != nil {
		out.field("installed", console.Time(*k.Installed))
	}
	if k.Owner != nil {
		out.field("owner", person(k.Owner))
	}
	if p.Removed {
		out.field("state", "removed")
	}
	out.field("unread", k.Error)
	alerts := strconv.Itoa(p.Alerts)
	if p.Alerts > 0 {
		alerts += ", the last at " + console.Time(p.Last)
	}
	out.field("alerts", alerts)
	used := "never seen in use"
	if !p.LastUse.IsZero() {
		used = console.Time(p.LastUse)
	}
	out.field("last use", used)
	out.field("calls", tools(p.Calls))
	if len(p.Versions) > 1 {
		out.line("\nVersions seen, newest last")
		for _, v := range p.Versions {
			out.linef("  %s  %-10s first seen %s", text(clip(v.Name, 20)), orDash(v.Detail), console.Time(v.First))
		}
	}
	printCompared(out, "programs", p.Programs)
	printCompared(out, "variables that look like secrets", p.Variables)
	printCompared(out, "hosts", p.Hosts)
}

// tools counts tool calls by name.
func tools(calls []store.Use) string {
	var parts []string
	for _, c := range calls {
		parts = append(parts, fmt.Sprintf("%d %s", c.Count, text(c.Name)))
	}
	return strings.Join(parts, ", ")
}

func person(u *event.User) string { return strings.TrimSpace(fmt.Sprintf("%s (%d)", u.Name, u.ID)) }

// maxCell bounds a list beside others.
const maxCell = 56

// printCompared prints three lists beside each other.
func printCompared(out *printer, what string, c store.Compared) {
	out.line("\n" + out.paint(strings.ToUpper(what[:1])+what[1:], console.Bold))
	lists := [3][]string{usesText(c.Used), usesText(c.Undeclared), nil}
	for _, name := range c.Unseen {
		lists[2] = append(lists[2], text(name))
	}
	columns := []column{{"DECLARED AND USED", 0}, {"USED AND NOT DECLARED", 0}, {"DECLARED AND NEVER SEEN", 0}}
	for i := range columns[:2] {
		columns[i].width = len(columns[i].name)
		for _, s := range lists[i] {
			columns[i].width = min(max(columns[i].width, utf8.RuneCountInString(s)), maxCell)
		}
	}
	rows := max(len(lists[0]), len(lists[1]), len(lists[2]))
	if rows == 0 {
		out.line("  none declared, none used")
		return
	}
	cell := func(list []string, i int) string {
		if i < len(list) {
			return list[i]
		}
		return ""
	}
	out.header(columns)
	for i := range rows {
		out.row(columns, cell(lists[0], i), cell(lists[1], i), cell(lists[2], i))
	}
	if c.More > 0 {
		out.linef("and %d uses of further names, which are not kept", c.More)
	}
}

// usesText names uses: a program out of the way by its path, a host without a
// name with what the process called it.
func usesText(uses []store.Use) []string {
	var all []string
	for _, u := range uses {
		s := text(u.Name)
		switch {
		case strings.HasPrefix(u.Detail, "/") && !strings.HasPrefix(u.Detail, "/usr/") && !strings.HasPrefix(u.Detail, "/bin/") && !strings.HasPrefix(u.Detail, "/sbin/"):
			s = text(u.Detail)
		case strings.Contains(u.Detail, ".") && !strings.HasPrefix(u.Detail, "/") && u.Detail != u.Name:
			s += " (calling it " + text(u.Detail) + ")"
		}
		if u.Count > 1 {
			s += fmt.Sprintf(" ×%d", u.Count)
		}
		all = append(all, s)
	}
	return all
}
