package interop

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"crypto/tls"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// local is a tenant at an address of this machine, and a client that knows no
// proxy.
type local struct {
	*emulator
	base, authority string
	http            *http.Client
}

func newLocal(t *testing.T) *local {
	t.Helper()
	e, _, _ := newDaemonTenant(t)
	base, err := e.Listen("localhost:0", entratest.ListenOptions{})
	require.NoError(t, err)
	e.env = slices.DeleteFunc(e.env, func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return strings.HasSuffix(strings.ToLower(name), "_proxy")
	})
	direct := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: e.CertPool(), MinVersion: tls.VersionTLS12}}}
	return &local{e, base, base + e.TenantID(), direct}
}

// The settings of each client are those that docs/emulator.md names.
func TestLocalhostAuthority(t *testing.T) {
	l := newLocal(t)
	var idToken string
	flow(t, "MSAL Go", "localhost authority, password and cache", func(t *testing.T) string {
		c, err := public.New(frontID, public.WithAuthority(l.authority), public.WithInstanceDiscovery(false), public.WithHTTPClient(l.http))
		require.NoError(t, err)
		r, err := ropc(t, c, []string{userRead}, alice, alicePwd)
		require.NoError(t, err)
		require.Equal(t, l.authority+"/", claimsOf(t, r.AccessToken)["iss"])
		again, err := c.AcquireTokenSilent(t.Context(), []string{userRead}, public.WithSilentAccount(r.Account))
		require.NoError(t, err)
		require.Equal(t, r.AccessToken, again.AccessToken)
		idToken = r.IDToken.RawToken
		return "token of that issuer; the same from the cache"
	})
	flow(t, "MSAL Go", "localhost authority, confidential client", func(t *testing.T) string {
		cred, err := confidential.NewCredFromSecret(daemonSecret)
		require.NoError(t, err)
		c, err := confidential.New(l.authority, daemonID, cred, confidential.WithInstanceDiscovery(false), confidential.WithHTTPClient(l.http))
		require.NoError(t, err)
		r, err := c.AcquireTokenByCredential(t.Context(), []string{ordersScope})
		return sawApp(t, r.AccessToken, err)
	})
	flow(t, "azidentity for Go", "localhost authority, ClientSecretCredential", func(t *testing.T) string {
		c, err := azidentity.NewClientSecretCredential(l.TenantID(), daemonID, daemonSecret, &azidentity.ClientSecretCredentialOptions{
			ClientOptions:            azcore.ClientOptions{Transport: l.http, Cloud: cloud.Configuration{ActiveDirectoryAuthorityHost: l.base}, Retry: policy.RetryOptions{MaxRetries: -1}},
			DisableInstanceDiscovery: true,
		})
		require.NoError(t, err)
		token, err := c.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{ordersScope}})
		return sawApp(t, token.Token, err)
	})
	flow(t, "go-oidc", "localhost issuer", func(t *testing.T) string {
		ctx := oidc.ClientContext(t.Context(), l.http)
		p, err := oidc.NewProvider(ctx, l.authority+"/v2.0")
		require.NoError(t, err)
		id, err := p.Verifier(&oidc.Config{ClientID: frontID}).Verify(ctx, idToken)
		require.NoError(t, err)
		require.Equal(t, l.authority+"/v2.0", id.Issuer)
		return "id_token verified"
	})
}

func TestLocalhostAuthorityOfScripts(t *testing.T) {
	l := newLocal(t)
	for _, c := range []struct{ client, interpreter, file string }{{"MSAL Python", "python", "localhost.py"}, {"MSAL Node", "node", "localhost.mjs"}} {
		flow(t, c.client, "localhost authority, confidential client", func(t *testing.T) string {
			cmd := running.command(t, c.interpreter, scriptFile(t, c.file), l.authority)
			cmd.Env, cmd.Stderr = l.env, os.Stderr
			out, err := cmd.Output()
			require.NoError(t, err)
			var r reply
			require.NoError(t, json.Unmarshal(out, &r), "%s", out)
			require.NotEmpty(t, r.AccessToken, "%s", out)
			require.Equal(t, l.authority+"/", claimsOf(t, r.AccessToken)["iss"])
			return sawApp(t, r.AccessToken, nil)
		})
	}
}
