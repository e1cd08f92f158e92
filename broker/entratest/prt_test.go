package entratest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

func passwordClaims(c *tc) map[string]any {
	return map[string]any{"grant_type": "password", "username": "alice@" + c.s.Domain(), "password": password}
}

// with returns claims with one changed; nil removes it.
func with(claims map[string]any, k string, v any) map[string]any {
	claims[k] = v
	if v == nil {
		delete(claims, k)
	}
	return claims
}

// send sends a ready-made request JWT.
func (c *tc) send(jws string) *reply {
	c.t.Helper()
	return c.token("grant_type", jwtBearer, "request", jws, "windows_api_version", "2.2")
}

// base are the claims of a PRT request by password.
func (c *tc) base() map[string]any {
	m := passwordClaims(c)
	m["client_id"], m["scope"], m["request_nonce"] = windowsLogin, "openid aza ugs", c.nonce()
	return m
}

func (c *tc) withHeader(h map[string]any) string { return compact(h, c.base(), rs256(c.device)) }

func (c *tc) x5c() string { return base64.StdEncoding.EncodeToString(c.cert) }

// foreignCertificate says it is the device, and is signed by itself.
func (c *tc) foreignCertificate() string {
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: c.deviceID},
		NotBefore: c.s.Now().Add(-time.Hour), NotAfter: c.s.Now().Add(time.Hour)}, &x509.Certificate{Subject: pkix.Name{CommonName: c.deviceID}}, &c.device.PublicKey, c.device)
	require.NoError(c.t, err)
	return base64.StdEncoding.EncodeToString(der)
}

