package entratest

import (
	"sync"
	"time"
)

// Clock is a virtual clock. It stands still until it is advanced, and the
// server and the program under test share it:
//
//	clock := entratest.NewClock(time.Time{})
//	srv := entratest.NewTB(t, entratest.Options{Clock: clock})
//	b, err := broker.New(ctx, broker.Config{Now: clock.Now, …})
//	clock.Advance(4 * time.Hour)
//
// A nil Clock is the real time; it cannot be advanced.
type Clock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

// NewClock returns a clock that shows start; the zero time means a fixed
// instant, 2026-03-02 09:00:00 UTC, so that runs are alike.
func NewClock(start time.Time) *Clock {
	if start.IsZero() {
		start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	}
	return &Clock{now: start}
}

// Now returns the time that the clock shows.
func (c *Clock) Now() time.Time {
	if c == nil {
		return time.Now()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock; a negative d moves it back. It panics on a nil
// Clock, which is the real time.
func (c *Clock) Advance(d time.Duration) {
	if c == nil {
		panic("entratest: the real time cannot be advanced; give Options a Clock")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
