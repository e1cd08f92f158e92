package account

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func testKeys(t testing.TB) tpm.KeyStore {
	t.Helper()
	keys, err := softkeys.Open(softkeys.File(t.TempDir() + "/master"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = keys.Close() })
	return keys
}

// process is a book as a process of its own would have it, and who is gone
// from it.
type process struct {
	*Book
	gone []Identity
}

func openBook(t testing.TB, keys tpm.KeyStore, s store.Store, user string) *process {
	t.Helper()
	p := &process{}
	p.Book = NewBook(Config{
		Keys: keys, Ring: vault.NewKeyring(keys, s, rand.Reader), Store: s, Rand: rand.Reader, UserID: user, Logger: slog.New(slog.DiscardHandler),
		Now:    func() time.Time { return noon },
		Finish: func(ctx context.Context, work func(context.Context) error) error { return work(ctx) },
		Gone:   func(id Identity) { p.gone = append(p.gone, id) },
	})
	t.Cleanup(func() {
		for _, a := range p.Close() {
			require.NoError(t, a.Close())
		}
	})
	return p
}

func person(name string) Identity {
	return Identity{HomeAccountID: name + ".tenant", Environment: "login.windows.net", Realm: "tenant", PreferredUsername: name + "@contoso.example"}
}

func bornOf(by prt.CredentialKind) PRT {
	return PRT{Origin: Direct, Token: &prt.Token{
		PRT: prt.NewSecret("prt of " + string(by)), KDF: prt.KDFv2, Credential: by, SessionKey: []byte("key of " + string(by)),
		IssuedAt: noon, RenewedAt: noon, ExpiresAt: noon.Add(14 * 24 * time.Hour),
	}}
}

