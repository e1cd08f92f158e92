package broker_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/prt"
)

const bob = "bob@contoso.example"

func (w *world) signInBob() broker.Account {
	w.t.Helper()
	res, err := w.b.SignIn(w.t.Context(), broker.Password{Username: bob, Password: password})
	require.NoError(w.t, err)
	return res.Account
}

func TestSeveralAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	a := w.signIn()
	w.silent(graph) // the only account needs no name
	b := w.signInBob()
	accts, err := w.b.Accounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, []broker.Account{a, b}, accts)
	require.NotEqual(t, a.Key(), b.Key())

	_, err = w.b.AcquireTokenSilent(t.Context(), graph)
	require.ErrorContains(t, err, "WithAccount")
	require.NotErrorIs(t, err, broker.ErrInteractionRequired)
	forA, forB := w.silent(graph, broker.WithAccount(a)), w.silent(graph, broker.WithAccount(b))
	require.NotEqual(t, forA.AccessToken, forB.AccessToken)
	require.Equal(t, a, forA.Account)
	require.Equal(t, b, forB.Account)

	// An end of one is no end of the other.
	require.NoError(t, w.srv.Revoke(alice))
	w.clock.Advance(time.Second)
	_, err = w.b.AcquireTokenSilent(t.Context(), open, broker.WithAccount(a))
	require.ErrorIs(t, err, broker.ErrPRTRevoked)
	w.silent(open, broker.WithAccount(b))

	require.NoError(t, w.b.RemoveAccount(t.Context(), a))
	require.NoError(t, w.b.RemoveAccount(t.Context(), a), "twice is no error")
	_, err = w.b.AcquireTokenSilent(t.Context(), graph, broker.WithAccount(a))
	require.ErrorIs(t, err, broker.ErrNoAccount)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	w.silent(graph)
	names, err := w.store.List(t.Context(), "account-")
	require.NoError(t, err)
	for _, n := range names {
		require.Contains(t, n, prefixOf(t, names), "records of one account are left: %v", names)
	}
}

func prefixOf(t *testing.T, names []string) string {
	t.Helper()
	require.NotEmpty(t, names)
	return names[0][:len("account-")+32+len("-")+32]
}

// Two tenants side by side in one store: two registrations, two brokers.
func TestSeveralTenants(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withOptions(func(o *entratestOptions) {
		o.OtherTenants = []entratest.Tenant{{
			Domain: "fabrikam.example",
			Users:  []entratest.User{{Username: "carol", Password: password}},
			Apps:   []entratest.App{{ClientID: "22222222-aaaa-4bbb-8ccc-000000000001", Public: true, Redirects: []string{native}, AdminConsent: true}},
		}}
	}))
	w.join()
	w.signIn()
	cfg := w.cfg
	cfg.Tenant, cfg.App = "fabrikam.example", broker.App{ClientID: "22222222-aaaa-4bbb-8ccc-000000000001"}
	other, err := broker.New(t.Context(), cfg)
	require.NoError(t, err)
	defer other.Close()
	carol := broker.Password{Username: "carol@fabrikam.example", Password: password}
	d, err := other.RegisterDevice(t.Context(), broker.RegisterRequest{Credential: carol})
	require.NoError(t, err)
	require.False(t, d.Existing)
	res, err := other.SignIn(t.Context(), carol)
	require.NoError(t, err)
	_, err = other.AcquireTokenSilent(t.Context(), graph, broker.WithAccount(res.Account))
	require.NoError(t, err)
	require.Len(t, w.srv.Devices(), 2)
}

// ScopeSystem: one registration, and accounts of the users of the machine
// apart from each other.
func TestScopeSystem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Scope, w.cfg.UserID = broker.ScopeSystem, "1000"
	w.b = w.open()
	w.join()
	w.signIn()
	w.cfg.UserID = "1001"
	second := w.open()
	accts, err := second.Accounts(t.Context())
	require.NoError(t, err)
	require.Empty(t, accts)
	_, err = second.SignIn(t.Context(), broker.Password{Username: bob, Password: password})
	require.NoError(t, err)
	accts, err = w.b.Accounts(t.Context())
	require.NoError(t, err)
	require.Len(t, accts, 1)
	require.Equal(t, alice, accts[0].PreferredUsername)
	require.Len(t, w.srv.Devices(), 1)
}

// Users of the machine stay apart also where their names hash alike: these two
// begin with the same 32 bits.
func TestUsersWhoseHashesBeginAlike(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Scope, w.cfg.UserID = broker.ScopeSystem, "117131"
	w.b = w.open()
	w.join()
	acct := w.signIn()
	w.silent(graph)
	w.cfg.UserID = "150093"
	second := w.open()
	accts, err := second.Accounts(t.Context())
	require.NoError(t, err)
	require.Empty(t, accts)
	_, err = second.AcquireTokenSilent(t.Context(), open, broker.WithAccount(acct))
	require.ErrorIs(t, err, broker.ErrNoAccount)
}

