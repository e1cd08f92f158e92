package account

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/aadsts"
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

	a.from++ // the account was removed and made again: generations count anew
	require.Same(t, older, a.keep(older, read))
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

// The strongest PRT comes first, one that looks expired last, a dead one never.
func TestRanked(t *testing.T) {
	t.Parallel()
	mfa := func(e PRT, a claims.Answer, at time.Time) PRT {
		e.Token.Evidence = claims.Evidence{MFA: a, At: at}
		return e
	}
	old := mfa(bornOf("old"), claims.Yes, noon)
	old.Token.ExpiresAt = noon.Add(-time.Hour)
	dead := mfa(bornOf("dead"), claims.Yes, noon)
	dead.Dead = &Death{Code: 50173, At: noon}
	r := &Record{PRTs: []PRT{
		old, dead,
		mfa(bornOf("none"), claims.No, time.Time{}),
		mfa(bornOf("unknown"), claims.Unknown, time.Time{}),
		mfa(bornOf("earlier"), claims.Yes, noon.Add(-2*time.Hour)),
		mfa(bornOf("later"), claims.Yes, noon.Add(-time.Hour)),
	}}
	var order []string
	for _, e := range r.Ranked(noon) {
		order = append(order, string(e.Token.Credential))
	}
	require.Equal(t, []string{"later", "earlier", "unknown", "none", "old"}, order)
	require.Equal(t, 50173, r.LastDeath().Code)
	require.Nil(t, (&Record{}).LastDeath())
}

// What is remembered of the PRTs in use is forgotten when one of them comes, goes or
// is renewed, and a dead one is not in use.
func TestGeneration(t *testing.T) {
	t.Parallel()
	dead := bornOf(prt.ByPassword)
	dead.Dead = &Death{Code: 50173, At: noon}
	renewed := bornOf(prt.ByHello)
	renewed.Token.PRT = prt.NewSecret("0.renewed")
	hello, password := bornOf(prt.ByHello), bornOf(prt.ByPassword)
	require.Zero(t, (&Record{}).Generation())
	require.Zero(t, (&Record{PRTs: []PRT{dead}}).Generation())
	seen := map[Generation]string{}
	for name, prts := range map[string][]PRT{"one": {hello}, "another": {password}, "both": {hello, password}, "renewed": {renewed}} {
		g := (&Record{PRTs: prts}).Generation()
		require.NotZero(t, g, name)
		require.Empty(t, seen[g], name)
		seen[g] = name
	}
	require.Equal(t, (&Record{PRTs: []PRT{hello}}).Generation(), (&Record{PRTs: []PRT{dead, hello}}).Generation())
}

// Everything of a record survives the store, and an update changes no record
// that somebody holds.
func TestRecordRoundTrip(t *testing.T) {
	t.Parallel()
	keys, s, ctx := testKeys(t), &store.Memory{}, t.Context()
	a, err := openBook(t, keys, s, "").Put(ctx, person("alice"), func(r *Record) error {
		e := bornOf(prt.ByPassword)
		e.Previous, e.Dead, e.Origin = bornOf(prt.ByPassword).Token, &Death{Verdict: aadsts.Expired, Code: 70008, At: noon}, DeviceCode
		r.Set(e)
		r.Set(bornOf(prt.ByHello))
		r.Hello = &Hello{Key: []byte("blob"), ID: "id", Created: noon, Wrong: 2, WrongAt: noon, Refused: &Death{Code: 50057, At: noon}}
		return nil
	})
	require.NoError(t, err)
	before := a.Record()
	_, again, err := openBook(t, keys, s, "").Find(ctx, Identity{})
	require.NoError(t, err)
	require.Equal(t, before, again)

	_, err = a.Update(ctx, func(r *Record) error { r.DropHello(); return nil })
	require.NoError(t, err)
	require.NotNil(t, before.Hello)
	require.Len(t, before.PRTs, 2)
	require.Nil(t, a.Record().Hello)
	require.Len(t, a.Record().PRTs, 1, "what the Hello key gave goes with it")
	boom := errors.New("boom")
	_, err = a.Update(ctx, func(*Record) error { return boom })
	require.ErrorIs(t, err, boom)
}

