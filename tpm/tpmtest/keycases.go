package tpmtest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // SHA-384 and SHA-512 for crypto.Hash
	"crypto/x509"
	"crypto/x509/pkix"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
)

func (s *suite) generateCases() []testCase {
	cases := []testCase{
		{"RSA key has 2048 bits and exponent 65537", func(t *testing.T) {
			for _, k := range []tpm.Key{s.rsa, s.transport} {
				public, ok := k.Public().(*rsa.PublicKey)
				require.True(t, ok)
				require.Equal(t, 2048, public.N.BitLen())
				require.Equal(t, 65537, public.E)
			}
		}},
		{"EC key is on P-256", func(t *testing.T) {
			public, ok := s.p256.Public().(*ecdsa.PublicKey)
			require.True(t, ok)
			require.Equal(t, elliptic.P256(), public.Curve)
		}},
		{"transport key does not sign", func(t *testing.T) {
			_, ok := s.transport.(crypto.Signer)
			require.False(t, ok)
		}},
		{"keys differ", func(t *testing.T) {
			k := s.generate(t, tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256})
			require.False(t, k.Public().(*ecdsa.PublicKey).Equal(s.p256.Public()))
			require.NotEqual(t, k.Blob(), s.p256.Blob())
		}},
		{"Info names the back end", func(t *testing.T) {
			info, err := s.store.Info(ctx(t))
			require.NoError(t, err)
			require.NotEmpty(t, info.Backend)
			require.Equal(t, info.Hardware, info.Manufacturer != "")
		}},
	}
	for name, spec := range map[string]tpm.KeySpec{
		"no purpose is refused":             {},
		"unknown purpose is refused":        {Purpose: 3},
		"unknown algorithm is refused":      {Purpose: tpm.Sign, Algorithm: 2},
		"P-256 transport key is refused":    {Purpose: tpm.Unwrap, Algorithm: tpm.P256},
		"transport key with PIN is refused": {Purpose: tpm.Unwrap, PIN: goodPIN},
		"empty PIN is refused":              {Purpose: tpm.Sign, PIN: []byte{}},
	} {
		cases = append(cases, testCase{name, func(t *testing.T) {
			_, err := s.store.GenerateKey(ctx(t), spec)
			require.Error(t, err)
		}})
	}
	return cases
}

func digest(h crypto.Hash) []byte {
	d := h.New()
	d.Write([]byte("to be signed"))
	return d.Sum(nil)
}

// verify checks a signature the way its reader would.
func verify(t *testing.T, public crypto.PublicKey, digest, sig []byte, opts crypto.SignerOpts) {
	t.Helper()
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		require.True(t, ecdsa.VerifyASN1(public, digest, sig))
	case *rsa.PublicKey:
		if pss, ok := opts.(*rsa.PSSOptions); ok {
			salted := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: pss.Hash}
			require.NoError(t, rsa.VerifyPSS(public, pss.Hash, digest, sig, salted))
			return
		}
		require.NoError(t, rsa.VerifyPKCS1v15(public, opts.HashFunc(), digest, sig))
	default:
		t.Fatalf("public key %T", public)
	}
}

