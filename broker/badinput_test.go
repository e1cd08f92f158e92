package broker_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm"
)

// Each bad input is a typed error whose text helps, and loses nothing.
func TestBadSignIn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		cred broker.Credential
		want error
		code int
		text string
	}{
		{"wrong password", broker.Password{Username: alice, Password: "wrong"}, broker.ErrBadCredential, 50126, "password is wrong"},
		{"unknown user", broker.Password{Username: "nobody@contoso.example", Password: "x"}, broker.ErrUserNotFound, 50034, "user is not in the tenant"},
		{"no refresh token", broker.RefreshToken{Token: "0.Aforged"}, broker.ErrInteractionRequired, 0, ""},
		{"no credential", nil, nil, 0, "credential is required"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.join()
			acct := w.signIn()
			_, err := w.b.SignIn(t.Context(), tt.cred)
			require.ErrorContains(t, err, "broker: sign in: ")
			if tt.want != nil {
				require.ErrorIs(t, err, tt.want)
			}
			require.True(t, strings.HasPrefix(err.Error(), "broker: sign in: "), err)
			require.Contains(t, err.Error(), tt.text)
			require.NotContains(t, err.Error(), "\n")
			if tt.code != 0 {
				var e *broker.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, tt.code, e.Code)
			}
			require.NotContains(t, err.Error(), alice)
			require.Equal(t, broker.PRTFresh, w.status(acct).State, "the PRT that was there stays")
		})
	}
}

func TestWrongTOTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	acct := w.signIn()
	w.person.TOTPSecret = "MZXW6YTBOI======"
	_, err := w.b.AcquireTokenInteractive(t.Context(), payroll)
	require.NotErrorIs(t, err, broker.ErrTransient)
	var page *entratest.PageError
	require.ErrorAs(t, err, &page, "what the Prompter returned is in the error")
	require.Equal(t, broker.PRTFresh, w.status(acct).State)
	w.silent(graph)
}

func TestUserGivesUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	w.signIn()
	w.cfg.Prompter = &refusing{}
	b := w.open()
	_, err := b.AcquireTokenInteractive(t.Context(), payroll)
	require.ErrorIs(t, err, broker.ErrUserCanceled)
}

type refusing struct{}

func (refusing) Authorize(context.Context, string, string) (string, error) {
	return "", broker.ErrUserCanceled
}
func (refusing) DeviceCode(context.Context, broker.DeviceCode) error { return broker.ErrUserCanceled }
func (refusing) PIN(context.Context, broker.Account) (broker.PIN, error) {
	return nil, broker.ErrUserCanceled
}

// What a Prompter brings back is not trusted.
func TestForgedRedirect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	const redirect = "ms-appx-web://Microsoft.AAD.BrokerPlugin/DRS"
	for _, tt := range []struct{ name, redirected, says string }{
		{"another address", "https://evil.example/?code=x", "another address than the redirect URI"},
		{"no state", redirect + "?code=x", "belongs to another request (state)"},
		{"another state", redirect + "?code=x&state=y", "belongs to another request (state)"},
		{"an error without the state", redirect + "?error=access_denied", "belongs to another request (state)"},
		{"nothing", "", "another address than the redirect URI"},
		{"too long", redirect + "?code=" + strings.Repeat("x", 1<<17), "another address than the redirect URI"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.cfg.Prompter = forging(tt.redirected)
			b := w.open()
			w.wire.take()
			_, err := b.SignIn(t.Context(), broker.AuthCode{})
			require.ErrorContains(t, err, tt.says)
			require.NotErrorIs(t, err, broker.ErrTransient)
			require.Empty(t, w.wire.take(), "no code goes to the service")
		})
	}
}

// Another user who signs in where one was asked for gets that one nothing, at
// an app that the PRT serves and at one that it does not.
func TestAnotherUserAtAStepUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	acct := w.signIn()
	w.person.Username = "bob@contoso.example"
	_, err := w.b.AcquireTokenInteractive(t.Context(), payroll, broker.WithAccount(acct))
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	require.ErrorContains(t, err, "another user signed in")
	require.Equal(t, 1, w.person.prompts())
	_, err = w.b.AcquireTokenSilent(t.Context(), payroll, broker.WithAccount(acct))
	require.ErrorIs(t, err, broker.ErrInteractionRequired, "bob's MFA is not hers")
	accounts, err := w.b.Accounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, []broker.Account{acct}, accounts)
}

type forging string

func (f forging) Authorize(context.Context, string, string) (string, error) { return string(f), nil }
func (forging) DeviceCode(context.Context, broker.DeviceCode) error         { return nil }
func (forging) PIN(context.Context, broker.Account) (broker.PIN, error)     { return nil, nil }

