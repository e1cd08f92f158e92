package broker_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/store"
)

// withMemory keeps the state in memory.
func withMemory(w *world, _ *entratest.Options) { w.store = &store.Memory{} }

// copyStore returns a store with the records of another.
func copyStore(t testing.TB, from *store.Memory) *store.Memory {
	t.Helper()
	names, err := from.List(t.Context(), "")
	require.NoError(t, err)
	to := &store.Memory{}
	for _, n := range names {
		data, _, err := from.Get(t.Context(), n)
		require.NoError(t, err)
		_, err = to.Put(t.Context(), n, data, 0)
		require.NoError(t, err)
	}
	return to
}

// on starts a broker over another store, which ends with the test t.
func (w *world) on(t *testing.T, s store.Store) *broker.Broker {
	t.Helper()
	cfg := w.cfg
	cfg.Store = s
	b, err := broker.New(t.Context(), cfg)
	require.NoError(t, err)
	broker.SetSleep(b, w.sleep)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func count(all []string, what string) (n int) {
	for _, s := range all {
		if s == what {
			n++
		}
	}
	return n
}
