package sts

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// How long a code lives and how often to ask for it (RFC 8628 3.2), which v1 says in
// texts; what is missing or beyond reason gets a default.
func TestParseDeviceCode(t *testing.T) {
	for name, tt := range map[string]struct {
		more           string
		life, interval time.Duration
	}{
		"v1":              {`"expires_in":"900","interval":"5"`, 15 * time.Minute, 5 * time.Second},
		"v2":              {`"expires_in":900,"interval":10`, 15 * time.Minute, 10 * time.Second},
		"no interval":     {`"expires_in":900`, 15 * time.Minute, 5 * time.Second},
		"the shortest":    {`"expires_in":1,"interval":1`, time.Second, time.Second},
		"the longest":     {`"expires_in":3600,"interval":60`, time.Hour, time.Minute},
		"longer":          {`"expires_in":3601,"interval":61`, time.Hour, 5 * time.Second},
		"no life":         {`"expires_in":0,"interval":0`, time.Hour, 5 * time.Second},
		"negative":        {`"expires_in":-1,"interval":-1`, time.Hour, 5 * time.Second},
		"nothing is said": {`"x":1`, time.Hour, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := testClient(t, nil).parseDeviceCode([]byte(`{"user_code":"U","device_code":"D","message":"M","verification_url":"https://v",` + tt.more + `}`))
			require.NoError(t, err)
			require.Equal(t, []string{"U", "D", "M", "https://v"}, []string{d.UserCode, d.code, d.Message, d.VerificationURL})
			require.Equal(t, noon.Add(tt.life), d.ExpiresOn)
			require.Equal(t, tt.interval, d.interval)
		})
	}
	for name, body := range map[string]string{
		"no user code":   `{"device_code":"D"}`,
		"no device code": `{"user_code":"U"}`,
		"a wrong type":   `{"user_code":"U","device_code":"D","message":{}}`,
		"not JSON":       `<html>`,
	} {
		_, err := testClient(t, nil).parseDeviceCode([]byte(body))
		require.ErrorIs(t, err, prt.ErrReply, name)
	}
	d, err := testClient(t, nil).parseDeviceCode([]byte(`{"user_code":"U","device_code":"D","verification_uri":"https://v2"}`))
	require.NoError(t, err)
	require.Equal(t, "https://v2", d.VerificationURL, "as RFC 8628 names it")
}

// v1 calls it code and names the resource, v2 calls it device_code. Claims go to both
// endpoints, as in MSAL Go 1.10.1 (accesstokens); the key that the token is bound to goes
// to the token endpoint alone, as in MSAL.NET (TokenClient.cs at 02628611).
func TestDeviceCodeIsRedeemedWhereItCameFrom(t *testing.T) {
	for name, tt := range map[string]struct {
		path, token string
		ask         url.Values
		boundTo     string
		redeem      url.Values
	}{
		"v1":     {wire.PathDeviceCode, "/t/oauth2/token", url.Values{"resource": {"r"}}, "", url.Values{"code": {"d"}, "resource": {"r"}}},
		"v2":     {wire.PathDeviceCodeV2, "/t/oauth2/v2.0/token", url.Values{"scope": {"s"}}, "", url.Values{"device_code": {"d"}}},
		"claims": {wire.PathDeviceCodeV2, "/t/oauth2/v2.0/token", url.Values{"scope": {"s"}, "claims": {"{}"}}, "", url.Values{"device_code": {"d"}, "claims": {"{}"}}},
		"bound":  {wire.PathDeviceCodeV2, "/t/oauth2/v2.0/token", url.Values{"scope": {"s"}}, "k", url.Values{"device_code": {"d"}, "token_type": {"pop"}, "req_cnf": {"k"}}},
	} {
		t.Run(name, func(t *testing.T) {
			h := &hosts{replies: map[string]canned{wire.LoginHost: calls["device code"].ok}}
			c := clientOf(t, h, Public, true)
			tt.ask.Set("client_id", "app")
			d, err := c.DeviceCode(t.Context(), "t", tt.path, tt.ask, tt.boundTo)
			require.NoError(t, err)
			require.Equal(t, tt.ask, h.forms[0])
			tt.redeem["grant_type"], tt.redeem["client_id"] = []string{"urn:ietf:params:oauth:grant-type:device_code"}, []string{"app"}
			require.Equal(t, tt.redeem, d.redeem)
			h.replies[wire.LoginHost] = tokens
			_, err = d.Tokens(t.Context())
			require.NoError(t, err)
			require.Equal(t, tt.token, h.asked[1].Path)
		})
	}
}

