package tpm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

const day = 24 * time.Hour

var (
	threeDays = tpm.Limit{Time: 3 * day, Resets: 2}
	forever   = tpm.Limit{Resets: -1, Restarts: -1}
)

func sealPIN(t testing.TB, s *tpm.TPM, l tpm.Limit) []byte {
	t.Helper()
	sealed, err := s.SealPIN(t.Context(), plaintext, aad, rightPIN, l)
	require.NoError(t, err)
	return sealed
}

// opens unseals with the right PIN and returns what is left.
func opens(t testing.TB, s *tpm.TPM, sealed []byte) tpm.Limit {
	t.Helper()
	got, err := s.UnsealPIN(t.Context(), sealed, aad, rightPIN)
	require.NoError(t, err)
	require.Equal(t, plaintext, got)
	left, err := s.Left(t.Context(), sealed, aad)
	require.NoError(t, err)
	return left
}

// refuses unseals and returns the error; nothing may come with it.
func refuses(t testing.TB, s *tpm.TPM, sealed, aad, pin []byte) error {
	t.Helper()
	got, err := s.UnsealPIN(t.Context(), sealed, aad, pin)
	require.ErrorContains(t, err, "tpm: unsealing with a PIN: ")
	require.Empty(t, got)
	return err
}

// tries returns how many wrong PINs the TPM has counted.
func tries(t testing.TB, e *tpmtest.Emulator) uint32 {
	t.Helper()
	return property(t, e, tpm2.TPMPTLockoutCounter)
}

func property(t testing.TB, c transport.TPM, p tpm2.TPMPT) uint32 {
	t.Helper()
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapTPMProperties, Property: uint32(p), PropertyCount: 1}.Execute(c)
	require.NoError(t, err)
	list, err := rsp.CapabilityData.Data.TPMProperties()
	require.NoError(t, err)
	return list.TPMProperty[0].Value
}

func TestPINSeal(t *testing.T) {
	_, ok := any(&softkeys.Store{}).(tpm.PINSealer)
	require.False(t, ok, "software counts nothing")
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s := open(t, e.Opener(), tpm.Config{})
		for _, data := range [][]byte{{0}, plaintext, bytes.Repeat([]byte{7}, tpm.MaxSeal)} {
			for name, l := range map[string]tpm.Limit{"all": {Time: time.Hour, Resets: 1, Restarts: 1}, "time": {Time: time.Millisecond * 1e6, Resets: -1, Restarts: -1}, "none": forever} {
				sealed, err := s.SealPIN(t.Context(), data, nil, rightPIN, l)
				require.NoError(t, err, name)
				got, err := s.UnsealPIN(t.Context(), sealed, []byte{}, rightPIN)
				require.NoError(t, err, name)
				require.Equal(t, data, got)
			}
		}
		for says, seal := range map[string]func() ([]byte, error){
			": 0 bytes; it takes 1 to 128":   func() ([]byte, error) { return s.SealPIN(t.Context(), nil, aad, rightPIN, forever) },
			": 129 bytes; it takes 1 to 128": func() ([]byte, error) { return s.SealPIN(t.Context(), make([]byte, 129), aad, rightPIN, forever) },
			"the PIN is empty":               func() ([]byte, error) { return s.SealPIN(t.Context(), plaintext, aad, nil, forever) },
			"negative time":                  func() ([]byte, error) { return s.SealPIN(t.Context(), plaintext, aad, rightPIN, tpm.Limit{Time: -1}) },
		} {
			_, err := seal()
			require.ErrorContains(t, err, says)
		}
		require.Equal(t, tpm2.TPMAObject{FixedTPM: true, FixedParent: true}, tpm.PINSealedArea(sealPIN(t, s, forever)).ObjectAttributes,
			"no use without the policy, and wrong PINs count")
		require.Zero(t, tries(t, e))
	})
}