func TestNoPrompter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	w.signIn()
	w.cfg.Prompter = nil
	b := w.open()
	const fresh = `{"access_token":{"amr":{"values":["mfa"]}}}`
	for name, call := range map[string]struct {
		do     func() error
		says   string
		claims string
	}{
		"a page":            {func() error { _, err := b.SignIn(t.Context(), broker.AuthCode{}); return err }, "Config.Prompter is nil", ""},
		"a device code":     {func() error { _, err := b.SignIn(t.Context(), broker.DeviceCodeFlow{}); return err }, "Config.Prompter is nil", ""},
		"what it asked for": {func() error { _, err := b.AcquireTokenInteractive(t.Context(), payroll); return err }, "AADSTS50076", `{"access_token":`},
		"given claims": {func() error {
			_, err := b.AcquireTokenInteractive(t.Context(), payroll, broker.WithClaims(fresh))
			return err
		}, "Config.Prompter is nil", fresh},
		"a new sign-in": {func() error {
			_, err := b.AcquireTokenInteractive(t.Context(), payroll, broker.WithNewSignIn())
			return err
		}, "a new sign-in was requested", ""},
	} {
		err := call.do()
		require.ErrorIs(t, err, broker.ErrInteractionRequired, name)
		require.ErrorContains(t, err, call.says, name)
		var e *broker.Error
		require.ErrorAs(t, err, &e, name)
		require.True(t, strings.HasPrefix(e.Claims, call.claims), "%s: %s", name, e.Claims)
		require.Equal(t, call.claims == "", e.Claims == "", name)
	}
}

func TestUnknownTenant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Tenant = "fabrikam.example"
	_, err := w.open().RegisterDevice(t.Context(), broker.RegisterRequest{Credential: broker.Password{Username: alice, Password: password}})
	require.ErrorIs(t, err, broker.ErrAppConfig)
	var e *broker.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 90002, e.Code)
	require.Contains(t, err.Error(), "tenant does not exist")
}

func TestServiceIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	acct := w.signIn()
	w.silent(graph)
	w.srv.Close()
	_, err := w.b.AcquireTokenSilent(t.Context(), open)
	require.ErrorIs(t, err, broker.ErrTransient)
	require.NotErrorIs(t, err, broker.ErrInteractionRequired, "a network failure does not ask the user")
	_, err = w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
	require.ErrorIs(t, err, broker.ErrTransient)
	require.NotErrorIs(t, err, broker.ErrBadCredential)

	w.silent(graph) // a token in memory is served with the network down
	require.Equal(t, broker.PRTFresh, w.status(acct).State)
	w.clock.Advance(5 * time.Hour) // renewal is due, and the token has expired
	_, err = w.b.AcquireTokenSilent(t.Context(), graph)
	require.ErrorIs(t, err, broker.ErrTransient)
	require.Equal(t, broker.PRTNeedsRenewal, w.status(acct).State)
}

func TestMissingTPM(t *testing.T) {
	t.Parallel()
	gone := errors.New("no TPM here")
	_, err := tpm.Open(t.Context(), tpm.Opener{Open: func(context.Context) (transport.TPMCloser, error) { return nil, gone }, Spaces: 1}, tpm.Config{})
	require.ErrorIs(t, err, gone)
	_, err = broker.New(t.Context(), broker.Config{Tenant: "contoso.example"})
	require.ErrorContains(t, err, "Config.Keys is required")
}

func TestUnwritableState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Store = &readOnly{w.store}
	b := w.open()
	_, err := b.RegisterDevice(t.Context(), broker.RegisterRequest{Credential: broker.Password{Username: alice, Password: password}})
	require.ErrorIs(t, err, os.ErrPermission)
	require.Empty(t, w.srv.Devices(), "nothing is registered that could not be kept")
}

type readOnly struct{ store.Store }

func (readOnly) Put(context.Context, string, []byte, store.Version) (store.Version, error) {
	return 0, os.ErrPermission
}

