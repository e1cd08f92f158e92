package entratest_test

import (
	"encoding/base64"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var challengeClaims = regexp.MustCompile(`error="insufficient_claims", claims="([^"]+)"`)

// The five critical events of continuous access evaluation (Microsoft,
// "Continuous access evaluation", critical event evaluation, read on 2026-11-27): a
// resource challenges the tokens from before, and a client that handles challenges
// asks for a new one, which it gets or not.
func TestCriticalEvents(t *testing.T) {
	const me = "https://graph.microsoft.com/v1.0/me"
	for _, tt := range []struct {
		event   string
		happens func(c *tc) error
		then    int // code of the next silent request; zero: a token
	}{
		{"user disabled", func(c *tc) error { return c.s.DisableUser("alice") }, 50057},
		{"user deleted", func(c *tc) error { return c.s.DeleteUser("alice") }, 50034},
		{"password changed", func(c *tc) error { return c.s.ChangePassword("alice", "another horse") }, 50173},
		{"password reset", func(c *tc) error { return c.s.ResetPassword("alice", "another horse") }, 50173},
		{"MFA enabled for the user", func(c *tc) error { return c.s.RequireMFA("alice", true) }, 50076},
		{"refresh tokens revoked", func(c *tc) error { return c.s.Revoke("alice") }, 50173},
		{"user risk high", func(c *tc) error { return c.s.SetRisk("alice", "high", "none") }, 0},
	} {
		t.Run(tt.event, func(t *testing.T) {
			c, clock := start(t)
			ask := func(kv ...string) *reply {
				return c.token(append([]string{"client_id", financeID, "resource", "https://graph.microsoft.com"}, kv...)...)
			}
			const cp1 = `{"access_token":{"xms_cc":{"values":["cp1"]}}}`
			password := []string{"grant_type", "password", "username", "alice@contoso.example", "password", password}
			tok, plain := ask(append(password, "claims", cp1)...), ask(password...)
			get := func(r *reply) *reply { return c.json("GET", me, r.str("access_token"), nil) }
			require.Equal(t, 200, get(tok).status)
			clock.Advance(time.Minute)
			at := clock.Now()
			require.NoError(t, tt.happens(c))
			clock.Advance(time.Minute)
			r := get(tok)
			require.Equal(t, 401, r.status, "%s", r.body)
			m := challengeClaims.FindStringSubmatch(r.header.Get("WWW-Authenticate"))
			require.NotNil(t, m, r.header)
			claims, err := base64.StdEncoding.DecodeString(m[1])
			require.NoError(t, err)
			if tt.then != 50034 { // of a deleted user nothing is known
				require.Contains(t, string(claims), `"value":"`+strconv.FormatInt(at.Unix(), 10)+`"`)
			}
			require.NotContains(t, get(plain).header.Get("WWW-Authenticate"), "insufficient_claims", "a client that did not say that it handles them")

			r = ask("grant_type", "refresh_token", "refresh_token", tok.str("refresh_token"), "claims", `{"access_token":{"xms_cc":{"values":["cp1"]},"nbf":{"essential":true,"value":"`+strconv.FormatInt(at.Unix(), 10)+`"}}}`)
			require.Equal(t, tt.then, r.code(), "%s", r.body)
			if tt.then == 0 {
				require.Equal(t, 200, get(r).status)
			}
		})
	}
	t.Run("not a critical event", func(t *testing.T) {
		c, _ := start(t)
		tok := c.token("grant_type", "password", "client_id", financeID, "resource", "https://graph.microsoft.com", "username", "alice@contoso.example", "password", password,
			"claims", `{"access_token":{"xms_cc":{"values":["cp1"]}}}`)
		require.NoError(t, c.s.SetRisk("alice", "medium", "high"))
		require.NoError(t, c.s.SetTOTP("alice", ""))
		require.NoError(t, c.s.EnableUser("alice"))
		require.NoError(t, c.s.RequireMFA("alice", false))
		require.NoError(t, c.s.ExpirePassword("alice"))
		require.Equal(t, 200, c.json("GET", me, tok.str("access_token"), nil).status)
	})
	t.Run("MFA enabled for one user alone", func(t *testing.T) {
		c, _ := start(t)
		require.NoError(t, c.s.RequireMFA("bob", true))
		r := c.ropc("bob", payrollID, "api://payroll")
		require.Equal(t, 50079, r.code(), "%s", r.body)
		_, err := c.tryAuthorize(c.alice())
		require.NoError(t, err, "another user")
		require.NoError(t, c.s.RequireMFA("alice", true))
		to, err := c.tryAuthorize(c.alice())
		require.NoError(t, err)
		require.Contains(t, jwtClaims(t, c.redeemCode(query(t, to).Get("code")).str("access_token"))["amr"], "mfa")
	})
}
