package tpm_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

func TestSmoke(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *tpmtest.Emulator{"swtpm": tpmtest.Swtpm, "simulator": tpmtest.Simulator} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			ks, err := tpm.Open(ctx, start(t).Opener(), tpm.Config{})
			require.NoError(t, err)
			defer ks.Close()
			info, err := ks.Info(ctx)
			require.NoError(t, err)
			t.Logf("%+v", info)
			k, err := ks.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign})
			require.NoError(t, err)
			d := sha256.Sum256([]byte("x"))
			sig, err := k.(tpm.Signer).SignContext(ctx, d[:], crypto.SHA256)
			require.NoError(t, err)
			require.NoError(t, rsa.VerifyPKCS1v15(k.Public().(*rsa.PublicKey), crypto.SHA256, d[:], sig))
			tk, err := ks.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Unwrap})
			require.NoError(t, err)
			sk := make([]byte, 32)
			rand.Read(sk)
			w, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, tk.Public().(*rsa.PublicKey), sk, nil)
			require.NoError(t, err)
			s, err := ks.UnwrapSession(ctx, tk, w)
			require.NoError(t, err)
			for range 3 {
				got, err := s.Derive(ctx, []byte(kdf.Label), []byte("ctx"))
				require.NoError(t, err)
				require.Equal(t, kdf.Derive(sk, []byte(kdf.Label), []byte("ctx")), got)
			}
			b, err := ks.Seal(ctx, []byte("hello"), []byte("aad"))
			require.NoError(t, err)
			p, err := ks.Unseal(ctx, b, []byte("aad"))
			require.NoError(t, err)
			require.Equal(t, "hello", string(p))
			_, err = ks.Unseal(ctx, b, []byte("aax"))
			require.ErrorIs(t, err, tpm.ErrInvalidBlob)
		})
	}
}
