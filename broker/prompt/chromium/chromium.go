// Package chromium shows sign-in pages in a window of an installed Chromium,
// Chrome, Edge or Brave, and returns the address at which the sign-in ends.
//
//	b, err := broker.New(ctx, broker.Config{
//		Tenant:   "contoso.example",
//		App:      broker.App{ClientID: clientID},
//		Keys:     keys,
//		Prompter: &chromium.Prompter{Fallback: &terminal.Prompter{}},
//	})
//
// The redirects of the broker client (ms-appx-web:, msauth:) are addresses that
// no browser opens. The window is controlled over the DevTools protocol, which
// reports them before the browser gives up on them. The protocol runs over a
// pipe (--remote-debugging-pipe), never over a port: any program on the machine
// could connect to a port and control the sign-in.
//
// The sandbox of the browser stays on. Each prompt has its own window and a new
// profile, so that the user's extensions and sessions do not affect it, unless
// Prompter.ProfileDir keeps a profile.
//
// It works on Unix. On Windows, where pipes are passed to a child process in
// another way, Authorize returns [ErrNoBrowser].
package chromium

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker"
)

// ErrNoBrowser is returned if no browser is installed, or if there is no display
// to show it on. It is also an errors.ErrUnsupported, which makes the broker ask
// by a device code instead.
var ErrNoBrowser error = noBrowser{}

type noBrowser struct{}

func (noBrowser) Error() string { return "chromium: there is no browser to show the sign-in page in" }
func (noBrowser) Unwrap() error { return errors.ErrUnsupported }

// A Prompter shows sign-in pages in a browser window. The zero value is ready
// to use.
type Prompter struct {
	// Path is the browser's executable. Empty: the first that is installed of
	// chromium, google-chrome, microsoft-edge and brave-browser.
	Path string

	// ProfileDir keeps the browser's profile, with the user's sign-in session
	// in it. It must belong to this Prompter alone. Empty: a temporary one for
	// each prompt.
	ProfileDir string

	// Cookies returns the cookies that authenticate this device to a page, such
	// as [broker.Broker.SSOCookies]. They are sent as headers, only to the hosts
	// in Hosts and only over HTTPS. Nil: no cookies.
	Cookies func(ctx context.Context, signInURL string) ([]*http.Cookie, error)

	// Hosts are the sign-in hosts, compared exactly. Nil: those of the public
	// cloud.
	Hosts []string

	// Fallback shows device codes and asks for PINs, which need no browser. Nil:
	// both return errors.ErrUnsupported.
	Fallback broker.Prompter

	arguments []string // additional ones, for tests
	script    string   // runs in every page, for tests
}

var _ broker.Prompter = (*Prompter)(nil)

// publicHosts are the sign-in hosts of the public cloud.
var publicHosts = []string{"login.microsoftonline.com", "login.microsoft.com", "login.windows.net", "sts.windows.net"}

// browsers are the programs that are looked for.
var browsers = []string{
	"chromium", "chromium-browser", "google-chrome", "google-chrome-stable",
	"microsoft-edge", "microsoft-edge-stable", "brave-browser",
}

// Authorize shows page in a window and returns the first redirect address that
// begins with redirectPrefix. It returns broker.ErrUserCanceled if the user
// closes the window. The window and its processes are gone when Authorize
// returns.
func (p *Prompter) Authorize(ctx context.Context, page, redirectPrefix string) (redirected string, err error) {
	u, err := url.Parse(page)
	if err != nil || u.Scheme != "https" {
		return "", errors.New("chromium: the sign-in page is not an https address")
	}
	program, err := p.program()
	if err != nil {
		return "", err
	}
	profile, remove, err := p.profile()
	if err != nil {
		return "", err
	}
	defer remove()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := openWindow(ctx, program, slices.Concat(arguments(profile), p.arguments))
	if err != nil {
		return "", err
	}
	defer w.close()
	s := &signIn{window: w, prompter: p, page: page, prefix: redirectPrefix}
	redirected, err = s.run(ctx)
	if err != nil && ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	return redirected, err
}

// DeviceCode asks Fallback.
func (p *Prompter) DeviceCode(ctx context.Context, dc broker.DeviceCode) error {
	if p.Fallback == nil {
		return fmt.Errorf("chromium: Prompter.Fallback is nil: %w", errors.ErrUnsupported)
	}
	return p.Fallback.DeviceCode(ctx, dc)
}

// PIN asks Fallback.
func (p *Prompter) PIN(ctx context.Context, acct broker.Account) (broker.PIN, error) {
	if p.Fallback == nil {
		return nil, fmt.Errorf("chromium: Prompter.Fallback is nil: %w", errors.ErrUnsupported)
	}
	return p.Fallback.PIN(ctx, acct)
}

func (p *Prompter) program() (string, error) {
	if !pipes || !p.display() {
		return "", ErrNoBrowser
	}
	if p.Path != "" {
		return p.Path, nil
	}
	for _, name := range browsers {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNoBrowser
}

// display says whether a window can be shown.
func (p *Prompter) display() bool {
	return !needsDisplay || os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != "" ||
		slices.Contains(p.arguments, "--headless")
}

func (p *Prompter) profile() (dir string, remove func(), err error) {
	if p.ProfileDir != "" {
		if err := os.MkdirAll(p.ProfileDir, 0o700); err != nil {
			return "", nil, fmt.Errorf("chromium: %w", err)
		}
		return p.ProfileDir, func() {}, nil
	}
	dir, err = os.MkdirTemp("", "sign-in-")
	if err != nil {
		return "", nil, fmt.Errorf("chromium: %w", err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}

// arguments are those of every browser: a window of its own without toolbars,
// nothing in the background, and the pipe.
func arguments(profile string) []string {
	return []string{
		"--remote-debugging-pipe",
		"--user-data-dir=" + profile,
		"--app=data:text/html,",
		"--window-size=520,720",
		"--no-first-run",
		"--no-default-browser-check",
		"--disable-extensions",
		"--disable-sync",
		"--disable-background-networking",
		"--disable-component-update",
		"--disable-features=Translate,MediaRouter",
		"--password-store=basic",
	}
}

// cookies returns the device's cookies for a request to address. It returns none
// unless the request goes to a sign-in host.
func (p *Prompter) cookies(ctx context.Context, address string) ([]*http.Cookie, error) {
	if p.Cookies == nil || !p.signInHost(address) {
		return nil, nil
	}
	return p.Cookies(ctx, address)
}

func (p *Prompter) signInHost(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Port() != "" && u.Port() != "443" {
		return false
	}
	hosts := p.Hosts
	if hosts == nil {
		hosts = publicHosts
	}
	return slices.Contains(hosts, strings.ToLower(u.Hostname()))
}
