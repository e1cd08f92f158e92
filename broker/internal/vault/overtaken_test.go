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
	after  map[string]func() // once, when the call was successful
}

func (s *scriptedStore) done(err error, op, name string) {
	if do := s.after[op+" "+name]; do != nil && err == nil {
		delete(s.after, op+" "+name)
		do()
	}
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
	data, v, err := s.Store.Get(ctx, name)
	s.done(err, "Get", name)
	return data, v, err
}

func (s *scriptedStore) Put(ctx context.Context, name string, data []byte, old store.Version) (store.Version, error) {
	if err := s.call("Put", name); err != nil {
		return 0, err
	}
	v, err := s.Store.Put(ctx, name, data, old)
	s.done(err, "Put", name)
	return v, err
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

// A removal and a new sign-in of another process come into the middle of a call,
// and a second call of this process, which shares the vault, notices them first. The
// generations of the old data key mean nothing under the new one.
func TestRemadeDuringACall(t *testing.T) {
	t.Parallel()
	const state, mark = "account-1" + StateSuffix, "account-1" + markSuffix
	read := func(ctx context.Context, v *Vault, _ Record) error {
		_, err := v.Read(ctx, StateSuffix)
		return err
	}
	write := func(ctx context.Context, v *Vault, old Record) error {
		_, err := v.Write(ctx, StateSuffix, []byte("late"), old)
		return err
	}
	for name, c := range map[string]struct {
		before, after string
		do            func(context.Context, *Vault, Record) error
		want          error
	}{
		"before all of it":             {"", "", read, nil},
		"the mark was read":            {"", "Get " + mark, read, nil},
		"the state was read":           {"", "Get " + state, read, nil},
		"the state was written":        {"", "Put " + state, write, errRekeyed},
		"the mark was about to be":     {"Get " + mark, "", write, errRekeyed},
		"the mark was read to replace": {"", "Get " + mark, write, errRekeyed},
		"the mark was written":         {"", "Put " + mark, write, nil},
	} {
		t.Run(name, func(t *testing.T) {
			keys, inner, ctx := testKeys(t), &store.Memory{}, t.Context()
			st := &scriptedStore{Store: inner, before: map[string]func() error{}, after: map[string]func(){}}
			v := testVault(t, keys, st)
			var old Record
			for range 23 {
				var err error
				old, err = v.Write(ctx, StateSuffix, []byte("old"), old)
				require.NoError(t, err)
			}
			remake := func() {
				require.NoError(t, testVault(t, keys, inner).Destroy(ctx))
				_, err := testVault(t, keys, inner).Write(ctx, StateSuffix, []byte("new"), Record{})
				require.NoError(t, err)
				again, err := v.Rekeyed(ctx)
				require.NoError(t, err)
				require.True(t, again)
			}
			switch {
			case c.before != "":
				st.before[c.before] = func() error { remake(); return nil }
			case c.after != "":
				st.after[c.after] = remake
			default:
				remake()
			}
			require.ErrorIs(t, c.do(ctx, v, old), c.want)
			for who, v := range map[string]*Vault{"this process": v, "another": testVault(t, keys, inner)} {
				r, err := v.Read(ctx, StateSuffix)
				require.NoError(t, err, who)
				require.Equal(t, "new", string(r.Plain), who)
			}
		})
	}
}

// A record that was written under a data key that this process has replaced since is
// not counted among the new one's.
func TestRekeyedAfterTheWrite(t *testing.T) {
	t.Parallel()
	keys, inner, ctx := testKeys(t), &store.Memory{}, t.Context()
	st := &scriptedStore{Store: inner, before: map[string]func() error{}, after: map[string]func(){}}
	v := testVault(t, keys, st)
	st.after["Put account-1.log"] = func() {
		st.after["Get account-1"+KeySuffix] = func() { // the last look
			require.NoError(t, testVault(t, keys, inner).Destroy(ctx))
			testVault(t, keys, inner)
			again, err := v.Rekeyed(ctx)
			require.NoError(t, err)
			require.True(t, again)
		}
	}
	_, err := v.Write(ctx, ".log", []byte("late"), Record{})
	require.ErrorIs(t, err, errRekeyed)
	require.Zero(t, v.known(".log"))
}

// The mark never goes back, in whatever order two writers get to it.
func TestMarkNeverGoesBack(t *testing.T) {
	t.Parallel()
	v, ctx := testVault(t, testKeys(t), &store.Memory{}), t.Context()
	for _, generation := range []uint64{0, 6, 5, 6, 0} {
		require.NoError(t, v.mark(ctx, generation, v.from))
	}
	mark, there, err := v.readMark(ctx)
	require.NoError(t, err)
	require.True(t, there)
	require.EqualValues(t, 6, mark)
}

// A mark that is damaged under the same data key is damage, not a new data key.
func TestDamagedMark(t *testing.T) {
	t.Parallel()
	st, ctx := &store.Memory{}, t.Context()
	v := testVault(t, testKeys(t), st)
	r, err := v.Write(ctx, StateSuffix, []byte("one"), Record{})
	require.NoError(t, err)
	raw, version, err := st.Get(ctx, "account-1"+markSuffix)
	require.NoError(t, err)
	raw[len(raw)-1] ^= 1
	_, err = st.Put(ctx, "account-1"+markSuffix, raw, version)
	require.NoError(t, err)
	_, err = v.Write(ctx, StateSuffix, []byte("two"), r)
	require.ErrorIs(t, err, store.ErrDamaged)
	require.NotErrorIs(t, err, store.ErrConflict)
}
