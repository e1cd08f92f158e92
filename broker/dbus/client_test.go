package dbus_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus"
	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
	"github.com/prtbroker/prtbroker/broker/oauth2broker"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/bustest"
)

func client(t testing.TB, bus *bustest.Bus) *dbus.Client {
	t.Helper()
	c, err := dbus.Dial(t.Context(), dbus.Options{Address: bus.Address, App: broker.App{ClientID: appID}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// The client gives what the broker itself gives.
func TestClient(t *testing.T) {
	w, bus, _ := onBus(t)
	c := client(t, bus)
	v, err := c.Version(t.Context())
	require.NoError(t, err)
	require.Equal(t, "1.2.3", v)
	all, err := c.Accounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, []broker.Account{w.acct}, all)

	mine, err := w.b.AcquireTokenSilent(t.Context(), graph)
	require.NoError(t, err)
	res, err := c.AcquireTokenSilent(t.Context(), graph)
	require.NoError(t, err)
	require.Equal(t, mine.AccessToken, res.AccessToken)
	require.Equal(t, mine.ExpiresOn.UnixMilli(), res.ExpiresOn.UnixMilli())
	require.Equal(t, "Bearer", res.TokenType)
	require.Equal(t, w.acct, res.Account)
	require.Equal(t, broker.SourceBroker, res.Metadata.Source)
	require.Contains(t, res.GrantedScopes, graphScope)

	again, err := c.AcquireTokenSilent(t.Context(), graph, broker.WithForceRefresh(), broker.WithAccount(w.acct))
	require.NoError(t, err)
	require.NotEqual(t, res.AccessToken, again.AccessToken)

	cae, err := c.AcquireTokenSilent(t.Context(), graph, broker.WithCAE())
	require.NoError(t, err)
	tok, err := claims.Parse(cae.AccessToken)
	require.NoError(t, err)
	require.NotEmpty(t, tok.Capabilities)

	pop, err := c.AcquireTokenSilent(t.Context(), graph, broker.WithPoP(broker.PoP{Method: "GET", URL: "https://graph.microsoft.com/v1.0/me", Nonce: "n"}))
	require.NoError(t, err)
	require.Equal(t, "PoP", pop.TokenType)
	bound, err := c.AcquireTokenSilent(t.Context(), graph, broker.WithPoP(broker.PoP{KeyID: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"}))
	require.NoError(t, err)
	tok, err = claims.Parse(bound.AccessToken)
	require.NoError(t, err)
	require.Equal(t, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", tok.ConfirmationKeyID)

	cookies, err := c.SSOCookies(t.Context(), "https://login.microsoftonline.com/common/oauth2/authorize", broker.WithNonce(w.nonce(t)))
	require.NoError(t, err)
	require.Len(t, cookies, 1)
	require.True(t, cookies[0].Secure && cookies[0].HttpOnly)
	signed, err := c.SignedHTTPRequest(t.Context(), "", broker.PoP{Method: "GET", URL: "https://api.example/x"})
	require.NoError(t, err)
	require.NotEmpty(t, signed)
	_, err = c.SignedHTTPRequest(t.Context(), "token", broker.PoP{})
	require.ErrorIs(t, err, errors.ErrUnsupported)

	inter, err := c.AcquireTokenInteractive(t.Context(), []string{"api://payroll/.default"}, broker.WithLoginHint(alice))
	require.NoError(t, err)
	require.NotEmpty(t, inter.AccessToken)
	require.Equal(t, int32(1), w.person.asked.Load())

	require.NoError(t, c.RemoveAccount(t.Context(), w.acct))
	require.NoError(t, c.RemoveAccount(t.Context(), w.acct), "one that is not there is no error")
	_, err = c.AcquireTokenSilent(t.Context(), graph)
	require.ErrorIs(t, err, broker.ErrNoAccount)
}

// The errors are those of package broker.
func TestClientErrors(t *testing.T) {
	w, bus, stop := onBus(t)
	c := client(t, bus)
	_, err := c.AcquireTokenSilent(t.Context(), []string{"api://payroll/.default"})
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	var e *broker.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 50076, e.Code)
	require.Equal(t, "basic_action", e.SubError)
	require.Equal(t, []string{"api://payroll/.default"}, e.Scopes)
	_, err = c.AcquireTokenSilent(t.Context(), []string{"api://vault/.default"})
	require.ErrorIs(t, err, broker.ErrBlocked)
	_, err = c.AcquireTokenSilent(t.Context(), graph, broker.WithApp(broker.App{ClientID: "29d9ed98-a469-4536-ade2-f981bc1d605e"}))
	require.ErrorIs(t, err, broker.ErrAppConfig)
	_, err = c.SSOCookies(t.Context(), "https://evil.example/x")
	require.ErrorContains(t, err, "no cookie for that address")
	_, err = c.AcquireTokenSilent(t.Context(), graph, broker.WithNewSignIn())
	require.ErrorContains(t, err, "do not apply")
	_, err = c.AcquireTokenSilent(t.Context(), graph, broker.CallOption{})
	require.ErrorContains(t, err, "the zero CallOption")

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.AcquireTokenSilent(canceled, graph)
	require.ErrorIs(t, err, context.Canceled)

	// A context that ends takes the prompt along.
	up := make(chan struct{}, 1)
	w.person.hang.Store(&up)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-up; cancel() }()
	_, err = c.AcquireTokenInteractive(ctx, []string{"api://payroll/.default"})
	require.ErrorIs(t, err, context.Canceled)
	require.Eventually(t, func() bool { return w.h.Interactive() == 0 }, time.Minute, time.Millisecond)

	require.ErrorIs(t, stop(), context.Canceled)
	_, err = c.AcquireTokenSilent(t.Context(), graph)
	require.ErrorIs(t, err, dbus.ErrNoBroker)
	_, err = dbus.Dial(t.Context(), dbus.Options{Address: bus.Address})
	require.ErrorIs(t, err, dbus.ErrNoBroker)
	_, err = dbus.Dial(t.Context(), dbus.Options{Address: "unix:path=/nonexistent/bus"})
	require.ErrorIs(t, err, dbus.ErrNoBroker)
	require.NoError(t, c.Close())
	_, err = c.Accounts(t.Context())
	require.ErrorIs(t, err, broker.ErrClosed)
}

// A client goes on after its bus was restarted.
func TestClientBusRestart(t *testing.T) {
	bus := bustest.Start(t)
	w := newWorld(t)
	serve(t, &dbus.Service{Handler: w.h, Address: bus.Address})
	c := client(t, bus)
	bus.Down()
	bus.Up()
	require.Eventually(t, func() bool {
		_, err := c.Accounts(t.Context())
		return err == nil
	}, time.Minute, 20*time.Millisecond)
}

// A bus that does not answer is given up with the context. That does not mean
// that there is no broker.
func TestClientFrozenBus(t *testing.T) {
	w, bus, _ := onBus(t)
	c := client(t, bus)
	bus.Freeze()
	for name, call := range map[string]func(context.Context) error{
		"dial": func(ctx context.Context) error {
			_, err := dbus.Dial(ctx, dbus.Options{Address: bus.Address})
			return err
		},
		"connect": func(ctx context.Context) error {
			_, _, err := dbus.Connect(ctx, newWorldless(t, w), dbus.Options{Address: bus.Address})
			return err
		},
		"silent": func(ctx context.Context) error {
			_, err := c.AcquireTokenSilent(ctx, graph)
			return err
		},
		"interactive": func(ctx context.Context) error {
			_, err := c.AcquireTokenInteractive(ctx, graph)
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := call(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded, name)
		require.NotErrorIs(t, err, dbus.ErrNoBroker, name)
		cancel()
	}
	bus.Thaw()
	_, err := c.AcquireTokenSilent(t.Context(), graph)
	require.NoError(t, err)
}

// The context of an interactive call ends it, also when the bus is frozen by then.
func TestClientInteractiveEndsWithItsContext(t *testing.T) {
	w, bus, _ := onBus(t)
	up := make(chan struct{}, 1)
	w.person.hang.Store(&up)
	c := client(t, bus)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := c.AcquireTokenInteractive(ctx, []string{"api://payroll/.default"})
		done <- err
	}()
	<-up
	bus.Freeze()
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	bus.Thaw()
	require.Eventually(t, func() bool { return w.h.Interactive() == 0 }, time.Minute, time.Millisecond, "the prompt is gone")
}

// What takes a broker's tokens takes the client's.
func TestClientAsTokenSource(t *testing.T) {
	_, bus, _ := onBus(t)
	c := client(t, bus)
	tok, err := oauth2broker.TokenSource(t.Context(), c, graph).Token()
	require.NoError(t, err)
	require.NotEmpty(t, tok.AccessToken)
	_, err = oauth2broker.TokenSource(t.Context(), c, []string{"api://payroll/.default"}).Token()
	var theirs *oauth2.RetrieveError
	require.ErrorAs(t, err, &theirs)

	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(r.Header.Get("Authorization")))
	}))
	t.Cleanup(api.Close)
	web := &http.Client{Transport: &broker.RoundTripper{Broker: c, Scopes: graph, Base: api.Client().Transport}}
	res, err := web.Get(api.URL)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
}

