package login_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base32"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/browser"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/login"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/totp"
	"github.com/prtbroker/prtbroker/claims"
)

func (w *world) certificate(user string, multiFactor bool) *tls.Certificate {
	w.t.Helper()
	c, err := w.Mint.IssueUserCertificate(user, multiFactor)
	require.NoError(w.t, err)
	return &c
}

// fabrikam is a request to the other tenant, by the Azure CLI.
var fabrikam = []string{"path", "/fabrikam.example/oauth2/authorize", "client_id", "04b07795-8ddb-461a-bbee-02f9e1bf7b46", "redirect_uri", "http://localhost", "resource", "https://graph.microsoft.com"}

// Every way to sign in, as a person goes it, and what the code says of it.
func TestSignIn(t *testing.T) {
	t.Parallel()
	mfa := []string{"amr_values", "mfa"}
	number := func(w *world, user string) func(context.Context, int) error {
		return func(_ context.Context, n int) error {
			if !w.Keeper.Pending.AnswerNumber(w.dir.User(user+"@contoso.example").ID, n, w.now) {
				return errors.New("nothing to approve")
			}
			return nil
		}
	}
	key := func(w *world) *browser.Passkey { return &browser.Passkey{ID: []byte("dave's"), Key: w.key} }
	for _, tt := range []struct {
		name    string
		kv      []string
		before  func(w *world)
		person  func(w *world) browser.Person
		methods claims.Methods
		prompts int
	}{
		{"a password", nil, nil, func(*world) browser.Person { return browser.Person{Username: "alice", Password: password} }, claims.Password, 0},
		{"and a code", mfa, nil, func(*world) browser.Person {
			return browser.Person{Username: "alice", Password: password, TOTPSecret: secret}
		}, claims.Password | claims.SoftwareOATH, 1},
		{"and a code of a hardware token", mfa, nil, func(*world) browser.Person {
			return browser.Person{Username: "hal", Password: password, HardwareTOTP: secret}
		}, claims.Password | claims.HardwareOATH, 1},
		{"and a number", mfa, nil, func(w *world) browser.Person {
			return browser.Person{Username: "carol", Password: password, Approve: number(w, "carol")}
		}, claims.Password | claims.AuthenticatorPush, 1},
		{"and a text message", mfa, nil, func(w *world) browser.Person {
			return browser.Person{Username: "erin", Password: password, ReadSMS: func(context.Context) (string, error) {
				return w.waiting("erin", session.PromptMessage).Code, nil
			}}
		}, claims.Password | claims.SMS, 1},
		{"and a call, the other way offered", mfa, nil, func(w *world) browser.Person {
			return browser.Person{Username: "erin", Password: password, AnswerCall: func(context.Context) error {
				w.Keeper.Pending.Answer(w.waiting("erin", session.PromptCall).ID, true, w.now)
				return nil
			}}
		}, claims.Password | claims.Voice, 2},
		{"and a passkey", mfa, nil, func(w *world) browser.Person {
			return browser.Person{Username: "dave", Password: password, Passkey: key(w)}
		}, claims.FIDO2, 0},
		{"and an app that is registered on the way", mfa, nil, func(*world) browser.Person {
			return browser.Person{Username: "bob", Password: password, OnEnroll: func(string) {}}
		}, claims.Password | claims.SoftwareOATH, 1},
		{"and a certificate", mfa, nil, func(w *world) browser.Person {
			return browser.Person{Username: "bob", Password: password, Certificate: w.certificate("bob", false)}
		}, claims.Password | claims.CertificateSingleFactor, 1},
		{"a passkey", mfa, nil, func(w *world) browser.Person { return browser.Person{Username: "dave", Passkey: key(w)} }, claims.FIDO2, 0},
		{"a pass", mfa, nil, func(w *world) browser.Person { return browser.Person{Username: "tom", AccessPass: w.tap} }, claims.TemporaryAccessPassMultiUse, 0},
		{"a telephone alone", mfa, nil, func(w *world) browser.Person {
			return browser.Person{Username: "carol", PhoneSignIn: true, Approve: number(w, "carol")}
		}, claims.DeviceBasedPush, 0},
		{"a certificate", nil, nil, func(w *world) browser.Person {
			return browser.Person{Username: "bob", Certificate: w.certificate("bob", false)}
		}, claims.CertificateSingleFactor, 0},
		{"a certificate that is MFA", mfa, nil, func(w *world) browser.Person {
			return browser.Person{Username: "bob", Certificate: w.certificate("bob", true)}
		}, claims.CertificateMultiFactor, 0},
		{"the federation server", nil, nil, func(*world) browser.Person {
			return browser.Person{Username: "flo@fed.example", Password: password}
		}, claims.FederatedSingleFactor, 0},
		{"the federation server, which asks for a code", mfa, nil, func(*world) browser.Person {
			return browser.Person{Username: "fay@fed.example", Password: password, TOTPSecret: secret}
		}, claims.FederatedSingleFactor | claims.FederatedMultiFactor, 0},
		{"a new password in place of an expired one", nil, func(w *world) {
			require.NoError(w.t, w.dir.ExpirePassword("alice@contoso.example"))
		}, func(*world) browser.Person {
			return browser.Person{Username: "alice", Password: password, NewPassword: "another horse"}
		}, claims.Password, 0},
		{"terms of use", nil, func(w *world) { w.policy(`"termsOfUse":["dddddddd-0000-4000-8000-000000000001"]`) }, func(*world) browser.Person {
			return browser.Person{Username: "alice", Password: password}
		}, claims.Password, 0},
		{"staying signed in", nil, func(w *world) { w.AskToStaySignedIn = true }, func(*world) browser.Person {
			return browser.Person{Username: "alice", Password: password}
		}, claims.Password, 0},
		{"a page that posts itself", nil, func(w *world) { w.Traits.Intermediate = true }, func(*world) browser.Person {
			return browser.Person{Username: "alice", Password: password}
		}, claims.Password, 0},
		{"an end by script", nil, func(w *world) { w.Traits.ScriptRedirect = true }, func(*world) browser.Person {
			return browser.Person{Username: "alice", Password: password}
		}, claims.Password, 0},
		{"an end by form", []string{"response_mode", "form_post"}, nil, func(*world) browser.Person {
			return browser.Person{Username: "alice", Password: password}
		}, claims.Password, 0},
		{"an end by fragment", []string{"response_mode", "fragment"}, nil, func(*world) browser.Person {
			return browser.Person{Username: "alice", Password: password}
		}, claims.Password, 0},
		{"a registration that is put off", nil, func(w *world) { w.Traits.RegistrationDays = 3 }, func(*world) browser.Person {
			return browser.Person{Username: "bob", Password: password}
		}, claims.Password, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if tt.before != nil {
				tt.before(w)
			}
			p := tt.person(w)
			q, err := w.walk(p, tt.kv...)
			require.NoError(t, err)
			c := w.code(q)
			upn := p.Username
			if !strings.Contains(upn, "@") {
				upn += "@contoso.example"
			}
			require.Equal(t, w.dir.User(upn).ID, c.Session.User)
			require.Equal(t, app, c.Client)
			require.Equal(t, redirect, c.Redirect)
			require.Equal(t, w.now.Add(10*time.Minute).Unix(), c.Expires)
			require.Equal(t, tt.methods, c.Session.Methods.Modes()&^claims.MarkRSA)
			require.Equal(t, len(tt.kv) > 0 && tt.kv[0] == "amr_values", c.Session.MFA != 0)
			e := w.last()
			require.Zero(t, e.ErrorCode)
			require.Equal(t, upn, e.Username)
			require.True(t, e.Interactive)
			require.Equal(t, tt.prompts, e.MFAPrompts)
		})
	}
}

