package broker_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/prt"
)

const lacksMFA = `{"error":"interaction_required","error_codes":[50076],"claims":"{\"access_token\":{\"capolids\":{\"essential\":true,\"values\":[\"c1\"]}}}"}`

// refuseUntilShown has the service answer exchanges of a PRT with an error until so
// many pages were shown.
func (w *world) refuseUntilShown(pages *[]url.Values, enough int, body string) {
	inner := w.wire.inner
	w.wire.inner = apiDo(func(r *http.Request) (*http.Response, error) {
		if len(*pages) < enough && prtOf(r) != "" {
			return reply(http.StatusBadRequest, body), nil
		}
		return inner.Do(r)
	})
}

// withoutMember has the replies of an endpoint lack a member.
func (w *world) withoutMember(path, member string) {
	inner := w.wire.inner
	w.wire.inner = apiDo(func(r *http.Request) (*http.Response, error) {
		res, err := inner.Do(r)
		if err != nil || !strings.HasSuffix(r.URL.Path, path) {
			return res, err
		}
		defer res.Body.Close()
		var body map[string]any
		require.NoError(w.t, json.NewDecoder(res.Body).Decode(&body))
		delete(body, member)
		raw, err := json.Marshal(body)
		require.NoError(w.t, err)
		return reply(res.StatusCode, string(raw)), nil
	})
}

// pagesOf has the Prompter write down the queries of the pages that it shows.
func (w *world) pagesOf() *[]url.Values {
	w.t.Helper()
	pages := new([]url.Values)
	w.cfg.Prompter = &noting{person: w.person, see: func(page string) {
		u, err := url.Parse(page)
		require.NoError(w.t, err)
		*pages = append(*pages, u.Query())
	}}
	w.reopen()
	return pages
}

// The PIN is asked for unless the PRT that it gives was not enough just now, or the
// caller wants a new sign-in; after it, or in its place, comes the page of the broker
// client.
func TestStepUpByPINOrPage(t *testing.T) {
	t.Parallel()
	const context = `{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`
	for _, tt := range []struct {
		name        string
		before      func(*world, *[]url.Values)
		opts        []broker.CallOption
		pins, pages int
	}{
		{name: "the key's PRT was not enough", before: func(w *world, pages *[]url.Values) { w.refuseUntilShown(pages, 1, lacksMFA) }, pages: 1},
		{name: "claims of the resource", opts: []broker.CallOption{broker.WithClaims(context)}, pins: 1},
		{name: "a new sign-in", opts: []broker.CallOption{broker.WithNewSignIn()}, pages: 1},
		{name: "the key's PRT has expired and another was not enough", before: func(w *world, _ *[]url.Values) {
			w.clock.Advance(15 * 24 * time.Hour)
			w.signIn()
		}, pins: 1},
		{name: "and the PIN is not enough either", before: func(w *world, pages *[]url.Values) {
			w.clock.Advance(15 * 24 * time.Hour)
			w.signIn()
			w.refuseUntilShown(pages, 1, lacksMFA)
		}, pins: 1, pages: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			softwareHello(w)
			w.join()
			acct := w.hello()
			w.clock.Advance(time.Minute)
			_, err := w.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
			require.NoError(t, err)
			require.Equal(t, prt.ByHello, w.status(acct).Credential)
			pages := w.pagesOf()
			if tt.before != nil {
				tt.before(w, pages)
			}
			w.person.pin = rightPIN
			_, err = w.b.AcquireTokenInteractive(t.Context(), payroll, tt.opts...)
			require.NoError(t, err)
			require.EqualValues(t, tt.pins, w.person.pins.Load())
			require.Len(t, *pages, tt.pages)
			for _, p := range *pages {
				require.Equal(t, broker.BrokerClientID, p.Get("client_id"), "the PRT is to have the MFA")
				require.Empty(t, p.Get("prompt"))
			}
		})
	}
}

