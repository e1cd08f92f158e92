package broker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

// What is done to a Hello key is done as a whole or not at all, wherever the
// process is killed: before each write, before each request, and after each
// request before its reply is seen.
func TestHelloKilledAnywhere(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		locked bool // before
		do     func(l *laptop, b *broker.Broker) error
		// check is told whether do came to its end.
		check func(l *laptop, done bool)
	}{
		{"change of the PIN", true, func(l *laptop, b *broker.Broker) error {
			return b.ChangePIN(l.t.Context(), l.acct, rightPIN, otherPIN)
		}, func(l *laptop, done bool) {
			l.cut()
			pin := l.onlyPIN(done)
			require.Len(l.t, l.status(l.acct).Others, 2)
			l.connect()
			l.clock.Advance(time.Hour)
			require.False(l.t, l.unlock(pin).Offline, "the key has the same PIN")
		}},
		{"reset of the PIN", false, func(l *laptop, b *broker.Broker) error {
			return b.ResetPIN(l.t.Context(), l.acct, otherPIN)
		}, func(l *laptop, done bool) {
			if s, err := l.b.HelloStatus(l.t.Context(), l.acct); err == nil && s.Unfinished { // the user tries again
				require.NoError(l.t, l.b.ResetPIN(l.t.Context(), l.acct, otherPIN))
				done = true
			}
			l.onlyPIN(done)
			s, err := l.b.HelloStatus(l.t.Context(), l.acct)
			require.NoError(l.t, err)
			require.Equal(l.t, []string{s.KeyID}, l.helloKeys(alice), "an orphan")
		}},
		{"removal", false, func(l *laptop, b *broker.Broker) error { return b.RemoveHello(l.t.Context(), l.acct) }, func(l *laptop, done bool) {
			s, err := l.b.HelloStatus(l.t.Context(), l.acct)
			require.NoError(l.t, err)
			if s.Set {
				require.NoError(l.t, l.b.RemoveHello(l.t.Context(), l.acct))
			}
			require.Empty(l.t, l.helloKeys(alice), "an orphan")
			_, err = l.b.Unlock(l.t.Context(), l.acct, rightPIN)
			require.ErrorIs(l.t, err, broker.ErrNoHello)
			l.silent(ledger)
		}},
		{"unlock", true, func(l *laptop, b *broker.Broker) error {
			_, err := b.Unlock(l.t.Context(), l.acct, rightPIN)
			return err
		}, func(l *laptop, done bool) {
			l.cut()
			require.True(l.t, l.unlock(rightPIN).Offline)
			require.Len(l.t, l.status(l.acct).Others, 2)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for point := 0; ; point += everyPoint() {
				l, _ := newSteppedLaptop(t)
				good := l.cfg
				if tt.locked {
					require.NoError(t, l.b.Lock(t.Context(), l.acct))
				}
				require.NoError(t, l.b.Close())
				k := &killer{left: 1 << 20}
				l.cfg.Store = &mortalStore{good.Store, k}
				b := l.open()
				k.set(point)
				l.wire.set(k.request, k.request)
				err := tt.do(l, b)
				_ = b.Close()
				l.connect()
				l.cfg = good
				l.b = l.open()
				tt.check(l, err == nil)
				if err == nil {
					require.Greater(t, point, 2, "the points were really there")
					return
				}
			}
		})
	}
}

// onlyPIN returns the PIN that opens the account, old or new, and holds that
// the other one does not.
func (l *laptop) onlyPIN(changed bool) broker.PIN {
	l.t.Helper()
	_, err := l.b.Unlock(l.t.Context(), l.acct, rightPIN)
	if err == nil {
		require.False(l.t, changed)
		_, err = l.b.Unlock(l.t.Context(), l.acct, otherPIN)
		require.ErrorIs(l.t, err, broker.ErrWrongPIN)
		return rightPIN
	}
	require.ErrorIs(l.t, err, broker.ErrWrongPIN)
	l.unlock(otherPIN)
	return otherPIN
}
