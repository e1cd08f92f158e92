package entratest

import (
	"crypto/tls"
	"crypto/x509"
)

// IssueUserCertificate issues a certificate, with its key, for signing in on the
// pages (see [Person].Certificate) or for requesting a PRT
// (MS-OAPXBC 3.2.5.1.2.1.4). It is valid for a year. If multiFactor is set, the
// certificate has the policy OID 2.999.2 and counts as MFA by itself; otherwise it
// is a first factor.
func (s *Server) IssueUserCertificate(username string, multiFactor bool) (tls.Certificate, error) {
	return s.world().mint.IssueUserCertificate(username, multiFactor)
}

// RevokeUserCertificate puts a user certificate on the revocation list
// (AADSTS500183). As in Entra, sessions that began with it live on until
// [Server.Revoke].
func (s *Server) RevokeUserCertificate(cert *x509.Certificate) error {
	return s.world().mint.RevokeUserCertificate(cert)
}
