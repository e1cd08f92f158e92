package tpmtest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
)

// An opening is one of the three ways to give a store a blob. use also uses
// what was opened, since a store may look at a blob only then.
type opening struct {
	name string
	blob func() []byte
	use  func(ctx context.Context, blob []byte) error
}

func (s *suite) openings() []opening {
	sign := func(ctx context.Context, blob []byte) error {
		k, err := s.store.OpenKey(ctx, blob, tpm.WithPIN(goodPIN))
		if err != nil {
			return err
		}
		if k, ok := k.(tpm.Signer); ok {
			_, err = k.SignContext(ctx, digest(crypto.SHA256), crypto.SHA256)
		}
		return err
	}
	return []opening{
		{"key", func() []byte { return s.rsa.Blob() }, sign},
		{"key with PIN", func() []byte { return s.pin.Blob() }, sign},
		{"session key", func() []byte { return s.session.Blob() }, func(ctx context.Context, blob []byte) error {
			k, err := s.store.OpenSession(ctx, blob)
			if err != nil {
				return err
			}
			_, err = k.Derive(ctx, nil, nil)
			return err
		}},
		{"sealed", func() []byte { return s.sealed }, func(ctx context.Context, blob []byte) error {
			_, err := s.store.Unseal(ctx, blob, aad)
			return err
		}},
	}
}

func (s *suite) blobCases() []testCase {
	var cases []testCase
	add := func(name string, run func(t *testing.T)) { cases = append(cases, testCase{name, run}) }
	openings := s.openings()
	for i, o := range openings {
		add(o.name+" opens", func(t *testing.T) { require.NoError(t, o.use(ctx(t), o.blob())) })
		add(o.name+" truncated at every byte", func(t *testing.T) {
			blob := o.blob()
			for n := range blob {
				require.ErrorIs(t, o.use(ctx(t), blob[:n:n]), tpm.ErrInvalidBlob, "%d of %d bytes", n, len(blob))
			}
		})
		add(o.name+" with a byte too many", func(t *testing.T) {
			require.ErrorIs(t, o.use(ctx(t), append(bytes.Clone(o.blob()), 0)), tpm.ErrInvalidBlob)
		})
		add(o.name+" from garbage", func(t *testing.T) {
			require.ErrorIs(t, o.use(ctx(t), bytes.Repeat([]byte{0xa5}, 300)), tpm.ErrInvalidBlob)
		})
		for j, other := range openings {
			if i == j || i < 2 && j < 2 {
				continue
			}
			add(fmt.Sprintf("%s from the blob of a %s", o.name, other.name), func(t *testing.T) {
				require.ErrorIs(t, o.use(ctx(t), other.blob()), tpm.ErrInvalidBlob)
			})
		}
	}
	for _, o := range openings[2:] {
		add(o.name+" changed at every byte", func(t *testing.T) {
			blob := o.blob()
			for i := range blob {
				changed := bytes.Clone(blob)
				changed[i] ^= 0x10
				require.Error(t, o.use(ctx(t), changed), "byte %d", i)
			}
			require.NoError(t, o.use(ctx(t), blob))
		})
	}
	add("key changed at every byte is refused or is the same key", s.changedKey)
	add("key of another kind of store", func(t *testing.T) { s.foreignBlob(t, 0) })
	add("session key of another kind of store", func(t *testing.T) { s.foreignBlob(t, 2) })
	add("sealed by another kind of store", func(t *testing.T) { s.foreignBlob(t, 3) })
	add("what Blob returns may be changed", func(t *testing.T) {
		clear(s.rsa.Blob())
		clear(s.session.Blob())
		require.NoError(t, openings[0].use(ctx(t), s.rsa.Blob()))
		require.NoError(t, openings[2].use(ctx(t), s.session.Blob()))
	})
	return cases
}

// changedKey allows for encodings with more than one form, such as PEM, but
// never for another key, nor a signature that does not fit the key that was
// opened.
func (s *suite) changedKey(t *testing.T) {
	blob, d := s.p256.Blob(), digest(crypto.SHA256)
	for i := range blob {
		changed := bytes.Clone(blob)
		changed[i] ^= 0x01
		k, err := s.store.OpenKey(ctx(t), changed)
		if err != nil {
			continue
		}
		signer, ok := k.(tpm.Signer)
		if !ok {
			continue
		}
		if sig, err := signer.SignContext(ctx(t), d, crypto.SHA256); err == nil {
			require.True(t, ecdsa.VerifyASN1(s.p256.Public().(*ecdsa.PublicKey), d, sig), "byte %d", i)
			require.True(t, s.p256.Public().(*ecdsa.PublicKey).Equal(k.Public()), "byte %d", i)
		}
	}
}

// foreignBlob gives opening i what another store made.
func (s *suite) foreignBlob(t *testing.T, i int) {
	info, err := s.store.Info(ctx(t))
	require.NoError(t, err)
	o := s.openings()[i]
	soft := foreignStore(t)
	tpms, softs := [][]byte{sampleKey, sampleKey, sampleSession, sampleSealed}, [][]byte{soft.key, soft.key, soft.session, soft.box}
	switch info.Backend {
	case "tpm":
		require.ErrorIs(t, o.use(ctx(t), softs[i]), tpm.ErrWrongStore)
		require.ErrorIs(t, o.use(ctx(t), tpms[i]), tpm.ErrKeyUnusable, "another TPM's blob")
	case "softkeys":
		require.ErrorIs(t, o.use(ctx(t), tpms[i]), tpm.ErrWrongStore)
		require.ErrorIs(t, o.use(ctx(t), softs[i]), tpm.ErrInvalidBlob, "another master key's blob")
	default:
		require.ErrorIs(t, o.use(ctx(t), tpms[i]), tpm.ErrWrongStore)
		require.ErrorIs(t, o.use(ctx(t), softs[i]), tpm.ErrWrongStore)
	}
}

// operations are all that a store does.
func (s *suite) operations(t testing.TB) map[string]func(context.Context) error {
	wrapped := Wrap(t, s.transport.Public().(*rsa.PublicKey), s.secret)
	return map[string]func(context.Context) error{
		"GenerateKey": func(ctx context.Context) error {
			_, err := s.store.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256})
			return err
		},
		"OpenKey": func(ctx context.Context) error {
			_, err := s.store.OpenKey(ctx, s.rsa.Blob())
			return err
		},
		"SignContext": func(ctx context.Context) error {
			_, err := s.p256.SignContext(ctx, digest(crypto.SHA256), crypto.SHA256)
			return err
		},
		"UnwrapSession": func(ctx context.Context) error {
			_, err := s.store.UnwrapSession(ctx, s.transport, wrapped)
			return err
		},
		"OpenSession": func(ctx context.Context) error {
			_, err := s.store.OpenSession(ctx, s.session.Blob())
			return err
		},
		"Derive": func(ctx context.Context) error {
			_, err := s.session.Derive(ctx, nil, nil)
			return err
		},
		"Seal": func(ctx context.Context) error {
			_, err := s.store.Seal(ctx, data, aad)
			return err
		},
		"Unseal": func(ctx context.Context) error {
			_, err := s.store.Unseal(ctx, s.sealed, aad)
			return err
		},
	}
}