// What a person cannot answer, or what is refused, ends on a page with its code.
func TestSignInRefused(t *testing.T) {
	t.Parallel()
	mfa := []string{"amr_values", "mfa"}
	alice := browser.Person{Username: "alice", Password: password, TOTPSecret: secret}
	as := func(change func(*browser.Person)) browser.Person { p := alice; change(&p); return p }
	for _, tt := range []struct {
		name   string
		code   int
		kv     []string
		before func(w *world)
		person browser.Person
	}{
		{"a wrong password", 50126, nil, nil, as(func(p *browser.Person) { p.Password = "x" })},
		{"nobody", 50034, nil, nil, as(func(p *browser.Person) { p.Username = "mallory" })},
		{"a wrong code", 500121, mfa, nil, as(func(p *browser.Person) { p.TOTPSecret = "GEZDGNBVGY3TQOJQ" })},
		{"a wrong number", 500121, mfa, nil, browser.Person{Username: "carol", Password: password, Approve: func(context.Context, int) error { return nil }}},
		{"a wrong pass", 130503, nil, nil, browser.Person{Username: "tom", AccessPass: "wrong"}},
		{"no second factor", 50079, mfa, nil, browser.Person{Username: "bob", Password: password}},
		{"nobody is asked at the federation server", 50074, mfa, nil, browser.Person{Username: "flo@fed.example", Password: password}},
		{"a block", 53003, nil, func(w *world) { w.policy(builtIn("block")) }, alice},
		{"no device", 50097, nil, func(w *world) { w.policy(builtIn("compliantDevice")) }, alice},
		{"may not register", 53010, mfa, func(w *world) { w.registration(builtIn("block")) }, browser.Person{Username: "bob", Password: password, OnEnroll: func(string) {}}},
		{"may not register before MFA", 53010, mfa, func(w *world) { w.registration(builtIn("mfa")) }, browser.Person{Username: "bob", Password: password, OnEnroll: func(string) {}}},
		{"a strength that no method reaches", 53003, nil, func(w *world) {
			w.policy(`"authenticationStrength":{"id":"00000000-0000-0000-0000-000000000004"}`)
		}, alice},
		{"a strength that the federation server does not reach", 53003, nil, func(w *world) {
			w.policy(`"authenticationStrength":{"id":"00000000-0000-0000-0000-000000000004"}`)
		}, browser.Person{Username: "fay@fed.example", Password: password, TOTPSecret: secret}},
		{"declined terms", 65004, nil, func(w *world) { w.policy(`"termsOfUse":["t"]`) }, as(func(p *browser.Person) { p.Deny = true })},
		{"an app that is for others", 50105, []string{"client_id", "55555555-6666-4777-8888-999999999999", "resource", "", "scope", "openid", "path", "/common/oauth2/v2.0/authorize"}, nil, alice},
		{"another tenant's page", 50034, fabrikam, nil, alice},
		{"a user who was disabled meanwhile", 50057, nil, func(w *world) {
			require.NoError(w.t, w.dir.SetUserEnabled("alice@contoso.example", false, w.now))
		}, alice},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if tt.before != nil {
				tt.before(w)
			}
			_, err := w.walk(tt.person, tt.kv...)
			var page *browser.PageError
			require.ErrorAs(t, err, &page)
			require.Equal(t, tt.code, page.Code, page.Text)
		})
	}
}

