package account

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// A new name of the only account is its name, and that of another account changes
// nothing of it.
func TestRenamed(t *testing.T) {
	t.Parallel()
	keys, s, ctx := testKeys(t), &store.Memory{}, t.Context()
	one, two := openBook(t, keys, s, ""), openBook(t, keys, s, "")
	a, err := one.Put(ctx, person("alice"), nil)
	require.NoError(t, err)
	_, _, err = two.Find(ctx, Identity{})
	require.NoError(t, err)
	require.Equal(t, person("alice"), *two.Only())
	_, err = a.Update(ctx, func(r *Record) error { r.Rename("smith@contoso.example", ""); return nil })
	require.NoError(t, err)

	smith := person("alice")
	smith.PreferredUsername = "smith@contoso.example"
	_, _, err = two.Find(ctx, person("alice"))
	require.NoError(t, err)
	require.Equal(t, smith, *two.Only())
	two.Book.renamed(person("bob"))
	require.Equal(t, smith, *two.Only())
	require.Equal(t, []Identity{smith, person("bob")}, two.renamed)

	nobody := openBook(t, keys, s, "1000")
	nobody.Book.renamed(smith)
	require.Nil(t, nobody.Only())
}

// Whoever hears of another process's new name may close the account: the change
// that was to be made on it is not.
func TestClosedDuringUpdate(t *testing.T) {
	t.Parallel()
	keys, s, ctx := testKeys(t), &store.Memory{}, t.Context()
	one, two := openBook(t, keys, s, ""), openBook(t, keys, s, "")
	a, err := one.Put(ctx, person("alice"), nil)
	require.NoError(t, err)
	other, _, err := two.Find(ctx, Identity{})
	require.NoError(t, err)
	_, err = other.Update(ctx, func(r *Record) error { r.Rename("smith@contoso.example", ""); return nil })
	require.NoError(t, err)
	a.renamed = func(Identity) { require.NoError(t, a.Close()) }
	_, err = a.Update(ctx, with(bornOf(prt.ByPassword)))
	require.ErrorIs(t, err, vault.ErrClosed)
	rec, err := other.Load(ctx)
	require.NoError(t, err)
	require.Empty(t, rec.PRTs)
}

// Refresh sees who came and who went in other processes.
func TestRefresh(t *testing.T) {
	t.Parallel()
	keys, s, ctx := testKeys(t), &watched{}, t.Context()
	one, two := openBook(t, keys, s, ""), openBook(t, keys, s, "")
	alice, bob := person("alice"), person("bob")
	refresh := func() *Identity {
		unreadable, err := two.Refresh(ctx)
		require.NoError(t, err)
		require.NoError(t, unreadable)
		return two.Only()
	}
	require.Nil(t, refresh())
	_, err := one.Put(ctx, alice, nil)
	require.NoError(t, err)
	s.lists = 0
	require.Equal(t, &alice, refresh())
	require.Equal(t, 1, s.lists)

	_, err = one.Put(ctx, bob, nil)
	require.NoError(t, err)
	require.Nil(t, refresh())
	require.Equal(t, 1, two.Len(), "several are not read")
	require.Empty(t, two.gone)

	require.NoError(t, one.Remove(ctx, alice))
	require.Equal(t, &bob, refresh())
	require.Equal(t, []Identity{alice}, two.gone)
	require.NoError(t, one.Remove(ctx, bob))
	require.Nil(t, refresh())
	require.Equal(t, []Identity{alice, bob}, two.gone)

	_, err = one.Put(ctx, alice, nil)
	require.NoError(t, err)
	require.Empty(t, two.Close())
	_, err = two.Refresh(ctx)
	require.ErrorIs(t, err, vault.ErrClosed)
}

// overwrite damages a record.
func overwrite(t *testing.T, s store.Store, name string) {
	_, v, err := s.Get(t.Context(), name)
	require.NoError(t, err)
	_, err = s.Put(t.Context(), name, []byte("nonsense"), v)
	require.NoError(t, err)
}

// While one account is read, Refresh reports what is wrong with it, and what ended
// in the meantime.
func TestRefreshUnreadable(t *testing.T) {
	t.Parallel()
	alice, bob := person("alice"), person("bob")
	remove := func(t *testing.T, s store.Store, name string) {
		_, v, err := s.Get(t.Context(), name)
		require.NoError(t, err)
		require.NoError(t, s.Delete(t.Context(), name, v))
	}
	for name, tt := range map[string]struct {
		open       bool // the account is open in this process
		meanwhile  func(t *testing.T, s *watched, b *process, end context.CancelFunc)
		unreadable error
		err        error
		only       bool
	}{
		"damaged": {false, func(t *testing.T, s *watched, b *process, _ context.CancelFunc) {
			overwrite(t, s, b.Owner(alice)+vault.StateSuffix)
		}, store.ErrDamaged, nil, false},
		"data key lost": {true, func(t *testing.T, s *watched, b *process, _ context.CancelFunc) {
			remove(t, s, b.Owner(alice)+vault.KeySuffix)
		}, store.ErrDamaged, nil, true}, // accounts in memory stay in use
		"sign-in that did not finish": {false, func(t *testing.T, s *watched, b *process, _ context.CancelFunc) {
			require.NoError(t, b.newAccount(b.Owner(bob)).vault.Create(t.Context()))
		}, nil, nil, true},
		"another account without its record": {false, func(t *testing.T, s *watched, b *process, _ context.CancelFunc) {
			require.NoError(t, b.newAccount(b.Owner(bob)).vault.Create(t.Context()))
			overwrite(t, s, b.Owner(bob)+vault.KeySuffix)
		}, tpm.ErrInvalidBlob, nil, false},
		"removed meanwhile": {false, func(t *testing.T, s *watched, b *process, _ context.CancelFunc) {
			s.onGet = func(string) error { return store.ErrNotFound }
		}, nil, nil, false},
		"given up": {false, func(t *testing.T, s *watched, b *process, end context.CancelFunc) {
			s.onGet = func(string) error { end(); return errFull }
		}, nil, context.Canceled, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys, s := testKeys(t), &watched{}
			ctx, end := context.WithCancel(t.Context())
			b := openBook(t, keys, s, "")
			_, err := b.Put(ctx, alice, nil)
			require.NoError(t, err)
			if !tt.open {
				b = openBook(t, keys, s, "")
			} else {
				_, _, err = b.Find(ctx, Identity{})
				require.NoError(t, err)
			}
			tt.meanwhile(t, s, b, end)
			unreadable, err := b.Refresh(ctx)
			require.ErrorIs(t, err, tt.err)
			require.ErrorIs(t, unreadable, tt.unreadable)
			require.Equal(t, tt.only, b.Only() != nil)
		})
	}
}

