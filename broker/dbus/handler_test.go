package dbus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/dbus"
	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
	"github.com/prtbroker/prtbroker/broker/entratest"
)

// refused asserts an error of a status, in the shape that clients read.
func refused(t *testing.T, r *wire.Reply, s wire.Status, text string) {
	t.Helper()
	require.NotNil(t, r.Error)
	require.Equal(t, s, r.Error.Status, "%+v", r.Error)
	require.Contains(t, r.Error.Context, text)
	require.NotZero(t, r.Error.Tag, "MSAL loses an error without a tag")
}

// request makes a token request.
func request(client string, scopes []string, more map[string]any) string {
	p := map[string]any{"clientId": client, "requestedScopes": scopes, "username": alice, "authority": "https://login.microsoftonline.com/common"}
	for k, v := range more {
		p[k] = v
	}
	text, err := json.Marshal(map[string]any{"authParameters": p})
	if err != nil {
		panic(err)
	}
	return string(text)
}

var graph = []string{graphScope}

// No caller gets tokens of the broker client, or for the registration and key
// services, however they are written.
func TestPrivateTokens(t *testing.T) {
	w := newWorld(t)
	w.wire.take()
	for _, method := range []string{wire.AcquireSilently, wire.AcquireInteractive} {
		for _, client := range []string{"29d9ed98-a469-4536-ade2-f981bc1d605e", "29D9ED98-A469-4536-ADE2-F981BC1D605E", " 29d9ed98-a469-4536-ade2-f981bc1d605e", "dd762716-544d-4aeb-a526-687b73838a22", "38aa3b87-a06d-4817-b275-7a316988d93b"} {
			refused(t, w.ask(t, t.Context(), method, request(client, graph, nil)), wire.IncorrectConfiguration, "callers get neither tokens of the broker client itself")
		}
		for _, scope := range []string{
			"urn:ms-drs:enterpriseregistration.windows.net/.default", "URN:MS-DRS:enterpriseregistration.windows.net//adrs_access",
			"01cb2876-7ebd-4aa4-9cc9-d28bd4d359a9/.default", "api://01CB2876-7ebd-4aa4-9cc9-d28bd4d359a9/x", "spn:01cb2876-7ebd-4aa4-9cc9-d28bd4d359a9/x",
			"urn%3Ams-drs%3Aenterpriseregistration.windows.net/.default", "urn%253ams-drs%253aenterpriseregistration.windows.net/.default",
			"https://enterpriseregistration.windows.net/.default", "urn:aad:tb:update:prt/.default", "29d9ed98-a469-4536-ade2-f981bc1d605e/.default",
		} {
			for _, scopes := range [][]string{{scope}, {"openid", scope}, {graphScope, scope}} {
				refused(t, w.ask(t, t.Context(), method, request(appID, scopes, nil)), wire.IncorrectConfiguration, "registration and key services")
			}
		}
	}
	require.Zero(t, w.wire.take(), "nothing was asked of the service")
	require.Zero(t, w.person.asked.Load())
}

