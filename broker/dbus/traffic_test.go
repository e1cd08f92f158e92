package dbus_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/dbus"
	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
	"github.com/prtbroker/prtbroker/internal/bustest"
	"github.com/prtbroker/prtbroker/internal/canary"
	"github.com/prtbroker/prtbroker/internal/proof/tally"
	"github.com/prtbroker/prtbroker/tpm"
)

// spiedKeys is a key store whose derived keys are kept.
type spiedKeys struct {
	tpm.KeyStore
	keep func(kind string, secret []byte)
}

func (s spiedKeys) UnwrapSession(ctx context.Context, transport tpm.Key, wrapped []byte) (tpm.SessionKey, error) {
	k, err := s.KeyStore.UnwrapSession(ctx, transport, wrapped)
	return spiedKey{k, s.keep}, err
}

type spiedKey struct {
	tpm.SessionKey
	keep func(kind string, secret []byte)
}

func (k spiedKey) Derive(ctx context.Context, label, context []byte) ([32]byte, error) {
	key, err := k.SessionKey.Derive(ctx, label, context)
	k.keep("derived key", key[:])
	return key, err
}

// monitor records all messages of a bus, as dbus-monitor does.
func monitor(t *testing.T, bus *bustest.Bus) (messages func() string) {
	t.Helper()
	c, err := godbus.Connect(bus.Address)
	require.NoError(t, err)
	in, done := make(chan *godbus.Message, 1000), make(chan struct{})
	t.Cleanup(func() {
		// A Conn that still eavesdrops when it is closed closes the channel and may
		// then send to it: godbus panics on a message that arrives just then.
		c.Eavesdrop(nil)
		_ = c.Close()
		close(done)
	})
	require.NoError(t, c.BusObject().Call("org.freedesktop.DBus.Monitoring.BecomeMonitor", 0, []string{}, uint32(0)).Err)
	c.Eavesdrop(in)
	var mu sync.Mutex
	var all strings.Builder
	go func() {
		for {
			select {
			case m := <-in:
				mu.Lock()
				fmt.Fprintf(&all, "%v %v\n", m.Headers, m.Body)
				mu.Unlock()
			case <-done:
				return
			}
		}
	}()
	looks := 0
	return func() string {
		// A message that is seen after all others.
		looks++
		name := fmt.Sprintf("org.example.Last%d.Message", looks)
		require.NoError(t, dial(t, bus).Emit("/last", name))
		require.Eventually(t, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return strings.Contains(all.String(), name[:strings.LastIndexByte(name, '.')])
		}, 30e9, 1e6)
		mu.Lock()
		defer mu.Unlock()
		return all.String()
	}
}

// Anyone who monitors the bus sees what its programs ask for and get: access tokens,
// ID tokens and, for a program that asks for one, a cookie, which is a session for
// some minutes and contains the PRT. Nothing else that is secret is on the bus: no
// password, refresh token or derived key, and no PRT outside a cookie.
func TestBusShowsOnlyWhatWasAskedFor(t *testing.T) {
	bus := bustest.Start(t)
	w := newWorld(t)
	var mu sync.Mutex
	var secrets canary.Set
	kinds := map[string]int{}
	keep := func(kind string, secret []byte) {
		mu.Lock()
		defer mu.Unlock()
		if len(secret) >= canary.MinSize {
			kinds[kind]++
			secrets.Add(fmt.Sprintf("%s %d", kind, kinds[kind]), secret)
		}
	}
	keep("password", []byte(password))
	keep("TOTP seed", []byte(totp))
	w.cfg.Keys = spiedKeys{w.cfg.Keys, keep}
	w.cfg.Store = nil
	w.cfg.Transport = tapped{w.wire, keep}
	w.b = w.open()
	w.register()
	w.acct = w.signIn(alice)
	w.h = &dbus.Handler{Broker: dbus.OwnUser(w.b), Now: w.clock.Now, Version: "1.2.3"}
	serve(t, &dbus.Service{Handler: w.h, Address: bus.Address})
	seen := monitor(t, bus)

	c := dial(t, bus)
	callMethod(t, c, wire.GetVersion, `{"msalCppVersion":"1.0"}`)
	require.Len(t, callMethod(t, c, wire.GetAccounts, `{"clientId":"x"}`).Accounts, 1)
	token := callMethod(t, c, wire.AcquireSilently, silentRequest(graphScope)).Token
	require.NotEmpty(t, token.AccessToken)
	require.NotEmpty(t, callMethod(t, c, wire.AcquireInteractive, interactiveRequest("api://payroll/.default")).Token.AccessToken)
	callMethod(t, c, wire.AcquireSilently, silentRequest("api://vault/.default"))
	require.NoError(t, w.b.RenewPRT(t.Context(), w.acct))
	mu.Lock()
	for _, kind := range []string{"password", "TOTP seed", "derived key", "PRT", "refresh_token"} {
		require.NotZero(t, kinds[kind], "no %s passed: %v", kind, kinds)
	}
	mu.Unlock()
	traffic := seen()
	require.Contains(t, traffic, token.AccessToken, "the monitor sees what is there")
	cells := tally.New(t, "secrets", "a secret and the traffic of the bus")
	search := func(text string) (found []canary.Found, of int) {
		mu.Lock()
		defer mu.Unlock()
		return secrets.Search([]byte(text)), len(secrets.Names())
	}
	found, of := search(traffic)
	require.Empty(t, found)
	cells.Add(of, of-len(found))

	// A cookie holds the PRT, as the protocol has it.
	cookies := callMethod(t, c, wire.AcquireCookie, `{"ssoUrl":"https://login.microsoftonline.com/"}`).Cookies
	require.Len(t, cookies, 1)
	traffic = seen()
	require.Contains(t, traffic, cookies[0].Content)
	found, _ = search(strings.ReplaceAll(traffic, cookies[0].Content, ""))
	for _, f := range found {
		t.Errorf("beside the cookie: %s", f)
	}
	found, _ = search(cookies[0].Content)
	for _, f := range found {
		require.Contains(t, f.Name, "PRT")
	}
	_ = callMethod(t, c, wire.RemoveAccount, `{"clientId":"`+appID+`","account":{"username":"`+alice+`","homeAccountId":"`+w.acct.HomeAccountID+`"}}`)
}

// tapped is a transport that reads what passes.
type tapped struct {
	inner *counter
	keep  func(kind string, secret []byte)
}

func (p tapped) Do(r *http.Request) (*http.Response, error) {
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		raw, _ := io.ReadAll(body)
		form, _ := url.ParseQuery(string(raw))
		p.keep("refresh_token", []byte(form.Get("refresh_token")))
		if parts := strings.Split(form.Get("request"), "."); len(parts) == 3 {
			payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
			var claims struct {
				RefreshToken string `json:"refresh_token"`
			}
			if json.Unmarshal(payload, &claims) == nil {
				p.keep("PRT", []byte(claims.RefreshToken))
			}
		}
	}
	rep, err := p.inner.Do(r)
	if err != nil {
		return rep, err
	}
	raw, err := io.ReadAll(rep.Body)
	_ = rep.Body.Close()
	if err != nil {
		return nil, err
	}
	rep.Body = io.NopCloser(bytes.NewReader(raw))
	var members struct {
		RefreshToken string `json:"refresh_token"`
	}
	if json.Unmarshal(raw, &members) == nil {
		p.keep("refresh_token", []byte(members.RefreshToken))
	}
	return rep, nil
}
