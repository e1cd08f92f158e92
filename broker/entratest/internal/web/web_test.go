package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/internal/wire"
)

const correlation = "11111111-2222-3333-4444-555555555555"

type world struct {
	*web.Router
	log  []string
	done chan struct{}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	rand := ids.NewSource(1)
	dir, err := directory.New([]directory.TenantSpec{{Domain: "contoso.example", Federated: []string{"fed.example"}}}, 1, rand)
	require.NoError(t, err)
	w := &world{done: make(chan struct{})}
	w.Router = web.New(web.Config{
		Directory: dir, Rand: rand, Log: directory.NewSignInLog(10), Done: w.done,
		Now:  func() time.Time { return time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC) },
		Logf: func(format string, args ...any) { w.log = append(w.log, fmt.Sprintf(format, args...)) },
	})
	return w
}

// ask sends a request and returns the reply, or the error of a broken connection.
func (w *world) ask(t *testing.T, method, url string, change func(*http.Request)) (*http.Response, error) {
	t.Helper()
	r := httptest.NewRequest(method, url, nil)
	if change != nil {
		change(r)
	}
	rec := web.NewRecorder()
	return rec.Response(r, rec.Serve(w, r))
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(b)
}

func form(values string) func(*http.Request) {
	return func(r *http.Request) {
		r.Body = io.NopCloser(strings.NewReader(values))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
}

func TestRoutes(t *testing.T) {
	w := newWorld(t)
	w.Handle(web.OnLogin, "POST", "/{tenant}/oauth2/v2.0/token", web.EndpointToken, func(out http.ResponseWriter, r *web.Request) {
		web.WriteJSON(out, http.StatusOK, map[string]any{"tenant": r.Tenant != nil, "v2": r.V2, "a": r.Values.Get("a"), "again": r.FormValue("a")})
	})
	w.Handle(web.OnRegistration, "GET", "/EnrollmentServer/key/{rest}", web.EndpointKey, func(out http.ResponseWriter, r *web.Request) {
		_, _ = io.WriteString(out, r.Vars["rest"])
	})
	const token = "https://login.microsoftonline.com/Contoso.example/OAuth2/v2.0/TOKEN"
	resp, err := w.ask(t, "POST", token, form("a=1"))
	require.NoError(t, err)
	require.JSONEq(t, `{"tenant":true,"v2":true,"a":"1","again":"1"}`, body(t, resp), "paths are case-insensitive")
	require.Equal(t, "Mon, 02 Mar 2026 09:00:00 GMT", resp.Header.Get("Date"))
	resp, err = w.ask(t, "POST", "https://127.0.0.1:1/common/oauth2/v2.0/token", form("a=1"))
	require.NoError(t, err)
	require.JSONEq(t, `{"tenant":false,"v2":true,"a":"1","again":"1"}`, body(t, resp))
	resp, err = w.ask(t, "GET", "https://enterpriseregistration.windows.net/EnrollmentServer/key/a/b", nil)
	require.NoError(t, err)
	require.Equal(t, "a/b", body(t, resp))

	for name, c := range map[string]struct {
		method, url string
		status      int
		says        string
	}{
		"another tenant": {"POST", "https://login.microsoftonline.com/nowhere.example/oauth2/v2.0/token", 400, "AADSTS90002"},
		"another method": {"GET", token, 400, "AADSTS900561"},
		"… elsewhere":    {"POST", "https://enterpriseregistration.windows.net/EnrollmentServer/key/a", 405, "not allowed"},
		"another path":   {"GET", "https://login.microsoftonline.com/x", 404, "not found"},
		"another host":   {"GET", "https://example.com/EnrollmentServer/key/a", 404, "not found"},
	} {
		resp, err := w.ask(t, c.method, c.url, nil)
		require.NoError(t, err, name)
		require.Equal(t, c.status, resp.StatusCode, name)
		require.Contains(t, body(t, resp), c.says, name)
	}
	resp, err = w.ask(t, "POST", token, form(strings.Repeat("a", 300<<10)))
	require.NoError(t, err)
	require.Equal(t, http.StatusRequestEntityTooLarge, resp.StatusCode)

	require.Equal(t, web.OnFederation, w.HostKind(httptest.NewRequest("GET", "https://sts.fed.example/", nil)))
	require.Equal(t, web.OnCertAuth, w.HostKind(httptest.NewRequest("GET", "https://"+web.CertAuthHost+"/", nil)))
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	refuse := error(web.Fail("interaction_required", 50076, "Use %s.", "MFA").Sub("basic_action").Because("the policy P"))
	w.Handle(web.OnLogin, "GET", "/sts", web.EndpointLogin, func(out http.ResponseWriter, r *web.Request) {
		r.Entry = &directory.LogEntry{Username: "alice"}
		w.Record(r, refuse)
		require.Nil(t, r.Entry)
		w.Record(r, refuse) // closed already
		w.Refuse(out, r, refuse)
	})
	w.Handle(web.OnLogin, "GET", "/drs", web.EndpointDevice, func(out http.ResponseWriter, r *web.Request) { w.RefuseDRS(out, r, refuse) })
	sts := func() (int, map[string]any) {
		resp, err := w.ask(t, "GET", "https://login.windows.net/sts", func(r *http.Request) {
			r.Header.Set("client-request-id", correlation)
			r.Header.Set("return-client-request-id", "true")
		})
		require.NoError(t, err)
		require.Equal(t, correlation, resp.Header.Get("client-request-id"))
		var got map[string]any
		require.NoError(t, json.Unmarshal([]byte(body(t, resp)), &got))
		return resp.StatusCode, got
	}
	status, got := sts()
	require.Equal(t, http.StatusBadRequest, status)
	require.Equal(t, "interaction_required", got["error"])
	require.Equal(t, "basic_action", got["suberror"])
	require.Equal(t, []any{50076.0}, got["error_codes"])
	require.Contains(t, got["error_description"], "AADSTS50076: Use MFA. Trace ID: ")
	require.Equal(t, correlation, got["correlation_id"])
	require.Contains(t, w.log[0], "the policy P", "the reason goes to the test's log alone")
	require.NotContains(t, got["error_description"], "the policy P")
	entries := w.Log.All()
	require.Len(t, entries, 1)
	require.Equal(t, 50076, entries[0].ErrorCode)
	require.Equal(t, "basic_action", entries[0].Suberror)

	refuse = errors.New("broken")
	status, got = sts()
	require.Equal(t, http.StatusInternalServerError, status)
	require.Equal(t, "server_error", got["error"])
	refuse = web.Fail("invalid_client", 7000215, "No.")
	status, _ = sts()
	require.Equal(t, http.StatusUnauthorized, status)

	for err, want := range map[error]int{
		web.DRSFail(http.StatusUnauthorized, "AuthenticationError", "No."): http.StatusUnauthorized,
		directory.ErrQuota:    http.StatusBadRequest,
		directory.ErrKeyTaken: http.StatusBadRequest,
		errors.New("broken"):  http.StatusInternalServerError,
	} {
		refuse = err
		resp, rerr := w.ask(t, "GET", "https://login.windows.net/drs", nil)
		require.NoError(t, rerr)
		require.Equal(t, want, resp.StatusCode, err)
		require.Contains(t, body(t, resp), `"ErrorType"`)
	}
}

func TestFaults(t *testing.T) {
	w := newWorld(t)
	calls := 0
	w.Handle(web.OnLogin, "POST", "/{tenant}/oauth2/token", web.EndpointToken, func(out http.ResponseWriter, _ *web.Request) {
		calls++
		_, _ = io.WriteString(out, "a whole reply")
	})
	ask := func() (*http.Response, error) {
		return w.ask(t, "POST", "https://login.microsoftonline.com/common/oauth2/token", form("grant_type=password"))
	}
	for name, c := range map[string]struct {
		fault  web.Fault
		status int // zero: the connection breaks
		says   string
		calls  int
	}{
		"before":   {web.Fault{Kind: web.DropBefore}, 0, "", 0},
		"after":    {web.Fault{Kind: web.DropAfter}, 0, "", 1},
		"delay":    {web.Fault{Kind: web.Delay, Delay: 1}, 200, "a whole reply", 1},
		"throttle": {web.Fault{Kind: web.Throttle}, 429, "AADSTS90055", 0},
		"status":   {web.Fault{Kind: web.Status, RetryAfter: time.Minute}, 503, "aren't available", 0},
		"garbage":  {web.Fault{Kind: web.Garbage}, 200, "not what you asked for", 0},
		"aadsts":   {web.Fault{Kind: web.AADSTS, Code: 50034, Suberror: "x"}, 400, "AADSTS50034", 0},
	} {
		calls = 0
		remove := w.AddFault(c.fault)
		resp, err := ask()
		if c.status == 0 {
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, name)
		} else {
			require.NoError(t, err, name)
			require.Equal(t, c.status, resp.StatusCode, name)
			require.Contains(t, body(t, resp), c.says, name)
		}
		require.Equal(t, c.calls, calls, name)
		remove()
	}

	w.AddFault(web.Fault{Kind: web.Truncate, Endpoint: web.EndpointToken, Nth: 2})
	w.AddFault(web.Fault{Kind: web.Garbage, Endpoint: web.EndpointNonce, Times: -1})
	resp, err := ask()
	require.NoError(t, err)
	require.Equal(t, "a whole reply", body(t, resp), "the first call is not the second, nor a nonce")
	resp, err = ask()
	require.NoError(t, err)
	half, err := io.ReadAll(resp.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, "a whol", string(half))
	w.ClearFaults()

	w.AddFault(web.Fault{Kind: web.Delay, Delay: -1, Times: -1, Match: func(r *http.Request) bool { return r.PostForm.Get("grant_type") == wire.GrantPassword }})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "POST", "https://login.microsoftonline.com/common/oauth2/token", nil)
	form("grant_type=password")(r)
	require.ErrorIs(t, web.NewRecorder().Serve(w, r), io.ErrUnexpectedEOF, "the client gave up")
	close(w.done)
	_, err = ask()
	require.ErrorIs(t, err, io.ErrUnexpectedEOF, "the server closed")
}

func TestClip(t *testing.T) {
	require.Equal(t, "a b", web.Clip("a\nb"))
	require.Len(t, web.Clip(strings.Repeat("x", 1000)), 120+len("…"))
	require.True(t, web.MultiTenant("Common"))
	require.False(t, web.MultiTenant("contoso.example"))
}