// One PRT per credential is kept, the strongest is used, and a password change
// ends the one of the password only.
func TestPRTPerCredential(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	acct := w.signIn()
	_, err := w.b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice, MFA: true})
	require.NoError(t, err)
	s := w.status(acct)
	require.Equal(t, prt.ByRefreshToken, s.Credential)
	require.Equal(t, claims.Yes, s.MFA.MFA)
	require.Len(t, s.Others, 1)
	require.Equal(t, prt.ByPassword, s.Others[0].Credential)
	require.Equal(t, claims.No, s.Others[0].MFA.MFA, "evidence is never mixed")

	res, err := w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
	require.NoError(t, err)
	require.Equal(t, acct, res.Account)
	require.Equal(t, claims.Yes, w.status(acct).MFA.MFA, "a weaker sign-in takes nothing away")
	w.silent(payroll)
}

// A renewed PRT is proven by its use before the old one is dropped.
func TestRenewedPRTIsProven(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	acct := w.signIn()
	first := w.status(acct)
	require.NoError(t, w.b.RenewPRT(t.Context(), acct))
	require.True(t, w.status(acct).ExpiresOn.Compare(first.ExpiresOn) >= 0)

	// The reply to the use of the new one says that it is not valid; the one
	// before it still works.
	refused := 0
	w.wire.set(nil, nil)
	inner := w.wire.inner
	w.wire.inner = roundTrip(func(r *http.Request) (*http.Response, error) {
		if prtOf(r) != "" && refused == 0 {
			refused++
			return reply(400, `{"error":"invalid_grant","error_codes":[70000],"error_description":"AADSTS70000"}`), nil
		}
		return inner.Do(r)
	})
	w.silent(graph)
	require.Equal(t, 1, refused)
	require.Equal(t, first.ExpiresOn, w.status(acct).ExpiresOn, "back to the one before")
	w.silent(open)
}

// A renewal that fails for the moment does not withhold a valid PRT.
func TestRenewalFailsForTheMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	acct := w.signIn()
	before := w.status(acct)
	w.clock.Advance(5 * time.Hour)
	remove := w.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.Status, Times: 3, Match: func(r *http.Request) bool { return r.PostForm.Get("request") != "" }})
	defer remove()
	w.silent(graph)
	require.Equal(t, before.RenewedOn, w.status(acct).RenewedOn)
	w.silent(open)
	require.Equal(t, w.clock.Now(), w.status(acct).RenewedOn)
}

// Past refresh time a failing service does not withhold a valid token.
func TestValidTokenIsNotWithheld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	w.signIn()
	res := w.silent(graph)
	w.clock.Advance(res.ExpiresOn.Sub(w.clock.Now()) - time.Minute)
	w.wire.set(func(*http.Request) error { return errors.New("no route") }, nil)
	again := w.silent(graph)
	require.Equal(t, res.AccessToken, again.AccessToken)
	w.clock.Advance(time.Minute)
	_, err := w.b.AcquireTokenSilent(t.Context(), graph)
	require.ErrorIs(t, err, broker.ErrTransient)
}

// Run renews what is due, spreads it, and ends with its context.
func TestRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	acct := w.signIn()
	ctx, cancel := context.WithCancel(t.Context())
	var waits []time.Duration
	broker.SetSleep(w.b, func(ctx context.Context, d time.Duration) error {
		waits = append(waits, d)
		w.clock.Advance(d)
		if w.clock.Now().Sub(w.status(acct).IssuedOn) > 30*24*time.Hour {
			cancel()
		}
		return ctx.Err()
	})
	require.ErrorIs(t, w.b.Run(ctx), context.Canceled)
	s := w.status(acct)
	require.Equal(t, broker.PRTFresh, s.State, "thirty days without an app")
	require.Less(t, w.clock.Now().Sub(s.RenewedOn), 5*time.Hour)
	distinct := map[time.Duration]bool{}
	for _, d := range waits {
		require.LessOrEqual(t, d, 25*time.Minute)
		distinct[d] = true
	}
	require.Greater(t, len(distinct), 10, "renewals are spread")
	w.silent(graph)
}

// A session key that the service replaces is taken, and the state survives.
func TestSessionKeyRolls(t *testing.T) {
	t.Parallel()
	keys, _ := softwareTPM(t)
	w := newWorld(t, withKeys(keys), withOptions(func(o *entratestOptions) { o.RollSessionKey = true }))
	w.join()
	acct := w.signIn()
	for range 3 {
		w.clock.Advance(5 * time.Hour)
		require.NoError(t, w.b.RenewPRT(t.Context(), acct))
		w.silent(graph, broker.WithForceRefresh())
	}
	require.NoError(t, w.b.Close())
	w.b = w.open()
	w.silent(open)
}

func TestReplyFormats(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(*entratestOptions){
		"GCM": func(o *entratestOptions) { o.GCMReplies = true },
		"CBC": func(*entratestOptions) {},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withOptions(f))
			w.join()
			acct := w.signIn()
			res, err := w.b.AcquireTokenSilent(t.Context(), graph)
			require.NoError(t, err)
			require.True(t, res.Metadata.Encrypted)
			require.NoError(t, w.b.RenewPRT(t.Context(), acct))
		})
	}
}

