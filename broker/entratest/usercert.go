package entratest

import (
	"crypto/tls"
	"crypto/x509"
)

// IssueUserCertificate makes a certificate, with its key, by which the user
// signs in to the pages (see [Person].Certificate) or proves who asks for a
// PRT (MS-OAPXBC 3.2.5.1.2.1.4). It is valid for a year. One with the policy
// OID 2.999.2, which multiFactor adds, is MFA by itself; others are a first
// factor.
func (s *Server) IssueUserCertificate(username string, multiFactor bool) (tls.Certificate, error) {
	return s.mint.IssueUserCertificate(username, multiFactor)
}

// RevokeUserCertificate puts a user certificate on the revocation list
// (AADSTS500183). What was born of it before lives on, as in Entra, until
// [Server.Revoke].
func (s *Server) RevokeUserCertificate(cert *x509.Certificate) error {
	return s.mint.RevokeUserCertificate(cert)
}
