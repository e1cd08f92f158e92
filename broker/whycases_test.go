package broker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/why"
)

// A token in memory is handed out whatever became of the PRT.
func TestWhyOfATokenInMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	w.signIn()
	w.silent(open)
	require.NoError(t, w.srv.Revoke("alice"))
	_, err := w.b.AcquireTokenSilent(t.Context(), graph)
	require.ErrorIs(t, err, broker.ErrPRTRevoked)
	explained, err := w.b.Why(t.Context(), broker.WhyInput{Scopes: open})
	require.NoError(t, err)
	w.silent(open) // nobody is asked
	require.Equal(t, why.Silent, explained.Verdict, explained.Because)
}

// The clock here may be wrong: a PRT that looks expired is tried.
func TestWhyOfAnExpiredPRT(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	w.signIn()
	cfg := w.cfg
	cfg.Now = func() time.Time { return w.clock.Now().Add(15 * 24 * time.Hour) } // a clock that is wrong
	b, err := broker.New(t.Context(), cfg)
	require.NoError(t, err)
	defer b.Close()
	explained, err := b.Why(t.Context(), broker.WhyInput{Scopes: open})
	require.NoError(t, err)
	_, err = b.AcquireTokenSilent(t.Context(), open)
	require.NoError(t, err)
	require.Equal(t, why.Unknown, explained.Verdict, explained.Because)
}

// Without a registration the app's refresh token serves silently.
func TestWhyWithoutARegistration(t *testing.T) {
	t.Parallel()
	w := unboundWorld(t)
	_, err := w.b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice})
	require.NoError(t, err)
	w.silent(open)
	explained, err := w.b.Why(t.Context(), broker.WhyInput{Scopes: open})
	require.NoError(t, err)
	require.Equal(t, why.Silent, explained.Verdict, explained.Because)
	w.reopen() // and nothing is in memory
	explained, err = w.b.Why(t.Context(), broker.WhyInput{Scopes: open})
	require.NoError(t, err)
	require.Equal(t, why.Unknown, explained.Verdict, explained.Because)
	w.silent(open)
}
