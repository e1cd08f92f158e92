package entratest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

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
	require.ErrorContains(t, err, "is not a URL of the sign-in service")
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
	require.NoError(t, c.s.AddUser(entratest.User{Username: "pia", Password: password, Phone: "+41791234567"}))
	require.NoError(t, c.s.ExpirePassword("pia"))
	pia := entratest.Person{Username: "pia@contoso.example", Password: password, NewPassword: "another password", ReadSMS: c.readSMS("pia"),
		AnswerCall: func(ctx context.Context) error {
			_, err := client.Get(authenticator)
			return errors.Join(err, c.answerCall("pia", true)(ctx))
		}}
	mfa := authorizeURL(c.s.TenantID(), "client_id", payrollID, "redirect_uri", nativeURI, "amr_values", "mfa")
	_, err = pia.Authorize(t.Context(), client, mfa, nativeURI)
	require.NoError(t, err)
	pia.Password, pia.ReadSMS = pia.NewPassword, nil
	_, err = pia.Authorize(t.Context(), client, mfa, nativeURI)
	require.NoError(t, err)
	carol := entratest.Person{Username: "carol@contoso.example", PhoneSignIn: true, Approve: func(_ context.Context, n int) error {
		_, err := client.Get(authenticator)
		c.s.AnswerNumberMatch("carol", n)
		return err
	}}
	_, err = carol.Authorize(t.Context(), client, mfa, nativeURI)
	require.NoError(t, err)
	all := strings.Join(seen, "\n")
	for _, id := range []string{"signin", "accesspass", "passkey", "code", "number-form", "consent", "usercode", "confirm", "enroll", "hiddenform", "call", "changepassword", "reload", "back"} {
		require.Contains(t, all, `id="`+id+`"`)
	}
}

// The page says which app asks, and the cursor is where something is to be typed.
func TestSignInPageFocus(t *testing.T) {
	c, _ := start(t)
	focused := func(page string) string {
		require.Equal(t, 1, strings.Count(page, " autofocus"))
		before, _, _ := strings.Cut(page, " autofocus")
		_, id, _ := strings.Cut(before[strings.LastIndex(before, "<input"):], `id="`)
		id, _, _ = strings.Cut(id, `"`)
		return id
	}
	show := func(hint string) *reply {
		return c.get(authorizeURL(c.s.TenantID(), "client_id", payrollID, "redirect_uri", nativeURI, "login_hint", hint))
	}
	page := show("")
	require.Contains(t, string(page.body), `to continue to <strong>Payroll</strong>`)
	require.Equal(t, "i0116", focused(string(page.body)), "the user name")
	page = show("alice@contoso.example")
	require.Equal(t, "i0118", focused(string(page.body)), "the password of a user who is known")
	for _, tt := range []struct{ name, user, focus, alert string }{
		{"a wrong password", "alice@contoso.example", "i0118", "invalid username or password"},
		{"a wrong user name", "nobody@contoso.example", "i0116", "nobody@contoso.example"},
	} {
		cfg := config(c.t, page)
		answer := c.form(onLogin(cfg["urlPost"]), "login", tt.user, "passwd", "wrong", "ctx", cfg["sCtx"].(string), "flowToken", cfg["sFT"].(string))
		require.Contains(t, string(answer.body), `role="alert"`, tt.name)
		require.Contains(t, string(answer.body), tt.alert, tt.name)
		require.Equal(t, tt.focus, focused(string(answer.body)), tt.name)
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
