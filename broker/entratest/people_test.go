package entratest_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// page fetches a page of a person that the pages defeat.
func pageCode(t *testing.T, err error) int {
	t.Helper()
	var pe *entratest.PageError
	require.ErrorAs(t, err, &pe)
	return pe.Code
}

func (c *tc) tryAuthorize(p entratest.Person, kv ...string) (string, error) {
	return p.Authorize(context.Background(), c.s.Client(),
		authorizeURL(c.s.TenantID(), append([]string{"client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll"}, kv...)...), nativeURI)
}

func TestPeople(t *testing.T) {
	key, err := entratest.NewPasskey()
	require.NoError(t, err)
	other, err := entratest.NewPasskey()
	require.NoError(t, err)
	registered := *key // the tests run in parallel, and the key counts
	prepare := func(t *testing.T) (*tc, *entratest.Clock) {
		c, clock := start(t)
		require.NoError(t, c.s.AddUser(entratest.User{Username: "dave", Passkeys: []entratest.Passkey{registered}}))
		return c, clock
	}
	amr := func(t *testing.T, c *tc, to string) []any {
		t.Helper()
		r := c.redeemCode(query(t, to).Get("code"))
		require.Equal(t, 200, r.status, "%s", r.body)
		return jwtClaims(t, r.str("access_token"))["amr"].([]any)
	}
	good := []struct {
		name   string
		person func(c *tc) entratest.Person
		kv     []string
		amr    []any
		mfa    int
	}{
		{"password", func(c *tc) entratest.Person { return c.alice() }, nil, []any{"pwd"}, 0},
		{"password and code", func(c *tc) entratest.Person { return c.alice() }, []string{"amr_values", "mfa"}, []any{"pwd", "mfa"}, 1},
		{"fresh MFA", func(c *tc) entratest.Person { return c.alice() }, []string{"amr_values", "ngcmfa"}, []any{"pwd", "mfa", "ngcmfa"}, 1},
		{"MFA by a claims request", func(c *tc) entratest.Person { return c.alice() }, []string{"claims", `{"access_token":{"amr":{"essential":true,"values":["mfa"]}}}`}, []any{"pwd", "mfa"}, 1},
		{"number match", func(c *tc) entratest.Person {
			return entratest.Person{Username: "carol@contoso.example", Password: password, Approve: func(_ context.Context, n int) error {
				if !c.s.AnswerNumberMatch("carol", n) {
					return errors.New("nothing to approve")
				}
				return nil
			}}
		}, []string{"amr_values", "mfa"}, []any{"pwd", "mfa"}, 1},
		{"passkey", func(*tc) entratest.Person { return entratest.Person{Username: "dave@contoso.example", Passkey: key} }, nil, []any{"fido", "rsa", "mfa"}, 0},
		{"access pass", func(c *tc) entratest.Person {
			pass, err := c.s.CreateAccessPass("bob", true)
			require.NoError(c.t, err)
			return entratest.Person{Username: "bob@contoso.example", AccessPass: pass}
		}, nil, []any{"otp", "mfa"}, 0},
		{"registers an authenticator app", func(*tc) entratest.Person {
			return entratest.Person{Username: "bob@contoso.example", Password: password, OnEnroll: func(string) {}}
		}, []string{"amr_values", "mfa"}, []any{"pwd", "mfa"}, 1},
	}
	for _, tt := range good {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, _ := prepare(t)
			to, err := c.tryAuthorize(tt.person(c), tt.kv...)
			require.NoError(t, err)
			e := lastSignIn(c)
			require.True(t, e.Interactive)
			require.Equal(t, tt.mfa, e.MFAPrompts)
			require.Equal(t, tt.amr, amr(t, c, to))
		})
	}
	bad := []struct {
		name   string
		code   int
		person func(c *tc, clock *entratest.Clock) entratest.Person
		kv     []string
	}{
		{"wrong password", 50126, func(c *tc, _ *entratest.Clock) entratest.Person {
			p := c.alice()
			p.Password = "wrong"
			return p
		}, nil},
		{"unknown user", 50034, func(*tc, *entratest.Clock) entratest.Person {
			return entratest.Person{Username: "zoe@contoso.example", Password: "x"}
		}, nil},
		{"disabled", 50057, func(c *tc, _ *entratest.Clock) entratest.Person { c.must(c.s.DisableUser("alice")); return c.alice() }, nil},
		{"wrong code", 500121, func(c *tc, _ *entratest.Clock) entratest.Person {
			p := c.alice()
			p.TOTPSecret = "GEZDGNBVGY3TQOJQ"
			return p
		}, []string{"amr_values", "mfa"}},
		{"stale code", 500121, func(c *tc, clock *entratest.Clock) entratest.Person {
			p := c.alice()
			p.Now = func() time.Time { return clock.Now().Add(-90 * time.Second) }
			return p
		}, []string{"amr_values", "mfa"}},
		{"no app", 50076, func(c *tc, _ *entratest.Clock) entratest.Person {
			p := c.alice()
			p.TOTPSecret = ""
			return p
		}, []string{"amr_values", "mfa"}},
		{"does not register", 50079, func(*tc, *entratest.Clock) entratest.Person {
			return entratest.Person{Username: "bob@contoso.example", Password: password}
		}, []string{"amr_values", "mfa"}},
		{"wrong number", 500121, func(c *tc, _ *entratest.Clock) entratest.Person {
			return entratest.Person{Username: "carol@contoso.example", Password: password, Approve: func(_ context.Context, n int) error {
				c.s.AnswerNumberMatch("carol", n+1)
				return nil
			}}
		}, []string{"amr_values", "mfa"}},
		{"another's passkey", 135003, func(*tc, *entratest.Clock) entratest.Person {
			return entratest.Person{Username: "dave@contoso.example", Passkey: other}
		}, nil},
		{"passkey under another name", 135003, func(*tc, *entratest.Clock) entratest.Person {
			return entratest.Person{Username: "alice@contoso.example", Passkey: key}
		}, nil},
		{"wrong access pass", 130503, func(c *tc, _ *entratest.Clock) entratest.Person {
			_, err := c.s.CreateAccessPass("bob", false)
			c.must(err)
			return entratest.Person{Username: "bob@contoso.example", AccessPass: "wrong"}
		}, nil},
		{"expired access pass", 130504, func(c *tc, clock *entratest.Clock) entratest.Person {
			pass, err := c.s.CreateAccessPass("bob", false)
			c.must(err)
			clock.Advance(time.Hour)
			return entratest.Person{Username: "bob@contoso.example", AccessPass: pass}
		}, nil},
		{"access pass used up", 130502, func(c *tc, _ *entratest.Clock) entratest.Person {
			pass, err := c.s.CreateAccessPass("bob", true)
			c.must(err)
			p := entratest.Person{Username: "bob@contoso.example", AccessPass: pass}
			_, err = c.tryAuthorize(p)
			c.must(err)
			return p
		}, nil},
		{"blocked", 53003, func(c *tc, _ *entratest.Clock) entratest.Person { c.policy(`"block"`); return c.alice() }, nil},
		{"no device to show", 50097, func(c *tc, _ *entratest.Clock) entratest.Person { c.policy(`"compliantDevice"`); return c.alice() }, nil},
		{"no method of the strength", 53003, func(c *tc, _ *entratest.Clock) entratest.Person {
			c.must(c.s.SetPolicies(strength()))
			return c.alice()
		}, nil},
		{"may not register methods", 53010, func(c *tc, _ *entratest.Clock) entratest.Person {
			c.must(c.s.SetPolicies(policies(registration(`"block"`))))
			return entratest.Person{Username: "bob@contoso.example", Password: password, OnEnroll: func(string) {}}
		}, []string{"amr_values", "mfa"}},
		{"may register methods after MFA alone", 53010, func(c *tc, _ *entratest.Clock) entratest.Person {
			c.must(c.s.SetPolicies(policies(registration(`"mfa"`), policyJSON("All apps", "All", `"mfa"`, ""))))
			return entratest.Person{Username: "bob@contoso.example", Password: password, OnEnroll: func(string) {}}
		}, []string{"amr_values", "mfa"}},
	}
	for _, tt := range bad {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, clock := prepare(t)
			_, err := c.tryAuthorize(tt.person(c, clock), tt.kv...)
			require.Equal(t, tt.code, pageCode(t, err))
		})
	}
	t.Run("registers an app for a policy of all apps", func(t *testing.T) {
		c, _ := prepare(t)
		require.NoError(t, c.s.SetPolicies(policies(policyJSON("All apps", "All", `"mfa"`, ""))))
		to, err := c.tryAuthorize(entratest.Person{Username: "bob@contoso.example", Password: password, OnEnroll: func(string) {}})
		require.NoError(t, err)
		require.Equal(t, []any{"pwd", "mfa"}, amr(t, c, to))
	})
	t.Run("passkey as second factor satisfies a strength", func(t *testing.T) {
		c, _ := prepare(t)
		require.NoError(t, c.s.AddPasskey("alice", *other))
		require.NoError(t, c.s.SetPolicies(strength()))
		p := c.alice()
		p.Passkey = other
		to, err := c.tryAuthorize(p)
		require.NoError(t, err)
		require.Equal(t, []any{"fido", "rsa", "mfa"}, amr(t, c, to))
	})
	t.Run("what is born of an access pass dies with it", func(t *testing.T) {
		c, clock := prepare(t)
		pass, err := c.s.CreateAccessPass("alice", false)
		require.NoError(t, err)
		rt := c.interactive(entratest.Person{Username: "alice@contoso.example", AccessPass: pass}, brokerClient, brokerURI, updatePRT)
		c.join("alice", 0)
		prt := c.refreshPRT(rt.str("refresh_token"))
		require.Equal(t, 200, prt.status)
		require.EqualValues(t, 3599, prt.v["refresh_token_expires_in"], "it ends with the pass")
		c.policy(`"mfa"`)
		require.Equal(t, 200, c.exchange(payrollID, "api://payroll").status)
		clock.Advance(time.Hour - time.Second)
		token := c.exchange(financeID, "https://graph.microsoft.com").str("access_token")
		renewed := c.renew()
		require.Equal(t, 200, renewed.status, "%s", renewed.body)
		require.EqualValues(t, 0, renewed.v["refresh_token_expires_in"])
		clock.Advance(time.Second)
		for what, r := range map[string]*reply{
			"exchange": c.exchange(payrollID, "api://payroll"), "renewal": c.renew(),
			"refresh token": c.token("grant_type", "refresh_token", "client_id", brokerClient, "refresh_token", rt.str("refresh_token"), "resource", updatePRT),
			"PRT":           c.refreshPRT(rt.str("refresh_token")),
		} {
			require.Equal(t, 130504, r.code(), "%s: %s", what, r.body)
		}
		require.Equal(t, 401, c.json("GET", "https://graph.microsoft.com/v1.0/me", token, nil).status, "an access token ends with the pass")
	})
}

