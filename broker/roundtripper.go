package broker

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/prtbroker/prtbroker/claims"
)

// A Silent gives tokens without the user: a [*Broker], or the client of a
// broker elsewhere, such as the one in package broker/dbus.
type Silent interface {
	AcquireTokenSilent(ctx context.Context, scopes []string, opts ...CallOption) (AuthResult, error)
}

// A RoundTripper sends requests to an API with a token of the broker. When
// the API answers with a claims challenge (a policy that asks for more, or a
// token that was revoked), it asks for a token with those claims and sends the
// request once more.
//
//	client := &http.Client{Transport: &broker.RoundTripper{
//		Broker: b,
//		Scopes: []string{"https://graph.microsoft.com/.default"},
//	}}
//
// When only the user can meet the challenge, the error of the request is
// ErrInteractionRequired, and its [Error].Claims goes to
// AcquireTokenInteractive. A request whose body cannot be read again (its
// GetBody is nil) is not repeated: the 401 is returned.
//
// The token is sent only over https and, after a redirect, only to the host
// that was asked first.
type RoundTripper struct {
	// Broker is required.
	Broker Silent
	// Scopes are those of the API. At least one is required.
	Scopes []string
	// Options are those of AcquireTokenSilent. [WithCAE] is always added, and
	// WithClaims must not be among them.
	Options []CallOption
	// PoP binds each request to a key of this device: see [WithPoP].
	PoP bool
	// Base sends the requests. Nil is http.DefaultTransport.
	Base http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (t *RoundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	if redirected(r) {
		return t.base().RoundTrip(r)
	}
	if r.URL.Scheme != "https" {
		closeBody(r)
		return nil, errors.New("broker: refusing to send a token to an address without TLS")
	}
	first, err := t.setToken(r, r.Body, "")
	if err != nil {
		closeBody(r)
		return nil, err
	}
	res, err := t.base().RoundTrip(first)
	if err != nil || res.StatusCode != http.StatusUnauthorized {
		return res, err
	}
	challenge, err := claims.FindClaims(res.Header.Values("WWW-Authenticate")...)
	if err != nil || challenge.IsZero() || r.Body != nil && r.GetBody == nil {
		return res, nil // the caller sees what the API said
	}
	drain(res.Body)
	return t.again(r, challenge.String())
}

func (t *RoundTripper) again(r *http.Request, challenge string) (*http.Response, error) {
	body := r.Body
	if body != nil {
		var err error
		if body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
	second, err := t.setToken(r, body, challenge)
	if err != nil {
		if body != nil {
			_ = body.Close()
		}
		return nil, err
	}
	return t.base().RoundTrip(second)
}

// setToken returns a copy of r with a token.
func (t *RoundTripper) setToken(r *http.Request, body io.ReadCloser, challenge string) (*http.Request, error) {
	res, err := t.token(r.Context(), r, challenge)
	if err != nil {
		return nil, err
	}
	out := r.Clone(r.Context())
	out.Body = body
	out.Header.Set("Authorization", res.TokenType+" "+res.AccessToken)
	return out, nil
}

func (t *RoundTripper) token(ctx context.Context, r *http.Request, challenge string) (AuthResult, error) {
	if t.Broker == nil || len(t.Scopes) == 0 {
		return AuthResult{}, errors.New("broker: RoundTripper needs a Broker and Scopes")
	}
	opts := make([]CallOption, 0, len(t.Options)+3)
	for _, o := range t.Options {
		if o.kind != optCAE {
			opts = append(opts, o)
		}
	}
	opts = append(opts, WithCAE())
	if challenge != "" {
		opts = append(opts, WithClaims(challenge))
	}
	if t.PoP {
		opts = append(opts, WithPoP(PoP{Method: r.Method, URL: r.URL.String()}))
	}
	return t.Broker.AcquireTokenSilent(ctx, t.Scopes, opts...)
}

func (t *RoundTripper) base() http.RoundTripper {
	if t.Base == nil {
		return http.DefaultTransport
	}
	return t.Base
}

// redirected reports whether r follows a redirect away from where the caller
// sent the first request: by http.Client, which fills in Response.
func redirected(r *http.Request) bool {
	first := r
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	return !strings.EqualFold(first.URL.Host, r.URL.Host) || first.URL.Scheme != r.URL.Scheme
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// maxDrain is how much of a refused reply is read so that its connection can
// be used again, in bytes.
const maxDrain = 64 << 10

func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, maxDrain)
	_ = body.Close()
}