// What is wrong with a request is said on a page until the redirect URI is known to
// be the client's, and at the redirect URI after that (OpenID Connect Core 3.1.2.6).
func TestAuthorizeRefused(t *testing.T) {
	t.Parallel()
	const v2 = "/organizations/oauth2/v2.0/authorize"
	for _, tt := range []struct {
		name string
		kv   []string
		page string // AADSTS code of the page; "": at the redirect
		code string
	}{
		{"no client", []string{"client_id", ""}, "900144", ""},
		{"unknown client", []string{"client_id", "99999999-0000-4000-8000-000000000000"}, "700016", ""},
		{"another redirect", []string{"redirect_uri", "https://evil.example/"}, "50011", ""},
		{"no redirect, of two", []string{"redirect_uri", ""}, "900144", ""},
		{"response_mode", []string{"response_mode", "pigeon"}, "70007", ""},
		{"claims", []string{"claims", "{"}, "9002313", ""},
		{"max_age", []string{"max_age", "-1"}, "9002313", ""},
		{"response_type", []string{"response_type", "token"}, "", "AADSTS70005"},
		{"challenge", []string{"code_challenge", "short"}, "", "AADSTS50147"},
		{"method", []string{"code_challenge", strings.Repeat("a", 43), "code_challenge_method", "S512"}, "", "AADSTS9002313"},
		{"a resource of v2", []string{"path", v2}, "", "AADSTS901002"},
		{"no scope of v2", []string{"path", v2, "resource", ""}, "", "AADSTS900144"},
		{"unknown resource", []string{"resource", "api://nobody"}, "", "AADSTS500011"},
		{"nobody is signed in", []string{"prompt", "none"}, "", "AADSTS50058"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := w.get(start(tt.kv...))
			if tt.page != "" {
				require.Equal(t, "ConvergedError "+tt.page, r.page(), r.body)
				require.Empty(t, r.header.Get("Location"))
				return
			}
			require.Equal(t, http.StatusFound, r.status, r.body)
			require.True(t, strings.HasPrefix(r.header.Get("Location"), redirect), r.header)
			require.Equal(t, tt.code, r.error(t))
			require.Equal(t, "st", r.location(t).Get("state"))
			require.NotEmpty(t, r.location(t).Get("error_uri"))
		})
	}
}

