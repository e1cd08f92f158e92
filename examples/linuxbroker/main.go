// Command linuxbroker is an authentication broker for Linux desktops: it puts
// the name com.microsoft.identity.broker1 on the session bus, where Microsoft
// Edge, linux-entra-sso, the Azure CLI and other programs look for Microsoft's
// broker, and answers them from a registration of this machine.
//
//	linuxbroker -tenant contoso.example           # in the foreground
//	linuxbroker -tenant contoso.example -install  # started by the bus from now on
//	linuxbroker -emulator -software-keys -state "$(mktemp -d)"
//
// No separate enrolment is needed: the first program that signs in interactively
// makes the broker register this machine. The user is prompted in a window of an
// installed Chromium, Chrome, Edge or Brave. Without a browser, or with -prompt
// notification, a desktop notification shows a device code.
//
// Keys are in the TPM unless -software-keys is given, and a state that was
// created with a TPM cannot be opened with anything else. docs/linux.md explains
// how to use it in place of Microsoft's broker, and what it does not do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stderr, os.Getenv)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "linuxbroker:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	tenant   string
	state    string
	tpm      string
	bus      string
	prompt   string
	browser  string
	software bool
	join     bool
	emulator bool
	install  bool
	verbose  bool
	idle     time.Duration
}

func parse(args []string, stderr io.Writer, getenv func(string) string) (options, error) {
	var o options
	f := flag.NewFlagSet("linuxbroker", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.tenant, "tenant", "", "`domain` or id of the tenant; not needed once the machine is registered")
	f.StringVar(&o.state, "state", "", "`directory` of the state (default $XDG_STATE_HOME/linuxbroker); the state of dsreg works too")
	f.StringVar(&o.tpm, "tpm", "", "`path` of the TPM device, or of the Unix socket of a swtpm (default: the machine's TPM)")
	f.StringVar(&o.bus, "bus", "", "`address` of the bus (default: the session bus)")
	f.StringVar(&o.prompt, "prompt", "", "`how` the user is asked: window (a browser window, or a notification where there is none) or notification (of the desktop, with a device code) (default window; with -emulator notification)")
	f.StringVar(&o.browser, "browser", "", "`program` that shows the window (default: the first that is installed of Chromium, Chrome, Edge and Brave)")
	f.BoolVar(&o.software, "software-keys", false, "keep the keys in a file instead of the TPM; anyone who copies the file can use them")
	f.BoolVar(&o.join, "join", false, "register the machine as the organization's (Entra joined) instead of the user's own (Entra registered)")
	f.BoolVar(&o.emulator, "emulator", false, "use an emulated tenant in this process, with a user who answers every prompt")
	f.BoolVar(&o.install, "install", false, "write a systemd user unit and a D-Bus activation file with these flags, and exit")
	f.BoolVar(&o.verbose, "v", false, "log every call")
	f.DurationVar(&o.idle, "idle", 0, "exit after this `time` without a call; the bus starts the broker when it is called again (default: never)")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	switch {
	case o.prompt == "" && o.emulator:
		o.prompt = promptNotification
	case o.prompt == "":
		o.prompt = promptWindow
	case o.prompt != promptWindow && o.prompt != promptNotification:
		return o, fmt.Errorf("-prompt %q: want window or notification", o.prompt)
	}
	if o.state == "" {
		dir, err := stateDir(getenv)
		if err != nil {
			return o, err
		}
		o.state = dir
	}
	var err error
	o.state, err = filepath.Abs(o.state)
	return o, err
}

// stateDir is where the XDG base directory specification puts state.
func stateDir(getenv func(string) string) (string, error) {
	if d := getenv("XDG_STATE_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "linuxbroker"), nil
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "linuxbroker"), nil
	}
	return "", errors.New("HOME is not set: use -state to say where to keep the state")
}

func run(ctx context.Context, args []string, stderr io.Writer, getenv func(string) string) error {
	o, err := parse(args, stderr, getenv)
	if err != nil {
		return err
	}
	if o.install {
		return install(o, args, stderr, getenv)
	}
	d, err := open(ctx, o, logger(o, stderr, getenv))
	if err != nil {
		return err
	}
	return errors.Join(d.serve(ctx), d.close())
}

// logger writes to standard error, which systemd hands to the journal. The
// journal has the time already.
func logger(o options, stderr io.Writer, getenv func(string) string) *slog.Logger {
	h := &slog.HandlerOptions{Level: slog.LevelInfo}
	if o.verbose {
		h.Level = slog.LevelDebug
	}
	if getenv("JOURNAL_STREAM") != "" {
		h.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(stderr, h))
}
