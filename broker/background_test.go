package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/prt"
)

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
	log := &lockedBuffer{}
	w := newWorld(t)
	w.cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	w.b = w.open()
	w.join()
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