// A client with one redirect URI need not name it, and what the client asked for
// comes back or goes into the code.
func TestRequestIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	challenge := strings.Repeat("b", 43)
	q, err := w.walk(browser.Person{Username: "alice", Password: password}, "path", "/organizations/oauth2/v2.0/authorize", "resource", "", "scope", "openid api://payroll/.default",
		"response_type", "code id_token", "nonce", "n-0", "code_challenge", challenge, "code_challenge_method", "S256", "client_info", "1", "instance_aware", "true",
		"max_age", "60", "claims", `{"access_token":{"xms_cc":{"values":["cp1"]}}}`)
	require.NoError(t, err)
	c := w.code(q)
	require.Equal(t, challenge, c.Challenge)
	require.Equal(t, "S256", c.Method)
	require.Equal(t, "n-0", c.Nonce)
	require.True(t, c.Aged)
	require.Contains(t, c.Claims, "cp1")
	require.Equal(t, "openid api://payroll/.default", c.Scope)
	require.Len(t, strings.Split(q.Get("id_token"), "."), 3)
	require.NotEmpty(t, q.Get("client_info"))
	require.Equal(t, "microsoftonline.com", q.Get("cloud_instance_name"))
	require.Equal(t, c.Session.SID, q.Get("session_state"))

	q, err = w.walk(browser.Person{Username: "alice", Password: password}, "response_type", "id_token", "nonce", "n", "scope", "openid")
	require.NoError(t, err)
	require.Empty(t, q.Get("code"))
	require.NotEmpty(t, q.Get("id_token"))

	r := w.get(start("client_id", "55555555-6666-4777-8888-999999999999", "redirect_uri", "", "resource", "", "path", "/common/oauth2/v2.0/authorize", "scope", "openid"))
	require.Equal(t, "ConvergedSignIn", r.page(), r.body)
}

// A third party's app gets what the user consents to, and remembers it.
func TestConsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kv := []string{"client_id", "44444444-5555-4666-8777-888888888888", "resource", "", "scope", "User.Read Mail.Read", "path", "/common/oauth2/v2.0/authorize"}
	alice := browser.Person{Username: "alice", Password: password}
	deny := alice
	deny.Deny = true
	q, err := w.walk(deny, kv...)
	require.NoError(t, err)
	require.Contains(t, q.Get("error_description"), "AADSTS65004")
	require.Equal(t, 65004, w.last().ErrorCode)
	page := w.typed("alice", kv...)
	require.Equal(t, "ConvergedConsent", page.page())
	require.Contains(t, page.body, "Mail.Read")
	require.Contains(t, page.header.Get("Content-Security-Policy"), "form-action 'self' https://login.microsoftonline.com")
	q, err = w.walk(alice, kv...)
	require.NoError(t, err)
	w.code(q)
	require.Contains(t, w.typed("alice", kv...).header.Get("Location"), "code=", "nobody is asked twice")
	require.Equal(t, "ConvergedConsent", w.typed("alice", append(kv, "prompt", "consent")...).page(), "but on demand")
	_, err = w.walk(alice, append(kv, "prompt", "consent")...)
	require.NoError(t, err, "once")
}