var guid = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// A service over a client is the bridge between the bus of a host and that of a
// container.
func TestBridge(t *testing.T) {
	w, host, _ := onBus(t)
	container := bustest.Start(t)
	c := client(t, host)
	serve(t, &dbus.Service{Handler: &dbus.Handler{Broker: dbus.OwnUser(c)}, Address: container.Address})
	near, far := dial(t, host), dial(t, container)
	require.Len(t, callMethod(t, far, wire.GetAccounts, "{}").Accounts, 1)
	mine, err := w.b.AcquireTokenSilent(t.Context(), graph)
	require.NoError(t, err)
	require.Equal(t, mine.AccessToken, callMethod(t, far, wire.AcquireSilently, silentRequest(graphScope)).Token.AccessToken)
	require.Equal(t, wire.InteractionRequired, callMethod(t, far, wire.AcquireSilently, silentRequest("api://payroll/.default")).Error.Status)
	for name, c := range map[string]struct{ method, request string }{
		"MFA":               {wire.AcquireSilently, silentRequest("api://payroll/.default")},
		"blocked, silently": {wire.AcquireSilently, silentRequest("api://vault/.default")},
		"blocked":           {wire.AcquireInteractive, interactiveRequest("api://vault/.default")},
		"nobody":            {wire.AcquireSilently, request(appID, graph, map[string]any{"username": "carol@contoso.example"})},
		"another authority": {wire.AcquireSilently, request(appID, graph, map[string]any{"authority": "https://login.evil.example/common"})},
		"another host":      {wire.AcquireCookie, `{"ssoUrl":"https://evil.example/"}`},
		"not JSON":          {wire.GetAccounts, `{`},
	} {
		here, there := callMethod(t, near, c.method, c.request), callMethod(t, far, c.method, c.request)
		require.NotNil(t, here.Error, name)
		require.NotNil(t, there.Error, name)
		for _, e := range []*wire.Error{here.Error, there.Error} { // each has ids of its own, and the second is from memory
			e.Context = strings.Replace(guid.ReplaceAllString(e.Context, "…"), ", remembered", "", 1)
			if e.Diagnostics != nil {
				e.Diagnostics.CorrelationID = ""
			}
		}
		require.Equal(t, here.Error, there.Error, "%s: what the broker says is passed on unchanged", name)
	}
	offline(&net.OpError{Op: "dial", Err: errors.New("network is unreachable")})(t, w)
	require.Equal(t, wire.NoNetwork, callMethod(t, far, wire.AcquireSilently, silentRequest("https://vault.azure.net/.default")).Error.Status)
	w.wire.hook.Store(nil)
	require.NotEmpty(t, callMethod(t, far, wire.AcquireCookie, `{"ssoUrl":"https://login.microsoftonline.com/"}`).Cookies)
	require.NotEmpty(t, callMethod(t, far, wire.AcquireInteractive, interactiveRequest("api://payroll/.default")).Token.AccessToken)
	require.Equal(t, int32(1), w.person.asked.Load())

	// A cancel goes across, and ends the prompt on the other side.
	up := make(chan struct{}, 1)
	w.person.hang.Store(&up)
	done := make(chan *godbus.Call, 1)
	prompting := strings.Replace(interactiveRequest("api://payroll/.default"), `"authorizationType":6`, `"authorizationType":6,"prompt":"login"`, 1)
	object(far).Go(wire.Interface+"."+wire.AcquireInteractive, 0, done, "0.0", "", prompting)
	<-up
	require.Nil(t, callMethod(t, far, wire.CancelInteractive, cancelRequest).Error)
	text, _ := (<-done).Body[0].(string)
	r, err := wire.ParseReply(wire.AcquireInteractive, text)
	require.NoError(t, err)
	refused(t, r, wire.UserCanceled, "canceled")
	require.Eventually(t, func() bool { return w.h.Interactive() == 0 }, time.Minute, time.Millisecond)
}

