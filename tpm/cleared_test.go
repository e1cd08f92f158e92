package tpm_test

import (
	"bytes"
	"errors"
	"io"
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

// evict removes a persistent key.
func evict(t testing.TB, c transport.TPM, handle tpm2.TPMHandle) {
	t.Helper()
	read, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(c)
	require.NoError(t, err)
	_, err = tpm2.EvictControl{
		Auth:             tpm2.TPMRHOwner,
		ObjectHandle:     &tpm2.NamedHandle{Handle: handle, Name: read.Name},
		PersistentHandle: handle,
	}.Execute(c)
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
		{"persistent SRK removed by its owner", true, false, func(t *testing.T, e *tpmtest.Emulator) error {
			evict(t, e, srkHandle)
			return nil
		}, cleared},
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

// A temporary failure to make the attestation key leaves its name out of the blob
// that is made at that moment, and out of no later one, also in a store that opened
// that blob. A failure that a retry overcomes leaves nothing out.
func TestPassingRefusalOfAttestationKey(t *testing.T) {
	tests := []struct {
		name    string
		fault   tpmtest.Fault
		refused bool
	}{
		{"cannot write just now", tpmtest.Fault{RC: tpm2.TPMRCNVUnavailable}, true},
		{"lost connection", tpmtest.Fault{Err: io.EOF}, false},
		{"no free slot", tpmtest.Fault{RC: tpm2.TPMRCObjectMemory}, false},
		{"not started", tpmtest.Fault{RC: tpm2.TPMRCInitialize}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				provision(t, e.Opener(), srkHandle, tpm.SRKTemplate(), nil) // no other primary is made
				f := tpmtest.NewFaulty(e.Opener())
				s, err := tpm.Open(t.Context(), f.Opener(), tpm.Config{})
				require.NoError(t, err)
				seal := func() []byte {
					sealed, err := s.Seal(t.Context(), plaintext, aad)
					require.NoError(t, err)
					return sealed
				}
				unseal := func(sealed []byte) error {
					_, err := s.Unseal(t.Context(), sealed, aad)
					return err
				}
				tt.fault.On = createPrimary
				f.Inject(tt.fault)
				first := seal()
				require.Equal(t, 1, f.Injected())
				second := seal()
				require.NoError(t, unseal(first))
				require.NoError(t, s.Close())

				s = open(t, e.Opener(), tpm.Config{})
				require.NoError(t, unseal(first))
				third := seal()
				require.NoError(t, unseal(second))
				require.NoError(t, e.Clear())
				require.ErrorIs(t, unseal(second), tpm.ErrCleared)
				require.ErrorIs(t, unseal(third), tpm.ErrCleared)
				err = unseal(first)
				require.ErrorIs(t, err, tpm.ErrKeyUnusable)
				require.Equal(t, !tt.refused, errors.Is(err, tpm.ErrCleared))
				require.NotErrorIs(t, err, tpm.ErrTPMChanged, "nobody knows that")
			})
		})
	}
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

// alterLastByte is of the HMAC; an error code, which has none, stays.
func alterLastByte(rsp []byte) []byte {
	if len(rsp) > 10 {
		rsp[len(rsp)-1] ^= 1
	}
	return rsp
}