// A user who signs in elsewhere while the only one is served is not the one whose
// step-up it is.
func TestStepUpOfTheOneWhoIsServed(t *testing.T) {
	t.Parallel()
	for name, pin := range map[string]broker.PIN{"by the PIN": rightPIN, "by the page": nil} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withPolicies(frequencyForLedger))
			softwareHello(w)
			w.join()
			acct := w.signIn()
			if pin != nil {
				w.hello()
			}
			w.clock.Advance(25 * time.Hour)
			pages := w.pagesOf()
			w.person.pin = pin
			other, come := w.open(), false
			w.wire.set(nil, func(r *http.Request) error {
				if prtOf(r) != "" && !come {
					come = true
					_, err := other.SignIn(t.Context(), broker.Password{Username: bob, Password: password})
					require.NoError(t, err)
				}
				return nil
			})
			res, err := w.b.AcquireTokenInteractive(t.Context(), ledger)
			require.NoError(t, err)
			require.True(t, come)
			require.Equal(t, acct, res.Account)
			if pin != nil {
				require.EqualValues(t, 1, w.person.pins.Load())
				require.Empty(t, *pages)
				return
			}
			require.Len(t, *pages, 1)
			require.Equal(t, alice, (*pages)[0].Get("login_hint"))
		})
	}
}

// Claims bypass the silent call, not the account that the caller names.
func TestStepUpForClaimsIsTheAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	acct := w.signIn()
	w.person.Username = bob
	_, err := w.b.AcquireTokenInteractive(t.Context(), open, broker.WithAccount(acct), broker.WithClaims(wantsMFA))
	require.ErrorContains(t, err, "another user signed in")
	all, err := w.b.Accounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, []broker.Account{acct}, all)
}

// A hint may be another name of the user, and binds nobody to it.
func TestStepUpByAnotherName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	pages := w.pagesOf()
	res, err := w.b.AcquireTokenInteractive(t.Context(), open, broker.WithLoginHint("al@contoso.example"))
	require.NoError(t, err)
	require.Equal(t, alice, res.Account.PreferredUsername)
	require.Len(t, *pages, 1)
	require.Equal(t, "al@contoso.example", (*pages)[0].Get("login_hint"))
}

// The page of the app is told the claims that the service asked for with the consent,
// or those of the caller.
func TestConsentWithClaims(t *testing.T) {
	t.Parallel()
	const asked = `{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`
	const callers = `{"access_token":{"acrs":{"essential":true,"value":"c2"}}}`
	lacks := `{"error":"invalid_grant","suberror":"consent_required","error_codes":[65001],"claims":"` + strings.ReplaceAll(asked, `"`, `\"`) + `"}`
	for name, tt := range map[string]struct {
		opts  []broker.CallOption
		pages int // claims of the caller begin with a step-up
		want  string
	}{
		"of the service": {nil, 1, asked},
		"of the caller":  {[]broker.CallOption{broker.WithClaims(callers)}, 2, callers},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withMemory)
			w.join()
			w.signIn()
			pages := w.pagesOf()
			w.refuseUntilShown(pages, tt.pages, lacks)
			res, err := w.b.AcquireTokenInteractive(t.Context(), open, tt.opts...)
			require.NoError(t, err)
			require.Equal(t, broker.SourceInteractive, res.Metadata.Source)
			last := (*pages)[len(*pages)-1]
			require.Equal(t, appID, last.Get("client_id"))
			require.JSONEq(t, tt.want, last.Get("claims"))
		})
	}
}

// A page of the app that brings no access token brings nothing.
func TestConsentWithoutAToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	acct := w.signIn()
	w.refuseUntilShown(w.pagesOf(), 1, `{"error":"invalid_grant","suberror":"consent_required","error_codes":[65001]}`)
	w.withoutMember("/oauth2/v2.0/token", "access_token")
	_, err := w.b.AcquireTokenInteractive(t.Context(), open)
	require.ErrorContains(t, err, "the reply has no access token")
	require.NotErrorIs(t, err, broker.ErrInteractionRequired)
	require.Equal(t, broker.SourcePRT, w.silent(open, broker.WithAccount(acct)).Metadata.Source, "nothing was kept")
}