// Replies of brokers of other makers: an error with a word for a status, a
// token without an account, a bare cookie, D-Bus errors and nonsense.
func TestClientForeignBrokers(t *testing.T) {
	bus := bustest.Start(t)
	server := dial(t, bus)
	var reply atomic.Value // the bus calls from a goroutine of its own
	reply.Store("")
	methods := map[string]any{}
	for _, m := range wire.Methods {
		methods[m] = func(string, string, string) (string, *godbus.Error) {
			if reply.Load() == "D-Bus error" {
				return "", godbus.MakeFailedError(errors.New("no"))
			}
			return reply.Load().(string), nil
		}
	}
	require.NoError(t, server.ExportMethodTable(methods, wire.Path, wire.Interface))
	_, err := server.RequestName(wire.BusName, 0)
	require.NoError(t, err)
	c := client(t, bus)
	acct := broker.Account{HomeAccountID: "a.b", LocalAccountID: "a", Realm: "b", PreferredUsername: "u@x"}
	silent := func(text string) (broker.AuthResult, error) {
		reply.Store(text)
		return c.AcquireTokenSilent(t.Context(), graph, broker.WithAccount(acct))
	}
	_, err = silent(`{"brokerTokenResponse":{"error":{"context":"AADSTS50078: x","status":"USER_INTERACTION_REQUIRED","subStatus":0}}}`)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	_, err = silent(`{"error":{"context":"AADSTS50078: x","diagnostics":{"raw_error_code":"invalid_grant","oauth2_sub_error_code":"basic_action"},"status":"2","tag":0}}`)
	var e *broker.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 50078, e.Code)
	require.Equal(t, "invalid_grant", e.OAuth)
	res, err := silent(`{"brokerTokenResponse":{"accessToken":"t","accessTokenType":"0","expiresOn":"1772445600000","grantedScopes":"a b","idToken":""}}`)
	require.NoError(t, err)
	require.Equal(t, acct, res.Account)
	require.Equal(t, int64(1772445600), res.ExpiresOn.Unix())
	for _, text := range []string{"", "{}", "[]", "null", `{"brokerTokenResponse":{}}`, `{"brokerTokenResponse":{"accessToken":7}}`[:20], "D-Bus error"} {
		_, err = silent(text)
		require.ErrorContains(t, err, "broker: acquire token: ", "%s", text)
		require.NotErrorIs(t, err, broker.ErrInteractionRequired, "%s", text)
	}
	reply.Store(`{"brokerTokenResponse":{"accessToken":"t","accessTokenType":0,"expiresOn":1772445600000}}`)
	_, err = c.AcquireTokenSilent(t.Context(), graph, broker.WithAccount(acct), broker.WithPoP(broker.PoP{Method: "GET"}))
	require.ErrorContains(t, err, "not bound to a key")
	reply.Store(`{"cookieName":"x-ms-RefreshTokenCredential","cookieContent":"c"}`)
	cookies, err := c.SSOCookies(t.Context(), "https://login.microsoftonline.com/", broker.WithAccount(acct))
	require.NoError(t, err)
	require.Equal(t, "c", cookies[0].Value)
}

