package retry

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/aadsts"
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
}

// Only connections and 5xx open a circuit: a 429, a refusal and what a portal
// says leave the endpoint to all other requests.
func TestCircuitIsForConnectionsAndServerErrors(t *testing.T) {
	broken := errors.New("reset")
	for name, tt := range map[string]struct {
		r     Result
		opens bool
	}{
		"no connection":              {Result{Err: broken}, true},
		"connection lost":            {Result{Err: broken, Sent: true}, true},
		"500":                        {Result{Status: 500}, true},
		"503 of the service":         {Result{Status: 503, Verdict: aadsts.Retry}, true},
		"503 that names a time":      {Result{Status: 503, RetryAfter: time.Hour}, true},
		"500 of a proxy":             {Result{Status: 500, Stranger: true}, true},
		"503 of a balancer":          {Result{Status: 503, Stranger: true}, true},
		"504 of a gateway":           {Result{Status: 504, Stranger: true, RetryAfter: time.Second}, true},
		"429":                        {Result{Status: 429}, false},
		"429 that names a time":      {Result{Status: 429, RetryAfter: time.Hour}, false},
		"429 of a proxy":             {Result{Status: 429, Stranger: true, RetryAfter: time.Hour}, false},
		"408 of a proxy":             {Result{Status: 408, Stranger: true}, false},
		"a loop":                     {Result{Status: 400, Verdict: aadsts.Throttled, Loop: true}, false},
		"temporary, by a code":       {Result{Status: 400, Verdict: aadsts.Retry}, false},
		"a refusal":                  {Result{Status: 400, Verdict: aadsts.Interact}, false},
		"a refusal that is sent 500": {Result{Status: 500, Verdict: aadsts.Blocked}, false},
		"a portal":                   {Result{Status: 302, Stranger: true, RetryAfter: time.Hour}, false},
		"the caller gave up":         {Result{Err: broken, Stopped: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var b Breaker
			for range failures {
				require.Zero(t, send(t, &b, start, tt.r))
			}
			require.Equal(t, tt.opens, send(t, &b, start, ok) > 0)
		})
	}
}

// What says that the endpoint works closes its circuit: also a 429.
func TestCircuitCloses(t *testing.T) {
	for name, tt := range map[string]struct {
		r      Result
		closes bool
	}{
		"success":    {ok, true},
		"a refusal":  {Result{Status: 400, Verdict: aadsts.Interact}, true},
		"429":        {Result{Status: 429, RetryAfter: time.Minute}, true},
		"a portal":   {Result{Status: 200, Stranger: true}, false},
		"no network": {Result{Err: errors.New("no route")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var b Breaker
			for range failures - 1 {
				require.Zero(t, send(t, &b, start, busy))
			}
			require.Zero(t, send(t, &b, start, tt.r))
			require.Zero(t, send(t, &b, start.Add(openFor), busy))
			require.Equal(t, !tt.closes, send(t, &b, start.Add(openFor), ok) > 0)
		})
	}
}

func TestSuspendIsARest(t *testing.T) {
	var b Breaker
	now := time.Now()
	for range failures {
		require.Zero(t, send(t, &b, now, busy))
	}
	require.Equal(t, openFor, send(t, &b, now, ok))
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

// While one request tries an endpoint, the report of an older one lets no second one
// try.
func TestLateReport(t *testing.T) {
	var b Breaker
	require.Zero(t, send(t, &b, start, busy))
	late, err := b.Enter(endpoint, start)
	require.NoError(t, err)
	for range failures - 1 {
		require.Zero(t, send(t, &b, start, busy))
	}
	now := start.Add(openFor)
	probe, err := b.Enter(endpoint, now)
	require.NoError(t, err)
	late(Result{Err: errors.New("canceled"), Stopped: true}, now)
	_, err = b.Enter(endpoint, now)
	require.ErrorAs(t, err, new(*OpenError))
	late(ok, now) // the endpoint works
	probe(ok, now)
	require.Zero(t, send(t, &b, now, ok))
}

// Endpoints that rest, or that a request is trying, are remembered before others.
func TestWhichEndpointsMakeRoom(t *testing.T) {
	open := func(b *Breaker, endpoint string, rest time.Duration) {
		b.circuits[endpoint] = &circuit{failed: failures, rests: 1, until: start.Add(rest)}
	}
	b := Breaker{circuits: map[string]*circuit{}}
	open(&b, "rests", 1)
	open(&b, "over", 0)
	open(&b, "is tried", 0)
	b.circuits["is tried"].trying = true
	b.add("first", start)
	require.Len(t, b.circuits, 4, "there is room")
	for i := len(b.circuits); i < maxEndpoints; i++ {
		b.add(fmt.Sprint(i), start)
	}
	require.Len(t, b.circuits, maxEndpoints)
	b.add("new", start)
	require.Len(t, b.circuits, 3)
	for _, e := range []string{"rests", "is tried", "new"} {
		require.Contains(t, b.circuits, e)
	}

	for i := range maxEndpoints {
		open(&b, fmt.Sprint(i), time.Minute)
	}
	delete(b.circuits, "new")
	delete(b.circuits, "rests")
	delete(b.circuits, "is tried")
	b.add("one more", start)
	require.Len(t, b.circuits, 1, "nobody makes room, so all do")
}
