// Command quickstart tells the story of a device: registered, signed in, asked
// for MFA once, silent ever after, revoked, copied. It runs against an emulated
// tenant in the process, with real cryptography and a software TPM, and needs
// neither network nor root. If any step fails, it exits with status 1.
//
// With -methods it prints which sign-in method satisfies which policy: it signs
// in with every method on the emulated tenant's pages, and requests tokens for
// apps behind different policies with the resulting PRT.
//
// With -tenant it runs the first three steps against real Entra ID with the
// device code flow. With -record as well it writes what was asked and answered to a
// directory, without names and secrets: CONTRIBUTING.md asks for such runs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// A broken pipe ends the run like an interrupt, so that temporary
	// directories with keys are removed.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are the flags.
type options struct {
	tpm     string
	tenant  string
	browser bool
	methods bool
	state   string
	record  string
	logger  *slog.Logger

	transport http.RoundTripper // to the real tenant; nil: the broker's own
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	var verbose bool
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.tpm, "tpm", "auto", "what holds the keys: auto, swtpm, simulator, device or software")
	flags.StringVar(&o.tenant, "tenant", "", "run steps 1 to 3 against this tenant of real Entra ID, by device code")
	flags.BoolVar(&o.browser, "browser", false, "sign in yourself on the emulator's pages; the run waits for you twice, in steps 4 and 7")
	flags.BoolVar(&o.methods, "methods", false, "print which sign-in method counts for what, run end to end")
	flags.StringVar(&o.state, "state", "", "keep the device, and the emulated tenant, in this `directory` (default: a temporary one)")
	flags.StringVar(&o.record, "record", "", "with -tenant: write what is asked and answered, without names and secrets, to this `directory`")
	flags.BoolVar(&verbose, "v", false, "log what the broker does")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "quickstart: unexpected argument %q\n", flags.Arg(0))
		return 2
	}
	if o.methods && o.state != "" {
		fmt.Fprintln(stderr, "quickstart: -methods keeps no state: leave -state out")
		return 2
	}
	if o.record != "" && o.tenant == "" {
		fmt.Fprintln(stderr, "quickstart: -record records a run against a real tenant: say which with -tenant")
		return 2
	}
	o.logger = slog.New(slog.DiscardHandler)
	if verbose {
		o.logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}

	tell := emulated
	switch {
	case o.tenant != "":
		tell = realTenant
	case o.methods:
		tell = methodTable
	}
	if err := tell(ctx, o, stdout); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		fmt.Fprintf(stderr, "quickstart: %v\n", err)
		return 1
	}
	return 0
}