// What the service says, and what a client is told.
func TestStatuses(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*testing.T, *world)
		method string
		text   string
		status wire.Status
		says   string
	}{
		"MFA":                {nil, wire.AcquireSilently, request(appID, []string{"api://payroll/.default"}, nil), wire.InteractionRequired, "AADSTS50076"},
		"consent":            {nil, wire.AcquireSilently, request(strangeID, []string{"api://payroll/.default"}, nil), wire.InteractionRequired, "AADSTS65001"},
		"preauthorization":   {fault(entratest.Fault{Kind: entratest.AADSTS, Code: 65002, Error: "invalid_request"}), wire.AcquireSilently, request(cliID, graph, nil), wire.IncorrectConfiguration, "AADSTS65002"},
		"redirect URI":       {nil, wire.AcquireSilently, request(appID, graph, map[string]any{"redirectUri": "https://evil.example/"}), wire.IncorrectConfiguration, "AADSTS50011"},
		"a web app":          {nil, wire.AcquireSilently, request(payrollID, graph, nil), wire.IncorrectConfiguration, "AADSTS"},
		"blocked, silently":  {nil, wire.AcquireSilently, request(appID, []string{"api://vault/.default"}, nil), wire.InteractionRequired, "AADSTS53003"},
		"blocked":            {nil, wire.AcquireInteractive, request(appID, []string{"api://vault/.default"}, nil), wire.IncorrectConfiguration, "AADSTS53003"},
		"nobody of the name": {nil, wire.AcquireSilently, request(appID, graph, map[string]any{"username": "carol@contoso.example"}), wire.AccountNotFound, "not signed in"},
		"another id": {nil, wire.AcquireSilently, request(appID, graph, map[string]any{"account": map[string]any{"homeAccountId": "0b6a0000-1111-4222-8333-444455556666.f3d10000-1111-4222-8333-444455556666"}}),
			wire.AccountNotFound, "not signed in"},
		"a Microsoft account":     {nil, wire.AcquireSilently, request(appID, graph, map[string]any{"authority": "https://login.microsoftonline.com/consumers"}), wire.AccountNotFound, "not signed in"},
		"another authority":       {nil, wire.AcquireSilently, request(appID, graph, map[string]any{"authority": "https://login.evil.example/common"}), wire.AuthorityUntrusted, "not a sign-in host"},
		"an authority by http":    {nil, wire.AcquireSilently, request(appID, graph, map[string]any{"authority": "http://login.microsoftonline.com/common"}), wire.AuthorityUntrusted, "not a sign-in host"},
		"claims that are no JSON": {nil, wire.AcquireSilently, request(appID, graph, map[string]any{"decodedClaims": "{"}), wire.Unexpected, "decoded JSON"},
		"two resources":           {nil, wire.AcquireSilently, request(appID, []string{"https://graph.microsoft.com/User.Read", "https://vault.azure.net/user_impersonation"}, nil), wire.IncorrectConfiguration, "resource"},
		"the user is disabled":    {func(t *testing.T, w *world) { require.NoError(t, w.srv.DisableUser("alice")) }, wire.AcquireSilently, request(appID, graph, nil), wire.AccountUnusable, "AADSTS50057"},
		"the device is disabled": {func(t *testing.T, w *world) { require.NoError(t, w.srv.DisableDevice(w.srv.Devices()[0].ID)) }, wire.AcquireSilently, request(appID, graph, nil),
			wire.DeviceNotRegistered, "AADSTS135011"},
		"the device is young": {func(t *testing.T, w *world) { require.NoError(t, w.srv.DeleteDevice(w.srv.Devices()[0].ID)) }, wire.AcquireSilently, request(appID, graph, nil),
			wire.TransientError, "AADSTS50155"},
		"the device is deleted": {func(t *testing.T, w *world) {
			w.clock.Advance(time.Hour)
			require.NoError(t, w.srv.DeleteDevice(w.srv.Devices()[0].ID))
		}, wire.AcquireSilently, request(appID, graph, nil), wire.DeviceNotRegistered, "AADSTS50155"},
		"revoked":         {func(t *testing.T, w *world) { require.NoError(t, w.srv.Revoke("alice")) }, wire.AcquireSilently, request(appID, graph, nil), wire.InteractionRequired, "AADSTS50173"},
		"unavailable":     {fault(entratest.Fault{Kind: entratest.AADSTS, Code: 90033, Times: -1}), wire.AcquireSilently, request(appID, graph, nil), wire.ServerTemporarilyUnavailable, "AADSTS90033"},
		"no network":      {offline(&net.OpError{Op: "dial", Err: errors.New("network is unreachable")}), wire.AcquireSilently, request(appID, graph, nil), wire.NoNetwork, "unreachable"},
		"no answer":       {offline(&url.Error{Op: "Post", URL: "https://login.microsoftonline.com", Err: os.ErrDeadlineExceeded}), wire.AcquireSilently, request(appID, graph, nil), wire.NetworkTemporarilyUnavailable, ""},
		"nobody":          {func(t *testing.T, w *world) { require.NoError(t, w.b.RemoveAccount(t.Context(), w.acct)) }, wire.AcquireSilently, request(appID, graph, map[string]any{"username": ""}), wire.AccountNotFound, "not signed in"},
		"the broker ends": {func(t *testing.T, w *world) { require.NoError(t, w.b.Close()) }, wire.AcquireSilently, request(appID, graph, nil), wire.TransientError, "closed"},
		"the user gives up": {func(_ *testing.T, w *world) { w.person.refuse.Store(true) }, wire.AcquireInteractive, request(appID, []string{"api://payroll/.default"}, nil),
			wire.UserCanceled, "canceled by the user"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.before != nil {
				c.before(t, w)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			refused(t, w.ask(t, ctx, c.method, c.text), c.status, c.says)
			if c.method == wire.AcquireSilently {
				require.Zero(t, w.person.asked.Load(), "a silent call never prompts")
			}
		})
	}
}

