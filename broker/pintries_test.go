package broker_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/tpm"
)

// A try that was not judged takes itself off the count, and none of those that
// came meanwhile.
func TestTryThatWasNotJudged(t *testing.T) {
	t.Parallel()
	l, keys := newSteppedLaptop(t)
	l.cut()
	l.clock.Advance(time.Hour) // so that no nonce is left to sign with
	keys.at(&keys.onUnseal, func() error {
		for range 2 {
			_, err := l.b.Unlock(t.Context(), l.acct, wrongPIN)
			require.ErrorIs(t, err, broker.ErrWrongPIN)
		}
		return context.Canceled
	})
	_, err := l.b.Unlock(t.Context(), l.acct, wrongPIN)
	require.ErrorIs(t, err, context.Canceled)
	h, err := l.b.HelloStatus(t.Context(), l.acct)
	require.NoError(t, err)
	require.Equal(t, 2, h.WrongPINs)
}

// The wait after wrong PINs does not begin anew with a try that was not judged.
func TestWaitAfterATryThatWasNotJudged(t *testing.T) {
	t.Parallel()
	l, keys := newSteppedLaptop(t)
	l.cut()
	l.clock.Advance(time.Hour) // so that no nonce is left to sign with
	try := func(fails error, want error) {
		t.Helper()
		keys.at(&keys.onUnseal, func() error { return fails })
		_, err := l.b.Unlock(t.Context(), l.acct, rightPIN)
		require.ErrorIs(t, err, want)
	}
	for range 5 {
		try(tpm.ErrWrongPIN, broker.ErrWrongPIN)
	}
	try(nil, broker.ErrPINLocked)
	l.clock.Advance(time.Minute)
	try(context.Canceled, context.Canceled)
	h, err := l.b.HelloStatus(t.Context(), l.acct)
	require.NoError(t, err)
	require.Equal(t, 5, h.WrongPINs)
	require.Zero(t, h.RetryAfter)
	require.True(t, l.unlock(rightPIN).Offline)
}
