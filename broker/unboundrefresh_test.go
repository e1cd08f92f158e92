package broker_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

// Of the refresh tokens of an app the next is tried only where the one before has
// ended.
func TestUnboundRefreshTokensInTurn(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answers []string // to one refresh token after the other
		sent    int
		want    error // nil: a token
		says    string
	}{
		"the first is good":    {nil, 1, nil, ""},
		"revoked":              {[]string{`{"error":"invalid_grant","error_codes":[50173]}`}, 2, broker.ErrInteractionRequired, "has not signed in for this app"},
		"expired":              {[]string{`{"error":"invalid_grant","error_codes":[700082]}`}, 2, broker.ErrInteractionRequired, "has not signed in for this app"},
		"the user is needed":   {[]string{`{"error":"interaction_required","error_codes":[50076]}`}, 1, broker.ErrInteractionRequired, "AADSTS50076"},
		"both":                 {[]string{`{"error":"invalid_grant","error_codes":[50173]}`, `{"error":"interaction_required","error_codes":[50076]}`}, 2, broker.ErrInteractionRequired, "AADSTS50076"},
		"not of the family":    {[]string{`{"error":"invalid_grant","error_codes":[50173]}`, `{"error":"invalid_grant","suberror":"client_mismatch","error_codes":[999]}`}, 2, broker.ErrInteractionRequired, "has not signed in for this app"},
		"its own is another's": {[]string{`{"error":"invalid_grant","suberror":"client_mismatch","error_codes":[999]}`}, 1, broker.ErrAppConfig, "client_mismatch"},
	} {
		t.Run(name, func(t *testing.T) {
			w := unboundWorld(t)
			for _, id := range []string{onedrive, appID} { // the one of the family, the other not
				_, err := w.b.AcquireTokenInteractive(t.Context(), graph, broker.WithApp(broker.App{ClientID: id}), broker.WithLoginHint(alice), broker.WithNewSignIn())
				require.NoError(t, err)
			}
			inner, sent := w.wire.inner, 0
			w.wire.inner = apiDo(func(r *http.Request) (*http.Response, error) {
				if !strings.HasSuffix(r.URL.Path, "/oauth2/v2.0/token") {
					return inner.Do(r)
				}
				if sent++; sent <= len(tt.answers) {
					return reply(http.StatusBadRequest, tt.answers[sent-1]), nil
				}
				return inner.Do(r)
			})
			res, err := w.b.AcquireTokenSilent(t.Context(), graph, broker.WithForceRefresh())
			require.Equal(t, tt.sent, sent)
			if tt.want == nil {
				require.NoError(t, err)
				require.NotEmpty(t, res.AccessToken)
				return
			}
			require.ErrorIs(t, err, tt.want)
			require.ErrorContains(t, err, tt.says)
		})
	}
}

// A reply that lacks a token gives none, and one that brings no new refresh token
// leaves the one that is kept.
func TestUnboundReplyLacksAToken(t *testing.T) {
	t.Parallel()
	w := unboundWorld(t)
	w.signIn()
	inner := w.wire.inner
	w.withoutMember("/oauth2/v2.0/token", "access_token")
	_, err := w.b.AcquireTokenSilent(t.Context(), open)
	require.ErrorContains(t, err, "the reply has no access token")
	w.wire.inner = inner
	w.withoutMember("/oauth2/v2.0/token", "refresh_token")
	w.silent(open)
	w.wire.inner = inner
	w.reopen()
	w.silent(open)
}

// Claims go with a refresh token too.
func TestUnboundClaims(t *testing.T) {
	t.Parallel()
	w := unboundWorld(t)
	w.signIn()
	require.Empty(t, accessToken(t, w.silent(open)).Contexts)
	require.Equal(t, []string{"c1"}, accessToken(t, w.silent(open, broker.WithClaims(contextC1))).Contexts)
}

// A refresh token that cannot be kept ends the call, with the account's removal as the
// reason where that is it.
func TestUnboundRefreshTokenIsNotKept(t *testing.T) {
	t.Parallel()
	w := unboundWorld(t)
	acct := w.signIn()
	disk := &brokenStore{Store: w.store}
	g := &gateStore{Store: disk}
	w.cfg.Store = g
	w.reopen()
	disk.set("put .refresh")
	_, err := w.b.AcquireTokenSilent(t.Context(), open)
	require.ErrorIs(t, err, errDisk)
	require.NotErrorIs(t, err, broker.ErrNoAccount)
	disk.set("")
	g.set(func(op, name string) {
		if op == "put" && strings.HasSuffix(name, ".refresh") {
			g.set(nil)
			require.NoError(t, w.b.RemoveAccount(t.Context(), acct))
		}
	})
	_, err = w.b.AcquireTokenSilent(t.Context(), open)
	require.ErrorIs(t, err, broker.ErrNoAccount)
}
