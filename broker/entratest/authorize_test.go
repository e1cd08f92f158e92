package entratest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
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
				require.Equal(t, 400, r.status)
				require.Contains(t, string(r.body), fmt.Sprintf(`data-aadsts="%d"`, tt.code))
				require.Contains(t, string(r.body), fmt.Sprintf(`"sErrorCode":%d`, tt.code))
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
	prepare := func(t *testing.T) (*tc, *entratest.Clock) {
		c, clock := start(t)
		require.NoError(t, c.s.AddUser(entratest.User{Username: "dave", Passkeys: []entratest.Passkey{*key}}))
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
		{"another's passkey", 135004, func(*tc, *entratest.Clock) entratest.Person {
			return entratest.Person{Username: "dave@contoso.example", Passkey: other}
		}, nil},
		{"passkey under another name", 135004, func(*tc, *entratest.Clock) entratest.Person {
			return entratest.Person{Username: "alice@contoso.example", Passkey: key}
		}, nil},
		{"wrong access pass", 130503, func(c *tc, _ *entratest.Clock) entratest.Person {
			_, err := c.s.CreateAccessPass("bob", false)
			c.must(err)
			return entratest.Person{Username: "bob@contoso.example", AccessPass: "wrong"}
		}, nil},
		{"expired access pass", 130502, func(c *tc, clock *entratest.Clock) entratest.Person {
			pass, err := c.s.CreateAccessPass("bob", false)
			c.must(err)
			clock.Advance(time.Hour)
			return entratest.Person{Username: "bob@contoso.example", AccessPass: pass}
		}, nil},
		{"access pass used up", 130503, func(c *tc, _ *entratest.Clock) entratest.Person {
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
			p := strings.Replace(string(policyJSON("P", "x", `"block"`, "")), `"includeApplications":["x"]`, `"includeUserActions":["urn:user:registersecurityinfo"]`, 1)
			c.must(c.s.SetPolicies([]byte(p)))
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
		require.Equal(t, 200, c.refreshPRT(rt.str("refresh_token")).status)
		c.policy(`"mfa"`)
		require.Equal(t, 200, c.exchange(payrollID, "api://payroll").status)
		clock.Advance(time.Hour)
		require.Equal(t, 700082, c.exchange(payrollID, "api://payroll").code())
	})
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
	require.Equal(t, "openid offline_access User.Read Mail.Read", r.str("scope"))
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

func TestStaySignedIn(t *testing.T) {
	o := options(entratest.NewClock(time.Time{}))
	o.AskToStaySignedIn = true
	c := newClient(t, entratest.NewTB(t, o))
	_, err := c.tryAuthorize(c.alice())
	require.NoError(t, err)
}

// A browser that has signed in once is signed in.
func TestBrowserSession(t *testing.T) {
	c, _ := start(t)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	u, _ := url.Parse(login)
	client := &http.Client{Transport: keepCookies{c.s.Client().Transport, jar}}
	kv := []string{"client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll"}
	_, err = c.alice().Authorize(t.Context(), client, authorizeURL(c.s.TenantID(), kv...), nativeURI)
	require.NoError(t, err)
	require.NotEmpty(t, jar.Cookies(u))
	cookie := http.Header{"Cookie": {"ESTSAUTH=" + jar.Cookies(u)[0].Value}}
	silent := authorizeURL(c.s.TenantID(), append(kv, "prompt", "none")...)
	r := c.do("GET", silent, cookie, "")
	require.Contains(t, r.header.Get("Location"), "code=")
	require.False(t, lastSignIn(c).Interactive)

	c.policy(`"mfa"`)
	r = c.do("GET", silent, cookie, "")
	require.Contains(t, query(t, r.header.Get("Location")).Get("error_description"), "AADSTS50076")
	r = c.do("GET", authorizeURL(c.s.TenantID(), append(kv, "prompt", "login")...), cookie, "")
	require.Contains(t, string(r.body), "ConvergedSignIn")
	r = c.do("GET", login+"/common/oauth2/logout?post_logout_redirect_uri="+url.QueryEscape(nativeURI)+"&state=s", cookie, "")
	require.Equal(t, nativeURI+"?state=s", r.header.Get("Location"))
	require.Len(t, r.header.Values("Set-Cookie"), 2)
	require.Equal(t, 400, c.get(login+"/common/oauth2/logout?post_logout_redirect_uri=https%3A%2F%2Felsewhere.example").status)
	require.Equal(t, 200, c.get(login+"/common/oauth2/v2.0/logout").status)
}

type keepCookies struct {
	next http.RoundTripper
	jar  http.CookieJar
}

func (k keepCookies) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := k.next.RoundTrip(r)
	if err == nil {
		k.jar.SetCookies(r.URL, resp.Cookies())
	}
	return resp, err
}

