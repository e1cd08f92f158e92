// Package oauth2broker lets a broker serve programs that take an
// [oauth2.TokenSource]:
//
//	ts := oauth2broker.TokenSource(context.Background(), b, []string{"https://graph.microsoft.com/.default"})
//	client := oauth2.NewClient(context.Background(), ts)
//
// It is a package of its own so that importers of the
// broker do not import golang.org/x/oauth2.
package oauth2broker

import (
	"context"
	"errors"
	"net/http"

	"golang.org/x/oauth2"

	"github.com/prtbroker/prtbroker/broker"
)

// TokenSource returns a source that acquires tokens for scopes from b silently,
// with the options of [broker.Broker.AcquireTokenSilent]. Its Token method, which
// takes no context, uses ctx: cancel ctx to stop the source.
//
// The source does not cache tokens, since the broker does. Do not wrap it in
// [oauth2.ReuseTokenSource], which would hold back refreshed tokens. Errors are
// those of the broker; in those that come from the service, [errors.As] also
// finds an [*oauth2.RetrieveError].
func TokenSource(ctx context.Context, b broker.Silent, scopes []string, opts ...broker.CallOption) oauth2.TokenSource {
	return &source{ctx, b, scopes, opts}
}

type source struct {
	ctx    context.Context
	broker broker.Silent
	scopes []string
	opts   []broker.CallOption
}

// Token implements [oauth2.TokenSource].
func (s *source) Token() (*oauth2.Token, error) {
	r, err := s.broker.AcquireTokenSilent(s.ctx, s.scopes, s.opts...)
	if err != nil {
		return nil, retrieveError(err)
	}
	t := &oauth2.Token{
		AccessToken: r.AccessToken,
		TokenType:   r.TokenType,
		Expiry:      r.ExpiresOn,
	}
	if r.IDToken != "" {
		return t.WithExtra(map[string]any{"id_token": r.IDToken}), nil
	}
	return t, nil
}

// A serviceError is an error of the service in the form of both libraries.
type serviceError struct {
	error
	service *broker.Error
}

func retrieveError(err error) error {
	var e *broker.Error
	if !errors.As(err, &e) || e.OAuth == "" {
		return err
	}
	return &serviceError{err, e}
}

// Unwrap returns the broker's error.
func (e *serviceError) Unwrap() error { return e.error }

// As implements the method that [errors.As] looks for.
func (e *serviceError) As(target any) bool {
	t, ok := target.(**oauth2.RetrieveError)
	if !ok {
		return false
	}
	*t = &oauth2.RetrieveError{
		Response: &http.Response{
			StatusCode: e.service.StatusCode,
			Status:     http.StatusText(e.service.StatusCode),
			Header:     http.Header{},
			Body:       http.NoBody,
		},
		ErrorCode:        e.service.OAuth,
		ErrorDescription: e.service.Error(),
	}
	return true
}
