package interop

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	msalerrors "github.com/AzureAD/microsoft-authentication-library-for-go/apps/errors"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"
	"github.com/stretchr/testify/require"
)

func newMSAL(t *testing.T) public.Client {
	t.Helper()
	c, err := public.New(appID, public.WithAuthority("https://login.microsoftonline.com/"+running.tenantID), public.WithHTTPClient(running.http))
	require.NoError(t, err)
	return c
}

var aadsts = regexp.MustCompile(`AADSTS(\d+)`)

// sawCall is what goes into the table of a refusal: MSAL Go hands out the body
// of the service's answer.
func sawCall(t *testing.T, err error, code int) string {
	t.Helper()
	var call msalerrors.CallErr
	require.True(t, errors.As(err, &call), "%v", err)
	text := err.Error()
	if m := aadsts.FindStringSubmatch(text); m == nil {
		body, rerr := io.ReadAll(call.Resp.Body)
		require.NoError(t, rerr)
		text += string(body)
	}
	m := aadsts.FindStringSubmatch(text)
	require.NotNil(t, m, text)
	require.Equal(t, fmt.Sprint(code), m[1], text)
	return fmt.Sprintf("refused: CallErr %d, AADSTS%s", call.Resp.StatusCode, m[1])
}

// ropc runs the password grant, which MSAL deprecates and the service serves.
func ropc(t *testing.T, c public.Client, scopes []string, user, password string) (public.AuthResult, error) {
	t.Helper()
	//lint:ignore SA1019 a flow that the client has is a flow to run
	return c.AcquireTokenByUsernamePassword(t.Context(), scopes, user, password)
}

// boundKey is an authentication scheme that binds tokens to a key.
type boundKey string

func (k boundKey) TokenRequestParams() map[string]string {
	cnf, err := json.Marshal(map[string]string{"kid": string(k)})
	if err != nil {
		panic(err) // a map of strings
	}
	return map[string]string{"token_type": "pop", "req_cnf": base64.RawURLEncoding.EncodeToString(cnf)}
}
func (k boundKey) KeyID() string                                  { return string(k) }
func (k boundKey) FormatAccessToken(token string) (string, error) { return token, nil }
func (k boundKey) AccessTokenType() string                        { return "pop" }

// promptNone asks for a code without a page: in a browser that nobody signed in
// with, then on a device that shows its PRT.
func promptNone(t *testing.T, start string, redeem func(got map[string]string) (token string)) string {
	t.Helper()
	got := running.redirected(t, person(), running.http, start, loopback)
	require.Equal(t, "login_required", got["error"], "%v", got)
	withShared(t, func(d *device) {
		token := redeem(running.authorize(t, person(), d.browser(t), start, loopback))
		require.Equal(t, d.id, claimsOf(t, token)["deviceid"])
	})
	return "login_required; token on a device with a PRT"
}

// deliver brings the answer to the program's listener, as the page that a
// browser shows does.
func deliver(start, redirected string) error {
	to, err := url.Parse(redirected)
	if err != nil {
		return err
	}
	values := to.Query()
	to.RawQuery = ""
	var resp *http.Response
	if strings.Contains(start, "response_mode=form_post") {
		resp, err = loopbackClient.PostForm(to.String(), values)
	} else {
		resp, err = loopbackClient.Get(redirected)
	}
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}

