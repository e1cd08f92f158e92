package account

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// The offline key does not outlive what it was opened for.
func TestOfflineKeyIsForgotten(t *testing.T) {
	t.Parallel()
	opened := 0
	open := func() (*Offline, []byte) {
		opened++
		key := bytes.Repeat([]byte{1}, vault.KeySize)
		return &Offline{vault: vault.New(nil, nil, nil, "account-x").Beside(key), ID: string(rune('a' + opened))}, key
	}
	wiped := make([]byte, vault.KeySize)
	a := &Account{vault: vault.New(nil, nil, nil, "account-x"), sessions: map[string]*heldSession{}}
	first, firstKey := open()
	second, secondKey := open()
	late, lateKey := open()
	a.HoldOffline(first)
	a.HoldOffline(second)
	require.Equal(t, wiped, firstKey)
	require.NotEqual(t, wiped, secondKey)
	require.NoError(t, a.Close())
	require.Equal(t, wiped, secondKey)
	a.HoldOffline(late)
	require.Equal(t, wiped, lateKey)
	require.Nil(t, a.Offline())
}

// remembering is a source of randomness that remembers where it was read into.
type remembering struct{ into [][]byte }

func (r *remembering) Read(b []byte) (int, error) {
	r.into = append(r.into, b)
	return rand.Read(b)
}

// An offline key that was made and could not be sealed is forgotten, and one that is
// forgotten is not sealed.
func TestOfflineKeyIsNotSealed(t *testing.T) {
	t.Parallel()
	keys, random, ctx := &sealer{KeyStore: testKeys(t)}, &remembering{}, t.Context()
	limit := tpm.Limit{Time: time.Hour}
	pin, key := []byte("123456"), []byte("key")
	a, err := openBook(t, keys, &store.Memory{}, "").Put(ctx, person("alice"), func(r *Record) error { r.Hello = &Hello{Key: key}; return nil })
	require.NoError(t, err)
	a.cfg.Rand = random
	keys.sealErr = errFull
	require.ErrorIs(t, a.PrepareOffline(ctx, pin, key, limit), errFull)
	require.Len(t, random.into, 2, "the id and the key")
	require.Equal(t, make([]byte, vault.KeySize), random.into[1])
	require.Nil(t, a.Offline())

	keys.sealErr, keys.pin = nil, ""
	gone := a.newOffline(bytes.Repeat([]byte{1}, vault.KeySize), "gone")
	gone.Forget()
	require.ErrorIs(t, a.sealOffline(ctx, keys, gone, pin, key, limit), vault.ErrClosed)
	require.Empty(t, keys.pin)
	require.Nil(t, a.Record().Hello.Offline)
}

// What opens under the PIN but is not a key, or opens for an account that is closed
// meanwhile, is not held.
func TestOpenOfflineInVain(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		short bool // the key
		want  error
	}{
		"no key":           {true, store.ErrDamaged},
		"closed meanwhile": {false, vault.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys, s, ctx := &sealer{KeyStore: testKeys(t)}, &watched{}, t.Context()
			pin, key := []byte("123456"), []byte("key")
			a, err := openBook(t, keys, s, "").Put(ctx, person("alice"), func(r *Record) error { r.Hello = &Hello{Key: key}; return nil })
			require.NoError(t, err)
			require.NoError(t, a.PrepareOffline(ctx, pin, key, tpm.Limit{Time: time.Hour}))
			a.HoldOffline(nil)
			if tt.short {
				_, err = a.Update(ctx, func(r *Record) error {
					h := *r.Hello
					h.Offline = &SealedOffline{ID: h.Offline.ID, Sealed: h.Offline.Sealed[:len(h.Offline.Sealed)-1]}
					r.Hello = &h
					return nil
				})
				require.NoError(t, err)
			}
			marks := 0
			s.onPut = func(name string) error {
				if strings.HasSuffix(name, ".mark") {
					if marks++; marks == 3 { // of the count, of its end, of what came back
						return a.Close()
					}
				}
				return nil
			}
			require.ErrorIs(t, a.OpenOffline(ctx, pin), tt.want)
			require.Nil(t, a.Offline())
		})
	}
}

