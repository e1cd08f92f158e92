package tpm_test

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// Who taps the bus between processor and chip sees no secret.
func TestWireShowsNoSecret(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		record := tpmtest.NewRecording(e.Opener())
		pin, keyAuth := []byte("2718281828"), []byte("a secret of the app, 32 bytes...")
		secrets := map[string][]byte{"PIN": pin, "key auth": keyAuth, "sealed data": plaintext}
		func() {
			s, err := tpm.Open(t.Context(), record.Opener(), tpm.Config{KeyAuth: keyAuth})
			require.NoError(t, err)
			defer s.Close()
			m := ownMaterial(t, s)
			m.all(t)
			secrets["session key"] = m.secret
			for _, name := range []string{"signing", "decrypting"} {
				key, err := m.session.Derive(t.Context(), []byte(kdf.Label), []byte(name))
				require.NoError(t, err)
				secrets["derived key for "+name] = key[:]
			}
			hello, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: pin})
			require.NoError(t, err)
			digest := sha256.Sum256(nil)
			_, err = hello.(tpm.Signer).SignContext(t.Context(), digest[:], crypto.SHA256)
			require.NoError(t, err)
			wrong, err := s.OpenKey(t.Context(), hello.Blob(), tpm.WithPIN([]byte("3141592653")))
			require.NoError(t, err)
			_, err = wrong.(tpm.Signer).SignContext(t.Context(), digest[:], crypto.SHA256)
			require.ErrorIs(t, err, tpm.ErrWrongPIN)
			secrets["wrong PIN"] = []byte("3141592653")
			secrets["auth value of the PIN"] = tpm.PINAuth(s, hello, pin)
			secrets["auth value of the wrong PIN"] = tpm.PINAuth(s, hello, []byte("3141592653"))

			next := []byte("1618033988")
			_, err = hello.(tpm.PINKey).ChangePIN(t.Context(), next)
			require.NoError(t, err)
			secrets["next PIN"] = next
			secrets["auth value of the next PIN"] = tpm.PINAuth(s, hello, next)
			sealed, err := s.SealPIN(t.Context(), plaintext, aad, pin, tpm.Limit{Time: time.Hour})
			require.NoError(t, err)
			_, err = s.UnsealPIN(t.Context(), sealed, aad, pin)
			require.NoError(t, err)
			_, err = s.ChangeSealPIN(t.Context(), sealed, aad, pin, next)
			require.NoError(t, err)
			secrets["auth value of what the PIN seals"] = tpm.PINSealAuth(s, sealed, aad, pin)
			secrets["auth value of what the next PIN seals"] = tpm.PINSealAuth(s, sealed, aad, next)
			secrets["auth value of the app"] = tpm.AuthValue("prtbroker key auth", nil, keyAuth)
			secrets["auth value of sealed data"] = tpm.SealAuth(s, m.sealed, aad)
			k, err := s.UnwrapSession(t.Context(), m.transport, tpmtest.Wrap(t, m.transport.Public(), m.secret))
			require.NoError(t, err)
			require.NoError(t, k.Close())
		}()
		for name, secret := range secrets {
			require.False(t, record.Contains(secret), name)
			require.False(t, record.Contains(secret[:len(secret)/2]), "half of %s", name)
		}
	})
}

// The recording would show a secret: a password session gives away both the
// session key and what is derived from it.
func TestWireShowsSecretsOfPasswordSession(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		record := tpmtest.NewRecording(e.Opener())
		secret := make([]byte, 32)
		_, err := rand.Read(secret)
		require.NoError(t, err)
		raw(t, record.Opener(), func(c transport.TPM) {
			h, name := hmacKey(t, c, secret, nil)
			rsp, err := tpm2.Hmac{
				Handle:  tpm2.AuthHandle{Handle: h, Name: tpm2.TPM2BName{Buffer: name}, Auth: tpm2.PasswordAuth(nil)},
				Buffer:  tpm2.TPM2BMaxBuffer{Buffer: kdf.Message([]byte(kdf.Label), aad)},
				HashAlg: tpm2.TPMAlgNull,
			}.Execute(c)
			require.NoError(t, err)
			require.True(t, record.Contains(rsp.OutHMAC.Buffer))
		})
		require.True(t, record.Contains(secret))
		derived := kdf.Derive(secret, []byte(kdf.Label), aad)
		require.True(t, record.Contains(derived[:]))
	})
}

