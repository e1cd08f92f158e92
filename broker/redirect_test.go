package broker_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

// A redirect of the token endpoint is not followed, by a plain http.Client
// neither: it would carry the credential along.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	var hosts []string
	w := newWorld(t, withMemory)
	w.cfg.Transport = &http.Client{Transport: apiTrip(func(r *http.Request) (*http.Response, error) {
		hosts = append(hosts, r.URL.Host)
		return &http.Response{StatusCode: http.StatusTemporaryRedirect, Request: r, Body: http.NoBody,
			Header: http.Header{"Location": {"https://evil.example/oauth2/token"}}}, nil
	})}
	b := w.open()
	_, err := b.RegisterDevice(t.Context(), broker.RegisterRequest{Credential: broker.Password{Username: alice, Password: password}})
	require.ErrorContains(t, err, "redirects")
	require.NotErrorIs(t, err, broker.ErrInteractionRequired)
	require.Equal(t, []string{broker.Public.LoginHost}, hosts)
}
