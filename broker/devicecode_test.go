package broker_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

func TestDeviceCodeInTwoSteps(t *testing.T) {
	t.Parallel()
	for name, unbound := range map[string]bool{"on a device": false, "without a device": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withMemory)
			if unbound {
				w = unboundWorld(t)
			} else {
				w.join()
			}
			dc, err := w.b.AcquireTokenByDeviceCode(t.Context(), open)
			require.NoError(t, err)
			require.NotEmpty(t, dc.UserCode)
			require.NotEmpty(t, dc.VerificationURL)
			require.Contains(t, dc.Message, dc.UserCode)
			require.NoError(t, w.person.ApproveDeviceCode(t.Context(), w.srv.Client(), dc.UserCode))
			res, err := dc.AuthenticationResult(t.Context())
			require.NoError(t, err)
			require.Equal(t, broker.SourceInteractive, res.Metadata.Source)
			require.Equal(t, unbound, res.Metadata.DeviceID == "")
			w.silent(graph)
		})
	}
	_, err := broker.DeviceCode{}.AuthenticationResult(t.Context())
	require.ErrorContains(t, err, "not made by AcquireTokenByDeviceCode")
}

// A code that nobody uses ends with the context or with its own life.
func TestDeviceCodeExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	dc, err := w.b.AcquireTokenByDeviceCode(t.Context(), open)
	require.NoError(t, err)
	_, err = dc.AuthenticationResult(t.Context()) // waiting moves the clock
	require.ErrorIs(t, err, broker.ErrInteractionRequired)

	dc, err = w.b.AcquireTokenByDeviceCode(t.Context(), open)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = dc.AuthenticationResult(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

// The user takes minutes at another machine, and the wait survives whatever
// passes meanwhile: it asks less often, and never sooner than it may.
func TestDeviceCodeOutlastsTrouble(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault func(*http.Request) (*http.Response, error)
		times int
		pause time.Duration // at least, after the first poll
	}{
		"throttled": {func(*http.Request) (*http.Response, error) {
			r := reply(http.StatusTooManyRequests, `{"error":"temporarily_unavailable"}`)
			r.Header.Set("Retry-After", "90")
			return r, nil
		}, 1, 90 * time.Second},
		"unavailable": {func(*http.Request) (*http.Response, error) { return reply(http.StatusServiceUnavailable, ""), nil }, 12, 10 * time.Second},
		"the connection breaks": {func(*http.Request) (*http.Response, error) {
			return nil, &url.Error{Err: &net.OpError{Op: "read", Err: errors.New("connection reset")}}
		}, 8, 10 * time.Second},
		"no network": {func(*http.Request) (*http.Response, error) {
			return nil, &url.Error{Err: &net.OpError{Op: "dial", Err: errors.New("no route to host")}}
		}, 12, 10 * time.Second},
		"a portal": {func(*http.Request) (*http.Response, error) { return reply(http.StatusOK, "<html>log in</html>"), nil }, 5, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withMemory)
			w.join()
			dc, err := w.b.AcquireTokenByDeviceCode(t.Context(), open)
			require.NoError(t, err)
			inner, left := w.wire.inner, tt.times
			w.wire.inner = apiDo(func(r *http.Request) (*http.Response, error) {
				if left > 0 {
					left--
					return tt.fault(r)
				}
				return inner.Do(r)
			})
			start, first := w.clock.Now(), time.Duration(0)
			approved := false
			broker.SetSleep(w.b, func(ctx context.Context, d time.Duration) error {
				w.clock.Advance(d)
				if first == 0 && d >= 5*time.Second { // not a wait between two tries of a poll
					first = d
				}
				if left == 0 && !approved {
					approved = true
					require.NoError(t, w.person.ApproveDeviceCode(t.Context(), w.srv.Client(), dc.UserCode))
				}
				return ctx.Err()
			})
			_, err = dc.AuthenticationResult(t.Context())
			require.NoError(t, err, w.clock.Now().Sub(start))
			require.GreaterOrEqual(t, first, tt.pause)
		})
	}
}