// registration is a policy for the registration of methods.
func registration(controls string) json.RawMessage {
	return json.RawMessage(strings.Replace(string(policyJSON("Registration", "x", controls, "")), `"includeApplications":["x"]`, `"includeUserActions":["urn:user:registersecurityinfo"]`, 1))
}

func TestConsent(t *testing.T) {
	c, _ := start(t)
	kv := []string{"v2", "", "client_id", thirdParty, "scope", "openid offline_access User.Read Mail.Read", "resource", ""}
	deny := c.alice()
	deny.Deny = true
	to, err := c.tryAuthorize(deny, kv...)
	require.NoError(t, err)
	require.Contains(t, query(t, to).Get("error_description"), "AADSTS65004")
	require.Equal(t, "access_denied", query(t, to).Get("error"))
	to, err = c.tryAuthorize(c.alice(), kv...)
	require.NoError(t, err)
	r := c.tokenV2("grant_type", "authorization_code", "client_id", thirdParty, "redirect_uri", nativeURI, "code", query(t, to).Get("code"))
	require.Equal(t, 200, r.status, "%s", r.body)
	require.Equal(t, "openid User.Read Mail.Read", r.str("scope"))
	again := c.tokenV2("grant_type", "refresh_token", "client_id", thirdParty, "refresh_token", r.str("refresh_token"), "scope", "Mail.Read")
	require.Equal(t, 200, again.status, "%s", again.body)
	require.Equal(t, 65001, c.tokenV2("grant_type", "refresh_token", "client_id", thirdParty, "refresh_token", r.str("refresh_token"), "scope", "Files.Read").code())
}

func TestTermsOfUse(t *testing.T) {
	c, _ := start(t)
	require.NoError(t, c.s.SetPolicies([]byte(strings.Replace(string(policyJSON("P", payrollID, "", "")), `"builtInControls":[]`, `"builtInControls":[],"termsOfUse":["dddddddd-0000-4000-8000-000000000001"]`, 1))))
	deny := c.alice()
	deny.Deny = true
	_, err := c.tryAuthorize(deny)
	require.Equal(t, 65004, pageCode(t, err))
	require.Equal(t, 50158, c.payroll().code())
	_, err = c.tryAuthorize(c.alice())
	require.NoError(t, err)
	require.Equal(t, 200, c.payroll().status)
}
