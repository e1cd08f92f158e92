package login_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/browser"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
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
