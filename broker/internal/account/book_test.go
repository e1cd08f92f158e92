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
// from it or has a new name.
type process struct {
	*Book
	gone, renamed []Identity
}

func openBook(t testing.TB, keys tpm.KeyStore, s store.Store, user string) *process {
	t.Helper()
	p := &process{}
	p.Book = NewBook(Config{
		Keys: keys, Ring: vault.NewKeyring(keys, s, rand.Reader), Store: s, Rand: rand.Reader, UserID: user, Logger: slog.New(slog.DiscardHandler),
		Now:    func() time.Time { return noon },
		Finish: func(ctx context.Context, work func(context.Context) error) error { return work(ctx) },
		Gone:   func(id Identity) { p.gone = append(p.gone, id) }, Renamed: func(id Identity) { p.renamed = append(p.renamed, id) },
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

// A user name finds the account that has it, whoever else is signed in and however
// it is spelled, and never another user's account.
func TestFindByName(t *testing.T) {
	t.Parallel()
	keys, s, ctx := testKeys(t), &store.Memory{}, t.Context()
	b := openBook(t, keys, s, "")
	byName := func(name string) (Identity, error) {
		_, rec, err := b.Find(ctx, Identity{PreferredUsername: name})
		if err != nil {
			return Identity{}, err
		}
		return rec.Account, nil
	}
	_, err := byName("alice@contoso.example")
	require.ErrorIs(t, err, ErrUnknown)

	alice, bob := person("alice"), person("bob")
	_, err = b.Put(ctx, alice, nil)
	require.NoError(t, err)
	got, err := byName("Alice@Contoso.Example")
	require.NoError(t, err)
	require.Equal(t, alice, got)
	_, err = byName("bob@contoso.example")
	require.ErrorIs(t, err, ErrUnknown, "not the only account")

	_, err = b.Put(ctx, bob, nil)
	require.NoError(t, err)
	got, err = byName("bob@contoso.example")
	require.NoError(t, err)
	require.Equal(t, bob, got)
	_, err = byName("carol@contoso.example")
	require.ErrorIs(t, err, ErrUnknown)

	guest := bob
	guest.HomeAccountID = "bob.another tenant"
	_, err = b.Put(ctx, guest, nil)
	require.NoError(t, err)
	_, err = byName("bob@contoso.example")
	require.ErrorIs(t, err, ErrSeveral)
	_, rec, err := b.Find(ctx, guest)
	require.NoError(t, err)
	require.Equal(t, guest, rec.Account, "the account says more than its name")
}

// Putting an account that is there changes it, or leaves it as it is if there is
// nothing to change.
func TestPutAgain(t *testing.T) {
	t.Parallel()
	keys, s, ctx := testKeys(t), &store.Memory{}, t.Context()
	b, alice := openBook(t, keys, s, ""), person("alice")
	a, err := b.Put(ctx, alice, with(bornOf(prt.ByPassword)))
	require.NoError(t, err)
	again, err := b.Put(ctx, alice, nil)
	require.NoError(t, err)
	require.Same(t, a, again)
	require.Len(t, a.Record().PRTs, 1)

	_, err = b.Put(ctx, alice, with(bornOf(prt.ByHello)))
	require.NoError(t, err)
	_, rec, err := openBook(t, keys, s, "").Find(ctx, alice)
	require.NoError(t, err)
	require.Equal(t, []PRT{bornOf(prt.ByPassword), bornOf(prt.ByHello)}, rec.PRTs)

	boom := errors.New("boom")
	_, err = b.Put(ctx, alice, func(*Record) error { return boom })
	require.ErrorIs(t, err, boom)

	require.NoError(t, a.Close())
	_, err = b.Put(ctx, alice, nil)
	require.ErrorIs(t, err, vault.ErrClosed, "it is closed, but was not replaced")
}

// A store that lets a test act as another process between two accesses, and that
// counts its lists.
type watched struct {
	store.Memory
	lists        int
	onGet, onPut func(name string) error
}

func (s *watched) List(ctx context.Context, prefix string) ([]string, error) {
	s.lists++
	return s.Memory.List(ctx, prefix)
}

func (s *watched) Get(ctx context.Context, name string) ([]byte, store.Version, error) {
	if s.onGet != nil {
		if err := s.onGet(name); err != nil {
			return nil, 0, err
		}
	}
	return s.Memory.Get(ctx, name)
}

func (s *watched) Put(ctx context.Context, name string, data []byte, old store.Version) (store.Version, error) {
	if s.onPut != nil {
		if err := s.onPut(name); err != nil {
			return 0, err
		}
	}
	return s.Memory.Put(ctx, name, data, old)
}

// Without a lease another writer may come first: then Put tries again.
func TestPutConflict(t *testing.T) {
	t.Parallel()
	s, ctx := &watched{}, t.Context()
	b := openBook(t, testKeys(t), s, "")
	conflicts := 0
	s.onPut = func(name string) error {
		if name == b.Owner(person("alice"))+vault.StateSuffix && conflicts < 2 {
			conflicts++
			return store.ErrConflict
		}
		return nil
	}
	a, err := b.Put(ctx, person("alice"), with(bornOf(prt.ByPassword)))
	require.NoError(t, err)
	require.Equal(t, 2, conflicts)
	require.Len(t, a.Record().PRTs, 1)
}

// A change is made again on top of what another process wrote in between.
func TestUpdateAfterAnother(t *testing.T) {
	t.Parallel()
	keys, s, ctx := testKeys(t), &watched{}, t.Context()
	a, err := openBook(t, keys, s, "").Put(ctx, person("alice"), with(bornOf(prt.ByPassword)))
	require.NoError(t, err)
	other, _, err := openBook(t, keys, s, "").Find(ctx, person("alice"))
	require.NoError(t, err)
	s.onPut = func(string) error {
		s.onPut = nil
		_, err := other.Update(ctx, with(bornOf(prt.ByHello)))
		return err
	}
	rec, err := a.Update(ctx, with(bornOf(prt.BySAML)))
	require.NoError(t, err)
	require.Equal(t, []PRT{bornOf(prt.ByPassword), bornOf(prt.ByHello), bornOf(prt.BySAML)}, rec.PRTs)
}

// A record of which only the version is new, as when the store was copied back,
// is the current one: it can be changed.
func TestSameRecordWrittenAgain(t *testing.T) {
	t.Parallel()
	s, ctx := &store.Memory{}, t.Context()
	a, err := openBook(t, testKeys(t), s, "").Put(ctx, person("alice"), with(bornOf(prt.ByPassword)))
	require.NoError(t, err)
	name := a.Name() + vault.StateSuffix
	data, v, err := s.Get(ctx, name)
	require.NoError(t, err)
	_, err = s.Put(ctx, name, data, v)
	require.NoError(t, err)
	rec, err := a.Update(ctx, with(bornOf(prt.ByHello)))
	require.NoError(t, err)
	require.Len(t, rec.PRTs, 2)
}

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

// An account that cannot be read takes nothing from the others, and it may be
// the one that is meant when nobody is named.
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

// A data key that is missing from the store is damage, also for a process that still
// has it in memory: the next one could not read the account.
func TestMissingKeyIsDamage(t *testing.T) {
	t.Parallel()
	s, ctx, alice := &store.Memory{}, t.Context(), person("alice")
	b := openBook(t, testKeys(t), s, "")
	a, err := b.Put(ctx, alice, with(bornOf(prt.ByPassword)))
	require.NoError(t, err)
	name := a.Name() + vault.KeySuffix
	_, v, err := s.Get(ctx, name)
	require.NoError(t, err)
	require.NoError(t, s.Delete(ctx, name, v))
	all, unreadable, err := b.All(ctx)
	require.NoError(t, err)
	require.Empty(t, all)
	require.ErrorIs(t, unreadable, store.ErrDamaged)
	_, rec, err := b.Find(ctx, alice)
	require.NoError(t, err, "it stays in use here")
	require.Len(t, rec.PRTs, 1)
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
	require.NotNil(t, a.keep(&Record{}, vault.Record{}), "for the call that read it before")
	require.Nil(t, a.Record())
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
