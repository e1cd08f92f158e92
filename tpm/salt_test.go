package tpm_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

var signP256 = tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256}

func countOf(sent commands, code tpm2.TPMCC) (n int) {
	for _, c := range sent {
		if c == code {
			n++
		}
	}
	return n
}

// Some firmware cannot decrypt a salt to an RSA SRK that Windows made
// (systemd#28655). Sessions are then salted to the transient primary.
func TestSaltFallback(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		provision(t, e.Opener(), srkHandle, tpm2.RSASRKTemplate, nil)
		f := tpmtest.NewFaulty(e.Opener())
		f.Inject(tpmtest.Fault{On: startSession, RC: tpm2.TPMRCValue})
		count := tpmtest.NewCounting(f.Opener())
		s := open(t, count.Opener(), tpm.Config{})
		count.Take()
		m := ownMaterial(t, s)
		require.Contains(t, count.Take(), createPrimary)
		require.Equal(t, srkHandle, s.Parent())
		require.Equal(t, 1, f.Injected())
		m.all(t)
		count.Take()
		require.NoError(t, m.derive(t, t.Context(), m.session))
		require.Equal(t, commands{hmacCommand}, count.Take())
		f.Inject(tpmtest.Fault{Err: errors.New("lost")})
		require.NoError(t, m.derive(t, t.Context(), m.session))
	})
}

// knowingPrimary opens a store whose parent is a persistent SRK, and in it a key from
// before, under the primary.
func knowingPrimary(t *testing.T, e *tpmtest.Emulator, srk tpm2.TPMTPublic) (*tpm.TPM, tpm.Key, *tpmtest.Faulty, *tpmtest.Counting) {
	t.Helper()
	first, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
	require.NoError(t, err)
	k, err := first.GenerateKey(t.Context(), signP256)
	require.NoError(t, err)
	require.NoError(t, first.Close())
	provision(t, e.Opener(), srkHandle, srk, nil)
	f := tpmtest.NewFaulty(e.Opener())
	count := tpmtest.NewCounting(f.Opener())
	s := open(t, count.Opener(), tpm.Config{})
	k, err = s.OpenKey(t.Context(), k.Blob())
	require.NoError(t, err)
	return s, k, f, count
}

// Sessions are salted to another key for good only where the firmware said that it
// cannot do it, and not because of a TPM that is full, was reset or is cut off.
func TestSaltStaysWhereItIs(t *testing.T) {
	lost := errors.New("lost")
	tests := []struct {
		name  string
		srk   tpm2.TPMTPublic
		fault tpmtest.Fault
		want  error
	}{
		{"no free slot", tpm2.RSASRKTemplate, tpmtest.Fault{RC: tpm2.TPMRCSessionMemory}, nil},
		{"never a free slot", tpm2.RSASRKTemplate, tpmtest.Fault{RC: tpm2.TPMRCSessionMemory, Times: 2}, tpm.ErrBusy},
		{"reset", tpm2.RSASRKTemplate, tpmtest.Fault{RC: tpm2.TPMRCHandle}, nil},
		{"always reset", tpm2.RSASRKTemplate, tpmtest.Fault{RC: tpm2.TPMRCHandle, Times: 2}, tpm.ErrNoTPM},
		{"not started", tpm2.RSASRKTemplate, tpmtest.Fault{RC: tpm2.TPMRCInitialize}, nil},
		{"cut off", tpm2.RSASRKTemplate, tpmtest.Fault{Err: lost}, nil},
		{"cut off twice", tpm2.RSASRKTemplate, tpmtest.Fault{Err: lost, Times: 2}, lost},
		{"cut short", tpm2.RSASRKTemplate, tpmtest.Fault{Tamper: func(rsp []byte) []byte { return rsp[:5] }}, nil},
		{"a P-256 key", tpm.SRKTemplate(), tpmtest.Fault{RC: tpm2.TPMRCValue}, nil},
		{"a P-256 key that is always refused", tpm.SRKTemplate(), tpmtest.Fault{RC: tpm2.TPMRCValue, Times: 2}, tpm.ErrNoTPM},
		{"failure of a P-256 key", tpm.SRKTemplate(), tpmtest.Fault{RC: tpm2.TPMRCFailure}, tpm.ErrNoTPM},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				// The primary is known, so that it costs nothing to take it.
				s, k, f, count := knowingPrimary(t, e, tt.srk)
				_, err := k.(tpm.Signer).Sign(nil, make([]byte, 32), sha256Hash)
				require.NoError(t, err)
				require.NoError(t, tpm.Rest(t.Context(), s))

				fault := tt.fault
				fault.On = startSession
				f.Inject(fault)
				count.Take()
				_, err = s.GenerateKey(t.Context(), signP256)
				if tt.want == nil {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, tt.want)
					require.NotErrorIs(t, err, tpm.ErrKeyUnusable)
				}
				require.Equal(t, max(1, fault.Times), f.Injected())
				_, err = s.GenerateKey(t.Context(), signP256)
				require.NoError(t, err)
				require.Zero(t, countOf(count.Take(), createPrimary))
			})
		})
	}
}

