package browser_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/browser"
)

var errBusy = errors.New("the line is busy")

// What people send of the pages, each as the last thing before the app.
func TestAnswers(t *testing.T) {
	const rfc6238 = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	at := func() time.Time { return time.Unix(59, 0) }
	certificate := &tls.Certificate{}
	code := func(method string) string {
		return `<form id="code" action="/done"><input type="hidden" name="mfaAuthMethod" value="` + method + `"><input name="otc"></form>`
	}
	const methods = `<form id="methods" action="/done"><button name="switch" value="OneWaySMS"></button><button name="switch" value="PhoneAppOTP"></button></form>`
	for name, c := range map[string]struct {
		person browser.Person
		page   string
		want   url.Values
	}{
		"the federation server": {browser.Person{Username: "bob", Password: "pw"}, `<form id="loginForm" action="/done"><input name="UserName"><input name="Password"></form>`,
			url.Values{"UserName": {"bob"}, "Password": {"pw"}}},
		"a token of hardware":  {browser.Person{HardwareTOTP: rfc6238, Now: at}, code("HardwareOTP"), url.Values{"mfaAuthMethod": {"HardwareOTP"}, "otc": {"287082"}}},
		"a text message":       {browser.Person{ReadSMS: func(context.Context) (string, error) { return "424242", nil }}, code("OneWaySMS"), url.Values{"mfaAuthMethod": {"OneWaySMS"}, "otc": {"424242"}}},
		"a call":               {browser.Person{AnswerCall: func(context.Context) error { return nil }}, `<form id="call" action="/done"><input type="hidden" name="mfaAuthMethod" value="TwoWayVoiceMobile"></form>`, url.Values{"mfaAuthMethod": {"TwoWayVoiceMobile"}}},
		"a call, without any":  {browser.Person{TOTPSecret: rfc6238}, `<form id="call" action="/x"></form>` + methods, url.Values{"switch": {"PhoneAppOTP"}}},
		"consent":              {browser.Person{}, `<form id="consent" action="/done"></form>`, url.Values{"consent": {"accept"}}},
		"no consent":           {browser.Person{Deny: true}, `<form id="consent" action="/done"></form>`, url.Values{"consent": {"cancel"}}},
		"terms":                {browser.Person{}, `<form id="terms" action="/done"></form>`, url.Values{"terms": {"accept"}}},
		"terms declined":       {browser.Person{Deny: true}, `<form id="terms" action="/done"></form>`, url.Values{"terms": {"decline"}}},
		"stay signed in":       {browser.Person{}, `<form id="kmsi" action="/done"></form>`, url.Values{"LoginOptions": {"3"}}},
		"the app is meant":     {browser.Person{}, `<form id="confirm" action="/done"></form>`, url.Values{"ContinueAuth": {"true"}}},
		"a code to confirm":    {browser.Person{}, `<form id="usercode" action="/done"><input name="otc" value="ABCD"></form>`, url.Values{"otc": {"ABCD"}}},
		"enrolment put off":    {browser.Person{}, `<form id="enroll" action="/x"></form><form id="skip" action="/done"><input type="hidden" name="ctx" value="c"></form>`, url.Values{"ctx": {"c"}}},
		"a passkey elsewhere":  {browser.Person{Passkey: &browser.Passkey{}}, `<form id="securitykey" action="/done"><input type="hidden" name="hop" value="h"></form>`, url.Values{"hop": {"h"}}},
		"no passkey":           {browser.Person{TOTPSecret: rfc6238}, `<form id="securitykey" action="/x"></form>` + methods, url.Values{"switch": {"PhoneAppOTP"}}},
		"a passkey first":      {browser.Person{Username: "alice", Password: "pw", Passkey: &browser.Passkey{}}, strings.Replace(signin, "accesspass", "passkey", 1), url.Values{"ctx": {"c"}, "login": {"alice"}, "passwd": {""}, "credential": {"passkey"}}},
		"an app first":         {browser.Person{Username: "alice", PhoneSignIn: true}, strings.Replace(signin, "accesspass", "phone", 1), url.Values{"ctx": {"c"}, "login": {"alice"}, "passwd": {""}, "credential": {"phone"}}},
		"a certificate first":  {browser.Person{Certificate: certificate}, signin + `<form id="certauth" action="/done"><input type="hidden" name="ctx" value="c"></form>`, url.Values{"ctx": {"c"}}},
		"a certificate second": {browser.Person{Certificate: certificate}, code("PhoneAppOTP") + `<form id="certauth" action="/done"><input type="hidden" name="ctx" value="c"></form>`, url.Values{"ctx": {"c"}}},
	} {
		t.Run(name, func(t *testing.T) {
			// At the page of the app: the form posts to /done, which the site redirects.
			_, sent, err := walk(t, c.person, map[string]string{"/start": strings.Replace(c.page, `action="/next"`, `action="/done"`, 1)})
			require.NoError(t, err)
			require.Equal(t, c.want, sent["/done"])
		})
	}
}

