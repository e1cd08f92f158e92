package tpmtest_test

import (
	"crypto"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

func openStore(t *testing.T, e *tpmtest.Emulator) *tpmtest.Store {
	t.Helper()
	s, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return e.Store(s)
}

// Two TPMs of a pool have the same keys in the same order, each key of a kind
// is another one, and they work; after Wipe a TPM has nothing of the pool's.
func TestPool(t *testing.T) {
	var pool tpmtest.Pool
	one, two := pool.Swtpm(t), pool.Swtpm(t)
	spec := tpm.KeySpec{Purpose: tpm.Sign, PIN: []byte("271828")}
	generate := func(s *tpmtest.Store, spec tpm.KeySpec) tpm.Signer {
		t.Helper()
		k, err := s.GenerateKey(t.Context(), spec)
		require.NoError(t, err)
		_, err = k.(tpm.Signer).SignContext(t.Context(), make([]byte, 32), crypto.SHA256)
		require.NoError(t, err)
		return k.(tpm.Signer)
	}
	a, b := openStore(t, one), openStore(t, two)
	first := generate(a, spec)
	second := generate(a, spec)
	require.NotEqual(t, first.Public(), second.Public())
	require.Equal(t, first.Public(), generate(b, spec).Public())
	require.Equal(t, second.Public(), generate(b, spec).Public())
	require.NotEqual(t, first.Public(), generate(b, tpm.KeySpec{Purpose: tpm.Sign}).Public())
	require.NotEqual(t, first.Public(), generate(b, tpm.KeySpec{Purpose: tpm.Sign, PIN: []byte("314159")}).Public())

	require.NoError(t, a.Close())
	require.NoError(t, one.Wipe())
	a = openStore(t, one)
	_, err := a.OpenKey(t.Context(), first.Blob(), tpm.WithPIN(spec.PIN))
	require.ErrorIs(t, err, tpm.ErrTPMChanged)
	require.NotEqual(t, first.Public(), generate(a, spec).Public())
}
