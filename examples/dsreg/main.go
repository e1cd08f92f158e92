// Command dsreg joins this machine to a Microsoft Entra tenant, signs users in
// and gives their programs tokens, for servers, scripts and help desks. It is
// named after the Windows command whose status page it prints.
//
//	dsreg join --tenant contoso.example     # once: registers the device and signs in
//	dsreg token https://graph.microsoft.com/User.Read
//	dsreg status
//	dsreg why https://graph.microsoft.com/User.Read
//
// Keys are in the TPM unless join was run with --software-keys. With --emulator
// everything runs against an emulated Entra ID inside the process, without a
// tenant.
//
// The exit status is 0 for success, 1 for a failure, 2 for a wrong command line,
// 3 when the user must be asked, 4 when a later try can succeed, and 5 when the
// service, a policy or the TPM refused. docs/dsreg.md describes the output of
// --json.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/internal/recorder"
)

func main() {
	// A reader that goes away, as head does, must not end the program before the
	// state is closed: while SIGPIPE is caught, a write only fails with an
	// error.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}, os.Getenv)
	stop()
	os.Exit(code)
}

// streams are standard input, output and error.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run is the whole program.
func run(ctx context.Context, args []string, s streams, getenv func(string) string) int {
	return (&app{streams: s, getenv: getenv}).run(ctx, args)
}

// app is one run of the program: its flags, and what they open.
type app struct {
	streams
	getenv func(string) string
	flags  flags

	// network stands between the broker and the emulated tenant. Nil: nothing.
	network func(broker.Transport) broker.Transport

	rec *recorder.Recorder // of doctor --record; nil: nothing is recorded
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	if err != nil {
		a.fail(err)
	}
	return exitStatus(err)
}

// flags are those of every command.
type flags struct {
	state        string
	tenant       string
	app          string
	redirect     string
	account      string
	tpm          string
	softwareKeys bool
	emulator     bool
	json         bool
	verbose      bool
}
