package entratest_test

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// helloToken gets a token to provision a key: by PRT cookie and a second
// factor.
func (c *tc) helloToken() string {
	c.t.Helper()
	u := authorizeURL(c.s.TenantID(), "client_id", "dd762716-544d-4aeb-a526-687b73838a22", "redirect_uri", "ms-appx-web://Microsoft.AAD.BrokerPlugin/dd762716-544d-4aeb-a526-687b73838a22",
		"resource", drsResource, "amr_values", "ngcmfa", "state", "x")
	to := c.cookieAuthorize(c.alice(), u, "ms-appx-web://")
	r := c.token("grant_type", "authorization_code", "client_id", "dd762716-544d-4aeb-a526-687b73838a22", "redirect_uri", "ms-appx-web://Microsoft.AAD.BrokerPlugin/dd762716-544d-4aeb-a526-687b73838a22",
		"code", query(c.t, to).Get("code"), "resource", drsResource, "windows_api_version", "2.0", "client_info", "1")
	require.Equal(c.t, 200, r.status, "%s", r.body)
	require.Nil(c.t, r.v, "a code that a PRT bought is redeemed encrypted")
	return c.decrypt(r).str("access_token")
}

// cookieAuthorize goes through the pages with the PRT cookie.
func (c *tc) cookieAuthorize(p entratest.Person, u, prefix string) string {
	c.t.Helper()
	client := &http.Client{Transport: cookieTransport{c.s.Client().Transport, c.cookie(c.nonce())}}
	to, err := p.Authorize(context.Background(), client, u, prefix)
	require.NoError(c.t, err)
	return to
}

type cookieTransport struct {
	next   http.RoundTripper
	cookie string
}

func (t cookieTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == "login.microsoftonline.com" {
		r = r.Clone(r.Context())
		r.Header.Set("x-ms-RefreshTokenCredential", t.cookie)
	}
	return t.next.RoundTrip(r)
}

func (c *tc) registerHello(key *rsa.PrivateKey) *reply {
	c.t.Helper()
	return c.json("POST", drs+"/EnrollmentServer/key/?api-version=1.0", c.helloToken(), map[string]string{"kngc": base64.StdEncoding.EncodeToString(keyBlob(&key.PublicKey))})
}

// hello makes an assertion of the Hello key.
func (c *tc) hello(key *rsa.PrivateKey, change map[string]any) string {
	sum := sha256.Sum256(keyBlob(&key.PublicKey))
	now := c.s.Now().Unix()
	claims := map[string]any{"iss": "alice@" + c.s.Domain(), "aud": "common", "iat": now, "exp": now + 300, "scope": "openid aza ugs", "request_nonce": c.nonce()}
	for k, v := range change {
		with(claims, k, v)
	}
	return compact(map[string]any{"alg": "RS256", "typ": "JWT", "use": "ngc", "kid": base64.StdEncoding.EncodeToString(sum[:])}, claims, rs256(key))
}

func (c *tc) helloPRT(key *rsa.PrivateKey, change map[string]any) *reply {
	c.t.Helper()
	r := c.prtRequest(map[string]any{"grant_type": jwtBearer, "assertion": c.hello(key, change), "username": "alice@" + c.s.Domain()})
	c.usePRT(r)
	return r
}

