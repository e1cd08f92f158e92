package broker_test

import (
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/why"
	"github.com/prtbroker/prtbroker/claims"
)

// Scopes in another order, another case or with those of OpenID Connect are
// the same request.
func TestSpellingsOfScopes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	w.signIn()
	first := w.silent([]string{"User.Read", "Mail.Read"})
	for _, again := range [][]string{{"Mail.Read", "User.Read"}, {"user.read", "MAIL.READ"}, {"openid", "User.Read", "profile", "Mail.Read"}} {
		res := w.silent(again)
		require.Equal(t, broker.SourceCache, res.Metadata.Source, again)
		require.Equal(t, first.AccessToken, res.AccessToken)
	}
	require.Equal(t, first.AccessToken, w.silent([]string{"User.Read"}).AccessToken, "it was granted that too")
	_, err := w.b.AcquireTokenSilent(t.Context(), []string{"User.Read", "api://payroll/x"})
	require.ErrorIs(t, err, broker.ErrAppConfig)
	require.ErrorContains(t, err, "several resources")
}

// Claims bypass the memory, and the new token replaces the one in it.
func TestClaimsReplace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	w.signIn()
	first := w.silent(graph)
	w.clock.Advance(time.Minute)
	second := w.silent(graph, broker.WithClaims(`{"access_token":{"xms_cc":{"values":["cp1"]}}}`))
	require.Equal(t, broker.SourcePRT, second.Metadata.Source)
	require.NotEqual(t, first.AccessToken, second.AccessToken)
	require.Equal(t, second.AccessToken, w.silent(graph).AccessToken)
	_, err := w.b.AcquireTokenSilent(t.Context(), graph, broker.WithClaims("not JSON"))
	require.ErrorContains(t, err, "WithClaims needs the decoded JSON of a claims request")
}

// What the app's registration lacks is said with what to change.
func TestAppConfiguration(t *testing.T) {
	t.Parallel()
	const loopbackOnly = "11111111-aaaa-4bbb-8ccc-00000000000b"
	w := newWorld(t, withOptions(func(o *entratestOptions) {
		o.Apps = append(o.Apps, entratest.App{ClientID: loopbackOnly, Public: true, Redirects: []string{"http://localhost"}, AdminConsent: true})
	}))
	w.join()
	w.signIn()
	for _, tt := range []struct {
		name string
		app  broker.App
		code []int
		text string
	}{
		{"redirect", broker.App{ClientID: appID, RedirectURI: "http://localhost"}, []int{50011}, "lacks the redirect URI http://localhost under mobile and desktop applications (AADSTS50011"},
		{"default redirect", broker.App{ClientID: loopbackOnly}, []int{50011}, "lacks the redirect URI " + broker.NativeClientRedirect + " (NativeClientRedirect) under mobile and desktop"},
		{"unknown app", broker.App{ClientID: "aaaaaaaa-0000-4000-8000-000000000000"}, []int{700016}, "not in the tenant"},
		{"no public client", broker.App{ClientID: payrollID}, []int{50011, 7000218}, "mobile and desktop"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := w.b.AcquireTokenSilent(t.Context(), graph, broker.WithApp(tt.app))
			require.ErrorIs(t, err, broker.ErrAppConfig)
			require.NotErrorIs(t, err, broker.ErrInteractionRequired)
			var e *broker.Error
			require.ErrorAs(t, err, &e)
			require.Contains(t, tt.code, e.Code)
			require.Contains(t, err.Error(), tt.text)
		})
	}
	w.cfg.App = broker.App{}
	_, err := w.open().AcquireTokenSilent(t.Context(), graph)
	require.ErrorContains(t, err, "Config.App")
}

// Consent is asked on the page of the app's own client, once.
func TestConsent(t *testing.T) {
	t.Parallel()
	const shy = "11111111-aaaa-4bbb-8ccc-00000000000a"
	w := newWorld(t, withOptions(func(o *entratestOptions) {
		o.Apps = append(o.Apps, entratest.App{ClientID: shy, Name: "Shy", Public: true, Redirects: []string{native}})
	}))
	w.join()
	acct := w.signIn()
	app := broker.WithApp(broker.App{ClientID: shy})
	_, err := w.b.AcquireTokenSilent(t.Context(), open, app)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	var e *broker.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 65001, e.Code)

	before := w.status(acct)
	res, err := w.b.AcquireTokenInteractive(t.Context(), open, app)
	require.NoError(t, err)
	require.NotEmpty(t, res.AccessToken)
	require.Equal(t, broker.SourceInteractive, res.Metadata.Source)
	require.Equal(t, before, w.status(acct), "the PRT is what it was")
	w.silent(open, app, broker.WithForceRefresh())
}

