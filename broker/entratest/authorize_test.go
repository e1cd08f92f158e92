package entratest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// authorizeQuery sends an authorization request without going through pages.
func (c *tc) authorizeQuery(kv ...string) *reply {
	c.t.Helper()
	return c.get(authorizeURL(c.s.TenantID(), append([]string{"client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll", "state", "x"}, kv...)...))
}

func TestAuthorizeRefusals(t *testing.T) {
	tests := []struct {
		name string
		code int
		page bool // an error page instead of a redirect
		kv   []string
	}{
		{"unknown client", 700016, true, []string{"client_id", "99999999-0000-4000-8000-000000000000"}},
		{"no client", 900144, true, []string{"client_id", ""}},
		{"unregistered redirect", 50011, true, []string{"redirect_uri", "https://elsewhere.example/"}},
		{"longer redirect", 50011, true, []string{"redirect_uri", nativeURI + "/x"}},
		{"urn redirect", 500119, true, []string{"redirect_uri", "urn:ietf:wg:oauth:2.0:oob"}},
		{"broker client to localhost", 50011, true, []string{"client_id", brokerClient, "redirect_uri", "http://localhost"}},
		{"broker client to nativeclient", 50011, true, []string{"client_id", brokerClient}},
		{"response mode", 70007, true, []string{"response_mode", "carrier_pigeon"}},
		{"claims", 9002313, true, []string{"claims", "{"}},
		{"response type", 70005, false, []string{"response_type", "token"}},
		{"challenge size", 50147, false, []string{"code_challenge", "short", "code_challenge_method", "S256"}},
		{"challenge method", 9002313, false, []string{"code_challenge", strings.Repeat("a", 43), "code_challenge_method", "S512"}},
		{"resource at v2", 901002, false, []string{"v2", "", "scope", "openid"}},
		{"no scope at v2", 900144, false, []string{"v2", "", "resource", ""}},
		{"unknown resource", 500011, false, []string{"resource", "api://nowhere"}},
		{"silent without a session", 50058, false, []string{"prompt", "none"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, _ := start(t)
			r := c.authorizeQuery(tt.kv...)
			if tt.page {
				require.Equal(t, 200, r.status)
				require.Contains(t, string(r.body), fmt.Sprintf(`data-aadsts="%d"`, tt.code))
				require.Contains(t, string(r.body), fmt.Sprintf(`"sErrorCode":"%d"`, tt.code))
				return
			}
			require.Equal(t, 302, r.status, "%s", r.body)
			v := query(t, r.header.Get("Location"))
			require.Contains(t, v.Get("error_description"), fmt.Sprintf("AADSTS%d:", tt.code))
			require.Equal(t, "x", v.Get("state"))
		})
	}
}

// codeFor signs Alice in and returns the code.
func (c *tc) codeFor(kv ...string) string {
	c.t.Helper()
	to, err := c.alice().Authorize(context.Background(), c.s.Client(),
		authorizeURL(c.s.TenantID(), append([]string{"client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll"}, kv...)...), nativeURI)
	require.NoError(c.t, err)
	return query(c.t, to).Get("code")
}

func (c *tc) redeemCode(code string, kv ...string) *reply {
	c.t.Helper()
	return c.token(append([]string{"grant_type", "authorization_code", "client_id", payrollID, "redirect_uri", nativeURI, "code", code}, kv...)...)
}

