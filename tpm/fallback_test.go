package tpm_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"io"
	"math/big"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// TPM2_HMAC is optional. Where it is missing, a sequence of two commands does
// the same.
func TestWithoutHMAC(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		f := tpmtest.NewFaulty(e.Opener())
		f.Inject(tpmtest.Fault{On: hmacCommand, RC: tpm2.TPMRCCommandCode, Times: -1})
		record := tpmtest.NewRecording(f.Opener())
		count := tpmtest.NewCounting(record.Opener())
		m := ownMaterial(t, open(t, count.Opener(), tpm.Config{KeyAuth: []byte("of the app")}))
		m.all(t)
		count.Take()
		key, err := m.session.Derive(t.Context(), nil, plaintext)
		require.NoError(t, err)
		require.Equal(t, commands{tpm2.TPMCCHMACStart, tpm2.TPMCCSequenceComplete}, count.Take())
		require.Equal(t, 1, f.Injected(), "it is asked once")
		require.False(t, record.Contains(key[:]))
	})
}

// A TPM without SHA-1 takes no OAEP-SHA1 key. The padding is then removed
// here, as it was in software.
func TestWithoutSHA1(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		f := tpmtest.NewFaulty(e.Opener())
		f.Inject(tpmtest.Fault{On: tpm2.TPMCCTestParms, RC: tpm2.TPMRCHash})
		s := open(t, f.Opener(), tpm.Config{})
		m := ownMaterial(t, s)
		require.Equal(t, 1, f.Injected())
		parms, err := tpm.PublicArea(m.transport).Parameters.RSADetail()
		require.NoError(t, err)
		require.Equal(t, tpm2.TPMAlgNull, parms.Scheme.Scheme)
		m.all(t)
		m.reopened(t, s).all(t)

		public := m.transport.Public().(*rsa.PublicKey)
		for _, n := range []int{0, 31, 33} {
			_, err := s.UnwrapSession(t.Context(), m.transport, tpmtest.Wrap(t, public, make([]byte, n)))
			require.ErrorIs(t, err, tpm.ErrDecrypt)
		}
		for range 8 {
			c, err := rand.Int(rand.Reader, public.N)
			require.NoError(t, err)
			_, err = s.UnwrapSession(t.Context(), m.transport, c.FillBytes(make([]byte, 256)))
			require.ErrorIs(t, err, tpm.ErrDecrypt)
		}
		m.all(t)
	})
}

// A TPM that fails when it is asked for OAEP has not refused it: the transport key,
// which is for years, gets its padding or is not made.
func TestFailureIsNoLackOfSHA1(t *testing.T) {
	tests := []struct {
		name   string
		fault  tpmtest.Fault
		want   error
		scheme tpm2.TPMAlgID
	}{
		{"refused", tpmtest.Fault{RC: tpm2.TPMRCScheme, Times: -1}, nil, tpm2.TPMAlgNull},
		{"no such command", tpmtest.Fault{RC: tpm2.TPMRCCommandCode, Times: -1}, nil, tpm2.TPMAlgNull},
		{"failure", tpmtest.Fault{RC: tpm2.TPMRCFailure, Times: -1}, tpm.ErrNoTPM, 0},
		{"full", tpmtest.Fault{RC: tpm2.TPMRCMemory, Times: -1}, tpm.ErrBusy, 0},
		{"full once", tpmtest.Fault{RC: tpm2.TPMRCMemory}, nil, tpm2.TPMAlgOAEP},
		{"cut off", tpmtest.Fault{Err: io.ErrUnexpectedEOF, Times: -1}, tpm.ErrNoTPM, 0},
		{"cut off once", tpmtest.Fault{Err: io.ErrUnexpectedEOF}, nil, tpm2.TPMAlgOAEP},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				f := tpmtest.NewFaulty(e.Opener())
				count := tpmtest.NewCounting(f.Opener())
				s := open(t, count.Opener(), tpm.Config{})
				tt.fault.On = tpm2.TPMCCTestParms
				f.Inject(tt.fault)
				count.Take()
				k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Unwrap, Algorithm: tpm.RSA2048})
				if tt.want != nil {
					require.ErrorIs(t, err, tt.want)
					require.NotContains(t, count.Take(), create)
					return
				}
				require.NoError(t, err)
				parms, err := tpm.PublicArea(k).Parameters.RSADetail()
				require.NoError(t, err)
				require.Equal(t, tt.scheme, parms.Scheme.Scheme)
			})
		})
	}
}

