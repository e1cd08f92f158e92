package broker_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/claims"
)

// A swapper is a proxy between broker and service that reads and changes replies,
// as one whose certificate the machine trusts can.
type swapper struct {
	inner broker.Transport

	mu   sync.Mutex // guards all below
	keep bool       // keep the next reply to a request that a PRT signed
	kept []byte
	give bool // give the kept reply to the next such request instead of its own
}

func (s *swapper) Do(r *http.Request) (*http.Response, error) {
	rep, err := s.inner.Do(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || prtOf(r) == "" || !s.keep && !s.give {
		return rep, err
	}
	body, err := io.ReadAll(rep.Body)
	_ = rep.Body.Close()
	if err != nil {
		return nil, err
	}
	if s.keep {
		s.kept, s.keep = body, false
	} else {
		body, s.give = s.kept, false
	}
	rep.Body, rep.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	rep.Header.Del("Content-Length")
	return rep, nil
}

// A proxy answers a request with the reply to another one, which it cannot read.
// The token for one API is not given to an app that asked for another, since the app
// would send it there.
func TestRepliesSwapped(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		first, then []string
		plain       bool // the service answers in the clear
	}{
		{"encrypted", graph, open, false},
		{"encrypted, the other way", open, graph, false},
		{"in the clear", graph, open, true},
		{"two apps of the tenant", open, []string{"api://second/.default"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proxy := &swapper{}
			w := newWorld(t, withOptions(func(o *entratestOptions) {
				o.PlainReplies = tt.plain
				o.Apps = append(o.Apps, entratest.App{ClientID: "11111111-aaaa-4bbb-8ccc-000000000009", Name: "Second", URIs: []string{"api://second"}})
			}))
			proxy.inner = w.cfg.Transport
			w.cfg.Transport = proxy
			w.b = w.open()
			w.join()
			w.signIn()
			proxy.keep = true
			res := w.silent(tt.first)
			tok, err := claims.Parse(res.AccessToken)
			require.NoError(t, err)
			require.NotEmpty(t, proxy.kept)
			proxy.give = true
			got, err := w.b.AcquireTokenSilent(t.Context(), tt.then)
			require.ErrorContains(t, err, "for another resource", "got a token for %s", strings.Join(tok.Audience, " "))
			require.NotErrorIs(t, err, broker.ErrPRTExpired)
			require.Empty(t, got.AccessToken)
			require.False(t, proxy.give, "it was swapped")
			w.silent(tt.then) // the service itself is heard
		})
	}
}

// A fixing prompter is a browser in which an attacker has replaced the user's reply
// by the one of a sign-in of his own.
type fixing struct {
	world *world
	// change makes the reply that the broker gets of the user's and the attacker's.
	change func(own, attackers *url.URL) *url.URL
}

func (f fixing) Authorize(ctx context.Context, address, prefix string) (string, error) {
	own, err := f.world.person.Person.Authorize(ctx, f.world.srv.Client(), address, prefix)
	if err != nil {
		return "", err
	}
	// The attacker begins a sign-in at the same client, with a verifier that he knows.
	theirs, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	q := theirs.Query()
	q.Set("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM") // RFC 7636, appendix B
	q.Set("state", "the-attackers-state")
	theirs.RawQuery = q.Encode()
	mallory := entratest.Person{Username: "bob@contoso.example", Password: password, TOTPSecret: totp}
	forged, err := mallory.Authorize(ctx, f.world.srv.Client(), theirs.String(), prefix)
	if err != nil {
		return "", err
	}
	a, err := url.Parse(own)
	if err != nil {
		return "", err
	}
	b, err := url.Parse(forged)
	if err != nil {
		return "", err
	}
	return f.change(a, b).String(), nil
}

func (fixing) DeviceCode(context.Context, broker.DeviceCode) error { return broker.ErrUserCanceled }

func (fixing) PIN(context.Context, broker.Account) (broker.PIN, error) {
	return nil, broker.ErrUserCanceled
}

// An attacker who can replace what comes back from the sign-in page signs nobody in
// as himself: not with his own reply, not with his code in the user's reply, and not
// with two of them.
func TestSignInFixation(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(own, theirs *url.URL) *url.URL
		says   string
	}{
		{"his reply", func(_, theirs *url.URL) *url.URL { return theirs }, "belongs to another request (state)"},
		{"his code in the user's reply", func(own, theirs *url.URL) *url.URL {
			q := own.Query()
			q.Set("code", theirs.Query().Get("code"))
			own.RawQuery = q.Encode()
			return own
		}, "AADSTS501481"},
		{"his code in front of the user's", func(own, theirs *url.URL) *url.URL {
			own.RawQuery = "code=" + url.QueryEscape(theirs.Query().Get("code")) + "&" + own.RawQuery
			return own
		}, ""},
		{"his state behind the user's", func(own, theirs *url.URL) *url.URL {
			own.RawQuery += "&state=the-attackers-state&code=" + url.QueryEscape(theirs.Query().Get("code"))
			return own
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.join()
			w.cfg.Prompter = fixing{w, tt.change}
			b := w.open()
			res, err := b.SignIn(t.Context(), broker.AuthCode{})
			if err == nil {
				require.Empty(t, tt.says)
				require.Equal(t, alice, res.Account.PreferredUsername)
				return
			}
			require.ErrorContains(t, err, tt.says)
			accounts, err := b.Accounts(t.Context())
			require.NoError(t, err)
			require.Empty(t, accounts)
		})
	}
}
