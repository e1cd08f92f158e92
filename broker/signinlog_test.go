package broker_test

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

// A store whose write lock somebody else holds withholds no token, however many
// are asked for, and does not keep Close from coming to its end. What could not
// be written is there when it can be.
func TestBlockedStore(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	w := newWorld(t, func(w *world, _ *entratestOptions) { w.store = fileStore(t, dir) })
	w.join()
	acct := w.signIn()
	require.NoError(t, w.b.RenewPRT(t.Context(), acct)) // its proof is a write, too

	elsewhere := flock.New(filepath.Join(dir, ".write.lock"))
	require.NoError(t, elsewhere.Lock())
	defer elsewhere.Close()
	for range 40 {
		w.silent(graph, broker.WithForceRefresh())
	}
	require.NoError(t, elsewhere.Unlock())
	w.silent(graph, broker.WithForceRefresh())
	log, err := w.b.SignInLog(t.Context(), acct)
	require.NoError(t, err)
	require.Len(t, log, 41)

	require.NoError(t, elsewhere.Lock())
	w.silent(graph, broker.WithForceRefresh())
	closed := make(chan error, 1)
	go func() { closed <- w.b.Close() }()
	select {
	case err := <-closed:
		require.NoError(t, err)
	case <-time.After(time.Minute):
		t.Fatal("Close waits for the store")
	}
	require.NoError(t, elsewhere.Unlock())
	w.b = w.open()
	log, err = w.b.SignInLog(t.Context(), acct)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(log), 32, "what was written before")
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
