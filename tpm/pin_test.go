package tpm_test

import (
	"bytes"
	"crypto"
	"errors"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

var (
	rightPIN = []byte("271828")
	wrongPIN = []byte("314159")
)

func signWith(t testing.TB, s *tpm.TPM, blob, pin []byte) error {
	t.Helper()
	k, err := s.OpenKey(t.Context(), blob, tpm.WithPIN(pin))
	require.NoError(t, err)
	_, err = k.(tpm.Signer).SignContext(t.Context(), make([]byte, 32), crypto.SHA256)
	return err
}

// Three wrong PINs lock these TPMs: the right one is then refused as well,
// with the time left, and keys without a PIN are not touched.
func TestLockout(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s := open(t, e.Opener(), tpm.Config{})
		m := newMaterial(t, s)
		k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: rightPIN})
		require.NoError(t, err)
		require.NoError(t, signWith(t, s, k.Blob(), rightPIN))
		for left := 2; left >= 0; left-- {
			err := signWith(t, s, k.Blob(), wrongPIN)
			require.ErrorIs(t, err, tpm.ErrWrongPIN)
			var wrong *tpm.WrongPINError
			require.True(t, errors.As(err, &wrong))
			require.Equal(t, left, wrong.TriesLeft)
		}
		for _, pin := range [][]byte{wrongPIN, rightPIN} {
			err := signWith(t, s, k.Blob(), pin)
			require.ErrorIs(t, err, tpm.ErrLockedOut)
			var locked *tpm.LockedOutError
			require.True(t, errors.As(err, &locked))
			require.Equal(t, 1000*time.Second, locked.RetryAfter)
		}
		m.all(t)
	})
}

// A PIN is changed by who knows it: wrong ones count as in signing.
func TestChangePINLockout(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s := open(t, e.Opener(), tpm.Config{})
		k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: rightPIN})
		require.NoError(t, err)
		changing := func(pin []byte) error {
			again, err := s.OpenKey(t.Context(), k.Blob(), tpm.WithPIN(pin))
			require.NoError(t, err)
			_, err = again.(tpm.PINKey).ChangePIN(t.Context(), []byte("161803"))
			require.Equal(t, err != nil, bytes.Equal(k.Blob(), again.Blob()), "an error changes nothing")
			return err
		}
		require.NoError(t, changing(rightPIN))
		for left := 2; left >= 0; left-- {
			err := changing(wrongPIN)
			require.ErrorIs(t, err, tpm.ErrWrongPIN)
			var wrong *tpm.WrongPINError
			require.True(t, errors.As(err, &wrong))
			require.Equal(t, left, wrong.TriesLeft)
		}
		require.ErrorIs(t, changing(rightPIN), tpm.ErrLockedOut)
	})
}

// What doc.go owns up to: nothing ties the salt to the blob of a key, so that a
// damaged one makes the right PIN a wrong one, which counts. Of sealed data it
// costs nothing: TestPINSealChangedAtEveryByte.
func TestDamagedSaltOfAKeyIsAWrongPIN(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s := open(t, e.Opener(), tpm.Config{})
		k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: rightPIN})
		require.NoError(t, err)
		blob := k.Blob()
		blob[len(blob)-1] ^= 1
		require.ErrorIs(t, signWith(t, s, blob, rightPIN), tpm.ErrWrongPIN)
		require.EqualValues(t, 1, tries(t, e))
		require.NoError(t, signWith(t, s, k.Blob(), rightPIN))
	})
}

// The old PIN opens the old blob on the TPM that made it, and nowhere else.
func TestChangedPINStaysOnItsTPM(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
		require.NoError(t, err)
		k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: rightPIN})
		require.NoError(t, err)
		old := k.Blob()
		blob, err := k.(tpm.PINKey).ChangePIN(t.Context(), wrongPIN)
		require.NoError(t, err)
		a, err := s.Attest(t.Context(), k, nonce)
		require.NoError(t, err, "it can be attested still")
		_, err = tpm.VerifyAttestation(a, tpm.Verification{Nonce: nonce, AKName: a.AKName()})
		require.NoError(t, err)
		require.NoError(t, s.Close())
		require.NoError(t, e.Wipe())
		other := open(t, e.Opener(), tpm.Config{})
		for _, b := range [][]byte{old, blob} {
			_, err := other.OpenKey(t.Context(), b)
			require.ErrorIs(t, err, tpm.ErrTPMChanged)
		}
	})
}

func lockoutCounter(t testing.TB, o tpm.Opener) uint32 {
	t.Helper()
	var n uint32
	raw(t, o, func(c transport.TPM) { n = property(t, c, tpm2.TPMPTLockoutCounter) })
	return n
}

