package tpm_test

import (
	"bytes"
	"encoding/binary"
	"math"
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

// A bound that stands alone is counted from the TPM's time of sealing, and the
// first millisecond that is over is the bound itself.
func TestOneBound(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		require.NoError(t, e.Reset())
		require.NoError(t, e.AdvanceClock(day))
		f := tpmtest.NewFaulty(e.Opener())
		s := open(t, f.Opener(), tpm.Config{})
		for name, l := range map[string]tpm.Limit{
			"time":     {Time: 23 * time.Hour, Resets: -1, Restarts: -1},
			"resets":   {Resets: 0, Restarts: -1},
			"restarts": {Resets: -1, Restarts: 0},
		} {
			left := opens(t, s, sealPIN(t, s, l))
			require.Equal(t, l.Resets, left.Resets, name)
			require.Equal(t, l.Restarts, left.Restarts, name)
			require.Equal(t, l.Time > 0, left.Time > 0, name)
		}
		sealed := sealPIN(t, s, tpm.Limit{Time: day, Resets: -1, Restarts: -1})
		bound, _, _ := tpm.BoundsOf(sealed)
		at := func(clock uint64) (tpm.Limit, error) {
			f.Inject(tpmtest.Fault{On: readClock, Tamper: clockAt(clock)})
			return s.Left(t.Context(), sealed, aad)
		}
		left, err := at(bound - 1)
		require.NoError(t, err)
		require.Equal(t, time.Millisecond, left.Time)
		_, err = at(bound)
		require.ErrorIs(t, err, tpm.ErrExpired)
		const centuries = time.Duration(math.MaxInt64)
		left = opens(t, s, sealPIN(t, s, tpm.Limit{Time: centuries, Resets: math.MaxInt, Restarts: math.MaxInt}))
		require.Greater(t, left.Time, centuries-day)
		require.Equal(t, -1, left.Resets, "more than the TPM counts is no bound")
		require.Equal(t, -1, left.Restarts)
	})
}

// Only a whole TPMS_ATTEST of the time has the clock (Part 2, 10.12.12).
func TestAttestedClock(t *testing.T) {
	attest := func(magic uint32, kind tpm2.TPMST) []byte {
		b := binary.BigEndian.AppendUint32(nil, magic)
		b = binary.BigEndian.AppendUint16(b, uint16(kind))
		b = sized(sized(b, name(nil)), nil)
		b = append(b, make([]byte, 17+8+8)...) // clock info, firmware version, time
		b = binary.BigEndian.AppendUint64(b, 1<<32|5)
		b = binary.BigEndian.AppendUint32(b, 6)
		b = binary.BigEndian.AppendUint32(b, 7)
		return append(b, make([]byte, 1+8)...) // safe, firmware version
	}
	good := attest(0xff544347, tpm2.TPMSTAttestTime)
	now, err := tpm.AttestedClock(good)
	require.NoError(t, err)
	require.Equal(t, tpm2.TPMSClockInfo{Clock: 1<<32 | 5, ResetCount: 6, RestartCount: 7}, now)
	bad := [][]byte{append(bytes.Clone(good), 0), attest(0x00544347, tpm2.TPMSTAttestTime), attest(0xff544347, tpm2.TPMSTAttestCertify)}
	for n := range good {
		bad = append(bad, good[:n])
	}
	for _, b := range bad {
		_, err := tpm.AttestedClock(b)
		require.ErrorContains(t, err, "not an attestation of the time")
	}
}

// clock returns how long the TPM's clock has run.
func clock(t testing.TB, e *tpmtest.Emulator) time.Duration {
	t.Helper()
	now, err := tpm2.ReadClock{}.Execute(e)
	require.NoError(t, err)
	return time.Duration(now.CurrentTime.ClockInfo.Clock) * time.Millisecond
}
