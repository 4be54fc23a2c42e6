package main

import (
	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/internal/canary"
)

// newCanaryCmd is what the agent runs to try its sensors.
func newCanaryCmd() *cobra.Command {
	return &cobra.Command{
		Use: "canary DIR", Short: "Do one of each thing that the sensors claim to see", Args: cobra.ExactArgs(1), Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "nothing" {
				return nil
			}
			return canary.Fly(cmd.InOrStdin(), cmd.OutOrStdout(), args[0])
		},
	}
}