// A form may lead to the app, by whatever scheme, and to nothing that a page does
// not need.
func TestFormTargets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for to, want := range map[string]string{
		"https://web.example:8443/cb?x=1": "https://web.example:8443 ", "http://localhost": "http://localhost ", "msauth.third://auth?x=1": "msauth.third: ", "%": " ",
	} {
		got := w.FormTargets(&session.Flow{Request: session.AuthRequest{Redirect: to}})
		require.Equal(t, want+"https://login.microsoft.com https://login.microsoftonline.com https://sts.fed.example", got, to)
	}
}

// The cookie of a session signs in until the request, or the tenant's settings,
// want more.
func TestBrowserSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.AskToStaySignedIn = true
	kmsi := w.typed("alice")
	require.Equal(t, "KmsiInterrupt", kmsi.page(), kmsi.body)
	w.post("/kmsi", "ctx", kmsi.str("sCtx"))
	require.Len(t, w.kept, 2)
	for _, c := range w.kept {
		require.True(t, c.Secure && c.HttpOnly, c.Name)
	}
	require.Equal(t, "ESTSAUTHPERSISTENT", w.kept[1].Name)
	require.Equal(t, 90*24*3600, w.kept[1].MaxAge)
	cookie := w.kept[1].String()
	cookie = cookie[:strings.Index(cookie, ";")]
	silent := func(kv ...string) *reply { return w.get(start(append(kv, "prompt", "none")...), "Cookie", cookie) }

	r := silent()
	require.NotEmpty(t, r.location(t).Get("code"), r.header)
	require.False(t, w.last().Interactive)
	require.Equal(t, "AADSTS50058", silent("login_hint", "bob@contoso.example").error(t), "somebody else")
	require.NotEmpty(t, silent("login_hint", "alice@contoso.example").location(t).Get("code"))
	require.Equal(t, "AADSTS50076", silent("amr_values", "mfa").error(t))
	require.Equal(t, "AADSTS65001", silent("client_id", "44444444-5555-4666-8777-888888888888", "resource", "", "scope", "Mail.Read", "path", "/common/oauth2/v2.0/authorize").error(t))
	require.Equal(t, "ConvergedSignIn", w.get(start("prompt", "login"), "Cookie", cookie).page())
	require.Equal(t, "ConvergedSignIn", w.get(start(), "Cookie", "ESTSAUTH=forged").page())
	require.Equal(t, "ConvergedError 50020", w.get(start(fabrikam...), "Cookie", cookie).page(), "a guest nowhere")
	w.now = w.now.Add(time.Minute)
	require.Equal(t, "AADSTS50058", silent("max_age", "59").error(t), "too long ago")
	w.policy(`"termsOfUse":["t"]`)
	require.Equal(t, "AADSTS50158", silent().error(t))
	w.policy(builtIn("block"))
	require.Equal(t, "AADSTS53003", silent().error(t))
	require.NoError(t, w.dir.Revoke("alice@contoso.example", w.now.Add(time.Second)))
	require.Equal(t, "AADSTS50058", silent().error(t))
}

// Only a client's own redirect URI ends a logout.
func TestLogout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.get("/common/oauth2/logout")
	require.Equal(t, "ConvergedMessage", r.page())
	require.Len(t, w.kept, 2)
	for _, c := range w.kept {
		require.Negative(t, c.MaxAge)
	}
	r = w.get("/common/oauth2/v2.0/logout?state=a%26b&post_logout_redirect_uri=" + url.QueryEscape("msauth.third://auth?x=1"))
	require.Equal(t, "msauth.third://auth?state=a%26b&x=1", r.header.Get("Location"))
	r = w.get("/common/oauth2/logout?post_logout_redirect_uri=https%3A%2F%2Fevil.example")
	require.Equal(t, "ConvergedError 50011", r.page())
	require.Empty(t, r.header.Get("Location"))
	require.Contains(t, w.get("/common/oauth2/nativeclient?error=access_denied").body, "access_denied")
	require.Contains(t, w.get("/common/oauth2/nativeclient?code=1").body, "Back to the program")
}