// Connect uses one's own registration, else a broker on the bus, else what may
// become one's own.
func TestConnect(t *testing.T) {
	w, bus, stop := onBus(t)
	o := dbus.Options{Address: bus.Address, App: broker.App{ClientID: appID}}
	b, via, err := dbus.Connect(t.Context(), w.b, o)
	require.NoError(t, err)
	require.Equal(t, dbus.ViaOwn, via)
	require.Same(t, w.b, b)

	fresh := newWorldless(t, w)
	b, via, err = dbus.Connect(t.Context(), fresh, o)
	require.NoError(t, err)
	require.Equal(t, dbus.ViaBus, via)
	res, err := b.AcquireTokenSilent(t.Context(), graph)
	require.NoError(t, err)
	require.NotEmpty(t, res.AccessToken)
	c, ok := b.(*dbus.Client)
	require.True(t, ok)
	require.NoError(t, c.Close())

	_ = stop()
	b, via, err = dbus.Connect(t.Context(), fresh, o)
	require.NoError(t, err)
	require.Equal(t, dbus.ViaOwn, via)
	require.Same(t, fresh, b)
}

// newWorldless is a broker of the same tenant with a state of its own, in which
// nothing is registered.
func newWorldless(t *testing.T, w *world) *broker.Broker {
	t.Helper()
	cfg := w.cfg
	cfg.Store = nil
	b, err := broker.New(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}
