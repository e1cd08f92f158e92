package sts

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/prt"
)

// The default transport follows no redirect, which could carry a credential
// elsewhere, verifies certificates, and waits for nobody without end.
func TestNewTransport(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	c := NewTransport()
	res, err := c.Post(server.URL, "text/plain", strings.NewReader("secret"))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, 1, asked)
	require.Equal(t, http.StatusTemporaryRedirect, res.StatusCode)

	require.Positive(t, c.Timeout)
	inner := c.Transport.(*http.Transport)
	require.Equal(t, uint16(tls.VersionTLS12), inner.TLSClientConfig.MinVersion)
	require.False(t, inner.TLSClientConfig.InsecureSkipVerify)
	require.NotNil(t, inner.Proxy)
	require.Positive(t, inner.TLSHandshakeTimeout)
	require.Positive(t, inner.ResponseHeaderTimeout)
	require.Positive(t, inner.IdleConnTimeout)
}

func TestOK(t *testing.T) {
	for status, want := range map[int]bool{199: false, 200: true, 299: true, 300: false, 400: false} {
		require.Equal(t, want, (&Reply{Status: status}).OK(), status)
	}
}

// A reply of a megabyte is read, and not a byte more.
func TestReplySize(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "https://login.example/", nil)
	for size, want := range map[int]error{prt.MaxReplySize: nil, prt.MaxReplySize + 1: errReplySize} {
		rep, err := send(transport(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Request: r, Body: io.NopCloser(strings.NewReader(strings.Repeat("x", size)))}, nil
		}), r)
		require.ErrorIs(t, err, want)
		if want == nil {
			require.Len(t, rep.Body, size)
		}
	}
}

// A transport that follows redirects ends at the address of an app with an error,
// which is the reply. No other error is one.
func TestAppRedirect(t *testing.T) {
	broken := errors.New("unsupported protocol scheme")
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"an app":          {&url.Error{URL: "ms-appx-web://app?code=c", Err: broken}, "ms-appx-web://app?code=c"},
		"a service":       {&url.Error{URL: "https://login.example/", Err: broken}, ""},
		"in the clear":    {&url.Error{URL: "http://login.example/", Err: broken}, ""},
		"not an address":  {&url.Error{URL: "app://%zz", Err: broken}, ""},
		"another error":   {broken, ""},
		"no error at all": {nil, ""},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tt.want, appRedirect(tt.err)) })
	}
}
