package tpm_test

import (
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// A limitation that Limit, doc.go and SECURITY.md own up to: a policy session
// that was satisfied in time is good after it, until the TPM is reset. It needs
// no PIN to be prepared, and its tries count.
func TestPreparedSessionOutlastsTheLimit(t *testing.T) {
	// try seals for a day, prepares, lets time pass and tries a wrong PIN and
	// the right one.
	try := func(t *testing.T, e *tpmtest.Emulator, passes func()) ([]error, error) {
		s, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
		require.NoError(t, err)
		sealed := sealPIN(t, s, tpm.Limit{Time: day})
		require.NoError(t, s.Close())
		said, err := tpm.TryPrepared(t.Context(), e.Opener(), sealed, aad, func() {
			require.NoError(t, e.AdvanceClock(300*day))
			passes()
		}, wrongPIN, rightPIN)
		require.ErrorIs(t, refuses(t, open(t, e.Opener(), tpm.Config{}), sealed, aad, rightPIN), tpm.ErrExpired)
		return said, err
	}
	opens := func(t *testing.T, e *tpmtest.Emulator, passes func()) {
		said, err := try(t, e, passes)
		require.NoError(t, err)
		require.ErrorIs(t, said[0], tpm2.TPMRCAuthFail)
		require.NoError(t, said[1])
		require.EqualValues(t, 1, tries(t, e))
	}
	t.Run("time", func(t *testing.T) {
		onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) { opens(t, e, func() {}) })
	})
	t.Run("sleep", func(t *testing.T) {
		e := tpms.Swtpm(t) // the simulator cannot restart
		opens(t, e, func() {
			_, err := tpm2.Shutdown{ShutdownType: tpm2.TPMSUState}.Execute(e)
			require.NoError(t, err)
			require.NoError(t, e.Reset())
		})
	})
	t.Run("reset", func(t *testing.T) {
		onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
			_, err := try(t, e, func() { require.NoError(t, e.Reset()) })
			require.ErrorIs(t, err, tpm.ErrNoTPM, "it ends with a reset")
		})
	})
}

// A limitation as well: a power loss sets the clock back, so that Time without
// Resets is no bound for who has the plug in hand.
func TestPullingThePlugStopsTheClock(t *testing.T) {
	e := tpms.Swtpm(t) // the simulator only shuts down in order
	s := open(t, e.Opener(), tpm.Config{})
	limit := tpm.Limit{Time: 2 * time.Second, Resets: -1, Restarts: -1}
	sealedAt := clock(t, e)
	sealed := sealPIN(t, s, limit)
	for range 4 {
		time.Sleep(limit.Time / 3)
		require.NoError(t, e.Reset())
	}
	for { // until the power was back for less than the limit
		opened, err := s.UnsealPIN(t.Context(), sealed, aad, rightPIN)
		if clock(t, e) < sealedAt+limit.Time {
			require.NoError(t, err)
			require.Equal(t, plaintext, opened)
			return
		}
		require.NoError(t, e.Reset())
	}
}

// clock returns how long the TPM's clock has run.
func clock(t testing.TB, e *tpmtest.Emulator) time.Duration {
	t.Helper()
	now, err := tpm2.ReadClock{}.Execute(e)
	require.NoError(t, err)
	return time.Duration(now.CurrentTime.ClockInfo.Clock) * time.Millisecond
}