func TestLacks(t *testing.T) {
	const code = `<form id="code"><input type="hidden" name="mfaAuthMethod" value="`
	for name, c := range map[string]struct {
		person browser.Person
		page   string
		want   string
	}{
		"an app":              {browser.Person{}, code + `PhoneAppOTP"></form>`, "AADSTS50076: the person has no authenticator app to read a code from"},
		"a token":             {browser.Person{}, code + `HardwareOTP"></form>`, "AADSTS50076: the person has no hardware token to read a code from"},
		"a phone":             {browser.Person{}, code + `OneWaySMS"></form>`, "AADSTS50076: the person has no phone to read a text message on"},
		"a phone to answer":   {browser.Person{}, `<form id="call"></form>`, "AADSTS50076: the person has no phone to answer"},
		"a certificate":       {browser.Person{}, `<form id="certauth"></form>`, "AADSTS50076: the person has no certificate"},
		"a passkey":           {browser.Person{}, `<form id="securitykey"></form>`, "AADSTS50076: the person has no passkey"},
		"a password":          {browser.Person{}, `<form id="loginForm"></form>`, "the person has no password"},
		"a challenge":         {browser.Person{Passkey: passkey(t)}, `<script>$Config={"a":1};</script><form id="passkey"></form>`, "the page has no challenge"},
		"a message":           {browser.Person{ReadSMS: func(context.Context) (string, error) { return "", errBusy }}, code + `OneWaySMS"></form>`, "the line is busy"},
		"a call":              {browser.Person{AnswerCall: func(context.Context) error { return errBusy }}, `<form id="call"></form>`, "the line is busy"},
		"a secret of base32":  {browser.Person{TOTPSecret: "1"}, code + `PhoneAppOTP"></form>`, "base32"},
		"a secret to enrol":   {browser.Person{OnEnroll: func(string) {}}, `<p data-secret="1"></p><form id="enroll"></form>`, "base32"},
		"a page without form": {browser.Person{}, `<title>Hello</title>`, "there is nothing to answer: Hello"},
	} {
		_, _, err := walk(t, c.person, map[string]string{"/start": c.page})
		require.ErrorContains(t, err, c.want, name)
	}
	// The same page again, with an error: the person gives up.
	_, _, err := walk(t, browser.Person{Username: "alice", Password: "wrong"}, map[string]string{"/start": signin, "/next": `<p role="alert" data-aadsts="50126">No.</p>` + signin})
	require.ErrorContains(t, err, "AADSTS50126: No.")
	var page *browser.PageError
	require.ErrorAs(t, err, &page)
	require.Equal(t, "signin", page.Page)
}

func passkey(t *testing.T) *browser.Passkey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return &browser.Passkey{ID: []byte("id"), Key: key, UserHandle: []byte("alice"), Count: 6}
}

// What a passkey signs, read as WebAuthn Level 2 says (5.8.1, 6.1, 7.2).
func TestPasskey(t *testing.T) {
	k := passkey(t)
	_, sent, err := walk(t, browser.Person{Passkey: k}, map[string]string{
		"/start": "<script>//<![CDATA[\n$Config={\"sFidoChallenge\":\"O.abc\"};\n//]]></script>" + `<form id="passkey" action="/done"><input name="assertion" type="hidden"></form>`})
	require.NoError(t, err)
	var got struct{ ID, ClientDataJSON, AuthenticatorData, Signature, UserHandle string }
	require.NoError(t, json.Unmarshal([]byte(sent["/done"].Get("assertion")), &got))
	raw := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		require.NoError(t, err)
		return b
	}
	require.Equal(t, "id", string(raw(got.ID)))
	require.Equal(t, "alice", string(raw(got.UserHandle)))
	var client map[string]any
	require.NoError(t, json.Unmarshal(raw(got.ClientDataJSON), &client))
	require.Equal(t, map[string]any{"type": "webauthn.get", "challenge": base64.RawURLEncoding.EncodeToString([]byte("O.abc")), "origin": "https://login.microsoft.com", "crossOrigin": false}, client)
	data := raw(got.AuthenticatorData)
	require.Len(t, data, 37)
	party := sha256.Sum256([]byte("login.microsoft.com"))
	require.Equal(t, party[:], data[:32])
	require.Equal(t, byte(0b101), data[32], "user present, user verified")
	require.Equal(t, []byte{0, 0, 0, 7}, data[33:], "the counter goes on")
	hash := sha256.Sum256(raw(got.ClientDataJSON))
	sum := sha256.Sum256(append(data, hash[:]...))
	require.True(t, ecdsa.VerifyASN1(&k.Key.PublicKey, sum[:], raw(got.Signature)))
}

