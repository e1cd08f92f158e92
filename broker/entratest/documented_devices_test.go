package entratest_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// What Microsoft's pages say of devices and what comes of their PRTs. Some of it is a
// switch: tenants and days differ.

func startOptions(t testing.TB, change func(*entratest.Options)) (*tc, *entratest.Clock) {
	clock := entratest.NewClock(time.Time{})
	o := options(clock)
	change(&o)
	return newClient(t, entratest.NewTB(t, o)), clock
}

// "Soft delete devices" (2026-04): a deleted device can be restored, authenticates
// again, and is not compliant.
func TestRestoredDevice(t *testing.T) {
	c, _ := start(t)
	c.joined()
	require.NoError(t, c.s.SetCompliant(c.deviceID, true))
	require.NoError(t, c.s.DeleteDevice(c.deviceID))
	require.Equal(t, 50155, c.renew().code())
	require.Equal(t, 50155, c.passwordPRT("alice").code())
	require.NoError(t, c.s.RestoreDevice(c.deviceID))
	require.Equal(t, 200, c.renew().status, "the previous PRT")
	require.Equal(t, 200, c.passwordPRT("alice").status)
	require.False(t, c.s.Devices()[0].Compliant)
	require.ErrorContains(t, c.s.RestoreDevice(c.deviceID), "deleted", "it is not deleted any more")
}

// "Update on KDFv1 removal": requests signed by the first derivation are refused with
// AADSTS5000611.
func TestFirstDerivationRefused(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		c, _ := startOptions(t, func(o *entratest.Options) { o.RefuseKDFv1 = refuse })
		c.join("alice", 0)
		c.kdf = 1
		require.Equal(t, 200, c.passwordPRT("alice").status, "the device key signs that")
		want := map[bool]int{false: 0, true: 5000611}[refuse]
		require.Equal(t, want, c.renew().code())
		require.Equal(t, want, c.exchange(payrollID, "api://payroll").code())
		c.kdf = 2
		require.Equal(t, 200, c.exchange(payrollID, "api://payroll").status)
	}
}

// "Microsoft Entra device management FAQ": it takes up to an hour until that a device
// was disabled is applied.
func TestDisabledDeviceWorksOn(t *testing.T) {
	c, clock := startOptions(t, func(o *entratest.Options) { o.TTL.Disable = time.Hour })
	c.joined()
	require.NoError(t, c.s.DisableDevice(c.deviceID))
	require.False(t, c.s.Devices()[0].Enabled, "the directory says so at once")
	clock.Advance(59 * time.Minute)
	require.NoError(t, c.s.DisableDevice(c.deviceID), "again")
	require.Equal(t, 200, c.renew().status)
	require.Equal(t, 200, c.passwordPRT("alice").status)
	state, err := c.s.State()
	require.NoError(t, err)
	clock.Advance(time.Minute)
	require.Equal(t, 135011, c.renew().code())
	require.Equal(t, 135011, c.passwordPRT("alice").code())
	require.NoError(t, c.s.EnableDevice(c.deviceID))
	require.Equal(t, 200, c.renew().status)

	again, clock := startOptions(t, func(o *entratest.Options) { o.State = state })
	again.cert, again.deviceID, again.device = c.cert, c.deviceID, c.device
	clock.Advance(59*time.Minute + 30*time.Second)
	require.Equal(t, 200, again.passwordPRT("alice").status, "the state keeps until when")
}

// The same FAQ: guests cannot sign in to a joined device.
func TestGuestsOnDevices(t *testing.T) {
	for joinType, want := range map[int]int{0: 50020, 4: 0} {
		c, _ := start(t)
		require.NoError(t, c.s.AddUser(entratest.User{Username: "gail", Password: password, Guest: true}))
		c.join("alice", joinType)
		require.Equal(t, want, c.passwordPRT("gail").code())
	}
}

