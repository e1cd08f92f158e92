package broker_test

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
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

// The PIN is asked for where it may help: not for a new sign-in, which may be another
// user's, and not where a PRT of the same key was just refused for what it lacks.
func TestWhenThePINIsAskedFor(t *testing.T) {
	t.Parallel()
	stepUp := entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.AADSTS, Code: 50076, Error: "interaction_required"}
	for name, tt := range map[string]struct {
		byPIN       bool // there is a PRT of the key
		opts        []broker.CallOption
		pins, pages int
	}{
		"no PRT of the key":           {false, nil, 1, 0},
		"a PRT of the key":            {true, nil, 0, 1},
		"a PRT of the key, challenge": {true, []broker.CallOption{broker.WithClaims(acrs)}, 1, 0},
		"a new sign-in":               {false, []broker.CallOption{broker.WithNewSignIn()}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			softwareHello(w)
			w.join()
			acct := w.hello()
			if tt.byPIN {
				_, err := w.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
				require.NoError(t, err)
			}
			if len(tt.opts) == 0 {
				fault := stepUp
				fault.Times = 1 + len(w.status(acct).Others)
				fault.Match = func(r *http.Request) bool { return r.Form.Get("grant_type") != "srv_challenge" }
				w.srv.AddFault(fault)
			}
			pages := w.person.prompts()
			w.person.pin = rightPIN
			_, err := w.b.AcquireTokenInteractive(t.Context(), open, append(tt.opts, broker.WithForceRefresh())...)
			require.NoError(t, err)
			require.EqualValues(t, tt.pins, w.person.pins.Load(), "PINs")
			require.Equal(t, tt.pages, w.person.prompts()-pages, "pages")
		})
	}
}

// The page of consent asks for the claims too that the app was challenged with.
func TestConsentWithClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withOptions(func(o *entratest.Options) { o.Apps[0].AdminConsent = false }))
	p := &watchedPerson{person: w.person}
	w.cfg.Prompter = p
	w.b = w.open()
	w.join()
	w.signIn()
	_, err := w.b.AcquireTokenInteractive(t.Context(), open, broker.WithClaims(acrs))
	require.NoError(t, err)
	require.JSONEq(t, acrs, p.last().Get("claims"))
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

// A token that is about to end is served where the service cannot be reached, up to its
// last instant and not at it.
func TestLastInstantOfAToken(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		left time.Duration // when the service has failed
		ok   bool
	}{"a second left": {time.Second, true}, "none": {0, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.join()
			w.signIn()
			tok := w.silent(graph)
			w.clock.Advance(tok.ExpiresOn.Sub(w.clock.Now()) - 10*time.Second)
			broker.SetSleep(w.b, func(ctx context.Context, _ time.Duration) error { return ctx.Err() })
			w.wire.set(func(*http.Request) error {
				w.clock.Advance(tok.ExpiresOn.Sub(w.clock.Now()) - tt.left)
				return http.ErrHandlerTimeout
			}, nil)
			res, err := w.b.AcquireTokenSilent(t.Context(), graph)
			if !tt.ok {
				require.ErrorIs(t, err, broker.ErrTransient)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tok.AccessToken, res.AccessToken)
		})
	}
}
