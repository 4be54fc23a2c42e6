package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/internal/console"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

var processColumns = []column{{"START", 14}, {"PID", 7}, {"SKILL", 18}, {"SURE", 9}, {"STATE", 8}, {"READ", 5}, {"CHANGED", 7}, {"NETWORK", 22}, {"COMMAND", 0}}

// recent is how far back processes are looked for when no time is given.
const recent = time.Hour

func newProcessesCmd() *cobra.Command {
	var a asking
	cmd := &cobra.Command{
		Use:     "processes",
		Short:   "List processes with what each read, changed and sent, newest last",
		Long:    "List processes with what each read, changed and sent, newest last; those of the\nlast hour, unless --since says otherwise.",
		Example: "  clawwatch processes --skill weather --since 1d",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := a.query()
			if err != nil {
				return err
			}
			if q.Since.IsZero() && q.Until.IsZero() {
				q.Since = time.Now().Add(-recent)
			}
			out, ctx := newPrinter(cmd.OutOrStdout()), cmd.Context()
			return explain("list processes", show(ctx, out, &a, processColumns, false, a.client().Processes(ctx, q), func(p store.Activity) { processRow(out, &p) }))
		},
	}
	a.register(cmd)
	return cmd
}

func processRow(out *printer, p *store.Activity) {
	skill, sure := whose(p.Attribution)
	out.row(processColumns, stamp(p.First), strconv.Itoa(int(p.Process.PID)), skill, sure, state(p),
		strconv.Itoa(p.Files["read"]), strconv.Itoa(changes(p)), traffic(p), command(&p.Process))
}

func state(p *store.Activity) string {
	if !p.Exited {
		return "runs"
	}
	return ending(&p.Process)
}

// changes counts what was done to files besides reading.
func changes(p *store.Activity) int {
	n := 0
	for operation, count := range p.Files {
		if event.Changes(operation) {
			n += count
		}
	}
	return n
}

// traffic sums up a process's connections.
func traffic(p *store.Activity) string {
	if len(p.Connections) == 0 {
		return "-"
	}
	var n int
	var sent, received uint64
	for _, c := range p.Connections {
		n, sent, received = n+c.Count, sent+c.Sent, received+c.Received
	}
	return fmt.Sprintf("%d: ↑%s ↓%s", n, console.Bytes(sent), console.Bytes(received))
}
