package main

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// build is the result of version.
type build struct {
	Version string `json:"version"`
	Go      string `json:"go"`
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := build{Version: "(devel)"}
			if info, ok := debug.ReadBuildInfo(); ok {
				b.Go = info.GoVersion
				if info.Main.Version != "" {
					b.Version = info.Main.Version
				}
			}
			return a.print(b, func(w io.Writer) { fmt.Fprintf(w, "dsreg %s (%s)\n", b.Version, b.Go) })
		},
	}
}

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages into a directory",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			root := c.Root()
			root.DisableAutoGenTag = true
			return doc.GenManTree(root, &doc.GenManHeader{Title: "DSREG", Section: "1", Source: "prtbroker"}, args[0])
		},
	}
}
