package verify

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
	"github.com/russellhaering/goxmldsig/etreeutils"
)

// ErrSAML is returned for an invalid assertion.
var ErrSAML = errors.New("unusable SAML assertion")

// SAML is an assertion from a federation server.
type SAML struct {
	ID, Issuer, Audience, UPN, ImmutableID string
	NotBefore, NotOnOrAfter                time.Time
	Authenticated                          time.Time // when the user authenticated
	MultipleAuthn                          bool
}

// Parts of the signature that [XMLSignature] writes.
const (
	signatureNS    = `xmlns:ds="http://www.w3.org/2000/09/xmldsig#"`
	signatureBegin = `<ds:Signature ` + signatureNS + `>`
	signatureEnd   = `</ds:Signature>`
	infoBegin      = `<ds:SignedInfo>`
	valueBegin     = `<ds:SignatureValue>`
	valueEnd       = `</ds:SignatureValue>`
)

// ParseSAML checks the signature of an assertion and parses it. The client may have
// serialized the assertion again, so the check applies to its canonical form
// (Exclusive XML Canonicalization 1.0).
func ParseSAML(text []byte, pub *rsa.PublicKey) (*SAML, error) {
	if len(text) > MaxJWS {
		return nil, fmt.Errorf("%w: longer than %d octets", ErrSAML, MaxJWS)
	}
	signed, info, value, err := splitSAML(text)
	if err != nil {
		return nil, err
	}
	out, err := readSAML(signed)
	if err != nil {
		return nil, err
	}
	// Only the signature value is taken from the signature element; SignedInfo is
	// rebuilt from the assertion. If the digest were read from the element, a second
	// SignedInfo could state a digest other than the signed one, as in signature
	// wrapping (McIntosh and Austel, "XML signature element wrapping attacks and
	// countermeasures").
	if !bytes.Equal(info, canonicalSignedInfo(out.ID, signed)) {
		return nil, fmt.Errorf("%w: SignedInfo does not match the assertion, which was changed", ErrSAML)
	}
	sum := SignedInfoSum(out.ID, signed)
	if rsa.VerifyPKCS1v15(pub, crypto.SHA256, sum[:], value) != nil {
		return nil, fmt.Errorf("%w: signature does not verify", ErrSAML)
	}
	return out, nil
}

// splitSAML splits an assertion into its canonical form without the signature,
// the canonical SignedInfo and the value of the signature. The signature must be a
// child of the assertion, and the only signature anywhere in it.
func splitSAML(text []byte) (signed, info, value []byte, err error) {
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(text); err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %v", ErrSAML, err)
	}
	root := doc.Root()
	if root == nil {
		return nil, nil, nil, fmt.Errorf("%w: no element", ErrSAML)
	}
	switch all := root.FindElements(".//[local-name()='Signature']"); {
	case len(all) == 0:
		return nil, nil, nil, fmt.Errorf("%w: no signature", ErrSAML)
	case len(all) > 1:
		return nil, nil, nil, fmt.Errorf("%w: more than one signature", ErrSAML)
	case all[0].Parent() != root || all[0].NamespaceURI() != dsig.Namespace:
		return nil, nil, nil, fmt.Errorf("%w: the signature does not match the assertion", ErrSAML)
	default:
		return splitSignature(root, all[0])
	}
}

func splitSignature(root, sig *etree.Element) (signed, info, value []byte, err error) {
	infos, values := children(sig, "SignedInfo"), children(sig, "SignatureValue")
	if len(infos) != 1 || len(values) != 1 {
		return nil, nil, nil, fmt.Errorf("%w: a signature must have one SignedInfo and one value", ErrSAML)
	}
	if value, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(values[0].Text()), "")); err != nil {
		return nil, nil, nil, fmt.Errorf("%w: the value of the signature is not base64", ErrSAML)
	}
	form := dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	names, err := etreeutils.NSBuildParentContext(infos[0])
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %v", ErrSAML, err)
	}
	detached, err := etreeutils.NSDetatch(names, infos[0])
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %v", ErrSAML, err)
	}
	if info, err = form.Canonicalize(detached); err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %v", ErrSAML, err)
	}
	root.RemoveChild(sig)
	if signed, err = form.Canonicalize(root); err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %v", ErrSAML, err)
	}
	return signed, info, value, nil
}

func children(parent *etree.Element, name string) (out []*etree.Element) {
	for _, e := range parent.ChildElements() {
		if e.Tag == name && e.NamespaceURI() == dsig.Namespace {
			out = append(out, e)
		}
	}
	return out
}

