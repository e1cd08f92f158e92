package main

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
)

// A page shows sign-in pages: to a simulated person who fills in the real form,
// or, with -browser, to the real user.
type page struct {
	srv     *entratest.Server
	person  entratest.Person
	client  *http.Client
	browser bool
	out     io.Writer
	prompts int // how often the user was asked
}

// Authorize implements [broker.Prompter].
func (p *page) Authorize(ctx context.Context, url, redirectPrefix string) (string, error) {
	p.prompts++
	if !p.browser {
		return p.person.Authorize(ctx, p.client, url, redirectPrefix)
	}
	local, redirected, err := p.srv.BrowserURL(url)
	if err != nil {
		return "", err
	}
	code, err := entratest.TOTP(p.person.TOTPSecret, p.srv.Now())
	if err != nil {
		return "", err
	}
	fmt.Fprintf(p.out, "   Open %s\n   and sign in as %s, password %q, code %s.\n   Waiting for you (%d of 2).\n", local, p.person.Username, p.person.Password, code, p.prompts)
	select {
	case u := <-redirected:
		return u, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// DeviceCode implements [broker.Prompter].
func (p *page) DeviceCode(_ context.Context, dc broker.DeviceCode) error {
	p.prompts++
	fmt.Fprintf(p.out, "   %s\n", dc.Message)
	return nil
}

// PIN implements [broker.Prompter].
func (p *page) PIN(context.Context, broker.Account) (broker.PIN, error) {
	return nil, broker.ErrUserCanceled
}