// everywhere sends each request to one server, which sees what host was meant.
type everywhere struct {
	to   *url.URL
	next http.RoundTripper
}

func (e everywhere) RoundTrip(r *http.Request) (*http.Response, error) {
	c := r.Clone(r.Context())
	c.Host = r.URL.Host
	c.URL.Scheme, c.URL.Host = e.to.Scheme, e.to.Host
	return e.next.RoundTrip(c)
}

func TestDeviceCode(t *testing.T) {
	var seen []string
	end := "<title>You have signed in</title>"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Method+" "+r.Host+r.URL.RequestURI())
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, `<form id="usercode" action="https://login.microsoftonline.com/common/oauth2/deviceauth"><input name="otc" value="ABCD"></form>`)
			return
		}
		_, _ = io.WriteString(w, end)
	}))
	t.Cleanup(srv.Close)
	to, err := url.Parse(srv.URL)
	require.NoError(t, err)
	c := &http.Client{Transport: everywhere{to, srv.Client().Transport}}
	require.NoError(t, browser.Person{}.ApproveDeviceCode(t.Context(), c, "AB CD"))
	require.Equal(t, []string{"GET microsoft.com/devicelogin?otc=AB+CD", "POST login.microsoftonline.com/common/oauth2/deviceauth"}, seen)
	end = `<p role="alert" data-aadsts="70019">The code has expired.</p>`
	require.ErrorContains(t, browser.Person{}.ApproveDeviceCode(t.Context(), c, "ABCD"), "AADSTS70019")
}

// A certificate is shown to the host that asks for one, and to no other.
func TestCertificateIsShownOnce(t *testing.T) {
	var shown []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = append(shown, r.Host+" "+r.Header.Get("Shown"))
		if r.URL.Path == "/start" {
			w.Header().Set("Location", "https://certauth.login.microsoftonline.com/cert")
		} else {
			w.Header().Set("Location", "app://done")
		}
		w.WriteHeader(http.StatusFound)
	}))
	t.Cleanup(srv.Close)
	to, err := url.Parse(srv.URL)
	require.NoError(t, err)
	p := browser.Person{Certificate: &tls.Certificate{}, ShowCertificate: func(rt http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			r = r.Clone(r.Context())
			r.Header.Set("Shown", "yes")
			return rt.RoundTrip(r)
		})
	}}
	got, err := p.Authorize(t.Context(), &http.Client{Transport: everywhere{to, srv.Client().Transport}}, "https://login.microsoftonline.com/start", "app://done")
	require.NoError(t, err)
	require.Equal(t, "app://done", got)
	require.Equal(t, []string{"login.microsoftonline.com ", "certauth.login.microsoftonline.com yes"}, shown)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestScriptsAndRedirects(t *testing.T) {
	to, _, err := walk(t, browser.Person{}, map[string]string{"/start": `<script>document.location.replace("app:\/\/done?code=1\u0026state=2");</script>`})
	require.NoError(t, err)
	require.Equal(t, "app://done?code=1&state=2", to)
	base, err := url.Parse("https://login.microsoftonline.com/")
	require.NoError(t, err)
	require.Equal(t, "http://localhost/?code=1", browser.Target([]byte(`<script>document.location.replace("http://localhost/?code=1");</script>`), base))

	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"a redirect to nowhere": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://[")
			w.WriteHeader(http.StatusFound)
		}, "Location"},
		"a status alone":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, "503 Service Unavailable"},
		"redirects in a ring": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }, "no end after 20 pages"},
	} {
		srv := httptest.NewServer(c.handler)
		_, err := browser.Person{}.Authorize(t.Context(), srv.Client(), srv.URL, "app://done")
		require.ErrorContains(t, err, c.want, name)
		srv.Close()
		_, err = browser.Person{}.Authorize(t.Context(), srv.Client(), srv.URL, "app://done")
		require.ErrorContains(t, err, "refused", "nobody listens")
	}
	_, err = browser.Person{}.Authorize(t.Context(), http.DefaultClient, "http://[", "app://done")
	require.ErrorContains(t, err, "missing ']'")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = browser.Person{}.Authorize(ctx, http.DefaultClient, "http://127.0.0.1:1", "app://done")
	require.ErrorIs(t, err, context.Canceled)
}