// The page of a device code: which codes it takes, and that the user is asked which
// app it is for (RFC 8628, 5.4).
func TestDeviceCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	begin := func(user string) {
		w.Keeper.Pending.AddDeviceLogin(&session.DeviceLogin{DeviceCode: "device " + user, UserCode: user, Client: app, Resource: "api://payroll", Expires: w.now.Add(time.Minute).Unix()}, w.now)
	}
	state := func(user string) session.LoginState {
		d, ok := w.Keeper.Pending.DeviceLogin("device " + user)
		require.True(t, ok)
		return d.State
	}
	enter := func(code string) *reply { return w.post("/common/oauth2/deviceauth", "otc", code) }
	require.Equal(t, base+"/common/oauth2/deviceauth?otc=ABC", w.get("https://microsoft.com/devicelogin?otc=ABC").header.Get("Location"))
	require.Contains(t, w.get("/common/oauth2/deviceauth?otc=ABC").body, `value="ABC"`)
	require.Equal(t, "ConvergedRemoteConnect 90119", enter(" ").page())
	require.Equal(t, "ConvergedRemoteConnect 70018", enter("NONE").page())

	begin("GOOD")
	require.NoError(t, browser.Person{Username: "alice@contoso.example", Password: password}.ApproveDeviceCode(t.Context(), &http.Client{Transport: w}, "good"))
	require.Equal(t, session.LoginApproved, state("GOOD"))
	require.Equal(t, "device_code_page", w.last().Grant)
	require.Equal(t, "ConvergedRemoteConnect 90120", enter("GOOD").page(), "used")

	begin("DECLINED")
	first := enter("DECLINED")
	confirm := w.post(first.str("urlPost"), "login", "alice@contoso.example", "passwd", password, "ctx", first.str("sCtx"))
	require.Equal(t, "CmsiInterrupt", confirm.page())
	require.Contains(t, confirm.body, "Payroll")
	w.post("/appverify", "ctx", confirm.str("sCtx"), "ContinueAuth", "false")
	require.Equal(t, session.LoginDeclined, state("DECLINED"))
	require.Equal(t, "ConvergedError 90120", w.post("/appverify", "ctx", confirm.str("sCtx"), "ContinueAuth", "true").page(), "declined is declined")
	require.Equal(t, "ConvergedError 90023", w.post("/appverify", "ctx", w.typed("alice", "amr_values", "mfa").str("sCtx"), "ContinueAuth", "true").page(), "no app waits")

	begin("LATE")
	w.now = w.now.Add(time.Minute)
	require.Equal(t, "ConvergedRemoteConnect 70019", enter("LATE").page())
}

// A tenant may have the user of a native app say that it is the one that was meant.
func TestConfirmApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Traits.ConfirmApp = true
	require.NotEmpty(t, w.typed("alice").location(t).Get("code"), "its redirect URI is https")
	third := []string{"client_id", "44444444-5555-4666-8777-888888888888", "redirect_uri", "msauth.third://auth?x=1", "resource", "https://graph.microsoft.com", "scope", "openid"}
	page := w.typed("alice", third...)
	page = w.post(page.str("urlPost"), "ctx", page.str("sCtx"), "consent", "accept")
	require.Equal(t, "CmsiInterrupt", page.page())
	require.Contains(t, page.body, "Third")
	require.NotContains(t, page.body, "showed you a code")
	signedIn := w.post(page.str("urlPost"), "ctx", page.str("sCtx"), "ContinueAuth", "true")
	require.NotEmpty(t, signedIn.location(t).Get("code"))
	cookie, _, _ := strings.Cut(signedIn.header.Get("Set-Cookie"), ";")
	require.Equal(t, "access_denied", w.post(page.str("urlPost"), "ctx", page.str("sCtx"), "ContinueAuth", "false").location(t).Get("error"))
	require.Equal(t, "interaction_required", w.get(start(append(third, "prompt", "none")...), "Cookie", cookie).location(t).Get("error"))
}