func TestCodeRefusals(t *testing.T) {
	const verifier = "0123456789012345678901234567890123456789012"
	plain := []string{"code_challenge", verifier, "code_challenge_method", "plain"}
	for _, r := range []refusal{
		{"missing", 900144, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply { return c.redeemCode("") }},
		{"nonsense", 70000, "", "", func(c *tc, _ *entratest.Clock) *reply { return c.redeemCode("0.AQwAx") }},
		{"twice", 54005, "", "", func(c *tc, _ *entratest.Clock) *reply {
			code := c.codeFor()
			require.Equal(c.t, 200, c.redeemCode(code).status)
			return c.redeemCode(code)
		}},
		{"expired", 70008, "", "bad_token", func(c *tc, clock *entratest.Clock) *reply {
			code := c.codeFor()
			clock.Advance(10 * time.Minute)
			return c.redeemCode(code)
		}},
		{"other redirect", 50011, "", "", func(c *tc, _ *entratest.Clock) *reply {
			return c.redeemCode(c.codeFor(), "redirect_uri", "http://localhost")
		}},
		{"other client", 70000, "", "", func(c *tc, _ *entratest.Clock) *reply { return c.redeemCode(c.codeFor(), "client_id", financeID) }},
		{"no verifier", 501481, "", "", func(c *tc, _ *entratest.Clock) *reply { return c.redeemCode(c.codeFor(plain...)) }},
		{"wrong verifier", 501481, "", "", func(c *tc, _ *entratest.Clock) *reply {
			return c.redeemCode(c.codeFor(plain...), "code_verifier", verifier[1:]+"x")
		}},
		{"short verifier", 501491, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply { return c.redeemCode(c.codeFor(plain...), "code_verifier", "x") }},
		{"other tenant", 700005, "", "", func(c *tc, _ *entratest.Clock) *reply {
			o := options(entratest.NewClock(time.Time{}))
			o.OtherTenants = []entratest.Tenant{{Domain: "fabrikam.example"}}
			d := newClient(c.t, entratest.NewTB(c.t, o))
			return d.form("/fabrikam.example/oauth2/token", "grant_type", "authorization_code", "client_id", payrollID, "redirect_uri", nativeURI, "code", d.codeFor())
		}},
		{"stk_jwk of another client", 9002313, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
			return c.redeemCode(c.codeFor(), "stk_jwk", "{}")
		}},
		{"device code: missing", 900144, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply { return c.token("grant_type", "device_code") }},
		{"device code: wrong", 70018, "bad_verification_code", "", func(c *tc, _ *entratest.Clock) *reply {
			return c.token("grant_type", "device_code", "device_code", "x", "client_id", payrollID)
		}},
		{"device code: pending", 70016, "authorization_pending", "", func(c *tc, _ *entratest.Clock) *reply {
			d := c.form(c.tenantPath("/oauth2/devicecode"), "client_id", payrollID, "resource", "api://payroll")
			require.Equal(c.t, "900", d.str("expires_in"))
			require.NotEmpty(c.t, d.str("verification_url"))
			return c.token("grant_type", "device_code", "code", d.str("device_code"), "client_id", payrollID)
		}},
		{"device code: other client", 70000, "", "", func(c *tc, _ *entratest.Clock) *reply {
			d := c.form(c.tenantPath("/oauth2/devicecode"), "client_id", payrollID, "resource", "api://payroll")
			return c.token("grant_type", "device_code", "code", d.str("device_code"), "client_id", financeID)
		}},
		{"device code: expired", 70019, "expired_token", "", func(c *tc, clock *entratest.Clock) *reply {
			d := c.form(c.tenantPath("/oauth2/devicecode"), "client_id", payrollID, "resource", "api://payroll")
			clock.Advance(15 * time.Minute)
			return c.token("grant_type", "device_code", "code", d.str("device_code"), "client_id", payrollID)
		}},
		{"device code: twice", 54005, "", "", func(c *tc, _ *entratest.Clock) *reply {
			d := c.form(c.tenantPath("/oauth2/devicecode"), "client_id", payrollID, "resource", "api://payroll")
			require.NoError(c.t, c.alice().ApproveDeviceCode(context.Background(), c.s.Client(), d.str("user_code")))
			require.Equal(c.t, 200, c.token("grant_type", "device_code", "code", d.str("device_code"), "client_id", payrollID).status)
			return c.token("grant_type", "device_code", "code", d.str("device_code"), "client_id", payrollID)
		}},
		{"device code: no scope", 900144, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
			return c.form(c.tenantPath("/oauth2/v2.0/devicecode"), "client_id", payrollID)
		}},
		{"device code: resource at v2", 901002, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
			return c.form(c.tenantPath("/oauth2/v2.0/devicecode"), "client_id", payrollID, "scope", "openid", "resource", "x")
		}},
		{"device code: confidential client", 7000218, "invalid_client", "", func(c *tc, _ *entratest.Clock) *reply {
			return c.form(c.tenantPath("/oauth2/v2.0/devicecode"), "client_id", webID, "scope", "openid")
		}},
	} {
		t.Run(r.name, r.run)
	}
}

func TestResponseModes(t *testing.T) {
	c, _ := start(t)
	for _, mode := range []string{"query", "form_post", "fragment"} {
		to, err := c.tryAuthorize(c.alice(), "response_mode", mode, "state", "a&b", "client_info", "1", "instance_aware", "true")
		require.NoError(t, err)
		v := query(t, strings.Replace(to, "#", "?", 1))
		require.NotEmpty(t, v.Get("code"))
		require.Equal(t, "a&b", v.Get("state"))
		require.NotEmpty(t, v.Get("client_info"))
		require.Equal(t, "microsoftonline.com", v.Get("cloud_instance_name"))
	}
	to, err := c.tryAuthorize(c.alice(), "response_type", "code id_token", "nonce", "n")
	require.NoError(t, err)
	require.Equal(t, "n", jwtClaims(t, query(t, strings.Replace(to, "#", "?", 1)).Get("id_token"))["nonce"])
	to, err = c.alice().Authorize(t.Context(), c.s.Client(), authorizeURL("common", "client_id", payrollID, "redirect_uri", "http://localhost:12345/", "resource", "api://payroll"), "http://localhost:12345/")
	require.NoError(t, err, "the port of a loopback redirect is free")
	require.Contains(t, to, "code=")
}
