package account

import (
	"bytes"
	"testing"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/stretchr/testify/require"
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
