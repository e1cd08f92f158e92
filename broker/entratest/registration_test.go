package entratest_test

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

const joinURL = drs + "/EnrollmentServer/device/?api-version=2.0"

// drsToken is an access token for the registration service.
func (c *tc) drsToken() string {
	c.t.Helper()
	return c.ropc("alice", brokerClient, drsResource).str("access_token")
}

func (c *tc) tryJoin(change func(map[string]any)) *reply {
	c.t.Helper()
	body := c.joinBody(0)
	change(body)
	return c.json("POST", joinURL, c.drsToken(), body)
}

func badBlob(c *tc, change func([]byte) []byte) string {
	return base64.StdEncoding.EncodeToString(change(keyBlob(&c.transport.PublicKey)))
}

func TestRegistrationRefusals(t *testing.T) {
	set := func(k string, v any) func(*tc, *entratest.Clock) *reply {
		return func(c *tc, _ *entratest.Clock) *reply { return c.tryJoin(func(m map[string]any) { m[k] = v }) }
	}
	blob := func(change func([]byte) []byte) func(*tc, *entratest.Clock) *reply {
		return func(c *tc, _ *entratest.Clock) *reply {
			return c.tryJoin(func(m map[string]any) { m["TransportKey"] = badBlob(c, change) })
		}
	}
	request := func(csr func(c *tc) string) func(*tc, *entratest.Clock) *reply {
		return func(c *tc, _ *entratest.Clock) *reply {
			return c.tryJoin(func(m map[string]any) { m["CertificateRequest"] = map[string]string{"Type": "pkcs10", "Data": csr(c)} })
		}
	}
	tests := []struct {
		name   string
		status int
		kind   string
		do     func(*tc, *entratest.Clock) *reply
	}{
		{"no token", 401, "AuthenticationError", func(c *tc, _ *entratest.Clock) *reply { return c.json("POST", joinURL, "", c.joinBody(0)) }},
		{"nonsense token", 401, "AuthenticationError", func(c *tc, _ *entratest.Clock) *reply { return c.json("POST", joinURL, "a.b.c", c.joinBody(0)) }},
		{"token of another audience", 401, "AuthenticationError", func(c *tc, _ *entratest.Clock) *reply {
			return c.json("POST", joinURL, c.payroll().str("access_token"), c.joinBody(0))
		}},
		{"expired token", 401, "AuthenticationError", func(c *tc, clock *entratest.Clock) *reply {
			tok := c.drsToken()
			clock.Advance(71 * time.Minute)
			return c.json("POST", joinURL, tok, c.joinBody(0))
		}},
		{"token of a disabled user", 401, "AuthenticationError", func(c *tc, _ *entratest.Clock) *reply {
			tok := c.drsToken()
			c.must(c.s.DisableUser("alice"))
			return c.json("POST", joinURL, tok, c.joinBody(0))
		}},
		{"token of another device", 403, "AuthorizationError", func(c *tc, _ *entratest.Clock) *reply {
			tok := c.joined().prtUse(map[string]any{"client_id": brokerClient, "resource": drsResource, "scope": "openid"})
			return c.json("POST", joinURL, tok.str("access_token"), c.joinBody(0))
		}},
		{"MFA required by the tenant", 403, "AuthorizationError", func(c *tc, _ *entratest.Clock) *reply {
			o := options(entratest.NewClock(time.Time{}))
			o.RequireMFAToJoin = true
			return newClient(c.t, entratest.NewTB(c.t, o)).tryJoin(func(map[string]any) {})
		}},
		{"MFA required by Conditional Access", 403, "AuthorizationError", func(c *tc, _ *entratest.Clock) *reply {
			tok := c.drsToken()
			p := strings.Replace(string(policyJSON("P", "x", `"mfa"`, "")), `"includeApplications":["x"]`, `"includeUserActions":["urn:user:registerdevice"]`, 1)
			c.must(c.s.SetPolicies([]byte(p)))
			return c.json("POST", joinURL, tok, c.joinBody(0))
		}},
		{"api-version", 400, "InvalidRequest", func(c *tc, _ *entratest.Clock) *reply {
			return c.json("POST", drs+"/EnrollmentServer/device/?api-version=9", c.drsToken(), c.joinBody(0))
		}},
		{"content type", 400, "InvalidRequest", func(c *tc, _ *entratest.Clock) *reply {
			return c.do("POST", joinURL, http.Header{"Authorization": {"Bearer " + c.drsToken()}, "Content-Type": {"text/plain"}}, "{}")
		}},
		{"not JSON", 400, "InvalidRequest", func(c *tc, _ *entratest.Clock) *reply {
			return c.do("POST", joinURL, http.Header{"Authorization": {"Bearer " + c.drsToken()}, "Content-Type": {"application/json"}}, "{")
		}},
		{"no domain", 400, "InvalidRequest", set("TargetDomain", "")},
		{"no device type", 400, "InvalidRequest", set("DeviceType", "")},
		{"no version", 400, "InvalidRequest", set("OSVersion", "")},
		{"no name", 400, "InvalidRequest", set("DeviceDisplayName", "")},
		{"no transport key", 400, "InvalidRequest", set("TransportKey", "")},
		{"no join type", 400, "InvalidRequest", set("JoinType", nil)},
		{"unknown join type", 400, "InvalidRequest", set("JoinType", 3)},
		{"hybrid by POST", 400, "InvalidRequest", set("JoinType", 6)},
		{"request type", 400, "InvalidRequest", set("CertificateRequest", map[string]string{"Type": "cms", "Data": "eA=="})},
		{"request is not base64", 400, "InvalidRequest", request(func(*tc) string { return "!" })},
		{"request is not PKCS#10", 400, "InvalidRequest", request(func(*tc) string { return "eA==" })},
		{"request subject", 400, "InvalidRequest", request(func(c *tc) string { return csr(c.device, "box") })},
		{"request signature", 400, "InvalidRequest", request(func(c *tc) string {
			der, _ := base64.StdEncoding.DecodeString(csr(c.device, "7E980AD9-B86D-4306-9425-9AC066FB014A"))
			der[len(der)-1] ^= 1
			return base64.StdEncoding.EncodeToString(der)
		})},
		{"request with a key on P-256", 400, "InvalidRequest", request(func(c *tc) string { return ecRequest(c.t) })},
		{"transport key is not base64", 400, "InvalidRequest", set("TransportKey", "!")},
		{"transport key: magic", 400, "InvalidRequest", blob(func(b []byte) []byte { b[3] = '2'; return b })},
		{"transport key: primes", 400, "InvalidRequest", blob(func(b []byte) []byte { b[16] = 128; return b })},
		{"transport key: length", 400, "InvalidRequest", blob(func(b []byte) []byte { return b[:len(b)-1] })},
		{"transport key: bits", 400, "InvalidRequest", blob(func(b []byte) []byte { b[9] = 4; return b })},
		{"transport key: exponent", 400, "InvalidRequest", blob(func(b []byte) []byte { b[26] = 3; return b })},
		{"transport key: even modulus", 400, "InvalidRequest", blob(func(b []byte) []byte { b[len(b)-1] &^= 1; return b })},
		{"quota", 400, "AuthorizationError", func(c *tc, _ *entratest.Clock) *reply {
			o := options(entratest.NewClock(time.Time{}))
			o.DeviceQuota = 1
			d := newClient(c.t, entratest.NewTB(c.t, o))
			d.join("alice", 0)
			return d.tryJoin(func(map[string]any) {})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, clock := start(t)
			r := tt.do(c, clock)
			require.Equal(t, tt.status, r.status, "%s", r.body)
			require.Equal(t, tt.kind, r.str("ErrorType"), "%s", r.body)
			require.NotEmpty(t, r.str("Message"))
			require.Regexp(t, `^[0-9a-f-]{36}$`, r.str("TraceId"))
		})
	}
}

