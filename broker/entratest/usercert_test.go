package entratest_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

func (c *tc) certificate(user string, multiFactor bool) *tls.Certificate {
	c.t.Helper()
	cert, err := c.s.IssueUserCertificate(user, multiFactor)
	require.NoError(c.t, err)
	return &cert
}

// foreignCertificate is one that nobody's authority signed, with the names of
// another.
func foreignCertificate(t *testing.T, like *x509.Certificate) *tls.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: like.Subject, NotBefore: like.NotBefore, NotAfter: like.NotAfter,
		ExtKeyUsage: like.ExtKeyUsage, ExtraExtensions: like.Extensions}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func TestCertificateSignIn(t *testing.T) {
	strengthOf := func(config string) []byte {
		return []byte(strings.Replace(string(customStrength("x509CertificateMultiFactor", "x509CertificateSingleFactor")),
			`"allowedCombinations"`, `"combinationConfigurations":[`+config+`],"allowedCombinations"`, 1))
	}
	const oids = `{"@odata.type":"#microsoft.graph.x509CertificateCombinationConfiguration","id":"1","appliesToCombinations":["x509CertificateMultiFactor","x509CertificateSingleFactor"],"allowedPolicyOIDs":["2.999.2"]}`
	tests := []struct {
		name     string
		person   func(*tc, *entratest.Clock) entratest.Person
		policies []byte
		kv       []string
		amr      []any
		code     int
	}{
		{name: "single factor", amr: []any{"rsa"}, person: func(c *tc, _ *entratest.Clock) entratest.Person {
			return entratest.Person{Username: "alice@contoso.example", Certificate: c.certificate("alice", false)}
		}},
		{name: "multifactor", kv: []string{"amr_values", "mfa"}, amr: []any{"rsa", "mfa"}, person: func(c *tc, _ *entratest.Clock) entratest.Person {
			return entratest.Person{Username: "alice@contoso.example", Certificate: c.certificate("alice", true)}
		}},
		{name: "multifactor is fresh MFA", kv: []string{"amr_values", "ngcmfa"}, amr: []any{"rsa", "mfa", "ngcmfa"}, person: func(c *tc, _ *entratest.Clock) entratest.Person {
			return entratest.Person{Username: "bob@contoso.example", Certificate: c.certificate("bob", true)}
		}},
		{name: "multifactor under a strength for its policy", policies: strengthOf(oids), amr: []any{"rsa", "mfa"}, person: func(c *tc, _ *entratest.Clock) entratest.Person {
			return entratest.Person{Username: "alice@contoso.example", Certificate: c.certificate("alice", true)}
		}},
		{name: "single factor and a passkey", kv: []string{"amr_values", "mfa"}, amr: []any{"fido", "rsa", "mfa"}, person: func(c *tc, _ *entratest.Clock) entratest.Person {
			key, err := entratest.NewPasskey()
			c.must(err)
			c.must(c.s.AddPasskey("alice", *key))
			return entratest.Person{Username: "alice@contoso.example", Certificate: c.certificate("alice", false), Passkey: key}
		}},
		{name: "single factor and an app that signs in", kv: []string{"amr_values", "mfa"}, amr: []any{"rsa", "mfa"}, person: func(c *tc, _ *entratest.Clock) entratest.Person {
			return entratest.Person{Username: "carol@contoso.example", Certificate: c.certificate("carol", false), Approve: c.approve("carol")}
		}},
		{name: "single factor and a code are not MFA", kv: []string{"amr_values", "mfa"}, code: 53003, person: func(c *tc, _ *entratest.Clock) entratest.Person {
			return entratest.Person{Username: "alice@contoso.example", Certificate: c.certificate("alice", false), TOTPSecret: totpSecret}
		}},
		{name: "second factor beside a password", kv: []string{"amr_values", "mfa"}, amr: []any{"pwd", "rsa", "mfa"}, person: func(c *tc, _ *entratest.Clock) entratest.Person {
			return entratest.Person{Username: "alice@contoso.example", Password: password, Certificate: c.certificate("alice", false)}
		}},
		{name: "second factor for a strength", policies: customStrength("password,x509CertificateSingleFactor"), amr: []any{"pwd", "rsa", "mfa"}, person: func(c *tc, _ *entratest.Clock) entratest.Person {
			key, err := entratest.NewPasskey()
			c.must(err)
			c.must(c.s.AddPasskey("alice", *key))
			return entratest.Person{Username: "alice@contoso.example", Password: password, Certificate: c.certificate("alice", false)}
		}},
		{name: "single factor, nothing else", kv: []string{"amr_values", "mfa"}, code: 53003, person: func(c *tc, _ *entratest.Clock) entratest.Person {
			return entratest.Person{Username: "bob@contoso.example", Certificate: c.certificate("bob", false)}
		}},
		{name: "another authority", code: 50017, person: func(c *tc, _ *entratest.Clock) entratest.Person {
			return entratest.Person{Username: "alice@contoso.example", Certificate: foreignCertificate(c.t.(*testing.T), c.certificate("alice", true).Leaf)}
		}},
		{name: "device certificate", code: 50017, person: func(c *tc, _ *entratest.Clock) entratest.Person {
			c.joined()
			leaf, err := x509.ParseCertificate(c.cert)
			c.must(err)
			return entratest.Person{Username: "alice@contoso.example", Certificate: &tls.Certificate{Certificate: [][]byte{c.cert}, PrivateKey: c.device, Leaf: leaf}}
		}},
		{name: "expired", code: 500172, person: func(c *tc, clock *entratest.Clock) entratest.Person {
			cert := c.certificate("alice", true)
			clock.Advance(366 * 24 * time.Hour)
			return entratest.Person{Username: "alice@contoso.example", Certificate: cert}
		}},
		{name: "revoked", code: 500183, person: func(c *tc, _ *entratest.Clock) entratest.Person {
			cert := c.certificate("alice", true)
			c.must(c.s.RevokeUserCertificate(cert.Leaf))
			return entratest.Person{Username: "alice@contoso.example", Certificate: cert}
		}},
		{name: "another user's", code: 1001003, kv: []string{"login_hint", "alice@contoso.example"}, person: func(c *tc, _ *entratest.Clock) entratest.Person {
			return entratest.Person{Username: "alice@contoso.example", Certificate: c.certificate("bob", true)}
		}},
		{name: "user deleted", code: 50034, person: func(c *tc, _ *entratest.Clock) entratest.Person {
			cert := c.certificate("bob", true)
			c.must(c.s.DeleteUser("bob"))
			return entratest.Person{Username: "bob@contoso.example", Certificate: cert}
		}},
		{name: "user disabled", code: 50057, person: func(c *tc, _ *entratest.Clock) entratest.Person {
			c.must(c.s.DisableUser("bob"))
			return entratest.Person{Username: "bob@contoso.example", Certificate: c.certificate("bob", true)}
		}},
	}
	for _, tt := range tests {
		for _, memory := range []bool{false, true} {
			name := tt.name
			if memory {
				name += ", in memory"
			}
			t.Run(name, func(t *testing.T) {
				c, clock := start(t)
				c.must(c.s.SetPolicies(tt.policies))
				p := tt.person(c, clock)
				client := c.s.Client()
				if memory {
					client = &http.Client{Transport: c.s.Transport()}
				}
				to, err := p.Authorize(t.Context(), client, authorizeURL(c.s.TenantID(), append([]string{"client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll"}, tt.kv...)...), nativeURI)
				if tt.code != 0 {
					require.Equal(t, tt.code, pageCode(t, err))
					return
				}
				require.NoError(t, err)
				r := c.redeemCode(query(t, to).Get("code"))
				require.Equal(t, 200, r.status, "%s", r.body)
				require.Equal(t, tt.amr, jwtClaims(t, r.str("access_token"))["amr"])
			})
		}
	}
	t.Run("no certificate", func(t *testing.T) {
		c, _ := start(t)
		cfg := config(t, c.authorizeQuery())
		r := c.form("https://certauth.login.microsoftonline.com/common/certauth", "ctx", cfg["sCtx"].(string))
		require.Equal(t, "50192", aadsts.FindStringSubmatch(string(r.body))[1])
	})
	t.Run("what it proved serves one sign-in, once", func(t *testing.T) {
		c, _ := start(t)
		cert := c.certificate("alice", true)
		cfg, other := config(t, c.authorizeQuery()), config(t, c.authorizeQuery())
		tr := c.s.HTTPTransport()
		tr.TLSClientConfig.Certificates = []tls.Certificate{*cert}
		defer tr.CloseIdleConnections()
		plain := c.http
		c.http = &http.Client{Transport: tr}
		r := c.form("https://certauth.login.microsoftonline.com/common/certauth", "ctx", cfg["sCtx"].(string))
		c.http = plain
		_, text, _ := strings.Cut(string(r.body), `name="certificatetoken" value="`)
		token, _, _ := strings.Cut(text, `"`)
		require.NotEmpty(t, token, "%s", r.body)
		send := func(ctx any) *reply { return c.form("/common/login", "certificatetoken", token, "ctx", ctx.(string)) }
		require.Equal(t, 200, send(other["sCtx"]).status, "another sign-in")
		require.Contains(t, send(cfg["sCtx"]).header.Get("Location"), "code=")
		require.Equal(t, 200, send(cfg["sCtx"]).status, "again")
	})
	t.Run("a revocation outlives the server", func(t *testing.T) {
		c, _ := start(t)
		cert := c.certificate("alice", true)
		c.must(c.s.RevokeUserCertificate(cert.Leaf))
		state, err := c.s.State()
		require.NoError(t, err)
		c = newClient(t, entratest.NewTB(t, entratest.Options{State: state, Clock: entratest.NewClock(time.Time{})}))
		_, err = c.tryAuthorize(entratest.Person{Username: "alice@contoso.example", Certificate: cert})
		require.Equal(t, 500183, pageCode(t, err))
	})
	t.Run("what cannot be issued or revoked", func(t *testing.T) {
		c, _ := start(t)
		_, err := c.s.IssueUserCertificate("zoe", false)
		require.ErrorContains(t, err, "no such user: zoe")
		require.ErrorContains(t, c.s.RevokeUserCertificate(nil), "not a user certificate issued by this server")
		require.ErrorContains(t, c.s.RevokeUserCertificate(foreignCertificate(t, c.certificate("alice", false).Leaf).Leaf), "not a user certificate issued by this server")
	})
}