func TestHello(t *testing.T) {
	c, clock := start(t)
	c.joined()
	key := pool()[3]
	require.Equal(t, 130004, c.helloPRT(key, nil).code(), "before it is registered")
	r := c.registerHello(key)
	require.Equal(t, 200, r.status, "%s", r.body)
	require.Equal(t, "alice@contoso.example", r.str("upn"))
	require.NotEmpty(t, r.header.Get("request-id"))

	born := c.helloPRT(key, nil)
	require.Equal(t, 200, born.status, "%s", born.body)
	require.Equal(t, []any{"rsa", "mfa"}, jwtClaims(t, born.str("id_token"))["amr"])
	require.NotEmpty(t, jwtClaims(t, born.str("id_token"))["primary_sid"])
	c.policy(`"mfa"`)
	got := c.exchange(payrollID, "api://payroll")
	require.Equal(t, 200, got.status, "%s", got.body)
	require.Zero(t, lastSignIn(c).MFAPrompts)

	t.Run("does not provision another key", func(t *testing.T) {
		r := c.exchange(payrollID, "api://payroll", "claims", `{"access_token":{"amr":{"values":["ngcmfa"]}}}`)
		require.Equal(t, 50076, r.code())
	})
	t.Run("survives a change of the password", func(t *testing.T) {
		require.NoError(t, c.s.ChangePassword("alice", "new"))
		require.Equal(t, 200, c.exchange(payrollID, "api://payroll").status)
		require.NoError(t, c.s.ChangePassword("alice", password))
	})
	t.Run("an unlock moves the time of MFA", func(t *testing.T) {
		require.NoError(t, c.s.SetPolicies(frequency("hours", 1)))
		clock.Advance(2 * time.Hour)
		require.Equal(t, 70043, c.exchange(payrollID, "api://payroll").code())
		r := c.prtUse(map[string]any{"scope": "openid aza ugs", "assertion": c.hello(key, nil)})
		require.Equal(t, 200, r.status, "%s", r.body)
		c.usePRT(r)
		require.Equal(t, 200, c.exchange(payrollID, "api://payroll").status)
		require.NoError(t, c.s.SetPolicies(nil))
	})
	for _, tt := range []struct {
		name   string
		code   int
		change map[string]any
	}{
		{"no nonce", 140000, map[string]any{"request_nonce": nil}},
		{"foreign nonce", 140000, map[string]any{"request_nonce": "x"}},
		{"expired", 500133, map[string]any{"exp": clock.Now().Unix() - 600}},
		{"from the future", 500133, map[string]any{"iat": clock.Now().Unix() + 7200*2}},
		{"another user", 130004, map[string]any{"iss": "bob@contoso.example"}},
		{"no issuer", 50027, map[string]any{"iss": nil}},
		{"no scope", 50027, map[string]any{"scope": nil}},
		{"no times", 50027, map[string]any{"iat": nil}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := c.helloPRT(key, tt.change)
			require.Equal(t, tt.code, r.code(), "%s", r.body)
		})
	}
	for _, aud := range []any{"common", c.s.TenantID(), "https://login.microsoftonline.com/common/oauth2/token", nil} {
		require.Equal(t, 200, c.helloPRT(key, map[string]any{"aud": aud}).status, "audience %v", aud)
	}
	t.Run("sent again, while its nonce lives and after", func(t *testing.T) {
		same := c.hello(key, map[string]any{"exp": clock.Now().Unix() + 3600})
		send := func() *reply { return c.prtRequest(map[string]any{"grant_type": jwtBearer, "assertion": same}) }
		require.Equal(t, 200, send().status)
		require.Equal(t, 200, send().status)
		clock.Advance(5*time.Minute + time.Second)
		require.Equal(t, 140000, send().code())
	})
	t.Run("altered", func(t *testing.T) {
		a := strings.Split(c.hello(key, nil), ".")
		b := strings.Split(c.hello(key, map[string]any{"scope": "openid aza"}), ".")
		r := c.prtRequest(map[string]any{"grant_type": jwtBearer, "assertion": a[0] + "." + b[1] + "." + a[2]})
		require.Equal(t, 130005, r.code())
	})
	t.Run("kid of another key", func(t *testing.T) {
		a := strings.Split(c.hello(key, nil), ".")
		b := strings.Split(c.hello(pool()[2], nil), ".")
		r := c.prtRequest(map[string]any{"grant_type": jwtBearer, "assertion": b[0] + "." + a[1] + "." + a[2]})
		require.Equal(t, 130004, r.code())
	})
	t.Run("signed with another key", func(t *testing.T) {
		a := strings.Split(c.hello(key, nil), ".")
		r := c.prtRequest(map[string]any{"grant_type": jwtBearer, "assertion": a[0] + "." + a[1] + "." + b64u(make([]byte, 256))})
		require.Equal(t, 130005, r.code())
	})
	t.Run("user disabled", func(t *testing.T) {
		require.NoError(t, c.s.DisableUser("alice"))
		require.Equal(t, 50057, c.helloPRT(key, nil).code())
		require.NoError(t, c.s.EnableUser("alice"))
	})
	t.Run("a new key replaces the old", func(t *testing.T) {
		require.Equal(t, 200, c.passwordPRT("alice").status)
		next := pool()[2]
		require.Equal(t, 200, c.registerHello(next).status)
		require.Equal(t, 130004, c.helloPRT(key, nil).code())
		require.Equal(t, 200, c.helloPRT(next, nil).status)
		require.Equal(t, 200, c.passwordPRT("alice").status)
		require.Equal(t, 200, c.registerHello(key).status)
	})
	t.Run("device disabled, then deleted", func(t *testing.T) {
		other := newClient(t, c.s) // an assertion works on any device
		other.device, other.transport = pool()[2], pool()[1]
		other.join("alice", 0)
		require.Equal(t, 200, other.helloPRT(key, nil).status)
		require.NoError(t, c.s.DisableDevice(c.deviceID))
		require.Equal(t, 130007, other.helloPRT(key, nil).code())
		require.NoError(t, c.s.DeleteDevice(c.deviceID))
		require.Equal(t, 130008, other.helloPRT(key, nil).code())
		require.Equal(t, 130004, other.helloPRT(key, map[string]any{"iss": "bob@contoso.example"}).code(), "another's name")
		for _, u := range c.s.Users() {
			require.Empty(t, u.HelloKeys, u.Username)
		}

		state, err := c.s.State()
		require.NoError(t, err)
		later := newClient(t, entratest.NewTB(t, entratest.Options{State: state, Clock: entratest.NewClock(clock.Now())}))
		later.device, later.cert, later.deviceID = other.device, other.cert, other.deviceID
		require.Equal(t, 130008, later.helloPRT(key, nil).code(), "a later server remembers")

		require.Equal(t, 200, other.passwordPRT("alice").status)
		require.Equal(t, 200, other.registerHello(key).status)
		require.Equal(t, 200, other.helloPRT(key, nil).status, "registered again")
		require.Equal(t, 200, other.json("DELETE", drs+"/EnrollmentServer/key/?api-version=1.0", other.helloToken(), nil).status)
		require.Equal(t, 130004, other.helloPRT(key, nil).code(), "its device is there")
	})
}

