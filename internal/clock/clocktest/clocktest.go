// Package clocktest makes the times that a machine has after a suspend.
package clocktest

import (
	"testing"
	"time"
	"unsafe"
)

// layout is that of time.Time, whose API cannot set the two clocks apart.
type layout struct {
	wall uint64
	ext  int64
	loc  *time.Location
}

// secondShift is where the seconds of a time with a monotonic reading begin.
const secondShift = 30

// Apart returns what time.Now would return if the wall clock, and not the
// monotonic one, had gone on by so many seconds since t: after a suspend, or
// with negative ones after the clock was set back. t must have a monotonic
// reading.
func Apart(t testing.TB, at time.Time, seconds int) time.Time {
	t.Helper()
	later := at
	(*layout)(unsafe.Pointer(&later)).wall += uint64(int64(seconds) << secondShift)
	wall := later.Round(0).Sub(at.Round(0))
	if later.Sub(at) != 0 || wall != time.Duration(seconds)*time.Second {
		t.Fatalf("clocktest: time.Time is not laid out as it was: the clocks are %v and %v apart", later.Sub(at), wall)
	}
	return later
}
