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
	"time"
)

// ErrSAML is returned for an assertion that does not hold.
var ErrSAML = errors.New("unusable SAML assertion")

// SAML is an assertion of a federation server.
type SAML struct {
	ID, Issuer, Audience, UPN, ImmutableID string
	NotBefore, NotOnOrAfter                time.Time
	MultipleAuthn                          bool
}

// Markers around the signature in an assertion. The emulator's federation
// server writes canonical XML (Exclusive XML Canonicalization 1.0), so that
// what is signed is found by cutting the signature out, byte for byte, and
// re-serialised assertions are refused.
var (
	signatureBegin  = []byte(`<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#">`)
	signatureEnd    = []byte(`</ds:Signature>`)
	signedInfoBegin = []byte(`<ds:SignedInfo`)
	signedInfoNS    = []byte(`<ds:SignedInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"`)
	signedInfoEnd   = []byte(`</ds:SignedInfo>`)
)

// ParseSAML checks the signature of an assertion and reads it.
func ParseSAML(text []byte, pub *rsa.PublicKey) (*SAML, error) {
	begin, end := bytes.Index(text, signatureBegin), bytes.Index(text, signatureEnd)
	if len(text) > MaxJWS || begin < 0 || end < begin {
		return nil, fmt.Errorf("%w: no signature", ErrSAML)
	}
	sig := text[begin : end+len(signatureEnd)]
	signed := append(bytes.Clone(text[:begin]), text[end+len(signatureEnd):]...)
	if bytes.Contains(signed, signatureBegin[:14]) {
		return nil, fmt.Errorf("%w: more than one signature", ErrSAML)
	}
	if err := checkXMLSignature(sig, signed, pub); err != nil {
		return nil, err
	}
	return readSAML(signed)
}

func checkXMLSignature(sig, signed []byte, pub *rsa.PublicKey) error {
	var in struct {
		Digest string `xml:"SignedInfo>Reference>DigestValue"`
		Value  string `xml:"SignatureValue"`
	}
	if err := xml.Unmarshal(sig, &in); err != nil {
		return fmt.Errorf("%w: %v", ErrSAML, err)
	}
	sum := sha256.Sum256(signed)
	if in.Digest != base64.StdEncoding.EncodeToString(sum[:]) {
		return fmt.Errorf("%w: digest differs: the assertion was changed", ErrSAML)
	}
	from, to := bytes.Index(sig, signedInfoBegin), bytes.Index(sig, signedInfoEnd)
	if from < 0 || to < from {
		return fmt.Errorf("%w: no SignedInfo", ErrSAML)
	}
	// Canonicalised alone, SignedInfo declares the prefix that its parent
	// declares here (Exclusive XML Canonicalization 1.0, 3).
	canonical := append(bytes.Clone(signedInfoNS), sig[from+len(signedInfoBegin):to+len(signedInfoEnd)]...)
	info := sha256.Sum256(canonical)
	value, err := base64.StdEncoding.DecodeString(in.Value)
	if err != nil || rsa.VerifyPKCS1v15(pub, crypto.SHA256, info[:], value) != nil {
		return fmt.Errorf("%w: signature does not verify", ErrSAML)
	}
	return nil
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
		Context    string      `xml:"AuthnStatement>AuthnContext>AuthnContextClassRef"`
	}
	if err := xml.Unmarshal(text, &in); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrSAML, err)
	}
	out := &SAML{
		ID: in.ID1 + in.ID2, Issuer: in.Issuer1 + in.Issuer2, Audience: in.Conditions.Audience1 + in.Conditions.Audience2,
		ImmutableID: in.NameID1 + in.NameID2, NotBefore: in.Conditions.NotBefore, NotOnOrAfter: in.Conditions.NotOnOrAfter,
		MultipleAuthn: in.Context == multipleAuthn,
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
