package broker_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

// tokensFor is a broker that gives each call the next token, and an error when
// there is none left.
type tokensFor struct {
	left  []string
	calls []broker.Options
}

var errNoToken = errors.New("no token is left")

func (b *tokensFor) AcquireTokenSilent(_ context.Context, _ []string, opts ...broker.CallOption) (broker.AuthResult, error) {
	o, err := broker.ResolveOptions(opts...)
	if err != nil {
		return broker.AuthResult{}, err
	}
	b.calls = append(b.calls, o)
	if len(b.left) == 0 {
		return broker.AuthResult{}, errNoToken
	}
	next := b.left[0]
	b.left = b.left[1:]
	return broker.AuthResult{TokenType: "Bearer", AccessToken: next}, nil
}

// A watchedBody says whether it was closed.
type watchedBody struct {
	io.Reader
	closed bool
}

func (b *watchedBody) Close() error { b.closed = true; return nil }

// RoundTrip must close the body of a request, also of one that it does not send.
func TestRoundTripperClosesTheBody(t *testing.T) {
	t.Parallel()
	challenged := apiTrip(func(r *http.Request) (*http.Response, error) {
		_ = r.Body.Close()
		res := reply(http.StatusUnauthorized, "")
		res.Header.Set("WWW-Authenticate", `Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJlc3NlbnRpYWwiOnRydWUsInZhbHVlIjoiYzEifX19"`)
		return res, nil
	})
	for name, tt := range map[string]struct {
		url    string
		tokens []string
		says   string
		again  bool // the body was read for a second request
	}{
		"without TLS":                    {"http://api.example/", []string{"t"}, "without TLS", false},
		"without a token":                {"https://api.example/", nil, errNoToken.Error(), false},
		"without a token for the claims": {"https://api.example/", []string{"t"}, errNoToken.Error(), true},
	} {
		t.Run(name, func(t *testing.T) {
			first, second := &watchedBody{Reader: strings.NewReader("a thing")}, &watchedBody{Reader: strings.NewReader("a thing")}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, tt.url, first)
			require.NoError(t, err)
			r.GetBody = func() (io.ReadCloser, error) { return second, nil }
			_, err = (&broker.RoundTripper{Broker: &tokensFor{left: tt.tokens}, Scopes: open, Base: challenged}).RoundTrip(r)
			require.ErrorContains(t, err, tt.says)
			require.True(t, first.closed)
			require.Equal(t, tt.again, second.closed)

			r, err = http.NewRequestWithContext(t.Context(), http.MethodPost, tt.url, nil)
			require.NoError(t, err)
			r.Body, r.GetBody = nil, nil
			base := apiTrip(func(r *http.Request) (*http.Response, error) {
				r.Body = http.NoBody
				return challenged(r)
			})
			_, err = (&broker.RoundTripper{Broker: &tokensFor{left: tt.tokens}, Scopes: open, Base: base}).RoundTrip(r)
			require.ErrorContains(t, err, tt.says, "without a body")
		})
	}
}

// A body that cannot be had again is the error of the request.
func TestRoundTripperBodyIsReadAgain(t *testing.T) {
	t.Parallel()
	gone := errors.New("the file is gone")
	a := newAPI(t, contextC1)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.URL, strings.NewReader("a thing"))
	require.NoError(t, err)
	r.GetBody = func() (io.ReadCloser, error) { return nil, gone }
	_, err = (&broker.RoundTripper{Broker: &tokensFor{left: []string{"t", "t"}}, Scopes: open, Base: a.Client().Transport}).RoundTrip(r)
	require.ErrorIs(t, err, gone)
}

// A 401 without a claims challenge is the caller's.
func TestRoundTripperWithoutAChallenge(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]string{"none": "", "no claims": `Bearer error="invalid_token"`, "not a challenge": `Bearer claims="`} {
		t.Run(name, func(t *testing.T) {
			sent := 0
			base := apiTrip(func(*http.Request) (*http.Response, error) {
				sent++
				res := reply(http.StatusUnauthorized, "no")
				res.Header.Set("WWW-Authenticate", header)
				return res, nil
			})
			res, err := (&http.Client{Transport: &broker.RoundTripper{Broker: &tokensFor{left: []string{"t", "t"}}, Scopes: open, Base: base}}).Get("https://api.example/")
			require.NoError(t, err)
			defer res.Body.Close()
			require.Equal(t, http.StatusUnauthorized, res.StatusCode)
			require.Equal(t, 1, sent)
		})
	}
}

// The caller's options go with each call, and WithCAE with it once.
func TestRoundTripperOptions(t *testing.T) {
	t.Parallel()
	b := &tokensFor{left: []string{"t"}}
	acct := broker.Account{PreferredUsername: alice}
	base := apiTrip(func(*http.Request) (*http.Response, error) { return reply(http.StatusOK, ""), nil })
	rt := &broker.RoundTripper{Broker: b, Scopes: open, Base: base, Options: []broker.CallOption{broker.WithCAE(), broker.WithAccount(acct)}}
	res, err := (&http.Client{Transport: rt}).Get("https://api.example/")
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, []broker.Options{{Account: acct, CAE: true}}, b.calls)
}