func TestHelloKeyEndpoint(t *testing.T) {
	c, _ := start(t)
	c.joined()
	key := pool()[3]
	tok := c.helloToken()
	const u = drs + "/EnrollmentServer/key/?api-version=1.0"
	good := map[string]string{"kngc": base64.StdEncoding.EncodeToString(keyBlob(&key.PublicKey))}

	require.Equal(t, 400, c.json("POST", drs+"/EnrollmentServer/key/", tok, good).status, "no api-version")
	require.Equal(t, 400, c.do("POST", u, http.Header{"Authorization": {"Bearer " + tok}, "Content-Type": {"application/json"}}, `{}`).status, "no Accept")
	require.Equal(t, 400, c.json("POST", u, tok, map[string]string{}).status, "no key")
	require.Equal(t, 400, c.json("POST", u, tok, map[string]string{"kngc": "!"}).status, "not base64")
	require.Equal(t, 400, c.json("POST", u, tok, map[string]string{"kngc": "eA=="}).status, "not a key")
	require.Equal(t, 401, c.json("POST", u, "", good).status, "no token")
	require.Equal(t, 401, c.json("POST", u, c.drsToken(), good).status, "no device")
	noMFA := c.prtUse(map[string]any{"client_id": brokerClient, "resource": drsResource, "scope": "openid"}).str("access_token")
	require.Equal(t, 401, c.json("POST", u, noMFA, good).status, "no fresh MFA")
	require.Equal(t, 200, c.json("POST", u, tok, good).status)
	require.Equal(t, 200, c.json("DELETE", u, tok, nil).status)
	require.Equal(t, 404, c.json("DELETE", u, tok, nil).status)

	id := c.json("POST", u, tok, good).str("kid")
	byID := strings.Replace(u, "/key/", "/key/"+id, 1)
	require.Equal(t, 401, c.json("DELETE", byID, c.drsToken(), nil).status, "no device")
	bob := newClient(t, c.s)
	bob.device, bob.transport = pool()[2], pool()[1]
	bob.join("bob", 0)
	require.Equal(t, 200, bob.passwordPRT("bob").status)
	bobs := bob.prtUse(map[string]any{"client_id": brokerClient, "resource": drsResource, "scope": "openid"}).str("access_token")
	require.Equal(t, 404, c.json("DELETE", byID, bobs, nil).status, "another user's key")
	require.Equal(t, 200, c.json("DELETE", byID, tok, nil).status)
	require.Equal(t, 404, c.json("DELETE", byID, tok, nil).status)
	require.Equal(t, 200, c.json("POST", u, tok, good).status)
	require.NoError(t, c.s.SetTOTP("bob", totpSecret))
	require.Equal(t, 400, c.json("POST", u, bob.helloToken(), good).status, "another user's key")
	require.NoError(t, c.s.DisableDevice(c.deviceID))
	require.Equal(t, 401, c.json("POST", u, tok, good).status, "device disabled")
	require.Equal(t, 401, c.json("DELETE", u, tok, nil).status, "device disabled")
}

// An assertion is good in the tenant of its user alone.
func TestHelloAtAnotherTenant(t *testing.T) {
	o := options(entratest.NewClock(time.Time{}))
	o.OtherTenants = []entratest.Tenant{{Domain: "fabrikam.example"}}
	c := newClient(t, entratest.NewTB(t, o))
	c.joined()
	key := pool()[3]
	require.Equal(t, 200, c.registerHello(key).status)
	send := func(tenant string) int {
		return c.form("/"+tenant+"/oauth2/token", "grant_type", jwtBearer, "request", c.deviceJWS(map[string]any{"client_id": windowsLogin, "scope": "openid aza ugs",
			"request_nonce": c.nonce(), "grant_type": jwtBearer, "assertion": c.hello(key, nil)})).code()
	}
	require.Zero(t, send("contoso.example"))
	require.Equal(t, 50020, send("fabrikam.example"))
}
