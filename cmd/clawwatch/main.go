// Command clawwatch is the agent and the tool that asks it. Each verb is a file
// of its own beside this one.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set at build time.
var version = "unknown"

// Exit statuses.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitNotWell = 3 // done, and what was asked about is not well
)

func main() { os.Exit(Main()) }

// Main runs the command line and returns the exit status.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(asExtension(os.Args))
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	message := "clawwatch: " + err.Error()
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) && hinted.Hint() != "" {
		message += "\nhint: " + hinted.Hint()
	}
	if underManager() {
		message = asPriority(message)
	}
	fmt.Fprintln(os.Stderr, message)
	var status interface{ ExitStatus() int }
	if errors.As(err, &status) {
		return status.ExitStatus()
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "clawwatch",
		Short: "Say which OpenClaw skill did what on this host, and how sure that is",
		Long: `clawwatch watches the OpenClaw gateways of a host from the kernel and from
OpenClaw's own records, and names the skill behind each process, file access
and connection, with the evidence for it.

Run the agent as root, and ask it from another terminal:

  clawwatch run
  clawwatch alerts --since 1h
  clawwatch why 01J9Z3K8`,
		SilenceErrors: true, SilenceUsage: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		newDoctorCmd(), newConfigCmd(), newRulesCmd(),
		newRunCmd(), newEventsCmd(), newAlertsCmd(), newProcessesCmd(), newSkillsCmd(), newSessionsCmd(), newLLMCmd(),
		newTreeCmd(), newWhyCmd(), newReplayCmd(), newPolicyCmd(), newVersionCmd(), newOsqueryCmd(), newGenCmd(), newCanaryCmd(),
	)
	return root
}

// A usageError is a wrong use of the command line.
type usageError struct{ error }

func (usageError) ExitStatus() int { return exitUsage }