// Tokens are not kept where the store cannot say what is there.
func TestKeepUnderOfflineKey(t *testing.T) {
	t.Parallel()
	s, ctx := &watched{}, t.Context()
	a, err := openBook(t, testKeys(t), s, "").Put(ctx, person("alice"), nil)
	require.NoError(t, err)
	o := a.newOffline(bytes.Repeat([]byte{1}, vault.KeySize), "one")
	s.onGet = func(name string) error {
		if strings.HasSuffix(name, offlineSuffix) {
			return errFull
		}
		return nil
	}
	require.ErrorIs(t, o.Keep(ctx, []KeptToken{{Client: "app"}}), errFull)
	s.onGet = nil
	kept, err := o.Kept(ctx)
	require.NoError(t, err)
	require.Empty(t, kept)
}

// What one process prepared for the PIN is not undone by another that knows less:
// one that prepares while the PRTs are put away, by another Hello key, or that
// unlocks by a key which is not the sealed one any more.
func TestOfflineMeanwhile(t *testing.T) {
	t.Parallel()
	keys, s, ctx := &sealer{KeyStore: testKeys(t)}, &store.Memory{}, t.Context()
	limit := tpm.Limit{Time: time.Hour}
	pin, key := []byte("123456"), []byte("key")
	a, err := openBook(t, keys, s, "").Put(ctx, person("alice"), with(bornOf(prt.ByPassword)))
	require.NoError(t, err)
	_, err = a.Update(ctx, func(r *Record) error { r.Hello = &Hello{Key: key}; return nil })
	require.NoError(t, err)
	require.NoError(t, a.PrepareOffline(ctx, pin, key, limit))
	require.ErrorIs(t, a.PrepareOffline(ctx, pin, []byte("another key"), limit), ErrReplaced)
	require.ErrorIs(t, a.BringBack(ctx, a.newOffline(make([]byte, vault.KeySize), "another")), ErrMeanwhile)
	require.NotNil(t, a.Offline())
	require.NoError(t, a.PutAway(ctx))
	require.Nil(t, a.Offline(), "a locked account's key is forgotten")

	b, _, err := openBook(t, keys, s, "").Find(ctx, Identity{})
	require.NoError(t, err)
	require.ErrorIs(t, b.PrepareOffline(ctx, pin, key, limit), ErrReplaced)
	require.True(t, b.Record().Locked())
	require.NoError(t, b.OpenOffline(ctx, pin))
	require.False(t, b.Record().Locked())
}

// What is sealed stays as it is until an eighth of its time is over, and is sealed
// anew when the clock was set back, which hides how much is.
func TestSealedAnew(t *testing.T) {
	t.Parallel()
	keys, ctx := &sealer{KeyStore: testKeys(t)}, t.Context()
	limit := tpm.Limit{Time: time.Hour}
	a, err := openBook(t, keys, &store.Memory{}, "").Put(ctx, person("alice"), with(bornOf(prt.ByPassword)))
	require.NoError(t, err)
	_, err = a.Update(ctx, func(r *Record) error { r.Hello = &Hello{Key: []byte("key")}; return nil })
	require.NoError(t, err)
	at := a.cfg.Now()
	for _, tt := range []struct {
		after time.Duration
		anew  bool
	}{{0, true}, {0, false}, {time.Hour / 8, false}, {time.Hour/8 + 1, true}, {time.Hour / 4, false}, {-time.Second, true}, {0, false}} {
		a.cfg.Now = func() time.Time { return at.Add(tt.after) }
		keys.pin = ""
		require.NoError(t, a.PrepareOffline(ctx, []byte("123456"), []byte("key"), limit))
		require.Equal(t, tt.anew, keys.pin != "", "after %v", tt.after)
	}
}

// A sealed offline key equals another if it is the same key sealed the same way: an
// update that lost a race must not pass for the one that won it.
func TestSealedOfflineEqual(t *testing.T) {
	t.Parallel()
	sealed := func(id, blob string) *SealedOffline { return &SealedOffline{ID: id, Sealed: []byte(blob)} }
	for name, tt := range map[string]struct {
		a, b  *SealedOffline
		equal bool
	}{
		"same":         {sealed("id", "blob"), sealed("id", "blob"), true},
		"sealed anew":  {sealed("id", "blob"), sealed("id", "new"), false},
		"another key":  {sealed("id", "blob"), sealed("another", "blob"), false},
		"none and one": {nil, sealed("id", "blob"), false},
		"none":         {nil, nil, true},
	} {
		require.Equal(t, tt.equal, tt.a.Equal(tt.b), name)
		require.Equal(t, tt.equal, tt.b.Equal(tt.a), name)
	}
}
