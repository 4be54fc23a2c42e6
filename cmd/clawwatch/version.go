package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/collectors/ebpf"
)

func newVersionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print version, commit, build date and the digest of the kernel programs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			commit, date := "unknown", "unknown"
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					switch s.Key {
					case "vcs.revision":
						commit = s.Value
					case "vcs.time":
						date = s.Value
					}
				}
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "clawwatch %s\ncommit  %s\ndate    %s\ngo      %s %s/%s\nbpf     sha256:%s\n",
				version, commit, date, runtime.Version(), runtime.GOOS, runtime.GOARCH, ebpf.ObjectDigest())
			return err
		},
	}
}
