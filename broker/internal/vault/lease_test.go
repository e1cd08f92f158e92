package vault

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/store"
)

func TestLease(t *testing.T) {
	t.Parallel()
	s := &store.Memory{}
	release, err := Lease(t.Context(), s, "register", time.Minute)
	require.NoError(t, err)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Lease(over, s, "register", time.Minute)
	require.ErrorIs(t, err, context.Canceled)
	_, err = Lease(t.Context(), s, "register", time.Millisecond)
	require.ErrorIs(t, err, ErrHeld)
	late, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = Lease(late, s, "register", time.Minute)
	require.ErrorIs(t, err, context.DeadlineExceeded, "the caller's own end")
	release()
	release, err = Lease(t.Context(), s, "register", time.Minute)
	require.NoError(t, err)
	release()

	release, err = Lease(t.Context(), struct{ store.Store }{s}, "register", time.Minute)
	require.NoError(t, err, "a store that lends nothing excludes nobody")
	release()
}

// A shared lease ends once, with the last of its holders.
func TestShared(t *testing.T) {
	t.Parallel()
	released := 0
	leave, keep := Shared(func() { released++ })
	done, again := keep(), keep()
	leave()
	done()
	require.Zero(t, released)
	again()
	require.Equal(t, 1, released)
}

// What is sealed under a key of somebody else's opens under a copy of it, and
// the vault forgets the key at Close.
func TestBeside(t *testing.T) {
	t.Parallel()
	key := make([]byte, KeySize)
	key[0] = 1
	closed := New(nil, &store.Memory{}, zero{}, "account-1")
	v := closed.Beside(key)
	require.Equal(t, "account-1", v.Owner())
	copied := v.CopyKey()
	raw, err := v.Seal(".away", []byte("the PRTs"), 0)
	require.NoError(t, err)
	v.Close()
	require.Equal(t, make([]byte, KeySize), key)
	_, _, err = v.Unseal(".away", raw)
	require.ErrorIs(t, err, ErrClosed)
	require.Nil(t, v.CopyKey())

	plain, _, err := closed.Beside(copied).Unseal(".away", raw)
	require.NoError(t, err)
	require.Equal(t, "the PRTs", string(plain))
}

type zero struct{}

func (zero) Read(b []byte) (int, error) { clear(b); return len(b), nil }
