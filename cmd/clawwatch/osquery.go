package main

import (
	"cmp"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/exporters/osquery"
	"github.com/clawwatch/clawwatch/internal/api"
)

// extensionName is how osqueryd starts the extension: it takes only files whose
// name ends in .ext.
const extensionName = "clawwatch.ext"

// asExtension gives the arguments that the program has under the name that it
// was started by.
func asExtension(args []string) []string {
	if filepath.Base(args[0]) == extensionName {
		return append([]string{"osquery"}, args[1:]...)
	}
	return args[1:]
}

func newOsqueryCmd() *cobra.Command {
	var socket, agent string
	var timeout, interval int
	var verbose bool
	cmd := &cobra.Command{
		Use:   "osquery --socket PATH",
		Short: "Give osquery tables of what the agent knows",
		Long: `Serve osquery as its extension, with the tables that docs/osquery.md describes.
osqueryd starts it by itself, under the name clawwatch.ext, when that file is
named in /etc/osquery/extensions.load. Started by hand it waits for osquery, and
stays when osquery restarts.`,
		Example: `  clawwatch osquery --socket /var/osquery/osquery.em
  osqueryi --extension /usr/lib/osquery/extensions/clawwatch.ext`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case socket == "":
				return usageError{errors.New("read --socket: it is needed: the path of osquery's extension socket")}
			case timeout < 1 || interval < 1:
				return usageError{errors.New("read --timeout and --interval: want at least 1 second")}
			}
			level := slog.LevelInfo
			if verbose {
				level = slog.LevelDebug
			}
			starter := os.Getppid()
			err := osquery.Run(cmd.Context(), osquery.Config{
				Socket: socket, Timeout: time.Duration(timeout) * time.Second, Interval: time.Duration(interval) * time.Second,
				Agent: api.Dial(agent), Version: version,
				Log:      slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level})),
				Orphaned: func() bool { return os.Getppid() != starter },
			})
			return explain("serve osquery", err)
		},
	}
	f := cmd.Flags()
	f.StringVar(&socket, "socket", "", "`path` of osquery's extension socket")
	f.IntVar(&timeout, "timeout", 3, "`seconds` to wait for osquery to answer")
	f.IntVar(&interval, "interval", 3, "`seconds` between looks whether osquery is there")
	f.BoolVar(&verbose, "verbose", false, "log more; osquery passes its own flag on")
	f.StringVar(&agent, "agent", cmp.Or(os.Getenv("CLAWWATCH_SOCKET"), api.DefaultSocket), "`path` of the agent's socket; or set CLAWWATCH_SOCKET")
	return cmd
}