func (s *suite) signCases() []testCase {
	signs := func(name string, k func() tpm.Signer, opts crypto.SignerOpts) testCase {
		return testCase{name, func(t *testing.T) {
			d := digest(opts.HashFunc())
			sig, err := k().SignContext(ctx(t), d, opts)
			require.NoError(t, err)
			verify(t, k().Public(), d, sig, opts)
			d[0] ^= 1
			if public, ok := k().Public().(*ecdsa.PublicKey); ok {
				require.False(t, ecdsa.VerifyASN1(public, d, sig))
			}
		}}
	}
	refuses := func(name string, d []byte, opts crypto.SignerOpts) testCase {
		return testCase{name, func(t *testing.T) {
			_, err := s.rsa.SignContext(ctx(t), d, opts)
			require.Error(t, err)
		}}
	}
	rsaKey, ecKey := func() tpm.Signer { return s.rsa }, func() tpm.Signer { return s.p256 }
	pss := func(h crypto.Hash, salt int) *rsa.PSSOptions { return &rsa.PSSOptions{Hash: h, SaltLength: salt} }
	return []testCase{
		signs("RS256", rsaKey, crypto.SHA256),
		signs("RS384", rsaKey, crypto.SHA384),
		signs("RS512", rsaKey, crypto.SHA512),
		signs("PS256", rsaKey, pss(crypto.SHA256, rsa.PSSSaltLengthEqualsHash)),
		signs("PS384 with salt as a number", rsaKey, pss(crypto.SHA384, 48)),
		signs("PS512 with automatic salt", rsaKey, pss(crypto.SHA512, rsa.PSSSaltLengthAuto)),
		signs("ES256", ecKey, crypto.SHA256),
		signs("ECDSA with SHA-384", ecKey, crypto.SHA384),
		signs("ECDSA with SHA-512", ecKey, crypto.SHA512),
		signs("ECDSA with options of PSS", ecKey, pss(crypto.SHA384, rsa.PSSSaltLengthEqualsHash)),
		refuses("no options are refused", digest(crypto.SHA256), nil),
		refuses("SHA-1 is refused", make([]byte, 20), crypto.SHA1),
		refuses("no hash is refused", digest(crypto.SHA256), crypto.Hash(0)),
		refuses("short digest is refused", make([]byte, 31), crypto.SHA256),
		refuses("long digest is refused", make([]byte, 33), crypto.SHA256),
		refuses("PSS salt of another length is refused", digest(crypto.SHA256), pss(crypto.SHA256, 20)),
		{"Sign of crypto.Signer", func(t *testing.T) {
			sig, err := s.rsa.Sign(nil, digest(crypto.SHA256), crypto.SHA256)
			require.NoError(t, err)
			verify(t, s.rsa.Public(), digest(crypto.SHA256), sig, crypto.SHA256)
		}},
		{"certificate request by an RSA key", func(t *testing.T) { certificateRequest(t, s.rsa) }},
		{"certificate request by an EC key", func(t *testing.T) { certificateRequest(t, s.p256) }},
		{"the caller's digest is left alone", func(t *testing.T) {
			d := digest(crypto.SHA256)
			_, err := s.p256.SignContext(ctx(t), d, crypto.SHA256)
			require.NoError(t, err)
			require.Equal(t, digest(crypto.SHA256), d)
		}},
		{"after reopening", func(t *testing.T) {
			before := s.rsa.Public()
			s.reopen(t)
			require.Equal(t, before, s.rsa.Public())
			sig, err := s.rsa.SignContext(ctx(t), digest(crypto.SHA256), crypto.SHA256)
			require.NoError(t, err)
			verify(t, before, digest(crypto.SHA256), sig, crypto.SHA256)
		}},
		{"a closed key is refused, its blob is not", func(t *testing.T) {
			k, err := s.store.OpenKey(ctx(t), s.p256.Blob())
			require.NoError(t, err)
			require.NoError(t, k.Close())
			require.NoError(t, k.Close())
			_, err = k.(tpm.Signer).SignContext(ctx(t), digest(crypto.SHA256), crypto.SHA256)
			require.ErrorIs(t, err, tpm.ErrClosed)
			_, err = s.store.OpenKey(ctx(t), k.Blob())
			require.NoError(t, err)
		}},
	}
}

func certificateRequest(t *testing.T, k tpm.Signer) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "7E980AD9-B86D-4306-9425-9AC066FB014A"},
	}, k)
	require.NoError(t, err)
	csr, err := x509.ParseCertificateRequest(der)
	require.NoError(t, err)
	require.NoError(t, csr.CheckSignature())
}

func (s *suite) pinCases() []testCase {
	open := func(t *testing.T, opts ...tpm.OpenOption) tpm.Signer {
		k, err := s.store.OpenKey(ctx(t), s.pin.Blob(), opts...)
		require.NoError(t, err)
		return k.(tpm.Signer)
	}
	signs := func(t *testing.T, k tpm.Signer) {
		d := sha256.Sum256([]byte("pin"))
		sig, err := k.SignContext(ctx(t), d[:], crypto.SHA256)
		require.NoError(t, err)
		require.True(t, ecdsa.VerifyASN1(k.Public().(*ecdsa.PublicKey), d[:], sig))
	}
	cases := []testCase{
		{"the new key signs", func(t *testing.T) { signs(t, s.pin) }},
		{"right PIN", func(t *testing.T) { signs(t, open(t, tpm.WithPIN(goodPIN))) }},
		{"no PIN", func(t *testing.T) {
			_, err := open(t).SignContext(ctx(t), digest(crypto.SHA256), crypto.SHA256)
			require.ErrorIs(t, err, tpm.ErrWrongPIN)
		}},
		{"wrong PIN", func(t *testing.T) {
			_, err := open(t, tpm.WithPIN(badPIN)).SignContext(ctx(t), digest(crypto.SHA256), crypto.SHA256)
			require.ErrorIs(t, err, tpm.ErrWrongPIN)
			require.NotContains(t, err.Error(), string(badPIN))
		}},
		{"right PIN after the wrong one", func(t *testing.T) { signs(t, open(t, tpm.WithPIN(goodPIN))) }},
		{"the caller may reuse the PIN's memory", func(t *testing.T) {
			pin := append([]byte(nil), goodPIN...)
			k := open(t, tpm.WithPIN(pin))
			clear(pin)
			signs(t, k)
		}},
		{"a PIN too many is ignored", func(t *testing.T) {
			k, err := s.store.OpenKey(ctx(t), s.p256.Blob(), tpm.WithPIN(goodPIN))
			require.NoError(t, err)
			signs(t, k.(tpm.Signer))
		}},
	}
	return append(cases, s.changePINCases(signs)...)
}