// A sign-in frequency that is due for a user without MFA asks for the first
// factor.
func TestFrequencyWithoutMFA(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPolicies(`{"value":[{"id":"99999999-0000-4000-8000-000000000002","displayName":"hourly","state":"enabled",
 "conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["`+ledgerID+`"]},"clientAppTypes":["all"]},
 "sessionControls":{"signInFrequency":{"isEnabled":true,"type":"hours","value":1,"authenticationType":"primaryAndSecondaryAuthentication","frequencyInterval":"timeBased"}}}]}`))
	w.join()
	acct := w.signIn()
	pages := w.pagesOf()
	w.silent(ledger)
	w.clock.Advance(2 * time.Hour)
	_, err := w.b.AcquireTokenSilent(t.Context(), ledger)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	_, err = w.b.AcquireTokenInteractive(t.Context(), ledger)
	require.NoError(t, err)
	require.Equal(t, "login", (*pages)[0].Get("prompt"), "the browser's session is no new sign-in")
	require.Equal(t, 1, w.person.prompts())
	require.Equal(t, w.clock.Now(), w.status(acct).MFA.AuthTime)
	w.silent(ledger)
}

// The local sign-in log is bounded, survives a restart and has no hits.
func TestSignInLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	acct := w.signIn()
	w.silent(graph)
	w.silent(graph)
	_, err := w.b.AcquireTokenSilent(t.Context(), payroll)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	log, err := w.b.SignInLog(t.Context(), acct)
	require.NoError(t, err)
	require.Len(t, log, 2, "a token from memory is no decision of the service")
	require.Equal(t, why.OutcomeSilent, log[0].Outcome)
	require.Equal(t, why.OutcomeAsked, log[1].Outcome)
	require.Equal(t, 50076, log[1].Code)
	require.Equal(t, claims.No, log[1].MFA)
	require.NotEmpty(t, log[1].CorrelationID)
	for range 300 {
		w.silent(graph, broker.WithForceRefresh())
	}
	require.NoError(t, w.b.Close())
	w.b = w.open()
	log, err = w.b.SignInLog(t.Context(), acct)
	require.NoError(t, err)
	require.Len(t, log, 256)
}

// An HTML page of a portal is no reply, and a redirect is not followed.
func TestPortals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	w.signIn()
	for _, tt := range []struct {
		name string
		res  func() *http.Response
		want error
	}{
		{"web page", func() *http.Response { return reply(200, "<html>sign in to the hotel") }, broker.ErrTransient},
		{"bad gateway", func() *http.Response { return reply(502, "<html>") }, broker.ErrTransient},
		{"throttled", func() *http.Response {
			r := reply(429, "")
			r.Header.Set("Retry-After", "120")
			return r
		}, broker.ErrThrottled},
		{"redirect", func() *http.Response { return reply(302, "") }, broker.ErrTransient},
		{"too large", func() *http.Response { return reply(200, strings.Repeat("x", 2<<20)) }, broker.ErrTransient},
		{"forbidden", func() *http.Response { return reply(403, "no") }, broker.ErrTransient},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := w.cfg
			cfg.Transport = roundTrip(func(*http.Request) (*http.Response, error) { return tt.res(), nil })
			b, err := broker.New(t.Context(), cfg)
			require.NoError(t, err)
			defer b.Close()
			_, err = b.AcquireTokenSilent(t.Context(), open)
			require.ErrorIs(t, err, tt.want)
			require.NotErrorIs(t, err, broker.ErrInteractionRequired)
			require.NotContains(t, err.Error(), "hotel")
			if errors.Is(err, broker.ErrThrottled) {
				var e *broker.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, 2*time.Minute, e.RetryAfter)
			}
		})
	}
}

// Close leaves no goroutine behind.
func TestNoGoroutineStays(t *testing.T) {
	w := newWorld(t)
	w.join()
	w.signIn()
	w.silent(graph)
	before := runtime.NumGoroutine()
	for range 20 {
		b := w.open()
		_, err := b.AcquireTokenSilent(t.Context(), open)
		require.NoError(t, err)
		require.NoError(t, b.Close())
	}
	for range 100 {
		if runtime.NumGoroutine() <= before+4 { // idle connections come and go
			return
		}
		runtime.Gosched()
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before+4)
}
