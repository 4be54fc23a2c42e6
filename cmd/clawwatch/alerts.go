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
			return list(cmd, &a, "list alerts", nil, q, a.client().Alerts, alertRow)
		},
	}
	a.register(cmd)
	a.registerRule(cmd)
	a.registerFollow(cmd)
	return cmd
}

func alertRow(out *printer, alert *event.Alert) { out.line(console.FormatAlert(*alert, out.colour)) }
