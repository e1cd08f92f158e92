package entratest_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// besideFabrikam is a client of a server with a second tenant.
func besideFabrikam(t testing.TB) *tc {
	o := options(entratest.NewClock(time.Time{}))
	o.OtherTenants = []entratest.Tenant{{Domain: "fabrikam.example", Users: []entratest.User{{Username: "gil", Password: password}}}}
	return newClient(t, entratest.NewTB(t, o))
}

// fabrikamPRT asks for the PRT of the second tenant's user.
func (c *tc) fabrikamPRT(path string) *reply {
	claims := with(c.base(), "username", "gil@fabrikam.example")
	return c.form("/"+path+"/oauth2/token", "grant_type", jwtBearer, "windows_api_version", "2.2", "request", c.deviceJWS(claims))
}

// joinFabrikam registers the device in the second tenant, and returns the refresh
// token that paid for it.
func (c *tc) joinFabrikam() string {
	tok := c.form("/fabrikam.example/oauth2/token", "grant_type", "password", "client_id", brokerClient, "resource", drsResource, "scope", "openid",
		"username", "gil@fabrikam.example", "password", password)
	require.Equal(c.t, 200, tok.status, "%s", tok.body)
	body := c.joinBody(0)
	body["TargetDomain"] = "fabrikam.example"
	r := c.json("POST", drs+"/EnrollmentServer/device/?api-version=2.0", tok.str("access_token"), body)
	require.Equal(c.t, 200, r.status, "%s", r.body)
	c.useCertificate(r)
	return tok.str("refresh_token")
}

// refreshAt asks for a PRT by a refresh token at the endpoint of a tenant.
func (c *tc) refreshAt(path, rt string) *reply {
	claims := map[string]any{"grant_type": "refresh_token", "refresh_token": rt, "client_id": brokerClient, "scope": "openid aza", "request_nonce": c.nonce()}
	return c.form("/"+path+"/oauth2/token", "grant_type", jwtBearer, "windows_api_version", "2.2", "request", c.deviceJWS(claims))
}

