package retry

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/aadsts"
)

var errBroken = errors.New("connection reset")

func TestClass(t *testing.T) {
	for _, tt := range []struct {
		name   string
		r      Result
		want   Class
		again  bool // repeated
		onceOK bool // repeated though it must not run twice
	}{
		{"a token", Result{Status: 200}, Done, false, false},
		{"a refusal", Result{Status: 400, Verdict: aadsts.Interact}, Done, false, false},
		{"throttled", Result{Status: 429}, Refused, true, false},
		{"throttled by code", Result{Status: 400, Verdict: aadsts.Throttled}, Refused, false, false},
		{"throttled by code, for a time", Result{Status: 400, Verdict: aadsts.Throttled, RetryAfter: time.Second}, Refused, true, false},
		{"throttled by both", Result{Status: 429, Verdict: aadsts.Throttled}, Refused, true, false},
		{"unavailable", Result{Status: 503}, Refused, true, false},
		{"server error", Result{Status: 500}, Failed, true, false},
		{"bad gateway", Result{Status: 502}, Failed, true, false},
		{"temporary failure by code", Result{Status: 400, Verdict: aadsts.Retry}, Failed, true, false},
		{"server error that stays", Result{Status: 500, Verdict: aadsts.Blocked}, Done, false, false},
		{"unavailable for good", Result{Status: 503, Verdict: aadsts.Blocked}, Done, false, false},
		{"unavailable, by code too", Result{Status: 503, Verdict: aadsts.Retry}, Refused, true, false},
		{"a proxy's no", Result{Status: 403, Stranger: true}, Elsewhere, false, false},
		{"a portal's page", Result{Status: 200, Stranger: true}, Elsewhere, false, false},
		{"a proxy's trouble", Result{Status: 500, Stranger: true}, Failed, true, false},
		{"a balancer's trouble", Result{Status: 502, Stranger: true}, Failed, true, false},
		{"a gateway's limit", Result{Status: 429, Stranger: true}, Failed, true, false},
		{"no connection", Result{Err: errBroken}, Unsent, true, true},
		{"connection lost", Result{Err: errBroken, Sent: true}, Lost, false, false},
		{"caller gave up", Result{Err: context.Canceled, Stopped: true}, Stopped, false, false},
		{"caller's deadline, unsent", Result{Err: context.DeadlineExceeded, Stopped: true}, Stopped, false, false},
		{"phase deadline, unsent", Result{Err: context.DeadlineExceeded}, Unsent, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, tt.r.Class())
			_, again := Policy{}.Next(1, tt.r, false)
			require.Equal(t, tt.again, again)
			_, again = Policy{}.Next(1, tt.r, true)
			require.Equal(t, tt.onceOK, again)
		})
	}
}

func TestWaits(t *testing.T) {
	zero, most := func() float64 { return 0 }, func() float64 { return 1 }
	busy := Result{Status: 503}
	for n, want := range map[int]time.Duration{1: 500 * time.Millisecond, 2: time.Second, 3: 2 * time.Second, 20: 8 * time.Second} {
		p := Policy{Attempts: 100, Random: zero}
		d, ok := p.Next(n, busy, false)
		require.True(t, ok)
		require.Equal(t, want, d)
		p.Random = most
		d, ok = p.Next(n, busy, false)
		require.True(t, ok)
		require.Equal(t, want+want/4, d)
	}
	_, ok := Policy{}.Next(3, busy, false)
	require.False(t, ok, "the third attempt is the last")

	busy.RetryAfter = 4 * time.Second
	d, ok := Policy{Random: most}.Next(1, busy, false)
	require.True(t, ok)
	require.Equal(t, 5*time.Second, d, "never less than what was asked for")
	busy.RetryAfter = time.Minute
	_, ok = Policy{}.Next(1, busy, false)
	require.False(t, ok, "too long to wait for: the caller decides")
}

func TestAfter(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Duration{
		"":                              0,
		"120":                           2 * time.Minute,
		"-1":                            0,
		"1.5":                           0,
		"99999999":                      time.Hour,
		"soon":                          0,
		"Mon, 02 Mar 2026 09:00:30 GMT": 30 * time.Second,
		"Mon, 02 Mar 2026 08:00:00 GMT": 0,
		"Tue, 02 Mar 2027 09:00:00 GMT": time.Hour,
	} {
		require.Equalf(t, want, After(http.Header{"Retry-After": {in}}, now), "%q", in)
	}
	until := http.Header{"Retry-After": {"Mon, 02 Mar 2026 09:00:30 GMT"}, "Date": {"Mon, 02 Mar 2026 09:00:10 GMT"}}
	require.Equal(t, 20*time.Second, After(until, now), "by the clock that wrote it")
}

func TestUnreachable(t *testing.T) {
	require.True(t, Unreachable(&url.Error{Err: &net.OpError{Op: "dial", Err: errBroken}}))
	require.True(t, Unreachable(&url.Error{Err: &net.DNSError{Err: "no such host"}}))
	require.False(t, Unreachable(&url.Error{Err: &net.OpError{Op: "read", Err: errBroken}}))
	require.False(t, Unreachable(errBroken))
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		require.NoError(t, Wait(t.Context(), time.Hour))
		require.Equal(t, time.Hour, time.Since(start))

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start = time.Now()
		require.ErrorIs(t, Wait(ctx, time.Hour), context.DeadlineExceeded)
		require.ErrorIs(t, Wait(ctx, time.Minute), context.DeadlineExceeded)
		require.Zero(t, time.Since(start), "a wait in vain is not begun")
		require.NoError(t, Wait(ctx, time.Minute-1))

		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		require.ErrorIs(t, Wait(ctx, time.Hour), context.Canceled)
	})
}
