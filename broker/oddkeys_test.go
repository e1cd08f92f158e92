package broker_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/tpm"
)

// oddKeys is a key store whose keys are not what they should be.
type oddKeys struct {
	tpm.KeyStore
	as func(tpm.Key) tpm.Key // nil: they are
}

func (k *oddKeys) OpenKey(ctx context.Context, blob []byte, opts ...tpm.OpenOption) (tpm.Key, error) {
	key, err := k.KeyStore.OpenKey(ctx, blob, opts...)
	return k.odd(key), err
}

func (k *oddKeys) GenerateKey(ctx context.Context, spec tpm.KeySpec) (tpm.Key, error) {
	key, err := k.KeyStore.GenerateKey(ctx, spec)
	return k.odd(key), err
}

func (k *oddKeys) odd(key tpm.Key) tpm.Key {
	if k.as == nil || key == nil {
		return key
	}
	return k.as(key)
}

// mute cannot sign.
type mute struct {
	tpm.Key
	closed *int
}

func (k mute) Close() error { *k.closed++; return k.Key.Close() }

// fixed cannot change its PIN.
type fixed struct {
	tpm.Signer
	closed *int
}

func (k fixed) Close() error { *k.closed++; return k.Signer.Close() }

// foreign has a public key of another kind.
type foreign struct{ fixed }

func (foreign) Public() crypto.PublicKey {
	return ed25519.PublicKey(make([]byte, ed25519.PublicKeySize))
}

// A key that cannot do what it is for is said and not held open.
func TestKeysThatAreNotWhatTheyShouldBe(t *testing.T) {
	t.Parallel()
	bound := broker.WithPoP(broker.PoP{Method: "GET", URL: "https://files.example/"})
	for _, tt := range []struct {
		name string
		as   func(k tpm.Key, closed *int) tpm.Key
		do   func(w *world, acct broker.Account) error
		want error
		says string
	}{
		{"a Hello key that cannot sign", func(k tpm.Key, n *int) tpm.Key { return mute{k, n} }, func(w *world, _ broker.Account) error {
			_, err := w.b.SignIn(w.t.Context(), broker.HelloPIN{PIN: rightPIN})
			return err
		}, broker.ErrStateDamaged, "the Hello key cannot sign"},
		{"a Hello key that keeps its PIN", func(k tpm.Key, n *int) tpm.Key { return fixed{k.(tpm.Signer), n} }, func(w *world, acct broker.Account) error {
			return w.b.ChangePIN(w.t.Context(), acct, rightPIN, otherPIN)
		}, errors.ErrUnsupported, "cannot change PINs"},
		{"a key for bound tokens that cannot sign", func(k tpm.Key, n *int) tpm.Key { return mute{k, n} }, func(w *world, _ broker.Account) error {
			_, err := w.b.AcquireTokenSilent(w.t.Context(), open, bound)
			return err
		}, broker.ErrStateDamaged, "cannot sign"},
		{"a key for bound tokens of another kind", func(k tpm.Key, n *int) tpm.Key { return foreign{fixed{k.(tpm.Signer), n}} }, func(w *world, _ broker.Account) error {
			_, err := w.b.PoPKeyID(w.t.Context())
			return err
		}, nil, "PoP key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			keys := &oddKeys{KeyStore: pooledKeys(t)}
			w := newWorld(t, withMemory, withKeys(keys))
			softwareHello(w)
			w.join()
			acct := w.hello()
			closed := 0
			keys.as = func(k tpm.Key) tpm.Key { return tt.as(k, &closed) }
			err := tt.do(w, acct)
			if tt.want != nil {
				require.ErrorIs(t, err, tt.want)
			}
			require.ErrorContains(t, err, tt.says)
			require.Equal(t, 1, closed)
		})
	}
}

// The key for bound tokens is opened once, closed with the broker, and not held open
// if it cannot be kept.
func TestPoPKeyIsHeldOnce(t *testing.T) {
	t.Parallel()
	opened, closed := 0, 0
	keys := &oddKeys{KeyStore: pooledKeys(t)}
	w := newWorld(t, withMemory, withKeys(keys))
	w.join()
	w.signIn()
	disk := &brokenStore{Store: w.store, prefix: "pop-"}
	b := w.on(t, disk)
	keys.as = func(k tpm.Key) tpm.Key { opened++; return fixed{k.(tpm.Signer), &closed} }
	disk.set("put .state")
	_, err := b.PoPKeyID(t.Context())
	require.ErrorIs(t, err, errDisk)
	require.Equal(t, []int{1, 1}, []int{opened, closed})
	disk.set("")

	first, err := b.PoPKeyID(t.Context())
	require.NoError(t, err)
	for range 3 {
		again, err := b.PoPKeyID(t.Context())
		require.NoError(t, err)
		require.Equal(t, first, again)
	}
	require.Equal(t, []int{2, 1}, []int{opened, closed})
	require.NoError(t, b.Close())
	require.Equal(t, 2, closed)
	keys.as = nil
	again, err := w.open().PoPKeyID(t.Context())
	require.NoError(t, err)
	require.Equal(t, first, again, "the next process has the same")
}