// The bytes of the certificate, read by openssl.
func TestCertificateByOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	c, clock := start(t)
	j := c.join("alice", 0)
	file := filepath.Join(t.TempDir(), "cert.der")
	require.NoError(t, os.WriteFile(file, c.cert, 0o600))
	out, err := exec.Command(openssl, "asn1parse", "-inform", "DER", "-in", file).Output()
	require.NoError(t, err)
	text := string(out)

	var oids []string // of the extensions, in order
	_, extensions, found := strings.Cut(text, "cont [ 3 ]")
	require.True(t, found)
	lines := strings.Split(extensions, "\n")
	value := map[string]string{}
	for i, l := range lines {
		if !strings.Contains(l, "d=5") || !strings.Contains(l, "OBJECT") {
			continue
		}
		oid := l[strings.LastIndex(l, ":")+1:]
		next := lines[i+1]
		if strings.Contains(next, "BOOLEAN") {
			require.Contains(t, next, ":255", "critical")
			oid += " critical"
			next = lines[i+2]
		}
		oids = append(oids, oid)
		value[oid] = next[strings.LastIndex(next, ":")+1:]
	}
	const base = "1.2.840.113556.1.5.284."
	require.Equal(t, []string{"X509v3 Basic Constraints critical", "X509v3 Extended Key Usage critical", base + "2", base + "3", base + "5", base + "8", base + "7"}, oids, text)
	require.Equal(t, "3000", value["X509v3 Basic Constraints critical"])
	guid := func(s string) string { // Microsoft's byte order, after 04 81 10
		h := strings.ReplaceAll(s, "-", "")
		swap := func(s string) string {
			b, _ := hex.DecodeString(s)
			for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
				b[i], b[j] = b[j], b[i]
			}
			return hex.EncodeToString(b)
		}
		return strings.ToUpper("048110" + swap(h[:8]) + swap(h[8:12]) + swap(h[12:16]) + h[16:])
	}
	dev := c.s.Devices()[0]
	require.Equal(t, guid(c.deviceID), value[base+"2"])
	require.Equal(t, guid(dev.Owner), value[base+"3"])
	require.Equal(t, guid(c.s.TenantID()), value[base+"5"])
	require.Equal(t, "048102"+hex.EncodeToString([]byte("EU")), strings.ToLower(value[base+"8"]))
	require.Equal(t, "04810131", value[base+"7"])

	out, err = exec.Command(openssl, "x509", "-inform", "DER", "-in", file, "-noout", "-subject", "-issuer", "-dates", "-fingerprint", "-sha1", "-nameopt", "RFC2253").Output()
	require.NoError(t, err)
	text = string(out)
	require.Contains(t, text, "subject=CN="+c.deviceID)
	require.Contains(t, text, "issuer=OU=82dbaca4-3e81-46ca-9c73-0950c1eaca97,CN=MS-Organization-Access,DC=windows,DC=net")
	at := clock.Now().UTC()
	const layout = "Jan _2 15:04:05 2006 GMT"
	require.Contains(t, text, "notBefore="+at.Add(-30*time.Minute).Format(layout))
	require.Contains(t, text, "notAfter="+at.AddDate(10, 0, 0).Format(layout))
	thumb := j.v["Certificate"].(map[string]any)["Thumbprint"].(string)
	require.Contains(t, strings.ReplaceAll(text, ":", ""), thumb)
	require.Equal(t, thumb, dev.Thumbprint)

	admins := j.v["MembershipChanges"].([]any)[0].(map[string]any)
	require.Equal(t, "S-1-5-32-544", admins["LocalSID"])
	require.Equal(t, "alice@contoso.example", j.v["User"].(map[string]any)["Upn"])
}