// Three wrong PINs lock these TPMs, whether they unseal or change the PIN.
func TestPINSealLockout(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s := open(t, e.Opener(), tpm.Config{})
		sealed := sealPIN(t, s, threeDays)
		wrong := []func() error{
			func() error { return refuses(t, s, sealed, aad, wrongPIN) },
			func() error {
				_, err := s.ChangeSealPIN(t.Context(), sealed, aad, wrongPIN, rightPIN)
				return err
			},
			func() error { return refuses(t, s, sealed, aad, wrongPIN) },
		}
		require.ErrorIs(t, refuses(t, s, sealed, aad, nil), tpm.ErrWrongPIN, "none given costs no try")
		for i, try := range wrong {
			err := try()
			require.ErrorIs(t, err, tpm.ErrWrongPIN)
			var e *tpm.WrongPINError
			require.True(t, errors.As(err, &e))
			require.Equal(t, 2-i, e.TriesLeft)
			if i == 0 {
				opens(t, s, sealed)
			}
		}
		err := refuses(t, s, sealed, aad, rightPIN)
		require.ErrorIs(t, err, tpm.ErrLockedOut)
		var locked *tpm.LockedOutError
		require.True(t, errors.As(err, &locked))
		require.Equal(t, 1000*time.Second, locked.RetryAfter)
		_, err = s.ChangeSealPIN(t.Context(), sealed, aad, rightPIN, wrongPIN)
		require.ErrorIs(t, err, tpm.ErrLockedOut)
	})
}

// The deadline is the TPM's: with the right PIN, without a try counted, and
// whatever the clock is said to be.
func TestPINSealExpires(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		f := tpmtest.NewFaulty(e.Opener())
		s := open(t, f.Opener(), tpm.Config{})
		sealed := sealPIN(t, s, threeDays)
		left := opens(t, s, sealed)
		require.LessOrEqual(t, left.Time, 3*day)
		require.Greater(t, left.Time, 3*day-time.Minute)
		require.NoError(t, e.AdvanceClock(2*day))
		left = opens(t, s, sealed)
		require.LessOrEqual(t, left.Time, day)
		require.Equal(t, 2, left.Resets)
		require.Zero(t, left.Restarts)

		require.NoError(t, e.AdvanceClock(day))
		for range 5 { // more than there are tries
			require.ErrorIs(t, refuses(t, s, sealed, aad, rightPIN), tpm.ErrExpired)
			require.ErrorIs(t, refuses(t, s, sealed, aad, wrongPIN), tpm.ErrExpired)
			_, err := s.ChangeSealPIN(t.Context(), sealed, aad, rightPIN, wrongPIN)
			require.ErrorIs(t, err, tpm.ErrExpired)
		}
		_, err := s.Left(t.Context(), sealed, aad)
		require.ErrorIs(t, err, tpm.ErrExpired)
		// Who alters the bus says that it is the year it was made.
		f.Inject(tpmtest.Fault{On: readClock, Tamper: clockAt(1), Times: -1})
		left, err = s.Left(t.Context(), sealed, aad)
		require.NoError(t, err, "it is for showing")
		require.Positive(t, left.Time)
		for range 5 {
			err := refuses(t, s, sealed, aad, rightPIN)
			require.ErrorIs(t, err, tpm.ErrExpired)
			require.ErrorContains(t, err, "according to the TPM")
		}
		f.Clear()
		require.Zero(t, tries(t, e))
		opens(t, s, sealPIN(t, s, threeDays))
	})
}

// clockAt makes a response to TPM2_ReadClock say another clock.
func clockAt(ms uint64) func([]byte) []byte {
	return func(rsp []byte) []byte {
		rsp = bytes.Clone(rsp)
		binary.BigEndian.PutUint64(rsp[18:], ms)
		return rsp
	}
}

