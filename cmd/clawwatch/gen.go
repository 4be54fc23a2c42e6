package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newGenCmd makes the files of a package that follow from the commands.
func newGenCmd() *cobra.Command {
	gen := &cobra.Command{Use: "gen", Short: "Make files that follow from the commands", Hidden: true}
	gen.AddCommand(
		&cobra.Command{
			Use: "man DIR", Short: "Write the manual pages", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return writeManuals(cmd.Root(), args[0]) },
		},
		&cobra.Command{
			Use: "completions DIR", Short: "Write the completions for bash, zsh and fish", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return writeCompletions(cmd.Root(), args[0]) },
		},
	)
	return gen
}

func writeCompletions(root *cobra.Command, dir string) error {
	for name, gen := range map[string]func(io.Writer) error{
		"clawwatch.bash": func(w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		"_clawwatch":     root.GenZshCompletion,
		"clawwatch.fish": func(w io.Writer) error { return root.GenFishCompletion(w, true) },
	} {
		var b strings.Builder
		if err := gen(&b); err != nil {
			return fmt.Errorf("gen completions: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(b.String()), 0o644); err != nil {
			return fmt.Errorf("gen completions: %w", err)
		}
	}
	return nil
}

// writeManuals writes a page for the program and one for each verb.
func writeManuals(root *cobra.Command, dir string) error {
	root.InitDefaultHelpCmd()
	pages := map[string]string{"clawwatch.1": manual(root)}
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" && c.Name() != "completion" {
			pages["clawwatch-"+c.Name()+".1"] = manual(c)
		}
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("gen man: %w", err)
		}
	}
	return nil
}

// manual is the page of one command, in the language of man(7).
func manual(c *cobra.Command) string {
	c.InitDefaultHelpFlag()
	name := strings.ReplaceAll(c.CommandPath(), " ", "-")
	var b strings.Builder
	section := func(title string) { fmt.Fprintf(&b, ".SH %s\n", title) }
	fmt.Fprintf(&b, ".TH %s 1 \"\" clawwatch \"User Commands\"\n", strings.ToUpper(roff(name)))
	section("NAME")
	fmt.Fprintf(&b, "%s \\- %s\n", roff(name), roff(c.Short))
	section("SYNOPSIS")
	if c.Runnable() {
		fmt.Fprintf(&b, "\\fB%s\\fR\n", roff(c.UseLine()))
	} else {
		fmt.Fprintf(&b, "\\fB%s\\fR \\fIverb\\fR [\\fIflags\\fR]\n", roff(c.CommandPath()))
	}
	section("DESCRIPTION")
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	fmt.Fprintf(&b, ".nf\n%s\n.fi\n", roff(text))
	if flags := c.NonInheritedFlags(); flags.HasAvailableFlags() {
		section("OPTIONS")
		flags.VisitAll(func(f *pflag.Flag) { b.WriteString(option(f)) })
	}
	if c.Example != "" {
		section("EXAMPLES")
		fmt.Fprintf(&b, ".nf\n%s\n.fi\n", roff(c.Example))
	}
	if subs := c.Commands(); len(subs) > 0 {
		section("VERBS")
		for _, s := range subs {
			if s.IsAvailableCommand() && s.Name() != "help" {
				fmt.Fprintf(&b, ".TP\n\\fB%s\\fR\n%s\n", roff(s.Name()), roff(s.Short))
			}
		}
	}
	section("EXIT STATUS")
	b.WriteString("0 done; 1 failed; 2 wrong usage; 3 done, and what was asked about is not well.\n")
	if c.HasParent() {
		section("SEE ALSO")
		b.WriteString(".BR clawwatch (1)\n")
	} else {
		section("FILES")
		b.WriteString(".TP\n.I /etc/clawwatch/clawwatch.yaml\nconfiguration\n.TP\n.I /etc/clawwatch/policy.yaml\npolicy\n" +
			".TP\n.I /var/lib/clawwatch\nstore and queues\n.TP\n.I /run/clawwatch/clawwatch.sock\nwhere the agent answers\n")
	}
	return b.String()
}

func option(f *pflag.Flag) string {
	if f.Hidden {
		return ""
	}
	short := ""
	if f.Shorthand != "" {
		short = "\\fB\\-" + f.Shorthand + "\\fR, "
	}
	kind, usage := pflag.UnquoteUsage(f)
	if kind != "" {
		kind = " \\fI" + roff(kind) + "\\fR"
	}
	return fmt.Sprintf(".TP\n%s\\fB\\-\\-%s\\fR%s\n%s\n", short, roff(f.Name), kind, roff(usage))
}

// roff escapes what man(7) would take for its own.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...").Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