// mutual is a client that shows a certificate in the TLS handshake.
func (c *tc) mutual(cert []byte, key *rsa.PrivateKey) *tc {
	d := *c
	tr := c.s.HTTPTransport()
	tr.TLSClientConfig.Certificates = []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}
	if t, ok := c.t.(*testing.T); ok {
		t.Cleanup(tr.CloseIdleConnections)
	}
	d.http = &http.Client{Transport: tr}
	return &d
}

func TestUnjoin(t *testing.T) {
	c, _ := start(t)
	c.join("alice", 0)
	u := drs + "/EnrollmentServer/device/" + c.deviceID + "?api-version=1.0"
	status := drs + "/manage/common/" + c.deviceID + "?api-version=1.0"

	require.Equal(t, 401, c.do("DELETE", u, nil, "").status, "no certificate")
	other := newClient(t, c.s)
	other.join("bob", 0)
	require.Equal(t, 401, c.mutual(other.cert, other.device).do("DELETE", u, nil, "").status, "another device's certificate")

	m := c.mutual(c.cert, c.device)
	require.Equal(t, 200, m.get(status).status)
	require.NoError(t, c.s.DisableDevice(c.deviceID))
	require.Equal(t, 401, m.get(status).status)
	require.NoError(t, c.s.EnableDevice(c.deviceID))
	r := m.do("DELETE", u, nil, "")
	require.Equal(t, 200, r.status, "%s", r.body)
	require.NotEmpty(t, r.v["AttestationResult"].(map[string]any)["KeyId"])
	r = m.do("DELETE", u, nil, "")
	require.Equal(t, "DirectoryError", r.str("ErrorType"))
	require.Len(t, c.s.Devices(), 1)
}

