package broker_test

import (
	"context"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

// watchedPerson is a person whose pages are seen.
type watchedPerson struct {
	*person
	mu    sync.Mutex
	pages []url.Values // the parameters of each
}

func (p *watchedPerson) Authorize(ctx context.Context, address, prefix string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	p.mu.Lock()
	p.pages = append(p.pages, u.Query())
	p.mu.Unlock()
	return p.person.Authorize(ctx, address, prefix)
}

func (p *watchedPerson) last() url.Values {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pages[len(p.pages)-1]
}

const acrs = `{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`

// Without a Prompter the caller is told what is missing: the claims that it was
// challenged with, or what the service wants.
func TestInteractiveWithoutAPrompter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	acct := w.signIn()
	w.cfg.Prompter = nil
	w.b = w.open()
	w.wire.take()
	var e *broker.Error
	_, err := w.b.AcquireTokenInteractive(t.Context(), payroll, broker.WithClaims(acrs), broker.WithAccount(acct))
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	require.ErrorContains(t, err, "Config.Prompter is nil")
	require.ErrorAs(t, err, &e)
	require.Equal(t, acrs, e.Claims)
	require.Equal(t, payroll, e.Scopes)
	require.Equal(t, acct, e.Account)
	require.Empty(t, w.wire.take())

	_, err = w.b.AcquireTokenInteractive(t.Context(), payroll)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	require.NotContains(t, err.Error(), "Prompter")
	require.ErrorAs(t, err, &e)
	require.Equal(t, 50076, e.Code)

	_, err = w.b.AcquireTokenInteractive(t.Context(), payroll, broker.WithNewSignIn())
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	require.ErrorContains(t, err, "a new sign-in was requested")
}

// On a machine without a registration the page knows who is meant, and the refresh
// token asks for the claims of the call.
func TestUnboundPageAndClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	p := &watchedPerson{person: w.person}
	w.cfg.Prompter, w.cfg.AllowUnbound = p, true
	w.b = w.open()
	res, err := w.b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice})
	require.NoError(t, err)
	_, err = w.b.AcquireTokenInteractive(t.Context(), open, broker.WithAccount(res.Account), broker.WithNewSignIn())
	require.NoError(t, err)
	require.Equal(t, alice, p.last().Get("login_hint"))
	_, err = w.b.AcquireTokenInteractive(t.Context(), open, broker.WithLoginHint("a@contoso.example"), broker.WithNewSignIn())
	require.NoError(t, err)
	require.Equal(t, "a@contoso.example", p.last().Get("login_hint"))

	var sent sentForms
	w.wire.set(sent.see, nil)
	w.silent(graph, broker.WithForceRefresh())
	require.False(t, sent.last.Has("claims"))
	w.silent(graph, broker.WithCAE())
	require.JSONEq(t, `{"access_token":{"xms_cc":{"values":["cp1"]}}}`, sent.last.Get("claims"))
}
