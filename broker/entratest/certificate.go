package entratest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/testkeys"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
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
	oidDomainComponent  = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}
)

// Validity of a device certificate around the time of its issue.
const (
	certBackdate = 30 * time.Minute
	certYears    = 10
)

// deviceAuthority issues device certificates, and those for peer-to-peer use.
type deviceAuthority struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
	p2p  *x509.Certificate
}

func newDeviceAuthority() *deviceAuthority {
	a := &deviceAuthority{key: testkeys.DeviceAuthority()}
	a.cert = a.selfSigned(pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{
		{Type: oidDomainComponent, Value: ia5("net")},
		{Type: oidDomainComponent, Value: ia5("windows")},
		{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "MS-Organization-Access"},
		{Type: asn1.ObjectIdentifier{2, 5, 4, 11}, Value: "82dbaca4-3e81-46ca-9c73-0950c1eaca97"},
	}})
	a.p2p = a.selfSigned(pkix.Name{CommonName: "MS-Organization-P2P-Access [2026]"})
	return a
}

// ia5 is a domain component, which RFC 4519 (2.4) wants as an IA5String.
func ia5(s string) asn1.RawValue {
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

// deviceCertificate says what the certificate of a device holds.
type deviceCertificate struct {
	device, user, tenant string // GUIDs; user may be ""
	region               string // two letters
	joined               bool   // joined, not merely registered
	serial               []byte
	now                  time.Time
}

// issue signs the certificate of a device.
func (a *deviceAuthority) issue(pub *rsa.PublicKey, c deviceCertificate) ([]byte, error) {
	eku, err := asn1.Marshal([]asn1.ObjectIdentifier{oidClientAuth})
	if err != nil {
		return nil, err
	}
	kind := "0"
	if c.joined {
		kind = "1"
	}
	user := c.user
	if user == "" {
		user = "00000000-0000-0000-0000-000000000000"
	}
	ext := []pkix.Extension{
		{Id: oidBasicConstraints, Critical: true, Value: []byte{0x30, 0x00}},
		{Id: oidExtKeyUsage, Critical: true, Value: eku},
		{Id: oidDevice, Value: longOctets(guidText(c.device))},
		{Id: oidUser, Value: longOctets(guidText(user))},
		{Id: oidTenant, Value: longOctets(guidText(c.tenant))},
		{Id: oidRegion, Value: longOctets([]byte(c.region))},
		{Id: oidJoinType, Value: longOctets([]byte(kind))},
	}
	template := &x509.Certificate{
		SerialNumber:       new(big.Int).SetBytes(c.serial),
		Subject:            pkix.Name{CommonName: c.device},
		NotBefore:          c.now.Add(-certBackdate),
		NotAfter:           c.now.AddDate(certYears, 0, 0),
		SignatureAlgorithm: x509.SHA256WithRSA,
		ExtraExtensions:    ext,
	}
	parent := *a.cert
	parent.SubjectKeyId = nil // no authority key identifier: seven extensions in all
	return x509.CreateCertificate(rand.Reader, template, &parent, pub, a.key)
}

// longOctets encodes an OCTET STRING the way Entra does: with a length in the
// long form where the short one would do, which DER forbids.
func longOctets(b []byte) []byte {
	return append([]byte{0x04, 0x81, byte(len(b))}, b...)
}

func guidText(s string) []byte {
	b, _ := ids.GUIDBytes(strings.ToLower(s))
	return b[:]
}

// verify checks that this authority issued the certificate and that it is
// valid now.
func (a *deviceAuthority) verify(cert *x509.Certificate, now time.Time) *web.STSError {
	e := web.InvalidGrant(50155, "Device authentication failed.").Sub("device_authentication_failed")
	if err := cert.CheckSignatureFrom(a.cert); err != nil {
		return e.Because("the certificate in x5c was not issued by this server: %v", err)
	}
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return e.Because("the device certificate is valid from %s to %s", cert.NotBefore, cert.NotAfter)
	}
	return nil
}

// sha1Hex is the thumbprint of a certificate as Windows shows it.
func sha1Hex(der []byte) string {
	sum := sha1.Sum(der)
	return strings.ToUpper(ids.Hex(sum[:]))
}
