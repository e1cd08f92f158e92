package broker

import (
	"testing"
	"time"

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

func testKeys(t testing.TB) tpm.KeyStore {
	t.Helper()
	keys, err := softkeys.Open(softkeys.File(t.TempDir() + "/master"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = keys.Close() })
	return keys
}
