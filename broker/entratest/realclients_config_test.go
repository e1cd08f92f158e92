package entratest_test

import (
	"html"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// What programs read from $Config, from redirects and from refusals. Each case was
// found by a client that is not ours.

// Pages captured by the authors of saml2aws (testdata of its Azure AD provider)
// name the endpoints of scripts in full, and the form of the second factor too.
func TestConfigURLsAreAbsolute(t *testing.T) {
	c, _ := start(t)
	c.policy(`"mfa"`)
	cfg := c.signInPage("alice")
	require.Equal(t, "ConvergedTFA", cfg["pgid"])
	for _, name := range []string{"urlGetCredentialType", "urlBeginAuth", "urlEndAuth", "urlGetOneTimeCode", "urlSessionState", "urlPost"} {
		require.True(t, strings.HasPrefix(cfg[name].(string), login+"/"), "%s: %s", name, cfg[name])
	}
}

// A redirect has a hypertext note with the link (RFC 9110, 15.4.3): libhimmelblau
// follows none and reads the code there.
func TestRedirectHasNote(t *testing.T) {
	c, _ := start(t)
	require.NoError(t, c.s.SetPolicies(nil))
	cfg := config(t, c.authorizeQuery("login_hint", "alice@contoso.example"))
	r := c.form(onLogin(cfg["urlPost"]), "login", "alice@contoso.example", "passwd", password, "ctx", cfg["sCtx"].(string))
	to := r.header.Get("Location")
	require.Contains(t, to, "code=")
	require.Contains(t, r.header.Get("Content-Type"), "text/html")
	require.Contains(t, string(r.body), `<a href="`+html.EscapeString(to)+`">`)
}

// The code of an error is text in $Config (libhimmelblau), and a page for a person
// has the status of one, with what a program needs to go on.
func TestErrorPages(t *testing.T) {
	c, _ := start(t)
	cfg := config(t, c.authorizeQuery("login_hint", "alice@contoso.example"))
	r := c.form(onLogin(cfg["urlPost"]), "login", "alice@contoso.example", "passwd", "wrong", "ctx", cfg["sCtx"].(string))
	require.Equal(t, "50126", config(t, r)["sErrorCode"])

	r = c.authorizeQuery("redirect_uri", "https://elsewhere.example/")
	require.Equal(t, 200, r.status)
	cfg = config(t, r)
	require.Equal(t, "ConvergedError", cfg["pgid"])
	require.Equal(t, "50011", cfg["sErrorCode"])
	require.NotEmpty(t, cfg["canary"])
	require.NotEmpty(t, cfg["sessionId"])
}

// A registration of security information that cannot be skipped has no days left
// to skip it in: libhimmelblau takes a number, even zero, for a page to click away.
func TestProofUpThatCannotBeSkipped(t *testing.T) {
	c, _ := start(t)
	c.policy(`"mfa"`)
	cfg := c.signInPage("bob")
	require.Equal(t, "ConvergedProofUpRedirect", cfg["pgid"])
	require.NotContains(t, cfg, "iRemainingDaysToSkipMfaRegistration")
}

// The types of a ticket that is none are numbers all the same (libhimmelblau).
func TestTicketOfNoRealm(t *testing.T) {
	c, _ := start(t)
	c.join("alice", 0)
	r := c.passwordPRT("alice")
	for _, name := range []string{"tgt_ad", "tgt_cloud"} {
		for _, member := range []string{"keyType", "sessionKeyType", "accountType"} {
			require.Contains(t, r.str(name), `"`+member+`":0`)
		}
	}
}

// The v2.0 endpoint refuses a password with invalid_grant where Conditional Access
// wants more: captured replies in public issues of MSAL and of its users.
func TestPasswordRefusedByPolicy(t *testing.T) {
	for _, tc := range []struct {
		name, user, control string
		code                int
		suberror            string
		claims              bool
	}{
		{"a user with a method", "alice", `"mfa"`, 50076, "basic_action", false},
		{"a user without", "bob", `"mfa"`, 50079, "basic_action", false},
		{"blocked", "alice", `"block"`, 53003, "message_only", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClient(t, entratest.NewTB(t, options(entratest.NewClock(time.Time{}))))
			c.policy(tc.control)
			r := c.form("/organizations/oauth2/v2.0/token", "grant_type", "password", "client_id", payrollID,
				"username", tc.user+"@contoso.example", "password", password, "scope", "api://payroll/.default")
			require.Equal(t, tc.code, r.code(), "%s", r.body)
			require.Equal(t, "invalid_grant", r.str("error"))
			require.Equal(t, tc.suberror, r.str("suberror"))
			require.Equal(t, tc.claims, r.str("claims") != "", "%s", r.body)
			if tc.code != 53003 {
				require.Contains(t, r.str("error_description"), "to access '"+payrollID+"'.")
			}
		})
	}
}
