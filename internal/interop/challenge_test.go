package interop

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// sessions is held by whoever signs dave in: the flows of a claims challenge
// revoke his sessions.
var sessions sync.Mutex

var claimsParameter = regexp.MustCompile(`error="insufficient_claims", claims="([^"]+)"`)

// me asks Graph for the user of the token, and returns the status and the
// claims challenge that came with a refusal, "" without one.
func me(t *testing.T, token string) (status int, claims string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://graph.microsoft.com/v1.0/me", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := running.http.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	m := claimsParameter.FindStringSubmatch(resp.Header.Get("WWW-Authenticate"))
	if m == nil {
		return resp.StatusCode, ""
	}
	raw, err := base64.StdEncoding.DecodeString(m[1])
	require.NoError(t, err)
	return resp.StatusCode, string(raw)
}

// challenged goes through continuous access evaluation: a token of dave's works
// until his sessions are revoked; the claims of Graph's refusal get him nothing
// silently, and a token that works once he signs in again.
func challenged(t *testing.T, signIn func(claims string) (token string), silent func(claims string) (refusal string)) string {
	t.Helper()
	sessions.Lock()
	defer sessions.Unlock()
	token := signIn("")
	require.Equal(t, []any{"CP1"}, claimsOf(t, token)["xms_cc"])
	status, _ := me(t, token)
	require.Equal(t, http.StatusOK, status)
	running.press(t, "revoke", url.Values{"user": {dave}})
	status, claims := me(t, token)
	require.Equal(t, http.StatusUnauthorized, status)
	require.NotEmpty(t, claims)
	refusal := silent(claims)
	status, _ = me(t, signIn(claims))
	require.Equal(t, http.StatusOK, status)
	return "401 with claims from Graph; silently " + refusal + "; token after signing in again"
}
