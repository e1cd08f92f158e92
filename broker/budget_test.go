package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

// A silent token through the PRT is one token request, one for a nonce when
// none is fresh, and two commands of the TPM.
func TestSilentBudget(t *testing.T) {
	t.Parallel()
	keys, counting := softwareTPM(t)
	w := newWorld(t, withKeys(keys))
	w.join()
	w.signIn()
	w.silent(graph)

	counting.Take()
	w.wire.take()
	w.silent(open)
	require.Equal(t, []string{"token"}, w.wire.take(), "the nonce is reused while it is fresh")
	require.Len(t, counting.Take(), 2, "one derivation for the request, one for the reply")

	w.clock.Advance(4 * time.Minute)
	w.silent(graph, broker.WithForceRefresh())
	require.Equal(t, []string{"nonce", "token"}, w.wire.take())
	require.Len(t, counting.Take(), 2)

	w.silent(graph)
	require.Empty(t, w.wire.take(), "a token in memory costs nothing")
	require.Empty(t, counting.Take())

	// Saving a renewed PRT costs no command beyond those of the request.
	w.clock.Advance(5 * time.Hour)
	require.NoError(t, w.b.RenewPRT(t.Context(), broker.Account{}))
	require.Equal(t, []string{"nonce", "token"}, w.wire.take())
	require.Len(t, counting.Take(), 2)

	_, err := w.b.SSOCookies(t.Context(), "https://login.microsoftonline.com/common/oauth2/authorize?sso_nonce=AwABnonce")
	require.NoError(t, err)
	require.Empty(t, w.wire.take())
	require.Len(t, counting.Take(), 1)
}

// A broker that has just started loads keys first.
func TestColdBudget(t *testing.T) {
	t.Parallel()
	keys, counting := softwareTPM(t)
	w := newWorld(t, withKeys(keys))
	w.join()
	w.signIn()
	require.NoError(t, w.b.Close())
	w.b = w.open()
	counting.Take()
	w.silent(graph)
	commands := counting.Take()
	require.LessOrEqual(t, len(commands), 6, names(commands))
}

// New costs the TPM the same with one account as with many.
func TestNewBudget(t *testing.T) {
	t.Parallel()
	keys, counting := softwareTPM(t)
	w := newWorld(t, withKeys(keys))
	w.join()
	w.signIn()
	_, err := w.b.SignIn(t.Context(), broker.Password{Username: bob, Password: password})
	require.NoError(t, err)
	accounts, err := w.b.Accounts(t.Context())
	require.NoError(t, err)
	require.Len(t, accounts, 2)
	require.NoError(t, w.b.Close())
	counting.Take()
	w.b = w.open()
	commands := counting.Take()
	require.Len(t, commands, 3, "%d accounts: %s", len(accounts), names(commands))
}

func names(commands []tpm2.TPMCC) string {
	var s []string
	for _, c := range commands {
		s = append(s, fmt.Sprintf("%#x", uint32(c)))
	}
	return strings.Join(s, " ")
}