func TestMSALGo(t *testing.T) {
	t.Parallel()
	const client = "MSAL Go"
	c := newMSAL(t)
	scopes := []string{userRead}
	var account public.Account

	flow(t, client, "device code", func(t *testing.T) string {
		dc, err := c.AcquireTokenByDeviceCode(t.Context(), scopes)
		require.NoError(t, err)
		require.NoError(t, person().ApproveDeviceCode(t.Context(), running.http, dc.Result.UserCode))
		r, err := dc.AuthenticationResult(t.Context())
		require.NoError(t, err)
		account = r.Account
		require.Equal(t, alice, account.PreferredUsername)
		return "token"
	})
	flow(t, client, "silent from cache", func(t *testing.T) string {
		r, err := c.AcquireTokenSilent(t.Context(), scopes, public.WithSilentAccount(account))
		require.NoError(t, err)
		require.Equal(t, public.TokenSourceCache, r.Metadata.TokenSource)
		return "token from the cache"
	})
	flow(t, client, "authorization code", func(t *testing.T) string {
		start, err := c.AuthCodeURL(t.Context(), appID, loopback, scopes)
		require.NoError(t, err)
		got := running.authorize(t, person(), running.http, start, loopback)
		r, err := c.AcquireTokenByAuthCode(t.Context(), got["code"], loopback, scopes)
		require.NoError(t, err)
		account = r.Account
		return "token"
	})
	flow(t, client, "interactive (loopback listener, PKCE)", func(t *testing.T) string {
		opened := make(chan error, 1)
		r, err := c.AcquireTokenInteractive(t.Context(), scopes, public.WithLoginHint(alice), public.WithOpenURL(func(start string) error {
			go func() {
				got, err := person().Authorize(t.Context(), running.http, start, "http://localhost")
				if err == nil {
					err = deliver(start, got)
				}
				opened <- err
			}()
			return nil
		}))
		require.NoError(t, err)
		require.NoError(t, <-opened)
		require.Equal(t, alice, r.Account.PreferredUsername)
		return "token"
	})
	flow(t, client, "interactive (loopback listener, Chromium)", func(t *testing.T) string {
		starts := make(chan string, 1)
		done := make(chan error, 1)
		go func() {
			_, err := c.AcquireTokenInteractive(t.Context(), scopes, public.WithLoginHint(bob), public.WithOpenURL(func(start string) error {
				starts <- start
				return nil
			}))
			done <- err
		}()
		signInWithChromium(t, <-starts, bobPwd)
		require.NoError(t, <-done)
		return "token"
	})
	flow(t, client, "password (ROPC)", func(t *testing.T) string {
		_, err := ropc(t, c, scopes, bob, bobPwd)
		require.NoError(t, err)
		return "token"
	})
	flow(t, client, "silent by refresh token", func(t *testing.T) string {
		r, err := c.AcquireTokenSilent(t.Context(), []string{"https://management.azure.com/.default"}, public.WithSilentAccount(account))
		require.NoError(t, err)
		require.Equal(t, public.TokenSourceIdentityProvider, r.Metadata.TokenSource)
		return "token from the service"
	})
	flow(t, client, "MFA wanted in a password sign-in", func(t *testing.T) string {
		_, err := ropc(t, c, []string{payroll}, bob, bobPwd)
		return sawCall(t, err, 50079)
	})
	flow(t, client, "wrong password", func(t *testing.T) string {
		_, err := ropc(t, c, scopes, bob, "wrong")
		return sawCall(t, err, 50126)
	})
	flow(t, client, "blocked by policy", func(t *testing.T) string {
		_, err := c.AcquireTokenSilent(t.Context(), []string{secrets}, public.WithSilentAccount(account))
		return sawCall(t, err, 53003)
	})
	flow(t, client, "disabled device", func(t *testing.T) string {
		own := newMSAL(t)
		var r public.AuthResult
		var err error
		withDisabled(t, func(d *device) {
			start, err := own.AuthCodeURL(t.Context(), appID, loopback, scopes, public.WithLoginHint(alice))
			require.NoError(t, err)
			got := running.authorize(t, person(), d.browser(t), start, loopback)
			r, err = own.AcquireTokenByAuthCode(t.Context(), got["code"], loopback, scopes)
			require.NoError(t, err)
			require.Equal(t, d.id, claimsOf(t, r.AccessToken)["deviceid"])
		}, func() {
			_, err = own.AcquireTokenSilent(t.Context(), []string{"https://management.azure.com/.default"}, public.WithSilentAccount(r.Account))
		})
		return sawCall(t, err, 135011)
	})
	flow(t, client, "federated user (WS-Trust)", func(t *testing.T) string {
		sessions.Lock()
		defer sessions.Unlock()
		r, err := ropc(t, c, scopes, dave, davePwd)
		require.NoError(t, err)
		require.Equal(t, []any{"fed"}, claimsOf(t, r.AccessToken)["amr"])
		return "token"
	})
	flow(t, client, "federated user, wrong password", func(t *testing.T) string {
		_, err := ropc(t, c, scopes, dave, "wrong")
		var call msalerrors.CallErr
		require.True(t, errors.As(err, &call), "%v", err)
		body, err := io.ReadAll(call.Resp.Body)
		require.NoError(t, err)
		require.Contains(t, string(body), "ID3242")
		return fmt.Sprintf("refused: CallErr %d, SOAP fault ID3242", call.Resp.StatusCode)
	})
	flow(t, client, "under organizations", func(t *testing.T) string {
		own, err := public.New(appID, public.WithAuthority("https://login.microsoftonline.com/organizations"), public.WithHTTPClient(running.http))
		require.NoError(t, err)
		r, err := ropc(t, own, scopes, bob, bobPwd)
		require.NoError(t, err)
		r, err = own.AcquireTokenSilent(t.Context(), []string{"https://management.azure.com/.default"}, public.WithSilentAccount(r.Account), public.WithTenantID(running.tenantID))
		require.NoError(t, err)
		require.Equal(t, running.tenantID, claimsOf(t, r.AccessToken)["tid"])
		return "token; another of the tenant by its id"
	})
	flow(t, client, "proof of possession (token_type=pop)", func(t *testing.T) string {
		//lint:ignore SA1019 a flow that the client has is a flow to run
		r, err := c.AcquireTokenByUsernamePassword(t.Context(), scopes, bob, bobPwd, public.WithAuthenticationScheme(boundKey("a key")))
		require.NoError(t, err)
		require.Equal(t, map[string]any{"kid": "a key"}, claimsOf(t, r.AccessToken)["cnf"])
		return "token with cnf"
	})
	flow(t, client, "claims challenge (CAE, cp1)", func(t *testing.T) string {
		own, err := public.New(appID, public.WithAuthority("https://login.microsoftonline.com/"+running.tenantID), public.WithHTTPClient(running.http),
			public.WithClientCapabilities([]string{"cp1"}))
		require.NoError(t, err)
		var r public.AuthResult
		return challenged(t, func(claims string) string {
			//lint:ignore SA1019 a flow that the client has is a flow to run
			r, err = own.AcquireTokenByUsernamePassword(t.Context(), scopes, dave, davePwd, public.WithClaims(claims))
			require.NoError(t, err)
			return r.AccessToken
		}, func(claims string) string {
			_, err := own.AcquireTokenSilent(t.Context(), scopes, public.WithSilentAccount(r.Account), public.WithClaims(claims))
			return sawCall(t, err, 50173)
		})
	})
	flow(t, client, "silent sign-in (prompt=none)", func(t *testing.T) string {
		start, err := c.AuthCodeURL(t.Context(), appID, loopback, scopes, public.WithPrompt(0)) // the first of its prompts: none
		require.NoError(t, err)
		require.Contains(t, start, "prompt=none")
		return promptNone(t, start, func(got map[string]string) string {
			r, err := c.AcquireTokenByAuthCode(t.Context(), got["code"], loopback, scopes)
			require.NoError(t, err)
			return r.AccessToken
		})
	})
	flow(t, client, "remove the account", func(t *testing.T) string {
		require.NoError(t, c.RemoveAccount(t.Context(), account))
		list, err := c.Accounts(t.Context())
		require.NoError(t, err)
		for _, a := range list {
			require.NotEqual(t, alice, a.PreferredUsername)
		}
		return "gone from the cache"
	})
}