func TestPRTCookie(t *testing.T) {
	c, clock := start(t)
	c.joined()
	kv := []string{"client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll"}
	u := authorizeURL(c.s.TenantID(), kv...)
	send := func(u, cookie string) *reply {
		return c.do("GET", u, http.Header{"X-Ms-Refreshtokencredential": {cookie}}, "")
	}
	r := send(u, c.cookie(c.nonce()))
	require.Equal(t, 302, r.status, "%s", r.body)
	code := query(t, r.header.Get("Location")).Get("code")
	got := c.redeemCode(code, "windows_api_version", "2.0", "client_info", "1")
	require.Nil(t, got.v, "encrypted")
	require.Equal(t, c.deviceID, jwtClaims(t, c.decrypt(got).str("access_token"))["deviceid"])
	require.Equal(t, "authorize", c.s.SignIns()[len(c.s.SignIns())-2].Grant)

	t.Run("as a cookie", func(t *testing.T) {
		r := c.do("GET", u, http.Header{"Cookie": {"x-ms-RefreshTokenCredential1=" + c.cookie(c.nonce())}}, "")
		require.Contains(t, r.header.Get("Location"), "code=")
	})
	t.Run("without a nonce, the server gives one", func(t *testing.T) {
		r := send(u, c.cookie(""))
		require.Equal(t, 302, r.status)
		next := r.header.Get("Location")
		nonce := query(t, next).Get("sso_nonce")
		require.NotEmpty(t, nonce)
		r = send(login+next, c.cookie(nonce))
		require.Contains(t, r.header.Get("Location"), "code=")
	})
	t.Run("stale nonces do not go round in circles", func(t *testing.T) {
		old := c.nonce()
		clock.Advance(6 * time.Minute)
		r := send(u, c.cookie(old))
		require.Contains(t, r.header.Get("Location"), "sso_nonce=")
		r = send(login+r.header.Get("Location"), c.cookie(old))
		require.Contains(t, r.header.Get("Location"), "sso_reload=True")
		r = send(login+r.header.Get("Location"), c.cookie(old))
		require.Equal(t, 200, r.status)
		require.Contains(t, string(r.body), "ConvergedSignIn")
	})
	t.Run("a bad signature is ignored", func(t *testing.T) {
		d := *c
		d.session = make([]byte, 32)
		r := send(u, d.cookie(c.nonce()))
		require.Contains(t, string(r.body), "ConvergedSignIn")
		for _, text := range []string{"x", "a.b.c"} {
			require.Contains(t, string(send(u, text).body), "ConvergedSignIn")
		}
	})
	t.Run("prompt=login suppresses it", func(t *testing.T) {
		require.Contains(t, string(send(u+"&prompt=login", c.cookie(c.nonce())).body), "ConvergedSignIn")
	})
	t.Run("a policy asks for more", func(t *testing.T) {
		c.policy(`"mfa"`)
		r := send(u, c.cookie(c.nonce()))
		require.Contains(t, string(r.body), "ConvergedTFA")
		require.NoError(t, c.s.SetPolicies(nil))
	})
	t.Run("the device alone", func(t *testing.T) {
		require.NoError(t, c.s.SetCompliant(c.deviceID, true))
		c.agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
		c.policy(`"compliantDevice"`)
		proof := c.deviceJWS(map[string]any{"grant_type": "device_auth", "iss": "aad:brokerplugin", "request_nonce": c.nonce()})
		client := &http.Client{Transport: headerTransport{c.s.Client().Transport, http.Header{"X-Ms-Devicecredential": {proof}, "User-Agent": {c.agent}}}}
		to, err := c.alice().Authorize(t.Context(), client, u, nativeURI)
		require.NoError(t, err)
		require.Contains(t, to, "code=")
		_, err = c.alice().Authorize(t.Context(), c.s.Client(), u, nativeURI)
		require.Equal(t, 50097, pageCode(t, err))
		require.NoError(t, c.s.SetPolicies(nil))
	})
	t.Run("a disabled device", func(t *testing.T) {
		require.NoError(t, c.s.DisableDevice(c.deviceID))
		require.Contains(t, string(send(u, c.cookie(c.nonce())).body), "AADSTS135011")
	})
}

type headerTransport struct {
	next http.RoundTripper
	h    http.Header
}

func (t headerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for k, v := range t.h {
		r.Header[k] = v
	}
	return t.next.RoundTrip(r)
}

// An ordinary browser, on loopback and without TLS.
func TestBrowserURL(t *testing.T) {
	c, _ := start(t)
	for _, mode := range []string{"query", "form_post"} {
		u, redirected, err := c.s.BrowserURL(authorizeURL(c.s.TenantID(), "client_id", brokerClient, "redirect_uri", brokerURI, "resource", updatePRT, "amr_values", "mfa", "response_mode", mode))
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(u, "http://localhost:"), u)
		jar, _ := cookiejar.New(nil)
		client := &http.Client{Jar: jar}
		_, err = c.alice().Authorize(t.Context(), client, u, "never://")
		require.ErrorContains(t, err, "You have signed in")
		select {
		case to := <-redirected:
			require.True(t, strings.HasPrefix(to, brokerURI+"?"), to)
			require.NotEmpty(t, query(t, to).Get("code"))
		default:
			t.Fatal("nothing was redirected")
		}
	}
	_, _, err := c.s.BrowserURL("https://elsewhere.example/")
	require.Error(t, err)
}

