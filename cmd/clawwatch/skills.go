package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/internal/store"
)

var skillColumns = []column{{"SKILL", 20}, {"VERSION", 10}, {"TREE HASH", 12}, {"INSTALLER", 10}, {"INSTALLED", 14}, {"STATE", 8}, {"ALERTS", 6}, {"DIRECTORY", 0}}

func newSkillsCmd() *cobra.Command {
	var a asking
	cmd := &cobra.Command{
		Use:   "skills",
		Short: "List the skills that gateways can load, with where they came from",
		Long: `List the skills that gateways can load, with version, hash of the whole tree,
installer and number of alerts. --since and --until count the alerts.`,
		Example: "  clawwatch skills --since 7d",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := a.query()
			if err != nil {
				return err
			}
			out, ctx := newPrinter(cmd.OutOrStdout()), cmd.Context()
			return explain("list skills", show(ctx, out, &a, skillColumns, false, a.client().Skills(ctx, q), func(k store.Skill) { skillRow(out, &k) }))
		},
	}
	a.register(cmd)
	return cmd
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
