package broker_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

// runOnce lets Run look at the PRTs once, and returns how long it then waits.
func (w *world) runOnce() (wait time.Duration) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	broker.SetSleep(w.b, func(ctx context.Context, d time.Duration) error {
		wait = d
		cancel()
		return context.Canceled
	})
	require.ErrorIs(w.t, w.b.Run(ctx), context.Canceled)
	broker.SetSleep(w.b, w.sleep)
	return wait
}

// The same for what the PIN opens without the service: an unlock that cannot be
// prepared, or whose tokens cannot be read or written, takes nothing else away.
func TestOfflineFailuresBesideAreLogged(t *testing.T) {
	t.Parallel()
	fromKeys := func(l *laptop, k *steppedKeys, broken bool) {
		l.cut()
		if broken {
			k.at(&k.onSeal, func() error { return errDisk })
		}
		require.True(l.t, l.unlock(rightPIN).Offline)
	}
	for _, tt := range []struct {
		name, says, broken string
		do                 func(l *laptop, k *steppedKeys, broken bool)
	}{
		{"a new key, erasing", "erasing the tokens for an offline unlock failed", "delete .offline", func(l *laptop, _ *steppedKeys, _ bool) {
			require.NoError(l.t, l.b.ResetPIN(l.t.Context(), l.acct, otherPIN))
			l.cut()
			l.clock.Advance(time.Minute)
			require.True(l.t, l.unlock(otherPIN).Offline)
		}},
		{"a new key, preparing", "preparing the offline unlock failed", "put .offline", func(l *laptop, _ *steppedKeys, _ bool) {
			require.NoError(l.t, l.b.ResetPIN(l.t.Context(), l.acct, otherPIN))
		}},
		{"a sign-in", "preparing the offline unlock failed", "put .offline", func(l *laptop, _ *steppedKeys, _ bool) {
			_, err := l.b.SignIn(l.t.Context(), broker.HelloPIN{PIN: rightPIN})
			require.NoError(l.t, err)
		}},
		{"an unlock, reading", "the tokens for an offline unlock are not readable", "get .offline", func(l *laptop, _ *steppedKeys, broken bool) {
			l.b = l.open() // the next process
			l.cut()
			require.True(l.t, l.unlock(rightPIN).Offline)
			_, err := l.b.AcquireTokenSilent(l.t.Context(), payroll)
			if broken {
				require.ErrorIs(l.t, err, broker.ErrTransient)
				return
			}
			require.NoError(l.t, err)
		}},
		{"an unlock, what is left", "what is left of the offline time could not be read", "", fromKeys},
		{"closing", "writing the tokens for an offline unlock failed", "put .offline", func(l *laptop, _ *steppedKeys, _ bool) {
			l.silent(open)
			require.NoError(l.t, l.b.Close())
		}},
		{"in the background", "writing the tokens for an offline unlock failed", "put .offline", func(l *laptop, _ *steppedKeys, _ bool) {
			l.silent(open)
			require.GreaterOrEqual(l.t, l.runOnce(), time.Minute)
		}},
	} {
		for suffix, broken := range map[string]bool{"": false, ", broken": true} {
			t.Run(tt.name+suffix, func(t *testing.T) {
				l := &laptop{tpm: tpms.Swtpm(t)}
				keys := &steppedKeys{Store: l.openTPM(t)}
				l.prepare(t, keys, aWeek)
				log, disk := &logbook{}, &brokenStore{Store: l.store}
				l.cfg.Logger, l.cfg.Store = slog.New(log), disk
				l.reopen()
				l.unlock(rightPIN)
				l.silent(payroll)
				fault := map[bool]string{true: tt.broken}[broken]
				messages := disk.failing(fault, log, func() { tt.do(l, keys, broken) })
				require.Equal(t, broken, slices.Contains(messages, tt.says), messages)
			})
		}
	}
}
