package entratest_test

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// What programs that drive the pages without a browser meet beside passwords and
// codes. The forms are those that libhimmelblau 0.8.45 posts (auth.rs); the tests
// of internal/interop run it.

func startWith(t testing.TB, pages entratest.Pages, change func(*entratest.Options)) *tc {
	o := options(entratest.NewClock(time.Time{}))
	o.Pages = pages
	if change != nil {
		change(&o)
	}
	return newClient(t, entratest.NewTB(t, o))
}

// hop posts the form that leads from a page to the passkeys.
func (c *tc) hop(cfg map[string]any, username string, more ...string) *reply {
	s := func(name string) string { v, _ := cfg[name].(string); return v }
	credential := ""
	if list, _ := cfg["arrFidoAllowList"].([]any); len(list) > 0 {
		credential = list[0].(string)
	}
	return c.form(s("urlFidoLogin"), append([]string{"flow", "mfa", "allowedIdentities", "2", "canary", s("sFT"), "serverChallenge", s("sFT"),
		"postBackUrl", s("urlPost"), "postBackUrlAad", s("urlPost"), "cancelUrl", s("urlResume"), "resumeUrl", s("urlResume"),
		"correlationId", s("correlationId"), "credentialsJson", credential, "ctx", s("sCtx"), "username", username, "loginCanary", s("canary")}, more...)...)
}

func TestPasskeyPagesDriven(t *testing.T) {
	key, err := entratest.NewPasskey()
	require.NoError(t, err)
	setup := func(t *testing.T) *tc {
		c := startWith(t, entratest.Pages{SecurityKeysOnly: true}, nil)
		require.NoError(t, c.s.AddUser(entratest.User{Username: "dave", Password: password, Passkeys: []entratest.Passkey{*key}}))
		return c
	}
	const dave = "dave@contoso.example"
	post := func(c *tc, to any, page map[string]any, ctx, challenge any) *reply {
		return c.form(to.(string), "type", "23", "ps", "23", "assertion", passkeyAssertion(t, key.ID, key.Key, nil, challenge.(string)),
			"lmcCanary", page["sCrossDomainCanary"].(string), "hpgrequestid", page["sessionId"].(string), "ctx", ctx.(string), "canary", page["canary"].(string), "flowToken", ctx.(string))
	}
	for _, tc := range []struct {
		name         string
		first, fresh bool // as first factor; with the context of the page of the passkey
	}{
		{"second factor, context of the page before", false, false},
		{"second factor, context of the passkey's page", false, true},
		{"first factor, context of the page before", true, false},
		{"first factor, context of the passkey's page", true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := setup(t)
			cfg := config(t, c.authorizeQuery("login_hint", dave))
			if !tc.first {
				c.policy(`"mfa"`)
				cfg = c.signInPage("dave")
				require.Equal(t, "ConvergedTFA", cfg["pgid"])
				require.Equal(t, "FidoKey", cfg["arrUserProofs"].([]any)[0].(map[string]any)["authMethodId"])
				require.Len(t, cfg["arrFidoAllowList"], 1)
			}
			require.Equal(t, false, cfg["fIsPasskeySupportEnabled"])
			require.EqualValues(t, 2, cfg["iAllowedIdentities"])
			require.True(t, strings.HasPrefix(cfg["urlFidoLogin"].(string), "https://login.microsoft.com/"), cfg["urlFidoLogin"])
			page := config(t, c.hop(cfg, dave))
			require.Equal(t, "ConvergedFido", page["pgid"])
			require.Equal(t, cfg["urlPost"], page["urlPost"])
			require.Len(t, page["arrFidoAllowList"], 1)
			ctx := cfg["sCtx"]
			if tc.fresh {
				ctx = page["sCtx"]
			}
			r := post(c, page["urlPost"], page, ctx, page["sFidoChallenge"])
			require.Contains(t, r.header.Get("Location"), "code=", "%s", r.body)
			require.Equal(t, "135003", config(t, post(c, page["urlPost"], page, ctx, page["sFidoChallenge"]))["sErrorCode"], "answered twice")
		})
	}
	t.Run("an assertion that is wrong, then another", func(t *testing.T) {
		c := setup(t)
		c.policy(`"mfa"`)
		cfg := c.signInPage("dave")
		again := config(t, post(c, cfg["urlPost"], cfg, cfg["sCtx"], "O.another"))
		require.Equal(t, "ConvergedTFA", again["pgid"])
		require.Equal(t, "135003", again["sErrorCode"])
		r := post(c, again["urlPost"], again, again["sCtx"], again["sFidoChallenge"])
		require.Contains(t, r.header.Get("Location"), "code=", "%s", r.body)
	})
	t.Run("cancelled", func(t *testing.T) {
		c := setup(t)
		c.policy(`"mfa"`)
		page := config(t, c.hop(c.signInPage("dave"), dave))
		require.Equal(t, "ConvergedTFA", config(t, c.get(page["urlResume"].(string)))["pgid"])
		first := config(t, c.authorizeQuery())
		require.Equal(t, "ConvergedSignIn", config(t, c.get(first["urlResume"].(string)))["pgid"])
	})
	t.Run("no way to another host", func(t *testing.T) {
		c := setup(t)
		cfg := config(t, c.authorizeQuery())
		for _, back := range []string{"https://elsewhere.example/", "//elsewhere.example/", "http://login.microsoftonline.com/common/login", "javascript:alert(1)", ""} {
			require.Equal(t, "90023", config(t, c.hop(cfg, dave, "postBackUrl", back))["sErrorCode"], back)
		}
		path := config(t, c.hop(cfg, dave, "postBackUrl", "/common/login"))
		require.Equal(t, login+"/common/login", path["urlPost"])
	})
	t.Run("people", func(t *testing.T) {
		c := setup(t)
		c.policy(`"mfa"`)
		_, err := c.tryAuthorize(entratest.Person{Username: dave, Password: password, Passkey: key})
		require.NoError(t, err, "by the key alone")
		_, err = c.tryAuthorize(entratest.Person{Username: dave, Password: password})
		require.Equal(t, 50076, pageCode(t, err))
		require.NoError(t, c.s.AddUser(entratest.User{Username: "erin", Password: password, Phone: "+41791234567", Passkeys: []entratest.Passkey{{ID: []byte("erin's"), Key: key.Key}}}))
		_, err = c.tryAuthorize(entratest.Person{Username: "erin@contoso.example", Password: password, ReadSMS: c.readSMS("erin")})
		require.NoError(t, err, "another factor in place of the key")
	})
}

