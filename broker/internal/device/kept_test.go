package device

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm"
)

type closing struct {
	tpm.Signer
	closed int
}

func (c *closing) Close() error { c.closed++; return nil }

// Of one registration that two calls opened, one is kept and the other's keys are
// closed. One that another takes the place of stays open until Close: a call may be
// using it.
func TestKeep(t *testing.T) {
	t.Parallel()
	k := New(Config{})
	opened := func(from store.Version) (*Device, *closing) {
		key := &closing{}
		return &Device{from: from, Key: key, Transport: &closing{}}, key
	}
	first, firstKey := opened(1)
	require.Same(t, first, k.keep(first))
	second, secondKey := opened(1)
	require.Same(t, first, k.keep(second))
	require.Equal(t, 1, secondKey.closed)
	third, thirdKey := opened(2)
	require.Same(t, third, k.keep(third))
	require.Same(t, third, k.Open())
	require.Zero(t, firstKey.closed)
	require.NoError(t, k.Close())
	require.Equal(t, 1, firstKey.closed)
	require.Equal(t, 1, thirdKey.closed)
	require.Nil(t, k.Open())
	require.NoError(t, k.Close())
	require.Equal(t, 1, thirdKey.closed)
}
