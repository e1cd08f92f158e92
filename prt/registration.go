package prt

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"io"

	"github.com/prtbroker/prtbroker/internal/strictjson"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// A JoinType is how a device belongs to its tenant.
type JoinType int

const (
	// JoinEntra is an organization's device (Entra joined). It is the zero value.
	JoinEntra JoinType = wire.JoinTypeJoin
	// JoinPersonal is a person's own device (Entra registered).
	JoinPersonal JoinType = wire.JoinTypeRegister
	// JoinHybrid is a device of an on-premises directory (hybrid joined).
	JoinHybrid JoinType = wire.JoinTypeHybrid
)

// String returns the join type's name.
func (j JoinType) String() string {
	switch j {
	case JoinEntra:
		return "joined"
	case JoinPersonal:
		return "registered"
	case JoinHybrid:
		return "hybrid joined"
	}
	return "unknown"
}

// A JoinRequest asks the registration service to register a device: POST to
// /EnrollmentServer/device/ with a token for the service. The device key and
// the transport key are two keys: one signs, the other decrypts.
type JoinRequest struct {
	DeviceKey    Signer           // RSA-2048; required
	TransportKey crypto.PublicKey // RSA-2048; required
	Type         JoinType
	Domain       string // any domain of the tenant, or its id; required
	DeviceType   string // empty: "Linux"
	DisplayName  string // required
	OSVersion    string // required by the service; free text
	Reuse        bool   // take over the device object of the same machine
	// Attestation is the TPMS_ATTEST of the device key and AIKCertificate the
	// certificate, DER, of the key that signed it. Nil: not sent.
	Attestation    []byte
	AIKCertificate []byte
}

type joinJSON struct {
	CertificateRequest csrJSON           `json:"CertificateRequest"`
	TransportKey       []byte            `json:"TransportKey"`
	TargetDomain       string            `json:"TargetDomain"`
	DeviceType         string            `json:"DeviceType"`
	OSVersion          string            `json:"OSVersion"`
	DeviceDisplayName  string            `json:"DeviceDisplayName"`
	JoinType           JoinType          `json:"JoinType"`
	AttestationData    []byte            `json:"AttestationData,omitempty"`
	AikCertificate     []byte            `json:"AikCertificate,omitempty"`
	Attributes         map[string]string `json:"Attributes,omitempty"`
}

type csrJSON struct {
	Type string `json:"Type"`
	Data []byte `json:"Data"`
}

// Marshal returns the JSON body of the request: one signature of the device
// key. The reply is for [ParseJoin].
func (r JoinRequest) Marshal(ctx context.Context) ([]byte, error) {
	switch {
	case r.DeviceKey == nil:
		return nil, badRequest("no device key")
	case r.Domain == "" || r.DisplayName == "" || r.OSVersion == "":
		return nil, badRequest("a join needs a domain, a display name and an OS version")
	case r.Type != JoinEntra && r.Type != JoinPersonal && r.Type != JoinHybrid:
		return nil, badRequest("unknown join type")
	}
	transport, err := MarshalPublicKey(r.TransportKey)
	if err != nil {
		return nil, err
	}
	csr, err := CSR(ctx, r.DeviceKey)
	if err != nil {
		return nil, err
	}
	attributes := map[string]string{}
	if r.Type != JoinPersonal {
		attributes["ReturnClientSid"] = "true"
	}
	if r.Reuse {
		attributes["ReuseDevice"] = "true"
	}
	return marshal(joinJSON{
		CertificateRequest: csrJSON{"pkcs10", csr},
		TransportKey:       transport,
		TargetDomain:       r.Domain,
		DeviceType:         first(r.DeviceType, "Linux"),
		OSVersion:          r.OSVersion,
		DeviceDisplayName:  r.DisplayName,
		JoinType:           r.Type,
		AttestationData:    r.Attestation,
		AikCertificate:     r.AIKCertificate,
		Attributes:         attributes,
	})
}

// CSR returns the PKCS #10 request of a device key, DER, with the constant
// subject that every device uses; the service replaces it with the device id.
func CSR(ctx context.Context, key Signer) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:            pkix.Name{CommonName: wire.CSRCommonName},
		SignatureAlgorithm: x509.SHA256WithRSA,
	}, boundSigner{ctx, key})
	if err != nil {
		return nil, fmt.Errorf("prt: making the certificate request: %w", err)
	}
	return der, nil
}

// boundSigner carries a context through crypto/x509, which has none.
type boundSigner struct {
	ctx context.Context
	key Signer
}

func (s boundSigner) Public() crypto.PublicKey { return s.key.Public() }

func (s boundSigner) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.key.SignContext(s.ctx, digest, opts)
}

// A Joined is the answer of the registration service.
type Joined struct {
	Certificate *DeviceCertificate
	Username    string   // UPN of the user who registered the device; empty if absent
	AdminSIDs   []string // SIDs that the service wants among the local administrators
}

// ParseJoin reads the reply to [JoinRequest]; any 2xx status is a success, and
// other replies are for [ParseError]. Check that the certificate is for the
// device key with [DeviceCertificate.Matches].
func ParseJoin(body []byte) (*Joined, error) {
	o, err := strictjson.Parse(body, MaxReplySize)
	if err != nil {
		return nil, badReplyErr("join", err)
	}
	cert := o.Object("Certificate")
	raw := cert.String("RawBody")
	if err := o.Err(); err != nil || raw == "" {
		return nil, badReply("no certificate")
	}
	der, err := base64.StdEncoding.DecodeString(raw)
	if err != nil {
		return nil, badReply("the device certificate is not base64")
	}
	j := &Joined{}
	if j.Certificate, err = ParseDeviceCertificate(der); err != nil {
		return nil, err
	}
	j.Username = o.Object("User").String("Upn")
	for _, m := range o.Array("MembershipChanges") {
		change, _ := strictjson.Parse(m, len(m)) // nil, which has no members, when it is not an object
		if change.String("LocalSID") == administrators {
			j.AdminSIDs = append(j.AdminSIDs, change.Strings("AddSIDs")...)
		}
	}
	return j, nil
}

// administrators is the SID of the local group Administrators.
const administrators = "S-1-5-32-544"

// Matches reports whether the certificate is for the public key.
func (c *DeviceCertificate) Matches(pub crypto.PublicKey) bool {
	x, err := x509.ParseCertificate(c.DER)
	if err != nil {
		return false
	}
	want, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return false
	}
	return bytes.Equal(x.RawSubjectPublicKeyInfo, want)
}