// certificateAssertion is the assertion of MS-OAPXBC 3.2.5.1.2.1.4.
func (c *tc) certificateAssertion(cert *tls.Certificate, x5c any, change map[string]any) string {
	now := c.s.Now().Unix()
	claims := map[string]any{"iss": "alice@" + c.s.Domain(), "aud": "common", "iat": now, "exp": now + 300, "scope": "openid aza ugs", "request_nonce": c.nonce()}
	for k, v := range change {
		with(claims, k, v)
	}
	if x5c == nil {
		x5c = base64.StdEncoding.EncodeToString(cert.Certificate[0])
	}
	return compact(map[string]any{"alg": "RS256", "typ": "JWT", "x5c": x5c}, claims, rs256(cert.PrivateKey.(*rsa.PrivateKey)))
}

func TestCertificatePRT(t *testing.T) {
	c, clock := start(t)
	c.joined()
	multi, single := c.certificate("alice", true), c.certificate("alice", false)
	prt := func(assertion string) *reply {
		return c.prtRequest(map[string]any{"grant_type": jwtBearer, "assertion": assertion})
	}
	born := prt(c.certificateAssertion(multi, nil, nil))
	require.Equal(t, 200, born.status, "%s", born.body)
	require.Equal(t, []any{"rsa", "mfa"}, jwtClaims(t, born.str("id_token"))["amr"])
	c.usePRT(born)
	c.policy(`"mfa"`)
	require.Equal(t, 200, c.exchange(payrollID, "api://payroll").status)
	require.Equal(t, 50076, c.exchange(payrollID, "api://payroll", "claims", `{"access_token":{"amr":{"values":["ngcmfa"]}}}`).code(), "no fresh MFA")
	require.NoError(t, c.s.ChangePassword("alice", "new"))
	require.Equal(t, 200, c.renew().status, "it was not born of the password")
	require.NoError(t, c.s.ChangePassword("alice", password))

	array := prt(c.certificateAssertion(single, []string{base64.StdEncoding.EncodeToString(single.Certificate[0])}, nil))
	require.Equal(t, 200, array.status, "%s", array.body)
	require.Equal(t, []any{"rsa"}, jwtClaims(t, array.str("id_token"))["amr"])
	require.Equal(t, 200, prt(c.certificateAssertion(multi, nil, map[string]any{"request_nonce": nil, "aud": c.s.TenantID()})).status, "the request has a nonce")
	unlocked := c.prtUse(map[string]any{"scope": "openid aza ugs", "assertion": c.certificateAssertion(multi, nil, nil)})
	require.Equal(t, 200, unlocked.status, "%s", unlocked.body)

	revoked := c.certificate("alice", true)
	require.NoError(t, c.s.RevokeUserCertificate(revoked.Leaf))
	swapped := *multi
	swapped.PrivateKey = single.PrivateKey
	for _, tt := range []struct {
		name      string
		code      int
		assertion string
	}{
		{"another authority", 50017, c.certificateAssertion(foreignCertificate(t, multi.Leaf), nil, nil)},
		{"device certificate", 50017, c.certificateAssertion(&tls.Certificate{Certificate: [][]byte{c.cert}, PrivateKey: c.device}, nil, nil)},
		{"revoked", 500183, c.certificateAssertion(revoked, nil, nil)},
		{"another key", 50012, c.certificateAssertion(&swapped, nil, nil)},
		{"another user's name", 50013, c.certificateAssertion(multi, nil, map[string]any{"iss": "bob@contoso.example"})},
		{"another user's certificate", 50013, c.certificateAssertion(c.certificate("bob", true), nil, nil)},
		{"no issuer", 50027, c.certificateAssertion(multi, nil, map[string]any{"iss": nil})},
		{"no audience", 50027, c.certificateAssertion(multi, nil, map[string]any{"aud": nil})},
		{"no times", 50027, c.certificateAssertion(multi, nil, map[string]any{"exp": nil})},
		{"expired assertion", 500133, c.certificateAssertion(multi, nil, map[string]any{"iat": clock.Now().Unix() - 1200, "exp": clock.Now().Unix() - 600})},
		{"foreign nonce", 140000, c.certificateAssertion(multi, nil, map[string]any{"request_nonce": "x"})},
		{"not a certificate", 50027, c.certificateAssertion(multi, "AAAA", nil)},
		{"deleted user", 50034, func() string {
			require.NoError(t, c.s.AddUser(entratest.User{Username: "gone"}))
			cert := c.certificate("gone", true)
			require.NoError(t, c.s.DeleteUser("gone"))
			return c.certificateAssertion(cert, nil, map[string]any{"iss": "gone@contoso.example"})
		}()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := prt(tt.assertion)
			require.Equal(t, tt.code, r.code(), "%s", r.body)
		})
	}
	t.Run("expired certificate", func(t *testing.T) {
		clock.Advance(366 * 24 * time.Hour)
		r := prt(c.certificateAssertion(multi, nil, nil))
		require.Equal(t, 500172, r.code(), "%s", r.body)
	})
}

// What a certificate says is read by Python's cryptography alike.
func TestUserCertificateByPython(t *testing.T) {
	python := pythonWithCryptography(t)
	c, _ := start(t)
	cmd := exec.Command(python, "-c", `
import base64, sys
from cryptography import x509
cert = x509.load_der_x509_certificate(base64.b64decode(sys.stdin.read()))
san = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
print(*[(n.type_id.dotted_string, n.value) for n in san],
  [p.policy_identifier.dotted_string for p in cert.extensions.get_extension_for_class(x509.CertificatePolicies).value],
  [u.dotted_string for u in cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value])`)
	cmd.Stdin = strings.NewReader(base64.StdEncoding.EncodeToString(c.certificate("alice", true).Certificate[0]))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, `('1.3.6.1.4.1.311.20.2.3', b'\x0c\x15alice@contoso.example') ['2.999.2'] ['1.3.6.1.5.5.7.3.2', '1.3.6.1.4.1.311.20.2.2']`, strings.TrimSpace(string(out)))
}