// "Understanding Primary Refresh Token (PRT)": a PRT of a password may lose its MFA
// when the session key rolls.
func TestRollDropsMFA(t *testing.T) {
	for _, drops := range []bool{false, true} {
		c, _ := startOptions(t, func(o *entratest.Options) { o.RollSessionKey, o.RollDropsMFA = true, drops })
		c.join("alice", 0)
		r := c.interactive(c.alice(), brokerClient, brokerURI, updatePRT, "amr_values", "mfa")
		require.Equal(t, 200, c.refreshPRT(r.str("refresh_token")).status)
		c.policy(`"mfa"`)
		require.Equal(t, 200, c.exchange(payrollID, "api://payroll").status)
		require.Equal(t, 200, c.renew().status)
		require.Equal(t, map[bool]int{false: 0, true: 50076}[drops], c.exchange(payrollID, "api://payroll").code())
	}
}

// The same page: the session cookie of a browser that a PRT signed in is bound to the
// session key of the PRT, so that it is worth nothing alone.
func TestBrowserSessionsAreBound(t *testing.T) {
	for _, bound := range []bool{false, true} {
		c, _ := startOptions(t, func(o *entratest.Options) { o.BindBrowserSessions = bound })
		c.joined()
		start := authorizeURL(c.s.TenantID(), "client_id", payrollID, "resource", "api://payroll", "redirect_uri", nativeURI, "prompt", "none")
		r := c.do("GET", start, http.Header{"X-Ms-Refreshtokencredential": {c.cookie(c.nonce())}}, "")
		require.Contains(t, r.header.Get("Location"), "code=")
		session := http.Header{"Cookie": {(&http.Response{Header: r.header}).Cookies()[0].String()}}
		require.Equal(t, !bound, query(t, c.do("GET", start, session, "").header.Get("Location")).Get("code") != "")
		session.Set("X-Ms-Refreshtokencredential", c.cookie(c.nonce()))
		require.Contains(t, c.do("GET", start, session, "").header.Get("Location"), "code=", "with the PRT")

		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		_, err = c.alice().Authorize(t.Context(), &http.Client{Transport: keepCookies{c.s.Client().Transport, jar}}, authorizeURL(c.s.TenantID(), "client_id", payrollID, "resource", "api://payroll", "redirect_uri", nativeURI), nativeURI)
		require.NoError(t, err)
		u, err := url.Parse(login)
		require.NoError(t, err)
		own := http.Header{"Cookie": {jar.Cookies(u)[0].String()}}
		require.Contains(t, c.do("GET", start, own, "").header.Get("Location"), "code=", "a browser without a PRT has nothing to bind to")
	}
}

// "Configure Temporary Access Pass to register passwordless authentication methods":
// a pass can be deleted, and with enforceMfaByFederatedIdp a federated user is sent to
// the federation server and not asked for one.
func TestDeletedAndFederatedPasses(t *testing.T) {
	c, _ := start(t)
	pass, err := c.s.CreateAccessPass("alice", false)
	require.NoError(t, err)
	p := entratest.Person{Username: "alice@contoso.example", AccessPass: pass}
	_, err = c.tryAuthorize(p)
	require.NoError(t, err)
	require.NoError(t, c.s.DeleteAccessPass("alice"))
	_, err = c.tryAuthorize(p)
	require.Equal(t, 130503, pageCode(t, err))

	for behavior, federated := range map[string]bool{"enforceMfaByFederatedIdp": true, "acceptIfMfaDoneByFederatedIdp": false} {
		c, _ := startOptions(t, func(o *entratest.Options) {
			o.Federated, o.FederatedMFA = []string{"fed.example"}, behavior
			o.Users = append(o.Users, entratest.User{Username: "frida@fed.example", Password: password})
		})
		pass, err := c.s.CreateAccessPass("frida@fed.example", false)
		require.NoError(t, err)
		for _, form := range [][]string{{"credential", "accesspass"}, {"accesspass", pass}} {
			cfg := config(t, c.authorizeQuery())
			r := c.form(cfg["urlPost"].(string), append([]string{"login", "frida@fed.example", "ctx", cfg["sCtx"].(string)}, form...)...)
			to, _ := url.Parse(r.header.Get("Location"))
			require.Equal(t, federated, to.Host == "sts.fed.example", "%s %v", behavior, form)
		}
	}
}
