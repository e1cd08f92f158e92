// Package retry decides whether and when a request is sent again. It spares the
// service the requests that it throttles, and keeps all requests away from an
// endpoint that fails.
//
// A request is repeated only when the service asked for it or cannot have
// seen it: 429, 5xx, the AADSTS codes of temporary failures, and connections
// that broke before anything was sent. A request that must not run twice (a
// code, a password, a registration) is repeated only when nothing of it was
// sent: a gateway's 503 does not say whether the service ran it, and a password
// that is tried three times locks an account.
package retry

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prtbroker/prtbroker/internal/aadsts"
)

// A Result is how one attempt ended.
type Result struct {
	Err        error // of the transport; nil when there was a reply
	Sent       bool  // with Err: something of the request may have reached the service
	Stopped    bool  // with Err: because the caller's context ended
	Status     int   // of the reply
	Verdict    aadsts.Verdict
	RetryAfter time.Duration // of the reply; 0: it did not say
	Stranger   bool          // the reply is not the service's
	Loop       bool          // the service sees the same request again and again
}

// A Class is what a result means for the next attempt.
type Class uint8

const (
	// Done: a reply that repeating does not change, good or bad.
	Done Class = iota
	// Unsent: the service cannot have seen the request.
	Unsent
	// Refused: the service did not handle the request and may soon.
	Refused
	// Failed: the service failed, and may have handled the request before.
	Failed
	// Lost: the connection broke; whether the request was handled is unknown.
	Lost
	// Stopped: the caller's context ended.
	Stopped
	// Elsewhere: something in between answered, which says nothing about the
	// service.
	Elsewhere
)

// Class judges a result.
func (r Result) Class() Class {
	switch {
	case r.Err != nil && r.Stopped:
		return Stopped
	case r.Err != nil && !r.Sent:
		return Unsent
	case r.Err != nil:
		return Lost
	case r.Stranger && (r.Status >= 500 || r.Status == http.StatusTooManyRequests || r.Status == http.StatusRequestTimeout):
		return Failed
	case r.Stranger:
		return Elsewhere
	case r.throttled():
		return Refused
	case r.Verdict != aadsts.Retry && r.Verdict != aadsts.None:
		return Done // the code knows better than the status
	case r.Status == http.StatusServiceUnavailable:
		return Refused
	case r.Verdict == aadsts.Retry, r.Status >= 500:
		return Failed
	}
	return Done
}

// throttled reports whether the service asks for fewer requests.
func (r Result) throttled() bool {
	return r.Verdict == aadsts.Throttled || r.Status == http.StatusTooManyRequests
}

// A Policy says how often and how fast to try. Its zero value is the default.
type Policy struct {
	// Attempts is how often a request is sent at most. 0: 3.
	Attempts int
	// Base is the wait before the second attempt, doubled for each further
	// one. 0: 500 ms.
	Base time.Duration
	// Longest is the longest wait, also when the service asks for a longer
	// one: then the caller gets the error with its RetryAfter instead. 0: 10 s.
	Longest time.Duration
	// Random returns a number in [0, 1). Nil: math/rand/v2, which is what
	// spreading load needs.
	Random func() float64
}

func (p Policy) withDefaults() Policy {
	if p.Attempts == 0 {
		p.Attempts = 3
	}
	if p.Base == 0 {
		p.Base = 500 * time.Millisecond
	}
	if p.Longest == 0 {
		p.Longest = 10 * time.Second
	}
	if p.Random == nil {
		p.Random = rand.Float64
	}
	return p
}

// Next returns how long to wait before the attempt after the one that ended
// in r, the n-th counted from 1; false when there is to be none. once is for
// requests that must not be handled twice.
func (p Policy) Next(n int, r Result, once bool) (time.Duration, bool) {
	p = p.withDefaults()
	if n >= p.Attempts {
		return 0, false
	}
	class := r.Class()
	if once && class != Unsent {
		return 0, false
	}
	switch class {
	case Unsent, Failed:
	case Refused:
		// A loop or a used-up allowance, which some codes report, does not end
		// within the seconds that a caller waits.
		if r.Verdict == aadsts.Throttled && r.Status != http.StatusTooManyRequests && r.RetryAfter == 0 {
			return 0, false
		}
	default:
		return 0, false
	}
	wait := p.wait(n, r.RetryAfter)
	return wait, wait <= p.Longest
}

// wait is what the service asks for, or the doubled base, plus up to a quarter,
// so that callers that failed together do not come back together. It is never
// less than what was asked for.
func (p Policy) wait(n int, asked time.Duration) time.Duration {
	d := asked
	if d <= 0 {
		d = min(p.Base<<min(n-1, 16), p.Longest*4/5)
	}
	return d + time.Duration(p.Random()*float64(d)/4)
}

// maxRetryAfter bounds what a reply can ask for.
const maxRetryAfter = time.Hour

// After reads a Retry-After header (RFC 9110 10.2.3): seconds, or a date, which
// counts from the Date of the reply, if it has one, since clocks differ. 0 when
// it says nothing, or a time that has passed; an hour at most.
func After(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if s, err := strconv.ParseInt(v, 10, 64); err == nil {
		return time.Duration(min(max(s, 0), int64(maxRetryAfter/time.Second))) * time.Second
	}
	t, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(t.Sub(now), 0), maxRetryAfter)
}

// Unreachable reports whether err says that no connection was made: the name
// does not resolve, or nothing answers. It is for transports that do not report
// what they sent.
func Unreachable(err error) bool {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return true
	}
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// Wait waits for d or until ctx ends. It does not wait at all when ctx would
// end by then.
func Wait(ctx context.Context, d time.Duration) error {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= d {
		return context.DeadlineExceeded
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
