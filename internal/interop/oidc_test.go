package interop

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

// loopbackClient reaches redirects to loopback, past the proxy.
var loopbackClient = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}

func TestOIDC(t *testing.T) {
	t.Parallel()
	const client = "go-oidc"
	ctx := oidc.ClientContext(t.Context(), running.http)
	r, err := ropc(t, newMSAL(t), []string{userRead}, bob, bobPwd)
	require.NoError(t, err)

	v2, err := oidc.NewProvider(ctx, "https://login.microsoftonline.com/"+running.tenantID+"/v2.0")
	flow(t, client, "discovery, v2.0", func(t *testing.T) string {
		require.NoError(t, err)
		require.Contains(t, v2.Endpoint().DeviceAuthURL, "/devicecode")
		return "issuer matches"
	})
	v1, err := oidc.NewProvider(ctx, "https://sts.windows.net/"+running.tenantID+"/")
	flow(t, client, "discovery, v1.0", func(t *testing.T) string {
		require.NoError(t, err)
		return "issuer matches"
	})
	flow(t, client, "id_token", func(t *testing.T) string {
		id, err := v2.Verifier(&oidc.Config{ClientID: appID}).Verify(ctx, r.IDToken.RawToken)
		require.NoError(t, err)
		var c struct {
			Tid string `json:"tid"`
			UPN string `json:"preferred_username"`
		}
		require.NoError(t, id.Claims(&c))
		require.Equal(t, running.tenantID, c.Tid)
		require.Equal(t, bob, c.UPN)
		return "verified"
	})
	own, err := ropc(t, newMSAL(t), []string{appID + "/.default"}, bob, bobPwd)
	require.NoError(t, err)
	flow(t, client, "access token, v1.0", func(t *testing.T) string {
		aud := claimsOf(t, own.AccessToken)["aud"].(string)
		_, err := v1.Verifier(&oidc.Config{ClientID: aud}).Verify(ctx, own.AccessToken)
		require.NoError(t, err)
		return "verified"
	})
	flow(t, client, "access token for Microsoft Graph", func(t *testing.T) string {
		_, err := v1.Verifier(&oidc.Config{SkipClientIDCheck: true}).Verify(ctx, r.AccessToken)
		require.ErrorContains(t, err, "failed to verify signature")
		return "refused: signature, which is for Graph alone"
	})
	flow(t, client, "discovery, common", func(t *testing.T) string {
		const common = "https://login.microsoftonline.com/common/v2.0"
		var mismatch *oidc.IssuerMismatchError
		_, err := oidc.NewProvider(ctx, common)
		require.ErrorAs(t, err, &mismatch)
		// The way that its documentation names for this service.
		p, err := oidc.NewProvider(oidc.InsecureIssuerURLContext(ctx, mismatch.Discovered), common)
		require.NoError(t, err)
		_, err = p.Verifier(&oidc.Config{ClientID: appID, SkipIssuerCheck: true}).Verify(ctx, r.IDToken.RawToken)
		require.NoError(t, err)
		return "issuer " + mismatch.Discovered + "; verified with the issuer left out"
	})
	flow(t, client, "UserInfo", func(t *testing.T) string {
		info, err := v2.UserInfo(ctx, oauth2.StaticTokenSource(&oauth2.Token{AccessToken: r.AccessToken}))
		require.NoError(t, err)
		require.Equal(t, claimsOf(t, r.IDToken.RawToken)["sub"], info.Subject)
		require.Empty(t, info.Email, "bob has no address")
		return "subject of the id_token; no email"
	})
	flow(t, client, "UserInfo with a token that was changed", func(t *testing.T) string {
		_, err := v2.UserInfo(ctx, oauth2.StaticTokenSource(&oauth2.Token{AccessToken: r.AccessToken + "A"}))
		require.ErrorContains(t, err, "401")
		return "refused: 401"
	})
	flow(t, client, "keys, by themselves", func(t *testing.T) string {
		var d struct {
			Keys string `json:"jwks_uri"`
		}
		require.NoError(t, v1.Claims(&d))
		_, err := oidc.NewRemoteKeySet(ctx, d.Keys).VerifySignature(ctx, own.AccessToken)
		require.NoError(t, err)
		return "signature of an access token verified"
	})
	flow(t, client, "id_token for another client", func(t *testing.T) string {
		_, err := v2.Verifier(&oidc.Config{ClientID: "another"}).Verify(ctx, r.IDToken.RawToken)
		require.ErrorContains(t, err, "expected audience")
		return "refused: audience"
	})
	flow(t, client, "id_token that was changed", func(t *testing.T) string {
		parts := strings.Split(r.IDToken.RawToken, ".")
		parts[2] = strings.Repeat("A", len(parts[2]))
		_, err := v2.Verifier(&oidc.Config{ClientID: appID}).Verify(ctx, strings.Join(parts, "."))
		require.ErrorContains(t, err, "signature")
		return "refused: signature"
	})
	flow(t, client, "id_token, an hour and more later", func(t *testing.T) string {
		late := func() time.Time { return time.Now().Add(2 * time.Hour) }
		_, err := v2.Verifier(&oidc.Config{ClientID: appID, Now: late}).Verify(ctx, r.IDToken.RawToken)
		var expired *oidc.TokenExpiredError
		require.ErrorAs(t, err, &expired)
		return "refused: expired"
	})
}