// A damaged record is an error and stays as it is: neither overwritten nor
// taken for an empty state.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	w := newWorld(t, func(w *world, _ *entratestOptions) { w.store = fileStore(t, dir) })
	w.join()
	w.signIn()
	require.NoError(t, w.b.Close())
	files, err := filepath.Glob(filepath.Join(dir, "*.state.rec"))
	require.NoError(t, err)
	require.Len(t, files, 2)
	for _, f := range files {
		good, err := os.ReadFile(f)
		require.NoError(t, err)
		for name, bad := range map[string][]byte{
			"cut":     good[:len(good)/2],
			"empty":   {},
			"changed": append(append([]byte{}, good[:len(good)-1]...), good[len(good)-1]^1),
		} {
			require.NoError(t, os.WriteFile(f, bad, 0o600))
			b, err := broker.New(t.Context(), w.cfg)
			if strings.HasPrefix(filepath.Base(f), "account-") { // one account is not all of them
				require.NoError(t, err)
				_, err = b.Accounts(t.Context())
				require.NoError(t, b.Close())
			}
			require.ErrorIs(t, err, broker.ErrStateDamaged, "%s %s", f, name)
			after, err := os.ReadFile(f)
			require.NoError(t, err)
			require.Equal(t, bad, after)
		}
		require.NoError(t, os.WriteFile(f, good, 0o600))
	}
	w.b = w.open()
	w.silent(graph)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	keys := softwareKeys(t)
	for says, c := range map[string]broker.Config{
		"Tenant is required":             {Keys: keys},
		"Keys is required":               {Tenant: "contoso.example"},
		"Scope is neither ScopeUser nor": {Tenant: "contoso.example", Keys: keys, Scope: 7},
		"UserID requires ScopeSystem":    {Tenant: "contoso.example", Keys: keys, UserID: "1000"},
		"Offline.Time is negative":       {Tenant: "contoso.example", Keys: keys, Offline: tpm.Limit{Time: -1}},
		`"a/b" is not a host`:            {Tenant: "contoso.example", Keys: keys, Cloud: broker.Cloud{LoginHost: "a/b", RegistrationHost: "c"}},
		`"" is not a host`:               {Tenant: "contoso.example", Keys: keys, Cloud: broker.Cloud{LoginHost: "a"}},
	} {
		t.Run(says, func(t *testing.T) {
			_, err := broker.New(t.Context(), c)
			require.ErrorContains(t, err, says)
			require.True(t, strings.HasPrefix(err.Error(), "broker: "), err)
		})
	}
}

func TestOptionsThatDoNotApply(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.b.AcquireTokenSilent(t.Context(), graph, broker.WithNonce("n"))
	require.ErrorContains(t, err, "AcquireTokenSilent: WithNonce does not apply")
	_, err = w.b.AcquireTokenSilent(t.Context(), graph, broker.WithForceRefresh(), broker.WithForceRefresh())
	require.ErrorContains(t, err, "twice")
	_, err = w.b.AcquireTokenSilent(t.Context(), graph, broker.CallOption{})
	require.ErrorContains(t, err, "zero CallOption")
	_, err = w.b.SignIn(t.Context(), broker.Password{}, broker.WithClaims("{}"))
	require.ErrorContains(t, err, "SignIn: WithClaims does not apply")
}

// Every call returns within its context against a service that never answers.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	acct := w.signIn()
	w.clock.Advance(5 * time.Hour)
	w.cfg.Transport = blackHole{}
	w.cfg.MutualTLS = func(tls.Certificate) broker.Transport { return blackHole{} }
	b := w.open()
	ctx := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	for name, call := range map[string]func(context.Context) error{
		"silent":      func(ctx context.Context) error { _, err := b.AcquireTokenSilent(ctx, graph); return err },
		"interactive": func(ctx context.Context) error { _, err := b.AcquireTokenInteractive(ctx, graph); return err },
		"sign in": func(ctx context.Context) error {
			_, err := b.SignIn(ctx, broker.Password{Username: alice, Password: password})
			return err
		},
		"renew": func(ctx context.Context) error { return b.RenewPRT(ctx, acct) },
		"cookie": func(ctx context.Context) error {
			_, err := b.SSOCookies(ctx, "https://login.microsoftonline.com/")
			return err
		},
		"run":        b.Run,
		"unregister": b.UnregisterDevice,
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, ends(t, func() error { return call(ctx()) }), context.DeadlineExceeded)
		})
	}
	require.NoError(t, b.Close())
}

type blackHole struct{}

// Do ignores the context, as a transport must not.
func (blackHole) Do(*http.Request) (*http.Response, error) { select {} }

func TestClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	w.signIn()
	w.silent(graph)
	require.NoError(t, w.b.Close())
	require.NoError(t, w.b.Close())
	_, err := w.b.AcquireTokenSilent(t.Context(), graph)
	require.ErrorIs(t, err, broker.ErrClosed)
	_, err = w.b.Status(t.Context())
	require.ErrorIs(t, err, broker.ErrClosed)
	require.ErrorIs(t, w.b.Run(t.Context()), broker.ErrClosed)
}