var useRefusals = []refusal{
	{"downgrade", 50027, "", "", func(c *tc, _ *entratest.Clock) *reply { c.joined().kdf = 1; return c.renew() }},
	{"wrong session key", 140001, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.joined().session = make([]byte, 32)
		return c.renew()
	}},
	{"session key of another PRT", 140001, "", "", func(c *tc, _ *entratest.Clock) *reply {
		old := c.joined().prt
		c.passwordPRT("alice")
		c.prt = old
		return c.renew()
	}},
	{"no ctx", 50027, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.joined()
		return c.send(compact(map[string]any{"alg": "HS256"}, map[string]any{"refresh_token": c.prt, "request_nonce": c.nonce()}, func(_, _ []byte) []byte { return []byte("x") }))
	}},
	{"foreign nonce", 140000, "", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.joined().prtUse(map[string]any{"scope": "openid aza", "request_nonce": "x"})
	}},
	{"not a PRT", 50013, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.joined().prt = c.refreshToken()
		return c.renew()
	}},
	{"one letter changed", 50013, "", "", func(c *tc, _ *entratest.Clock) *reply {
		p := []byte(c.joined().prt)
		p[len(p)/2] ^= 1
		c.prt = string(p)
		return c.renew()
	}},
	{"unused for 14 days", 700082, "", "bad_token", func(c *tc, clock *entratest.Clock) *reply {
		c.joined()
		clock.Advance(14 * 24 * time.Hour)
		return c.exchange(payrollID, "api://payroll")
	}},
	{"older than 90 days", 700082, "", "bad_token", func(c *tc, clock *entratest.Clock) *reply {
		c.joined()
		for range 8 {
			clock.Advance(11 * 24 * time.Hour)
			require.Equal(c.t, 200, c.renew().status)
		}
		clock.Advance(2 * 24 * time.Hour)
		return c.renew()
	}},
	{"password changed", 50173, "", "bad_token", func(c *tc, _ *entratest.Clock) *reply {
		c.joined()
		c.must(c.s.ChangePassword("alice", "new"))
		return c.exchange(payrollID, "api://payroll")
	}},
	{"password reset", 50173, "", "bad_token", func(c *tc, _ *entratest.Clock) *reply {
		c.joined()
		c.must(c.s.ResetPassword("alice", "new"))
		return c.renew()
	}},
	{"revoked", 50173, "", "bad_token", func(c *tc, _ *entratest.Clock) *reply {
		c.joined()
		c.must(c.s.Revoke("alice"))
		return c.renew()
	}},
	{"user disabled", 50057, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.joined()
		c.must(c.s.DisableUser("alice"))
		return c.renew()
	}},
	{"user deleted", 50034, "", "user_account_deleted", func(c *tc, _ *entratest.Clock) *reply {
		c.joined()
		c.must(c.s.DeleteUser("alice"))
		return c.renew()
	}},
	{"device disabled", 135011, "", "device_authentication_failed", func(c *tc, _ *entratest.Clock) *reply {
		c.joined()
		c.must(c.s.DisableDevice(c.deviceID))
		return c.renew()
	}},
	{"device deleted", 50155, "", "device_authentication_failed", func(c *tc, _ *entratest.Clock) *reply {
		c.joined()
		c.must(c.s.DeleteDevice(c.deviceID))
		return c.exchange(payrollID, "api://payroll")
	}},
	{"redirect", 50011, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.joined().prtUse(map[string]any{"client_id": payrollID, "resource": "api://payroll", "scope": "openid", "redirect_uri": "https://elsewhere.example"})
	}},
	{"confidential client", 7000218, "invalid_client", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.joined().prtUse(map[string]any{"client_id": webID, "scope": "openid"})
	}},
	{"unknown client", 700016, "unauthorized_client", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.joined().exchange("99999999-0000-4000-8000-000000000000", "api://payroll")
	}},
	{"no consent", 65001, "", "consent_required", func(c *tc, _ *entratest.Clock) *reply {
		return c.joined().exchange(thirdParty, "api://payroll")
	}},
	{"unknown resource", 500011, "invalid_resource", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.joined().exchange(payrollID, "api://nowhere")
	}},
	{"unknown grant", 70003, "unsupported_grant_type", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.joined().prtUse(map[string]any{"grant_type": "password", "scope": "openid"})
	}},
	{"other tenant", 50020, "", "", func(c *tc, _ *entratest.Clock) *reply {
		clock := entratest.NewClock(time.Time{})
		o := options(clock)
		o.OtherTenants = []entratest.Tenant{{Domain: "fabrikam.example"}}
		d := newClient(c.t, entratest.NewTB(c.t, o)).joined()
		return d.form("/fabrikam.example/oauth2/token", "grant_type", jwtBearer, "windows_api_version", "2.2", "request",
			d.sessionJWS(map[string]any{"client_id": windowsLogin, "refresh_token": d.prt, "grant_type": "refresh_token", "scope": "openid aza", "request_nonce": d.nonce()}))
	}},
	{"renewal of an app's token", 50013, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.joined()
		c.prt = c.exchange(payrollID, "api://payroll").str("refresh_token")
		return c.renew()
	}},
	{"user certificate without a request", 9002313, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
		return c.joined().prtUse(map[string]any{"scope": "openid aza ugs", "cert_token_use": "user_cert"})
	}},
}

func TestPRTUseRefusals(t *testing.T) {
	for _, r := range useRefusals {
		t.Run(r.name, r.run)
	}
}

// MS-OAPXBC v14.0 (2026-04-14), 3.2.5.1.3.1, requires iat, exp and the scope openid
// in an exchange. What is missing is said in the test's log and not refused.
func TestExchangeRequiredMembers(t *testing.T) {
	var mu sync.Mutex // guards said
	var said []string
	o := options(entratest.NewClock(time.Time{}))
	o.Logf = func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, fmt.Sprintf(format, args...))
	}
	c := newClient(t, entratest.NewTB(t, o))
	c.join("alice", 0)
	c.passwordPRT("alice")
	now := c.s.Now().Unix()
	for _, tt := range []struct {
		change map[string]any
		says   string // "": nothing
	}{
		{map[string]any{}, ""},
		{map[string]any{"iat": now, "exp": now + 60}, ""},
		{map[string]any{"iat": nil}, "iat is missing"},
		{map[string]any{"exp": nil}, "exp is missing"},
		{map[string]any{"iat": now + 24*3600}, "iat is in the future"},
		{map[string]any{"exp": now - 3600}, "exp is past"},
		{map[string]any{"scope": ""}, "scope lacks openid"},
	} {
		claims := map[string]any{"client_id": payrollID, "resource": "api://payroll", "scope": "openid", "redirect_uri": nativeURI}
		for k, v := range tt.change {
			claims[k] = v
		}
		mu.Lock()
		said = nil
		mu.Unlock()
		require.Equal(t, 200, c.prtUse(claims).status)
		mu.Lock()
		all := strings.Join(said, "\n")
		mu.Unlock()
		if tt.says == "" {
			require.NotContains(t, all, "3.2.5.1.3.1")
			continue
		}
		require.Contains(t, all, tt.says)
	}
}
