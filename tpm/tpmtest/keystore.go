package tpmtest

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/tpm"
)

// RunKeyStore runs the conformance suite, which every key store must pass. open
// opens the store under test, each time on the same TPM or master key; it is
// called again only after the previous store was closed. The suite gives a
// wrong PIN twice; three lock these TPMs.
func RunKeyStore(t *testing.T, open func(t testing.TB) tpm.KeyStore) {
	s := &suite{open: open}
	s.store = open(t)
	t.Cleanup(func() { _ = s.store.Close() })
	s.prepare(t)
	groups := []struct {
		name  string
		cases func() []testCase
	}{
		{"Generate", s.generateCases},
		{"Sign", s.signCases},
		{"PIN", s.pinCases},
		{"Unwrap", s.unwrapCases},
		{"Derive", s.deriveCases},
		{"Seal", s.sealCases},
		{"Blob", s.blobCases},
		{"Context", s.contextCases},
		{"Concurrent", s.concurrentCases},
		{"Close", s.closeCases}, // last: it closes the store
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for _, c := range g.cases() {
				t.Run(c.name, c.run)
			}
		})
	}
}

type testCase struct {
	name string
	run  func(t *testing.T)
}

// suite holds keys that the cases share: making one takes a TPM a while.
type suite struct {
	open      func(t testing.TB) tpm.KeyStore
	store     tpm.KeyStore
	rsa, p256 tpm.Signer
	pin       tpm.Signer
	transport tpm.Key
	secret    []byte // of session
	session   tpm.SessionKey
	sealed    []byte
}

var (
	goodPIN = []byte("271828")
	badPIN  = []byte("314159")
	data    = []byte("a data key of thirty-two bytes..")
	aad     = []byte("record/1")
)

func (s *suite) prepare(t *testing.T) {
	s.rsa = s.generate(t, tpm.KeySpec{Purpose: tpm.Sign}).(tpm.Signer)
	s.p256 = s.generate(t, tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256}).(tpm.Signer)
	s.pin = s.generate(t, tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: goodPIN}).(tpm.Signer)
	s.transport = s.generate(t, tpm.KeySpec{Purpose: tpm.Unwrap})
	s.secret = make([]byte, kdf.KeySize)
	_, err := rand.Read(s.secret)
	require.NoError(t, err)
	s.session = s.unwrap(t, s.secret)
	s.sealed, err = s.store.Seal(ctx(t), data, aad)
	require.NoError(t, err)
}

func ctx(t testing.TB) context.Context { return t.Context() }

func (s *suite) generate(t testing.TB, spec tpm.KeySpec) tpm.Key {
	k, err := s.store.GenerateKey(ctx(t), spec)
	require.NoError(t, err)
	return k
}

// Wrap encrypts a session key to a transport key as Entra does: RSA-OAEP with
// SHA-1 and an empty label.
func Wrap(t testing.TB, transport crypto.PublicKey, sessionKey []byte) []byte {
	t.Helper()
	wrapped, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, transport.(*rsa.PublicKey), sessionKey, nil)
	require.NoError(t, err)
	return wrapped
}

func (s *suite) unwrap(t testing.TB, secret []byte) tpm.SessionKey {
	k, err := s.store.UnwrapSession(ctx(t), s.transport, Wrap(t, s.transport.Public(), secret))
	require.NoError(t, err)
	return k
}

// reopen closes the store and opens it again.
func (s *suite) reopen(t testing.TB) {
	require.NoError(t, s.store.Close())
	s.store = s.open(t)
	key := func(k tpm.Key) tpm.Key {
		k, err := s.store.OpenKey(ctx(t), k.Blob(), tpm.WithPIN(goodPIN))
		require.NoError(t, err)
		return k
	}
	s.rsa, s.p256, s.pin = key(s.rsa).(tpm.Signer), key(s.p256).(tpm.Signer), key(s.pin).(tpm.Signer)
	s.transport = key(s.transport)
	var err error
	s.session, err = s.store.OpenSession(ctx(t), s.session.Blob())
	require.NoError(t, err)
}