// An answer in the clear to a request that the session key signed: a token is taken,
// seen in the result and logged once, unless it must not be; a PRT is not.
func TestRepliesInTheClear(t *testing.T) {
	t.Parallel()
	plain := withOptions(func(o *entratestOptions) { o.PlainReplies = true })
	t.Run("a token", func(t *testing.T) {
		var log bytes.Buffer
		w := newWorld(t, plain)
		w.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		w.b = w.open()
		w.join()
		w.signIn()
		for _, scopes := range [][]string{graph, open} {
			res, err := w.b.AcquireTokenSilent(t.Context(), scopes)
			require.NoError(t, err)
			require.False(t, res.Metadata.Encrypted)
		}
		require.Equal(t, 1, strings.Count(log.String(), "the reply with a token is not encrypted"))
	})
	t.Run("a token, where encrypted ones are required", func(t *testing.T) {
		w := newWorld(t, plain)
		w.cfg.RequireEncryptedReplies = true
		w.b = w.open()
		w.join()
		w.signIn()
		_, err := w.b.AcquireTokenSilent(t.Context(), graph)
		require.ErrorContains(t, err, "is not encrypted")
	})
	t.Run("a renewed PRT", func(t *testing.T) {
		w := newWorld(t, plain)
		w.join()
		acct := w.signIn()
		before := w.status(acct)
		require.ErrorContains(t, w.b.RenewPRT(t.Context(), acct), "is not encrypted")
		require.Equal(t, before.RenewedOn, w.status(acct).RenewedOn, "the PRT at hand stays")
		require.Equal(t, broker.PRTFresh, w.status(acct).State)
	})
}

func TestDeviceCodeFlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	res, err := w.b.Enroll(t.Context(), broker.DeviceCodeFlow{MFA: true}, broker.EnrollRequest{})
	require.NoError(t, err)
	require.Equal(t, int32(1), w.person.codes.Load())
	require.Equal(t, claims.Yes, w.status(res.Account).MFA.MFA)
	w.silent(payroll)
}

// Where the app lacks consent as well, its own page comes after a new sign-in.
func TestNewSignInAndConsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory, withOptions(func(o *entratestOptions) { o.Apps[0].AdminConsent = false }))
	w.join()
	w.signIn()
	before := w.person.prompts()
	res, err := w.b.AcquireTokenInteractive(t.Context(), payroll, broker.WithNewSignIn())
	require.NoError(t, err)
	require.Equal(t, before+2, w.person.prompts())
	require.Equal(t, broker.SourceInteractive, res.Metadata.Source)
	require.Contains(t, amr(t, res), "mfa")
	require.Len(t, w.status(res.Account).Others, 1, "the new sign-in gave a PRT")
	require.Equal(t, res.AccessToken, w.silent(payroll).AccessToken)
}

// Where no page can be shown, a step-up is done by a device code.
func TestStepUpByDeviceCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	w.signIn()
	w.person.none.Store(true)
	res, err := w.b.AcquireTokenInteractive(t.Context(), payroll)
	require.NoError(t, err)
	require.Equal(t, int32(1), w.person.codes.Load())
	require.Contains(t, amr(t, res), "mfa")
	w.silent(ledger)
}

func TestRefreshTokenCredential(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	rt := w.brokerRefreshToken(t)
	res, err := w.b.SignIn(t.Context(), broker.RefreshToken{Token: rt})
	require.NoError(t, err)
	require.Equal(t, alice, res.Account.PreferredUsername)
	w.silent(graph)
}

func TestCookieGoesToSignInHostsOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	w.signIn()
	cookies, err := w.b.SSOCookies(t.Context(), "https://login.microsoftonline.com/common/oauth2/authorize?client_id=x")
	require.NoError(t, err)
	require.Len(t, cookies, 1)
	require.True(t, cookies[0].Secure && cookies[0].HttpOnly)
	require.Equal(t, "x-ms-RefreshTokenCredential", cookies[0].Name)
	for _, bad := range []string{
		"http://login.microsoftonline.com/", "https://login.microsoftonline.com.evil.example/", "https://evil.example/login.microsoftonline.com",
		"https://login.microsoftonline.com@evil.example/", "https://login.microsoftonline.com:8443/", "", "login.microsoftonline.com",
	} {
		_, err := w.b.SSOCookies(t.Context(), bad, broker.WithNonce("AwABnonce"))
		require.ErrorContains(t, err, "no cookie for that address", bad)
		_, err = w.b.SSOCookies(t.Context(), bad)
		require.ErrorContains(t, err, "no cookie for that address", bad)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) Do(r *http.Request) (*http.Response, error) { return f(r) }

// On a machine without a registration the error says what to call.
func TestNotRegisteredSaysWhatToCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	_, err := w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
	require.ErrorIs(t, err, broker.ErrDeviceNotRegistered)
	require.ErrorContains(t, err, "call Enroll")
	_, err = w.b.AcquireTokenSilent(t.Context(), graph)
	require.ErrorContains(t, err, "call Enroll")
}
