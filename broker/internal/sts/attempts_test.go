package sts

import (
	"bytes"
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/prt"
)

// A request has the id that it was given, also when it is repeated, or a random one
// (RFC 9562, version 4), and the error names it.
func TestCorrelationID(t *testing.T) {
	const given = "11111111-2222-4333-8444-555555555555"
	for name, tt := range map[string]struct{ given, want string }{
		"given":  {given, given},
		"random": {"", "ffffffff-ffff-4fff-bfff-ffffffffffff"},
	} {
		t.Run(name, func(t *testing.T) {
			var ids []string
			c := testClient(t, transport(func(r *http.Request) (*http.Response, error) {
				require.Equal(t, "true", r.Header.Get("return-client-request-id"))
				ids = append(ids, r.Header.Get("client-request-id"))
				return (&answering{canned: strangers["504"]}).Do(r)
			}))
			c.cfg.Rand = bytes.NewReader(bytes.Repeat([]byte{0xff}, 16))
			_, err := c.Do(t.Context(), Request{URL: "https://login.microsoftonline.com/x", CorrelationID: tt.given})
			require.Equal(t, []string{tt.want, tt.want, tt.want}, ids)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, tt.want, e.CorrelationID)
		})
	}
	c := testClient(t, &answering{})
	c.cfg.Rand = bytes.NewReader(make([]byte, 15))
	_, err := c.Do(t.Context(), Request{URL: "https://login.microsoftonline.com/x"})
	require.ErrorContains(t, err, "reading randomness")
}

// A caller who leaves while the client waits for another attempt is told so. If the
// wait would only outlast the caller, the service's error is worth more.
func TestWaitingEnds(t *testing.T) {
	from := &answering{canned: refused(90033)}
	c := testClient(t, from)
	ctx, cancel := context.WithCancel(t.Context())
	c.Wait = func(ctx context.Context, _ time.Duration) error { cancel(); return ctx.Err() }
	err := calls["refresh token"].do(ctx, c)
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, transient(err))

	c.Wait = func(context.Context, time.Duration) error { return context.DeadlineExceeded }
	err = calls["refresh token"].do(t.Context(), c)
	require.ErrorContains(t, err, "AADSTS90033")
	require.Equal(t, 2, from.asked, "not again without the wait")
}

// An endpoint that fails is left alone, and no other endpoint is. The text names
// it, and no user.
func TestEndpointOf(t *testing.T) {
	for address, want := range map[string]string{
		"https://login.microsoftonline.com/t/oauth2/token?x=1":                                     "login.microsoftonline.com/t/oauth2/token",
		"https://login.microsoftonline.com/common/UserRealm/alice@contoso.example?api-version=1.0": "login.microsoftonline.com/common/UserRealm/",
		"https://drs.example/%zz": "",
	} {
		require.Equal(t, want, endpointOf(address))
	}
}

// What is sent says no more than it must.
func TestHeaders(t *testing.T) {
	var got http.Header
	c := testClient(t, transport(func(r *http.Request) (*http.Response, error) {
		got = r.Header
		return (&answering{canned: tokens}).Do(r)
	}))
	for name, tt := range map[string]struct {
		q    Request
		more map[string]string
	}{
		"nothing else": {Request{}, nil},
		"a body":       {Request{ContentType: "application/json", Body: []byte("{}")}, map[string]string{"Content-Type": "application/json"}},
		"a token":      {Request{Bearer: prt.NewSecret("t")}, map[string]string{"Authorization": "Bearer t"}},
		"a cookie":     {Request{Credential: prt.Cookie{Name: "X-Ms-Refreshtokencredential", Value: prt.NewSecret("c")}}, map[string]string{"X-Ms-Refreshtokencredential": "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			tt.q.URL, tt.q.CorrelationID = "https://login.microsoftonline.com/x", "id"
			_, err := c.Do(t.Context(), tt.q)
			require.NoError(t, err)
			want := http.Header{"Accept": {"application/json"}, "User-Agent": {"test"}, "Client-Request-Id": {"id"}, "Return-Client-Request-Id": {"true"}}
			for k, v := range tt.more {
				want.Set(k, v)
			}
			require.Equal(t, want, got)
		})
	}
	_, err := c.Do(t.Context(), Request{URL: "https://login.microsoftonline.com/%zz"})
	require.ErrorContains(t, err, "the address of a service is malformed")
}