func TestHybridJoin(t *testing.T) {
	c, clock := start(t)
	computer := pool()[2]
	const id, sid = "55555555-0000-4000-8000-000000000001", "S-1-5-21-1-2-3-1104"
	body := func(change func(id map[string]string)) map[string]any {
		stamped := sid + "." + clock.Now().UTC().Format("2006-01-02 15:04:05Z")
		sum := sha256.Sum256([]byte(stamped))
		sig, err := rsa.SignPKCS1v15(nil, computer, crypto.SHA256, sum[:])
		require.NoError(t, err)
		identity := map[string]string{"Type": "sha256signed", "Sid": stamped, "SignedBlob": base64.StdEncoding.EncodeToString(sig)}
		change(identity)
		return map[string]any{"JoinType": 6, "CertificateRequest": c.joinBody(0)["CertificateRequest"], "attributes": map[string]string{"ReturnClientSid": "true"},
			"ServerAdJoinData": map[string]any{"TransportKey": c.joinBody(0)["TransportKey"], "TargetDomain": c.s.Domain(), "DeviceType": "Windows",
				"OSVersion": "10.0.19045", "DeviceDisplayName": "PC1", "TargetDomainId": c.s.TenantID(), "ClientIdentity": identity}}
	}
	put := func(change func(map[string]string)) *reply {
		return c.json("PUT", drs+"/EnrollmentServer/device/"+id+"?api-version=2.0", "", body(change))
	}
	good := func(map[string]string) {}
	require.Equal(t, "DirectoryError", put(good).str("ErrorType"), "not synchronised yet")
	require.NoError(t, c.s.SyncComputer(entratest.Computer{ID: id, SID: sid, Name: "PC1", PublicKey: &computer.PublicKey}))
	require.Equal(t, 401, put(func(m map[string]string) { m["Type"] = "none" }).status)
	require.Equal(t, 401, put(func(m map[string]string) { m["SignedBlob"] = base64.StdEncoding.EncodeToString(make([]byte, 256)) }).status)
	require.Equal(t, 401, put(func(m map[string]string) { m["Sid"] = strings.Replace(m["Sid"], sid, "S-1-5-21-9", 1) }).status)
	require.Equal(t, 401, put(func(map[string]string) { clock.Advance(time.Hour) }).status)
	r := put(good)
	require.Equal(t, 200, r.status, "%s", r.body)
	c.useCertificate(r)
	require.Equal(t, id, c.deviceID)
	require.Equal(t, "ServerAd", c.s.Devices()[0].TrustType)

	c.agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
	require.Equal(t, 200, c.passwordPRT("alice").status)
	c.policy(`"domainJoinedDevice"`)
	require.Equal(t, 200, c.exchange(payrollID, "api://payroll").status)
}

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
	})
}

func TestHelloKeyEndpoint(t *testing.T) {
	c, clock := start(t)
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
	require.NoError(t, c.s.DisableDevice(c.deviceID))
	require.Equal(t, 401, c.json("POST", u, tok, good).status, "device disabled")
	_ = clock
}

func lastSignIn(c *tc) entratest.SignIn {
	list := c.s.SignIns()
	return list[len(list)-1]
}

