package entratest_test

import (
	"crypto/rsa"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
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
		missing(t, "openssl is not installed")
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

func lastSignIn(c *tc) entratest.SignIn {
	list := c.s.SignIns()
	return list[len(list)-1]
}

func TestDRSNonce(t *testing.T) {
	c, _ := start(t)
	r := c.get(drs + "/EnrollmentServer/nonce/" + c.s.TenantID() + "/?api-version=1.0")
	require.Equal(t, 200, r.status)
	require.Contains(t, r.v, "ReponseStatus")
	require.NotEmpty(t, r.str("Value"))
	require.Equal(t, 400, c.get(drs+"/EnrollmentServer/nonce/common/").status)
}

// What a device needs before it is compliant is exempt from device grants, and
// from nothing else.
func TestRegistrationExempt(t *testing.T) {
	c, _ := start(t)
	c.agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
	require.NoError(t, c.s.SetPolicies(policies(policyJSON("All need a compliant device", "All", `"compliantDevice"`, ""))))
	require.Equal(t, 50097, c.payroll().code())
	c.joined()
	for _, resource := range []string{drsResource, updatePRT, "https://enrollment.manage.microsoft.com/"} {
		require.Equal(t, 200, c.prtUse(map[string]any{"client_id": brokerClient, "resource": resource, "scope": "openid"}).status, resource)
	}
	require.Equal(t, 53000, c.exchange(payrollID, "api://payroll").code())
	require.NoError(t, c.s.SetCompliant(c.deviceID, true))
	require.Equal(t, 200, c.exchange(payrollID, "api://payroll").status)

	both := strings.Replace(string(policyJSON("MFA and a compliant device", "All", `"mfa","compliantDevice"`, "")), `"OR"`, `"AND"`, 1)
	require.NoError(t, c.s.SetPolicies([]byte(both)))
	require.Equal(t, 50076, c.ropc("alice", brokerClient, drsResource).code())
	require.NoError(t, c.s.SetPolicies([]byte(strings.Replace(both, `"AND"`, `"OR"`, 1))))
	require.Equal(t, 200, c.ropc("alice", brokerClient, drsResource).status, "the exempt half of an OR satisfies it")
	require.NoError(t, c.s.SetPolicies(policies(policyJSON("Block", "All", `"block"`, ""))))
	require.Equal(t, 53003, c.ropc("alice", brokerClient, drsResource).code())
}
