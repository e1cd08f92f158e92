package vault

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

func testVault(t *testing.T, keys tpm.KeyStore, st store.Store) *Vault {
	t.Helper()
	v := New(NewKeyring(keys, st, rand.Reader), st, rand.Reader, "account-1")
	require.NoError(t, v.Create(t.Context()))
	return v
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	keys, st, ctx := testKeys(t), &store.Memory{}, t.Context()
	v := testVault(t, keys, st)
	var old Record
	for _, s := range []string{"one", "", strings.Repeat("x", 100_000)} {
		r, err := v.Write(ctx, StateSuffix, []byte(s), old)
		require.NoError(t, err)
		require.Equal(t, old.Generation+1, r.Generation)
		again := testVault(t, keys, st)
		got, err := again.Read(ctx, StateSuffix)
		require.NoError(t, err)
		require.Equal(t, s, string(got.Plain))
		require.Equal(t, r.Version, got.Version)
		old = r
	}
	_, err := v.Write(ctx, StateSuffix, []byte("late"), Record{})
	require.ErrorIs(t, err, store.ErrConflict)
}

// Nothing but the very record opens: not one with a bit changed, cut short,
// moved to another name or another owner.
func TestTampering(t *testing.T) {
	t.Parallel()
	keys, st, ctx := testKeys(t), &store.Memory{}, t.Context()
	v := testVault(t, keys, st)
	_, err := v.Write(ctx, StateSuffix, []byte("the state"), Record{})
	require.NoError(t, err)
	name := v.owner + StateSuffix
	good, version, err := st.Get(ctx, name)
	require.NoError(t, err)
	put := func(raw []byte) {
		version, err = st.Put(ctx, name, raw, version)
		require.NoError(t, err)
	}
	for i := range good {
		for _, bit := range []byte{1, 0x80} {
			bad := slices.Clone(good)
			bad[i] ^= bit
			put(bad)
			_, err := testVault(t, keys, st).Read(ctx, StateSuffix)
			require.True(t, errors.Is(err, store.ErrDamaged) || i == 0 && errors.Is(err, errors.ErrUnsupported), "byte %d: %v", i, err)
		}
	}
	for n := range good {
		put(good[:n])
		_, err := testVault(t, keys, st).Read(ctx, StateSuffix)
		require.ErrorIs(t, err, store.ErrDamaged, "cut to %d", n)
	}
	put(good)
	_, err = testVault(t, keys, st).Read(ctx, StateSuffix)
	require.NoError(t, err)

	_, err = st.Put(ctx, v.owner+".log", good, 0)
	require.NoError(t, err)
	_, err = v.Read(ctx, ".log")
	require.ErrorIs(t, err, store.ErrDamaged, "another record's")

	other := New(NewKeyring(keys, st, rand.Reader), st, rand.Reader, "account-2")
	require.NoError(t, other.Create(ctx))
	_, err = st.Put(ctx, "account-2"+StateSuffix, good, 0)
	require.NoError(t, err)
	_, err = other.Read(ctx, StateSuffix)
	require.ErrorIs(t, err, store.ErrDamaged, "another owner's")
}

// An older state that is put back is refused, in the process that wrote the
// newer one and in one that starts later.
func TestRollback(t *testing.T) {
	t.Parallel()
	keys, st, ctx := testKeys(t), &store.Memory{}, t.Context()
	v := testVault(t, keys, st)
	r1, err := v.Write(ctx, StateSuffix, []byte("one"), Record{})
	require.NoError(t, err)
	old, _, err := st.Get(ctx, v.owner+StateSuffix)
	require.NoError(t, err)
	r2, err := v.Write(ctx, StateSuffix, []byte("two"), r1)
	require.NoError(t, err)
	back, err := st.Put(ctx, v.owner+StateSuffix, old, r2.Version)
	require.NoError(t, err)

	_, err = v.Read(ctx, StateSuffix)
	require.ErrorIs(t, err, store.ErrDamaged)
	_, err = testVault(t, keys, st).Read(ctx, StateSuffix)
	require.ErrorIs(t, err, store.ErrDamaged)

	require.NoError(t, st.Delete(ctx, v.owner+StateSuffix, back))
	_, err = testVault(t, keys, st).Read(ctx, StateSuffix)
	require.ErrorIs(t, err, store.ErrDamaged, "a state that is gone is not an empty one")
}

