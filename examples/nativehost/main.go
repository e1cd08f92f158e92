// Command nativehost connects a browser to the broker on the session bus. It is
// the native-messaging host of the extension linux-entra-sso for Chrome, Firefox
// and Thunderbird, in place of its Python host, and answers GetCookies in the
// format of Windows' BrowserCore.
//
//	nativehost -install   # writes the manifests by which browsers find it
//
// A browser starts it for each connection, so it is built to start in
// milliseconds: it opens no TPM and keeps no state. It asks whichever broker is
// on the bus: examples/linuxbroker, Microsoft's or himmelblau's.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv); err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, "nativehost:", err)
		os.Exit(1)
	}
}

// run is the whole program. A browser passes arguments of its own: the origin of
// the extension, or the manifest's path and the extension's id.
func run(ctx context.Context, args []string, in io.Reader, out, stderr io.Writer, getenv func(string) string) error {
	switch {
	case slices.Contains(args, "-install"), slices.Contains(args, "--install"):
		return install(stderr, getenv)
	case slices.Contains(args, "-h"), slices.Contains(args, "-help"), slices.Contains(args, "--help"):
		fmt.Fprintln(stderr, "usage: nativehost -install\n\nBrowsers start nativehost without flags and speak native messaging to it.")
		return nil
	}
	h := newHost(out, getenv("DBUS_SESSION_BUS_ADDRESS"))
	return h.serve(ctx, in)
}
