package broker_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
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

// No secret is in a log, in an error, in a printed value or on disk.
func TestCanary(t *testing.T) {
	t.Parallel()
	var logs bytes.Buffer
	dir := filepath.Join(t.TempDir(), "state")
	w := newWorld(t, func(w *world, _ *entratestOptions) { w.store = fileStore(t, dir) })
	var secrets []string
	keep := func(s ...string) { secrets = append(secrets, s...) }
	keep(password, totp, string(rightPIN), string(otherPIN))
	w.wire.set(func(r *http.Request) error {
		if p := prtOf(r); p != "" {
			keep(p)
		}
		if a := r.Header.Get("Authorization"); a != "" {
			keep(strings.TrimPrefix(a, "Bearer "))
		}
		return nil
	}, nil)
	w.cfg.Logger = slog.New(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.b = w.open()
	var printed strings.Builder
	show := func(v any) {
		fmt.Fprintf(&printed, "%v %+v %#v %s\n", v, v, v, v)
		if j, err := json.Marshal(v); err == nil {
			printed.Write(j)
		}
		w.cfg.Logger.Info("value", "value", v)
	}
	w.join()
	acct := w.signIn()
	_, err := w.b.AcquireTokenSilent(t.Context(), payroll)
	show(err)
	res, err := w.b.AcquireTokenInteractive(t.Context(), payroll)
	require.NoError(t, err)
	keep(res.AccessToken)
	show(res)
	w.clock.Advance(5 * time.Hour)
	res = w.silent(graph)
	keep(res.AccessToken)
	show(res)
	show(&res)
	cookies, err := w.b.SSOCookies(t.Context(), "https://login.microsoftonline.com/")
	require.NoError(t, err)
	keep(cookies[0].Value)
	for _, cred := range []any{
		broker.Password{Username: alice, Password: password}, &broker.Password{Username: alice, Password: password},
		broker.Federated{Username: alice, Password: password}, broker.RefreshToken{Token: password}, broker.PIN(password),
		broker.SAMLAssertion{Assertion: []byte(password)}, broker.DeviceImport{Key: []byte(password)}, &broker.DeviceImport{TransportKey: []byte(password)},
	} {
		show(cred)
	}
	softwareHello(w)
	require.NoError(t, w.b.ProvisionHello(t.Context(), acct, rightPIN))
	_, err = w.b.Unlock(t.Context(), acct, otherPIN)
	show(err)
	unlocked, err := w.b.Unlock(t.Context(), acct, rightPIN)
	require.NoError(t, err)
	show(unlocked)
	show(broker.HelloPIN{PIN: rightPIN})
	hello, err := w.b.HelloStatus(t.Context(), acct)
	require.NoError(t, err)
	show(hello)
	show(w.status(acct))
	s, err := w.b.Status(t.Context())
	require.NoError(t, err)
	show(s)
	why, err := w.b.Why(t.Context(), broker.WhyInput{Scopes: payroll})
	require.NoError(t, err)
	show(why)
	log, err := w.b.SignInLog(t.Context(), acct)
	require.NoError(t, err)
	show(log)
	require.NoError(t, w.b.Close())

	require.Greater(t, len(secrets), 8)
	require.NotEmpty(t, logs.String())
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Greater(t, len(files), 6)
	for _, secret := range secrets {
		require.NotContains(t, logs.String(), secret)
		require.NotContains(t, printed.String(), secret)
		for _, f := range files {
			raw, err := os.ReadFile(f)
			require.NoError(t, err)
			require.False(t, bytes.Contains(raw, []byte(secret)), f)
		}
	}
	for _, f := range files {
		raw, _ := os.ReadFile(f)
		require.NotContains(t, string(raw), "alice", f)
	}
}
