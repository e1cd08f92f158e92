package verify

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Errors of user certificates and the assertions that their keys sign.
var (
	ErrUserCertificate  = errors.New("unusable user certificate")
	ErrAssertionExpired = errors.New("assertion outside its validity")
)

// UserCertificate holds the contents of a user certificate.
type UserCertificate struct {
	PrincipalName string   // from the subject alternative name; "": absent
	Policies      []string // OIDs
	Issuer        string   // subject key identifier of the authority, hex
}

var (
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	// oidPrincipalName is szOID_NT_PRINCIPAL_NAME, an otherName in the
	// subject alternative name.
	oidPrincipalName = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}
)

// otherName is an OtherName (RFC 5280, 4.2.1.6).
type otherName struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue // under the explicit tag 0
}

// PrincipalName encodes a subject alternative name that holds a principal name.
func PrincipalName(upn string) ([]byte, error) {
	text, err := asn1.MarshalWithParams(upn, "utf8")
	if err != nil {
		return nil, err
	}
	name, err := asn1.MarshalWithParams(otherName{oidPrincipalName, asn1.RawValue{FullBytes: explicit(text)}}, "tag:0")
	if err != nil {
		return nil, err
	}
	return asn1.Marshal([]asn1.RawValue{{FullBytes: name}})
}

// explicit wraps a value in the context tag 0.
func explicit(der []byte) []byte {
	out, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: der})
	if err != nil {
		panic("verify: " + err.Error()) // bytes under a tag
	}
	return out
}

// ParseUserCertificate checks that the authority issued the certificate for client
// authentication, and parses it. The caller must check its validity period.
func ParseUserCertificate(cert, authority *x509.Certificate) (*UserCertificate, error) {
	if err := cert.CheckSignatureFrom(authority); err != nil {
		return nil, fmt.Errorf("%w: it was not issued by the trusted authority: %v", ErrUserCertificate, err)
	}
	if !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		return nil, fmt.Errorf("%w: it is not for client authentication", ErrUserCertificate)
	}
	out := &UserCertificate{Issuer: hex.EncodeToString(authority.SubjectKeyId)}
	for _, p := range cert.Policies {
		out.Policies = append(out.Policies, p.String())
	}
	for _, e := range cert.Extensions {
		if !e.Id.Equal(oidSubjectAltName) {
			continue
		}
		name, err := principalName(e.Value)
		if err != nil {
			return nil, fmt.Errorf("%w: subject alternative name: %v", ErrUserCertificate, err)
		}
		out.PrincipalName = name
	}
	return out, nil
}

// principalName finds the principal name of a subject alternative name.
func principalName(der []byte) (string, error) {
	var names []asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &names); err != nil || len(rest) > 0 {
		return "", errors.New("not a sequence of names")
	}
	for _, n := range names {
		if n.Class != asn1.ClassContextSpecific || n.Tag != 0 {
			continue
		}
		var other otherName
		if _, err := asn1.UnmarshalWithParams(n.FullBytes, &other, "tag:0"); err != nil {
			return "", err
		}
		if !other.Type.Equal(oidPrincipalName) {
			continue
		}
		var text string
		if _, err := asn1.UnmarshalWithParams(other.Value.Bytes, &text, "utf8"); err != nil {
			return "", err
		}
		return text, nil
	}
	return "", nil
}

// UserAssertion is an assertion signed with the key of a user certificate
// (MS-OAPXBC 3.2.5.1.2.1.4).
type UserAssertion struct {
	Certificate *x509.Certificate
	Issuer      string // UPN
	Nonce       string // "": absent
	jws         *JWS
	claims      *Claims
}

// ParseUserAssertion parses an assertion. Verify checks its signature, and
// ParseUserCertificate its certificate.
func ParseUserAssertion(j *JWS) (*UserAssertion, error) {
	cert, err := j.Certificate()
	if err != nil {
		return nil, err
	}
	c, err := j.Claims()
	if err != nil {
		return nil, err
	}
	if c.Issuer == "" {
		return nil, fmt.Errorf("%w: claim iss is missing", ErrMalformed)
	}
	return &UserAssertion{Certificate: cert, Issuer: c.Issuer, Nonce: c.Nonce, jws: j, claims: c}, nil
}

// Verify checks the signature and the times, allowing for a clock skew of skew.
func (a *UserAssertion) Verify(now time.Time, skew time.Duration) error {
	pub, ok := a.Certificate.PublicKey.(*rsa.PublicKey)
	if !ok {
		return fmt.Errorf("%w: the key of the certificate is not RSA", ErrMalformed)
	}
	if err := a.jws.VerifyRSA(pub); err != nil {
		return err
	}
	if a.claims.Audience == "" || a.claims.IssuedAt == 0 || a.claims.Expires == 0 {
		return fmt.Errorf("%w: claims aud, iat and exp are needed", ErrMalformed)
	}
	if now.Add(skew).Unix() < a.claims.IssuedAt || now.Add(-skew).Unix() > a.claims.Expires {
		return ErrAssertionExpired
	}
	return nil
}
