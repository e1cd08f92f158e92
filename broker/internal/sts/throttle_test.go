package sts

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// What the service throttles is one request: by client, authority, scopes and
// account, as MSAL.NET tells them apart. Whatever else an app of the machine
// asks for goes on, also at the same endpoint.
func TestThrottleSparesNeighbours(t *testing.T) {
	exchange := func(tenant string, from From) func(context.Context, *Client) error {
		return func(ctx context.Context, c *Client) error {
			_, err := c.Post(ctx, tenant, prt.Form{Path: wire.PathToken, Values: url.Values{"grant_type": {wire.GrantJWTBearer}}}, ByPRT, from)
			return err
		}
	}
	grant := func(values ...string) func(context.Context, *Client) error {
		return func(ctx context.Context, c *Client) error {
			v := url.Values{}
			for i := 0; i < len(values); i += 2 {
				v.Set(values[i], values[i+1])
			}
			_, err := c.Grant(ctx, "t", wire.PathToken, v)
			return err
		}
	}
	realm := func(user string) func(context.Context, *Client) error {
		return func(ctx context.Context, c *Client) error { _, err := c.userRealm(ctx, user); return err }
	}
	trust := func(user string) func(context.Context, *Client) error {
		return func(ctx context.Context, c *Client) error {
			_, err := c.requestAssertion(ctx, server, wsTrustVersions[0], "", user, "pw")
			return err
		}
	}
	hello := func(account string) func(context.Context, *Client) error {
		return func(ctx context.Context, c *Client) error {
			_, err := c.Register(ctx, http.MethodPost, "https://drs.example/key", []byte("{}"), prt.NewSecret("t"), account)
			return err
		}
	}
	page := func(client, account string) func(context.Context, *Client) error {
		return func(ctx context.Context, c *Client) error {
			r, err := c.Open(ctx, "https://login.microsoftonline.com/t/oauth2/authorize?state=x&client_id="+client, "ms-appx-web://app", prt.Cookie{}, account)
			if err == nil {
				err = Refusal(r, ByPRT)
			}
			return err
		}
	}
	of := From{Client: "c", Scopes: "s", Account: "a"}
	for name, tt := range map[string]struct {
		throttled, neighbour func(context.Context, *Client) error
	}{
		"another client":             {exchange("t", of), exchange("t", From{Client: "d", Scopes: "s", Account: "a"})},
		"other scopes":               {exchange("t", of), exchange("t", From{Client: "c", Scopes: "r", Account: "a"})},
		"another account":            {exchange("t", of), exchange("t", From{Client: "c", Scopes: "s", Account: "b"})},
		"another tenant":             {exchange("t", of), exchange("u", of)},
		"no boundary moves":          {exchange("t", From{Client: "cs", Account: "a"}), exchange("t", From{Client: "c", Scopes: "s", Account: "a"})},
		"another user's password":    {grant("grant_type", "password", "username", "a"), grant("grant_type", "password", "username", "b")},
		"another refresh token":      {grant("grant_type", "refresh_token", "refresh_token", "1"), grant("grant_type", "refresh_token", "refresh_token", "2")},
		"another resource":           {grant("grant_type", "refresh_token", "resource", "1"), grant("grant_type", "refresh_token", "resource", "2")},
		"another device code":        {grant("grant_type", "device_code", "code", "1"), grant("grant_type", "device_code", "code", "2")},
		"another grant":              {grant("grant_type", "password"), grant("grant_type", "refresh_token")},
		"another user's realm":       {realm("a@b.example"), realm("b@b.example")},
		"another federated user":     {trust("a@b.example"), trust("b@b.example")},
		"another user's Hello key":   {hello("a"), hello("b")},
		"another client's page":      {page("c", "a"), page("d", "a")},
		"another account's page":     {page("c", "a"), page("c", "b")},
		"a nonce beside an exchange": {exchange("common", of), func(ctx context.Context, c *Client) error { _, err := c.Nonce(ctx); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			from := &answering{canned: canned{429, map[string]string{"Retry-After": "90"}, refused(90055).body}}
			c := testClient(t, from)
			require.ErrorAs(t, tt.throttled(t.Context(), c), new(*Error))
			require.Equal(t, 1, from.asked)

			err := tt.throttled(t.Context(), c)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, 1, from.asked, "the same request again")
			require.Equal(t, 90*time.Second, e.RetryAfter)
			require.Equal(t, aadsts.Throttled, e.Verdict)
			require.ErrorContains(t, err, "is throttling this request")

			_ = tt.neighbour(t.Context(), c)
			require.Equal(t, 2, from.asked, "the neighbour is not sent")
		})
	}
}

// A password that was throttled is not sent again because it is another one.
func TestAnotherPasswordIsNoOtherRequest(t *testing.T) {
	from := &answering{canned: canned{429, map[string]string{"Retry-After": "90"}, refused(90055).body}}
	c := testClient(t, from)
	for _, password := range []string{"one", "two"} {
		_, err := c.Grant(t.Context(), "t", wire.PathToken, url.Values{"grant_type": {wire.GrantPassword}, "username": {"a"}, "password": {password}})
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, 90*time.Second, e.RetryAfter)
	}
	require.Equal(t, 1, from.asked)
}

// A request that the service sees in a loop (AADSTS50196) rests for minutes, and
// the error says for how long, from the first one on.
func TestLoopRests(t *testing.T) {
	from := &answering{canned: refused(50196)}
	c := testClient(t, from)
	for range 100 {
		_, err := c.Grant(t.Context(), "t", wire.PathToken, url.Values{"grant_type": {wire.GrantRefreshToken}})
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, 5*time.Minute, e.RetryAfter)
	}
	require.Equal(t, 1, from.asked)
	require.NoError(t, c.Wait(t.Context(), 5*time.Minute))
	from.canned = tokens
	_, err := c.Grant(t.Context(), "t", wire.PathToken, url.Values{"grant_type": {wire.GrantRefreshToken}})
	require.NoError(t, err)
}