// A power loss after a key with dictionary-attack protection was used counts
// as a wrong try. Hence only the PIN key has it.
func TestPowerLossDoesNotCount(t *testing.T) {
	e := tpms.Swtpm(t) // the simulator only shuts down in order
	use := func(s *tpm.TPM, run func(s *tpm.TPM)) uint32 {
		run(s)
		require.NoError(t, s.Close())
		require.NoError(t, e.Reset())
		return lockoutCounter(t, e.Opener())
	}
	store := func() *tpm.TPM {
		s, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
		require.NoError(t, err)
		return s
	}
	require.Zero(t, use(store(), func(s *tpm.TPM) { newMaterial(t, s).all(t) }))
	require.EqualValues(t, 1, use(store(), func(s *tpm.TPM) {
		k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: rightPIN})
		require.NoError(t, err)
		require.NoError(t, signWith(t, s, k.Blob(), rightPIN))
	}), "the control")
}

// Attributes of all keys, as the TPM made them.
func TestKeyAttributes(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s := open(t, e.Opener(), tpm.Config{})
		tests := map[string]struct {
			spec tpm.KeySpec
			want tpm2.TPMAObject
		}{
			"device":    {tpm.KeySpec{Purpose: tpm.Sign}, tpm2.TPMAObject{SignEncrypt: true, NoDA: true}},
			"EC device": {tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256}, tpm2.TPMAObject{SignEncrypt: true, NoDA: true}},
			"transport": {tpm.KeySpec{Purpose: tpm.Unwrap}, tpm2.TPMAObject{Decrypt: true, NoDA: true}},
			"Hello":     {tpm.KeySpec{Purpose: tpm.Sign, PIN: rightPIN}, tpm2.TPMAObject{SignEncrypt: true}},
		}
		for name, tt := range tests {
			k, err := s.GenerateKey(t.Context(), tt.spec)
			require.NoError(t, err)
			tt.want.FixedTPM, tt.want.FixedParent, tt.want.SensitiveDataOrigin, tt.want.UserWithAuth = true, true, true, true
			require.Equal(t, tt.want, tpm.PublicArea(k).ObjectAttributes, name)
		}
	})
}

// The auth value of the app is needed for everything, and its lack is no TPM
// that changed.
func TestKeyAuth(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		cfg := tpm.Config{KeyAuth: []byte("of the app")}
		first, err := tpm.Open(t.Context(), e.Opener(), cfg)
		require.NoError(t, err)
		m := ownMaterial(t, first)
		m.all(t)
		hello, err := first.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: rightPIN})
		require.NoError(t, err)
		require.NoError(t, signWith(t, first, hello.Blob(), rightPIN))
		require.NoError(t, first.Close())

		for name, cfg := range map[string]tpm.Config{"none": {}, "another": {KeyAuth: []byte("of an app")}} {
			s, err := tpm.Open(t.Context(), e.Opener(), cfg)
			require.NoError(t, err)
			n := m.reopened(t, s) // Load needs no auth value
			for _, op := range n.operations() {
				err := op.run(t, t.Context())
				switch op.name {
				case "GenerateKey", "Seal":
					require.NoError(t, err, name)
				case "Unseal":
					require.ErrorIs(t, err, tpm.ErrInvalidBlob, name)
				default:
					require.ErrorIs(t, err, tpm.ErrAuth, "%s, %s", name, op.name)
					require.NotErrorIs(t, err, tpm.ErrTPMChanged)
				}
			}
			require.NoError(t, s.Close())
		}
		m.reopened(t, open(t, e.Opener(), cfg)).all(t)
	})
}

// The count of wrong PINs as the TPM tells it, up to the lockout and after its
// administrator ended it.
func TestLockoutIsTold(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s := open(t, e.Opener(), tpm.Config{})
		k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: rightPIN})
		require.NoError(t, err)
		told := func() tpm.Lockout {
			l, err := s.Lockout(t.Context())
			require.NoError(t, err)
			return l
		}
		before := told()
		require.Equal(t, tpm.Lockout{MaxWrongPINs: 3, Forgets: 1000 * time.Second}, before)
		for n := 1; n <= 3; n++ {
			require.ErrorIs(t, signWith(t, s, k.Blob(), wrongPIN), tpm.ErrWrongPIN)
			require.Equal(t, tpm.Lockout{WrongPINs: n, MaxWrongPINs: 3, Forgets: 1000 * time.Second, Locked: n == 3}, told())
		}
		require.ErrorIs(t, signWith(t, s, k.Blob(), rightPIN), tpm.ErrLockedOut)
		require.NoError(t, e.ResetLockout())
		require.Equal(t, before, told())
		require.NoError(t, signWith(t, s, k.Blob(), rightPIN))
	})
}

// A key that is closed while its PIN is changed does not keep the new one.
func TestClosedWhileThePINChanges(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		f := tpmtest.NewFaulty(e.Opener())
		s := open(t, f.Opener(), tpm.Config{})
		k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: rightPIN})
		require.NoError(t, err)
		require.True(t, tpm.KeepsPIN(k))
		wait := make(chan struct{})
		f.Inject(tpmtest.Fault{On: changeAuth, Wait: wait})
		changed := make(chan error, 1)
		go func() {
			_, err := k.(tpm.PINKey).ChangePIN(t.Context(), wrongPIN)
			changed <- err
		}()
		<-f.Hung()
		require.NoError(t, k.Close())
		close(wait)
		require.NoError(t, <-changed)
		require.False(t, tpm.KeepsPIN(k))
	})
}
