package broker_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

// No key is made for a registration that another process has erased.
func TestProvisionHelloOnAnErasedRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	softwareHello(w)
	w.join()
	res, err := w.b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice, MFA: true})
	require.NoError(t, err)
	other := w.open()
	require.NoError(t, other.UnregisterDevice(t.Context()))
	w.wire.take()
	require.ErrorIs(t, w.b.ProvisionHello(t.Context(), res.Account, rightPIN), broker.ErrDeviceNotRegistered)
	require.ErrorIs(t, w.b.RemoveHello(t.Context(), res.Account), broker.ErrDeviceNotRegistered)
	require.Empty(t, w.wire.take())
	require.Empty(t, w.helloKeys(alice))
}