// Who did MFA by telephone is asked to register an app, and may put it off; the
// registration takes a code of the secret on the page alone.
func TestRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Traits = login.Traits{RegistrationDays: 14, RegistrationCampaign: true}
	page := w.typed("bob")
	require.Equal(t, "ConvergedProofUpRedirect", page.page())
	require.EqualValues(t, 14, page.config["iRemainingDaysToSkipMfaRegistration"])
	require.Equal(t, "ConvergedProofUpRedirect 500121", w.post("/common/SAS/ProofUp", "ctx", page.str("sCtx"), "otc", "000000").page())
	require.NotEmpty(t, w.post("/common/SAS/ProofUp", "ctx", page.str("sCtx"), "LoginOptions", "3").location(t).Get("code"))
	require.NotEmpty(t, w.get(page.str("urlSkipMfaRegistration")).location(t).Get("code"))
	require.Nil(t, w.dir.User("bob@contoso.example").TOTP)

	sms := w.typed("erin", "amr_values", "mfa")
	code := w.waiting("erin", session.PromptMessage).Code
	asked := w.post("/common/SAS/ProcessAuth", "ctx", sms.str("sCtx"), "mfaAuthMethod", "OneWaySMS", "otc", code)
	require.Equal(t, "ConvergedProofUpRedirect 50203", asked.page(), asked.body)

	first := w.get(start())
	skipped := w.get("/common/resume?skipmfaregistration=1&ctx=" + first.str("sCtx"))
	require.Equal(t, "ConvergedProofUpRedirect", w.post("/common/login", "login", "bob@contoso.example", "passwd", password, "ctx", skipped.str("sCtx")).page(),
		"what was not offered is not put off")

	w.Traits = login.Traits{}
	demanded, again := w.typed("bob", "amr_values", "mfa"), w.typed("bob", "amr_values", "mfa")
	require.Equal(t, "ConvergedProofUpRedirect", demanded.page())
	require.Empty(t, demanded.str("urlSkipMfaRegistration"))
	require.Equal(t, "ConvergedProofUpRedirect 500121", w.post("/common/SAS/ProofUp", "ctx", demanded.str("sCtx"), "LoginOptions", "3").page(), "nobody puts off what is demanded")
	require.Equal(t, "ConvergedError 90023", w.post("/common/SAS/ProofUp", "ctx", w.typed("alice", "amr_values", "mfa").str("sCtx"), "otc", "1").page(), "who has a factor registers none in its place")
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.Split(strings.SplitN(demanded.body, `data-secret="`, 2)[1], `"`)[0])
	require.NoError(t, err)
	otc := totp.Code(raw, uint64(w.now.Unix())/totp.Step)
	require.NotEmpty(t, w.post("/common/SAS/ProofUp", "ctx", demanded.str("sCtx"), "otc", otc).location(t).Get("code"))
	require.Equal(t, raw, w.dir.User("bob@contoso.example").TOTP)
	require.Equal(t, "ConvergedError 90023", w.post("/common/SAS/ProofUp", "ctx", again.str("sCtx"), "otc", otc).page(), "the page that was left open")
}

