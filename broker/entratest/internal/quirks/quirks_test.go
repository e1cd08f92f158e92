package quirks_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/quirks"
)

func TestSet(t *testing.T) {
	t.Parallel()
	var none *quirks.Set
	set := &quirks.Set{}
	for _, q := range quirks.All {
		require.True(t, none.On(q))
		require.True(t, set.On(q))
		require.NoError(t, set.Put(q, false))
		require.NoError(t, set.Put(q, false))
		require.False(t, set.On(q))
		for _, other := range quirks.All {
			require.Equal(t, other != q, set.On(other))
		}
		require.NoError(t, set.Put(q, true))
		require.True(t, set.On(q))
	}
	require.ErrorContains(t, set.Put("telepathy", true), "telepathy")
}
