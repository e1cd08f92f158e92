package broker_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/internal/clock/clocktest"
)

// What the broker has in memory ends in time although the machine slept, when
// the monotonic clock of Linux stands still.
func TestSuspendKeepsNothingAlive(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory, withOptions(func(o *entratest.Options) { o.Clock = nil }))
	require.NoError(t, w.b.Close())
	var asleep atomic.Int64 // seconds
	w.cfg.Now = func() time.Time { return clocktest.Apart(t, time.Now(), int(asleep.Load())) }
	w.b = w.open()
	w.join()
	w.signIn()
	first := w.silent(graph)
	require.Equal(t, broker.SourceCache, w.silent(graph).Metadata.Source)
	require.Equal(t, first.ExpiresOn.Round(0), first.ExpiresOn, "callers compare it by the wall clock too")
	cookie := func() int {
		w.wire.take()
		_, err := w.b.SSOCookies(t.Context(), "https://login.microsoftonline.com/common/oauth2/authorize")
		require.NoError(t, err)
		return count(w.wire.take(), "nonce")
	}
	cookie()
	require.Zero(t, cookie())

	asleep.Store(3600)
	require.Equal(t, 1, cookie(), "a nonce lives for minutes")
	asleep.Store(3 * 3600)
	require.NotEqual(t, broker.SourceCache, w.silent(graph).Metadata.Source)
	require.Equal(t, broker.SourceCache, w.silent(graph).Metadata.Source)
}
