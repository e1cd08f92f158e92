package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The administrator's interface is below /api of the dashboard, and its token alone
// opens it.
func TestAPI(t *testing.T) {
	ten := startTest(t, "")
	ask := func(token, method, path, body string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+ten.dashLn.Addr().String()+"/api"+path, strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(text)
	}
	status, text := ask(ten.o.apiToken, "POST", "/users/bob/disable", "")
	require.Equal(t, http.StatusNoContent, status, text)
	status, body := signIn(t, ten.throughProxy(t), "bob@contoso.example", "battery staple")
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, body, "AADSTS50057")

	status, text = ask("x", "POST", "/users/bob/enable", "")
	require.Equal(t, http.StatusUnauthorized, status, text)
	status, text = ask("", "GET", "/openapi.json", "")
	require.Equal(t, http.StatusUnauthorized, status, text)

	other := startTest(t, "")
	require.NotEqual(t, ten.o.apiToken, other.o.apiToken)
}
