package softkeys

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/internal/envelope"
)

// A record that is authentic and makes no sense is refused too: another program may
// hold the master key.
func TestAuthenticRecordsRefused(t *testing.T) {
	s, err := Open(Secret(make([]byte, 32)), InsecureFastPINs())
	require.NoError(t, err)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	agreement, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	cannotSign, err := x509.MarshalPKCS8PrivateKey(agreement)
	require.NoError(t, err)
	header := func(purpose tpm.Purpose, pin byte, public ...byte) []byte {
		return append([]byte{byte(purpose), pin}, public...)
	}
	locked := func(plaintext, header []byte) []byte {
		b, err := insecureCost.lock([]byte("271828"), plaintext, header)
		require.NoError(t, err)
		return b
	}
	pinned := header(tpm.Sign, 1, public...)
	for name, c := range map[string]struct {
		header, private []byte
		says            string // "": good
		use             bool   // the error comes from the first use
	}{
		"good":                      {header(tpm.Sign, 0, public...), pkcs8, "", false},
		"no header":                 {nil, pkcs8, "header", false},
		"a header of a byte":        {header(tpm.Sign, 0)[:1], pkcs8, "header", false},
		"no public key":             {header(tpm.Sign, 0), pkcs8, "public key", false},
		"no purpose":                {header(0, 0, public...), pkcs8, "purpose", false},
		"an unknown purpose":        {header(max(tpm.Sign, tpm.Unwrap)+1, 0, public...), pkcs8, "purpose", false},
		"no private key":            {header(tpm.Sign, 0, public...), nil, "private key", false},
		"a key that cannot sign":    {header(tpm.Sign, 0, public...), cannotSign, "private key", false},
		"good, with a PIN":          {pinned, locked(pkcs8, pinned), "", false},
		"nothing behind the PIN":    {pinned, nil, "truncated", true},
		"no private key behind it":  {pinned, locked(nil, pinned), "private key", true},
		"a key of another header":   {pinned, locked(pkcs8, header(tpm.Sign, 1)), "wrong PIN", true},
		"not locked, said it is":    {pinned, pkcs8, "out of range", true},
		"said not to be, is locked": {header(tpm.Sign, 0, public...), locked(pkcs8, pinned), "private key", false},
	} {
		t.Run(name, func(t *testing.T) {
			blob, err := s.encrypt(envelope.Key, c.header, c.private, nil)
			require.NoError(t, err)
			k, err := s.OpenKey(t.Context(), blob, tpm.WithPIN([]byte("271828")))
			if err == nil {
				require.True(t, c.use || c.says == "", "it opened")
				_, err = k.(tpm.Signer).SignContext(t.Context(), make([]byte, 32), crypto.SHA256)
			}
			if c.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.says)
		})
	}
	for _, n := range []int{0, 31, 33} {
		blob, err := s.encrypt(envelope.Session, nil, make([]byte, n), nil)
		require.NoError(t, err)
		_, err = s.OpenSession(t.Context(), blob)
		require.ErrorIs(t, err, tpm.ErrInvalidBlob)
		require.ErrorContains(t, err, "size of the session key")
	}
	blob := envelope.Marshal(envelope.SoftKeys, envelope.Sealed, make([]byte, recordSalt-1), nil, nil)
	_, err = s.Unseal(t.Context(), blob, nil)
	require.ErrorIs(t, err, tpm.ErrInvalidBlob)
	require.ErrorContains(t, err, "salt size")
	_, err = s.Unseal(t.Context(), []byte("-----BEGIN TSS2 PRIVATE KEY-----"), nil)
	require.ErrorIs(t, err, tpm.ErrWrongStore)
}

// Only an RSA key decrypts a session key, whatever the record says of its purpose.
func TestUnwrapWithoutRSA(t *testing.T) {
	s, err := Open(Secret(make([]byte, 32)))
	require.NoError(t, err)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	k, err := s.encryptKey(tpm.Unwrap, private, nil)
	require.NoError(t, err)
	_, err = s.UnwrapSession(t.Context(), k, make([]byte, 256))
	require.ErrorIs(t, err, tpm.ErrPurpose)
}

// A key whose PIN was not given asks for it, and does not try one.
func TestWithoutPIN(t *testing.T) {
	s, err := Open(Secret(make([]byte, 32)), InsecureFastPINs())
	require.NoError(t, err)
	k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: []byte("271828")})
	require.NoError(t, err)
	for _, tt := range []struct {
		pin  []byte
		says string
	}{{nil, "the key needs WithPIN"}, {[]byte("314159"), "wrong PIN"}} {
		opened, err := s.OpenKey(t.Context(), k.Blob(), tpm.WithPIN(tt.pin))
		require.NoError(t, err)
		_, err = opened.(tpm.Signer).SignContext(t.Context(), make([]byte, 32), crypto.SHA256)
		require.ErrorIs(t, err, tpm.ErrWrongPIN)
		require.ErrorContains(t, err, "signing: ")
		require.ErrorContains(t, err, tt.says)
		_, err = opened.(tpm.PINKey).ChangePIN(t.Context(), []byte("161803"))
		require.ErrorIs(t, err, tpm.ErrWrongPIN)
		require.ErrorContains(t, err, "changing a PIN: ")
		require.ErrorContains(t, err, tt.says)
	}
}

// What a passphrase opens may be another size than a master key.
func TestPassphraseOfAnotherSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "locked")
	for size, says := range map[int]string{31: "is not a master key", 33: "is not a master key", 32: ""} {
		b, err := insecureCost.lock([]byte("correct horse"), make([]byte, size), []byte(passphraseContext))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, b, 0o600))
		_, err = Open(Passphrase(path, []byte("correct horse")))
		if says == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, says)
	}
}

// A closed store says so, and its session keys derive nothing.
func TestClosedStore(t *testing.T) {
	s, err := Open(Secret(make([]byte, 32)))
	require.NoError(t, err)
	blob, err := s.encrypt(envelope.Session, nil, make([]byte, 32), nil)
	require.NoError(t, err)
	k, err := s.OpenSession(t.Context(), blob)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	_, err = s.Info(t.Context())
	require.ErrorIs(t, err, tpm.ErrClosed)
	_, err = k.Derive(t.Context(), nil, nil)
	require.ErrorIs(t, err, tpm.ErrClosed)
	_, err = s.encrypt(envelope.Session, nil, make([]byte, 32), nil)
	require.ErrorIs(t, err, tpm.ErrClosed, "an operation that began before encrypts nothing under a key that was cleared")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Info(ended)
	require.ErrorIs(t, err, context.Canceled)
}