// A page that posts itself, and an end by script, stand in nobody's way.
func TestPagesOfScripts(t *testing.T) {
	c := startWith(t, entratest.Pages{Intermediate: true, ScriptRedirect: true}, nil)
	c.policy(`"mfa"`)
	r := c.interactive(c.alice(), payrollID, nativeURI, "api://payroll")
	require.Equal(t, 200, r.status, "%s", r.body)

	cfg := config(t, c.authorizeQuery())
	r = c.form(cfg["urlPost"].(string), "login", "alice@contoso.example", "passwd", password, "ctx", cfg["sCtx"].(string))
	require.Contains(t, string(r.body), "Working...")
	require.Contains(t, string(r.body), "Click Submit to continue")
	to := regexp.MustCompile(`<form method="post" action="([^"]+)"`).FindStringSubmatch(string(r.body))
	ctx := regexp.MustCompile(`name="ctx" value="([^"]+)"`).FindStringSubmatch(string(r.body))
	require.True(t, strings.HasPrefix(to[1], login+"/"), "programs have no base to resolve it against: %s", to[1])
	cfg = config(t, c.form(html.UnescapeString(to[1]), "ctx", ctx[1]))
	require.Equal(t, "ConvergedTFA", cfg["pgid"])
	code, _, err := c.s.OneTimeCode("alice")
	require.NoError(t, err)
	r = c.form(cfg["urlPost"].(string), "ctx", cfg["sCtx"].(string), "otc", code, "mfaAuthMethod", "PhoneAppOTP")
	require.Equal(t, 200, r.status)
	end := regexp.MustCompile(`document\.location\.replace\("([^"]+)"\)`).FindStringSubmatch(string(r.body))
	require.NotNil(t, end, "%s", r.body)
	require.Contains(t, end[1], nativeURI+"?")
	require.Contains(t, end[1], `\u0026`)
	require.NotContains(t, string(r.body), "Working...", "there is no form to post")

	c.must(c.s.SetPolicies(nil))
	local, redirected, err := c.s.BrowserURL(authorizeURL(c.s.TenantID(), "client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll", "state", "x"))
	require.NoError(t, err)
	_, err = c.alice().Authorize(t.Context(), c.s.Client(), local, "nowhere:")
	require.ErrorContains(t, err, "You have signed in")
	require.Contains(t, <-redirected, "code=")
}