// A page ends with its flow: what is forged, of another server or too old is refused
// by every endpoint.
func TestFlowIsSealed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.get(start()).str("sCtx")
	paths := []string{"/common/login", "/common/resume", "/kmsi", "/common/kmsi", "/common/SAS/ProcessAuth", "/common/SAS/ProofUp", "/common/Consent/Set", "/common/Terms/Set",
		"/appverify", "/common/ChangePassword", "/common/fido/get", "https://certauth.login.microsoftonline.com/common/certauth"}
	for _, p := range paths {
		require.Equal(t, "ConvergedError 90014", w.post(p, "ctx", old+"x").page(), p)
		require.Equal(t, "ConvergedError 90014", w.post(p).page(), p)
	}
	require.Equal(t, "ConvergedError 90014", w.get("/common/fido/get?ctx=x").page())
	require.Equal(t, "ConvergedError 90014", w.post("/login.srf", "wctx", "x").page())
	require.Equal(t, "ConvergedError 50008", w.post("/login.srf", "wctx", old, "wresult", "no assertion").page())
	require.Equal(t, "ConvergedError 50008", w.post("/login.srf", "wctx", old, "wresult", "<saml:Assertion></saml:Assertion>").page())
	for _, p := range []string{"/common/SAS/ProcessAuth", "/common/SAS/ProofUp", "/common/Consent/Set", "/common/Terms/Set", "/appverify", "/common/ChangePassword"} {
		require.Equal(t, "ConvergedError 90014", w.post(p, "ctx", old).page(), p+" before anybody signed in")
	}
	w.policy(builtIn("mfa"))
	require.Equal(t, "ConvergedError 65004", w.post("/common/Terms/Set", "ctx", w.typed("alice").str("sCtx"), "terms", "accept").page(), "no terms were shown")
	w.now = w.now.Add(session.FlowLife)
	for _, p := range paths {
		require.Equal(t, "ConvergedError 50089", w.post(p, "ctx", old).page(), p)
	}
}

// A certificate is shown at another host, which sends a proof that is good once, for
// one sign-in.
func TestCertificateProof(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	show := func(ctx string, c *tls.Certificate) *reply {
		v := url.Values{"ctx": {ctx}}
		r, err := http.NewRequestWithContext(t.Context(), "POST", "https://certauth.login.microsoftonline.com/common/certauth", strings.NewReader(v.Encode()))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		rt := w.showing(nil)
		if c != nil {
			rt = w.showing(c.Leaf)
		}
		resp, err := rt.RoundTrip(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		var b bytes.Buffer
		_, err = b.ReadFrom(resp.Body)
		require.NoError(t, err)
		return &reply{status: resp.StatusCode, header: resp.Header, body: b.String()}
	}
	ctx := w.get(start("login_hint", "bob@contoso.example")).str("sCtx")
	require.Contains(t, show(ctx, nil).body, `data-aadsts="50192"`)
	require.Contains(t, show(ctx, w.certificate("alice", false)).body, `data-aadsts="1001003"`)
	require.Contains(t, show(w.get(start(fabrikam...)).str("sCtx"), w.certificate("bob", false)).body, `data-aadsts="50034"`)
	good := w.certificate("bob", false)
	body := show(ctx, good).body
	_, rest, ok := strings.Cut(body, `name="certificatetoken" value="`)
	require.True(t, ok, body)
	token, _, _ := strings.Cut(rest, `"`)
	require.Equal(t, "ConvergedError 90014", w.post("/common/login", "ctx", w.get(start()).str("sCtx"), "certificatetoken", token).page(), "of another sign-in")
	require.NotEmpty(t, w.post("/common/login", "ctx", ctx, "certificatetoken", token).location(t).Get("code"))
	require.Equal(t, "ConvergedError 90014", w.post("/common/login", "ctx", ctx, "certificatetoken", token).page(), "used")
}

// A change that the risk of an account calls for ends the risk.
func TestRisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.dir.SetRisk("alice@contoso.example", "high", "none", w.now))
	require.NoError(t, w.dir.SetPolicies(w.dir.Home(), []byte(`{"id":"aaaaaaaa-0000-4000-8000-000000000001","displayName":"P","state":"enabled",
"conditions":{"clientAppTypes":["all"],"users":{"includeUsers":["All"]},"applications":{"includeApplications":["All"]},"userRiskLevels":["high"]},
"grantControls":{"operator":"AND","builtInControls":["mfa","passwordChange"]}}`)))
	q, err := w.walk(browser.Person{Username: "alice", Password: password, TOTPSecret: secret, NewPassword: "another horse"})
	require.NoError(t, err)
	require.True(t, w.code(q).Session.Remediated)
	require.Equal(t, "none", w.dir.User("alice@contoso.example").UserRisk)
	require.Zero(t, w.last().ErrorCode)
}