var newPIN = []byte("161803")

// changePINCases give one wrong PIN.
func (s *suite) changePINCases(signs func(*testing.T, tpm.Signer)) []testCase {
	open := func(t *testing.T, blob, pin []byte) tpm.PINKey {
		k, err := s.store.OpenKey(ctx(t), blob, tpm.WithPIN(pin))
		require.NoError(t, err)
		return k.(tpm.PINKey)
	}
	var blob []byte // under newPIN
	return []testCase{
		{"only a key with a PIN can be given another", func(t *testing.T) {
			for _, k := range []tpm.Key{s.rsa, s.p256, s.transport} {
				_, ok := k.(tpm.PINKey)
				require.False(t, ok)
			}
			_, ok := s.pin.(tpm.PINKey)
			require.True(t, ok)
		}},
		{"changed PIN", func(t *testing.T) {
			k := open(t, s.pin.Blob(), goodPIN)
			pin := bytes.Clone(newPIN)
			var err error
			blob, err = k.ChangePIN(ctx(t), pin)
			require.NoError(t, err)
			clear(pin)
			require.Equal(t, s.pin.Public(), k.Public())
			require.Equal(t, blob, k.Blob())
			require.NotEqual(t, blob, s.pin.Blob())
			signs(t, k)
		}},
		{"the new blob opens with the new PIN", func(t *testing.T) {
			k := open(t, blob, newPIN)
			require.Equal(t, s.pin.Public(), k.Public())
			signs(t, k)
		}},
		{"the new blob does not open with the old PIN", func(t *testing.T) {
			_, err := open(t, blob, goodPIN).SignContext(ctx(t), digest(crypto.SHA256), crypto.SHA256)
			require.ErrorIs(t, err, tpm.ErrWrongPIN)
		}},
		{"a copy of the old blob opens with the old PIN", func(t *testing.T) { signs(t, open(t, s.pin.Blob(), goodPIN)) }},
		{"PIN changed twice", func(t *testing.T) {
			k := open(t, blob, newPIN)
			_, err := k.ChangePIN(ctx(t), []byte("a longer one, of letters and more than thirty-two bytes"))
			require.NoError(t, err)
			signs(t, k)
			last, err := k.ChangePIN(ctx(t), goodPIN)
			require.NoError(t, err)
			signs(t, open(t, last, goodPIN))
		}},
		{"a PIN is not changed without the current one", func(t *testing.T) {
			k, err := s.store.OpenKey(ctx(t), blob)
			require.NoError(t, err)
			_, err = k.(tpm.PINKey).ChangePIN(ctx(t), goodPIN)
			require.ErrorIs(t, err, tpm.ErrWrongPIN)
			require.Equal(t, blob, k.Blob())
		}},
		{"a PIN is not changed to none", func(t *testing.T) {
			for _, pin := range [][]byte{nil, {}} {
				_, err := open(t, blob, newPIN).ChangePIN(ctx(t), pin)
				require.Error(t, err)
			}
		}},
		{"a closed key's PIN is not changed", func(t *testing.T) {
			k := open(t, blob, newPIN)
			require.NoError(t, k.Close())
			_, err := k.ChangePIN(ctx(t), goodPIN)
			require.ErrorIs(t, err, tpm.ErrClosed)
		}},
		{"a PIN is not changed after its context", func(t *testing.T) {
			k := open(t, blob, newPIN)
			cancelled, cancel := context.WithCancel(ctx(t))
			cancel()
			_, err := k.ChangePIN(cancelled, goodPIN)
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, blob, k.Blob())
			signs(t, k)
		}},
		{"a key is used while its PIN changes", func(t *testing.T) {
			k := open(t, blob, newPIN)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					if _, err := k.SignContext(ctx(t), digest(crypto.SHA256), crypto.SHA256); err != nil {
						t.Error(err)
					}
				})
				wg.Go(func() {
					if _, err := k.ChangePIN(ctx(t), goodPIN); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			signs(t, open(t, k.Blob(), goodPIN))
		}},
	}
}
