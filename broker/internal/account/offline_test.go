package account

import (
	"bytes"
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
