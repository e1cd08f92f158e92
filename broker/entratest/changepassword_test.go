package entratest_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

func TestChangePasswordPage(t *testing.T) {
	const next = "another horse"
	change := func(c *tc, cfg map[string]any, old, next, again string) *reply {
		return c.form("/common/ChangePassword", "ctx", cfg["sCtx"].(string), "oldpasswd", old, "newpasswd", next, "confirmnewpasswd", again)
	}
	tests := []struct {
		name             string
		old, next, again string
		code             string // of the page that comes back; "": the sign-in goes on
	}{
		{"good", password, next, next, ""},
		{"old password wrong", "wrong", next, next, "120000"},
		{"the old one again", password, password, password, "120002"},
		{"confirmed wrongly", password, next, next + "x", "50064"},
		{"too short", password, "7 chars", "7 chars", "120002"},
		{"too long", password, strings.Repeat("x", 257), strings.Repeat("x", 257), "120002"},
		{"with the first name", password, "my Alice 2026", "my Alice 2026", "120003"},
		{"with the last name", password, "for exAMPLE so", "for exAMPLE so", "120003"},
		{"short in characters, not in bytes", password, "ääääääää", "ääääääää", ""},
		{"none", password, "", "", "120002"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := start(t)
			c.must(c.s.ExpirePassword("alice"))
			require.Equal(t, 50055, c.ropc("alice", payrollID, "api://payroll").code())
			cfg := c.signInPage("alice")
			require.Equal(t, "ConvergedChangePassword", cfg["pgid"])
			r := change(c, cfg, tt.old, tt.next, tt.again)
			if tt.code == "" {
				require.Contains(t, r.header.Get("Location"), "code=")
				require.Equal(t, 50126, c.ropc("alice", payrollID, "api://payroll").code(), "the old password is gone")
				return
			}
			require.Equal(t, tt.code, aadsts.FindStringSubmatch(string(r.body))[1])
			require.Equal(t, "ConvergedChangePassword", config(t, r)["pgid"])
			require.Equal(t, 50055, c.ropc("alice", payrollID, "api://payroll").code(), "nothing changed")
		})
	}
	t.Run("nobody was asked", func(t *testing.T) {
		c, _ := start(t)
		cfg := config(t, c.authorizeQuery("login_hint", "alice@contoso.example"))
		require.Equal(t, 200, change(c, cfg, password, next, next).status)
	})
	t.Run("guessing the old one locks the account", func(t *testing.T) {
		c, _ := start(t)
		c.must(c.s.ExpirePassword("alice"))
		cfg := c.signInPage("alice")
		for range 10 {
			change(c, cfg, "wrong", next, next)
		}
		require.Equal(t, "50053", aadsts.FindStringSubmatch(string(change(c, cfg, password, next, next).body))[1])
	})
	t.Run("answered twice", func(t *testing.T) {
		c, _ := start(t)
		c.must(c.s.ExpirePassword("alice"))
		cfg := c.signInPage("alice")
		require.Equal(t, 302, change(c, cfg, password, next, next).status)
		require.Equal(t, "120000", aadsts.FindStringSubmatch(string(change(c, cfg, password, next, next).body))[1])
	})
	t.Run("a person", func(t *testing.T) {
		c, clock := start(t)
		c.joined()
		c.must(c.s.ExpirePassword("alice"))
		_, err := c.tryAuthorize(c.alice(), "amr_values", "mfa")
		require.Equal(t, 50055, pageCode(t, err))
		clock.Advance(time.Second)
		p := c.alice()
		p.NewPassword = next
		_, err = c.tryAuthorize(p, "amr_values", "mfa")
		require.NoError(t, err)
		require.Equal(t, 50173, c.renew().code(), "what was born of the old password is dead")
		p.Password, p.NewPassword = next, ""
		_, err = c.tryAuthorize(p)
		require.NoError(t, err)
	})
	t.Run("what a Hello key or a passkey bore lives on", func(t *testing.T) {
		c, _ := start(t)
		c.joined()
		key := pool()[3]
		require.Equal(t, 200, c.registerHello(key).status)
		r := c.helloPRT(key, nil)
		require.Equal(t, 200, r.status, "%s", r.body)
		c.usePRT(r)
		fido, err := entratest.NewPasskey()
		require.NoError(t, err)
		require.NoError(t, c.s.AddPasskey("alice", *fido))
		rt := c.interactive(entratest.Person{Username: "alice@contoso.example", Passkey: fido}, payrollID, nativeURI, "api://payroll")
		c.must(c.s.ExpirePassword("alice"))
		p := c.alice()
		p.NewPassword = next
		_, err = c.tryAuthorize(p)
		require.NoError(t, err)
		require.Equal(t, 200, c.renew().status)
		require.Equal(t, 200, c.token("grant_type", "refresh_token", "client_id", payrollID, "refresh_token", rt.str("refresh_token"), "resource", "api://payroll").status)
	})
}

// A change of the password because of the account's risk comes after MFA, and ends
// the risk (Microsoft, "Conditional Access: Grant", Require password change,
// 2026-03).
func TestPasswordChangeForRisk(t *testing.T) {
	const next = "another horse"
	for _, controls := range []string{`"passwordChange"`, `"mfa","passwordChange"`, `"riskRemediation"`} {
		t.Run(controls, func(t *testing.T) {
			c, _ := start(t)
			p := policyJSON("P", payrollID, controls, `"userRiskLevels":["high"]`)
			c.must(c.s.SetPolicies(policies(json.RawMessage(strings.Replace(string(p), `"OR"`, `"AND"`, 1)))))
			require.Equal(t, 200, c.payroll().status)
			c.must(c.s.SetRisk("alice", "high", "none"))
			require.NotEqual(t, 200, c.payroll().status)

			cfg := c.signInPage("alice")
			require.Equal(t, "ConvergedTFA", cfg["pgid"], "MFA first")
			code, _, err := c.s.OneTimeCode("alice")
			require.NoError(t, err)
			r := c.form(cfg["urlPost"].(string), "ctx", cfg["sCtx"].(string), "mfaAuthMethod", "PhoneAppOTP", "otc", code)
			cfg = config(t, r)
			require.Equal(t, "ConvergedChangePassword", cfg["pgid"])
			require.Contains(t, string(r.body), "Someone else may know your password")
			r = c.form("/common/ChangePassword", "ctx", cfg["sCtx"].(string), "oldpasswd", password, "newpasswd", next, "confirmnewpasswd", next)
			to := r.header.Get("Location")
			require.Contains(t, to, "code=", "%s", r.body)
			require.Contains(t, jwtClaims(t, c.redeemCode(query(t, to).Get("code")).str("access_token"))["amr"], "mfa", "the session lives on")
			require.Equal(t, "none", c.s.Users()[0].UserRisk)
			require.Equal(t, 50126, c.payroll().code(), "the old password")
		})
	}
	c, _ := start(t)
	c.must(c.s.SetPolicies(policies(policyJSON("P", payrollID, `"passwordChange"`, `"userRiskLevels":["high"]`))))
	c.must(c.s.SetRisk("alice", "high", "none"))
	c.must(c.s.SetRisk("bob", "high", "none"))
	p := c.alice()
	p.NewPassword = next
	_, err := c.tryAuthorize(p)
	require.NoError(t, err)
	_, err = c.tryAuthorize(entratest.Person{Username: "bob@contoso.example", Password: password, NewPassword: next, OnEnroll: func(string) {}})
	require.Equal(t, 50135, pageCode(t, err), "who registered no method cannot prove who they are")
}
