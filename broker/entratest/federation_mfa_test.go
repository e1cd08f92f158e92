package entratest_test

import (
	"encoding/base64"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// federated starts a tenant with federated users: frida, who has a code at her
// federation server, and fritz, who has none.
func federated(t *testing.T, behaviour string) (*tc, *entratest.Clock) {
	t.Helper()
	clock := entratest.NewClock(time.Time{})
	o := options(clock)
	o.Federated, o.FederatedMFA = []string{"fed.example"}, behaviour
	o.Users = append(o.Users, entratest.User{Username: "frida@fed.example", Password: password, FederationTOTP: hardwareSecret, TOTPSecret: totpSecret},
		entratest.User{Username: "fritz@fed.example", Password: password, TOTPSecret: totpSecret})
	return newClient(t, entratest.NewTB(t, o)), clock
}

func TestFederatedMFA(t *testing.T) {
	const accept, enforce, reject = "acceptIfMfaDoneByFederatedIdp", "enforceMfaByFederatedIdp", "rejectMfaByFederatedIdp"
	person := func(user, secret string) entratest.Person {
		return entratest.Person{Username: user + "@fed.example", Password: password, TOTPSecret: secret}
	}
	tests := []struct {
		name, behaviour string
		person          entratest.Person
		policies        []byte
		amr             []any
		prompts         int // by the sign-in service
		code            int
	}{
		{name: "accepted by default", person: person("frida", hardwareSecret), amr: []any{"fed", "mfa"}},
		{name: "accepted", behaviour: accept, person: person("frida", hardwareSecret), amr: []any{"fed", "mfa"}},
		{name: "accepted by a strength", behaviour: accept, person: person("frida", hardwareSecret), policies: customStrength("federatedMultiFactor"), amr: []any{"fed", "mfa"}},
		{name: "not done, asked for here", behaviour: accept, person: person("fritz", totpSecret), amr: []any{"fed", "mfa"}, prompts: 1},
		{name: "not done, not asked for here", behaviour: enforce, person: person("fritz", totpSecret), code: 50074},
		{name: "enforced", behaviour: enforce, person: person("frida", hardwareSecret), amr: []any{"fed", "mfa"}},
		{name: "enforced, a strength of other methods", behaviour: enforce, person: person("fritz", totpSecret), policies: customStrength("federatedSingleFactor,softwareOath"), code: 53003},
		{name: "rejected, no method here", behaviour: reject, person: person("frida", hardwareSecret), policies: customStrength("federatedMultiFactor"), code: 53003},
		{name: "wrong code there", behaviour: accept, person: person("frida", totpSecret), code: 500121},
		{name: "no app for the code there", behaviour: accept, person: person("frida", ""), code: 50076},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := federated(t, tt.behaviour)
			kv := []string{"amr_values", "mfa"}
			if tt.policies != nil {
				kv = nil
				c.must(c.s.SetPolicies(tt.policies))
			}
			to, err := c.tryAuthorize(tt.person, kv...)
			if tt.code != 0 {
				require.Equal(t, tt.code, pageCode(t, err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.prompts, lastSignIn(c).MFAPrompts)
			require.Equal(t, tt.amr, jwtClaims(t, c.redeemCode(query(t, to).Get("code")).str("access_token"))["amr"])
		})
	}
	t.Run("rejected, asked for again here", func(t *testing.T) {
		c, _ := federated(t, reject)
		c.must(c.s.SetTOTP("frida@fed.example", hardwareSecret)) // one app, two accounts
		to, err := c.tryAuthorize(person("frida", hardwareSecret), "amr_values", "mfa")
		require.NoError(t, err)
		require.Equal(t, 1, lastSignIn(c).MFAPrompts)
		require.Equal(t, []any{"fed", "mfa"}, jwtClaims(t, c.redeemCode(query(t, to).Get("code")).str("access_token"))["amr"])
	})
	// Somebody whom a PRT of WS-Trust signed in is sent back for the code alone.
	for _, behaviour := range []string{accept, enforce} {
		t.Run("step-up of a PRT, "+behaviour, func(t *testing.T) {
			c, _ := federated(t, behaviour)
			c.join("alice", 0)
			a := assertionOf(t, c.soap("2005", "frida@fed.example", password, "urn:federation:MicrosoftOnline", ""))
			r := c.prtRequest(map[string]any{"grant_type": "urn:ietf:params:oauth:grant-type:saml1_1-bearer", "assertion": base64.StdEncoding.EncodeToString([]byte(a))})
			require.Equal(t, 200, r.status, "%s", r.body)
			c.usePRT(r)
			u := authorizeURL(c.s.TenantID(), "client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll", "amr_values", "mfa")
			sent := c.do("GET", u, http.Header{"X-Ms-Refreshtokencredential": {c.cookie(c.nonce())}}, "")
			if behaviour == accept {
				require.Equal(t, "ConvergedTFA", config(t, sent)["pgid"])
				return
			}
			to, err := url.Parse(sent.header.Get("Location"))
			require.NoError(t, err)
			require.Equal(t, "sts.fed.example", to.Host)
			require.Equal(t, "http://schemas.microsoft.com/claims/multipleauthn", to.Query().Get("wauth"))
			got, err := person("frida", hardwareSecret).Authorize(t.Context(), c.s.Client(), to.String(), nativeURI)
			require.NoError(t, err)
			require.Equal(t, []any{"fed", "mfa"}, jwtClaims(t, c.redeemCode(query(t, got).Get("code")).str("access_token"))["amr"])
		})
	}
	t.Run("is as old as the assertion says", func(t *testing.T) {
		c, clock := federated(t, accept)
		code, err := entratest.TOTP(hardwareSecret, clock.Now())
		require.NoError(t, err)
		done := c.form("https://sts.fed.example/adfs/ls/?wa=wsignin1.0&wtrealm=urn%3Afederation%3AMicrosoftOnline&wctx=x",
			"UserName", "frida@fed.example", "Password", password, "otc", code)
		_, text, ok := strings.Cut(string(done.body), `name="wresult" value="`)
		require.True(t, ok, "%s", done.body)
		text, _, _ = strings.Cut(text, `"`)
		a := assertionOf(t, &reply{body: []byte(html.UnescapeString(text))})
		redeem := func() map[string]any {
			r := c.token("grant_type", "urn:ietf:params:oauth:grant-type:saml1_1-bearer", "client_id", payrollID, "resource", "api://payroll", "scope", "openid",
				"assertion", base64.StdEncoding.EncodeToString([]byte(a)), "claims", `{"access_token":{"amr":{"values":["ngcmfa"]}}}`)
			if r.status != 200 {
				require.Equal(t, 50076, r.code(), "%s", r.body)
				return nil
			}
			return jwtClaims(t, r.str("access_token"))
		}
		require.Equal(t, []any{"fed", "mfa", "ngcmfa"}, redeem()["amr"])
		clock.Advance(59 * time.Minute)
		require.Nil(t, redeem(), "it is good, its MFA is not fresh")
		c.join("alice", 0)
		prt := c.prtRequest(map[string]any{"grant_type": "urn:ietf:params:oauth:grant-type:saml1_1-bearer", "assertion": base64.StdEncoding.EncodeToString([]byte(a))})
		require.Equal(t, 200, prt.status, "%s", prt.body)
		c.usePRT(prt)
		require.Equal(t, 200, c.exchange(payrollID, "api://payroll").status)
		require.NoError(t, c.s.SetPolicies(frequency("hours", 1)))
		require.Equal(t, 200, c.exchange(payrollID, "api://payroll").status)
		clock.Advance(2 * time.Minute)
		require.Equal(t, 70043, c.exchange(payrollID, "api://payroll").code(), "an hour after it was issued, two minutes after it was redeemed")
	})
	t.Run("outlives the server", func(t *testing.T) {
		c, _ := federated(t, enforce)
		state, err := c.s.State()
		require.NoError(t, err)
		c = newClient(t, entratest.NewTB(t, entratest.Options{State: state, Clock: entratest.NewClock(time.Time{})}))
		_, err = c.tryAuthorize(person("fritz", totpSecret), "amr_values", "mfa")
		require.Equal(t, 50074, pageCode(t, err))
	})
	t.Run("unknown behaviour", func(t *testing.T) {
		_, err := entratest.Start(entratest.Options{FederatedMFA: "always"})
		require.ErrorContains(t, err, "federatedIdpMfaBehavior")
	})
}
