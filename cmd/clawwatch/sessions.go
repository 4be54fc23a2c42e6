package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

var sessionColumns = []column{{"START", 14}, {"LAST", 14}, {"SESSION", 36}, {"AGENT", 8}, {"CHANNEL", 10}, {"ACTOR", 14}, {"ALERTS", 6}, {"KEY", 0}}

func newSessionsCmd() *cobra.Command {
	var a asking
	cmd := &cobra.Command{
		Use:     "sessions",
		Short:   "List sessions with who started them and from where, newest last",
		Example: "  clawwatch sessions --since 1d --skill weather",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := a.query()
			if err != nil {
				return err
			}
			out, ctx := newPrinter(cmd.OutOrStdout()), cmd.Context()
			return explain("list sessions", show(ctx, out, &a, sessionColumns, true, a.client().Sessions(ctx, q), func(s store.Session) { sessionRow(out, &s) }))
		},
	}
	a.register(cmd)
	return cmd
}

func sessionRow(out *printer, s *store.Session) {
	by, of := s.Record.Attribution, s.Record.Session
	if by == nil {
		by = &event.Attribution{}
	}
	if of == nil {
		of = &event.Session{}
	}
	out.row(sessionColumns, stamp(s.Record.Time), stamp(s.Last), orDash(by.Session), orDash(by.Agent), orDash(of.Channel), orDash(of.Actor), strconv.Itoa(s.Alerts), text(of.Key))
}
