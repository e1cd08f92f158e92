// Package terminal prompts the user on a terminal. It shows a device code with a QR
// code for phones, reads a PIN without echo and, if enabled, takes the address that
// a sign-in page redirected to.
//
//	b, err := broker.New(ctx, broker.Config{
//		Tenant:   "contoso.example",
//		App:      broker.App{ClientID: clientID},
//		Keys:     keys,
//		Prompter: &terminal.Prompter{},
//	})
//
// It talks to the controlling terminal of the process, not to standard input and
// output, so that it works in a pipeline. Without a terminal, as under cron or in a
// container, every question fails with [ErrNoTerminal].
//
// It does not open a browser. The page of [Prompter.Authorize] ends at an address
// of the broker client that only some browsers show, which is why Prompter.Paste is
// off by default; prompt/chromium shows the page in a window and needs no paste.
package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/webflow"
)

// ErrNoTerminal is returned when the process has no terminal to ask on. It is also
// an errors.ErrUnsupported, which makes the broker try another way to ask, if there
// is one.
var ErrNoTerminal error = noTerminal{}

type noTerminal struct{}

func (noTerminal) Error() string {
	return "terminal: this process has no terminal to ask the user on"
}
func (noTerminal) Unwrap() error { return errors.ErrUnsupported }

// A Prompter asks on a terminal. The zero value is ready to use. One question
// is asked at a time.
type Prompter struct {
	// Device is the path of the terminal. Empty: the controlling terminal of
	// the process (/dev/tty, on Windows the console).
	Device string

	// Paste lets Authorize ask for the address that a sign-in page redirected to.
	// False: Authorize returns errors.ErrUnsupported, and the broker uses a device
	// code instead, which is easier for the user but blocked by some tenants.
	Paste bool

	// SignIn lets Authorize go through the sign-in page by itself, without a
	// browser, and ask on the terminal for what the page needs. See package
	// webflow, which is as unstable as the pages. For a page that it does not know,
	// Authorize returns errors.ErrUnsupported, and the broker uses a device code
	// instead. Zero options have their defaults; an empty Username is taken from
	// the request, or asked for. Nil: Authorize shows the page's address (Paste),
	// or nothing.
	SignIn *webflow.Options

	// Key is the security key that SignIn uses, such as a *fido.Key of
	// broker/webflow/fido, which asks for its PIN through this Prompter
	// (fido.Text). Nil: no security key is used, and the user is shown the other
	// methods.
	Key webflow.Authenticator

	// NoQR omits the QR code. It is also omitted if TERM is "dumb" or the locale is
	// not UTF-8.
	NoQR bool

	// Location is the time zone for times that are shown. Nil: the local one.
	Location *time.Location

	turn turn
}

var _ broker.Prompter = (*Prompter)(nil)

// DeviceCode shows where to sign in and the code to enter there, in text and
// as a QR code of the address, and returns at once.
func (p *Prompter) DeviceCode(ctx context.Context, dc broker.DeviceCode) error {
	t, done, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	var s strings.Builder
	s.WriteString("\n")
	if !p.NoQR && unicodeTerminal() {
		s.WriteString(qrCode(dc.VerificationURL))
	}
	fmt.Fprintf(&s, "To sign in, open %s\non any device and enter the code %s", printable(dc.VerificationURL), printable(dc.UserCode))
	if !dc.ExpiresOn.IsZero() {
		zone := p.Location
		if zone == nil {
			zone = time.Local
		}
		fmt.Fprintf(&s, " (valid until %s)", dc.ExpiresOn.In(zone).Format("15:04"))
	}
	s.WriteString(".\nIf you did not start this sign-in yourself, do not enter the code.\n")
	_, err = io.WriteString(t, s.String())
	return err
}

// maxPastes bounds how often Authorize asks for another paste.
const maxPastes = 3

// Authorize shows the address of the sign-in page and reads the address that the
// page redirected to, which the user pastes. The paste is not echoed: the address
// contains a code that signs the user in.
func (p *Prompter) Authorize(ctx context.Context, page, redirectPrefix string) (string, error) {
	if p.SignIn != nil {
		return p.signIn(ctx, page, redirectPrefix)
	}
	if !p.Paste {
		return "", fmt.Errorf("terminal: Prompter.Paste is not set: %w", errors.ErrUnsupported)
	}
	t, done, err := p.open(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	_, err = fmt.Fprintf(t, "\nTo sign in, open this address in a browser:\n\n%s\n\nAt the end the browser is sent to an address that begins with\n%s\nand cannot open it. Copy that address from the address bar (Firefox shows it\nthere) or from the network panel of the browser's developer tools.\n", printable(page), printable(redirectPrefix))
	if err != nil {
		return "", err
	}
	for range maxPastes {
		line, err := t.ask(ctx, "Paste it here (it is not shown), then Enter: ", false)
		if err != nil {
			return "", err
		}
		pasted := strings.TrimSpace(string(line))
		clear(line)
		if pasted == "" {
			return "", broker.ErrUserCanceled
		}
		if _, err := url.Parse(pasted); err == nil && strings.HasPrefix(pasted, redirectPrefix) {
			return pasted, nil
		}
		if _, err := fmt.Fprintf(t, "That does not begin with %s. An empty line gives up.\n", printable(redirectPrefix)); err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("terminal: none of %d pasted addresses begins with the redirect: %w", maxPastes, broker.ErrUserCanceled)
}

// PIN asks for the PIN of the account's Hello key without echo. An empty line
// cancels.
func (p *Prompter) PIN(ctx context.Context, acct broker.Account) (broker.PIN, error) {
	pin, err := p.Secret(ctx, "PIN for "+printable(acct.PreferredUsername)+": ")
	return broker.PIN(pin), err
}

// Secret asks for a line that is not echoed, such as a password or a code. The
// caller clears the bytes after use. An empty line returns broker.ErrUserCanceled.
func (p *Prompter) Secret(ctx context.Context, question string) ([]byte, error) {
	return p.ask(ctx, question, false)
}

// Line asks for a line that is echoed. An empty line returns
// broker.ErrUserCanceled.
func (p *Prompter) Line(ctx context.Context, question string) (string, error) {
	b, err := p.ask(ctx, question, true)
	return string(b), err
}

// Show prints lines for the user. Control characters are removed from them.
func (p *Prompter) Show(ctx context.Context, text string) error {
	t, done, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	_, err = io.WriteString(t, strings.Join(lines, "\n")+"\n")
	return err
}

func (p *Prompter) ask(ctx context.Context, question string, echo bool) ([]byte, error) {
	t, done, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	line, err := t.ask(ctx, printable(question), echo)
	if err == nil && len(line) == 0 {
		return nil, broker.ErrUserCanceled
	}
	return line, err
}

// open waits for the terminal's turn and opens it.
func (p *Prompter) open(ctx context.Context) (*tty, func(), error) {
	if err := p.turn.take(ctx); err != nil {
		return nil, nil, err
	}
	t, err := openTTY(p.Device)
	if err != nil {
		p.turn.give()
		return nil, nil, err
	}
	return t, func() {
		t.Close()
		p.turn.give()
	}, nil
}

// printable removes control characters from text that came over the network.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return -1
		}
		return r
	}, s)
}
