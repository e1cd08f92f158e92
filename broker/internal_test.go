package broker

import (
	"bytes"
	"testing"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
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
		key := bytes.Repeat([]byte{1}, vault.KeySize)
		return &offline{vault: vault.WithKey(nil, nil, "account-x", key), id: string(rune('a' + opened))}, key
	}
	wiped := make([]byte, vault.KeySize)
	a := &account{vault: vault.New(nil, nil, nil, "account-x"), sessions: map[string]*heldSession{}}
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

func testKeys(t testing.TB) tpm.KeyStore {
	t.Helper()
	keys, err := softkeys.Open(softkeys.File(t.TempDir() + "/master"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = keys.Close() })
	return keys
}
