package broker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/why"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// Lock puts PRTs and tokens where only the PIN opens them.
func TestLock(t *testing.T) {
	t.Parallel()
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		l := newLaptop(t, e, aWeek)
		l.signIn() // a PRT of the password too
		l.silent(payroll)
		require.Len(t, l.status(l.acct).Others, 2)
		renewed := l.status(l.acct).RenewedOn
		other := l.open() // another process
		require.NoError(t, l.b.Lock(t.Context(), l.acct))
		require.NoError(t, l.b.Lock(t.Context(), l.acct), "twice is once")

		locked := func(b *broker.Broker) {
			t.Helper()
			_, err := b.AcquireTokenSilent(t.Context(), payroll)
			require.ErrorIs(t, err, broker.ErrLocked)
			require.ErrorIs(t, err, broker.ErrInteractionRequired)
			_, err = b.SSOCookies(t.Context(), "https://login.microsoftonline.com/")
			require.ErrorIs(t, err, broker.ErrLocked)
			s, err := b.PRTStatus(t.Context(), l.acct)
			require.NoError(t, err)
			require.Equal(t, broker.PRTNone, s.State)
			h, err := b.HelloStatus(t.Context(), l.acct)
			require.NoError(t, err)
			require.True(t, h.Locked)
			explained, err := b.Why(t.Context(), broker.WhyInput{Scopes: payroll})
			require.NoError(t, err)
			require.Equal(t, why.Asked, explained.Verdict)
			require.Contains(t, explained.Because, "its PIN opens it")
		}
		locked(l.b)
		locked(other)
		require.NoError(t, other.Close())
		l.restart(e.Reset)
		l.cut()
		locked(l.b)
		_, err := l.b.Unlock(t.Context(), l.acct, wrongPIN)
		require.ErrorIs(t, err, broker.ErrWrongPIN)
		locked(l.b)

		require.True(t, l.unlock(rightPIN).Offline)
		require.Equal(t, broker.SourceCache, l.silent(payroll).Metadata.Source)
		require.Len(t, l.status(l.acct).Others, 2)
		require.Equal(t, renewed, l.status(l.acct).RenewedOn, "as they were")
		l.connect()
		l.clock.Advance(time.Hour)
		l.silent(ledger)

		// With a network the PIN brings a new PRT and the others back.
		require.NoError(t, l.b.Lock(t.Context(), l.acct))
		require.False(t, l.unlock(rightPIN).Offline)
		require.Len(t, l.status(l.acct).Others, 2)

		// The interactive call of a locked account asks for the PIN.
		require.NoError(t, l.b.Lock(t.Context(), l.acct))
		l.person.pin = rightPIN
		prompts := l.person.prompts()
		_, err = l.b.AcquireTokenInteractive(t.Context(), payroll)
		require.NoError(t, err)
		require.Equal(t, prompts, l.person.prompts())
		require.EqualValues(t, 1, l.person.pins.Load())
	})
}

// Lock changes nothing where nothing could be opened again.
func TestLockNeedsAPIN(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, tpms.Swtpm(t), aWeek)
	l.restart(nil)
	require.ErrorIs(t, l.b.Lock(t.Context(), l.acct), errors.ErrUnsupported, "no PIN was given to this process")
	l.silent(payroll)

	w := newWorld(t)
	softwareHello(w)
	w.join()
	acct := w.hello()
	require.ErrorIs(t, w.b.Lock(t.Context(), acct), errors.ErrUnsupported, "software measures no time")
	w.silent(payroll)
}

// A lock that is killed at any point loses no PRT: it is in the state or
// behind the PIN.
func TestLockKilledAnywhere(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, tpms.Swtpm(t), aWeek)
	l.signIn()
	good := l.cfg
	for point := 0; ; point += everyPoint() {
		k := &killer{left: 1 << 20}
		l.cfg.Store = &mortalStore{good.Store, k}
		b := l.open()
		_, err := b.Unlock(t.Context(), l.acct, rightPIN)
		require.NoError(t, err)
		k.set(point)
		err = b.Lock(t.Context(), l.acct)
		_ = b.Close()
		l.cfg = good
		require.NoError(t, l.b.Close())
		l.b = l.open()
		l.unlock(rightPIN)
		require.Len(t, l.status(l.acct).Others, 2, "point %d", point)
		if err == nil {
			require.Greater(t, point, 2, "the points were really there")
			return
		}
		require.ErrorIs(t, err, errKilled)
	}
}