// Closing the keys of an account that another process removed may fail: the log
// says so, and only then.
func TestForgetRemovedKeys(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]error{"closed": nil, "not closed": errors.New("the TPM is gone")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys, s, ctx := &keyRing{KeyStore: testKeys(t), open: map[string]int{}, fail: fail}, &store.Memory{}, t.Context()
			one, two := openBook(t, keys, s, ""), openBook(t, keys, s, "")
			var log bytes.Buffer
			two.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			e := bornOf(prt.ByPassword)
			_, err := one.Put(ctx, person("alice"), with(e))
			require.NoError(t, err)
			a, _, err := two.Find(ctx, Identity{})
			require.NoError(t, err)
			_, done, err := a.Session(ctx, e.Token)
			require.NoError(t, err)
			done()
			require.NoError(t, one.Remove(ctx, person("alice")))
			_, err = two.Refresh(ctx)
			require.NoError(t, err)
			require.Equal(t, []Identity{person("alice")}, two.gone)
			require.Zero(t, keys.open["key of password"])
			if fail == nil {
				require.Empty(t, log.String())
			} else {
				require.Contains(t, log.String(), fail.Error())
			}
		})
	}
}

// Nobody is told of an account that was removed here while a list was under way:
// it may have signed in again.
func TestForgetRemoved(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	b := openBook(t, testKeys(t), &store.Memory{}, "")
	a, err := b.Put(ctx, person("alice"), nil)
	require.NoError(t, err)
	known := b.Known()
	b.accounts = map[string]*Account{}
	b.forgetRemoved(ctx, known)
	require.Empty(t, b.gone)
	require.NotNil(t, a.Record())

	b.accounts[a.Name()] = a
	require.NoError(t, a.Close())
	b.forgetRemoved(ctx, known)
	require.Empty(t, b.gone)
	require.False(t, b.Holds(a))
}

// What another process did to the account shows when its record no longer opens.
func TestLoadAfterAnother(t *testing.T) {
	t.Parallel()
	keys, s, ctx := testKeys(t), &watched{}, t.Context()
	one, two := openBook(t, keys, s, ""), openBook(t, keys, s, "")
	_, err := one.Put(ctx, person("alice"), with(bornOf(prt.ByPassword)))
	require.NoError(t, err)
	a, _, err := two.Find(ctx, person("alice"))
	require.NoError(t, err)
	remake := func() *Account {
		require.NoError(t, one.Remove(ctx, person("alice")))
		made, err := one.Put(ctx, person("alice"), with(bornOf(prt.ByHello)))
		require.NoError(t, err)
		return made
	}
	remake()
	rec, err := a.Load(ctx)
	require.NoError(t, err)
	require.Equal(t, prt.ByHello, rec.PRTs[0].Token.Credential, "it was removed and made again")

	remake()
	s.onGet = func(name string) error {
		if name == a.Name()+vault.KeySuffix {
			return errFull
		}
		return nil
	}
	_, err = a.Load(ctx)
	require.ErrorIs(t, err, errFull, "nobody can say")
	require.NotErrorIs(t, err, store.ErrDamaged)
	s.onGet = nil
	_, err = a.Load(ctx)
	require.NoError(t, err)
	overwrite(t, s, a.Name()+vault.StateSuffix)
	_, err = a.Load(ctx)
	require.ErrorIs(t, err, store.ErrDamaged)
}

// A second process sees what the first one does, and forgets who is removed.
func TestProcesses(t *testing.T) {
	t.Parallel()
	keys, s, ctx := testKeys(t), &store.Memory{}, t.Context()
	alice := person("alice")
	one, two := openBook(t, keys, s, ""), openBook(t, keys, s, "")
	_, err := one.Put(ctx, alice, with(bornOf(prt.ByPassword)))
	require.NoError(t, err)
	a, _, err := two.Find(ctx, alice)
	require.NoError(t, err)
	_, err = a.Update(ctx, with(bornOf(prt.ByHello)))
	require.NoError(t, err)
	_, rec, err := one.Find(ctx, alice)
	require.NoError(t, err)
	require.Len(t, rec.PRTs, 2)

	require.NoError(t, one.Remove(ctx, alice))
	require.Equal(t, []Identity{alice, alice}, one.gone, "also the tokens that came meanwhile")
	require.NoError(t, one.Remove(ctx, alice), "nobody is no error")
	all, _, err := two.All(ctx)
	require.NoError(t, err)
	require.Empty(t, all)
	require.Equal(t, []Identity{alice}, two.gone)
	require.False(t, two.Holds(a))
	_, err = a.Update(ctx, with(bornOf(prt.ByPassword)))
	require.ErrorIs(t, err, store.ErrNotFound, "what was removed is not made again by an update")
}
