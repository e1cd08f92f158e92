package broker

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func testBroker(t testing.TB) *Broker {
	t.Helper()
	b, err := New(t.Context(), Config{
		Tenant: "contoso.example",
		App:    App{ClientID: "app"},
		Keys:   testKeys(t),
		Now:    func() time.Time { return noon },
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// The offline key does not outlive what it was opened for.
func TestOfflineKeyIsForgotten(t *testing.T) {
	t.Parallel()
	opened := 0
	open := func() (*offline, []byte) {
		opened++
		v := newVault(nil, nil, nil, "account-x")
		key := bytes.Repeat([]byte{1}, dataKeySize)
		v.setKey(key, 1)
		return &offline{vault: v, id: string(rune('a' + opened))}, key
	}
	wiped := make([]byte, dataKeySize)
	a := &account{vault: newVault(nil, nil, nil, "account-x"), sessions: map[string]*heldSession{}}
	first, firstKey := open()
	second, secondKey := open()
	late, lateKey := open()
	a.holdOffline(first)
	a.holdOffline(second)
	require.Equal(t, wiped, firstKey)
	require.NotEqual(t, wiped, secondKey)
	require.NoError(t, a.close())
	require.Equal(t, wiped, secondKey)
	a.holdOffline(late)
	require.Equal(t, wiped, lateKey)
	require.Nil(t, a.offlineKey())
}
