package retry

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/clock/clocktest"
)

const endpoint = "login.microsoftonline.com/contoso.example/oauth2/token"

var (
	start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	ok    = Result{Status: 200}
	busy  = Result{Status: 503}
)

// send asks for leave and reports r; it returns how long it would have to wait.
func send(t *testing.T, b *Breaker, now time.Time, r Result) time.Duration {
	t.Helper()
	report, err := b.Enter(endpoint, now)
	var open *OpenError
	if errors.As(err, &open) {
		return open.Wait
	}
	require.NoError(t, err)
	report(r, now)
	return 0
}

func TestCircuitOpens(t *testing.T) {
	var b Breaker
	now := start
	for range failures {
		require.Zero(t, send(t, &b, now, busy))
	}
	require.Equal(t, openFor, send(t, &b, now, ok))
	_, err := b.Enter("another.example/token", now)
	require.NoError(t, err, "each endpoint has its own")

	// Each try that fails doubles the rest, up to a limit.
	for _, rest := range []time.Duration{2 * openFor, 4 * openFor, 8 * openFor, 16 * openFor, openMost, openMost} {
		now = now.Add(openMost)
		require.Zero(t, send(t, &b, now, busy))
		require.Equal(t, rest, send(t, &b, now, ok))
	}
	now = now.Add(openMost)
	require.Zero(t, send(t, &b, now, ok))
	for range failures - 1 {
		require.Zero(t, send(t, &b, now, busy), "a success forgets what was before")
	}
	require.Zero(t, send(t, &b, now, ok))
}

// Without a network the rest does not grow: it is not the service that is down.
func TestNoNetworkIsNoFailureOfTheService(t *testing.T) {
	var b Breaker
	now := start
	unsent := Result{Err: errors.New("no route to host")}
	for range failures {
		require.Zero(t, send(t, &b, now, unsent))
	}
	for range 60 {
		require.Equal(t, openFor, send(t, &b, now, ok))
		now = now.Add(time.Minute)
		require.Zero(t, send(t, &b, now, unsent))
	}
	now = now.Add(openFor)
	require.Zero(t, send(t, &b, now, busy))
	require.Equal(t, openFor, send(t, &b, now, ok), "and it does not count when the service fails afterwards")
	now = now.Add(openFor)
	require.Zero(t, send(t, &b, now, busy))
	require.Equal(t, 2*openFor, send(t, &b, now, ok))

	b = Breaker{}
	require.Zero(t, send(t, &b, start, Result{Status: 429, RetryAfter: time.Minute}))
	for i := range 5 {
		now = start.Add(time.Duration(i+1) * time.Minute)
		require.Zero(t, send(t, &b, now, unsent))
		require.Equal(t, openFor, send(t, &b, now, ok), "nor after the service asked for a rest")
	}
}

func TestRetryAfterHoldsOthers(t *testing.T) {
	var b Breaker
	early, err := b.Enter(endpoint, start)
	require.NoError(t, err)
	throttled := Result{Status: 429, RetryAfter: time.Minute}
	require.Zero(t, send(t, &b, start, throttled))
	require.Equal(t, time.Minute, send(t, &b, start, ok))
	early(ok, start)
	require.Equal(t, 50*time.Second, send(t, &b, start.Add(10*time.Second), ok), "an earlier request's success does not lift it")
	_, err = b.Enter(endpoint, start)
	require.ErrorContains(t, err, "asked to be left alone for 1m0s more")
	require.Zero(t, send(t, &b, start.Add(time.Minute), ok))
}

func TestSuspendIsARest(t *testing.T) {
	var b Breaker
	now := time.Now()
	require.Zero(t, send(t, &b, now, Result{Status: 429, RetryAfter: time.Hour}))
	require.Equal(t, time.Hour, send(t, &b, now, ok))
	require.Zero(t, send(t, &b, clocktest.Apart(t, now, 3600), ok))
}

func TestOneTriesForAll(t *testing.T) {
	var b Breaker
	for range failures {
		send(t, &b, start, busy)
	}
	now := start.Add(openFor)
	report, err := b.Enter(endpoint, now)
	require.NoError(t, err)
	_, err = b.Enter(endpoint, now)
	require.ErrorAs(t, err, new(*OpenError))
	report(Result{Err: errors.New("canceled"), Stopped: true}, now)
	report, err = b.Enter(endpoint, now)
	require.NoError(t, err, "a caller who gave up lets the next one try")
	report(ok, now)
	_, err = b.Enter(endpoint, now)
	require.NoError(t, err)
}

func TestStoppedSaysNothing(t *testing.T) {
	var b Breaker
	for range 10 * failures {
		require.Zero(t, send(t, &b, start, Result{Err: errors.New("canceled"), Stopped: true}))
	}
}

func TestEndpointsAreBounded(t *testing.T) {
	var b Breaker
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 1000 {
				report, err := b.Enter(fmt.Sprintf("%d-%d", i, j), start)
				if err != nil {
					t.Error(err)
					return
				}
				report(busy, start)
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, len(b.circuits), maxEndpoints)
}
