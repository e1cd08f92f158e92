package interop

import (
	"testing"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	"github.com/stretchr/testify/require"
)

func newWebMSAL(t *testing.T, secret string) confidential.Client {
	t.Helper()
	cred, err := confidential.NewCredFromSecret(secret)
	require.NoError(t, err)
	c, err := confidential.New("https://login.microsoftonline.com/"+running.tenantID, webID, cred, confidential.WithHTTPClient(running.http))
	require.NoError(t, err)
	return c
}

// TestMSALGoWeb is MSAL Go as a web server, with a secret.
func TestMSALGoWeb(t *testing.T) {
	t.Parallel()
	const client = "MSAL Go"
	c := newWebMSAL(t, webSecret)
	scopes := []string{userRead}
	var account confidential.Account

	flow(t, client, "web app: authorization code", func(t *testing.T) string {
		start, err := c.AuthCodeURL(t.Context(), webID, webRedirect, scopes, confidential.WithLoginHint(alice))
		require.NoError(t, err)
		got := running.authorize(t, person(), running.http, start, webRedirect)
		r, err := c.AcquireTokenByAuthCode(t.Context(), got["code"], webRedirect, scopes)
		require.NoError(t, err)
		require.Equal(t, "1", claimsOf(t, r.AccessToken)["appidacr"])
		account = r.Account
		return "token"
	})
	flow(t, client, "web app: silent from cache", func(t *testing.T) string {
		r, err := c.AcquireTokenSilent(t.Context(), scopes, confidential.WithSilentAccount(account))
		require.NoError(t, err)
		require.Equal(t, confidential.TokenSourceCache, r.Metadata.TokenSource)
		return "token from the cache"
	})
	flow(t, client, "web app: silent by refresh token", func(t *testing.T) string {
		r, err := c.AcquireTokenSilent(t.Context(), []string{"https://management.azure.com/.default"}, confidential.WithSilentAccount(account))
		require.NoError(t, err)
		require.Equal(t, confidential.TokenSourceIdentityProvider, r.Metadata.TokenSource)
		return "token from the service"
	})
	flow(t, client, "web app: password (ROPC)", func(t *testing.T) string {
		_, err := c.AcquireTokenByUsernamePassword(t.Context(), scopes, bob, bobPwd)
		return sawCall(t, err, 7000218) + ": it sends no secret with a password"
	})
	flow(t, client, "web app: wrong secret", func(t *testing.T) string {
		wrong := newWebMSAL(t, "wrong")
		start, err := wrong.AuthCodeURL(t.Context(), webID, webRedirect, scopes)
		require.NoError(t, err)
		got := running.authorize(t, person(), running.http, start, webRedirect)
		_, err = wrong.AcquireTokenByAuthCode(t.Context(), got["code"], webRedirect, scopes)
		return sawCall(t, err, 7000215)
	})
	flow(t, client, "web app: blocked by policy", func(t *testing.T) string {
		_, err := c.AcquireTokenSilent(t.Context(), []string{secrets}, confidential.WithSilentAccount(account))
		return sawCall(t, err, 53003)
	})
	flow(t, client, "web app: disabled device", func(t *testing.T) string {
		own := newWebMSAL(t, webSecret)
		var r confidential.AuthResult
		var err error
		withDisabled(t, func(d *device) {
			start, err := own.AuthCodeURL(t.Context(), webID, webRedirect, scopes, confidential.WithLoginHint(alice))
			require.NoError(t, err)
			got := running.authorize(t, person(), d.browser(t), start, webRedirect)
			r, err = own.AcquireTokenByAuthCode(t.Context(), got["code"], webRedirect, scopes)
			require.NoError(t, err)
		}, func() {
			_, err = own.AcquireTokenSilent(t.Context(), []string{"https://management.azure.com/.default"}, confidential.WithSilentAccount(r.Account))
		})
		return sawCall(t, err, 135011)
	})
}
