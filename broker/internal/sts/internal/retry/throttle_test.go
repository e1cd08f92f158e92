package retry

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/clock/clocktest"
)

// How long the same request rests, by its reply.
func TestRest(t *testing.T) {
	for name, tt := range map[string]struct {
		r    Result
		want time.Duration
	}{
		"a success":                          {Result{Status: 200}, 0},
		"a success that names a time":        {Result{Status: 200, RetryAfter: time.Minute}, 0},
		"a refusal":                          {Result{Status: 400, Verdict: aadsts.Interact}, 0},
		"a refusal that names a time":        {Result{Status: 400, Verdict: aadsts.Interact, RetryAfter: 3 * time.Second}, 3 * time.Second},
		"429 that names a time":              {Result{Status: 429, RetryAfter: 3 * time.Second}, 3 * time.Second},
		"429 of the service":                 {Result{Status: 429, Verdict: aadsts.Throttled}, time.Minute},
		"503 that names a time":              {Result{Status: 503, RetryAfter: 3 * time.Second}, 3 * time.Second},
		"503":                                {Result{Status: 503}, 0},
		"429 of a proxy":                     {Result{Status: 429, Stranger: true}, 0},
		"429 of a proxy that names a time":   {Result{Status: 429, Stranger: true, RetryAfter: 3 * time.Second}, 3 * time.Second},
		"a redirect that names a time":       {Result{Status: 302, Stranger: true, RetryAfter: 3 * time.Second}, 3 * time.Second},
		"throttled by a code":                {Result{Status: 400, Verdict: aadsts.Throttled}, time.Minute},
		"a loop":                             {Result{Status: 400, Verdict: aadsts.Throttled, Loop: true}, 5 * time.Minute},
		"a loop, and the reply names a time": {Result{Status: 400, Verdict: aadsts.Throttled, Loop: true, RetryAfter: time.Second}, time.Second},
		"300 that names a time":              {Result{Status: 300, Stranger: true, RetryAfter: 3 * time.Second}, 3 * time.Second},
		"no reply":                           {Result{Err: errors.New("reset"), Sent: true}, 0},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tt.want, tt.r.Rest()) })
	}
}

func key(n uint64) (k Key) {
	binary.LittleEndian.PutUint64(k[:], n)
	return k
}

func TestThrottle(t *testing.T) {
	var th Throttle
	busy := Result{Status: 429, RetryAfter: time.Minute}
	require.NoError(t, th.Enter(key(1), endpoint, start))
	th.Report(key(1), busy, busy.Rest(), start)
	var open *OpenError
	require.ErrorAs(t, th.Enter(key(1), endpoint, start.Add(10*time.Second)), &open)
	require.Equal(t, OpenError{Endpoint: endpoint, Throttled: true, Wait: 50 * time.Second}, *open)
	require.ErrorContains(t, open, "is throttling this request for another 50s")
	require.NoError(t, th.Enter(key(2), endpoint, start), "a neighbour goes on")
	require.NoError(t, th.Enter(key(1), endpoint, start.Add(time.Minute)))
	require.Empty(t, th.until, "what is over is forgotten")

	th.Report(key(1), busy, busy.Rest(), start)
	th.Report(key(1), Result{Status: 400, Verdict: aadsts.Interact}, 0, start)
	require.ErrorAs(t, th.Enter(key(1), endpoint, start), &open, "a refusal lifts nothing")
	th.Report(key(1), Result{Status: 200, Stranger: true}, 0, start)
	require.ErrorAs(t, th.Enter(key(1), endpoint, start), &open, "nor does a portal's page")
	th.Report(key(1), ok, 0, start)
	require.NoError(t, th.Enter(key(1), endpoint, start), "a success does")

	now := time.Now()
	th.Report(key(1), busy, time.Hour, now)
	require.NoError(t, th.Enter(key(1), endpoint, clocktest.Apart(t, now, 3600)), "a suspend is a rest")
}

// However many requests are throttled, memory is bounded, and what rests
// longest stays.
func TestThrottledRequestsAreBounded(t *testing.T) {
	var th Throttle
	for i := range uint64(3 * maxThrottled) {
		th.Report(key(i), Result{Status: 429}, time.Minute+time.Duration(i)*time.Millisecond, start)
	}
	require.Len(t, th.until, maxThrottled)
	require.ErrorAs(t, th.Enter(key(3*maxThrottled-1), endpoint, start), new(*OpenError))
	require.NoError(t, th.Enter(key(0), endpoint, start))
}

// A request that is throttled again takes nobody's place, and those whose rest is
// over go before those that rest.
func TestWhoMakesRoom(t *testing.T) {
	var th Throttle
	for i := range uint64(maxThrottled) {
		rest := time.Hour
		if i < 2 {
			rest = time.Minute
		}
		th.Report(key(i), Result{Status: 429}, rest, start)
	}
	th.Report(key(2), Result{Status: 429}, 2*time.Hour, start)
	require.Len(t, th.until, maxThrottled)
	th.Report(key(maxThrottled), Result{Status: 429}, time.Hour, start.Add(time.Minute))
	require.Len(t, th.until, maxThrottled-1, "both are over")
	require.NotContains(t, th.until, key(0))
	require.NotContains(t, th.until, key(1))
}
