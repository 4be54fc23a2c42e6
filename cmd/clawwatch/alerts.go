package main

import (
	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/internal/console"
	"github.com/clawwatch/clawwatch/internal/event"
)

func newAlertsCmd() *cobra.Command {
	var a asking
	cmd := &cobra.Command{
		Use:   "alerts",
		Short: "List what the rules found, newest last",
		Example: `  clawwatch alerts --since 1d
  clawwatch alerts --follow --rule unapproved-endpoint`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := a.query()
			if err != nil {
				return err
			}
			out, ctx := newPrinter(cmd.OutOrStdout()), cmd.Context()
			newest := !a.follow && a.limit > 0
			q.Oldest = !newest
			return explain("list alerts", show(ctx, out, &a, nil, newest, a.client().Alerts(ctx, q, a.follow), func(alert event.Alert) {
				out.line(console.FormatAlert(alert, out.colour))
			}))
		},
	}
	a.register(cmd)
	a.registerRule(cmd)
	a.registerFollow(cmd)
	return cmd
}