// A record that has no mark is guarded in the process that wrote or read a newer
// one.
func TestRollbackWithoutMark(t *testing.T) {
	t.Parallel()
	keys, st, ctx := testKeys(t), &store.Memory{}, t.Context()
	const suffix = ".other"
	v := testVault(t, keys, st)
	r1, err := v.Write(ctx, suffix, []byte("one"), Record{})
	require.NoError(t, err)
	old, _, err := st.Get(ctx, v.owner+suffix)
	require.NoError(t, err)
	r2, err := v.Write(ctx, suffix, []byte("two"), r1)
	require.NoError(t, err)
	reader := testVault(t, keys, st)
	_, err = reader.Read(ctx, suffix)
	require.NoError(t, err)
	_, err = st.Put(ctx, v.owner+suffix, old, r2.Version)
	require.NoError(t, err)
	for name, v := range map[string]*Vault{"the writer": v, "a reader": reader} {
		_, err = v.Read(ctx, suffix)
		require.ErrorIs(t, err, store.ErrDamaged, name)
	}
}

// A crash between the state and its mark leaves a state that is read.
func TestCrashBeforeMark(t *testing.T) {
	t.Parallel()
	keys, ctx := testKeys(t), t.Context()
	st := &failingStore{Store: &store.Memory{}}
	v := testVault(t, keys, st)
	r, err := v.Write(ctx, StateSuffix, []byte("one"), Record{})
	require.NoError(t, err)
	st.fail = v.owner + markSuffix
	_, err = v.Write(ctx, StateSuffix, []byte("two"), r)
	require.ErrorIs(t, err, errCrash)
	got, err := testVault(t, keys, st.Store).Read(ctx, StateSuffix)
	require.NoError(t, err)
	require.Equal(t, "two", string(got.Plain))
}

func TestOfAnotherKeyStore(t *testing.T) {
	t.Parallel()
	st := &store.Memory{}
	testVault(t, testKeys(t), st)
	err := New(NewKeyring(testKeys(t), st, rand.Reader), st, rand.Reader, "account-1").Open(t.Context())
	require.ErrorIs(t, err, tpm.ErrInvalidBlob)
}

// An erasure that cannot be announced does not begin: without the announcement, what is
// left of it would be damage.
func TestDestroyUnannounced(t *testing.T) {
	t.Parallel()
	keys, inner, ctx := testKeys(t), &store.Memory{}, t.Context()
	st := &scriptedStore{Store: inner, before: map[string]func() error{}}
	v := testVault(t, keys, st)
	st.before["Put account-1"+erasingSuffix] = func() error { return errCrash }
	require.ErrorIs(t, v.Destroy(ctx), errCrash)
	require.NoError(t, testVault(t, keys, inner).Check(ctx))
	require.NotNil(t, v.CopyKey())
}

func TestDestroy(t *testing.T) {
	t.Parallel()
	keys, st, ctx := testKeys(t), &store.Memory{}, t.Context()
	v := testVault(t, keys, st)
	r, err := v.Write(ctx, StateSuffix, []byte("one"), Record{})
	require.NoError(t, err)
	raw, _, err := st.Get(ctx, v.owner+StateSuffix)
	require.NoError(t, err)
	require.NoError(t, v.Destroy(ctx))
	names, err := st.List(ctx, "")
	require.NoError(t, err)
	require.Equal(t, []string{rootName}, names, "the key that wraps those of all owners stays")
	_, err = v.Write(ctx, StateSuffix, nil, r)
	require.ErrorIs(t, err, ErrClosed)

	// What was copied before does not open under the new data key.
	again := testVault(t, keys, st)
	_, err = st.Put(ctx, v.owner+StateSuffix, raw, 0)
	require.NoError(t, err)
	_, err = again.Read(ctx, StateSuffix)
	require.ErrorIs(t, err, store.ErrDamaged)
}

// A vault that another process makes while this one looks for what a removal
// left is not swept, and the leftovers are.
func TestMadeMeanwhile(t *testing.T) {
	t.Parallel()
	keys, inner, ctx := testKeys(t), &store.Memory{}, t.Context()
	_, err := inner.Put(ctx, "account-1"+".log", []byte("left"), 0)
	require.NoError(t, err)
	for _, at := range []string{"List", "Delete"} {
		t.Run(at, func(t *testing.T) {
			st := &wedgedStore{Store: inner, at: at}
			var made *Vault
			st.wedge = func() {
				made = testVault(t, keys, inner)
				_, err := made.Write(ctx, StateSuffix, []byte("one"), Record{})
				require.NoError(t, err)
			}
			v := testVault(t, keys, st)
			require.NotNil(t, made)
			got, err := v.Read(ctx, StateSuffix)
			require.NoError(t, err)
			require.Equal(t, "one", string(got.Plain))
			_, err = v.Read(ctx, ".log")
			require.ErrorIs(t, err, store.ErrNotFound)
			require.NoError(t, v.Destroy(ctx))
			_, err = inner.Put(ctx, "account-1"+".log", []byte("left"), 0)
			require.NoError(t, err)
		})
	}
}

