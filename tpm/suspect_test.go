package tpm_test

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// New keys leave a storage root key that needs an auth value only for a primary
// that could be made and that the caller accepts. Until then the error says what
// is in the way.
func TestParentThatNeedsAuth(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		provision(t, e.Opener(), srkHandle, tpm2.ECCSRKTemplate, []byte("owner's"))
		var name []byte
		raw(t, e.Opener(), func(c transport.TPM) {
			rsp, err := tpm2.ReadPublic{ObjectHandle: srkHandle}.Execute(c)
			require.NoError(t, err)
			name = rsp.Name.Buffer
		})
		device := tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256}

		t.Run("another one is not accepted", func(t *testing.T) {
			s := open(t, e.Opener(), tpm.Config{SRKName: name})
			_, err := s.GenerateKey(t.Context(), device)
			require.ErrorIs(t, err, tpm.ErrAuth)
			require.Equal(t, srkHandle, s.Parent())
		})
		t.Run("no primary can be made", func(t *testing.T) {
			f := tpmtest.NewFaulty(e.Opener())
			s := open(t, f.Opener(), tpm.Config{})
			f.Inject(tpmtest.Fault{On: createPrimary, RC: tpm2.TPMRCFailure, Times: -1})
			_, err := s.GenerateKey(t.Context(), device)
			require.ErrorIs(t, err, tpm.ErrAuth)
			require.Equal(t, srkHandle, s.Parent())
			f.Clear()
			_, err = s.GenerateKey(t.Context(), device)
			require.NoError(t, err)
			require.Equal(t, tpm2.TPMRHOwner, s.Parent())
		})
	})
}

// A parent is gone when the TPM's list of its persistent handles lacks it, and
// not because one command does not find it or the list cannot be read.
func TestListedParentIsNotGone(t *testing.T) {
	const other = tpm2.TPMHandle(0x81000002)
	noHandle := tpmtest.Fault{On: tpm2.TPMCCReadPublic, RC: tpm2.TPMRCHandle, Times: -1}
	// The response then says that it lists commands (TPM_CAP_COMMANDS).
	ofCommands := tpmtest.Fault{On: tpm2.TPMCCGetCapability, Times: -1, Tamper: func(rsp []byte) []byte {
		binary.BigEndian.PutUint32(rsp[11:], uint32(tpm2.TPMCapCommands))
		return rsp
	}}
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		for _, h := range []tpm2.TPMHandle{srkHandle, other} {
			provision(t, e.Opener(), h, tpm.SRKTemplate(), nil)
		}
		f := tpmtest.NewFaulty(e.Opener())
		s := open(t, f.Opener(), tpm.Config{})
		k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256})
		require.NoError(t, err)
		moved := reencode(t, k.Blob(), []byte{0x02, 0x05, 0, 0x81, 0, 0, 1}, []byte{0x02, 0x05, 0, 0x81, 0, 0, 2})
		for _, faults := range [][]tpmtest.Fault{{noHandle}, {noHandle, ofCommands}} {
			f.Inject(faults...)
			_, err := s.OpenKey(t.Context(), moved)
			require.ErrorIs(t, err, tpm.ErrNoTPM)
			require.NotErrorIs(t, err, tpm.ErrKeyUnusable)
			f.Clear()
		}
		_, err = s.OpenKey(t.Context(), moved)
		require.NoError(t, err)
	})
}

// When the TPM does not start a session for its primary, another primary made
// from the same template is the evidence that it is another TPM.
func TestOtherPrimary(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		f := tpmtest.NewFaulty(e.Opener())
		s := open(t, f.Opener(), tpm.Config{})
		refuse := tpmtest.Fault{On: startSession, RC: tpm2.TPMRCFailure, Times: -1}
		spec := tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256}

		f.Inject(refuse)
		_, err := s.GenerateKey(t.Context(), spec)
		require.ErrorIs(t, err, tpm.ErrNoTPM)
		require.NotErrorIs(t, err, tpm.ErrKeyUnusable)
		f.Clear()

		f.Inject(refuse, tpmtest.Fault{On: createPrimary, Times: -1, Tamper: func(rsp []byte) []byte {
			const area = 10 + 4 + 4 + 2 // header, handle, size of the parameters, size of the public area
			rsp[area+int(binary.BigEndian.Uint16(rsp[area-2:]))-1] ^= 1
			return rsp
		}})
		_, err = s.GenerateKey(t.Context(), spec)
		require.ErrorIs(t, err, tpm.ErrTPMChanged)
	})
}

// Another TPM is not taken for firmware that cannot decrypt a salt to its RSA
// SRK: nothing is made in it.
func TestReplacedBeforeTheFirstSession(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		provision(t, e.Opener(), srkHandle, tpm2.RSASRKTemplate, nil)
		swap := newSwappable(e.Opener())
		count := tpmtest.NewCounting(swap.opener())
		s := open(t, count.Opener(), tpm.Config{})
		swap.closeAll()
		require.NoError(t, e.Wipe())
		provision(t, e.Opener(), srkHandle, tpm2.RSASRKTemplate, nil)
		count.Take()
		_, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256})
		require.ErrorIs(t, err, tpm.ErrTPMChanged)
		require.NotContains(t, count.Take(), createPrimary)
	})
}
