package vault

import (
	"context"
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/store"
)

// scriptedStore does something once before a call, such as "Put account-1.log". An
// error of it is the call's.
type scriptedStore struct {
	store.Store
	before map[string]func() error
}

func (s *scriptedStore) call(op, name string) error {
	do := s.before[op+" "+name]
	if do == nil {
		return nil
	}
	delete(s.before, op+" "+name)
	return do()
}

func (s *scriptedStore) Get(ctx context.Context, name string) ([]byte, store.Version, error) {
	if err := s.call("Get", name); err != nil {
		return nil, 0, err
	}
	return s.Store.Get(ctx, name)
}

func (s *scriptedStore) Put(ctx context.Context, name string, data []byte, old store.Version) (store.Version, error) {
	if err := s.call("Put", name); err != nil {
		return 0, err
	}
	return s.Store.Put(ctx, name, data, old)
}

func (s *scriptedStore) Delete(ctx context.Context, name string, old store.Version) error {
	if err := s.call("Delete", name); err != nil {
		return err
	}
	return s.Store.Delete(ctx, name, old)
}

// The data key goes after it was looked at and before the record is written: the
// record is taken back, unless it is somebody else's by then.
func TestErasedBeforeTheWrite(t *testing.T) {
	t.Parallel()
	const name = "account-1.log"
	for what, c := range map[string]struct {
		anew   bool   // the owner is made again at once
		get    error  // of the second look at the data key
		theirs string // what another process does with the record before it is taken back
		delete error  // of taking it back
		want   error
		left   string
	}{
		"erased":                 {want: errRekeyed},
		"made anew":              {anew: true, want: errRekeyed},
		"the key cannot be read": {get: errCrash, want: errCrash, left: "stale"},
		"replaced by others":     {anew: true, theirs: "replace", want: errRekeyed, left: "theirs"},
		"removed by others":      {anew: true, theirs: "remove", want: errRekeyed},
		"it cannot be removed":   {delete: errCrash, want: errCrash, left: "stale"},
	} {
		t.Run(what, func(t *testing.T) {
			keys, inner, ctx := testKeys(t), &store.Memory{}, t.Context()
			st := &scriptedStore{Store: inner, before: map[string]func() error{}}
			v := testVault(t, keys, st)
			st.before["Put "+name] = func() error {
				require.NoError(t, testVault(t, keys, inner).Destroy(ctx))
				if c.anew {
					testVault(t, keys, inner)
				}
				st.before["Get account-1"+KeySuffix] = func() error { return c.get }
				return nil
			}
			st.before["Delete "+name] = func() error {
				_, version, err := inner.Get(ctx, name)
				require.NoError(t, err)
				switch c.theirs {
				case "replace":
					_, err = inner.Put(ctx, name, []byte("theirs"), version)
				case "remove":
					err = inner.Delete(ctx, name, version)
				}
				require.NoError(t, err)
				return c.delete
			}
			_, err := v.Write(ctx, ".log", []byte("stale"), Record{})
			require.ErrorIs(t, err, c.want)
			raw, _, err := inner.Get(ctx, name)
			if c.left == "" {
				require.ErrorIs(t, err, store.ErrNotFound)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.left == "theirs", string(raw) == "theirs")
		})
	}
}

// A look at the data key before the write only saves work, and a record that replaces
// another needs none.
func TestWriteWithoutLooking(t *testing.T) {
	t.Parallel()
	keys, inner, ctx := testKeys(t), &store.Memory{}, t.Context()
	st := &scriptedStore{Store: inner, before: map[string]func() error{}}
	v := testVault(t, keys, st)
	st.before["Get account-1"+KeySuffix] = func() error { return errCrash }
	first, err := v.Write(ctx, ".log", []byte("one"), Record{})
	require.NoError(t, err)
	st.before["Get account-1"+KeySuffix] = func() error { return errCrash }
	_, err = v.Write(ctx, ".log", []byte("two"), first)
	require.NoError(t, err)

	// A key of its own is not the store's.
	other := &store.Memory{}
	_, err = New(nil, other, rand.Reader, "account-2").Beside(make([]byte, KeySize)).Put(ctx, ".away", []byte("one"), Record{})
	require.NoError(t, err)
	names, err := other.List(ctx, "")
	require.NoError(t, err)
	require.Equal(t, []string{"account-2.away"}, names)
}
