package entratest_test

import (
	"encoding/base64"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

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
	require.Equal(t, 200, c.get(login+"/common/oauth2/logout?post_logout_redirect_uri=https%3A%2F%2Felsewhere.example").status)
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

// TestHintOfAnotherUser asks for one user in a browser that proves another: by a
// PRT, and by the cookie of a sign-in.
func TestHintOfAnotherUser(t *testing.T) {
	c, _ := start(t)
	c.joined()
	u := authorizeURL(c.s.TenantID(), "client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll")
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	_, err = c.alice().Authorize(t.Context(), &http.Client{Transport: keepCookies{c.s.Client().Transport, jar}}, u, nativeURI)
	require.NoError(t, err)
	host, err := url.Parse(login)
	require.NoError(t, err)
	for name, proof := range map[string]func() http.Header{
		"PRT":            func() http.Header { return http.Header{"X-Ms-Refreshtokencredential": {c.cookie(c.nonce())}} },
		"session cookie": func() http.Header { return http.Header{"Cookie": {"ESTSAUTH=" + jar.Cookies(host)[0].Value}} },
	} {
		for hint, silent := range map[string]bool{"": true, "alice@contoso.example": true, "ALICE@contoso.example": true, "bob@contoso.example": false, "nobody@contoso.example": false} {
			r := c.do("GET", u+"&login_hint="+hint, proof(), "")
			require.Equal(t, silent, strings.Contains(r.header.Get("Location"), "code="), "%s, %s", name, hint)
			require.Equal(t, !silent, strings.Contains(string(r.body), "ConvergedSignIn"), "%s, %s", name, hint)
		}
	}
}

// TestDeviceCookieRefused shows the authorize page device cookies that each lack
// one thing, for an app that only devices may use.
func TestDeviceCookieRefused(t *testing.T) {
	c, clock := start(t)
	c.joined()
	c.agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
	require.NoError(t, c.s.SetCompliant(c.deviceID, true))
	c.policy(`"compliantDevice"`)
	u := authorizeURL(c.s.TenantID(), "client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll")
	good := func() map[string]any {
		return map[string]any{"grant_type": "device_auth", "iss": "aad:brokerplugin", "request_nonce": c.nonce()}
	}
	forged := *c
	forged.device = c.transport
	for _, tt := range []struct {
		name   string
		cookie func() string
		code   int // 0: it is accepted
	}{
		{"good", func() string { return c.deviceJWS(good()) }, 0},
		{"without a nonce", func() string { return c.deviceJWS(with(good(), "request_nonce", nil)) }, 50097},
		{"with a nonce of somebody else", func() string { return c.deviceJWS(with(good(), "request_nonce", "AwABEgEAAAACAOz_foreign")) }, 50097},
		{"with a stale nonce", func() string {
			text := c.deviceJWS(good())
			clock.Advance(5*time.Minute + time.Second)
			return text
		}, 50097},
		{"without a grant type", func() string { return c.deviceJWS(with(good(), "grant_type", nil)) }, 50097},
		{"of another grant", func() string { return c.deviceJWS(with(good(), "grant_type", "device_token")) }, 50097},
		{"signed by another key", func() string { return forged.deviceJWS(good()) }, 50097},
		{"with a certificate of nobody", func() string {
			return compact(map[string]any{"alg": "RS256", "x5c": c.foreignCertificate()}, good(), rs256(c.device))
		}, 50097},
	} {
		t.Run(tt.name, func(t *testing.T) {
			header := http.Header{"X-Ms-Devicecredential": {tt.cookie()}, "User-Agent": {c.agent}}
			to, err := c.alice().Authorize(t.Context(), &http.Client{Transport: headerTransport{c.s.Client().Transport, header}}, u, nativeURI)
			if tt.code == 0 {
				require.NoError(t, err)
				require.Contains(t, to, "code=")
				return
			}
			require.Equal(t, tt.code, pageCode(t, err))
		})
	}
}

// What the browser proved of the device holds for whoever signs in on its pages
// after it.
func TestDeviceOfReplacedSession(t *testing.T) {
	const enforce = "enforceMfaByFederatedIdp"
	alone := func(t *testing.T) (*tc, *entratest.Clock) {
		c, clock := start(t)
		c.joined()
		return c, clock
	}
	tests := []struct {
		name   string
		start  func(*testing.T) (*tc, *entratest.Clock)
		person func(*tc) entratest.Person
		before func(*tc, *entratest.Clock)
		kv     []string
		amr    []any
	}{
		{"sign-in frequency", alone, (*tc).alice, func(c *tc, clock *entratest.Clock) {
			c.must(c.s.SetPolicies(policies(policyJSON("D", payrollID, `"compliantDevice"`, ""), frequency("hours", 1))))
			clock.Advance(2 * time.Hour)
		}, nil, []any{"pwd"}},
		{"max_age", alone, (*tc).alice, func(c *tc, clock *entratest.Clock) {
			c.policy(`"compliantDevice"`)
			clock.Advance(2 * time.Hour)
		}, []string{"max_age", "60"}, []any{"pwd"}},
		{"MFA at the federation server", func(t *testing.T) (*tc, *entratest.Clock) {
			c, clock := federated(t, enforce)
			c.join("alice", 0)
			a := assertionOf(t, c.soap("2005", "frida@fed.example", password, "urn:federation:MicrosoftOnline", ""))
			c.usePRT(c.prtRequest(map[string]any{"grant_type": "urn:ietf:params:oauth:grant-type:saml1_1-bearer", "assertion": base64.StdEncoding.EncodeToString([]byte(a))}))
			return c, clock
		}, func(*tc) entratest.Person {
			return entratest.Person{Username: "frida@fed.example", Password: password, TOTPSecret: hardwareSecret}
		}, func(c *tc, _ *entratest.Clock) { c.policy(`"compliantDevice"`) }, []string{"amr_values", "mfa"}, []any{"fed", "mfa"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, clock := tt.start(t)
			require.NotEmpty(t, c.prt)
			c.must(c.s.SetCompliant(c.deviceID, true))
			tt.before(c, clock)
			client := &http.Client{Transport: headerTransport{c.s.Client().Transport, http.Header{"X-Ms-Refreshtokencredential": {c.cookie(c.nonce())}}}}
			to, err := tt.person(c).Authorize(t.Context(), client,
				authorizeURL(c.s.TenantID(), append([]string{"client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll"}, tt.kv...)...), nativeURI)
			require.NoError(t, err)
			token := jwtClaims(t, c.redeemCode(query(t, to).Get("code")).str("access_token"))
			require.Equal(t, c.deviceID, token["deviceid"])
			require.Equal(t, tt.amr, token["amr"], "the new session, not that of the PRT")
		})
	}
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
