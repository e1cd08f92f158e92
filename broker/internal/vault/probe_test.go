package vault

import (
	"context"
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm"
)

// Probe asks the key store each time, whatever is in memory.
func TestProbe(t *testing.T) {
	t.Parallel()
	keys, st, ctx := testKeys(t), &store.Memory{}, t.Context()
	v := testVault(t, keys, st)
	require.NoError(t, v.Probe(ctx))
	other := New(NewKeyring(testKeys(t), st, rand.Reader), st, rand.Reader, v.owner)
	require.ErrorIs(t, other.Probe(ctx), tpm.ErrInvalidBlob)
	require.NoError(t, v.Erase(ctx, KeySuffix))
	require.ErrorIs(t, v.Probe(ctx), store.ErrNotFound)
}

// A vault that another process erased, or erased and made anew, is noticed.
func TestRekeyed(t *testing.T) {
	t.Parallel()
	keys, st, ctx := testKeys(t), &store.Memory{}, t.Context()
	v := testVault(t, keys, st)
	again, err := v.Rekeyed(ctx)
	require.NoError(t, err)
	require.False(t, again)

	theirs := testVault(t, keys, st)
	require.NoError(t, theirs.Destroy(ctx))
	_, err = v.Rekeyed(ctx)
	require.ErrorIs(t, err, store.ErrNotFound)

	theirs = testVault(t, keys, st)
	_, err = theirs.Write(ctx, StateSuffix, []byte("theirs"), Record{})
	require.NoError(t, err)
	_, err = v.Read(ctx, StateSuffix)
	require.ErrorIs(t, err, store.ErrDamaged, "under the key of before")
	again, err = v.Rekeyed(ctx)
	require.NoError(t, err)
	require.True(t, again)
	r, err := v.Read(ctx, StateSuffix)
	require.NoError(t, err)
	require.Equal(t, "theirs", string(r.Plain))
}

// A vault that is closed stays closed, also when that happens while another call
// opens it: its data key does not stay in memory.
func TestClosedForGood(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		began bool // the vault was open, and another process erased the owner and made it again
		open  func(*Vault, context.Context) error
	}{
		"Open":    {open: (*Vault).Open},
		"Create":  {open: (*Vault).Create},
		"again":   {began: true, open: (*Vault).Create},
		"Rekeyed": {began: true, open: func(v *Vault, ctx context.Context) error { _, err := v.Rekeyed(ctx); return err }},
	} {
		for _, when := range []string{"", "account-1" + KeySuffix, rootName} {
			t.Run(name+"/"+when, func(t *testing.T) {
				keys, inner, ctx := testKeys(t), &store.Memory{}, t.Context()
				first := testVault(t, keys, inner)
				st := &scriptedStore{Store: inner, before: map[string]func() error{}}
				v := New(NewKeyring(keys, st, rand.Reader), st, rand.Reader, first.owner)
				if c.began {
					require.NoError(t, v.Open(ctx))
					v.ring.Close()
					require.NoError(t, first.Destroy(ctx))
					testVault(t, keys, inner)
				}
				st.before["Get "+rootName] = func() error { t.Error("the root key was opened for nothing"); return nil }
				if when == "" {
					v.Close()
				} else {
					st.before["Get "+when] = func() error { v.Close(); return nil }
				}
				require.ErrorIs(t, c.open(v, ctx), ErrClosed)
				require.NotContains(t, st.before, "Get "+when, "it was closed meanwhile")
				require.Nil(t, v.CopyKey())
				require.ErrorIs(t, v.Open(ctx), ErrClosed)
				require.NoError(t, v.Destroy(ctx))
				require.ErrorIs(t, v.Open(ctx), store.ErrNotFound)
			})
		}
	}
	v := testVault(t, testKeys(t), &store.Memory{})
	v.Close()
	require.ErrorIs(t, v.Create(t.Context()), ErrClosed, "the data key that is in the store was its own")
}

// A data key that was erased is forgotten, also when no new one can be made.
func TestCreateFailsAfterErasure(t *testing.T) {
	t.Parallel()
	keys, inner, ctx := testKeys(t), &store.Memory{}, t.Context()
	st := &scriptedStore{Store: inner, before: map[string]func() error{}}
	v := testVault(t, keys, st)
	require.NoError(t, testVault(t, keys, inner).Destroy(ctx))
	st.before["Put account-1"+KeySuffix] = func() error { return errCrash }
	require.ErrorIs(t, v.Create(ctx), errCrash)
	require.Nil(t, v.CopyKey())
}