// What went wrong with a TPM that was not cleared is not that it was: neither a
// lost session nor a response that was altered.
func TestFailuresAreNotCleared(t *testing.T) {
	tests := []struct {
		name  string
		fault tpmtest.Fault
		want  error
	}{
		{"lost handle", tpmtest.Fault{RC: tpm2.TPMRCReferenceH0}, tpm.ErrNoTPM},
		{"lost session", tpmtest.Fault{RC: tpm2.TPMRCReferenceS0}, tpm.ErrNoTPM},
		{"another session", tpmtest.Fault{RC: tpm2.TPMRCBadAuth}, tpm.ErrNoTPM}, // the auth value was right before
		{"damaged", tpmtest.Fault{RC: tpm2.TPMRCIntegrity}, tpm.ErrInvalidBlob},
		{"altered response", tpmtest.Fault{Tamper: alterLastByte}, tpm.ErrTPMChanged},
	}
	run := func(t *testing.T, e *tpmtest.Emulator) {
		f := tpmtest.NewFaulty(e.Opener())
		s := open(t, f.Opener(), tpm.Config{})
		pinned := sealPIN(t, s, threeDays)
		sealed, err := s.Seal(t.Context(), plaintext, aad)
		require.NoError(t, err)
		for _, tt := range tests {
			tt.fault.On, tt.fault.Times = load, -1
			for op, run := range map[string]func() error{
				"unsealing":            func() error { _, err := s.Unseal(t.Context(), sealed, aad); return err },
				"unsealing with a PIN": func() error { return refuses(t, s, pinned, aad, rightPIN) },
				"changing the PIN of sealed data": func() error {
					_, err := s.ChangeSealPIN(t.Context(), pinned, aad, rightPIN, wrongPIN)
					return err
				},
			} {
				f.Inject(tt.fault)
				err := run()
				f.Clear()
				require.ErrorContains(t, err, "tpm: "+op, "%s, %s", tt.name, op)
				require.ErrorIs(t, err, tt.want, "%s, %s", tt.name, op)
				require.NotErrorIs(t, err, tpm.ErrCleared, "%s, %s", tt.name, op)
			}
		}
		opens(t, s, pinned)
	}
	t.Run("transient SRK", func(t *testing.T) { onEmulators(t, run) })
	t.Run("persistent SRK", func(t *testing.T) {
		onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
			provision(t, e.Opener(), srkHandle, tpm.SRKTemplate(), nil)
			run(t, e)
		})
	})
}

// An error that says nothing about the TPM is not looked into.
func TestOtherAADCostsNoQuestion(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		count := tpmtest.NewCounting(e.Opener())
		s := open(t, count.Opener(), tpm.Config{})
		sealed, err := s.Seal(t.Context(), plaintext, aad)
		require.NoError(t, err)
		count.Take()
		_, err = s.Unseal(t.Context(), sealed, []byte("another account"))
		require.ErrorIs(t, err, tpm.ErrInvalidBlob)
		require.Equal(t, commands{load, unseal, flush}, count.Take())
	})
}

// A bit that flips in sealed data is damage. Only where the blob says which its
// parent is, it cannot be told from a parent that is gone; what a PIN opens
// commits to that: TestPINSealChangedAtEveryByte.
func TestDamagedIsNotCleared(t *testing.T) {
	for _, persistent := range []bool{false, true} {
		t.Run(map[bool]string{false: "transient SRK", true: "persistent SRK"}[persistent], func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				if persistent {
					provision(t, e.Opener(), srkHandle, tpm.SRKTemplate(), nil)
				}
				s := open(t, e.Opener(), tpm.Config{})
				sealed, err := s.Seal(t.Context(), plaintext, aad)
				require.NoError(t, err)
				from, to := tpm.ParentIn(sealed)
				for at := range 2 * len(sealed) {
					n, bit := at/2, []byte{0x01, 0x10}[at%2]
					changed := bytes.Clone(sealed)
					changed[n] ^= bit
					_, err := s.Unseal(t.Context(), changed, aad)
					require.ErrorContains(t, err, "tpm: unsealing: ", "byte %d", n)
					if n >= from && n < to || errors.Is(err, tpm.ErrWrongStore) {
						continue
					}
					require.ErrorIs(t, err, tpm.ErrInvalidBlob, "byte %d", n)
					require.NotErrorIs(t, err, tpm.ErrKeyUnusable, "byte %d", n)
				}
				_, err = s.Unseal(t.Context(), sealed, aad)
				require.NoError(t, err)
			})
		})
	}
}
