package entratest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"math/big"
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

const csrType = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment#PKCS10"

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