// A registration that nothing demands yet can be put off, by the link of the page
// (saml2aws follows it, libhimmelblau posts to it) or by its form as if it asked to
// stay signed in (libhimmelblau).
func TestRegistrationPutOff(t *testing.T) {
	start := func(t *testing.T) *tc {
		c := startWith(t, entratest.Pages{RegistrationDays: 14, RegistrationCampaign: true}, nil)
		require.NoError(t, c.s.AddUser(entratest.User{Username: "pia", Password: password, Phone: "+41791234567"}))
		return c
	}
	t.Run("before a method is demanded", func(t *testing.T) {
		c := start(t)
		cfg := c.signInPage("bob")
		require.Equal(t, "ConvergedProofUpRedirect", cfg["pgid"])
		require.EqualValues(t, 14, cfg["iRemainingDaysToSkipMfaRegistration"])
		require.NotContains(t, cfg, "sErrorCode")
		skip, err := url.Parse(cfg["urlSkipMfaRegistration"].(string))
		require.NoError(t, err)
		require.Equal(t, "1", skip.Query().Get("skipmfaregistration"))
		require.NotEmpty(t, skip.Query().Get("flowtoken"))
		require.Contains(t, c.get(skip.String()).header.Get("Location"), "code=")
		r := c.form(onLogin(cfg["urlPost"]), "LoginOptions", "1", "ctx", cfg["sCtx"].(string), "flowToken", cfg["sFT"].(string), "canary", cfg["canary"].(string))
		require.Contains(t, r.header.Get("Location"), "code=")
	})
	t.Run("after a text message", func(t *testing.T) {
		c := start(t)
		c.policy(`"mfa"`)
		cfg := c.signInPage("pia")
		begun := c.beginAuth(cfg["sCtx"], "OneWaySMS")
		code, err := c.readSMS("pia")(t.Context())
		require.NoError(t, err)
		ended := c.endAuth(begun.v["Ctx"], "OneWaySMS", code)
		r := c.form(cfg["urlPost"].(string), "request", ended.str("Ctx"), "mfaAuthMethod", "OneWaySMS", "login", "pia@contoso.example")
		page := config(t, r)
		require.Equal(t, "ConvergedProofUpRedirect", page["pgid"])
		require.Equal(t, "50203", page["sErrorCode"])
		r = c.form(page["urlSkipMfaRegistration"].(string), "flowtoken", page["sFT"].(string), "ctx", ended.str("Ctx"), "canary", page["canary"].(string))
		require.Contains(t, r.header.Get("Location"), "code=", "%s", r.body)
	})
	t.Run("people", func(t *testing.T) {
		c := start(t)
		bob := entratest.Person{Username: "bob@contoso.example", Password: password}
		pia := entratest.Person{Username: "pia@contoso.example", Password: password, ReadSMS: c.readSMS("pia")}
		_, err := c.tryAuthorize(bob)
		require.NoError(t, err)
		_, err = c.tryAuthorize(c.alice())
		require.NoError(t, err, "she has a method")
		c.policy(`"mfa"`)
		_, err = c.tryAuthorize(bob)
		require.Equal(t, 50079, pageCode(t, err), "a policy demands it now")
		cfg := c.signInPage("bob")
		require.NotContains(t, cfg, "urlSkipMfaRegistration")
		skip := login + "/common/resume?" + url.Values{"ctx": {cfg["sCtx"].(string)}, "skipmfaregistration": {"1"}}.Encode()
		require.Equal(t, "ConvergedProofUpRedirect", config(t, c.get(skip))["pgid"], "nobody offered it")
		_, err = c.tryAuthorize(pia)
		require.NoError(t, err)
		pia.OnEnroll = func(secret string) { pia.TOTPSecret = secret }
		_, err = c.tryAuthorize(pia)
		require.NoError(t, err)
		require.NotEmpty(t, pia.TOTPSecret)
		code, _, err := c.s.OneTimeCode("pia")
		require.NoError(t, err)
		require.NotEmpty(t, code, "the app is registered")
	})
}