// wedgedStore lets another writer in once, before a List or a Delete.
type wedgedStore struct {
	store.Store
	at    string
	wedge func()
	once  sync.Once
}

func (s *wedgedStore) List(ctx context.Context, prefix string) ([]string, error) {
	if s.at == "List" {
		s.once.Do(s.wedge)
	}
	return s.Store.List(ctx, prefix)
}

func (s *wedgedStore) Delete(ctx context.Context, name string, old store.Version) error {
	if s.at == "Delete" {
		s.once.Do(s.wedge)
	}
	return s.Store.Delete(ctx, name, old)
}

var errCrash = errors.New("crash")

// failingStore fails to write one record.
type failingStore struct {
	store.Store
	fail string
}

func (s *failingStore) Put(ctx context.Context, name string, data []byte, old store.Version) (store.Version, error) {
	if name == s.fail {
		return 0, errCrash
	}
	return s.Store.Put(ctx, name, data, old)
}

// No record but the one that was sealed opens.
func FuzzUnseal(f *testing.F) {
	v := New(nil, &store.Memory{}, bytes.NewReader(make([]byte, 64)), "account-1") // the same record in every fuzzing process
	v.setKey(bytes.Repeat([]byte{7}, KeySize), 1)
	good, err := v.Seal(StateSuffix, []byte("the state"), 3)
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte{})
	f.Add(good[:len(good)-1])
	f.Fuzz(func(t *testing.T, raw []byte) {
		plain, generation, err := v.Unseal(StateSuffix, raw)
		if err == nil && !bytes.Equal(raw, good) {
			t.Fatalf("another record opens: %q, generation %d", plain, generation)
		}
	})
}

func testKeys(t testing.TB) tpm.KeyStore {
	t.Helper()
	keys, err := softkeys.Open(softkeys.File(t.TempDir() + "/master"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = keys.Close() })
	return keys
}

// A record that is missing is damage, and not an owner who is not there.
func TestMissing(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{KeySuffix, StateSuffix, markSuffix} {
		t.Run(suffix, func(t *testing.T) {
			keys, st, ctx := testKeys(t), &store.Memory{}, t.Context()
			v := testVault(t, keys, st)
			_, err := v.Write(ctx, StateSuffix, []byte("the state"), Record{})
			require.NoError(t, err)
			_, version, err := st.Get(ctx, v.owner+suffix)
			require.NoError(t, err)
			require.NoError(t, st.Delete(ctx, v.owner+suffix, version))

			next := New(NewKeyring(keys, st, rand.Reader), st, rand.Reader, v.owner)
			err = next.Open(ctx)
			if err == nil {
				_, err = next.Read(ctx, StateSuffix)
			}
			require.ErrorIs(t, err, store.ErrDamaged)
			require.ErrorContains(t, err, v.owner+suffix+" is missing")
			if suffix == KeySuffix {
				require.ErrorIs(t, next.Create(ctx), store.ErrDamaged)
				require.ErrorIs(t, v.Check(ctx), store.ErrDamaged, "what is in memory does not hide it")
				_, err := v.Rekeyed(ctx)
				require.ErrorIs(t, err, store.ErrDamaged)
			} else {
				_, err := v.Read(ctx, StateSuffix)
				require.ErrorIs(t, err, store.ErrDamaged)
			}
			require.NoError(t, next.Destroy(ctx))
			left, err := st.List(ctx, v.owner)
			require.NoError(t, err)
			require.Empty(t, left)
			require.NoError(t, next.Create(ctx))
			_, err = next.Read(ctx, StateSuffix)
			require.ErrorIs(t, err, store.ErrNotFound)
		})
	}
}

// A data key that comes while its absence is looked into is taken, and a store that
// cannot be read says nothing about an owner.
func TestMissingMeanwhile(t *testing.T) {
	t.Parallel()
	keys, inner, ctx := testKeys(t), &store.Memory{}, t.Context()
	st := &scriptedStore{Store: inner, before: map[string]func() error{}}
	first := testVault(t, keys, inner)
	_, err := first.Write(ctx, StateSuffix, []byte("one"), Record{})
	require.NoError(t, err)
	key, version, err := inner.Get(ctx, "account-1"+KeySuffix)
	require.NoError(t, err)
	require.NoError(t, inner.Delete(ctx, "account-1"+KeySuffix, version))

	v := New(NewKeyring(keys, st, rand.Reader), st, rand.Reader, "account-1")
	for _, name := range []string{KeySuffix, StateSuffix, erasingSuffix} {
		st.before["Get account-1"+name] = func() error { return errCrash }
		require.ErrorIs(t, v.Open(ctx), errCrash, name)
	}
	st.before["Get account-1"+erasingSuffix] = func() error { // then the state is read again
		st.before["Get account-1"+StateSuffix] = func() error { return errCrash }
		return nil
	}
	require.ErrorIs(t, v.Open(ctx), errCrash)
	require.ErrorIs(t, v.Open(ctx), store.ErrDamaged)
	st.before["Get account-1"+StateSuffix] = func() error {
		_, err := inner.Put(ctx, "account-1"+KeySuffix, key, 0)
		return err
	}
	require.NoError(t, v.Open(ctx))
}

