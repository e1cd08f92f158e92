package dbus_test

import (
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus"
	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
	"github.com/prtbroker/prtbroker/internal/bustest"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

var tpms tpmtest.Pool

// onTPM is a world whose keys are in a TPM, with its handler on a bus. What is
// between the store and the TPM is the test's.
func onTPM(t *testing.T, between func(tpm.Opener) tpm.Opener) (*world, *bustest.Bus) {
	t.Helper()
	bus := bustest.Start(t)
	e := tpms.Swtpm(t)
	keys, err := tpm.Open(t.Context(), between(e.Opener()), tpm.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = keys.Close() })
	w := newWorld(t, func(c *broker.Config) { c.Keys = e.Store(keys) })
	serve(t, &dbus.Service{Handler: w.h, Address: bus.Address})
	return w, bus
}

// A token from memory costs neither a request nor a command of the TPM, over the
// bus too: for a program that calls again, for one that has just connected, and
// for the package's own client.
func TestSilentOverBusCostsNothing(t *testing.T) {
	var chip *tpmtest.Counting
	w, bus := onTPM(t, func(o tpm.Opener) tpm.Opener {
		chip = tpmtest.NewCounting(o)
		return chip.Opener()
	})
	c := dial(t, bus)
	first := callMethod(t, c, wire.AcquireSilently, silentRequest(graphScope))
	require.NotEmpty(t, chip.Take(), "the first one is bound to the TPM")
	require.NotZero(t, w.wire.take())
	for range 50 {
		require.Equal(t, first.Token.AccessToken, callMethod(t, c, wire.AcquireSilently, silentRequest(graphScope)).Token.AccessToken)
	}
	require.Equal(t, first.Token.AccessToken, callMethod(t, dial(t, bus), wire.AcquireSilently, silentRequest(graphScope)).Token.AccessToken)
	ours := client(t, bus)
	for range 10 {
		res, err := ours.AcquireTokenSilent(t.Context(), graph, broker.WithAccount(w.acct))
		require.NoError(t, err)
		require.Equal(t, first.Token.AccessToken, res.AccessToken)
	}
	require.Empty(t, chip.Take())
	require.Zero(t, w.wire.take())
}

// A TPM that is busy is an error of the call that needs it, in the client's
// shape: one to try again. Calls that need no TPM are answered meanwhile, and so
// is the same call later.
func TestServiceTPMBusy(t *testing.T) {
	var faulty *tpmtest.Faulty
	_, bus := onTPM(t, func(o tpm.Opener) tpm.Opener {
		faulty = tpmtest.NewFaulty(o)
		return faulty.Opener()
	})
	c := dial(t, bus)
	require.Nil(t, callMethod(t, c, wire.AcquireSilently, silentRequest(graphScope)).Error)
	const vault = "https://vault.azure.net/.default"
	for name, rc := range map[string]tpm2.TPMRC{"no room for objects": tpm2.TPMRCObjectMemory, "no room for sessions": tpm2.TPMRCSessionMemory} {
		faulty.Inject(tpmtest.Fault{RC: rc, Times: -1})
		refused(t, callMethod(t, c, wire.AcquireSilently, silentRequest(vault)), wire.TransientError, "busy")
		require.NotZero(t, faulty.Injected(), name)
		require.Len(t, callMethod(t, c, wire.GetAccounts, "{}").Accounts, 1, name)
		require.Nil(t, callMethod(t, c, wire.AcquireSilently, silentRequest(graphScope)).Error, name)
		faulty.Clear()
	}
	require.NotEmpty(t, callMethod(t, c, wire.AcquireSilently, silentRequest(vault)).Token.AccessToken)
}