func fault(f entratest.Fault) func(*testing.T, *world) {
	return func(_ *testing.T, w *world) {
		f.Endpoint = entratest.EndpointToken
		w.srv.AddFault(f)
	}
}

func offline(err error) func(*testing.T, *world) {
	return func(_ *testing.T, w *world) {
		hook := func(*http.Request) error { return err }
		w.wire.hook.Store(&hook)
	}
}

// The member subError and the claims of a challenge go along, for the
// interactive call that follows.
func TestTokenErrorHasSubError(t *testing.T) {
	w := newWorld(t)
	text := w.h.Handle(t.Context(), self, wire.AcquireSilently, "0.0", correlation, request(appID, []string{"api://payroll/.default"}, nil))
	var v struct {
		R struct {
			Error struct {
				Status, SubStatus, ErrorCode, Tag *int
				Context                           *string
				Diagnostics                       map[string]string
			}
			SubError string
		} `json:"brokerTokenResponse"`
	}
	require.NoError(t, json.Unmarshal([]byte(text), &v))
	require.NotNil(t, v.R.Error.Status)
	require.NotNil(t, v.R.Error.SubStatus)
	require.NotNil(t, v.R.Error.ErrorCode)
	require.NotNil(t, v.R.Error.Tag)
	require.Equal(t, "basic_action", v.R.SubError)
	require.Equal(t, "interaction_required", v.R.Error.Diagnostics["raw_error_code"])
	require.NotEmpty(t, v.R.Error.Diagnostics["correlation_id"])
}

// A client that names the token of memory gets another one; claims pass memory
// by, and the capability cp1 alone does not.
func TestMemory(t *testing.T) {
	w := newWorld(t)
	token := func(more map[string]any) string {
		r := w.ask(t, t.Context(), wire.AcquireSilently, request(appID, graph, more))
		require.Nil(t, r.Error, "%+v", r.Error)
		return r.Token.AccessToken
	}
	first := token(nil)
	w.wire.take()
	require.Equal(t, first, token(nil))
	require.Equal(t, first, token(map[string]any{"accessTokenToRenew": "another"}))
	require.Zero(t, w.wire.take())
	second := token(map[string]any{"accessTokenToRenew": first})
	require.NotEqual(t, first, second)
	require.NotZero(t, w.wire.take())
	require.Equal(t, second, token(nil), "the new one replaces it")

	capability := map[string]any{"decodedClaims": `{"access_token":{"xms_cc":{"values":["CP1"]}}}`}
	long := token(capability)
	require.NotEqual(t, second, long, "a token for a client that takes challenges is another one")
	w.wire.take()
	require.Equal(t, long, token(capability))
	require.Zero(t, w.wire.take())
	challenge := map[string]any{"decodedClaims": `{"access_token":{"nbf":{"essential":true,"value":"1772442000"}}}`}
	require.NotEqual(t, second, token(challenge))
	require.NotZero(t, w.wire.take())
}