// Create makes a vault anew that another process erased, although the data key is
// in memory.
func TestCreateAfterErasure(t *testing.T) {
	t.Parallel()
	keys, st, ctx := testKeys(t), &store.Memory{}, t.Context()
	v := testVault(t, keys, st)
	before := v.CopyKey()
	require.NoError(t, testVault(t, keys, st).Destroy(ctx))
	require.NoError(t, v.Create(ctx))
	require.NotEqual(t, before, v.CopyKey())
	_, err := v.Write(ctx, StateSuffix, []byte("one"), Record{})
	require.NoError(t, err)
	r, err := testVault(t, keys, st).Read(ctx, StateSuffix)
	require.NoError(t, err)
	require.Equal(t, "one", string(r.Plain), "others open it")
}

// Only a state has a mark beside it.
func TestMarkIsOfTheState(t *testing.T) {
	t.Parallel()
	st, ctx := &store.Memory{}, t.Context()
	v := testVault(t, testKeys(t), st)
	_, err := v.Write(ctx, ".refresh", []byte("one"), Record{})
	require.NoError(t, err)
	_, _, err = st.Get(ctx, v.owner+markSuffix)
	require.ErrorIs(t, err, store.ErrNotFound)
	_, err = v.Write(ctx, StateSuffix, []byte("one"), Record{})
	require.NoError(t, err)
	_, _, err = st.Get(ctx, v.owner+markSuffix)
	require.NoError(t, err)
}

// goneStore has another process delete a record just before this one does.
type goneStore struct{ store.Store }

func (s goneStore) Delete(ctx context.Context, name string, old store.Version) error {
	if err := s.Store.Delete(ctx, name, old); err != nil {
		return err
	}
	return s.Store.Delete(ctx, name, old)
}

func TestErasedMeanwhile(t *testing.T) {
	t.Parallel()
	keys, st, ctx := testKeys(t), &store.Memory{}, t.Context()
	v := testVault(t, keys, goneStore{st})
	_, err := v.Write(ctx, ".log", []byte("one"), Record{})
	require.NoError(t, err)
	require.NoError(t, v.Erase(ctx, ".log"))
	_, _, err = st.Get(ctx, v.owner+".log")
	require.ErrorIs(t, err, store.ErrNotFound)
}

// writtenStore keeps the names of the records that were written.
type writtenStore struct {
	store.Store
	written []string
}

func (s *writtenStore) Put(ctx context.Context, name string, data []byte, old store.Version) (store.Version, error) {
	s.written = append(s.written, name)
	return s.Store.Put(ctx, name, data, old)
}

// A process that still has the data key of an owner that another one erased and a
// third one made anew leaves no record behind that the third cannot open.
func TestNothingIsMadeUnderAnErasedKey(t *testing.T) {
	t.Parallel()
	keys, st, ctx := testKeys(t), &store.Memory{}, t.Context()
	seen := &writtenStore{Store: st}
	stale := testVault(t, keys, seen)
	_, err := stale.Write(ctx, StateSuffix, []byte("one"), Record{})
	require.NoError(t, err)
	require.NoError(t, testVault(t, keys, st).Destroy(ctx))
	leavesNothing := func() {
		t.Helper()
		seen.written = nil
		before, err := st.List(ctx, "")
		require.NoError(t, err)
		require.ErrorIs(t, stale.mark(ctx, 1, stale.KeyVersion()), store.ErrConflict)
		for _, suffix := range []string{StateSuffix, ".tokens", ".log"} {
			_, err := stale.Write(ctx, suffix, []byte("stale"), Record{})
			require.ErrorIs(t, err, store.ErrConflict, suffix)
		}
		after, err := st.List(ctx, "")
		require.NoError(t, err)
		require.Equal(t, before, after)
		require.Empty(t, seen.written, "nobody sees the record for a moment")
	}
	leavesNothing()
	anew := testVault(t, keys, st)
	leavesNothing()
	_, err = anew.Write(ctx, StateSuffix, []byte("two"), Record{})
	require.NoError(t, err)
	r, err := anew.Read(ctx, StateSuffix)
	require.NoError(t, err)
	require.Equal(t, "two", string(r.Plain))
}
