package sts

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/wire"
)

// A transport that follows redirects brings the reply of another address, and a
// request has gone where it was not meant to.
func TestFollowedRedirectIsNoReply(t *testing.T) {
	c := testClient(t, transport(func(r *http.Request) (*http.Response, error) {
		other := r.Clone(r.Context())
		other.URL, _ = url.Parse("https://portal.example/accepted")
		other.Response = &http.Response{StatusCode: 302} // as [http.Client] says what led there
		return &http.Response{StatusCode: 200, Request: other, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(tokens.body))}, nil
	}))
	_, err := c.Grant(t.Context(), "t", wire.PathToken, url.Values{"grant_type": {wire.GrantRefreshToken}})
	require.ErrorContains(t, err, "portal.example")
	var e *Error
	require.ErrorAs(t, err, &e)
	require.True(t, !e.Said && e.Transient())
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) Do(r *http.Request) (*http.Response, error) { return f(r) }

// A stranger's answer slows a device code's poll and does not end it.
func TestStrangerDoesNotEndADeviceCode(t *testing.T) {
	for name, stranger := range strangers {
		t.Run(name, func(t *testing.T) {
			n := 0
			c := testClient(t, transport(func(r *http.Request) (*http.Response, error) {
				n++
				if n < 4 {
					return (&answering{canned: stranger}).Do(r)
				}
				return (&answering{canned: tokens}).Do(r)
			}))
			d := &DeviceCode{c: c, interval: time.Second, ExpiresOn: noon.Add(time.Minute), tenant: "t", path: wire.PathToken, redeem: url.Values{"grant_type": {wire.GrantDeviceCode}}}
			r, err := d.Tokens(t.Context())
			require.NoError(t, err)
			require.False(t, r.AccessToken.IsZero())
		})
	}
}

// Discovery of the registration service falls back to what is well known, and
// says so in the log, whatever a stranger answers.
func TestStrangerAtRegistrationDiscovery(t *testing.T) {
	for name, stranger := range strangers {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			c := testClient(t, &answering{canned: stranger})
			c.cfg.Logger = textLogger(&log)
			require.Equal(t, Public.fallback("t"), c.Discover(t.Context(), "t"))
			require.Contains(t, log.String(), "well-known")
		})
	}
}

// A person must be able to find what answers in the service's place.
func TestStrangerText(t *testing.T) {
	for want, c := range map[string]canned{
		"answered in its place, with text/html":                    {200, map[string]string{"Content-Type": "text/html; charset=x"}, "<html>"},
		"answered in its place, with text/plain; charset=utf-8":    {200, nil, "hello"},
		"answered in its place, with an empty body":                {200, map[string]string{"Content-Type": "text/html"}, ""},
		"answered in its place, with a redirect to portal.example": {302, map[string]string{"Location": "https://portal.example/?user=alice"}, "x"},
		"answered in its place, with application/json":             {302, map[string]string{"Location": "https://login.microsoftonline.com/x", "Content-Type": "application/json"}, "x"},
		"answered in its place, with text/css":                     {302, map[string]string{"Location": "/x", "Content-Type": "text/css"}, "x"},
		"answered in its place, with text/xml":                     {302, map[string]string{"Location": "https://%zz", "Content-Type": "text/xml"}, "x"},
	} {
		t.Run(want, func(t *testing.T) {
			err := calls["refresh token"].do(t.Context(), testClient(t, &answering{canned: c}))
			require.EqualError(t, err, "something on the way to login.microsoftonline.com "+want)
		})
	}
}
