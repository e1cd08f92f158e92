package interop

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

// TestOIDCFlows signs in as a web server with go-oidc does: by the endpoints
// that it discovered and golang.org/x/oauth2, for which it hands them out.
func TestOIDCFlows(t *testing.T) {
	t.Parallel()
	const client = "go-oidc"
	ctx := oidc.ClientContext(t.Context(), running.http)
	provider, err := oidc.NewProvider(ctx, "https://login.microsoftonline.com/"+running.tenantID+"/v2.0")
	require.NoError(t, err)
	web := oauth2.Config{ClientID: webID, ClientSecret: webSecret, Endpoint: provider.Endpoint(), RedirectURL: webRedirect,
		Scopes: []string{oidc.ScopeOpenID, oidc.ScopeOfflineAccess, "profile", userRead}}
	verifier := provider.Verifier(&oidc.Config{ClientID: webID})
	code := func(t *testing.T, c oauth2.Config, more ...oauth2.AuthCodeOption) map[string]string {
		t.Helper()
		return running.authorize(t, person(), running.http, c.AuthCodeURL("state", more...), c.RedirectURL)
	}
	var token *oauth2.Token

	flow(t, client, "authorization code with nonce and PKCE", func(t *testing.T) string {
		pkce := oauth2.GenerateVerifier()
		got := code(t, web, oidc.Nonce("n-1"), oauth2.S256ChallengeOption(pkce))
		require.Equal(t, "state", got["state"])
		token, err = web.Exchange(ctx, got["code"], oauth2.VerifierOption(pkce))
		require.NoError(t, err)
		id, err := verifier.Verify(ctx, token.Extra("id_token").(string))
		require.NoError(t, err)
		require.Equal(t, "n-1", id.Nonce)
		// An id_token of the token endpoint has no at_hash, by which go-oidc
		// would check the access token beside it.
		require.Empty(t, id.AccessTokenHash)
		require.ErrorContains(t, id.VerifyAccessToken(token.AccessToken), "id token did not have an access token hash")
		return "token; the id_token carries the nonce, no at_hash"
	})
	flow(t, client, "hybrid flow (code id_token)", func(t *testing.T) string {
		got := code(t, web, oidc.Nonce("n-2"), oauth2.SetAuthURLParam("response_type", "code id_token"), oauth2.SetAuthURLParam("response_mode", "form_post"))
		id, err := verifier.Verify(ctx, got["id_token"])
		require.NoError(t, err)
		var c struct {
			Hash string `json:"c_hash"`
		}
		require.NoError(t, id.Claims(&c))
		sum := sha256.Sum256([]byte(got["code"]))
		require.Equal(t, base64.RawURLEncoding.EncodeToString(sum[:16]), c.Hash)
		_, err = web.Exchange(ctx, got["code"])
		require.NoError(t, err)
		return "verified before the code was redeemed; c_hash is of the code"
	})
	flow(t, client, "refresh token", func(t *testing.T) string {
		next, err := web.TokenSource(ctx, &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
		require.NoError(t, err)
		id, err := verifier.Verify(ctx, next.Extra("id_token").(string))
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), id.IssuedAt, time.Minute)
		return "token and a new id_token"
	})
	flow(t, client, "device code", func(t *testing.T) string {
		desktop := oauth2.Config{ClientID: appID, Endpoint: provider.Endpoint(), Scopes: web.Scopes}
		d, err := desktop.DeviceAuth(ctx)
		require.NoError(t, err)
		require.NoError(t, person().ApproveDeviceCode(t.Context(), running.http, d.UserCode))
		_, err = desktop.DeviceAccessToken(ctx, d)
		require.NoError(t, err)
		return "token"
	})
	flow(t, client, "password (ROPC)", func(t *testing.T) string {
		_, err := web.PasswordCredentialsToken(ctx, bob, bobPwd)
		require.NoError(t, err)
		return "token"
	})
	flow(t, client, "wrong password", func(t *testing.T) string {
		_, err := web.PasswordCredentialsToken(ctx, bob, "wrong")
		return sawRetrieve(t, err, 50126)
	})
	flow(t, client, "wrong secret", func(t *testing.T) string {
		wrong := web
		wrong.ClientSecret = "wrong"
		_, err := wrong.Exchange(ctx, code(t, web)["code"])
		return sawRetrieve(t, err, 7000215)
	})
	flow(t, client, "blocked by policy", func(t *testing.T) string {
		blocked := web
		blocked.Scopes = []string{secrets}
		_, err := blocked.PasswordCredentialsToken(ctx, bob, bobPwd)
		return sawRetrieve(t, err, 53003)
	})
	flow(t, client, "disabled device", func(t *testing.T) string {
		var err error
		withDisabled(t, func(d *device) {
			got := running.authorize(t, person(), d.browser(t), web.AuthCodeURL("s", oauth2.SetAuthURLParam("login_hint", alice)), webRedirect)
			token, err = web.Exchange(ctx, got["code"])
			require.NoError(t, err)
		}, func() {
			_, err = web.TokenSource(context.WithoutCancel(ctx), &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
		})
		return sawRetrieve(t, err, 135011)
	})
}

// sawRetrieve is what goes into the table of a refusal.
func sawRetrieve(t *testing.T, err error, code int) string {
	t.Helper()
	var refused *oauth2.RetrieveError
	require.True(t, errors.As(err, &refused), "%v", err)
	m := aadsts.FindStringSubmatch(refused.ErrorDescription)
	require.NotNil(t, m, refused.ErrorDescription)
	require.Equal(t, fmt.Sprint(code), m[1])
	return fmt.Sprintf("refused: RetrieveError %s, AADSTS%s", refused.ErrorCode, m[1])
}
