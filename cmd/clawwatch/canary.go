package main

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/internal/agent"
	"github.com/clawwatch/clawwatch/internal/canary"
	"github.com/clawwatch/clawwatch/internal/console"
)

// newCanaryCmd is what the agent runs to try its sensors.
func newCanaryCmd() *cobra.Command {
	return &cobra.Command{
		Use: "canary DIR", Short: "Do one of each thing that the sensors claim to see", Args: cobra.ExactArgs(1), Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "nothing" {
				time.Sleep(time.Second) // it is to be killed
				return nil
			}
			return canary.Fly(cmd.InOrStdin(), cmd.OutOrStdout(), args[0])
		},
	}
}

// trial judges what the sensors saw of what was done for them to see.
func (e *examination) trial(t *agent.Trial) {
	switch {
	case t == nil:
	case t.Err != "":
		e.add("trial", isAmiss, "", "the sensors could not be tried: %s", t.Err)
	case len(t.Unseen) > 0:
		e.add("trial", isBlind, "restart the agent; who detached its probes?", "at %s these were done and not seen: %s", console.Time(t.Time), strings.Join(t.Unseen, " "))
	default:
		e.add("trial", isWell, "", "at %s each of these was done and seen: %s", console.Time(t.Time), strings.Join(t.Seen, " "))
	}
	if t == nil {
		return
	}
	for _, door := range slices.Sorted(maps.Keys(t.Cannot)) {
		e.add("trial", isNote, "", "%s was not tried, or is known not to be seen: %s", door, t.Cannot[door])
	}
}
