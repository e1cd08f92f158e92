package prt

import (
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/internal/wire"
)

// A DeviceCertificate is what the certificate of a registered device says. Its
// facts are in extensions below 1.2.840.113556.1.5.284.
type DeviceCertificate struct {
	DER        []byte
	DeviceID   string // the subject's common name, lower case
	UserID     string // object id of the user who registered it; empty if absent
	TenantID   string // empty if absent
	Region     string // two letters, such as "EU"; empty if absent
	Joined     bool   // joined, not just registered
	Thumbprint string // SHA-1 of DER, upper-case hex, as dsregcmd shows it
	NotBefore  time.Time
	NotAfter   time.Time
}

// MaxCertificateSize is the size, in bytes, of the largest device certificate
// that is read.
const MaxCertificateSize = 16 << 10

// ParseDeviceCertificate reads the certificate that a registration returned. It
// does not verify the signature, which is up to the service. It refuses a
// certificate whose extensions contradict its subject.
func ParseDeviceCertificate(der []byte) (*DeviceCertificate, error) {
	if len(der) > MaxCertificateSize {
		return nil, badReply("the device certificate is too large")
	}
	x, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, badReply("the device certificate is not X.509")
	}
	id, err := ParseGUID(x.Subject.CommonName)
	if err != nil {
		return nil, badReply("the device certificate names no device")
	}
	sum := sha1.Sum(der)
	c := &DeviceCertificate{
		DER:        der,
		DeviceID:   id.String(),
		Thumbprint: strings.ToUpper(hex.EncodeToString(sum[:])),
		NotBefore:  x.NotBefore,
		NotAfter:   x.NotAfter,
	}
	for _, e := range x.Extensions {
		if err := c.extension(e.Id.String(), e.Value, id); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *DeviceCertificate) extension(oid string, value []byte, subject GUID) error {
	switch oid {
	case wire.OIDDeviceID, wire.OIDUserID, wire.OIDTenantID:
		g, err := extensionGUID(value)
		if err != nil {
			return err
		}
		switch {
		case oid == wire.OIDUserID:
			c.UserID = g.String()
		case oid == wire.OIDTenantID:
			c.TenantID = g.String()
		case g != subject:
			return badReply("the device certificate names two devices")
		}
	case wire.OIDRegion:
		b, err := extensionValue(value, 2)
		if err != nil {
			return err
		}
		if !isUpper(b[0]) || !isUpper(b[1]) {
			return badReply("the region in the device certificate is not two letters")
		}
		c.Region = string(b)
	case wire.OIDJoinType:
		b, err := extensionValue(value, 1)
		if err != nil {
			return err
		}
		// An ASCII digit; one parser in the wild reads it as a number.
		c.Joined = b[0] == '1' || b[0] == 1
	}
	return nil
}

func isUpper(b byte) bool { return b >= 'A' && b <= 'Z' }

func extensionGUID(value []byte) (GUID, error) {
	b, err := extensionValue(value, 16)
	if err != nil {
		return GUID{}, err
	}
	return GUID(b), nil
}

// extensionValue returns the size bytes inside the OCTET STRING of an
// extension. The service writes the length in the long form (04 81 10 …),
// which DER forbids and encoding/asn1 refuses; the short form and the bare
// bytes are accepted too.
func extensionValue(value []byte, size int) ([]byte, error) {
	const octetString, longForm = 0x04, 0x81
	switch {
	case len(value) == size+3 && value[0] == octetString && value[1] == longForm && int(value[2]) == size:
		return value[3:], nil
	case len(value) == size+2 && value[0] == octetString && int(value[1]) == size:
		return value[2:], nil
	case len(value) == size:
		return value, nil
	}
	return nil, badReply("an extension of the device certificate has a wrong length")
}
