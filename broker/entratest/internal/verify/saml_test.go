package verify

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An assertion of the emulator's federation server, and what MSAL for Java makes of
// it on its way: its XML library writes empty elements in short form.
func samlFile(t *testing.T, name string) (text []byte, pub *rsa.PublicKey) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(text), "<ds:X509Certificate>")
	der, err := base64.StdEncoding.DecodeString(rest[:strings.Index(rest, "<")])
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return bytes.TrimSpace(text), cert.PublicKey.(*rsa.PublicKey)
}

func TestSAMLWrittenAnew(t *testing.T) {
	for _, name := range []string{"saml-signed.xml", "saml-reserialised.xml"} {
		t.Run(name, func(t *testing.T) {
			text, pub := samlFile(t, name)
			a, err := ParseSAML(text, pub)
			require.NoError(t, err)
			require.Equal(t, "dave@corp.contoso.example", a.UPN)
		})
	}
	text, pub := samlFile(t, "saml-signed.xml")
	for name, change := range map[string][2]string{
		"other quotes":            {`MajorVersion="1"`, `MajorVersion='1'`},
		"other order":             {`MajorVersion="1" MinorVersion="1"`, `MinorVersion="1" MajorVersion="1"`},
		"space in a tag":          {`<saml:Conditions `, `<saml:Conditions   `},
		"a comment":               {`<saml:Conditions `, `<!-- nothing --><saml:Conditions `},
		"declared again":          {`<ds:SignedInfo>`, `<ds:SignedInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#">`},
		"declared further up":     {`<saml:Assertion `, `<saml:Assertion xmlns:ds="http://www.w3.org/2000/09/xmldsig#" `},
		"a character by number":   {`dave@`, `&#100;ave@`},
		"lines in the signature":  {`<ds:SignatureValue>`, "<ds:SignatureValue>\n"},
		"a comment in the name":   {`dave@corp`, `dave<!-- x -->@corp`},
		"the end of a long start": {`xmldsig#enveloped-signature"></ds:Transform>`, `xmldsig#enveloped-signature"/>`},
	} {
		t.Run(name, func(t *testing.T) {
			changed := bytes.Replace(text, []byte(change[0]), []byte(change[1]), 1)
			require.NotEqual(t, text, changed)
			a, err := ParseSAML(changed, pub)
			require.NoError(t, err)
			require.Equal(t, "dave@corp.contoso.example", a.UPN)
		})
	}
}

func TestSAMLForged(t *testing.T) {
	text, pub := samlFile(t, "saml-signed.xml")
	begin, end := bytes.Index(text, []byte("<ds:Signature ")), bytes.Index(text, []byte("</ds:Signature>"))+len("</ds:Signature>")
	signature := string(text[begin:end])
	evil := strings.ReplaceAll(string(text[:begin])+string(text[end:]), "dave@", "eve@")
	for name, forged := range map[string]string{
		"another name":              strings.Replace(string(text), "dave@", "eve@", 1),
		"white space in content":    strings.Replace(string(text), "dave@", " dave@", 1),
		"the rest of a name":        strings.Replace(string(text), "</saml:AttributeValue>", "<!-- x -->.example</saml:AttributeValue>", 1),
		"no signature":              evil,
		"two signatures":            strings.Replace(string(text), signature, signature+signature, 1),
		"the original inside":       strings.Replace(evil, "<saml:Conditions", "<saml:Advice>"+string(text)+"</saml:Advice><saml:Conditions", 1),
		"the original in an object": strings.Replace(evil, "</saml:Assertion>", strings.Replace(signature, "</ds:Signature>", "<ds:Object>"+strings.Replace(string(text), signature, "", 1)+"</ds:Object></ds:Signature>", 1)+"</saml:Assertion>", 1),
		"a second SignedInfo":       strings.Replace(string(text), "<ds:SignatureValue>", "<ds:SignedInfo></ds:SignedInfo><ds:SignatureValue>", 1),
		"deeper":                    strings.Replace(string(text[:begin])+string(text[end:]), "</saml:AuthenticationStatement>", signature+"</saml:AuthenticationStatement>", 1),
		"of another namespace":      strings.ReplaceAll(string(text), "http://www.w3.org/2000/09/xmldsig#\"", "urn:other\""),
		"no element":                "<!-- nothing -->",
		"no XML":                    "<saml:Assertion",
	} {
		t.Run(name, func(t *testing.T) {
			require.NotEqual(t, string(text), forged)
			a, err := ParseSAML([]byte(forged), pub)
			require.ErrorIs(t, err, ErrSAML)
			require.Nil(t, a)
		})
	}
}

// FuzzSAMLWrittenAnew changes an assertion: whatever is accepted says what was signed.
func FuzzSAMLWrittenAnew(f *testing.F) {
	text, err := os.ReadFile("testdata/saml-signed.xml")
	require.NoError(f, err)
	f.Add(10, []byte("x"))
	f.Add(bytes.Index(text, []byte("dave@")), []byte("<!-- -->"))
	f.Fuzz(func(t *testing.T, at int, put []byte) {
		text, pub := samlFile(t, "saml-signed.xml")
		if at < 0 || at+len(put) > len(text) {
			return
		}
		for _, changed := range [][]byte{
			append(append(bytes.Clone(text[:at]), put...), text[at:]...),
			append(append(bytes.Clone(text[:at]), put...), text[at+len(put):]...),
		} {
			if a, err := ParseSAML(changed, pub); err == nil {
				require.Equal(t, "dave@corp.contoso.example", a.UPN)
				require.Equal(t, "urn:federation:MicrosoftOnline", a.Audience)
			}
		}
	})
}