// Trouble that does not pass ends with the code.
func TestDeviceCodeExpiresWithoutNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	dc, err := w.b.AcquireTokenByDeviceCode(t.Context(), open)
	require.NoError(t, err)
	w.wire.set(func(*http.Request) error {
		return &url.Error{Err: &net.OpError{Op: "dial", Err: errors.New("no route")}}
	}, nil)
	_, err = dc.AuthenticationResult(t.Context())
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	require.Less(t, w.clock.Now().Sub(dc.ExpiresOn), time.Minute)
}

// A guest's device code is one of the tenant that was asked for, and so is its
// token; the account stays one of its home.
func TestDeviceCodeOfAnotherTenant(t *testing.T) {
	t.Parallel()
	const (
		home, user = "f3d10000-1111-4222-8333-944455566677", "0b6a0000-1111-4222-8333-944455566677"
		fabrikam   = "fab00000-1111-4222-8333-944455566677"
	)
	part := base64.RawURLEncoding.EncodeToString
	tokens := `{"token_type":"Bearer","expires_in":3600,"access_token":"fabrikams","refresh_token":"r","client_info":"` +
		part([]byte(`{"uid":"`+user+`","utid":"`+home+`"}`)) + `","id_token":"` + part([]byte(`{"alg":"none"}`)) + "." +
		part([]byte(`{"tid":"`+fabrikam+`","oid":"9e570000-1111-4222-8333-944455566677","preferred_username":"`+alice+`"}`)) + `."}`
	for name, signIn := range map[string]func(*broker.Broker) (broker.AuthResult, error){
		"in two steps": func(b *broker.Broker) (broker.AuthResult, error) {
			dc, err := b.AcquireTokenByDeviceCode(t.Context(), graph, broker.WithTenantID("fabrikam.example"))
			require.NoError(t, err)
			return dc.AuthenticationResult(t.Context())
		},
		"where no page can be shown": func(b *broker.Broker) (broker.AuthResult, error) {
			return b.AcquireTokenInteractive(t.Context(), graph, broker.WithTenantID("fabrikam.example"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := unboundWorld(t)
			w.cfg.Prompter = codeOnly{}
			w.cfg.Transport = apiDo(func(r *http.Request) (*http.Response, error) {
				switch {
				case !strings.HasPrefix(r.URL.Path, "/fabrikam.example/"):
					t.Errorf("%s was asked", r.URL.Path)
					return reply(400, "{}"), nil
				case strings.HasSuffix(r.URL.Path, "/devicecode"):
					return reply(200, `{"device_code":"d","user_code":"u","verification_uri":"https://microsoft.com/devicelogin","expires_in":900,"interval":5}`), nil
				}
				return reply(200, tokens), nil
			})
			b := w.open()
			res, err := signIn(b)
			require.NoError(t, err)
			require.Equal(t, "fabrikams", res.AccessToken)
			require.Equal(t, user+"."+home, res.Account.HomeAccountID)
			require.Equal(t, home, res.Account.Realm)
			require.Equal(t, user, res.Account.LocalAccountID)

			got, err := b.AcquireTokenSilent(t.Context(), graph, broker.WithTenantID("fabrikam.example"))
			require.NoError(t, err)
			require.Equal(t, broker.SourceCache, got.Metadata.Source)
		})
	}
}

// codeOnly is a terminal: it shows codes and no pages.
type codeOnly struct{}

func (codeOnly) Authorize(context.Context, string, string) (string, error) {
	return "", errors.ErrUnsupported
}
func (codeOnly) DeviceCode(context.Context, broker.DeviceCode) error { return nil }
func (codeOnly) PIN(context.Context, broker.Account) (broker.PIN, error) {
	return nil, errors.ErrUnsupported
}
