package entratest_test

import (
	"encoding/base64"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// soap is a request to the federation server.
func (c *tc) soap(version, user, pass, appliesTo, tokenType string) *reply {
	body := `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header><o:Security xmlns:o="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"><o:UsernameToken><o:Username>` +
		user + `</o:Username><o:Password>` + pass + `</o:Password></o:UsernameToken></o:Security></s:Header><s:Body><t:RequestSecurityToken xmlns:t="x"><wsp:AppliesTo xmlns:wsp="y"><a:EndpointReference><a:Address>` +
		appliesTo + `</a:Address></a:EndpointReference></wsp:AppliesTo><t:TokenType>` + tokenType + `</t:TokenType></t:RequestSecurityToken></s:Body></s:Envelope>`
	return c.do("POST", "https://sts.fed.example/adfs/services/trust/"+version+"/usernamemixed", http.Header{"Content-Type": {"application/soap+xml"}}, body)
}

func assertionOf(t *testing.T, r *reply) string {
	t.Helper()
	text := string(r.body)
	from, to := strings.Index(text, "<saml:Assertion"), strings.LastIndex(text, "</saml:Assertion>")
	require.Positive(t, from, text)
	return text[from : to+len("</saml:Assertion>")]
}

func TestFederation(t *testing.T) {
	clock := entratest.NewClock(time.Time{})
	o := options(clock)
	o.Federated = []string{"fed.example"}
	o.Users = append(o.Users, entratest.User{Username: "frida@fed.example", Password: password})
	c := newClient(t, entratest.NewTB(t, o))
	const cloud = "urn:federation:MicrosoftOnline"
	grants := map[string]string{"": "urn:ietf:params:oauth:grant-type:saml1_1-bearer", "urn:oasis:names:tc:SAML:2.0:assertion": "urn:ietf:params:oauth:grant-type:saml2-bearer"}
	redeem := func(grant, assertion string) *reply {
		return c.token("grant_type", grant, "client_id", payrollID, "resource", "api://payroll", "assertion", base64.StdEncoding.EncodeToString([]byte(assertion)), "scope", "openid")
	}
	require.Contains(t, string(c.get("https://sts.fed.example/adfs/services/trust/mex").body), "https://sts.fed.example/adfs/services/trust/13/usernamemixed")
	c.join("alice", 0)
	for _, version := range []string{"2005", "13"} {
		for tokenType, grant := range grants {
			r := c.soap(version, "frida@fed.example", password, cloud, tokenType)
			require.Equal(t, 200, r.status, "%s", r.body)
			a := assertionOf(t, r)
			got := redeem(grant, a)
			require.Equal(t, 200, got.status, "%s", got.body)
			require.Equal(t, []any{"fed"}, jwtClaims(t, got.str("access_token"))["amr"])
			prt := c.prtRequest(map[string]any{"grant_type": grant, "assertion": base64.StdEncoding.EncodeToString([]byte(a))})
			require.Equal(t, 200, prt.status, "%s", prt.body)
		}
	}
	a := assertionOf(t, c.soap("2005", "frida@fed.example", password, cloud, ""))
	saml11 := grants[""]
	require.Equal(t, 50008, redeem(saml11, strings.Replace(a, "frida@", "alice@", 1)).code())
	require.Equal(t, 200, redeem(saml11, strings.Replace(a, "<saml:Conditions", "<saml:Conditions ", 1)).status, "a space in a tag is not signed")
	require.Equal(t, 50008, redeem(grants["urn:oasis:names:tc:SAML:2.0:assertion"], a).code())
	require.Equal(t, 900144, c.token("grant_type", saml11, "client_id", payrollID).code())
	require.Equal(t, 50008, c.token("grant_type", saml11, "client_id", payrollID, "assertion", "!").code())
	require.Equal(t, 50126, c.token("grant_type", "password", "client_id", payrollID, "username", "frida@fed.example", "password", password).code(), "the password is not for the sign-in service")
	for _, bad := range []*reply{
		c.soap("2005", "frida@fed.example", "wrong", cloud, ""), c.soap("2005", "alice@contoso.example", password, cloud, ""), c.soap("2005", "frida@fed.example", password, "urn:other", ""),
		c.do("POST", "https://sts.fed.example/adfs/services/trust/13/usernamemixed", nil, "not XML"),
	} {
		require.Equal(t, 500, bad.status)
		require.Contains(t, string(bad.body), "s:Fault")
	}
	to, err := c.tryAuthorize(entratest.Person{Username: "frida@fed.example", Password: password})
	require.NoError(t, err)
	require.Equal(t, 200, c.redeemCode(query(t, to).Get("code")).status)
	_, err = c.tryAuthorize(entratest.Person{Username: "frida@fed.example", Password: "wrong"})
	require.Equal(t, 50126, pageCode(t, err))
	require.NoError(t, c.s.DisableUser("frida@fed.example"))
	require.Equal(t, 50057, redeem(saml11, a).code())
	require.NoError(t, c.s.EnableUser("frida@fed.example"))
	clock.Advance(2 * time.Hour)
	require.Equal(t, 500133, redeem(saml11, a).code())
}

// The assertions are canonical XML as Python canonicalises it, and their
// signature verifies under the published key.
func TestAssertionByPython(t *testing.T) {
	python := pythonWithCryptography(t)
	o := options(entratest.NewClock(time.Time{}))
	o.Federated = []string{"fed.example"}
	o.Users = append(o.Users, entratest.User{Username: "frida@fed.example", Password: password})
	c := newClient(t, entratest.NewTB(t, o))
	for _, tokenType := range []string{"", "urn:oasis:names:tc:SAML:2.0:assertion"} {
		cmd := exec.Command(python, "-c", pythonAssertion)
		cmd.Stdin = strings.NewReader(assertionOf(t, c.soap("13", "frida@fed.example", password, "urn:federation:MicrosoftOnline", tokenType)))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Equal(t, "ok", strings.TrimSpace(string(out)))
	}
}

const pythonAssertion = `
import base64, hashlib, sys
import xml.etree.ElementTree as ET
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
ds = "{http://www.w3.org/2000/09/xmldsig#}"
root = ET.fromstring(sys.stdin.read())
sig = root.find(ds + "Signature")
text = lambda path: sig.find("/".join(ds + p for p in path.split("/"))).text
ET.register_namespace("ds", ds[1:-1])
ET.register_namespace("saml", root.tag[1:].split("}")[0])
info = ET.canonicalize(ET.tostring(sig.find(ds + "SignedInfo"), encoding="unicode"))
root.remove(sig)
body = ET.canonicalize(ET.tostring(root, encoding="unicode"))
assert base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() == text("SignedInfo/Reference/DigestValue")
cert = x509.load_der_x509_certificate(base64.b64decode(text("KeyInfo/X509Data/X509Certificate")))
cert.public_key().verify(base64.b64decode(text("SignatureValue")), info.encode(), padding.PKCS1v15(), hashes.SHA256())
print("ok")
`
