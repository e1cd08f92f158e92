package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/prt"
)

// wornStore fails to write, or to list, while it should.
type wornStore struct {
	store.Store
	put   atomic.Value // of the names with this suffix
	lists atomic.Bool
}

func (s *wornStore) Put(ctx context.Context, name string, data []byte, old store.Version) (store.Version, error) {
	if suffix, _ := s.put.Load().(string); suffix != "" && strings.HasSuffix(name, suffix) {
		return 0, os.ErrPermission
	}
	return s.Store.Put(ctx, name, data, old)
}

func (s *wornStore) List(ctx context.Context, prefix string) ([]string, error) {
	if s.lists.Load() {
		return nil, os.ErrPermission
	}
	return s.Store.List(ctx, prefix)
}

// newWornWorld is a world whose store wears out, with what the broker logs.
func newWornWorld(t *testing.T) (*world, *wornStore, *lockedBuffer) {
	s, log := &wornStore{Store: &store.Memory{}}, &lockedBuffer{}
	w := newWorld(t, func(w *world, _ *entratest.Options) { w.store = s })
	w.cfg.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.b = w.open()
	w.join()
	w.signIn()
	return w, s, log
}

// What fails in the background has no caller to tell. Whoever reads the log learns of
// it, and of nothing while all is well.
func TestBackgroundFailuresAreLogged(t *testing.T) {
	t.Parallel()
	const (
		writing = "writing the sign-in log failed"
		reading = "reading the accounts failed"
	)
	decide := func(w *world, times int) {
		for range times {
			w.silent(graph, broker.WithForceRefresh())
		}
	}
	tests := []struct {
		name string
		do   func(w *world, s *wornStore)
		says string
	}{
		{"the log, while it is written", func(w *world, s *wornStore) { s.put.Store(".log"); decide(w, 40) }, writing},
		{"the log, at the end", func(w *world, s *wornStore) {
			decide(w, 1)
			s.put.Store(".log")
			require.NoError(w.t, w.b.Close())
		}, writing},
		{"the accounts, while they are renewed", func(w *world, s *wornStore) {
			s.lists.Store(true)
			ctx, cancel := context.WithCancel(w.t.Context())
			broker.SetSleep(w.b, func(context.Context, time.Duration) error { cancel(); return ctx.Err() })
			require.ErrorIs(w.t, w.b.Run(ctx), context.Canceled)
		}, reading},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, s, log := newWornWorld(t)
			tt.do(w, s)
			broker.WaitBackground(w.b)
			require.Contains(t, log.String(), tt.says)
			require.Contains(t, log.String(), "permission denied")
		})
	}
	t.Run("nothing", func(t *testing.T) {
		w, _, log := newWornWorld(t)
		decide(w, 40)
		ctx, cancel := context.WithCancel(t.Context())
		broker.SetSleep(w.b, func(context.Context, time.Duration) error { cancel(); return ctx.Err() })
		require.ErrorIs(t, w.b.Run(ctx), context.Canceled)
		w.clock.Advance(13 * time.Hour)
		w.silent(graph, broker.WithCAE())
		broker.WaitBackground(w.b)
		require.NoError(t, w.b.Close())
		require.NotContains(t, log.String(), "failed")
	})
}

// A token that is due for a refresh is refreshed behind the caller's back: once a
// minute while that fails, or when the service says.
func TestRefreshPause(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault entratest.Fault
		pause time.Duration
	}{
		"failed":              {entratest.Fault{Kind: entratest.Status, Status: 500, Times: -1}, time.Minute},
		"for ten minutes":     {entratest.Fault{Kind: entratest.Throttle, RetryAfter: 10 * time.Minute, Times: -1}, 10 * time.Minute},
		"for thirty seconds":  {entratest.Fault{Kind: entratest.Throttle, RetryAfter: 30 * time.Second, Times: -1}, time.Minute},
		"refused for a while": {entratest.Fault{Kind: entratest.AADSTS, Code: 90033, Error: "temporarily_unavailable", Times: -1}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, log := newWornWorld(t)
			first := w.silent(graph, broker.WithCAE())
			w.clock.Advance(13 * time.Hour)
			tt.fault.Endpoint = entratest.EndpointToken
			tries := 0
			remove := w.srv.AddFault(tt.fault)
			try := func() int {
				t.Helper()
				require.Equal(t, first.AccessToken, w.silent(graph, broker.WithCAE()).AccessToken)
				broker.WaitBackground(w.b)
				before := tries
				tries = strings.Count(log.String(), "refresh of a valid token failed")
				return tries - before
			}
			due := w.clock.Now()
			require.Equal(t, 1, try(), "due")
			require.Zero(t, try(), "at once")
			w.clock.Advance(due.Add(tt.pause - time.Second).Sub(w.clock.Now())) // a retry moves the clock
			require.Zero(t, try(), "a second too early")
			w.clock.Advance(time.Second)
			require.Equal(t, 1, try(), "at its time")
			remove()
			w.clock.Advance(tt.pause)
			require.Zero(t, try(), "it works")
			require.NotEqual(t, first.AccessToken, w.silent(graph, broker.WithCAE()).AccessToken)
		})
	}
}

// A PRT that is over cannot be renewed, and the caller learns why.
func TestRenewWhatIsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	acct := w.signIn()
	w.clock.Advance(15 * 24 * time.Hour)
	w.wire.take()
	err := w.b.RenewPRT(t.Context(), acct)
	require.ErrorIs(t, err, broker.ErrPRTExpired)
	var e *broker.Error
	require.True(t, errors.As(err, &e))
	require.Equal(t, acct.HomeAccountID, e.Account.HomeAccountID)
}

// One that the service has ended is not sent again.
func TestRenewWhatWasRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	acct := w.signIn()
	require.NoError(t, w.srv.Revoke(alice))
	w.clock.Advance(time.Second)
	require.ErrorIs(t, w.b.RenewPRT(t.Context(), acct), broker.ErrPRTRevoked)
	w.wire.take()
	require.ErrorIs(t, w.b.RenewPRT(t.Context(), acct), broker.ErrPRTRevoked)
	require.Empty(t, w.wire.take())
}

// Run comes when a PRT is due, also before it would look again.
func TestRunComesInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	w.signIn()
	const left = time.Minute
	w.clock.Advance(prt.RenewAfter - left)
	ctx, cancel := context.WithCancel(t.Context())
	broker.SetSleep(w.b, func(_ context.Context, d time.Duration) error {
		require.Greater(t, d, left-time.Second)
		require.Less(t, d, left+10*time.Minute, "the spread is less")
		cancel()
		return ctx.Err()
	})
	require.ErrorIs(t, w.b.Run(ctx), context.Canceled)
}

// What an account's log still has to write is not written for an account that
// another process removed.
func TestNoLogOfARemovedAccount(t *testing.T) {
	t.Parallel()
	w, _, log := newWornWorld(t)
	acct := w.signIn()
	w.silent(graph, broker.WithForceRefresh())
	require.NoError(t, w.open().RemoveAccount(t.Context(), acct))
	all, err := w.b.Accounts(t.Context())
	require.NoError(t, err)
	require.Empty(t, all)
	require.NoError(t, w.b.Close())
	require.NotContains(t, log.String(), "failed")
	names, err := w.store.List(t.Context(), "account-")
	require.NoError(t, err)
	require.Empty(t, names)
}