func TestPINSealResets(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s := open(t, e.Opener(), tpm.Config{})
		none, one, any := sealPIN(t, s, tpm.Limit{}), sealPIN(t, s, tpm.Limit{Time: day, Resets: 1}), sealPIN(t, s, forever)
		require.Equal(t, tpm.Limit{}, opens(t, s, none))
		require.Equal(t, 1, opens(t, s, one).Resets)
		require.Equal(t, forever, opens(t, s, any))

		// For swtpm this is a power loss, which sets the clock back.
		require.NoError(t, e.Reset())
		require.ErrorIs(t, refuses(t, s, none, aad, rightPIN), tpm.ErrExpired)
		require.Zero(t, opens(t, s, one).Resets)
		opens(t, s, any)
		before := tries(t, e)
		require.NoError(t, e.Reset())
		lost := tries(t, e) - before // by the power loss itself
		for range 4 {
			require.ErrorIs(t, refuses(t, s, one, aad, wrongPIN), tpm.ErrExpired)
		}
		require.Equal(t, before+lost, tries(t, e))
	})
}

// Sleep and hibernation are no reset to the TPM. Whoever may send commands can
// announce one before each power loss, so that they have a bound of their own.
func TestPINSealRestarts(t *testing.T) {
	e := tpms.Swtpm(t) // the simulator cannot restart
	sleep := func() {
		_, err := tpm2.Shutdown{ShutdownType: tpm2.TPMSUState}.Execute(e)
		require.NoError(t, err)
		require.NoError(t, e.Reset())
	}
	s := open(t, e.Opener(), tpm.Config{})
	none, two := sealPIN(t, s, tpm.Limit{Resets: 5}), sealPIN(t, s, tpm.Limit{Resets: 5, Restarts: 2})
	opens(t, s, none)
	sleep()
	require.ErrorIs(t, refuses(t, s, none, aad, rightPIN), tpm.ErrExpired)
	require.Equal(t, tpm.Limit{Resets: 5, Restarts: 1}, opens(t, s, two))
	sleep()
	require.Equal(t, tpm.Limit{Resets: 5}, opens(t, s, two))
	sleep()
	require.ErrorIs(t, refuses(t, s, two, aad, rightPIN), tpm.ErrExpired)
	require.NoError(t, e.Reset())
	require.Equal(t, tpm.Limit{Resets: 4, Restarts: 2}, opens(t, s, two), "a reset counts from zero")
}

// What the TPM enforces: no demand can be left out, the auth value alone opens
// nothing, and a policy that does not fit the object does not load.
func TestPINSealPolicy(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s := open(t, e.Opener(), tpm.Config{})
		sealed := sealPIN(t, s, tpm.Limit{Time: day, Resets: 1, Restarts: 1})
		require.NoError(t, s.UnsealWithout(t.Context(), sealed, aad, rightPIN, 4), "the control")
		for n := range 4 {
			require.ErrorIs(t, s.UnsealWithout(t.Context(), sealed, aad, rightPIN, n), tpm2.TPMRCPolicyFail, "%d demands", n)
		}
		require.ErrorIs(t, s.UnsealWithout(t.Context(), sealed, aad, rightPIN, -1), tpm2.TPMRCAuthUnavailable)
		require.ErrorIs(t, refuses(t, s, tpm.Prolonged(sealed, aad), aad, rightPIN), tpm.ErrInvalidBlob)
		require.NoError(t, e.AdvanceClock(day))
		require.ErrorIs(t, s.UnsealWithout(t.Context(), sealed, aad, rightPIN, 4), tpm.ErrExpired)
		require.ErrorIs(t, refuses(t, s, tpm.Prolonged(sealed, aad), aad, rightPIN), tpm.ErrInvalidBlob)
		require.Zero(t, tries(t, e))
	})
}

// Another record is refused before the PIN is tried.
func TestPINSealOtherAAD(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		count := tpmtest.NewCounting(e.Opener())
		s := open(t, count.Opener(), tpm.Config{})
		sealed := sealPIN(t, s, threeDays)
		count.Take()
		for _, other := range [][]byte{nil, aad[:len(aad)-1], append(bytes.Clone(aad), 0), bytes.ToUpper(aad)} {
			require.ErrorIs(t, refuses(t, s, sealed, other, rightPIN), tpm.ErrInvalidBlob)
			_, err := s.ChangeSealPIN(t.Context(), sealed, other, rightPIN, wrongPIN)
			require.ErrorIs(t, err, tpm.ErrInvalidBlob)
		}
		require.Empty(t, count.Take())
		require.Zero(t, tries(t, e))
	})
}

