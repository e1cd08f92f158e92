package verify

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

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
		"another digest":            strings.Replace(string(text), "<ds:DigestValue>", "<ds:DigestValue>AAAA", 1),
		"another algorithm":         strings.Replace(string(text), "xmldsig-more#rsa-sha256", "xmldsig-more#hmac-sha256", 1),
		"another reference":         strings.Replace(string(text), `<ds:Reference URI="#`, `<ds:Reference URI="#_other`, 1),
		"a second SignedInfo":       strings.Replace(string(text), "<ds:SignatureValue>", "<ds:SignedInfo></ds:SignedInfo><ds:SignatureValue>", 1),
		"deeper":                    strings.Replace(string(text[:begin])+string(text[end:]), "</saml:AuthenticationStatement>", signature+"</saml:AuthenticationStatement>", 1),
		"of another namespace":      strings.ReplaceAll(string(text), "http://www.w3.org/2000/09/xmldsig#\"", "urn:other\""),
		"a second value":            strings.Replace(string(text), "</ds:SignedInfo>", "</ds:SignedInfo><ds:SignatureValue>AA==</ds:SignatureValue>", 1),
		"no SignedInfo":             strings.Replace(strings.Replace(string(text), "<ds:SignedInfo>", "<ds:Object>", 1), "</ds:SignedInfo>", "</ds:Object>", 1),
		"a value that is no base64": strings.Replace(string(text), "<ds:SignatureValue>", "<ds:SignatureValue>!", 1),
		"another value":             strings.Replace(string(text), "<ds:SignatureValue>", "<ds:SignatureValue>AAAA", 1),
		"no element":                "<!-- nothing -->",
		"no XML":                    "<saml:Assertion",
	} {
		t.Run(name, func(t *testing.T) {
			require.NotEqual(t, string(text), forged)
			a, err := ParseSAML([]byte(forged), pub)
			require.ErrorIs(t, err, ErrSAML)
			require.Nil(t, a)
			if name == "deeper" || name == "of another namespace" { // refused before anything in it is read
				require.ErrorContains(t, err, "the signature does not match the assertion")
			}
		})
	}
}

// The signature that the emulator writes is the one of the file, and another key's is
// refused. An assertion may be as long as a signed request.
func TestSAMLSignature(t *testing.T) {
	text, pub := samlFile(t, "saml-signed.xml")
	begin, end := bytes.Index(text, []byte(signatureBegin)), bytes.Index(text, []byte(signatureEnd))+len(signatureEnd)
	within := func(from, to string) []byte {
		_, rest, _ := strings.Cut(string(text), from)
		raw, err := base64.StdEncoding.DecodeString(rest[:strings.Index(rest, to)])
		require.NoError(t, err)
		return raw
	}
	signed := append(bytes.Clone(text[:begin]), text[end:]...)
	a, err := ParseSAML(text, pub)
	require.NoError(t, err)
	require.Equal(t, string(text[begin:end]), XMLSignature(a.ID, signed, within(valueBegin, valueEnd), within("<ds:X509Certificate>", "<")))

	_, err = ParseSAML(text, &rsa.PublicKey{N: new(big.Int).Add(pub.N, big.NewInt(2)), E: pub.E})
	require.ErrorIs(t, err, ErrSAML)
	require.ErrorContains(t, err, "signature does not verify")

	comment := func(octets int) []byte {
		return append(bytes.Clone(text), []byte("<!--"+strings.Repeat(" ", octets-len(text)-len("<!---->"))+"-->")...)
	}
	_, err = ParseSAML(comment(MaxJWS), pub)
	require.NoError(t, err)
	_, err = ParseSAML(comment(MaxJWS+1), pub)
	require.ErrorIs(t, err, ErrSAML)
	require.ErrorContains(t, err, "longer than 65536 octets")
}

// What an assertion of either version says (SAML 1.1, 2.4; SAML 2.0, 2.7).
func TestReadSAML(t *testing.T) {
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	const (
		instant1 = `<AuthenticationStatement AuthenticationInstant="2026-03-02T09:00:00Z"/>`
		methods  = "http://schemas.microsoft.com/claims/authnmethodsreferences"
	)
	attributes := func(pairs ...string) string {
		var out string
		for i := 0; i < len(pairs); i += 2 {
			out += `<Attribute Name="` + pairs[i] + `"><AttributeValue>` + pairs[i+1] + `</AttributeValue></Attribute>`
		}
		return `<AttributeStatement>` + out + `</AttributeStatement>`
	}
	for name, c := range map[string]struct {
		text string
		want SAML
	}{
		"version 1.1": {`<Assertion AssertionID="i" Issuer="s"><Conditions NotBefore="2026-03-02T09:00:00Z" NotOnOrAfter="2026-03-02T10:00:00Z"><AudienceRestrictionCondition><Audience>a</Audience></AudienceRestrictionCondition></Conditions>
			<AttributeStatement><Subject><NameIdentifier>n</NameIdentifier></Subject><Attribute AttributeName="UPN"><AttributeValue>u</AttributeValue></Attribute></AttributeStatement>` + instant1 + `</Assertion>`,
			SAML{ID: "i", Issuer: "s", Audience: "a", ImmutableID: "n", UPN: "u", NotBefore: at, NotOnOrAfter: at.Add(time.Hour), Authenticated: at}},
		"version 2.0": {`<Assertion ID="i"><Issuer>s</Issuer><Subject><NameID>n</NameID></Subject><Conditions NotBefore="2026-03-02T09:00:00Z" NotOnOrAfter="2026-03-02T10:00:00Z"><AudienceRestriction><Audience>a</Audience></AudienceRestriction></Conditions>
			<AuthnStatement AuthnInstant="2026-03-02T09:00:00Z"><AuthnContext><AuthnContextClassRef>` + multipleAuthn + `</AuthnContextClassRef></AuthnContext></AuthnStatement>` + attributes("IDPEmail", "u") + `</Assertion>`,
			SAML{ID: "i", Issuer: "s", Audience: "a", ImmutableID: "n", UPN: "u", NotBefore: at, NotOnOrAfter: at.Add(time.Hour), Authenticated: at, MultipleAuthn: true}},
		"one method":              {`<A>` + instant1 + attributes(methods, "urn:oasis:names:tc:SAML:1.0:am:password") + `</A>`, SAML{Authenticated: at}},
		"multiple authentication": {`<A>` + instant1 + attributes(methods, multipleAuthn) + `</A>`, SAML{Authenticated: at, MultipleAuthn: true}},
		"and another method":      {`<A>` + instant1 + attributes("authnmethodsreferences", multipleAuthn, methods, "other") + `</A>`, SAML{Authenticated: at, MultipleAuthn: true}},
		"another attribute":       {`<A>` + instant1 + attributes("name", multipleAuthn) + `</A>`, SAML{Authenticated: at}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readSAML([]byte(c.text))
			require.NoError(t, err)
			require.Equal(t, c.want, *got)
		})
	}
	for text, why := range map[string]string{"<A/>": "no time of authentication", "<A>": "XML syntax error"} {
		_, err := readSAML([]byte(text))
		require.ErrorIs(t, err, ErrSAML)
		require.ErrorContains(t, err, why)
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
