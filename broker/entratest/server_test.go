package entratest_test

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/policy"
)

func TestSignInLog(t *testing.T) {
	o := options(entratest.NewClock(time.Time{}))
	o.SignInLog = 5
	o.ClientAddress = func(*http.Request) (netip.Addr, string) { return netip.MustParseAddr("198.51.100.7"), "DE" }
	c := newClient(t, entratest.NewTB(t, o))
	c.joined()
	require.NoError(t, c.s.SetPolicies(policies(policyJSON("Payroll needs MFA", payrollID, `"mfa"`, ""),
		json.RawMessage(strings.Replace(string(policyJSON("Report only", payrollID, `"block"`, `"locations":{"includeLocations":["All"]}`)), `"enabled"`, `"enabledForReportingButNotEnforced"`, 1)))))
	c.exchange(payrollID, "api://payroll")
	e := lastSignIn(c)
	require.Equal(t, "prt_exchange", e.Grant)
	require.Equal(t, "alice@contoso.example", e.Username)
	require.Equal(t, payrollID, e.ClientID)
	require.Equal(t, payrollID, e.Resource)
	require.Equal(t, c.deviceID, e.DeviceID)
	require.Equal(t, "linux", e.Platform)
	require.Equal(t, 50076, e.ErrorCode)
	require.Len(t, e.Policies, 2)
	require.Equal(t, "Payroll needs MFA", e.Policies[0].Name)
	require.Equal(t, "reportOnlyFailure", e.Policies[1].Result)
	c.renew()
	e = lastSignIn(c)
	require.Equal(t, "prt_renewal", e.Grant)
	require.Empty(t, e.Policies)
	for range 9 {
		c.payroll()
	}
	list := c.s.SignIns()
	require.Len(t, list, 5)
	for i := 1; i < len(list); i++ {
		require.Equal(t, list[i-1].Seq+1, list[i].Seq)
	}
}

// Equal seeds and calls give equal answers, but for the padding of RSA-OAEP.
func TestDeterminism(t *testing.T) {
	run := func(seed uint64) []string {
		o := options(entratest.NewClock(time.Time{}))
		o.Seed = seed
		c := newClient(t, entratest.NewTB(t, o))
		out := []string{c.s.TenantID(), c.nonce()}
		r := c.payroll()
		out = append(out, string(r.body))
		c.join("alice", 0)
		out = append(out, c.deviceID, string(c.cert))
		c.passwordPRT("alice")
		out = append(out, c.prt, string(c.session))
		out = append(out, string(c.get(login+"/common/discovery/keys").body))
		out = append(out, c.ropc("zoe", payrollID, "").str("error_description"))
		log, _ := json.Marshal(c.s.SignIns())
		return append(out, string(log))
	}
	require.Equal(t, run(1), run(1))
	a, b := run(1), run(2)
	for i := range a {
		if i != 7 { // the keys do not depend on the seed
			require.NotEqual(t, a[i], b[i], "%d", i)
		}
	}
}

func TestOptionsThatContradict(t *testing.T) {
	for name, o := range map[string]entratest.Options{
		"two users of one name": {Users: []entratest.User{{Username: "a"}, {Username: "A"}}},
		"user without a name":   {Users: []entratest.User{{}}},
		"bad id":                {Users: []entratest.User{{Username: "a", ID: "x"}}},
		"bad tenant id":         {TenantID: "x"},
		"bad secret":            {Users: []entratest.User{{Username: "a", TOTPSecret: "!"}}},
		"bad policies":          {Policies: json.RawMessage(`{`)},
		"bad redirect":          {Apps: []entratest.App{{Redirects: []string{"no scheme"}}}},
		"unknown member":        {Groups: []entratest.Group{{Name: "g", Members: []string{"nobody"}}}},
		"two tenants":           {OtherTenants: []entratest.Tenant{{Domain: "contoso.example"}}},
		"passkey without a key": {Users: []entratest.User{{Username: "a", Passkeys: []entratest.Passkey{{ID: []byte("x")}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Panics(t, func() { entratest.NewServer(o) })
		})
	}
	s := entratest.NewServer(entratest.Options{})
	defer s.Close()
	for says, err := range map[string]error{
		"no such user: zoe":         s.ChangePassword("zoe", "x"),
		"no such device: x":         s.DisableDevice("x"),
		"is not none, low":          s.SetRisk("zoe", "enormous", ""),
		"no tenant has this domain": s.AddUser(entratest.User{Username: "zoe@nowhere.example"}),
		"TOTP secret is not base32": s.SetTOTP("zoe", "!"),
	} {
		require.ErrorContains(t, err, says)
		require.True(t, strings.HasPrefix(err.Error(), "entratest: "), err)
	}
	s.Close() // twice is fine
}

func TestJudge(t *testing.T) {
	o := options(entratest.NewClock(time.Time{}))
	asked := 0
	o.Judge = func(b *policy.Bundle, in *policy.SignIn) entratest.Judgement {
		asked++
		require.Len(t, b.Policies, 1)
		return entratest.Judgement{Outcome: policy.OutcomeInterrupt, Controls: []policy.Control{{Kind: policy.MFA}}, Deciding: []int{0}, Results: []policy.Result{policy.ResultFailure}}
	}
	c := newClient(t, entratest.NewTB(t, o))
	c.policy(`"block"`)
	require.Equal(t, 50076, c.payroll().code())
	require.Equal(t, 1, asked)
	require.Equal(t, "failure", lastSignIn(c).Policies[0].Result)
}

// What few tests need.
func TestCorners(t *testing.T) {
	o := options(entratest.NewClock(time.Time{}))
	o.RefuseTOTPReuse = true
	c := newClient(t, entratest.NewTB(t, o))
	_, err := c.tryAuthorize(c.alice(), "amr_values", "mfa")
	require.NoError(t, err)
	_, err = c.tryAuthorize(c.alice(), "amr_values", "mfa")
	require.Equal(t, 500121, pageCode(t, err), "the code was used")

	require.NoError(t, c.s.SetTOTP("carol", totpSecret))
	for range 300 { // enough to sweep the table of prompts
		p := entratest.Person{Username: "carol@contoso.example", Password: password, TOTPSecret: totpSecret}
		if _, err = c.tryAuthorize(p, "amr_values", "mfa"); err != nil {
			break
		}
	}
	require.Equal(t, 500121, pageCode(t, err), "the page with the number lets her use a code, once")
	require.NoError(t, c.s.AddGroup(entratest.Group{Name: "New", Members: []string{"alice"}}))
	require.Contains(t, string(c.s.CA()), "BEGIN CERTIFICATE")
	require.Contains(t, c.s.Addr(), "127.0.0.1:")
	require.NoError(t, c.s.SetTOTP("carol", ""))
	require.False(t, c.s.AnswerNumberMatch("alice", 1))
	for _, text := range []string{"x", "e30.e30.AA"} {
		r := c.do("GET", authorizeURL(c.s.TenantID(), "client_id", payrollID, "redirect_uri", nativeURI), http.Header{"X-Ms-Devicecredential": {text}}, "")
		require.Contains(t, string(r.body), "ConvergedSignIn")
	}
}
