package broker

import (
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