// Every page is usable by hand: labels, a viewport, nothing from elsewhere, a
// content security policy, no inline handlers.
func TestPagesAreAccessible(t *testing.T) {
	c, _ := start(t)
	var seen []string
	client := &http.Client{Transport: spy{c.s.Client().Transport, func(resp *http.Response, body []byte) {
		if resp.StatusCode != 200 {
			return
		}
		text := string(body)
		seen = append(seen, text)
		require.Contains(t, text, `<html lang="en">`)
		require.Contains(t, text, `name="viewport" content="width=device-width, initial-scale=1"`)
		require.NotRegexp(t, `(src|href)="`, text)
		require.NotRegexp(t, ` on[a-z]+="`, text)
		csp := resp.Header.Get("Content-Security-Policy")
		require.Contains(t, csp, "default-src 'none'")
		require.NotContains(t, csp, "unsafe")
		require.Equal(t, 1, strings.Count(text, "<h1>"))
		for _, in := range strings.Split(text, "<input ")[1:] {
			tag, _, _ := strings.Cut(in, ">")
			if strings.Contains(tag, `type="hidden"`) {
				continue
			}
			_, id, ok := strings.Cut(tag, `id="`)
			require.True(t, ok, tag)
			id, _, _ = strings.Cut(id, `"`)
			require.Contains(t, text, `<label for="`+id+`">`, tag)
		}
	}}}
	key, err := entratest.NewPasskey()
	require.NoError(t, err)
	require.NoError(t, c.s.AddPasskey("bob", *key))
	pass, err := c.s.CreateAccessPass("bob", false)
	require.NoError(t, err)
	people := []entratest.Person{c.alice(), {Username: "bob@contoso.example", Passkey: key}, {Username: "bob@contoso.example", AccessPass: pass},
		{Username: "carol@contoso.example", Password: password, Approve: func(_ context.Context, n int) error { c.s.AnswerNumberMatch("carol", n); return nil }}}
	for _, p := range people {
		_, err = p.Authorize(t.Context(), client, authorizeURL(c.s.TenantID(), "v2", "", "client_id", thirdParty, "redirect_uri", nativeURI, "scope", "openid Mail.Read",
			"claims", `{"access_token":{"amr":{"values":["mfa"]}}}`, "response_mode", "form_post"), nativeURI)
		require.NoError(t, err)
	}
	d := c.form(c.tenantPath("/oauth2/v2.0/devicecode"), "client_id", payrollID, "scope", "openid")
	require.NoError(t, c.alice().ApproveDeviceCode(t.Context(), client, d.str("user_code")))
	require.NoError(t, c.s.AddUser(entratest.User{Username: "erin", Password: password}))
	_, err = (entratest.Person{Username: "erin@contoso.example", Password: password, OnEnroll: func(string) {}}).Authorize(t.Context(), client,
		authorizeURL(c.s.TenantID(), "client_id", payrollID, "redirect_uri", nativeURI, "amr_values", "mfa"), nativeURI)
	require.NoError(t, err)
	all := strings.Join(seen, "\n")
	for _, id := range []string{"signin", "accesspass", "passkey", "code", "number-form", "consent", "usercode", "enroll", "hiddenform"} {
		require.Contains(t, all, `id="`+id+`"`)
	}
}

type spy struct {
	next http.RoundTripper
	see  func(*http.Response, []byte)
}

func (s spy) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		s.see(resp, body)
	}
	return resp, nil
}

func TestDeviceLoginPage(t *testing.T) {
	c, clock := start(t)
	page := login + "/common/oauth2/deviceauth"
	require.Contains(t, string(c.form(page, "otc", "").body), `data-aadsts="90119"`)
	require.Contains(t, string(c.form(page, "otc", "WRONG").body), `data-aadsts="70018"`)
	d := c.form(c.tenantPath("/oauth2/v2.0/devicecode"), "client_id", payrollID, "scope", "openid")
	require.NoError(t, c.alice().ApproveDeviceCode(t.Context(), c.s.Client(), strings.ToLower(d.str("user_code"))))
	require.Contains(t, string(c.form(page, "otc", d.str("user_code")).body), `data-aadsts="90120"`)
	d = c.form(c.tenantPath("/oauth2/v2.0/devicecode"), "client_id", payrollID, "scope", "openid")
	clock.Advance(time.Hour)
	require.Contains(t, string(c.form(page, "otc", d.str("user_code")).body), `data-aadsts="70019"`)
}