// Whatever is changed in a blob is refused, and nothing of it costs a try.
func TestPINSealChangedAtEveryByte(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s := open(t, e.Opener(), tpm.Config{})
		for name, sealed := range map[string][]byte{"bounded": sealPIN(t, s, threeDays), "unbounded": sealPIN(t, s, forever)} {
			for n := range sealed {
				require.ErrorIs(t, refuses(t, s, sealed[:n:n], aad, rightPIN), tpm.ErrInvalidBlob, "%s, %d bytes", name, n)
				for _, bit := range []byte{0x01, 0x80} {
					changed := bytes.Clone(sealed)
					changed[n] ^= bit
					err := refuses(t, s, changed, aad, rightPIN)
					if !errors.Is(err, tpm.ErrWrongStore) {
						require.ErrorIs(t, err, tpm.ErrInvalidBlob, "%s, byte %d", name, n)
					}
					require.NotErrorIs(t, err, tpm.ErrKeyUnusable, "%s, byte %d", name, n)
				}
			}
			require.ErrorIs(t, refuses(t, s, append(bytes.Clone(sealed), 0), aad, rightPIN), tpm.ErrInvalidBlob)
			opens(t, s, sealed)
		}
		key, session, plain := tpmtest.Samples()
		for _, blob := range [][]byte{key, session, plain} {
			require.ErrorIs(t, refuses(t, s, blob, aad, rightPIN), tpm.ErrInvalidBlob)
		}
		_, err := s.Unseal(t.Context(), sealPIN(t, s, forever), aad)
		require.ErrorIs(t, err, tpm.ErrInvalidBlob)
		require.Zero(t, tries(t, e))
	})
}

func TestChangeSealPIN(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s := open(t, e.Opener(), tpm.Config{KeyAuth: []byte("of the app")})
		sealed := sealPIN(t, s, threeDays)
		require.NoError(t, e.AdvanceClock(day))
		next := []byte("161803")
		_, err := s.ChangeSealPIN(t.Context(), sealed, aad, rightPIN, nil)
		require.ErrorContains(t, err, "the PIN is empty")
		_, err = s.ChangeSealPIN(t.Context(), sealed, aad, nil, next)
		require.ErrorIs(t, err, tpm.ErrWrongPIN)
		changed, err := s.ChangeSealPIN(t.Context(), sealed, aad, rightPIN, next)
		require.NoError(t, err)
		require.NotEqual(t, sealed, changed)

		got, err := s.UnsealPIN(t.Context(), changed, aad, next)
		require.NoError(t, err)
		left, err := s.Left(t.Context(), changed, aad)
		require.NoError(t, err)
		require.Equal(t, plaintext, got)
		require.LessOrEqual(t, left.Time, 2*day, "it is not prolonged")
		require.Equal(t, 2, left.Resets)
		require.ErrorIs(t, refuses(t, s, changed, aad, rightPIN), tpm.ErrWrongPIN)
		opens(t, s, sealed)

		require.NoError(t, e.AdvanceClock(2*day))
		require.ErrorIs(t, refuses(t, s, changed, aad, next), tpm.ErrExpired)
		require.ErrorIs(t, refuses(t, s, sealed, aad, rightPIN), tpm.ErrExpired)
		require.EqualValues(t, 1, tries(t, e))
	})
}

// Another auth value of the app is as good as a wrong PIN.
func TestPINSealKeyAuth(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		first, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{KeyAuth: []byte("of the app")})
		require.NoError(t, err)
		sealed := sealPIN(t, first, threeDays)
		opens(t, first, sealed)
		require.NoError(t, first.Close())
		s := open(t, e.Opener(), tpm.Config{})
		require.ErrorIs(t, refuses(t, s, sealed, aad, rightPIN), tpm.ErrWrongPIN)
	})
}
