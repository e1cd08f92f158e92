package broker_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/claims"
)

// accessToken reads the token of a result.
func accessToken(t *testing.T, r broker.AuthResult) *claims.Token {
	t.Helper()
	tok, err := claims.Parse(r.AccessToken)
	require.NoError(t, err)
	return tok
}

func TestSilentFromMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	acct := w.signIn()
	w.wire.take()

	first := w.silent(graph)
	require.Equal(t, broker.SourcePRT, first.Metadata.Source)
	require.Equal(t, acct, first.Account)
	require.NotEmpty(t, first.Metadata.DeviceID)
	require.NotEmpty(t, first.Metadata.CorrelationID)
	require.Equal(t, "Bearer", first.TokenType)
	require.Equal(t, first.Metadata.DeviceID, accessToken(t, first).DeviceID)
	require.Equal(t, []string{"token"}, w.wire.take(), "the nonce of the sign-in is still good")

	for name, scopes := range map[string][]string{
		"the same":       graph,
		"case":           {"HTTPS://GRAPH.microsoft.com/.DEFAULT"},
		"reserved":       {"openid", "https://graph.microsoft.com/.default", "offline_access"},
		"granted subset": {"User.Read"},
	} {
		for range 2 {
			r := w.silent(scopes)
			require.Equal(t, first.AccessToken, r.AccessToken, name)
			require.Equal(t, broker.SourceCache, r.Metadata.Source, name)
			require.Equal(t, first.ExpiresOn, r.ExpiresOn, name)
		}
	}
	for _, opts := range [][]broker.CallOption{
		{broker.WithAccount(acct)}, {broker.WithAccount(acct)}, {broker.WithTenantID(acct.Realm)}, {broker.WithApp(broker.App{ClientID: appID})},
	} {
		require.Equal(t, first.AccessToken, w.silent(graph, opts...).AccessToken)
	}
	require.Empty(t, w.wire.take())

	forced := w.silent(graph, broker.WithForceRefresh())
	require.NotEqual(t, first.AccessToken, forced.AccessToken)
	require.Equal(t, forced.AccessToken, w.silent(graph).AccessToken, "the new token replaces the old one")
	require.Equal(t, forced.AccessToken, w.silent([]string{"User.Read"}).AccessToken, "for its subsets too")
	claimed := w.silent(graph, broker.WithClaims(`{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`))
	require.NotEqual(t, forced.AccessToken, claimed.AccessToken)
	require.Equal(t, []string{"c1"}, accessToken(t, claimed).Contexts)
	require.Equal(t, claimed.AccessToken, w.silent(graph).AccessToken, "claims are no key")

	require.NotEqual(t, claimed.AccessToken, w.silent(open).AccessToken)
	cae := w.silent(graph, broker.WithCAE())
	require.NotEqual(t, claimed.AccessToken, cae.AccessToken, "a token that may be revoked is another one")
	require.Equal(t, cae.AccessToken, w.silent(graph, broker.WithCAE()).AccessToken)
	require.Equal(t, claimed.AccessToken, w.silent(graph).AccessToken)
}

func TestSilentCounts(t *testing.T) {
	t.Parallel()
	keys, commands := softwareTPM(t)
	w := newWorld(t, withMemory, withKeys(keys))
	w.join()
	w.signIn()
	w.silent(graph)

	w.wire.take()
	commands.Take()
	w.silent(graph)
	require.Empty(t, w.wire.take())
	require.Empty(t, commands.Take(), "a hit uses no TPM")

	w.silent(open)
	require.Equal(t, []string{"token"}, w.wire.take(), "one request")
	require.Len(t, commands.Take(), 2, "one command to sign, one to decrypt")

	w.clock.Advance(5 * time.Minute)
	w.silent(open, broker.WithForceRefresh())
	require.Equal(t, []string{"nonce", "token"}, w.wire.take(), "and one for a nonce when none is fresh")
	require.Len(t, commands.Take(), 2)

	// Another process on the same machine has the session key to open.
	b := w.open()
	t.Logf("opening the state: %d commands", len(commands.Take()))
	_, err := b.AcquireTokenSilent(t.Context(), open)
	require.NoError(t, err)
	require.LessOrEqual(t, len(commands.Take()), 6)
}

// A nonce that the service does not take is replaced once.
func TestNonceIsReplacedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	w.silent(graph)
	remove := w.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.AADSTS, Code: 140000})
	defer remove()
	w.wire.take()
	w.silent(open)
	require.Equal(t, []string{"token", "nonce", "token"}, w.wire.take())
}

func TestThousandCallersOneRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	expired := w.silent(graph)
	w.clock.Advance(2 * time.Hour)
	w.wire.take()

	// The one request is on the wire, for a caller who stays, before the others
	// come; some of them give up while it is held.
	const callers = 1000
	sent, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.wire.set(func(r *http.Request) error {
		once.Do(func() { close(sent) })
		select {
		case <-release:
			return nil
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}, nil)
	results := make(chan broker.AuthResult, callers)
	var started, done sync.WaitGroup
	impatient, leave := context.WithCancel(t.Context())
	call := func(ctx context.Context) {
		res, err := w.b.AcquireTokenSilent(ctx, graph)
		switch {
		case err == nil:
			results <- res
		case ctx != impatient || !errors.Is(err, context.Canceled):
			t.Error(err)
		}
	}
	done.Go(func() { call(t.Context()) })
	<-sent
	for i := range callers - 1 {
		started.Add(1)
		done.Go(func() {
			ctx := t.Context()
			if i%10 == 0 {
				ctx = impatient
			}
			started.Done()
			call(ctx)
		})
	}
	started.Wait()
	leave()
	close(release)
	done.Wait()
	close(results)
	var first string
	n := 0
	for r := range results {
		if first == "" {
			first = r.AccessToken
		}
		require.Equal(t, first, r.AccessToken)
		n++
	}
	require.GreaterOrEqual(t, n, callers-callers/10)
	require.NotEqual(t, expired.AccessToken, first)
	requests := w.wire.take()
	require.Equal(t, 1, count(requests, "token"), "%v", requests)
	require.LessOrEqual(t, count(requests, "nonce"), 1)
	w.wire.set(nil, nil)
}

// Near its end a token is replaced before it is handed out; if that fails, it
// serves to its last second.
func TestOffline(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	tok := w.silent(graph)
	down := w.srv.AddFault(entratest.Fault{Kind: entratest.DropBefore, Times: -1})
	for left := 60 * time.Minute; left > 0; left -= 10 * time.Minute {
		w.clock.Advance(tok.ExpiresOn.Add(-left).Sub(w.clock.Now()))
		require.Equal(t, tok.AccessToken, w.silent(graph).AccessToken)
	}
	w.clock.Advance(tok.ExpiresOn.Add(-time.Second).Sub(w.clock.Now()))
	require.Equal(t, tok.AccessToken, w.silent(graph).AccessToken)
	w.clock.Advance(time.Second)
	_, err := w.b.AcquireTokenSilent(t.Context(), graph)
	require.ErrorIs(t, err, broker.ErrTransient)
	require.NotErrorIs(t, err, broker.ErrInteractionRequired, "the network is not the user's to mend")

	// A week offline and a restart later the PRT serves.
	w.clock.Advance(7 * 24 * time.Hour)
	require.NoError(t, w.b.Close())
	w.b = w.open()
	_, err = w.b.AcquireTokenSilent(t.Context(), graph)
	require.ErrorIs(t, err, broker.ErrTransient)
	down()
	w.clock.Advance(time.Hour)
	w.silent(graph)
}

func TestThrottled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	w.silent(graph)
	var waits []time.Duration
	broker.SetSleep(w.b, func(_ context.Context, d time.Duration) error {
		waits = append(waits, d)
		w.clock.Advance(d)
		return nil
	})
	w.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.Throttle, RetryAfter: 2 * time.Second})
	w.wire.take()
	w.silent(open)
	require.Len(t, waits, 1)
	require.GreaterOrEqual(t, waits[0], 2*time.Second)
	require.LessOrEqual(t, waits[0], 2500*time.Millisecond)

	// A wait that is too long for a caller is the caller's, and is kept.
	w.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.Throttle, RetryAfter: 90 * time.Second})
	w.wire.take()
	_, err := w.b.AcquireTokenSilent(t.Context(), open, broker.WithForceRefresh())
	require.ErrorIs(t, err, broker.ErrThrottled)
	var e *broker.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 90*time.Second, e.RetryAfter)
	require.Equal(t, []string{"token"}, w.wire.take())
	w.clock.Advance(30 * time.Second)
	_, err = w.b.AcquireTokenSilent(t.Context(), open, broker.WithForceRefresh())
	require.ErrorIs(t, err, broker.ErrThrottled)
	require.ErrorAs(t, err, &e)
	require.Equal(t, time.Minute, e.RetryAfter)
	require.Empty(t, w.wire.take(), "the endpoint is left alone")
	w.clock.Advance(time.Minute)
	w.silent(open, broker.WithForceRefresh())
}