// Once a session was salted to an RSA key, its firmware can do it: a refusal is a
// failure of the TPM.
func TestSaltThatWorkedBefore(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		provision(t, e.Opener(), srkHandle, tpm2.RSASRKTemplate, nil)
		f := tpmtest.NewFaulty(e.Opener())
		count := tpmtest.NewCounting(f.Opener())
		s := open(t, count.Opener(), tpm.Config{})
		_, err := s.GenerateKey(t.Context(), signP256)
		require.NoError(t, err)
		require.NoError(t, tpm.Rest(t.Context(), s))
		f.Inject(tpmtest.Fault{On: startSession, RC: tpm2.TPMRCFailure})
		count.Take()
		_, err = s.GenerateKey(t.Context(), signP256)
		require.ErrorIs(t, err, tpm.ErrNoTPM)
		_, err = s.GenerateKey(t.Context(), signP256)
		require.NoError(t, err)
		require.Zero(t, countOf(count.Take(), createPrimary))
	})
}

// After the firmware refused a salt to the SRK, sessions are salted to the primary
// without asking again. What then fails is the primary's: a TPM with another primary
// is another one, and all else is a temporary failure.
func TestSaltElsewhere(t *testing.T) {
	otherPrimary := tpmtest.Fault{On: createPrimary, Times: -1, Tamper: func(rsp []byte) []byte {
		const area = 10 + 4 + 4 + 2 // header, handle, size of the parameters, size of the public area
		rsp[area+int(binary.BigEndian.Uint16(rsp[area-2:]))-1] ^= 1
		return rsp
	}}
	refused := tpmtest.Fault{On: startSession, RC: tpm2.TPMRCFailure}
	always := refused
	always.Times = -1
	lost := errors.New("lost")
	tests := []struct {
		name              string
		faults            []tpmtest.Fault
		want              error
		primaries, starts int // CreatePrimary and StartAuthSession that are sent
	}{
		{"nothing", nil, nil, 1, 1},
		{"no free slot", []tpmtest.Fault{{On: startSession, RC: tpm2.TPMRCSessionMemory}}, nil, 2, 2},
		{"never a free slot", []tpmtest.Fault{{On: startSession, RC: tpm2.TPMRCSessionMemory, Times: -1}}, tpm.ErrBusy, 2, 2},
		{"cut off", []tpmtest.Fault{{On: startSession, Err: lost}}, nil, 2, 2},
		{"cut off again and again", []tpmtest.Fault{{On: startSession, Err: lost, Times: -1}}, lost, 2, 2},
		{"refused", []tpmtest.Fault{refused}, tpm.ErrNoTPM, 2, 1},
		{"no primary", []tpmtest.Fault{{On: createPrimary, RC: tpm2.TPMRCFailure, Times: -1}}, tpm.ErrNoTPM, 1, 0},
		{"another primary", []tpmtest.Fault{otherPrimary}, tpm.ErrTPMChanged, 1, 0},
		{"another primary later", []tpmtest.Fault{always, {On: createPrimary, Times: -1, Skip: 1, Tamper: otherPrimary.Tamper}}, tpm.ErrTPMChanged, 2, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				provision(t, e.Opener(), srkHandle, tpm2.RSASRKTemplate, nil)
				f := tpmtest.NewFaulty(e.Opener())
				count := tpmtest.NewCounting(f.Opener())
				s := open(t, count.Opener(), tpm.Config{})
				f.Inject(tpmtest.Fault{On: startSession, RC: tpm2.TPMRCValue})
				_, err := s.GenerateKey(t.Context(), signP256)
				require.NoError(t, err)
				require.NoError(t, tpm.Rest(t.Context(), s))

				f.Inject(tt.faults...)
				count.Take()
				_, err = s.GenerateKey(t.Context(), signP256)
				sent := count.Take()
				if tt.want == nil {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, tt.want)
				}
				require.Equal(t, tt.want == tpm.ErrTPMChanged, errors.Is(err, tpm.ErrKeyUnusable))
				require.Equal(t, tt.primaries, countOf(sent, createPrimary))
				require.Equal(t, tt.starts, countOf(sent, startSession))
				f.Clear()
				_, err = s.GenerateKey(t.Context(), signP256)
				require.NoError(t, err)
			})
		})
	}
}

// A primary that is known is not made again to learn its name.
func TestSaltToAKnownPrimary(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s, _, f, count := knowingPrimary(t, e, tpm2.RSASRKTemplate)
		f.Inject(tpmtest.Fault{On: startSession, RC: tpm2.TPMRCValue})
		count.Take()
		_, err := s.GenerateKey(t.Context(), signP256)
		require.NoError(t, err)
		require.Equal(t, 1, countOf(count.Take(), createPrimary))
	})
}

// A primary that cannot be made once is not the sign of another TPM.
func TestSaltWithoutAPrimary(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		provision(t, e.Opener(), srkHandle, tpm2.RSASRKTemplate, nil)
		f := tpmtest.NewFaulty(e.Opener())
		s := open(t, f.Opener(), tpm.Config{})
		f.Inject(tpmtest.Fault{On: startSession, RC: tpm2.TPMRCFailure}, tpmtest.Fault{On: createPrimary, RC: tpm2.TPMRCNVRate + 1})
		_, err := s.GenerateKey(t.Context(), signP256)
		require.ErrorIs(t, err, tpm.ErrNoTPM)
		require.NotErrorIs(t, err, tpm.ErrKeyUnusable)
		require.ErrorIs(t, err, tpm2.TPMRCFailure)
		_, err = s.GenerateKey(t.Context(), signP256)
		require.NoError(t, err)
	})
}