// hmacKey loads an HMAC key with an auth value, in clear.
func hmacKey(t testing.TB, c transport.TPM, secret, auth []byte) (tpm2.TPMHandle, []byte) {
	t.Helper()
	primary, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(tpm.SRKTemplate())}.Execute(c)
	require.NoError(t, err)
	parent := tpm2.NamedHandle{Handle: primary.ObjectHandle, Name: primary.Name}
	made, err := tpm2.Create{
		ParentHandle: parent,
		InPublic:     tpm2.New2B(tpm.SessionKeyTemplate()),
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
			UserAuth: tpm2.TPM2BAuth{Buffer: auth},
			Data:     tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: secret}),
		}},
	}.Execute(c)
	require.NoError(t, err)
	loaded, err := tpm2.Load{ParentHandle: parent, InPrivate: made.OutPrivate, InPublic: made.OutPublic}.Execute(c)
	require.NoError(t, err)
	return loaded.ObjectHandle, loaded.Name.Buffer
}

// An auth value with a zero byte inside: go-tpm v0.9.8 cuts it there, which
// the TPM refuses and, for a key with a PIN, counts. Our sessions do not, and
// our auth values have none anyway.
func TestZeroByteInAuth(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		raw(t, e.Opener(), func(c transport.TPM) {
			secret := make([]byte, 32)
			value := []byte{1, 2, 0, 4}
			h, name := hmacKey(t, c, secret, value)
			got, err := tpm.HMACWithAuth(c, h, name, value, []byte("message"))
			require.NoError(t, err)
			require.Len(t, got, 32)
			_, err = tpm.HMACWithAuth(c, h, name, append(value, 0, 0), []byte("message"))
			require.NoError(t, err, "trailing zeros do not count")
			_, err = tpm.HMACWithAuth(c, h, name, value[:2], []byte("message"))
			require.ErrorIs(t, err, tpm2.TPMRCBadAuth)

			_, err = tpm2.Hmac{
				Handle: tpm2.AuthHandle{Handle: h, Name: tpm2.TPM2BName{Buffer: name},
					Auth: tpm2.HMAC(tpm2.TPMAlgSHA256, 16, tpm2.Auth(value))},
				Buffer:  tpm2.TPM2BMaxBuffer{Buffer: []byte("message")},
				HashAlg: tpm2.TPMAlgNull,
			}.Execute(c)
			require.ErrorIs(t, err, tpm2.TPMRCBadAuth, "go-tpm has been mended; the comment on session is stale")
		})
	})
	for i := range 1000 {
		value := tpm.AuthValue("test", nil, []byte{byte(i), byte(i >> 8)})
		require.Len(t, value, 32)
		require.NotContains(t, value, byte(0))
	}
}

// Another boundary between the secrets is another auth value.
func TestAuthValueIsUnambiguous(t *testing.T) {
	require.NotEqual(t,
		tpm.AuthValue("test", nil, []byte("ab"), []byte("c")),
		tpm.AuthValue("test", nil, []byte("a"), []byte("bc")))
	require.NotEqual(t, tpm.AuthValue("test", nil, []byte("a")), tpm.AuthValue("test", nil, []byte("a"), nil))
	require.NotEqual(t, tpm.AuthValue("test", nil, []byte("a")), tpm.AuthValue("test", nil, []byte("a\xff")))
	require.NotEqual(t, tpm.AuthValue("test", nil), tpm.AuthValue("test", nil, nil))
	require.NotEqual(t, tpm.AuthValue("test", nil, nil), tpm.AuthValue("test", nil, nil, nil, nil))
}

// Keys that exist open with the values that they were made with. These come from
// another implementation of HKDF (Python's cryptography).
func TestAuthValueStays(t *testing.T) {
	for _, tt := range []struct {
		secrets []string
		want    string
	}{
		{nil, "BZ4D28UqgM3HKuaSOYT7K-1G_XHhAwLD"},
		{[]string{""}, "BeilZsILMKSqYgXdpFoj0CreWULoV8bP"},
		{[]string{"1234", ""}, "oYDl4-BvHFqTS5ZQgjzyKTM5k99n01il"},
		{[]string{"123456", ""}, "Vl0Y1BSeWCTSWihUHPUAdMtLqmzFa5ns"},
		{[]string{"1234567", ""}, "3KXgJSvYXztS0dC_VFDEeKtGI1SDiIoS"},
		{[]string{"123456", "of the app"}, "966yV1igpEdR42vsqZl6PTy9OPwdJk08"},
	} {
		var secrets [][]byte
		for _, s := range tt.secrets {
			secrets = append(secrets, []byte(s))
		}
		require.Equal(t, tt.want, string(tpm.AuthValue("test", []byte("salt"), secrets...)), "%q", tt.secrets)
	}
}
