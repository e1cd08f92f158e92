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
	for name, follow := range map[string]func(*http.Request, []*http.Request) error{
		"by default":               nil,
		"by a client that follows": func(*http.Request, []*http.Request) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			var hosts []string
			w := newWorld(t, withMemory)
			w.cfg.Transport = &http.Client{CheckRedirect: follow, Transport: apiTrip(func(r *http.Request) (*http.Response, error) {
				hosts = append(hosts, r.URL.Host)
				return &http.Response{StatusCode: http.StatusTemporaryRedirect, Request: r, Body: http.NoBody,
					Header: http.Header{"Location": {"https://evil.example/oauth2/token"}}}, nil
			})}
			b := w.open()
			_, err := b.RegisterDevice(t.Context(), broker.RegisterRequest{Credential: broker.Password{Username: alice, Password: password}})
			require.ErrorIs(t, err, broker.ErrTransient)
			require.ErrorContains(t, err, "a redirect to evil.example")
			require.Equal(t, []string{broker.CloudPublic.LoginHost}, hosts)
		})
	}
}