// A cookie goes to sign-in hosts and nowhere else.
func TestCookieHosts(t *testing.T) {
	w := newWorld(t)
	for _, address := range []string{
		"https://login.evil.example/", "http://login.microsoftonline.com/", "https://login.microsoftonline.com.evil.example/", "https://login.microsoftonline.com@evil.example/",
		"https://evil.example/?x=https://login.microsoftonline.com/", "https://sub.login.microsoftonline.com/", "https://login.microsoftonline.com:8443/", "javascript:alert(1)",
		"https://login.microsoftonline.us/", "//login.microsoftonline.com/", "login.microsoftonline.com", "https://", " ", "https://login.microsoftonline.com\x00.evil.example/",
		"https://login.microsoftonline.com/?sso_nonce=a&sso_nonce=b",
	} {
		text, err := json.Marshal(map[string]any{"ssoUrl": address, "account": map[string]any{"username": alice}})
		require.NoError(t, err)
		reply := w.h.Handle(t.Context(), self, wire.AcquireCookie, "0.0", "", string(text))
		require.NotContains(t, reply, "cookieContent", address)
		require.NotContains(t, reply, "eyJ", address)
		r, err := wire.ParseReply(wire.AcquireCookie, reply)
		require.NoError(t, err)
		require.NotNil(t, r.Error, address)
	}
}

// With the nonce of the page, with one of the service, and without one: what
// the service makes of each cookie.
func TestCookieNonces(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		address  string
		requests int64
	}{
		"the page's":    {"https://login.microsoftonline.com/common/oauth2/v2.0/authorize?sso_nonce=" + w.nonce(t), 0},
		"the service's": {"https://login.microsoftonline.com/common/oauth2/v2.0/authorize?client_id=x", 1},
		"none":          {"https://login.microsoftonline.com/", 0},
		"no address":    {"", 0},
	} {
		w.wire.take()
		text, err := json.Marshal(map[string]any{"ssoUrl": c.address})
		require.NoError(t, err)
		r := w.ask(t, t.Context(), wire.AcquireCookie, string(text))
		require.Nil(t, r.Error, name)
		require.LessOrEqual(t, w.wire.take(), c.requests, name)
		require.Len(t, r.Cookies, 1)
	}
}

func TestOtherUser(t *testing.T) {
	w := newWorld(t)
	other := self
	other.UID++
	for _, method := range wire.Methods {
		reply := w.h.Handle(t.Context(), other, method, "0.0", "", request(appID, graph, nil))
		require.Contains(t, reply, "another user of this machine", method)
		require.NotContains(t, reply, alice, method)
	}
}

// msalruntime sends the cancel of a call that has just begun before the call.
func TestCancelAhead(t *testing.T) {
	w := newWorld(t)
	interactive := request(appID, []string{"api://payroll/.default"}, nil)
	require.Nil(t, w.ask(t, t.Context(), wire.CancelInteractive, cancelRequest).Error)
	refused(t, w.ask(t, t.Context(), wire.AcquireInteractive, interactive), wire.UserCanceled, "canceled")
	require.Zero(t, w.person.asked.Load())
	// It is used up; one that comes after the reply that it was for means
	// nothing; and none lasts.
	require.Nil(t, w.ask(t, t.Context(), wire.AcquireInteractive, interactive).Error)
	require.Nil(t, w.ask(t, t.Context(), wire.CancelInteractive, cancelRequest).Error)
	require.Nil(t, w.ask(t, t.Context(), wire.AcquireInteractive, interactive).Error)
	w.clock.Advance(time.Second)
	require.Nil(t, w.ask(t, t.Context(), wire.CancelInteractive, cancelRequest).Error)
	w.clock.Advance(time.Second)
	require.Nil(t, w.ask(t, t.Context(), wire.AcquireInteractive, request(appID, graph, nil)).Error)
	// Another connection's cancel is its own.
	other := self
	other.Name = ":1.8"
	w.h.Handle(t.Context(), other, wire.CancelInteractive, "0.0", "", cancelRequest)
	require.Nil(t, w.ask(t, t.Context(), wire.AcquireInteractive, request(appID, graph, nil)).Error)
}

