package broker_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/tpm"
)

// What a request may be repeated after, and what not, by how often the service
// was asked for one token.
func TestRetries(t *testing.T) {
	t.Parallel()
	status := func(code int) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: code, Request: r, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("<html>busy</html>"))}, nil
		}
	}
	fails := func(err error) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) { return nil, err }
	}
	for name, tt := range map[string]struct {
		once  func(*http.Request) (*http.Response, error) // the first answer
		asked int
		is    error // nil: a token
	}{
		"unavailable":            {status(503), 2, nil},
		"server error":           {status(500), 2, nil},
		"bad gateway":            {status(502), 2, nil},
		"throttled":              {status(429), 2, nil},
		"nobody answers":         {fails(&url.Error{Err: &net.OpError{Op: "dial", Err: errors.New("connection refused")}}), 2, nil},
		"no such name":           {fails(&url.Error{Err: &net.DNSError{Err: "no such host"}}), 2, nil},
		"lost after it was sent": {fails(&url.Error{Err: &net.OpError{Op: "read", Err: errors.New("connection reset")}}), 1, broker.ErrTransient},
		"a dial was canceled":    {fails(&url.Error{Err: context.Canceled}), 1, broker.ErrTransient},
		"not found":              {status(404), 1, broker.ErrTransient},
		"forbidden by a proxy":   {status(403), 1, broker.ErrTransient},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withMemory)
			w.join()
			w.signIn()
			w.silent(graph)
			asked := 0
			w.wire.inner = apiDo(func(r *http.Request) (*http.Response, error) {
				if asked++; asked == 1 {
					return tt.once(r)
				}
				return w.srv.Client().Do(r)
			})
			_, err := w.b.AcquireTokenSilent(t.Context(), open)
			require.Equal(t, tt.asked, asked)
			require.ErrorIs(t, err, tt.is)
			require.NotErrorIs(t, err, broker.ErrInteractionRequired)
			require.NotErrorIs(t, err, broker.ErrClosed)
		})
	}
}

// A service that keeps failing is left alone for a while, also by other calls.
func TestCircuit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	w.silent(graph)
	broker.SetSleep(w.b, func(context.Context, time.Duration) error { return nil })
	asked := 0
	w.wire.inner = apiDo(func(r *http.Request) (*http.Response, error) {
		asked++
		return &http.Response{StatusCode: 503, Request: r, Header: http.Header{}, Body: http.NoBody}, nil
	})
	for range 20 {
		_, err := w.b.AcquireTokenSilent(t.Context(), open)
		require.ErrorIs(t, err, broker.ErrTransient)
	}
	require.Equal(t, 6, asked, "two calls with three tries each")
	_, err := w.b.AcquireTokenSilent(t.Context(), open)
	var e *broker.Error
	require.ErrorAs(t, err, &e)
	require.Positive(t, e.RetryAfter)
	require.ErrorContains(t, err, "keeps failing")

	w.wire.inner = w.srv.Client()
	w.clock.Advance(e.RetryAfter)
	w.silent(open)
}

// After an hour without a network, tokens come again as soon as it is back.
func TestNetworkIsBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	w.wire.set(func(*http.Request) error {
		return &url.Error{Err: &net.OpError{Op: "dial", Err: errors.New("no route")}}
	}, nil)
	for range 60 {
		_, err := w.b.AcquireTokenSilent(t.Context(), graph)
		require.ErrorIs(t, err, broker.ErrTransient)
		w.clock.Advance(time.Minute)
	}
	_, _ = w.b.AcquireTokenSilent(t.Context(), graph)
	w.wire.set(nil, nil)
	w.clock.Advance(10 * time.Second)
	w.silent(graph)
}

// The address that asks for a user's realm ends in the user's name, which is
// in no error, and one circuit serves all users.
func TestCircuitNamesNoUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	asked := 0
	w.wire.inner = apiDo(func(*http.Request) (*http.Response, error) {
		asked++
		return reply(http.StatusInternalServerError, ""), nil
	})
	var err error
	for _, name := range []string{"dora", "Eve Example", "frank/../x"} {
		_, err = w.b.SignIn(t.Context(), broker.Federated{Username: name + "@fed.contoso.example", Password: password})
		require.NotContains(t, err.Error(), "fed.contoso.example")
	}
	require.ErrorContains(t, err, "UserRealm/ keeps failing")
	require.Equal(t, 6, asked)
}

// An account that is removed while its token is on the way leaves none behind.
func TestRemovedWhileInFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	acct := w.signIn()
	w.silent(graph)
	held, release := make(chan struct{}), make(chan struct{})
	w.wire.set(nil, func(*http.Request) error { close(held); <-release; return nil })
	got := make(chan error, 1)
	go func() {
		_, err := w.b.AcquireTokenSilent(context.WithoutCancel(t.Context()), open, broker.WithAccount(acct))
		got <- err
	}()
	<-held
	require.NoError(t, w.b.RemoveAccount(t.Context(), acct))
	w.wire.set(nil, nil)
	close(release)
	require.ErrorIs(t, <-got, tpm.ErrClosed)
	_, err := w.b.AcquireTokenSilent(t.Context(), open, broker.WithAccount(acct))
	require.ErrorIs(t, err, broker.ErrNoAccount)
	require.Zero(t, broker.CachedTokens(w.b))
}
