package tpm_test

import (
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

func TestSRKName(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
		require.NoError(t, err)
		pin, err := s.SRKName(t.Context())
		require.NoError(t, err)
		require.Len(t, pin, 34)
		require.NoError(t, s.Close())
		require.NoError(t, e.Reset())
		s, err = tpm.Open(t.Context(), e.Opener(), tpm.Config{SRKName: pin})
		require.NoError(t, err)
		require.NoError(t, s.Close())
		pin[33] ^= 1
		_, err = tpm.Open(t.Context(), e.Opener(), tpm.Config{SRKName: pin})
		require.ErrorIs(t, err, tpm.ErrTPMChanged)
	})
}

// A persistent key that was pinned and is not found is missing only when the TPM does
// not list it either. Until it can be read, nothing is known.
func TestPinnedKeyThatDoesNotAnswer(t *testing.T) {
	handle := tpmtest.Fault{On: readPublic, RC: tpm2.TPMRCHandle}
	always := func(f tpmtest.Fault) tpmtest.Fault { f.Times = -1; return f }
	then := func(f tpmtest.Fault) []tpmtest.Fault { return []tpmtest.Fault{handle, f} }
	tests := []struct {
		name   string
		faults []tpmtest.Fault
		want   error
	}{
		{"once", []tpmtest.Fault{handle}, nil},
		{"never", []tpmtest.Fault{always(handle)}, tpm.ErrNoTPM},
		{"and then it fails", then(tpmtest.Fault{On: readPublic, RC: tpm2.TPMRCFailure}), tpm.ErrNoTPM},
		{"and then it is full", then(always(tpmtest.Fault{On: readPublic, RC: tpm2.TPMRCObjectMemory})), tpm.ErrBusy},
		{"and then it is cut off", then(tpmtest.Fault{On: readPublic, Err: errors.New("lost")}), nil},
	}
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		provision(t, e.Opener(), srkHandle, tpm2.ECCSRKTemplate, nil)
		s, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
		require.NoError(t, err)
		pin := srkName(t, s)
		require.NoError(t, s.Close())
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				f := tpmtest.NewFaulty(e.Opener())
				f.Inject(tt.faults...)
				s, err := tpm.Open(t.Context(), f.Opener(), tpm.Config{SRKName: pin})
				if tt.want != nil {
					require.ErrorIs(t, err, tt.want)
					require.NotErrorIs(t, err, tpm.ErrKeyUnusable)
					return
				}
				require.NoError(t, err)
				require.Equal(t, srkHandle, s.Parent())
				_, err = s.GenerateKey(t.Context(), signP256)
				require.NoError(t, err)
				require.NoError(t, s.Close())
			})
		}
	})
}

// A name that is pinned does not make a key sound, and another sound key is not it.
func TestPinnedKeyThatIsAnother(t *testing.T) {
	unsound := tpm2.ECCSRKTemplate
	unsound.ObjectAttributes.NoDA = false
	for name, template := range map[string]tpm2.TPMTPublic{"not sound": unsound, "sound": tpm2.ECCSRKTemplate} {
		t.Run(name, func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				provision(t, e.Opener(), srkHandle, template, nil)
				var pin []byte
				raw(t, e.Opener(), func(c transport.TPM) {
					rsp, err := tpm2.ReadPublic{ObjectHandle: srkHandle}.Execute(c)
					require.NoError(t, err)
					pin = rsp.Name.Buffer
				})
				if name == "sound" {
					pin[33] ^= 1
				}
				_, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{SRKName: pin})
				require.ErrorIs(t, err, tpm.ErrTPMChanged)
			})
		})
	}
}