// unpad agrees with crypto/rsa, whatever is changed in the padded message.
func TestUnpadOAEP(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	encrypt := func(em []byte) []byte {
		c := new(big.Int).Exp(new(big.Int).SetBytes(em), big.NewInt(65537), key.N)
		return c.FillBytes(make([]byte, 256))
	}
	for _, size := range []int{0, 32, 214} {
		message := bytes.Repeat([]byte{1}, size)
		wrapped, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, &key.PublicKey, message, nil)
		require.NoError(t, err)
		em := new(big.Int).Exp(new(big.Int).SetBytes(wrapped), key.D, key.N).FillBytes(make([]byte, 256))
		for name, encoded := range map[string][]byte{"whole": em, "without leading zeros": bytes.TrimLeft(em, "\x00")} {
			got, err := tpm.UnpadOAEP(bytes.Clone(encoded), 256)
			require.NoError(t, err, name)
			require.Equal(t, message, got)
		}
		for i := range em {
			changed := bytes.Clone(em)
			changed[i] ^= 0x01
			want, wantErr := rsa.DecryptOAEP(sha1.New(), nil, key, encrypt(changed), nil)
			got, err := tpm.UnpadOAEP(bytes.Clone(changed), 256)
			require.Equal(t, wantErr == nil, err == nil, "byte %d", i)
			if err == nil {
				require.Equal(t, want, got)
			} else {
				require.ErrorIs(t, err, tpm.ErrDecrypt)
			}
		}
	}
	_, err = tpm.UnpadOAEP(make([]byte, 257), 256)
	require.ErrorIs(t, err, tpm.ErrDecrypt)
	_, err = tpm.UnpadOAEP(nil, 256)
	require.ErrorIs(t, err, tpm.ErrDecrypt)
}

// libtpms 0.9.2 answers TPM_RC_FAILURE to wrong padding, in good health. A TPM
// that is in failure mode fails everything.
func TestFailureModeOrPadding(t *testing.T) {
	withFaults(t, func(t *testing.T, f *tpmtest.Faulty, m *material) {
		wrapped := tpmtest.Wrap(t, m.transport.Public(), m.secret)
		f.Inject(tpmtest.Fault{On: rsaDecrypt, RC: tpm2.TPMRCFailure})
		_, err := m.store.UnwrapSession(t.Context(), m.transport, wrapped)
		require.ErrorIs(t, err, tpm.ErrDecrypt)

		f.Inject(tpmtest.Fault{On: rsaDecrypt, RC: tpm2.TPMRCFailure}, tpmtest.Fault{On: tpm2.TPMCCGetRandom, RC: tpm2.TPMRCFailure})
		_, err = m.store.UnwrapSession(t.Context(), m.transport, wrapped)
		require.ErrorIs(t, err, tpm.ErrNoTPM)
		m.all(t)
	})
}

// A resource manager answers in the place of a TPM with the same codes, and says
// in the upper half that they are its own: Linux refuses a command that it does
// not know so, and tpm2-abrmd one that finds no slot.
func TestCodesOfAResourceManager(t *testing.T) {
	const layer = 11 << 16
	withFaults(t, func(t *testing.T, f *tpmtest.Faulty, m *material) {
		require.NoError(t, m.derive(t, t.Context(), m.session))
		for _, rc := range []tpm2.TPMRC{tpm2.TPMRCObjectMemory, tpm2.TPMRCRetry, tpm2.TPMRCReferenceH0, tpm2.TPMRCCommandCode} {
			before := f.Injected()
			f.Inject(tpmtest.Fault{On: hmacCommand, RC: layer + rc})
			require.NoError(t, m.derive(t, t.Context(), m.session), rc)
			require.Equal(t, before+1, f.Injected(), rc)
		}
	})
}
