package mint

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/testkeys"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
)

// The authentication method policy of a tenant binds certificates to users and to a
// strength (Entra, "Microsoft Entra certificate-based authentication technical deep
// dive"). Here all tenants have the same policy: one authority, the user identified
// by the principal name in the subject alternative name, and single-factor unless a
// rule for a policy OID says multifactor.
var (
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidSmartCardLogon = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 2}
)

// MultiFactorPolicy is the policy OID of that rule, under the arc for examples
// (ITU-T X.660, 2.999).
const MultiFactorPolicy = "2.999.2"

// Validity of a user certificate around the time of its issue.
const (
	userCertBackdate = 5 * time.Minute
	userCertYears    = 1
)

// userAuthority issues user certificates.
type userAuthority struct {
	key  *testkeys.Key
	cert *x509.Certificate
}

func newUserAuthority() *userAuthority {
	key := testkeys.UserAuthority()
	a := &deviceAuthority{key: key}
	return &userAuthority{key: key, cert: a.selfSigned(pkix.Name{CommonName: "entratest user certificates"})}
}

// IssueUserCertificate issues a certificate, with its key, for a user to sign in with.
func (m *Mint) IssueUserCertificate(username string, multiFactor bool) (tls.Certificate, error) {
	u := m.Keeper.Directory.User(m.Keeper.Directory.Qualify(username))
	if u == nil {
		return tls.Certificate{}, fmt.Errorf("%w: %s", directory.ErrNoUser, username)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("entratest: %w", err)
	}
	san, err := verify.PrincipalName(u.UPN)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("entratest: %w", err)
	}
	now := m.Keeper.Now()
	cert := &x509.Certificate{
		SerialNumber:       new(big.Int).SetBytes(m.marked(serialSize)),
		Subject:            pkix.Name{CommonName: u.Name},
		NotBefore:          now.Add(-userCertBackdate),
		NotAfter:           now.AddDate(userCertYears, 0, 0),
		KeyUsage:           x509.KeyUsageDigitalSignature,
		ExtKeyUsage:        []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{oidSmartCardLogon},
		ExtraExtensions:    []pkix.Extension{{Id: oidSubjectAltName, Value: san}},
	}
	if multiFactor {
		oid, err := x509.ParseOID(MultiFactorPolicy)
		if err != nil {
			return tls.Certificate{}, fmt.Errorf("entratest: %w", err)
		}
		cert.Policies = []x509.OID{oid}
	}
	ca := m.Keys.users()
	der, err := x509.CreateCertificate(rand.Reader, cert, ca.cert, key.Public(), ca.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("entratest: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("entratest: %w", err)
	}
	out := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	return out, m.Keeper.Directory.ChangeUser(u.UPN, func(u *directory.User) error { u.Certified = true; return nil })
}

// UserAuthority returns the certificate of the authority that signs user certificates.
func (m *Mint) UserAuthority() *x509.Certificate { return m.Keys.users().cert }

// RevokeUserCertificate puts a certificate on the revocation list of the authority.
func (m *Mint) RevokeUserCertificate(cert *x509.Certificate) error {
	if cert == nil || cert.CheckSignatureFrom(m.UserAuthority()) != nil {
		return errors.New("entratest: not a user certificate issued by this server")
	}
	m.Keeper.Directory.RevokeCertificate(cert.SerialNumber)
	return nil
}
