package tokenendpoint

import (
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
)

// CheckUserCertificate finds the user of a certificate.
func (s *Service) CheckUserCertificate(cert *x509.Certificate) (*directory.User, *verify.UserCertificate, error) {
	now := s.Keeper.Now()
	c, err := verify.ParseUserCertificate(cert, s.Mint.UserAuthority())
	if err != nil {
		return nil, nil, web.InvalidGrant(50017, "Validation of given certificate for certificate based authentication failed.").Because("%v", err)
	}
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return nil, nil, web.InvalidGrant(500172, "Certificate '%s' issued by '%s' is not valid. Current time: '%s'. Certificate NotBefore: '%s'. Certificate NotAfter: '%s'.",
			web.Clip(cert.Subject.String()), web.Clip(cert.Issuer.String()), now.UTC().Format(time.RFC3339), cert.NotBefore.Format(time.RFC3339), cert.NotAfter.Format(time.RFC3339))
	}
	if s.Keeper.Directory.CertificateRevoked(cert.SerialNumber) || !s.Mint.Issued(cert.SerialNumber) {
		return nil, nil, web.InvalidGrant(500183, "Certificate has been revoked. Please contact your administrator.")
	}
	if c.PrincipalName == "" {
		return nil, nil, ErrCertificateBinding.Because("the certificate has no principal name in its subject alternative name")
	}
	u := s.Keeper.Directory.User(c.PrincipalName)
	if u == nil {
		return nil, nil, s.Keeper.UnknownUser(s.Keeper.Directory.TenantOf(c.PrincipalName), c.PrincipalName)
	}
	if u.Disabled {
		return nil, nil, web.InvalidGrant(50057, "The user account is disabled.")
	}
	return u, c, nil
}

var ErrCertificateBinding = web.InvalidGrant(1001003, "Unable to acquire value specified in binding from certificate.")

// CertificateSession returns the session of a sign-in with a certificate.
func (s *Service) CertificateSession(u *directory.User, c *verify.UserCertificate) session.Session {
	method := claims.CertificateSingleFactor
	if slices.Contains(c.Policies, mint.MultiFactorPolicy) {
		method = claims.CertificateMultiFactor | claims.MarkMFA
	}
	ss := s.Keeper.NewSession(u, method)
	if method&claims.MarkMFA != 0 {
		ss.MFA = ss.Auth
	}
	ss.Issuer, ss.Policies = c.Issuer, c.Policies
	return ss
}

// certificateCredential checks an assertion signed with the key of a user certificate
// (MS-OAPXBC 3.2.5.1.2.1.4).
func (s *Service) certificateCredential(j *verify.JWS) (*directory.User, *session.Session, error) {
	a, err := verify.ParseUserAssertion(j)
	if err != nil {
		return nil, nil, badJWT(err)
	}
	u, c, err := s.CheckUserCertificate(a.Certificate)
	if err != nil {
		return nil, nil, err
	}
	switch err := a.Verify(s.Keeper.Now(), helloSkew); {
	case errors.Is(err, verify.ErrSignature):
		return nil, nil, web.InvalidGrant(50012, "Authentication failed: the signature of the assertion is not that of its certificate.")
	case errors.Is(err, verify.ErrAssertionExpired):
		return nil, nil, web.InvalidGrant(500133, "Assertion is not within its valid time range.")
	case err != nil:
		return nil, nil, badJWT(err)
	}
	if a.Nonce != "" { // the nonce of the enclosing request was checked already
		if err := s.Keeper.CheckNonce(a.Nonce); err != nil {
			return nil, nil, err
		}
	}
	if !strings.EqualFold(a.Issuer, u.UPN) {
		return nil, nil, web.InvalidGrant(50013, "Assertion failed: the issuer is not the user of the certificate.").
			Because("iss is %q, but the certificate belongs to %s", web.Clip(a.Issuer), u.UPN)
	}
	ss := s.CertificateSession(u, c)
	return u, &ss, nil
}
