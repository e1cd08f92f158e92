package account

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// After five wrong PINs the next one waits, a right one forgives all, and one
// that was not judged does not count.
func TestPINs(t *testing.T) {
	t.Parallel()
	h := &Hello{}
	var last pinTry
	for range 5 {
		var wait time.Duration
		last, wait = h.count(noon)
		require.Zero(t, wait)
	}
	_, wait := h.count(noon)
	require.Equal(t, time.Minute, wait)
	require.Equal(t, 5, h.Wrong)
	_, wait = h.count(noon.Add(-time.Hour))
	require.Equal(t, time.Minute, wait, "a clock that was set back opens nothing")
	h.settle(last, false)
	require.Equal(t, 4, h.Wrong)
	h.settle(last, true)
	require.Zero(t, h.Wrong)
	require.Zero(t, h.Wait(noon))
	h.Wrong, h.WrongAt = 50, noon
	require.Equal(t, time.Hour, h.Wait(noon))
}

// A clock that was ahead when a PIN was wrong, and is set right, makes the user
// wait as long as that PIN costs, and not until the time that was shown.
func TestPINClockSetBack(t *testing.T) {
	t.Parallel()
	h := &Hello{Wrong: 5, WrongAt: noon.Add(30 * 24 * time.Hour)}
	_, wait := h.count(noon)
	require.Equal(t, time.Minute, wait)
	_, wait = h.count(noon.Add(time.Minute))
	require.Zero(t, wait)
	require.Equal(t, 6, h.Wrong)
}