func TestScopesAndOptionsThatDoNotApply(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	acct := w.signIn()
	w.wire.take()
	for name, tt := range map[string]struct {
		scopes []string
		opts   []broker.CallOption
		says   string
	}{
		"none":             {nil, nil, "none is given"},
		"two resources":    {[]string{"User.Read", "api://payroll/a"}, nil, "one resource"},
		"default and more": {[]string{".default", "User.Read"}, nil, "cannot be combined"},
		"not JSON":         {graph, []broker.CallOption{broker.WithClaims("eyJh")}, "decoded JSON"},
		"nonce":            {graph, []broker.CallOption{broker.WithNonce("x")}, "WithNonce does not apply"},
		"twice":            {graph, []broker.CallOption{broker.WithCAE(), broker.WithCAE()}, "WithCAE was given twice"},
		"zero":             {graph, []broker.CallOption{{}}, "the zero CallOption does not apply"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.b.AcquireTokenSilent(t.Context(), tt.scopes, tt.opts...)
			require.ErrorContains(t, err, tt.says)
			require.NotErrorIs(t, err, broker.ErrInteractionRequired)
		})
	}
	_, err := w.b.AcquireTokenSilent(t.Context(), graph, broker.WithAccount(broker.Account{HomeAccountID: "x.y", Environment: acct.Environment}))
	require.ErrorIs(t, err, broker.ErrNoAccount)
	require.Empty(t, w.wire.take())
}

// A scope without consent is not left out in silence.
func TestScopeWithoutConsent(t *testing.T) {
	t.Parallel()
	const partID = "11111111-aaaa-4bbb-8ccc-00000000000a"
	w := newWorld(t, withMemory, withOptions(func(o *entratest.Options) {
		o.Apps = append(o.Apps, entratest.App{ClientID: partID, Name: "Part", Public: true, Redirects: []string{native},
			Preauthorised: map[string][]string{"https://graph.microsoft.com": {"User.Read"}}})
	}))
	w.join()
	w.signIn()
	app := broker.WithApp(broker.App{ClientID: partID})
	res := w.silent([]string{"User.Read"}, app)
	require.Equal(t, []string{"User.Read"}, accessToken(t, res).Scopes)
	_, err := w.b.AcquireTokenSilent(t.Context(), []string{"User.Read", "Mail.Read"}, app)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	require.ErrorContains(t, err, "consent")
}

// Every refusal of the service has words that help.
func TestErrorsHelp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	_, err := w.b.AcquireTokenSilent(t.Context(), graph, broker.WithApp(broker.App{ClientID: appID, RedirectURI: "http://localhost"}))
	require.ErrorIs(t, err, broker.ErrAppConfig)
	require.ErrorContains(t, err, "redirect URI")
	_, err = w.b.AcquireTokenSilent(t.Context(), payroll)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	var e *broker.Error
	require.ErrorAs(t, err, &e)
	require.NotEmpty(t, e.Claims)
	require.Equal(t, payroll, e.Scopes)
	require.Equal(t, alice, e.Account.PreferredUsername)
	for _, secret := range []string{password, "eyJ"} {
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, e, e), secret)
	}
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	w.silent(graph)
	held := make(chan struct{})
	w.wire.set(func(r *http.Request) error { close(held); <-r.Context().Done(); return r.Context().Err() }, nil)
	got := make(chan error, 1)
	go func() {
		_, err := w.b.AcquireTokenSilent(context.WithoutCancel(t.Context()), open)
		got <- err
	}()
	<-held
	require.NoError(t, w.b.Close())
	require.ErrorIs(t, <-got, broker.ErrClosed, "Close ends what is under way")
	_, err := w.b.AcquireTokenSilent(t.Context(), graph)
	require.ErrorIs(t, err, broker.ErrClosed)
	require.NoError(t, w.b.Close())
}

// The User-Agent and the ids that find a request in the tenant's log.
func TestHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	var seen []http.Header
	w.wire.set(func(r *http.Request) error { seen = append(seen, r.Header.Clone()); return nil }, nil)
	const id = "01234567-89ab-4cde-8f01-23456789abcd"
	res := w.silent(open, broker.WithCorrelationID(id))
	require.Equal(t, id, res.Metadata.CorrelationID)
	require.NotEmpty(t, seen)
	last := seen[len(seen)-1]
	require.Equal(t, id, last.Get("client-request-id"))
	require.True(t, slices.ContainsFunc(last.Values("User-Agent"), func(s string) bool { return strings.Contains(s, "Linux") }))
}