var issuanceRefusals = []refusal{
	{"no request", 900144, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply { return c.token("grant_type", jwtBearer) }},
	{"not a JWS", 50027, "", "", func(c *tc, _ *entratest.Clock) *reply { return c.send("a.b") }},
	{"alg none", 50120, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.send(c.withHeader(map[string]any{"alg": "none", "x5c": c.x5c()}))
	}},
	{"no certificate", 50027, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.send(c.withHeader(map[string]any{"alg": "RS256"}))
	}},
	{"certificate in base64url", 50027, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.send(c.withHeader(map[string]any{"alg": "RS256", "x5c": b64u(c.cert)}))
	}},
	{"kdf_ver is a string", 50027, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.send(c.withHeader(map[string]any{"alg": "RS256", "x5c": c.x5c(), "kdf_ver": "2"}))
	}},
	{"repeated claim", 50027, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.send(compact(map[string]any{"alg": "RS256", "x5c": c.x5c()}, json.RawMessage(`{"client_id":"a","client_id":"b"}`), rs256(c.device)))
	}},
	{"critical header", 50027, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.send(c.withHeader(map[string]any{"alg": "RS256", "x5c": c.x5c(), "crit": []string{"b64"}}))
	}},
	{"no nonce", 140000, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(with(passwordClaims(c), "request_nonce", ""))
	}},
	{"foreign nonce", 140000, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(with(passwordClaims(c), "request_nonce", "AwABEgEAAAACAOz_foreign"))
	}},
	{"stale nonce", 140000, "", "", func(c *tc, clock *entratest.Clock) *reply {
		c.join("alice", 0)
		n := c.nonce()
		clock.Advance(5*time.Minute + time.Second)
		return c.prtRequest(with(passwordClaims(c), "request_nonce", n))
	}},
	{"foreign certificate", 50155, "", "device_authentication_failed", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.send(c.withHeader(map[string]any{"alg": "RS256", "x5c": c.foreignCertificate()}))
	}},
	{"certificate expired", 50155, "", "device_authentication_failed", func(c *tc, clock *entratest.Clock) *reply {
		c.join("alice", 0)
		clock.Advance(11 * 365 * 24 * time.Hour)
		return c.passwordPRT("alice")
	}},
	{"device deleted", 50155, "", "device_authentication_failed", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		c.must(c.s.DeleteDevice(c.deviceID))
		return c.passwordPRT("alice")
	}},
	{"device disabled", 135011, "", "device_authentication_failed", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		c.must(c.s.DisableDevice(c.deviceID))
		return c.passwordPRT("alice")
	}},
	{"signed with another key", 50006, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		c.device = pool()[2]
		return c.passwordPRT("alice")
	}},
	{"no client", 50027, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.send(c.deviceJWS(with(c.base(), "client_id", nil)))
	}},
	{"unknown client", 700016, "unauthorized_client", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(with(passwordClaims(c), "client_id", "99999999-9999-4999-8999-999999999999"))
	}},
	{"client that is no broker", 28002, "invalid_scope", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(with(passwordClaims(c), "client_id", payrollID))
	}},
	{"unknown client, wrong password", 700016, "unauthorized_client", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(with(with(passwordClaims(c), "client_id", "x"), "password", "wrong"))
	}},
	{"no aza", 28002, "invalid_scope", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(with(passwordClaims(c), "scope", "openid"))
	}},
	{"no openid", 28002, "invalid_scope", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(with(passwordClaims(c), "scope", "aza"))
	}},
	{"unknown grant", 70003, "unsupported_grant_type", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(with(passwordClaims(c), "grant_type", "authorization_code"))
	}},
	{"wrong password", 50126, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(with(passwordClaims(c), "password", "wrong"))
	}},
	{"unknown user", 50034, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(with(passwordClaims(c), "username", "zoe@"+c.s.Domain()))
	}},
	{"refresh token of another client", 50013, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.refreshPRT(c.refreshToken())
	}},
	{"refresh token of another client, under its own id", 50013, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(map[string]any{"grant_type": "refresh_token", "refresh_token": c.refreshToken(), "client_id": payrollID})
	}},
	{"refresh token under another client id", 50013, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		rt := c.ropc("alice", brokerClient, drsResource).str("refresh_token")
		return c.prtRequest(map[string]any{"grant_type": "refresh_token", "refresh_token": rt})
	}},
	{"a PRT as refresh token", 7000016, "", "", func(c *tc, _ *entratest.Clock) *reply { return c.joined().refreshPRT(c.prt) }},
	{"unsupported Hello", 50027, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(map[string]any{"grant_type": jwtBearer, "assertion": "x"})
	}},
	{"SAML that is none", 50008, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(map[string]any{"grant_type": "urn:ietf:params:oauth:grant-type:saml2-bearer", "assertion": "eA=="})
	}},
	{"device token for Graph", 221000, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(map[string]any{"grant_type": "device_token", "resource": "https://graph.microsoft.com", "client_id": brokerClient})
	}},
	{"certificate of unknown use", 9002313, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(map[string]any{"grant_type": "device_auth", "cert_token_use": "toast"})
	}},
	{"certificate request that is none", 9002313, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(map[string]any{"grant_type": "device_auth", "cert_token_use": "device_cert", "csr_type": csrType, "csr": "eA=="})
	}},
	{"user of another tenant than the device, at common", 50020, "", "", func(c *tc, _ *entratest.Clock) *reply {
		d := besideFabrikam(c.t)
		d.join("alice", 0)
		return d.fabrikamPRT("common")
	}},
	{"user of another tenant than the device, at the user's tenant", 50020, "", "", func(c *tc, _ *entratest.Clock) *reply {
		d := besideFabrikam(c.t)
		d.join("alice", 0)
		return d.fabrikamPRT("fabrikam.example")
	}},
	{"user and device of another tenant than the endpoint", 50020, "", "", func(c *tc, _ *entratest.Clock) *reply {
		d := besideFabrikam(c.t)
		rt := d.joinFabrikam()
		require.Equal(c.t, 200, d.refreshAt("fabrikam.example", rt).status)
		return d.refreshAt(d.s.TenantID(), rt)
	}},
	{"refresh token of another device", 50013, "", "", func(c *tc, _ *entratest.Clock) *reply {
		rt := c.joined().prtUse(map[string]any{"client_id": brokerClient, "resource": drsResource, "scope": "openid"}).str("refresh_token")
		require.NotEmpty(c.t, rt)
		require.Equal(c.t, 200, c.refreshPRT(rt).status, "on its own device it is good")
		c.device, c.transport = pool()[2], pool()[3]
		c.join("alice", 0)
		return c.refreshPRT(rt)
	}},
}

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

const csrType = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment#PKCS10"

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

func TestPRTIssuanceRefusals(t *testing.T) {
	for _, r := range issuanceRefusals {
		t.Run(r.name, r.run)
	}
}

func TestPRTUseRefusals(t *testing.T) {
	for _, r := range useRefusals {
		t.Run(r.name, r.run)
	}
}

