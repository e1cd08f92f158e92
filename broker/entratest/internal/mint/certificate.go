package mint

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/testkeys"
)

// Extensions of a device certificate (MS-DVRJ 3.1.5.1.1.3 and what Entra adds).
var (
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidExtKeyUsage      = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidClientAuth       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}
	oidDevice           = asn1.ObjectIdentifier{1, 2, 840, 113556, 1, 5, 284, 2}
	oidUser             = asn1.ObjectIdentifier{1, 2, 840, 113556, 1, 5, 284, 3}
	oidTenant           = asn1.ObjectIdentifier{1, 2, 840, 113556, 1, 5, 284, 5}
	oidJoinType         = asn1.ObjectIdentifier{1, 2, 840, 113556, 1, 5, 284, 7}
	oidRegion           = asn1.ObjectIdentifier{1, 2, 840, 113556, 1, 5, 284, 8}
	OIDDomainComponent  = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}
)

// Validity of a device certificate around the time of its issue.
const (
	certBackdate = 30 * time.Minute
	certYears    = 10
)

// deviceAuthority issues device certificates, and those for peer-to-peer use.
type deviceAuthority struct {
	key  *testkeys.Key
	cert *x509.Certificate
	p2p  *x509.Certificate
	// former has the key that signed device certificates in tenants saved by an
	// earlier version. It issues no new certificates.
	former *x509.Certificate
}

func newDeviceAuthority() *deviceAuthority {
	a := &deviceAuthority{key: testkeys.DeviceAuthority()}
	a.cert = a.selfSigned(pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{
		{Type: OIDDomainComponent, Value: Ia5("net")},
		{Type: OIDDomainComponent, Value: Ia5("windows")},
		{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "MS-Organization-Access"},
		{Type: asn1.ObjectIdentifier{2, 5, 4, 11}, Value: "82dbaca4-3e81-46ca-9c73-0950c1eaca97"},
	}})
	a.p2p = a.selfSigned(pkix.Name{CommonName: "MS-Organization-P2P-Access [2026]"})
	former := *a.cert
	former.PublicKey = testkeys.FormerDeviceAuthority()
	a.former = &former
	return a
}

// Ia5 encodes a domain component, which must be an IA5String (RFC 4519, 2.4).
func Ia5(s string) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagIA5String, Bytes: []byte(s)}
}

func (a *deviceAuthority) selfSigned(name pkix.Name) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               name,
		NotBefore:             time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		panic("entratest: " + err.Error()) // a fixed template and key
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic("entratest: " + err.Error())
	}
	return cert
}

// DeviceCertificate holds the contents of a device certificate.
type DeviceCertificate struct {
	Device, User, Tenant string // GUIDs; user may be ""
	Region               string // two letters
	Joined               bool   // joined, not merely registered
	Serial               []byte
	Now                  time.Time
}

// Issue signs the certificate of a device.
func (a *deviceAuthority) Issue(pub *rsa.PublicKey, c DeviceCertificate) ([]byte, error) {
	eku, err := asn1.Marshal([]asn1.ObjectIdentifier{oidClientAuth})
	if err != nil {
		return nil, err
	}
	kind := "0"
	if c.Joined {
		kind = "1"
	}
	user := c.User
	if user == "" {
		user = "00000000-0000-0000-0000-000000000000"
	}
	ext := []pkix.Extension{
		{Id: oidBasicConstraints, Critical: true, Value: []byte{0x30, 0x00}},
		{Id: oidExtKeyUsage, Critical: true, Value: eku},
		{Id: oidDevice, Value: longOctets(guidText(c.Device))},
		{Id: oidUser, Value: longOctets(guidText(user))},
		{Id: oidTenant, Value: longOctets(guidText(c.Tenant))},
		{Id: oidRegion, Value: longOctets([]byte(c.Region))},
		{Id: oidJoinType, Value: longOctets([]byte(kind))},
	}
	template := &x509.Certificate{
		SerialNumber:       new(big.Int).SetBytes(c.Serial),
		Subject:            pkix.Name{CommonName: c.Device},
		NotBefore:          c.Now.Add(-certBackdate),
		NotAfter:           c.Now.AddDate(certYears, 0, 0),
		SignatureAlgorithm: x509.SHA256WithRSA,
		ExtraExtensions:    ext,
	}
	parent := *a.cert
	parent.SubjectKeyId = nil // no authority key identifier: seven extensions in all
	return x509.CreateCertificate(rand.Reader, template, &parent, pub, a.key)
}

// longOctets encodes an OCTET STRING the way Entra does: with its length in the
// long form even where the short form would do, which DER forbids.
func longOctets(b []byte) []byte {
	return append([]byte{0x04, 0x81, byte(len(b))}, b...)
}

func guidText(s string) []byte {
	b, _ := ids.GUIDBytes(strings.ToLower(s))
	return b[:]
}

// Verify checks that this authority issued the certificate, now or in an earlier
// version, and that it is valid now.
func (a *deviceAuthority) Verify(cert *x509.Certificate, now time.Time) error {
	if err := cert.CheckSignatureFrom(a.cert); err != nil && cert.CheckSignatureFrom(a.former) != nil {
		return fmt.Errorf("the certificate in x5c was not issued by this server: %w", err)
	}
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return fmt.Errorf("the device certificate is valid from %s to %s", cert.NotBefore, cert.NotAfter)
	}
	return nil
}

// Thumbprint returns the thumbprint of a certificate as Windows shows it.
func Thumbprint(der []byte) string {
	sum := sha1.Sum(der)
	return strings.ToUpper(ids.Hex(sum[:]))
}

// PeerToPeer signs a certificate for peer-to-peer use. It also returns the
// certificate of its authority.
func (a *deviceAuthority) PeerToPeer(template *x509.Certificate, pub *rsa.PublicKey) (cert, authority []byte, err error) {
	cert, err = x509.CreateCertificate(rand.Reader, template, a.p2p, pub, a.key)
	return cert, a.p2p.Raw, err
}
