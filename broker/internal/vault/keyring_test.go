package vault

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm"
)

// countingKeys counts what a key store unseals.
type countingKeys struct {
	tpm.KeyStore
	unsealed atomic.Int32
}

func (k *countingKeys) Unseal(ctx context.Context, sealed, aad []byte) ([]byte, error) {
	k.unsealed.Add(1)
	return k.KeyStore.Unseal(ctx, sealed, aad)
}

// owners makes k vaults with a record each.
func owners(t *testing.T, ring *Keyring, st store.Store, k int) {
	for i := range k {
		v := New(ring, st, rand.Reader, fmt.Sprintf("account-%d", i))
		require.NoError(t, v.Create(t.Context()))
		_, err := v.Write(t.Context(), StateSuffix, []byte(v.owner), Record{})
		require.NoError(t, err)
	}
}

// However many accounts there are, and however many callers open them at once,
// the key store unseals once.
func TestKeyringUnsealsOnce(t *testing.T) {
	t.Parallel()
	keys, st := &countingKeys{KeyStore: testKeys(t)}, &store.Memory{}
	owners(t, NewKeyring(keys, st, rand.Reader), st, 20)
	require.Zero(t, keys.unsealed.Load(), "what was made is known")

	ring := NewKeyring(keys, st, rand.Reader)
	var all sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		all.Go(func() {
			v := New(ring, st, rand.Reader, fmt.Sprintf("account-%d", i))
			if errs[i] = v.Open(t.Context()); errs[i] == nil {
				_, errs[i] = v.Read(t.Context(), StateSuffix)
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, keys.unsealed.Load())
}

// A root key that is gone is damage, and none is made in its place: what was
// wrapped under it would be lost for good, and the loss would look like a new
// machine.
func TestKeyringRootGone(t *testing.T) {
	t.Parallel()
	keys, st := testKeys(t), &store.Memory{}
	owners(t, NewKeyring(keys, st, rand.Reader), st, 2)
	root, version, err := st.Get(t.Context(), rootName)
	require.NoError(t, err)
	require.NoError(t, st.Delete(t.Context(), rootName, version))

	ring := NewKeyring(keys, st, rand.Reader)
	require.ErrorIs(t, New(ring, st, rand.Reader, "account-0").Open(t.Context()), store.ErrDamaged)
	require.ErrorIs(t, New(ring, st, rand.Reader, "account-9").Create(t.Context()), store.ErrDamaged)
	names, err := st.List(t.Context(), "")
	require.NoError(t, err)
	require.NotContains(t, names, rootName)

	_, err = st.Put(t.Context(), rootName, root, 0)
	require.NoError(t, err)
	require.NoError(t, New(ring, st, rand.Reader, "account-0").Open(t.Context()), "it comes back with the record")

	// Nor is one that is gone a reason to believe that an account does not exist, for
	// a keyring that has it in memory.
	_, version, err = st.Get(t.Context(), rootName)
	require.NoError(t, err)
	require.NoError(t, st.Delete(t.Context(), rootName, version))
	require.NoError(t, New(ring, st, rand.Reader, "account-1").Open(t.Context()), "what is in memory opens")
	wrapped, version, err := st.Get(t.Context(), "account-0"+KeySuffix)
	require.NoError(t, err)
	wrapped[len(wrapped)-1] ^= 1
	_, err = st.Put(t.Context(), "account-0"+KeySuffix, wrapped, version)
	require.NoError(t, err)
	err = New(ring, st, rand.Reader, "account-0").Open(t.Context())
	require.ErrorIs(t, err, store.ErrDamaged)
	require.NotErrorIs(t, err, store.ErrNotFound)
	require.Nil(t, ring.root, "a root key whose record is gone is forgotten")
}

// Whether another data key needs the root key that is gone is not known while that
// data key cannot be read: none is made then.
func TestKeyringUnknownNeed(t *testing.T) {
	t.Parallel()
	keys, inner := testKeys(t), &store.Memory{}
	st := &scriptedStore{Store: inner, before: map[string]func() error{}}
	owners(t, NewKeyring(keys, inner, rand.Reader), inner, 1)
	_, version, err := inner.Get(t.Context(), rootName)
	require.NoError(t, err)
	require.NoError(t, inner.Delete(t.Context(), rootName, version))
	for name, c := range map[string]struct{ got, want error }{
		"it cannot be read": {errCrash, errCrash},
		"it was erased":     {store.ErrNotFound, nil},
		"it is damaged":     {store.ErrDamaged, nil},
	} {
		other := New(NewKeyring(keys, st, rand.Reader), st, rand.Reader, "account-9")
		st.before["Get account-0"+KeySuffix] = func() error { return c.got }
		require.ErrorIs(t, other.Create(t.Context()), c.want, name)
		_, version, err := inner.Get(t.Context(), rootName)
		require.Equal(t, c.want == nil, err == nil, name)
		if err == nil {
			require.NoError(t, inner.Delete(t.Context(), rootName, version))
			require.NoError(t, other.Destroy(t.Context()))
		}
	}
}

// A data key opens for its owner alone, and whatever is changed in it is found.
func TestKeyringTampered(t *testing.T) {
	t.Parallel()
	keys, st, ctx := testKeys(t), &store.Memory{}, t.Context()
	ring := NewKeyring(keys, st, rand.Reader)
	owners(t, ring, st, 2)
	one, version, err := st.Get(ctx, "account-1"+KeySuffix)
	require.NoError(t, err)
	zero, _, err := st.Get(ctx, "account-0"+KeySuffix)
	require.NoError(t, err)
	version, err = st.Put(ctx, "account-1"+KeySuffix, zero, version)
	require.NoError(t, err)
	require.ErrorIs(t, New(ring, st, rand.Reader, "account-1").Open(ctx), store.ErrDamaged, "another owner's")
	for n := range one {
		changed := bytes.Clone(one)
		changed[n] ^= 1
		version, err = st.Put(ctx, "account-1"+KeySuffix, changed, version)
		require.NoError(t, err)
		err := New(ring, st, rand.Reader, "account-1").Open(ctx)
		if n < len(wrappedMark) { // it then looks like one that the key store sealed
			require.NotErrorIs(t, err, store.ErrNotFound)
			require.ErrorContains(t, err, "blob", "byte %d", n)
			continue
		}
		require.ErrorIs(t, err, store.ErrDamaged, "byte %d", n)
	}
	for n := range len(one) {
		version, err = st.Put(ctx, "account-1"+KeySuffix, one[:n], version)
		require.NoError(t, err)
		require.NotNil(t, New(ring, st, rand.Reader, "account-1").Open(ctx), "%d bytes", n)
	}
}

// What the key store itself sealed, before there was a root key, opens, and the
// next data key is wrapped.
func TestKeyringOpensSealedDataKeys(t *testing.T) {
	t.Parallel()
	keys, st, ctx := testKeys(t), &store.Memory{}, t.Context()
	key := bytes.Repeat([]byte{7}, KeySize)
	ring := NewKeyring(keys, st, rand.Reader)
	v := New(ring, st, rand.Reader, "account-0")
	sealed, err := keys.Seal(ctx, key, v.purpose())
	require.NoError(t, err)
	_, err = st.Put(ctx, "account-0"+KeySuffix, sealed, 0)
	require.NoError(t, err)
	require.NoError(t, v.Open(ctx))
	require.Equal(t, key, v.CopyKey())
	require.NoError(t, v.Probe(ctx))
	require.NoError(t, New(ring, st, rand.Reader, "account-1").Create(ctx))
	wrapped, _, err := st.Get(ctx, "account-1"+KeySuffix)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(wrapped, []byte(wrappedMark)))
}

// Another process emptied the store and began anew: the keyring in memory is not
// believed.
func TestKeyringBegunAnew(t *testing.T) {
	t.Parallel()
	keys, st, ctx := testKeys(t), &store.Memory{}, t.Context()
	old := NewKeyring(keys, st, rand.Reader)
	owners(t, old, st, 1)
	names, err := st.List(ctx, "")
	require.NoError(t, err)
	for _, n := range names {
		_, version, err := st.Get(ctx, n)
		require.NoError(t, err)
		require.NoError(t, st.Delete(ctx, n, version))
	}
	owners(t, NewKeyring(keys, st, rand.Reader), st, 1)
	require.NoError(t, New(old, st, rand.Reader, "account-0").Open(ctx))
	require.NoError(t, New(old, st, rand.Reader, "account-1").Create(ctx))
	require.NoError(t, New(NewKeyring(keys, st, rand.Reader), st, rand.Reader, "account-1").Open(ctx))
}

// Waiting for another caller's key store ends with the context, and a closed
// keyring has forgotten its key.
func TestKeyringContext(t *testing.T) {
	t.Parallel()
	keys, st := testKeys(t), &store.Memory{}
	ring := NewKeyring(keys, st, rand.Reader)
	owners(t, ring, st, 1)
	<-ring.turn
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, New(ring, st, rand.Reader, "account-0").Open(ctx), context.Canceled)
	root := ring.root
	ring.turn <- struct{}{}
	ring.Close()
	require.Equal(t, make([]byte, KeySize), root)
	require.Nil(t, ring.root)
}