func TestReplicationLag(t *testing.T) {
	start := func(lag time.Duration, tries int) (*tc, *entratest.Clock) {
		clock := entratest.NewClock(time.Time{})
		o := options(clock)
		o.ReplicationLag, o.ReplicationTries = lag, tries
		c := newClient(t, entratest.NewTB(t, o))
		c.join("alice", 0)
		return c, clock
	}
	t.Run("the default ends after two tries", func(t *testing.T) {
		c, _ := start(0, 0)
		for range 2 {
			r := c.passwordPRT("alice")
			require.Equal(t, 50155, r.code())
			require.Equal(t, "device_authentication_failed", r.str("suberror"))
		}
		require.Equal(t, 200, c.passwordPRT("alice").status)
	})
	t.Run("the default ends after a minute", func(t *testing.T) {
		c, clock := start(0, 0)
		clock.Advance(time.Minute)
		require.Equal(t, 200, c.passwordPRT("alice").status)
	})
	t.Run("only the clock", func(t *testing.T) {
		c, clock := start(time.Hour, -1)
		for range 5 {
			require.Equal(t, 50155, c.passwordPRT("alice").code())
		}
		clock.Advance(time.Hour)
		require.Equal(t, 200, c.passwordPRT("alice").status)
	})
}

func TestPRTShapes(t *testing.T) {
	t.Run("x5c as an array, derivation version 1", func(t *testing.T) {
		c, _ := start(t)
		c.x5cArray, c.kdf = true, 1
		c.joined()
		require.Equal(t, 200, c.renew().status)
		c.kdf = 2 // the better version is taken too
		require.Equal(t, 200, c.renew().status)
	})
	t.Run("mobile transport key", func(t *testing.T) {
		c, _ := start(t)
		tok := c.ropc("alice", brokerClient, drsResource)
		body := c.joinBody(4)
		jwk, _ := json.Marshal(map[string]string{"kty": "RSA", "e": "AQAB", "n": base64.StdEncoding.EncodeToString(c.transport.N.Bytes()), "alg": "RS256", "kid": "X"})
		body["TransportKey"] = base64.StdEncoding.EncodeToString(jwk)
		r := c.json("POST", drs+"/EnrollmentServer/device/?api-version=1.0", tok.str("access_token"), body)
		require.Equal(t, 200, r.status, "%s", r.body)
		require.NotContains(t, r.v, "MembershipChanges") // of joined devices only
		c.useCertificate(r)
		require.Equal(t, 200, c.passwordPRT("alice").status)
	})
	for name, change := range map[string]func(*entratest.Options){
		"GCM":   func(o *entratest.Options) { o.GCMReplies = true },
		"plain": func(o *entratest.Options) { o.PlainReplies = true },
		"roll":  func(o *entratest.Options) { o.RollSessionKey = true },
	} {
		t.Run("replies: "+name, func(t *testing.T) {
			o := options(entratest.NewClock(time.Time{}))
			change(&o)
			c := newClient(t, entratest.NewTB(t, o)).joined()
			before := string(c.session)
			r := c.renew()
			require.Equal(t, 200, r.status, "%s", r.body)
			require.Equal(t, name == "roll", before != string(c.session))
			require.Equal(t, 200, c.renew().status)
			require.Equal(t, 200, c.exchange(payrollID, "api://payroll").status)
		})
	}
	t.Run("session key older than 30 days", func(t *testing.T) {
		c, clock := start(t)
		c.joined()
		for range 3 {
			clock.Advance(11 * 24 * time.Hour)
			before := string(c.session)
			r := c.renew()
			require.Equal(t, 200, r.status)
			require.Equal(t, r.v["session_key_jwe"] != nil, before != string(c.session))
		}
		require.Equal(t, 200, c.renew().status)
	})
	t.Run("version 3 speaks GCM and v2", func(t *testing.T) {
		c, _ := start(t)
		c.joined()
		jws := c.sessionJWS(map[string]any{"client_id": payrollID, "refresh_token": c.prt, "grant_type": "refresh_token", "request_nonce": c.nonce(),
			"scope": "openid offline_access api://payroll/.default", "redirect_uri": nativeURI})
		r := c.tokenV2("grant_type", jwtBearer, "request", jws, "prt_protocol_version", "3.0", "client_info", "1")
		require.Equal(t, 200, r.status, "%s", r.body)
		c.decrypt(r)
		require.IsType(t, float64(0), r.v["expires_in"])
		require.NotContains(t, r.v, "resource")
		require.NotEmpty(t, r.str("client_info"))
	})
	t.Run("app refresh token, signed under the session key", func(t *testing.T) {
		c, _ := start(t)
		c.joined()
		c.prt = c.exchange(payrollID, "api://payroll").str("refresh_token")
		r := c.exchange(payrollID, "api://payroll")
		require.Equal(t, 200, r.status, "%s", r.body)
		require.Equal(t, c.deviceID, jwtClaims(t, r.str("access_token"))["deviceid"])
	})
	t.Run("exchange with aza rolls the PRT", func(t *testing.T) {
		c, _ := start(t)
		c.joined()
		r := c.prtUse(map[string]any{"client_id": payrollID, "resource": "api://payroll", "scope": "openid aza", "redirect_uri": nativeURI})
		require.Equal(t, 200, r.status, "%s", r.body)
		require.NotEmpty(t, r.str("access_token"))
		c.prt = r.str("refresh_token")
		require.Equal(t, 200, c.renew().status)
	})
	t.Run("device token", func(t *testing.T) {
		c, _ := start(t)
		c.join("alice", 0)
		r := c.prtRequest(map[string]any{"grant_type": "device_token", "resource": drsResource, "client_id": brokerClient, "redirect_uri": brokerURI, "iss": "aad:brokerplugin"})
		require.Equal(t, 200, r.status, "%s", r.body)
		require.Equal(t, c.deviceID, jwtClaims(t, r.str("access_token"))["deviceid"])
	})
	t.Run("peer-to-peer certificates", func(t *testing.T) {
		c, _ := start(t)
		c.joined()
		r := c.prtRequest(map[string]any{"grant_type": "device_auth", "cert_token_use": "device_cert", "csr_type": csrType, "csr": csr(c.device, c.deviceID), "dns_names": []string{"box.contoso.example"}})
		require.Equal(t, 200, r.status, "%s", r.body)
		leaf, ca := parseB64Cert(t, r.str("x5c")), parseB64Cert(t, r.str("x5c_ca"))
		require.NoError(t, leaf.CheckSignatureFrom(ca))
		require.Equal(t, []string{"box.contoso.example"}, leaf.DNSNames)
		for _, v := range []string{"1.0", "2.0"} {
			jws := c.sessionJWS(map[string]any{"client_id": windowsLogin, "refresh_token": c.prt, "grant_type": "refresh_token", "request_nonce": c.nonce(),
				"scope": "openid aza ugs", "cert_token_use": "user_cert", "csr_type": csrType, "csr": csr(pool()[2], "")})
			r = c.token("grant_type", jwtBearer, "request", jws, "windows_api_version", v)
			require.Equal(t, 200, r.status, "%s", r.body)
			require.Equal(t, v == "1.0", r.v != nil) // 1.0 is not encrypted
			c.decrypt(r)
			require.NoError(t, parseB64Cert(t, r.str("x5c")).CheckSignatureFrom(parseB64Cert(t, r.str("x5c_ca"))))
		}
	})
	t.Run("deviceless PRT of mobile brokers", func(t *testing.T) {
		c, _ := start(t)
		to, err := c.alice().Authorize(t.Context(), c.s.Client(), authorizeURL(c.s.TenantID(), "v2", "", "client_id", brokerClient, "redirect_uri", "msauth://Microsoft.AAD.BrokerPlugin",
			"scope", "openid profile offline_access aza", "state", "x"), "msauth://Microsoft.AAD.BrokerPlugin")
		require.NoError(t, err)
		jwk, _ := json.Marshal(map[string]string{"kty": "RSA", "n": b64u(c.transport.N.Bytes()), "e": "AQAB"})
		r := c.tokenV2("grant_type", "authorization_code", "client_id", brokerClient, "redirect_uri", "msauth://Microsoft.AAD.BrokerPlugin", "code", query(t, to).Get("code"),
			"scope", "aza profile offline_access openid", "stk_jwk", string(jwk), "prt_protocol_version", "3.0")
		require.Equal(t, 200, r.status, "%s", r.body)
		c.kdf = 1
		c.usePRT(r)
		require.Equal(t, 200, c.renew().status)
		got := c.exchange(payrollID, "api://payroll")
		require.NotContains(t, jwtClaims(t, got.str("access_token")), "deviceid")
	})
}

func parseB64Cert(t testing.TB, text string) *x509.Certificate {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(text)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

// ecRequest is a certificate request that the service does not take.
func ecRequest(t testing.TB) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "7E980AD9-B86D-4306-9425-9AC066FB014A"}}, key)
	require.NoError(t, err)
	return base64.StdEncoding.EncodeToString(der)
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