// A record of a later version is not damage: nobody shall be told to erase it.
func TestLaterFormat(t *testing.T) {
	t.Parallel()
	st, ctx := &store.Memory{}, t.Context()
	v := testVault(t, testKeys(t), st)
	r, err := v.Write(ctx, ".log", []byte("one"), Record{})
	require.NoError(t, err)
	raw, _, err := st.Get(ctx, "account-1.log")
	require.NoError(t, err)
	raw[0]++
	_, err = st.Put(ctx, "account-1.log", raw, r.Version)
	require.NoError(t, err)
	_, err = v.Get(ctx, ".log")
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.NotErrorIs(t, err, store.ErrDamaged)
	require.ErrorContains(t, err, "record account-1.log has format 2; this version reads 1")
}

// A state that was put back without the mark beside it is not believed, be it
// the very first.
func TestRollbackBeforeTheMark(t *testing.T) {
	t.Parallel()
	keys, st, ctx := testKeys(t), &store.Memory{}, t.Context()
	v := testVault(t, keys, st)
	r, err := v.Write(ctx, StateSuffix, []byte("one"), Record{})
	require.NoError(t, err)
	old, _, err := st.Get(ctx, v.owner+StateSuffix)
	require.NoError(t, err)
	r, err = v.Write(ctx, StateSuffix, []byte("two"), r)
	require.NoError(t, err)
	_, err = st.Put(ctx, v.owner+StateSuffix, old, r.Version)
	require.NoError(t, err)
	_, mark, err := st.Get(ctx, v.owner+markSuffix)
	require.NoError(t, err)
	require.NoError(t, st.Delete(ctx, v.owner+markSuffix, mark))
	_, err = testVault(t, keys, st).Read(ctx, StateSuffix)
	require.ErrorIs(t, err, store.ErrDamaged)
}

// A store that stops after n writes, as a killed process does.
type stopping struct {
	store.Store
	left int
}

var errStopped = errors.New("stopped")

func (s *stopping) Put(ctx context.Context, name string, data []byte, old store.Version) (store.Version, error) {
	if s.left--; s.left < 0 {
		return 0, errStopped
	}
	return s.Store.Put(ctx, name, data, old)
}

func (s *stopping) Delete(ctx context.Context, name string, old store.Version) error {
	if s.left--; s.left < 0 {
		return errStopped
	}
	return s.Store.Delete(ctx, name, old)
}

// An owner that is made, or erased, is there or not, whenever that was broken
// off: never damaged.
func TestBrokenOff(t *testing.T) {
	t.Parallel()
	keys := testKeys(t)
	establish := func(ctx context.Context, v *Vault) error {
		err := v.Create(ctx)
		if err == nil {
			_, err = v.Write(ctx, StateSuffix, []byte("the state"), Record{})
		}
		if err == nil {
			_, err = v.Write(ctx, ".log", []byte("more"), Record{})
		}
		return err
	}
	erase := func(ctx context.Context, v *Vault) error { return v.Destroy(ctx) }
	for name, do := range map[string]func(context.Context, *Vault) error{"made": establish, "erased": erase} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			for n := 0; ; n++ {
				st := &store.Memory{}
				ring := NewKeyring(keys, st, rand.Reader)
				if name == "erased" {
					require.NoError(t, establish(ctx, New(ring, st, rand.Reader, "account-1")))
				}
				err := do(ctx, New(ring, &stopping{st, n}, rand.Reader, "account-1"))
				next := New(NewKeyring(keys, st, rand.Reader), st, rand.Reader, "account-1")
				oerr := next.Open(ctx)
				if oerr == nil {
					_, oerr = next.Read(ctx, StateSuffix)
				}
				if oerr != nil {
					require.ErrorIs(t, oerr, store.ErrNotFound, "after %d writes", n)
					require.NoError(t, next.Create(ctx), "after %d writes", n)
					left, err := st.List(ctx, "account-1"+erasingSuffix)
					require.NoError(t, err)
					require.Empty(t, left)
				}
				require.NoError(t, next.Destroy(ctx))
				left, lerr := st.List(ctx, "account-1")
				require.NoError(t, lerr)
				require.Empty(t, left)
				if err == nil {
					require.GreaterOrEqual(t, n, 4)
					return
				}
				require.ErrorIs(t, err, errStopped)
			}
		})
	}
}