// While the user signs in, the client asks at the interval, and five seconds later
// from each slow_down on (RFC 8628 3.5).
func TestPolling(t *testing.T) {
	const pending, slow = `{"error":"authorization_pending","trace_id":"1"}`, `{"error":"slow_down","trace_id":"1"}`
	word := func(body string) canned { return canned{400, nil, body} }
	for name, tt := range map[string]struct {
		replies []canned
		waits   []time.Duration
		says    string
	}{
		"at once":         {[]canned{tokens}, nil, ""},
		"pending":         {[]canned{word(pending), word(pending), tokens}, []time.Duration{5 * time.Second, 5 * time.Second}, ""},
		"slower":          {[]canned{word(slow), word(pending), word(slow), tokens}, []time.Duration{10 * time.Second, 10 * time.Second, 15 * time.Second}, ""},
		"it names a time": {[]canned{{400, map[string]string{"Retry-After": "30"}, pending}, tokens}, []time.Duration{30 * time.Second}, ""},
		"a shorter time":  {[]canned{{400, map[string]string{"Retry-After": "1"}, pending}, tokens}, []time.Duration{5 * time.Second}, ""},
		"a portal":        {[]canned{strangers["302 to a portal"], tokens}, []time.Duration{10 * time.Second}, ""},
		"declined":        {[]canned{word(pending), word(`{"error":"authorization_declined","trace_id":"1"}`)}, []time.Duration{5 * time.Second}, "declined"},
		"over":            {[]canned{word(`{"error":"expired_token","trace_id":"1"}`)}, nil, "expired"},
		"refused":         {[]canned{refused(53003)}, nil, "AADSTS53003"},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			c := testClient(t, transport(func(r *http.Request) (*http.Response, error) {
				n++
				return (&answering{canned: tt.replies[n-1]}).Do(r)
			}))
			var waits []time.Duration
			wait := c.Wait
			c.Wait = func(ctx context.Context, d time.Duration) error { waits = append(waits, d); return wait(ctx, d) }
			d := &DeviceCode{c: c, interval: 5 * time.Second, ExpiresOn: noon.Add(time.Hour), tenant: "t", path: wire.PathToken, redeem: url.Values{"grant_type": {wire.GrantDeviceCode}}}
			_, err := d.Tokens(t.Context())
			require.Equal(t, tt.waits, waits)
			require.Len(t, tt.replies, n)
			if tt.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.says)
		})
	}
}

// A code that is over is not asked for again, and nobody waits longer than it lives.
func TestDeviceCodeEnds(t *testing.T) {
	from := &answering{canned: canned{400, nil, `{"error":"authorization_pending","trace_id":"1"}`}}
	c := testClient(t, from)
	d := &DeviceCode{c: c, interval: 5 * time.Second, ExpiresOn: noon.Add(12 * time.Second), tenant: "t", path: wire.PathToken, redeem: url.Values{"grant_type": {wire.GrantDeviceCode}}}
	_, err := d.Tokens(t.Context())
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, aadsts.Interact, e.Verdict)
	require.ErrorContains(t, e, "the device code has expired")
	require.Equal(t, 4, from.asked, "after 0, 5, 10 and 12 seconds")
	require.Equal(t, noon.Add(12*time.Second), c.cfg.Now())

	c.Wait = func(context.Context, time.Duration) error { return context.Canceled }
	d.ExpiresOn = c.cfg.Now().Add(time.Minute)
	_, err = d.Tokens(t.Context())
	require.ErrorIs(t, err, context.Canceled)
}

// Without a clock of a test the client waits by a timer, and not beyond its context.
func TestSleep(t *testing.T) {
	c := testClient(t, nil)
	c.Wait = nil
	require.NoError(t, c.sleep(t.Context(), 0))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, c.sleep(ctx, time.Hour), context.Canceled)
}

// Failures slow polling down to once a minute or so, and never end it.
func TestNextPoll(t *testing.T) {
	failure := &Error{Verdict: aadsts.Retry, Cause: errors.New("no route")}
	for was, want := range map[time.Duration]time.Duration{
		time.Second: 6 * time.Second, 55 * time.Second: time.Minute, 59 * time.Second: 64 * time.Second, time.Minute: time.Minute, 64 * time.Second: 64 * time.Second,
	} {
		next, again := nextPoll(failure, was)
		require.True(t, again)
		require.Equal(t, want, next)
	}
	_, again := nextPoll(&Error{Verdict: aadsts.Pending}, time.Second)
	require.False(t, again, "nobody said it")
	_, again = nextPoll(&Error{Said: true, Verdict: aadsts.Interact}, time.Second)
	require.False(t, again)
}
