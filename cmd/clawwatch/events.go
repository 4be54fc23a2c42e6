package main

import (
	"errors"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/internal/event"
)

var eventColumns = []column{{"TIME", 14}, {"ID", shownID}, {"KIND", 15}, {"PID", 7}, {"SKILL", 18}, {"SURE", 9}, {"WHAT", 0}}

func newEventsCmd() *cobra.Command {
	var a asking
	cmd := &cobra.Command{
		Use:   "events",
		Short: "List what happened, newest last",
		Example: `  clawwatch events --since 10m --kind 'file.*' --skill weather
  clawwatch events --follow --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := a.query()
			if err != nil {
				return err
			}
			if a.follow && a.rule != "" {
				return usageError{errors.New("read flags: events of a rule cannot be followed; follow its alerts: clawwatch alerts --follow --rule " + a.rule)}
			}
			return list(cmd, &a, "list events", eventColumns, q, a.client().Events, eventRow)
		},
	}
	a.register(cmd)
	a.registerKind(cmd)
	a.registerRule(cmd)
	a.registerFollow(cmd)
	return cmd
}

func eventRow(out *printer, r *event.Record) {
	pid := "-"
	if r.Process != nil {
		pid = strconv.Itoa(int(r.Process.PID))
	}
	skill, sure := whose(r.Attribution)
	out.row(eventColumns, stamp(r.Time), short(r.ID), text(string(r.Kind)), pid, skill, sure, what(r))
}
