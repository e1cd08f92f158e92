package entratest

import (
	"sync"
	"time"
)

// Clock is a virtual clock. It stands still until it is advanced. The server and
// the program under test share it:
//
//	clock := entratest.NewClock(time.Time{})
//	srv := entratest.NewTB(t, entratest.Options{Clock: clock})
//	b, err := broker.New(ctx, broker.Config{Now: clock.Now, …})
//	clock.Advance(4 * time.Hour)
//
// A nil Clock shows the real time and cannot be advanced. [NewRunningClock] makes
// a clock that runs and can be advanced.
type Clock struct {
	mu   sync.Mutex // guards now
	now  time.Time
	real time.Time // when a running clock showed now; zero: the clock stands still
}

// NewClock returns a clock that shows start; the zero time means a fixed
// instant, 2026-03-02 09:00:00 UTC, so that runs are reproducible.
func NewClock(start time.Time) *Clock {
	if start.IsZero() {
		start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	}
	return &Clock{now: start}
}

// NewRunningClock returns a clock that starts at start and runs at the pace of the
// real time. Advance moves it on top of that.
func NewRunningClock(start time.Time) *Clock {
	return &Clock{now: start.Round(0), real: time.Now()}
}

// Now returns the time that the clock shows.
func (c *Clock) Now() time.Time {
	if c == nil {
		return time.Now()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.real.IsZero() {
		return c.now.Add(time.Since(c.real))
	}
	return c.now
}

// ahead is how far a running clock is ahead of the real time, in seconds.
func (c *Clock) ahead() int64 {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.real.IsZero() {
		return 0
	}
	return int64(c.now.Sub(c.real).Round(time.Second) / time.Second)
}

// setAhead sets that distance; a clock that stands still is left alone.
func (c *Clock) setAhead(seconds int64) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.real.IsZero() {
		c.now = c.real.Round(0).Add(time.Duration(seconds) * time.Second)
	}
}

// reading is what a clock showed, and when if it runs.
type reading struct{ now, real time.Time }

func (c *Clock) reading() reading {
	if c == nil {
		return reading{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return reading{c.now, c.real}
}

// putBack undoes all moves of the clock since a reading.
func (c *Clock) putBack(r reading) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.real = r.now, r.real
}

// Advance moves the clock; a negative d moves it back. It panics on a nil
// Clock.
func (c *Clock) Advance(d time.Duration) {
	if c == nil {
		panic("entratest: real time cannot be advanced; set Options.Clock")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
