package retry

import (
	"sync"
	"time"

	"github.com/prtbroker/prtbroker/internal/clock"
)

const (
	// loopRest is how long a request that the service sees in a loop
	// (AADSTS50196) rests if the reply does not say.
	loopRest = 5 * time.Minute
	// throttledRest is how long any other throttled request rests if the service
	// does not say for how long, as in MSAL.NET.
	throttledRest = time.Minute
	// maxThrottled bounds how many requests are remembered.
	maxThrottled = 1024
)

// Rest is how long the same request must not be sent again after r: what the
// reply asks for, whoever sent it, or a default if the service throttles and
// does not say. 0: it may be sent.
func (r Result) Rest() time.Duration {
	switch {
	case r.Err != nil, r.success():
		return 0
	case r.RetryAfter > 0:
		return r.RetryAfter
	case r.Stranger:
		return 0
	case r.Loop:
		return loopRest
	case r.throttled():
		return throttledRest
	}
	return 0
}

// success reports whether a reply is one.
func (r Result) success() bool { return r.Status >= 200 && r.Status < 300 }

// A Key names a request: whose it is, for what, and where.
type Key [32]byte

// A Throttle remembers which requests the service does not want for now, each
// by itself: what one app asked for too often says nothing about another app,
// another account or other scopes. Its zero value is ready. It is safe for
// concurrent use.
type Throttle struct {
	mu    sync.Mutex // guards until
	until map[Key]time.Time
}

// Enter asks leave to send a request. endpoint stands in the error.
func (t *Throttle) Enter(k Key, endpoint string, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if left := clock.Left(t.until[k], now); left > 0 {
		return &OpenError{Endpoint: endpoint, Throttled: true, Wait: left}
	}
	delete(t.until, k)
	return nil
}

// Report records how a request ended that must not be sent again before rest is
// over. A success forgets it.
func (t *Throttle) Report(k Key, r Result, rest time.Duration, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if rest <= 0 {
		if r.success() && !r.Stranger {
			delete(t.until, k)
		}
		return
	}
	if t.until == nil {
		t.until = map[Key]time.Time{}
	}
	if _, known := t.until[k]; !known && len(t.until) >= maxThrottled {
		t.makeRoom(now)
	}
	t.until[k] = now.Add(rest)
}

// makeRoom forgets the requests whose rest is over and, when there are none,
// the one whose rest ends first.
func (t *Throttle) makeRoom(now time.Time) {
	var first Key
	var ends time.Time
	for k, until := range t.until {
		if clock.Left(until, now) <= 0 {
			delete(t.until, k)
		} else if ends.IsZero() || until.Before(ends) {
			first, ends = k, until
		}
	}
	if len(t.until) >= maxThrottled {
		delete(t.until, first)
	}
}