// After five wrong PINs the next one waits, a right one forgives all, and one
// that was not judged does not count.
func TestPINs(t *testing.T) {
	t.Parallel()
	h := &Hello{}
	var last pinTry
	for range 5 {
		var wait time.Duration
		last, wait = h.count(noon)
		require.Zero(t, wait)
	}
	_, wait := h.count(noon)
	require.Equal(t, time.Minute, wait)
	require.Equal(t, 5, h.Wrong)
	_, wait = h.count(noon.Add(-time.Hour))
	require.Equal(t, time.Minute, wait, "a clock that was set back opens nothing")
	h.settle(last, false)
	require.Equal(t, 4, h.Wrong)
	h.settle(last, true)
	require.Zero(t, h.Wrong)
	require.Zero(t, h.Wait(noon))
	h.Wrong, h.WrongAt = 50, noon
	require.Equal(t, time.Hour, h.Wait(noon))
}

// A clock that was ahead when a PIN was wrong, and is set right, makes the user
// wait as long as that PIN costs, and not until the time that was shown.
func TestPINClockSetBack(t *testing.T) {
	t.Parallel()
	h := &Hello{Wrong: 5, WrongAt: noon.Add(30 * 24 * time.Hour)}
	_, wait := h.count(noon)
	require.Equal(t, time.Minute, wait)
	_, wait = h.count(noon.Add(time.Minute))
	require.Zero(t, wait)
	require.Equal(t, 6, h.Wrong)
}

func TestRefreshTokens(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a, err := openBook(t, testKeys(t), &store.Memory{}, "").Put(ctx, person("alice"), nil)
	require.NoError(t, err)
	tokens, err := a.RefreshTokens(ctx, "app")
	require.NoError(t, err)
	require.Empty(t, tokens)
	for i, e := range []RefreshToken{
		{Client: "app", Token: "first"}, {Client: "office", Family: "1", Token: "family"}, {Client: "app", Token: "own"}, {Client: "teams", Family: "1", Token: "newer"},
	} {
		e.At = noon.Add(time.Duration(i) * time.Minute)
		require.NoError(t, a.KeepRefresh(ctx, e))
	}
	tokens, err = a.RefreshTokens(ctx, "app")
	require.NoError(t, err)
	require.Len(t, tokens, 2)
	require.Equal(t, "own", tokens[0].Token)
	require.Equal(t, "newer", tokens[1].Token, "of a family there is one")
}

// An account keeps refresh tokens of so many apps, the newest ones, and of a
// family's tokens only the newest is tried for another app.
func TestRefreshTokensAreBounded(t *testing.T) {
	t.Parallel()
	r := &refreshRecord{}
	for i := range maxRefreshTokens + 10 {
		r.set(RefreshToken{Client: fmt.Sprint("app ", i), At: noon.Add(time.Duration(i) * time.Second)})
	}
	require.Len(t, r.Tokens, maxRefreshTokens)
	require.Empty(t, r.pick("app 9"), "the oldest went")
	require.Len(t, r.pick("app 10"), 1)

	r.set(RefreshToken{Client: "office", Family: "1", At: noon.Add(time.Hour)})
	r.set(RefreshToken{Client: "other", Family: "2", At: noon})
	tries := r.pick("a new app")
	require.Len(t, tries, 1)
	require.Equal(t, "office", tries[0].Client)
}

// The log keeps the last observations, those that are written and those that
// are not yet, and another process reads it.
func TestLog(t *testing.T) {
	t.Parallel()
	keys, s, ctx := testKeys(t), &store.Memory{}, t.Context()
	a, err := openBook(t, keys, s, "").Put(ctx, person("alice"), nil)
	require.NoError(t, err)
	for i := range maxObservations + 40 {
		require.Equal(t, i >= flushEvery-1, a.Note(Observation{Code: i, Claims: string(make([]byte, i*100))}))
	}
	all, err := a.Log(ctx)
	require.NoError(t, err)
	require.Len(t, all, maxObservations)
	require.Equal(t, 40, all[0].Code)
	require.Len(t, all[0].Claims, 4000)
	require.Empty(t, all[1].Claims, "a claims request that is too long is left out")
	require.NoError(t, a.Flush(ctx))

	b, _, err := openBook(t, keys, s, "").Find(ctx, Identity{})
	require.NoError(t, err)
	again, err := b.Log(ctx)
	require.NoError(t, err)
	require.Equal(t, all, again)
}

// A store that fails for a while.
type failing struct {
	store.Store
	puts atomic.Bool
}

var errFull = errors.New("the disk is full")

