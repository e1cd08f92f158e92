package tpm_test

import (
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// lockEndorsement sets an auth value of the endorsement hierarchy.
func lockEndorsement(t testing.TB, c transport.TPM) {
	t.Helper()
	_, err := tpm2.HierarchyChangeAuth{AuthHandle: tpm2.TPMRHEndorsement, NewAuth: tpm2.TPM2BAuth{Buffer: []byte("x")}}.Execute(c)
	require.NoError(t, err)
}

// What happened to the TPM is told from its attestation key, in the store that
// was open and in a new one, and no try is counted.
func TestPINSealClearedOrReplaced(t *testing.T) {
	cleared := func(t *testing.T, err error) {
		require.ErrorIs(t, err, tpm.ErrCleared)
		require.NotErrorIs(t, err, tpm.ErrTPMChanged)
	}
	replaced := func(t *testing.T, err error) {
		require.ErrorIs(t, err, tpm.ErrTPMChanged)
		require.NotErrorIs(t, err, tpm.ErrCleared)
	}
	unknown := func(t *testing.T, err error) { require.NotErrorIs(t, err, tpm.ErrCleared) }
	tests := []struct {
		name                  string
		persistent, comesBack bool // a storage root key at the usual handle, and again
		happens               func(t *testing.T, e *tpmtest.Emulator) error
		says                  func(t *testing.T, err error)
	}{
		{"cleared", false, false, func(_ *testing.T, e *tpmtest.Emulator) error { return e.Clear() }, cleared},
		{"cleared, persistent SRK", true, false, func(_ *testing.T, e *tpmtest.Emulator) error { return e.Clear() }, cleared},
		{"cleared, another persistent SRK", true, true, func(_ *testing.T, e *tpmtest.Emulator) error { return e.Clear() }, cleared},
		{"replaced", false, false, func(_ *testing.T, e *tpmtest.Emulator) error { return e.Wipe() }, replaced},
		{"replaced, persistent SRK", true, false, func(_ *testing.T, e *tpmtest.Emulator) error { return e.Wipe() }, replaced},
		{"replaced, another persistent SRK", true, true, func(_ *testing.T, e *tpmtest.Emulator) error { return e.Wipe() }, replaced},
		{"cleared, with an auth value of the endorsement hierarchy", false, false, func(t *testing.T, e *tpmtest.Emulator) error {
			err := e.Clear()
			lockEndorsement(t, e)
			return err
		}, unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				if tt.persistent {
					provision(t, e.Opener(), srkHandle, tpm.SRKTemplate(), nil)
				}
				s, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
				require.NoError(t, err)
				sealed := sealPIN(t, s, threeDays)
				opens(t, s, sealed)
				require.NoError(t, tt.happens(t, e))
				check := func(s *tpm.TPM) {
					err := refuses(t, s, sealed, aad, rightPIN)
					require.ErrorIs(t, err, tpm.ErrKeyUnusable)
					tt.says(t, err)
					_, err = s.ChangeSealPIN(t.Context(), sealed, aad, rightPIN, wrongPIN)
					require.ErrorIs(t, err, tpm.ErrKeyUnusable)
					tt.says(t, err)
				}
				if !tt.comesBack {
					check(s)
				}
				require.NoError(t, s.Close())
				if tt.comesBack {
					provision(t, e.Opener(), srkHandle, tpm.SRKTemplate(), nil)
				}
				other := open(t, e.Opener(), tpm.Config{})
				check(other)
				require.Zero(t, tries(t, e))
				opens(t, other, sealPIN(t, other, threeDays))
			})
		})
	}
}

// Where the endorsement hierarchy has an auth value, sealing works, and a TPM
// that was cleared is as good as another one.
func TestPINSealWithoutAttestationKey(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		lockEndorsement(t, e)
		s := open(t, e.Opener(), tpm.Config{})
		sealed := sealPIN(t, s, threeDays)
		opens(t, s, sealed)
		require.NoError(t, e.Clear())
		err := refuses(t, s, sealed, aad, rightPIN)
		require.ErrorIs(t, err, tpm.ErrTPMChanged)
		require.NotErrorIs(t, err, tpm.ErrCleared)
	})
}

// The storage root key is there, and the TPM in between is another: the session
// finds out, before the PIN is proved to it.
func TestPINSealReplacedBySameHandle(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		provision(t, e.Opener(), srkHandle, tpm.SRKTemplate(), nil)
		swap := newSwappable(e.Opener())
		count := tpmtest.NewCounting(swap.opener())
		s := open(t, count.Opener(), tpm.Config{})
		sealed := sealPIN(t, s, threeDays)
		swap.closeAll()
		require.NoError(t, e.Wipe())
		provision(t, e.Opener(), srkHandle, tpm.SRKTemplate(), nil)
		count.Take()
		require.ErrorIs(t, refuses(t, s, sealed, aad, rightPIN), tpm.ErrTPMChanged)
		require.NotContains(t, count.Take(), unseal)
	})
}
