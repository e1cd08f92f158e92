package broker_test

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/claims"
)

// An api wants tokens with an authentication context, and says so by a claims
// challenge.
type api struct {
	*httptest.Server
	challenge string // claims, JSON

	mu   sync.Mutex // guards all below
	seen []string   // Authorization headers
	body []string
}

func newAPI(t *testing.T, challenge string) *api {
	t.Helper()
	a := &api{challenge: challenge}
	a.Server = httptest.NewTLSServer(a)
	t.Cleanup(a.Close)
	return a
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	a.seen = append(a.seen, r.Header.Get("Authorization"))
	a.body = append(a.body, string(body))
	a.mu.Unlock()
	if r.URL.Path == "/away" {
		http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusTemporaryRedirect)
		return
	}
	tok, err := claims.Parse(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	if err == nil && len(tok.Contexts) > 0 {
		_, _ = io.WriteString(w, "welcome")
		return
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="`+base64.StdEncoding.EncodeToString([]byte(a.challenge))+`"`)
	w.WriteHeader(http.StatusUnauthorized)
}

func (a *api) take() (seen, body []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen, body, a.seen, a.body = a.seen, a.body, nil, nil
	return seen, body
}

const (
	contextC1 = `{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`
	wantsMFA  = `{"access_token":{"amr":{"essential":true,"values":["mfa"]}}}`
)

func TestRoundTripper(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	a := newAPI(t, contextC1)
	c := &http.Client{Transport: &broker.RoundTripper{Broker: w.b, Scopes: open, Base: a.Client().Transport}}

	res, err := c.Post(a.URL+"/things", "text/plain", strings.NewReader("a thing"))
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, "welcome", string(text))
	seen, body := a.take()
	require.Len(t, seen, 2, "the challenge is answered once")
	require.NotEqual(t, seen[0], seen[1])
	require.Equal(t, []string{"a thing", "a thing"}, body)

	w.wire.take()
	res, err = c.Get(a.URL)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
	seen, _ = a.take()
	require.Len(t, seen, 1, "the new token replaced the one that was refused")
	require.Empty(t, w.wire.take())
}

// What only the user can give is an error that says so, with the claims.
func TestRoundTripperNeedsTheUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	a := newAPI(t, wantsMFA)
	c := &http.Client{Transport: &broker.RoundTripper{Broker: w.b, Scopes: open, Base: a.Client().Transport}}
	_, err := c.Get(a.URL)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	var e *broker.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, open, e.Scopes)

	res, err := w.b.AcquireTokenInteractive(t.Context(), e.Scopes, broker.WithClaims(wantsMFA))
	require.NoError(t, err)
	require.Equal(t, 1, w.person.prompts())
	require.Contains(t, accessToken(t, res).AMR, "mfa")
}

func TestRoundTripperReturnsWhatItCannotRepeat(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	a := newAPI(t, contextC1)
	c := &http.Client{Transport: &broker.RoundTripper{Broker: w.b, Scopes: open, Base: a.Client().Transport}}
	res, err := c.Post(a.URL, "text/plain", io.MultiReader(strings.NewReader("once")))
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusUnauthorized, res.StatusCode)
	seen, _ := a.take()
	require.Len(t, seen, 1)
}

// A token goes to the host that was asked, by https.
func TestRoundTripperKeepsTheToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	here, there := newAPI(t, contextC1), newAPI(t, contextC1)
	rt := &broker.RoundTripper{Broker: w.b, Scopes: open, Base: here.Client().Transport}
	c := &http.Client{Transport: rt}
	res, err := c.Get(here.URL + "/away?to=" + there.URL)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	seen, _ := there.take()
	require.Equal(t, []string{""}, seen)

	_, err = c.Get("http://api.example/")
	require.ErrorContains(t, err, "without TLS")
	for _, rt := range []*broker.RoundTripper{{}, {Broker: w.b}, {Scopes: open}} {
		_, err = (&http.Client{Transport: rt}).Get(here.URL)
		require.ErrorContains(t, err, "needs a Broker and Scopes")
	}
	_, err = (&http.Client{Transport: &broker.RoundTripper{Broker: w.b, Scopes: open}}).Get(here.URL)
	require.ErrorContains(t, err, "certificate", "http.DefaultTransport does not know this server")

	failing := errors.New("no route")
	c.Transport = &broker.RoundTripper{Broker: w.b, Scopes: open, Base: apiTrip(func(*http.Request) (*http.Response, error) { return nil, failing })}
	_, err = c.Get(here.URL)
	require.ErrorIs(t, err, failing)
}

type apiTrip func(*http.Request) (*http.Response, error)

func (f apiTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