func (s *failing) Put(ctx context.Context, name string, data []byte, old store.Version) (store.Version, error) {
	if s.puts.Load() {
		return 0, errFull
	}
	return s.Store.Put(ctx, name, data, old)
}

// What a store does not take stays for the next time.
func TestLogKeepsWhatCouldNotBeWritten(t *testing.T) {
	t.Parallel()
	keys, s, ctx := testKeys(t), &failing{Store: &store.Memory{}}, t.Context()
	a, err := openBook(t, keys, s, "").Put(ctx, person("alice"), nil)
	require.NoError(t, err)
	codes := func(a *Account) (out []int) {
		all, err := a.Log(ctx)
		require.NoError(t, err)
		for _, o := range all {
			out = append(out, o.Code)
		}
		return out
	}
	a.Note(Observation{Code: 1})
	s.puts.Store(true)
	require.ErrorIs(t, a.Flush(ctx), errFull)
	a.Note(Observation{Code: 2})
	require.ErrorIs(t, a.Flush(ctx), errFull)
	require.Equal(t, []int{1, 2}, codes(a))
	s.puts.Store(false)
	require.NoError(t, a.Flush(ctx))
	require.NoError(t, a.Flush(ctx))
	require.Equal(t, []int{1, 2}, codes(a), "once")
	b, _, err := openBook(t, keys, s, "").Find(ctx, Identity{})
	require.NoError(t, err)
	require.Equal(t, []int{1, 2}, codes(b))

	s.puts.Store(true) // and no more than the log holds
	for i := range maxObservations + 10 {
		a.Note(Observation{Code: i})
		_ = a.Flush(ctx)
	}
	s.puts.Store(false)
	require.NoError(t, a.Flush(ctx))
	require.Len(t, codes(b), maxObservations)
	require.Equal(t, codes(a), codes(b))
	require.Equal(t, 10, codes(b)[0])
}

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

// keyRing opens session keys that know whether they are closed.
type keyRing struct {
	tpm.KeyStore
	open map[string]int
}

type ringKey struct {
	tpm.SessionKey
	ring *keyRing
	blob string
}

func (k *keyRing) OpenSession(_ context.Context, blob []byte) (tpm.SessionKey, error) {
	k.open[string(blob)]++
	return ringKey{ring: k, blob: string(blob)}, nil
}

func (k ringKey) Close() error { k.ring.open[k.blob]--; return nil }

// A session key is opened once and closed when no PRT has it and nobody uses it.
func TestSessions(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	keys := &keyRing{testKeys(t), map[string]int{}}
	b := openBook(t, keys, &store.Memory{}, "")
	e := bornOf(prt.ByPassword)
	a, err := b.Put(ctx, person("alice"), with(e))
	require.NoError(t, err)
	_, done, err := a.Session(ctx, e.Token)
	require.NoError(t, err)
	_, again, err := a.Session(ctx, e.Token)
	require.NoError(t, err)
	again()
	a.ReleaseUnused()
	require.Equal(t, map[string]int{"key of password": 1}, keys.open)

	n := bornOf(prt.ByPassword)
	n.Token.SessionKey = []byte("next")
	_, err = a.Update(ctx, with(n))
	require.NoError(t, err)
	a.ReleaseUnused()
	require.Equal(t, 1, keys.open["key of password"], "it is in use")
	done()
	require.Zero(t, keys.open["key of password"])

	fresh, _ := keys.OpenSession(ctx, []byte("next"))
	a.HoldSession("next", fresh)
	_, done, err = a.Session(ctx, n.Token)
	require.NoError(t, err)
	done()
	require.Equal(t, 1, keys.open["next"], "the one that is held is used")
	spare, _ := keys.OpenSession(ctx, []byte("next"))
	a.HoldSession("next", spare)
	require.Equal(t, 1, keys.open["next"], "one that was opened in vain is closed")

	idle := bornOf(prt.ByPassword)
	idle.Token.SessionKey = []byte("last")
	_, err = a.Update(ctx, with(idle))
	require.NoError(t, err)
	a.ReleaseUnused()
	require.Zero(t, keys.open["next"], "nobody used it, and no PRT has it")
	fresh, _ = keys.OpenSession(ctx, []byte("last"))
	a.HoldSession("last", fresh)
	require.Equal(t, 1, keys.open["last"])
	for _, a := range b.Close() {
		require.NoError(t, a.Close())
	}
	require.Zero(t, keys.open["last"])
	_, _, err = a.Session(ctx, n.Token)
	require.ErrorIs(t, err, vault.ErrClosed)
}