func TestBulkEnrolment(t *testing.T) {
	c, clock := start(t)
	begin := func(exp string) *reply {
		return c.json("POST", login+"/webapp/bulkaadjtoken/begin", c.drsToken(), map[string]string{"pid": "66666666-0000-4000-8000-000000000001", "name": "Package", "exp": exp})
	}
	require.Equal(t, "CompleteError", begin("nonsense").str("state"))
	require.Contains(t, begin(clock.Now().Add(-time.Hour).Format("01/02/2006")).str("resultData"), "AADSTS90114")
	require.Equal(t, "CompleteError", begin(clock.Now().Add(200*24*time.Hour).Format("01/02/2006")).str("state"))
	b := begin(clock.Now().Add(30 * 24 * time.Hour).Format("2006-01-02 15:04:05"))
	require.Equal(t, "Started", b.str("state"), "%s", b.body)
	require.Equal(t, 90023, c.get(login+"/webapp/bulkaadjtoken/poll?flowtoken=x").code())
	p := c.get(login + "/webapp/bulkaadjtoken/poll?flowtoken=" + b.str("flowToken"))
	require.Equal(t, "CompleteSuccess", p.str("state"))
	bprt := jsonObject(t, p.str("resultData"))["refresh_token"].(string)

	const bulk = "b90d5b8f-5503-4153-b545-b31cecfaece2"
	for range 2 { // it may be used again
		tok := c.refresh(bulk, bprt, "resource", drsResource)
		require.Equal(t, 200, tok.status, "%s", tok.body)
		r := c.json("POST", joinURL, tok.str("access_token"), c.joinBody(0))
		require.Equal(t, 200, r.status, "%s", r.body)
		c.useCertificate(r)
	}
	mdm := c.prtRequest(map[string]any{"grant_type": "refresh_token", "refresh_token": bprt, "client_id": bulk, "scope": "openid", "resource": "https://enrollment.manage.microsoft.com/"})
	require.Equal(t, 200, mdm.status, "%s", mdm.body)
	require.NotEmpty(t, mdm.str("access_token"))
	require.Equal(t, "client_mismatch", c.refresh(payrollID, bprt).str("suberror"))
	clock.Advance(31 * 24 * time.Hour)
	require.Equal(t, 700082, c.refresh(bulk, bprt, "resource", drsResource).code())
}

func TestDRSNonce(t *testing.T) {
	c, _ := start(t)
	r := c.get(drs + "/EnrollmentServer/nonce/" + c.s.TenantID() + "/?api-version=1.0")
	require.Equal(t, 200, r.status)
	require.Contains(t, r.v, "ReponseStatus")
	require.NotEmpty(t, r.str("Value"))
	require.Equal(t, 400, c.get(drs+"/EnrollmentServer/nonce/common/").status)
}

// 10,000 devices and users have no slow path.
func TestTenThousand(t *testing.T) {
	if testing.Short() {
		t.Skip("in short mode")
	}
	o := options(entratest.NewClock(time.Time{}))
	o.Logf = func(string, ...any) {}
	for i := range 10_000 {
		o.Users = append(o.Users, entratest.User{Username: fmt.Sprintf("user%05d", i), Password: password})
	}
	c := newClient(t, entratest.NewTB(t, o))
	began := time.Now()
	c.http = nil
	tr := c.s.Transport()
	for i := range 10_000 {
		require.NoError(t, c.s.SyncComputer(entratest.Computer{ID: fmt.Sprintf("77777777-0000-4000-8000-%012d", i), SID: "S-1-5-21-1", PublicKey: &pool()[0].PublicKey}))
	}
	require.Len(t, c.s.Devices(), 10_000)
	filled := time.Since(began)
	c.http = &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	began = time.Now()
	require.Equal(t, 200, c.ropc("user09999", payrollID, "api://payroll").status)
	c.joined()
	for i := range 100 {
		require.NoError(t, c.s.DeleteDevice(fmt.Sprintf("77777777-0000-4000-8000-%012d", i*100)))
	}
	require.Equal(t, 200, c.exchange(payrollID, "api://payroll").status)
	t.Logf("filled in %s, then a join, a PRT, three token requests and 100 deletions in %s", filled, time.Since(began))
	require.Less(t, time.Since(began), 5*time.Second)
}
