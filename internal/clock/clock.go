// Package clock compares times before and after a suspend of the machine.
//
// A time of time.Now carries a reading of the monotonic clock, and times that
// both have one are compared by it alone (package time, "Monotonic Clocks"). On
// Linux that clock is CLOCK_MONOTONIC, which stands still in suspend
// (clock_gettime(2)): by it, what expired overnight has hours left. The wall
// clock goes on, but can be set back. So the clock that is further ahead
// counts.
package clock

import (
	"math"
	"time"
)

// maxSeconds is what a Duration holds.
const maxSeconds = math.MaxInt64/int64(time.Second) - 1

// Left returns the time from now until end, by the clock by which it is
// shorter. If one of them has no monotonic reading, the wall clock decides.
//
// Serving a token from memory calls it once: end.Round(0).Sub(now.Round(0))
// would take three times as long.
func Left(end, now time.Time) time.Duration {
	left := end.Sub(now)
	seconds := end.Unix() - now.Unix()
	if left <= 0 || seconds > maxSeconds {
		return left
	}
	wall := time.Duration(seconds)*time.Second + time.Duration(end.Nanosecond()-now.Nanosecond())
	return min(left, wall)
}

// On returns t, which came without a monotonic reading, with one derived from
// now. A zero t stays zero.
func On(t, now time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return now.Add(t.Round(0).Sub(now.Round(0)))
}
