package tpm_test

import (
	"crypto"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// benchmark runs an operation on each store and reports the commands that
// reached the TPM, counted at the transport.
func benchmark(b *testing.B, prepare func(b *testing.B, s tpm.KeyStore) func() error) {
	run := func(b *testing.B, s tpm.KeyStore, commands func() int) {
		defer s.Close()
		op := prepare(b, s)
		require.NoError(b, op())
		commands()
		for b.Loop() {
			if err := op(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(commands())/float64(b.N), "tpm-cmds/op")
	}
	for _, e := range emulators {
		b.Run(e.name, func(b *testing.B) {
			o := e.start(b).Opener()
			provision(b, o, srkHandle, tpm.SRKTemplate(), nil)
			count := tpmtest.NewCounting(o)
			s, err := tpm.Open(b.Context(), count.Opener(), tpm.Config{})
			require.NoError(b, err)
			run(b, s, func() int { return len(count.Take()) })
		})
	}
	b.Run("softkeys", func(b *testing.B) {
		s, err := softkeys.Open(softkeys.Secret(make([]byte, 32)))
		require.NoError(b, err)
		run(b, s, func() int { return 0 })
	})
}

// The session key is warm: the price of a request's signature, or of reading
// its answer.
func BenchmarkDerive(b *testing.B) {
	benchmark(b, func(b *testing.B, s tpm.KeyStore) func() error {
		k, err := s.GenerateKey(b.Context(), tpm.KeySpec{Purpose: tpm.Unwrap})
		require.NoError(b, err)
		session, err := s.UnwrapSession(b.Context(), k, tpmtest.Wrap(b, k.Public(), make([]byte, 32)))
		require.NoError(b, err)
		label, context := []byte(kdf.Label), make([]byte, 32)
		return func() error {
			_, err := session.Derive(b.Context(), label, context)
			return err
		}
	})
}

// The device key signs a request for a PRT: RSA, loaded and flushed.
func BenchmarkSign(b *testing.B) {
	benchmark(b, func(b *testing.B, s tpm.KeyStore) func() error {
		k, err := s.GenerateKey(b.Context(), tpm.KeySpec{Purpose: tpm.Sign})
		require.NoError(b, err)
		digest := make([]byte, 32)
		return func() error {
			_, err := k.(tpm.Signer).SignContext(b.Context(), digest, crypto.SHA256)
			return err
		}
	})
}

// A new PRT's session key goes into the TPM.
func BenchmarkUnwrapSession(b *testing.B) {
	benchmark(b, func(b *testing.B, s tpm.KeyStore) func() error {
		k, err := s.GenerateKey(b.Context(), tpm.KeySpec{Purpose: tpm.Unwrap})
		require.NoError(b, err)
		wrapped := tpmtest.Wrap(b, k.Public(), make([]byte, 32))
		return func() error {
			_, err := s.UnwrapSession(b.Context(), k, wrapped)
			return err
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	benchmark(b, func(b *testing.B, s tpm.KeyStore) func() error {
		return func() error {
			_, err := s.Seal(b.Context(), plaintext, aad)
			return err
		}
	})
}

func BenchmarkUnseal(b *testing.B) {
	benchmark(b, func(b *testing.B, s tpm.KeyStore) func() error {
		sealed, err := s.Seal(b.Context(), plaintext, aad)
		require.NoError(b, err)
		return func() error {
			_, err := s.Unseal(b.Context(), sealed, aad)
			return err
		}
	})
}
