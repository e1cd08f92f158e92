package account

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// keyRing opens session keys that know whether they are closed.
type keyRing struct {
	tpm.KeyStore
	open map[string]int
	fail error // of closing
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

func (k ringKey) Close() error { k.ring.open[k.blob]--; return k.ring.fail }

// A session key is opened once and closed when no PRT has it and nobody uses it.
func TestSessions(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	keys := &keyRing{KeyStore: testKeys(t), open: map[string]int{}}
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

// The session keys of a PRT and of the one that it replaced stay open while the
// record has them, also when nobody uses them, and each is opened once.
func TestSessionsOfARenewedPRT(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	keys := &keyRing{KeyStore: testKeys(t), open: map[string]int{}}
	e := bornOf(prt.ByPassword)
	e.Previous = bornOf(prt.ByPassword).Token
	e.Token.SessionKey, e.Previous.SessionKey = []byte("new"), []byte("old")
	a, err := openBook(t, keys, &store.Memory{}, "").Put(ctx, person("alice"), with(e))
	require.NoError(t, err)
	for range 2 {
		for _, token := range []*prt.Token{e.Token, e.Previous} {
			_, done, err := a.Session(ctx, token)
			require.NoError(t, err)
			done()
		}
		a.ReleaseUnused()
		require.Equal(t, map[string]int{"new": 1, "old": 1}, keys.open)
	}

	e.Previous = nil
	_, err = a.Update(ctx, with(e))
	require.NoError(t, err)
	a.ReleaseUnused()
	require.Equal(t, map[string]int{"new": 1, "old": 0}, keys.open)
}
