package retry

import (
	"fmt"
	"sync"
	"time"

	"github.com/prtbroker/prtbroker/internal/clock"
)

// What opens a circuit, and for how long.
const (
	// failures is how many requests in a row must fail.
	failures = 5
	// openFor is the first rest, doubled while the endpoint stays down, up to
	// openMost. While nothing can be sent to it, the rest is not doubled.
	openFor  = 10 * time.Second
	openMost = 5 * time.Minute
	// maxEndpoints bounds how many endpoints are remembered.
	maxEndpoints = 256
)

// An OpenError says that a request was not sent, because the service throttles
// it or because the endpoint keeps failing.
type OpenError struct {
	Endpoint  string
	Throttled bool          // the service throttles this very request
	Wait      time.Duration // how long until the next request may go out
}

func (e *OpenError) Error() string {
	if e.Throttled {
		return fmt.Sprintf("%s is throttling this request for another %v", e.Endpoint, e.Wait.Round(time.Second))
	}
	return fmt.Sprintf("%s keeps failing; the next try is in %v", e.Endpoint, e.Wait.Round(time.Second))
}

// A Breaker holds a circuit per endpoint: closed while the endpoint works, open
// after it failed repeatedly, and then half-open: one request tries it for all.
// Only failed connections and 5xx count as failures; requests that the service
// throttles are left to [Throttle]. Its zero value is ready. It is safe for
// concurrent use.
type Breaker struct {
	mu       sync.Mutex // guards circuits and what it holds
	circuits map[string]*circuit
}

type circuit struct {
	failed int       // requests in a row
	rests  int       // how often it opened in a row
	until  time.Time // open until; zero: closed
	trying bool      // half-open, and a request is on its way
}

// Enter asks leave to send a request to endpoint, with all its attempts. The
// caller must report how each of them ended, and when.
func (b *Breaker) Enter(endpoint string, now time.Time) (report func(Result, time.Time), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.circuits[endpoint]
	if c == nil {
		return func(r Result, now time.Time) { b.report(endpoint, r, now, false) }, nil
	}
	if wait := clock.Left(c.until, now); wait > 0 {
		return nil, &OpenError{Endpoint: endpoint, Wait: wait}
	}
	probe := !c.until.IsZero()
	if probe && c.trying {
		return nil, &OpenError{Endpoint: endpoint}
	}
	c.trying = c.trying || probe
	return func(r Result, now time.Time) { b.report(endpoint, r, now, probe) }, nil
}

func (b *Breaker) report(endpoint string, r Result, now time.Time, probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	class := r.Class()
	c := b.circuits[endpoint]
	if c != nil && probe {
		c.trying = false
	}
	switch {
	case r.Err == nil && r.Status < 500 && r.Stranger, class == Stopped: // says nothing about the endpoint
		return
	case r.Err == nil && r.Status < 500, class == Done: // it works, whatever it says
		delete(b.circuits, endpoint)
		return
	}
	if c == nil {
		c = b.add(endpoint, now)
	}
	c.failed++
	switch {
	case !probe && c.failed < failures:
	case class == Unsent:
		// This machine has no network, or nothing answers: a rest spares callers a
		// wait but does not spare the service anything, and the network may be back
		// at any time.
		c.open(now.Add(openFor))
	default:
		rest := min(openFor<<min(c.rests, 8), openMost)
		c.rests++
		c.open(now.Add(rest))
	}
}

// open opens the circuit, never for less time than it is open already.
func (c *circuit) open(until time.Time) {
	if until.After(c.until) {
		c.until = until
	}
}

// add makes a circuit. Too many endpoints are a sign of tenants passing
// through: those whose rest is over make room.
func (b *Breaker) add(endpoint string, now time.Time) *circuit {
	if b.circuits == nil {
		b.circuits = map[string]*circuit{}
	}
	if len(b.circuits) >= maxEndpoints {
		for e, c := range b.circuits {
			if clock.Left(c.until, now) <= 0 && !c.trying {
				delete(b.circuits, e)
			}
		}
	}
	if len(b.circuits) >= maxEndpoints {
		clear(b.circuits)
	}
	c := &circuit{}
	b.circuits[endpoint] = c
	return c
}
