package directory

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
)

// Two administrators who change one device at once must not lose a change: the
// device is read, changed and put back under one hold of the lock.
func TestChangeDeviceHoldsTheLock(t *testing.T) {
	t.Parallel()
	d, err := New([]TenantSpec{{Domain: "contoso.example"}}, 1, ids.NewSource(1))
	require.NoError(t, err)
	require.NoError(t, d.AddDevice(&Device{ID: "one", Enabled: true}))
	changed := false
	require.NoError(t, d.changeDevice("one", func(*Device) error {
		changed = true
		require.False(t, d.mu.TryLock(), "nobody else may write meanwhile")
		return nil
	}))
	require.True(t, changed)
	require.True(t, d.mu.TryLock(), "it is released")
	d.mu.Unlock()
}
