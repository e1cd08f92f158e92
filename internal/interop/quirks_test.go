package interop

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// counted counts the requests whose path ends so.
type counted struct {
	suffix string
	n      atomic.Int32
	next   http.RoundTripper
}

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, c.suffix) {
		c.n.Add(1)
	}
	return c.next.RoundTrip(r)
}

// docs/quirks.md: keys that roll over, and tokens that only Graph can verify.
func TestQuirksOfKeys(t *testing.T) {
	const client = "go-oidc"
	e, _, _ := newDaemonTenant(t)
	fetches := &counted{suffix: "/keys", next: e.HTTPTransport()}
	ctx := oidc.ClientContext(t.Context(), &http.Client{Transport: fetches})
	p, err := oidc.NewProvider(ctx, "https://login.microsoftonline.com/"+e.TenantID()+"/v2.0")
	require.NoError(t, err)
	app := oauth2.Config{ClientID: frontID, Endpoint: p.Endpoint(), Scopes: []string{"openid"}}
	idToken := func(t *testing.T) string {
		t.Helper()
		token, err := app.PasswordCredentialsToken(ctx, "alice@contoso.example", alicePwd)
		require.NoError(t, err)
		return token.Extra("id_token").(string)
	}
	v := p.Verifier(&oidc.Config{ClientID: frontID})
	verify := func(t *testing.T, token string) {
		t.Helper()
		_, err := v.Verify(ctx, token)
		require.NoError(t, err)
	}
	flow(t, client, "signing keys roll over", func(t *testing.T) string {
		verify(t, idToken(t))
		require.EqualValues(t, 1, fetches.n.Load())
		require.NoError(t, e.UseNextKey())
		verify(t, idToken(t))
		require.EqualValues(t, 1, fetches.n.Load())
		return "verified with the keys that it had: the next one was among them"
	})
	flow(t, client, "signing keys roll over in an emergency", func(t *testing.T) string {
		before := fetches.n.Load()
		require.NoError(t, e.UseNextKey())
		old := idToken(t)
		verify(t, old)
		require.EqualValues(t, before+1, fetches.n.Load())
		require.NoError(t, e.UseNextKey())
		e.DropFormerKeys()
		verify(t, idToken(t))
		_, err := v.Verify(ctx, old)
		require.ErrorContains(t, err, "failed to verify signature")
		return "unknown kid: keys fetched again, verified; refused once its key is dropped"
	})
	flow(t, client, "access token for Graph, without its nonce", func(t *testing.T) string {
		graph := app
		graph.Scopes = []string{"https://graph.microsoft.com/User.Read"}
		ask := func() error {
			token, err := graph.PasswordCredentialsToken(ctx, "alice@contoso.example", alicePwd)
			require.NoError(t, err)
			_, err = p.Verifier(&oidc.Config{SkipClientIDCheck: true, SkipIssuerCheck: true}).Verify(ctx, token.AccessToken)
			return err
		}
		require.ErrorContains(t, ask(), "failed to verify signature")
		require.NoError(t, e.SetQuirk(entratest.GraphNonce, false))
		require.NoError(t, ask())
		return "verified with the quirk left out"
	})
}

// docs/quirks.md: refresh tokens that are not revoked, a scope that is not echoed,
// throttling.
func TestQuirksOfGrants(t *testing.T) {
	e, _, _ := newDaemonTenant(t)
	ctx := oidc.ClientContext(t.Context(), e.Client())
	app := oauth2.Config{ClientID: frontID, Scopes: []string{"openid", "offline_access"},
		Endpoint: oauth2.Endpoint{TokenURL: "https://login.microsoftonline.com/" + e.TenantID() + "/oauth2/v2.0/token", AuthStyle: oauth2.AuthStyleInParams}}
	flow(t, "go-oidc", "refresh token that was replaced", func(t *testing.T) string {
		token, err := app.PasswordCredentialsToken(ctx, "alice@contoso.example", alicePwd)
		require.NoError(t, err)
		require.NotContains(t, token.Extra("scope"), "offline_access")
		old := &oauth2.Token{RefreshToken: token.RefreshToken}
		next, err := app.TokenSource(ctx, old).Token()
		require.NoError(t, err)
		require.NotEqual(t, token.RefreshToken, next.RefreshToken)
		_, err = app.TokenSource(ctx, old).Token()
		require.NoError(t, err)
		require.NoError(t, e.SetQuirk(entratest.RefreshTokenReuse, false))
		_, err = app.TokenSource(ctx, &oauth2.Token{RefreshToken: next.RefreshToken}).Token()
		require.NoError(t, err)
		_, err = app.TokenSource(ctx, &oauth2.Token{RefreshToken: next.RefreshToken}).Token()
		return "token again; with the quirk left out " + sawRetrieve(t, err, 70000)
	})
	flow(t, "azidentity for Go", "ClientSecretCredential, throttled", func(t *testing.T) string {
		requests := &counted{suffix: "/token", next: e.HTTPTransport()}
		o := azcore.ClientOptions{Transport: &http.Client{Transport: requests}, Retry: policy.RetryOptions{MaxRetries: 2, RetryDelay: time.Hour}}
		c, err := azidentity.NewClientSecretCredential(e.TenantID(), daemonID, daemonSecret, &azidentity.ClientSecretCredentialOptions{ClientOptions: o})
		require.NoError(t, err)
		e.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.Throttle, RetryAfter: time.Second, Times: 2})
		start := time.Now()
		token, err := c.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{ordersScope}})
		saw := sawApp(t, token.Token, err)
		require.EqualValues(t, 3, requests.n.Load())
		require.GreaterOrEqual(t, time.Since(start), 2*time.Second, "Retry-After, twice")
		return saw + ", after two refusals with Retry-After"
	})
}