// Who signs in: with a warm PRT nobody is asked, with prompt, or for another
// user, somebody is.
func TestInteractivePrompts(t *testing.T) {
	w := newWorld(t)
	ask := func(more map[string]any) *wire.Reply {
		r := w.ask(t, t.Context(), wire.AcquireInteractive, request(appID, graph, more))
		require.Nil(t, r.Error, "%+v", r.Error)
		return r
	}
	ask(nil)
	ask(map[string]any{"username": ""})
	require.Zero(t, w.person.asked.Load())
	token := ask(nil).Token.AccessToken
	require.Equal(t, token, ask(map[string]any{"accessTokenToRenew": "another"}).Token.AccessToken)
	require.NotEqual(t, token, ask(map[string]any{"accessTokenToRenew": token}).Token.AccessToken)
	require.Zero(t, w.person.asked.Load(), "a token is renewed without a prompt")
	ask(map[string]any{"prompt": "login"})
	require.Equal(t, int32(1), w.person.asked.Load())
	ask(map[string]any{"decodedClaims": `{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`})
	require.Equal(t, int32(2), w.person.asked.Load())
	w.person.Username = bob
	r := ask(map[string]any{"username": bob, "isSignIn": true, "account": nil})
	require.Equal(t, int32(3), w.person.asked.Load())
	require.Equal(t, bob, r.Token.Account.Username)
	require.Len(t, w.ask(t, t.Context(), wire.GetAccounts, "{}").Accounts, 2)
	ask(map[string]any{"prompt": "SELECT_ACCOUNT", "username": ""})
	require.Equal(t, int32(4), w.person.asked.Load())
	// Two are here: a silent call has to say which.
	refused(t, w.ask(t, t.Context(), wire.AcquireSilently, request(appID, graph, map[string]any{"username": ""})), wire.AccountNotFound, "several accounts")
}

func TestTooManyInteractive(t *testing.T) {
	w := newWorld(t)
	up := make(chan struct{}, 16)
	w.person.hang.Store(&up)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan string, 16)
	text := request(appID, []string{"api://payroll/.default"}, map[string]any{"prompt": "login"})
	for range 8 {
		go func() { done <- w.h.Handle(ctx, self, wire.AcquireInteractive, "0.0", "", text) }()
	}
	require.Eventually(t, func() bool { return w.h.Interactive() == 8 }, time.Minute, time.Millisecond)
	refused(t, w.ask(t, t.Context(), wire.AcquireInteractive, text), wire.ServerTemporarilyUnavailable, "too many")
	cancel()
	for range 8 {
		require.Contains(t, <-done, `"status":8`)
	}
	require.Zero(t, w.h.Interactive())
}

// A reply of a handler that was given nothing is an error too.
func TestZeroHandler(t *testing.T) {
	h := &dbus.Handler{}
	reply := h.Handle(t.Context(), self, wire.GetVersion, "0.0", "", "{}")
	require.Contains(t, reply, "Handler.Broker is nil")
}

// What a request holds is in no log and no error: tokens, passwords, cookies.
func TestNoSecretsInErrors(t *testing.T) {
	w := newWorld(t)
	const canary = "canary-2f1c9a"
	var log bytes.Buffer
	w.h.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, method := range wire.Methods {
		for _, text := range []string{
			request("zz", graph, map[string]any{"password": canary, "accessTokenToRenew": canary, "decodedClaims": "{" + canary}),
			request(appID, graph, map[string]any{"username": "nobody", "password": canary, "accessTokenToRenew": canary}),
			`{"a":"` + canary,
		} {
			require.NotContains(t, w.h.Handle(t.Context(), self, method, "0.0", canary, text), canary, method)
		}
	}
	require.NotContains(t, log.String(), canary)
	require.Equal(t, 3*len(wire.Methods), strings.Count(log.String(), "broker call"))
}