// signedInfo returns what follows the start tag of SignedInfo in the enveloped
// signature of an element (XML Signature 1.1).
func signedInfo(id string, signed []byte) string {
	sum := sha256.Sum256(signed)
	return `<ds:CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></ds:CanonicalizationMethod><ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"></ds:SignatureMethod><ds:Reference URI="#` + id +
		`"><ds:Transforms><ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"></ds:Transform><ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></ds:Transform></ds:Transforms><ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"></ds:DigestMethod><ds:DigestValue>` +
		base64.StdEncoding.EncodeToString(sum[:]) + `</ds:DigestValue></ds:Reference></ds:SignedInfo>`
}

// SignedInfoSum returns the SHA-256 of the canonical SignedInfo of an assertion, which
// is what the signature signs. Canonicalised alone, SignedInfo declares the prefix
// that its parent declares here (Exclusive XML Canonicalization 1.0, 3).
func SignedInfoSum(id string, signed []byte) [sha256.Size]byte {
	return sha256.Sum256(canonicalSignedInfo(id, signed))
}

func canonicalSignedInfo(id string, signed []byte) []byte {
	return []byte(`<ds:SignedInfo ` + signatureNS + `>` + signedInfo(id, signed))
}

// XMLSignature returns the signature element of an assertion: value is the signature
// of [SignedInfoSum], cert the signer's certificate.
func XMLSignature(id string, signed, value, cert []byte) string {
	return signatureBegin + infoBegin + signedInfo(id, signed) + valueBegin + base64.StdEncoding.EncodeToString(value) + valueEnd +
		`<ds:KeyInfo><ds:X509Data><ds:X509Certificate>` + base64.StdEncoding.EncodeToString(cert) +
		`</ds:X509Certificate></ds:X509Data></ds:KeyInfo>` + signatureEnd
}

func readSAML(text []byte) (*SAML, error) {
	type attribute struct {
		Name   string `xml:"AttributeName,attr"` // SAML 1.1
		Name2  string `xml:"Name,attr"`          // SAML 2.0
		Values string `xml:"AttributeValue"`
	}
	var in struct {
		ID1        string `xml:"AssertionID,attr"`
		ID2        string `xml:"ID,attr"`
		Issuer1    string `xml:"Issuer,attr"`
		Issuer2    string `xml:"Issuer"`
		Conditions struct {
			NotBefore    time.Time `xml:"NotBefore,attr"`
			NotOnOrAfter time.Time `xml:"NotOnOrAfter,attr"`
			Audience1    string    `xml:"AudienceRestrictionCondition>Audience"`
			Audience2    string    `xml:"AudienceRestriction>Audience"`
		} `xml:"Conditions"`
		Attributes []attribute `xml:"AttributeStatement>Attribute"`
		NameID1    string      `xml:"AttributeStatement>Subject>NameIdentifier"`
		NameID2    string      `xml:"Subject>NameID"`
		Statement1 struct {
			Instant time.Time `xml:"AuthenticationInstant,attr"`
		} `xml:"AuthenticationStatement"`
		Statement2 struct {
			Instant time.Time `xml:"AuthnInstant,attr"`
			Context string    `xml:"AuthnContext>AuthnContextClassRef"`
		} `xml:"AuthnStatement"`
	}
	if err := xml.Unmarshal(text, &in); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrSAML, err)
	}
	out := &SAML{
		ID: in.ID1 + in.ID2, Issuer: in.Issuer1 + in.Issuer2, Audience: in.Conditions.Audience1 + in.Conditions.Audience2,
		ImmutableID: in.NameID1 + in.NameID2, NotBefore: in.Conditions.NotBefore, NotOnOrAfter: in.Conditions.NotOnOrAfter,
		Authenticated: in.Statement1.Instant, MultipleAuthn: in.Statement2.Context == multipleAuthn,
	}
	if out.Authenticated.IsZero() {
		out.Authenticated = in.Statement2.Instant
	}
	if out.Authenticated.IsZero() { // required by both versions (SAML 1.1, 2.4.3; SAML 2.0, 2.7.2)
		return nil, fmt.Errorf("%w: no time of authentication", ErrSAML)
	}
	for _, a := range in.Attributes {
		switch a.Name + a.Name2 {
		case "UPN", "IDPEmail":
			out.UPN = a.Values
		case "authnmethodsreferences", "http://schemas.microsoft.com/claims/authnmethodsreferences":
			out.MultipleAuthn = out.MultipleAuthn || a.Values == multipleAuthn
		}
	}
	return out, nil
}

const multipleAuthn = "http://schemas.microsoft.com/claims/multipleauthn"