func with(prts ...PRT) func(*Record) error {
	return func(r *Record) error {
		for _, e := range prts {
			r.Set(e)
		}
		return nil
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	keys, s, ctx := testKeys(t), &store.Memory{}, t.Context()
	alice, bob := person("alice"), person("bob")
	b := openBook(t, keys, s, "1000")
	_, _, err := b.Find(ctx, Identity{})
	require.ErrorIs(t, err, ErrNobody)
	_, _, err = b.Find(ctx, alice)
	require.ErrorIs(t, err, ErrUnknown)
	require.Zero(t, b.Len(), "asking for somebody makes no account")

	a, err := b.Put(ctx, alice, with(bornOf(prt.ByPassword)))
	require.NoError(t, err)
	require.True(t, b.Holds(a))
	_, rec, err := b.Find(ctx, Identity{})
	require.NoError(t, err)
	require.Equal(t, alice, rec.Account)
	require.Equal(t, alice, *b.Only())
	require.Equal(t, "prt of password", rec.PRT(prt.ByPassword).Token.PRT.Reveal())

	_, err = b.Put(ctx, bob, nil)
	require.NoError(t, err)
	_, _, err = b.Find(ctx, Identity{})
	require.ErrorIs(t, err, ErrSeveral)
	require.Nil(t, b.Only())
	all, unreadable, err := b.All(ctx)
	require.NoError(t, err)
	require.NoError(t, unreadable)
	require.Len(t, all, 2)

	_, _, err = openBook(t, keys, s, "1001").Find(ctx, Identity{})
	require.ErrorIs(t, err, ErrNobody, "another user of the machine")
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

// An account that cannot be read takes nothing from the others, and it may be
// the one that is meant when nobody is named.
// A record is decoded once, and a slow reader of an older one does not put it in
// the place of a newer one.
func TestNewestRecordStays(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a, err := openBook(t, testKeys(t), &store.Memory{}, "").Put(ctx, person("alice"), with(bornOf(prt.ByPassword)))
	require.NoError(t, err)
	older, read := a.record, a.sealed
	again, err := a.Load(ctx)
	require.NoError(t, err)
	require.Same(t, older, again, "nothing was written meanwhile")

	newer, err := a.Update(ctx, with(bornOf(prt.ByHello)))
	require.NoError(t, err)
	require.NotSame(t, older, newer)
	require.Same(t, newer, a.keep(older, read))
	require.Same(t, newer, a.Record())

	// The account was removed and made again: generations count anew.
	late := read
	late.Key++
	require.Same(t, newer, a.keep(older, late), "a record of the account that was removed")
	a.sealed.Key++
	require.Same(t, older, a.keep(older, read), "a record of the account that was made")
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	keys, s, ctx := testKeys(t), &store.Memory{}, t.Context()
	alice, bob := person("alice"), person("bob")
	b := openBook(t, keys, s, "")
	for _, id := range []Identity{alice, bob} {
		_, err := b.Put(ctx, id, with(bornOf(prt.ByPassword)))
		require.NoError(t, err)
	}
	name := b.Owner(bob) + vault.StateSuffix
	_, v, err := s.Get(ctx, name)
	require.NoError(t, err)
	_, err = s.Put(ctx, name, []byte("nonsense"), v)
	require.NoError(t, err)

	b = openBook(t, keys, s, "")
	all, unreadable, err := b.All(ctx)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.ErrorIs(t, unreadable, store.ErrDamaged)
	_, _, err = b.Find(ctx, Identity{})
	require.ErrorIs(t, err, store.ErrDamaged)
	_, _, err = b.Find(ctx, alice)
	require.NoError(t, err)
	require.NoError(t, b.Remove(ctx, bob))
	_, _, err = b.Find(ctx, Identity{})
	require.NoError(t, err)
}

func TestClosedBook(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	b := openBook(t, testKeys(t), &store.Memory{}, "")
	a, err := b.Put(ctx, person("alice"), nil)
	require.NoError(t, err)
	open := b.Close()
	require.Equal(t, []*Account{a}, open)
	require.NoError(t, a.Close())
	require.Nil(t, a.Record())
	_, err = a.Load(ctx)
	require.ErrorIs(t, err, vault.ErrClosed)
	_, err = b.Put(ctx, person("bob"), nil)
	require.ErrorIs(t, err, vault.ErrClosed)
}

var errFull = errors.New("the disk is full")

// What Lock puts away and the tokens that are kept open under the offline key,
// and under no other.
func TestOffline(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a, err := openBook(t, testKeys(t), &store.Memory{}, "").Put(ctx, person("alice"), with(bornOf(prt.ByPassword)))
	require.NoError(t, err)
	key := make([]byte, vault.KeySize)
	o := a.HoldOffline(a.newOffline(key, "one"))
	require.Same(t, o, a.Offline())
	r := &Record{PRTs: []PRT{bornOf(prt.ByPassword)}, Hello: &Hello{Offline: &SealedOffline{ID: "one"}}}
	require.True(t, r.SealedUnder(o))
	r.Away, err = o.SealPRTs(r.PRTs)
	require.NoError(t, err)
	require.False(t, r.Locked())
	r.PRTs = nil
	require.True(t, r.Locked())
	back, err := o.OpenPRTs(r.Away)
	require.NoError(t, err)
	require.Equal(t, []PRT{bornOf(prt.ByPassword)}, back)
	require.Len(t, r.With(back), 1)
	require.Len(t, (&Record{PRTs: back}).With(back), 1, "one that came since stays")

	require.NoError(t, o.Keep(ctx, []KeptToken{{Client: "app", AccessToken: "secret"}}))
	require.NoError(t, o.Keep(ctx, []KeptToken{{Client: "app", AccessToken: "newer"}}))
	kept, err := o.Kept(ctx)
	require.NoError(t, err)
	require.Equal(t, "newer", kept[0].AccessToken)
	require.NotContains(t, kept[0].String(), "newer")

	other := a.newOffline(append([]byte{1}, key[1:]...), "two")
	_, err = other.OpenPRTs(r.Away)
	require.ErrorIs(t, err, store.ErrDamaged)
	kept, err = other.Kept(ctx)
	require.NoError(t, err)
	require.Empty(t, kept)
	require.NoError(t, a.EraseOffline(ctx))
	require.Nil(t, a.Offline())
	kept, err = a.newOffline(make([]byte, vault.KeySize), "one").Kept(ctx)
	require.NoError(t, err)
	require.Empty(t, kept)
}
