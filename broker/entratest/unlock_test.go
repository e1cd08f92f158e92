package entratest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/claims"
)

// What an unlock makes of a PRT: the credential that it was born of renews its
// evidence, another takes its place.
func TestUnlock(t *testing.T) {
	const rsa = claims.MarkRSA
	hello := pool()[3]
	byPassword := func(c *tc) map[string]any {
		return map[string]any{"username": "alice@contoso.example", "password": password}
	}
	byHello := func(c *tc) map[string]any { return map[string]any{"assertion": c.hello(hello, nil)} }
	byCertificate := func(multi bool) func(c *tc) map[string]any {
		return func(c *tc) map[string]any {
			return map[string]any{"assertion": c.certificateAssertion(c.certificate("alice", multi), nil, nil)}
		}
	}
	born := func(with func(*tc) map[string]any) func(*tc) *reply {
		return func(c *tc) *reply {
			in := with(c)
			in["grant_type"] = "password"
			if in["assertion"] != nil {
				in["grant_type"] = jwtBearer
			}
			return c.prtRequest(in)
		}
	}
	onPages := func(person func(*tc) entratest.Person, kv ...string) func(*tc) *reply {
		return func(c *tc) *reply {
			return c.refreshPRT(c.interactive(person(c), brokerClient, brokerURI, updatePRT, kv...).str("refresh_token"))
		}
	}
	tests := []struct {
		name      string
		born      func(*tc) *reply
		by        func(*tc) map[string]any
		methods   claims.Methods
		amr       []any
		mfa       time.Duration // how old the MFA is afterwards
		survives  bool          // a change of the password
		registers bool          // the device is only registered
	}{
		{name: "password, password", born: born(byPassword), by: byPassword, methods: claims.Password, amr: []any{"pwd", "rsa"}},
		{name: "password and code, password", born: onPages((*tc).alice, "amr_values", "mfa"), by: byPassword,
			methods: claims.Password | claims.SoftwareOATH | claims.MarkMFA, amr: []any{"pwd", "rsa", "mfa"}, mfa: time.Hour},
		{name: "Hello, Hello", born: born(byHello), by: byHello, methods: claims.WindowsHello | claims.MarkMFA, amr: []any{"rsa", "mfa"}, survives: true},
		{name: "certificate, certificate", born: born(byCertificate(true)), by: byCertificate(true),
			methods: claims.CertificateMultiFactor | claims.MarkMFA, amr: []any{"rsa", "mfa"}, survives: true},

		{name: "Hello, password", born: born(byHello), by: byPassword, methods: claims.Password, amr: []any{"pwd", "rsa"}},
		{name: "password, Hello", born: born(byPassword), by: byHello, methods: claims.WindowsHello | claims.MarkMFA, amr: []any{"rsa", "mfa"}, survives: true},
		{name: "password, certificate", born: born(byPassword), by: byCertificate(true),
			methods: claims.CertificateMultiFactor | claims.MarkMFA, amr: []any{"rsa", "mfa"}, survives: true},
		{name: "single-factor certificate, multifactor", born: born(byCertificate(false)), by: byCertificate(true),
			methods: claims.CertificateMultiFactor | claims.MarkMFA, amr: []any{"rsa", "mfa"}, survives: true},
		{name: "multifactor certificate, single-factor", born: born(byCertificate(true)), by: byCertificate(false),
			methods: claims.CertificateSingleFactor, amr: []any{"rsa"}, survives: true},
		{name: "Hello, password, on a registered device", born: born(byHello), by: byPassword, registers: true,
			methods: claims.WindowsHello | claims.MarkMFA, amr: []any{"rsa", "mfa"}, mfa: time.Hour, survives: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, clock := start(t)
			joinType := 0
			if tt.registers {
				joinType = 4
			}
			c.join("alice", joinType)
			require.Equal(t, 200, c.passwordPRT("alice").status)
			require.Equal(t, 200, c.registerHello(hello).status)
			clock.Advance(time.Minute) // past the code of the app
			r := tt.born(c)
			require.Equal(t, 200, r.status, "%s", r.body)
			c.usePRT(r)
			clock.Advance(time.Hour)
			in := tt.by(c)
			in["scope"] = "openid aza ugs"
			r = c.prtUse(in)
			require.Equal(t, 200, r.status, "%s", r.body)
			c.usePRT(r)
			require.Equal(t, tt.methods|rsa, c.s.LastPRTMethods())
			require.Equal(t, tt.amr, jwtClaims(t, r.str("id_token"))["amr"])
			prts := c.s.PRTs()
			if last := prts[len(prts)-1]; tt.methods&claims.MarkMFA != 0 {
				require.Equal(t, clock.Now().Add(-tt.mfa).UTC(), last.MFATime)
			} else {
				require.Zero(t, last.MFATime)
			}
			require.Equal(t, c.deviceID, jwtClaims(t, c.exchange(payrollID, "api://payroll").str("access_token"))["deviceid"])
			require.NoError(t, c.s.ChangePassword("alice", "new new new"))
			require.Equal(t, tt.survives, c.renew().status == 200)
		})
	}
	t.Run("a strength for the certificate's policy", func(t *testing.T) {
		c, _ := start(t)
		c.joined()
		require.Equal(t, 200, c.passwordPRT("alice").status)
		c.must(c.s.SetPolicies([]byte(strings.Replace(string(customStrength("x509CertificateMultiFactor")), `"allowedCombinations"`,
			`"combinationConfigurations":[{"@odata.type":"#microsoft.graph.x509CertificateCombinationConfiguration","id":"1","appliesToCombinations":["x509CertificateMultiFactor"],"allowedPolicyOIDs":["2.999.2"]}],"allowedCombinations"`, 1))))
		require.NotEqual(t, 200, c.exchange(payrollID, "api://payroll").status)
		for range 2 {
			in := byCertificate(true)(c)
			in["scope"] = "openid aza ugs"
			c.usePRT(c.prtUse(in))
			require.Equal(t, 200, c.exchange(payrollID, "api://payroll").status)
		}
	})
	t.Run("Hello outlives the access pass", func(t *testing.T) {
		c, clock := start(t)
		c.joined()
		require.Equal(t, 200, c.passwordPRT("alice").status)
		require.Equal(t, 200, c.registerHello(hello).status)
		pass, err := c.s.CreateAccessPass("alice", false)
		require.NoError(t, err)
		r := onPages(func(*tc) entratest.Person {
			return entratest.Person{Username: "alice@contoso.example", AccessPass: pass}
		})(c)
		require.Equal(t, 200, r.status, "%s", r.body)
		in := byHello(c)
		in["scope"] = "openid aza ugs"
		c.usePRT(c.prtUse(in))
		clock.Advance(2 * time.Hour)
		require.Equal(t, 200, c.renew().status)
	})
}