// sealer seals under a PIN as a TPM does, for the tests of what is sealed.
type sealer struct {
	tpm.KeyStore
	pin     string
	expired bool
}

func (s *sealer) SealPIN(_ context.Context, secret, aad, pin []byte, _ tpm.Limit) ([]byte, error) {
	s.pin = string(pin)
	return append(append([]byte{}, aad...), secret...), nil
}

func (s *sealer) UnsealPIN(_ context.Context, sealed, aad, pin []byte) ([]byte, error) {
	switch {
	case s.expired:
		return nil, tpm.ErrExpired
	case string(pin) != s.pin:
		return nil, tpm.ErrWrongPIN
	}
	return append([]byte{}, sealed[len(aad):]...), nil
}

func (s *sealer) Left(context.Context, []byte, []byte) (tpm.Limit, error) {
	return tpm.Limit{Time: time.Hour}, nil
}

func (s *sealer) ChangeSealPIN(_ context.Context, sealed, _, old, pin []byte) ([]byte, error) {
	if string(old) != s.pin {
		return nil, tpm.ErrWrongPIN
	}
	s.pin = string(pin)
	return sealed, nil
}

// The PIN opens in another process what Lock put away, and a wrong one is
// counted there.
func TestLock(t *testing.T) {
	t.Parallel()
	keys, s, ctx := &sealer{KeyStore: testKeys(t)}, &store.Memory{}, t.Context()
	limit := tpm.Limit{Time: time.Hour}
	a, err := openBook(t, keys, s, "").Put(ctx, person("alice"), with(bornOf(prt.ByPassword)))
	require.NoError(t, err)
	require.ErrorIs(t, a.PutAway(ctx), ErrNotUnlocked)
	err = a.OpenOffline(ctx, []byte("123456"))
	require.ErrorIs(t, err, ErrNotPrepared)
	require.ErrorIs(t, a.TryPIN(ctx, func() error { return nil }), ErrNoHello)

	_, err = a.Update(ctx, func(r *Record) error { r.Hello = &Hello{Key: []byte("key")}; return nil })
	require.NoError(t, err)
	require.ErrorIs(t, a.PrepareOffline(ctx, []byte("123456"), []byte("another key"), limit), ErrReplaced)
	require.NoError(t, a.PrepareOffline(ctx, []byte("123456"), []byte("key"), limit))
	require.NoError(t, a.PutAway(ctx))
	require.True(t, a.Record().Locked())
	require.NoError(t, a.PutAway(ctx), "it is put away")

	b, _, err := openBook(t, keys, s, "").Find(ctx, Identity{})
	require.NoError(t, err)
	for range 5 {
		err = b.OpenOffline(ctx, []byte("654321"))
		require.ErrorIs(t, err, tpm.ErrWrongPIN)
	}
	var soon *TooSoon
	err = b.OpenOffline(ctx, []byte("123456"))
	require.ErrorAs(t, err, &soon)
	require.Equal(t, TooSoon{Wrong: 5, Wait: time.Minute}, *soon)
	_, err = b.Update(ctx, func(r *Record) error { h := *r.Hello; h.Wrong = 0; r.Hello = &h; return nil })
	require.NoError(t, err)
	changed, err := b.ChangedOffline(ctx, b.Record().Hello.Offline, []byte("123456"), []byte("999999"))
	require.NoError(t, err)
	require.True(t, changed.Equal(b.Record().Hello.Offline))
	require.NoError(t, b.OpenOffline(ctx, []byte("999999")))
	left, err := b.OfflineLeft(ctx)
	require.NoError(t, err)
	require.Equal(t, limit, left)
	require.False(t, b.Record().Locked())
	require.Equal(t, "prt of password", b.Record().PRT(prt.ByPassword).Token.PRT.Reveal())

	keys.expired = true
	err = b.OpenOffline(ctx, []byte("999999"))
	require.ErrorIs(t, err, tpm.ErrExpired)
	require.Zero(t, b.Record().Hello.Wrong, "what was not judged does not count")
	require.ErrorIs(t, b.GiveUpOffline(ctx, &SealedOffline{ID: "another"}), ErrReplaced)
	require.NoError(t, b.GiveUpOffline(ctx, b.Record().Hello.Offline))
	require.Nil(t, b.Record().Hello.Offline)
}
