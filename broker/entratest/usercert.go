package entratest

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"html/template"
	"net/http"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/tokenendpoint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
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
	if cert == nil || cert.CheckSignatureFrom(s.mint.UserAuthority()) != nil {
		return errors.New("entratest: not a user certificate of this server")
	}
	s.dir.RevokeCertificate(cert.SerialNumber)
	return nil
}

// certificateHelps reports whether a certificate of the user would complete what
// the flow has to satisfy: beside a password, not beside another certificate.
func certificateHelps(u *directory.User, fl *session.Flow) bool {
	const both = claims.CertificateSingleFactor | claims.CertificateMultiFactor
	return u.Certified && fl.Session.Methods&both == 0 && (session.Allows(fl.Accept, claims.CertificateSingleFactor, fl.Session.Methods) ||
		session.Allows(fl.Accept, claims.CertificateMultiFactor, fl.Session.Methods))
}

// showCertificate is the page for somebody whose only other factor is a
// certificate.
func (s *Server) showCertificate(w http.ResponseWriter, r *web.Request, fl *session.Flow) {
	p := s.page(r, fl, "certificate", "Verify your identity")
	p.Config["pgid"] = "ConvergedTFA"
	s.offerCertificate(&p, r, fl)
	p.Write(w, http.StatusOK)
}

// offerCertificate adds the button that asks for a certificate, where a browser
// finds the host that does: not from loopback.
func (s *Server) offerCertificate(p *pages.Page, r *web.Request, fl *session.Flow) {
	if !web.IsLoginHost(strings.ToLower(r.Host)) {
		return
	}
	p.CertAuth = certAuthURL(fl)
	p.FormAct += " https://" + web.CertAuthHost
	p.Config["oGetCredTypeResult"] = map[string]any{"Credentials": map[string]any{"HasCertAuth": true, "CertAuthParams": certAuthParams(fl)}}
}

func certAuthURL(fl *session.Flow) string {
	return "https://" + web.CertAuthHost + pathOf(fl, "certauth")
}

func certAuthParams(fl *session.Flow) map[string]any {
	return map[string]any{"CertAuthUrl": certAuthURL(fl)}
}

// certificateToken carries what a certificate proved from one host to another.
type certificateToken struct {
	ID      string          `json:"i"`
	Session session.Session `json:"s"`
	Flow    []byte          `json:"f"` // SHA-256 of the context it is for
	Expires int64           `json:"x"`
}

// certAuth asks for a certificate in the TLS handshake and sends the browser
// back with what it proved.
func (s *Server) certAuth(w http.ResponseWriter, r *web.Request) {
	ctx := flowField(r)
	fl, err := s.keeper.OpenFlow(ctx)
	if err != nil {
		s.errorPage(w, r, err)
		return
	}
	ss, err := s.handshakeSession(r, fl)
	if err != nil {
		s.web.Mistake(r, "user certificate: %v", web.AsSTSError(err).Why)
		r.Entry = s.flowEntry(r, fl)
		s.web.Record(r, err)
		s.errorPage(w, r, err)
		return
	}
	sum := sha256.Sum256([]byte(ctx))
	token := s.keeper.Box.Seal(session.KindFlow, certificateToken{ID: ids.Hex(s.rand.Bytes(12)), Session: *ss, Flow: sum[:], Expires: fl.Expires})
	to := strings.TrimSuffix(web.LoginURL, "/")
	p := pages.Page{Name: "formpost", Title: "Working…", To: template.URL(to + "/common/login"), Nonce: s.pageNonce(), Config: map[string]any{}, FormAct: s.formTargets(fl),
		Hidden: []pages.Field{{Name: "certificatetoken", Value: token}, {Name: "ctx", Value: ctx}, {Name: "flowtoken", Value: ctx}}}
	p.Write(w, http.StatusOK)
}

// handshakeSession checks the certificate that the browser showed.
func (s *Server) handshakeSession(r *web.Request, fl *session.Flow) (*session.Session, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, web.InvalidRequest(50192, "Invalid request. Certificate based authentication attempt without any certificate.")
	}
	u, c, err := s.sts.CheckUserCertificate(r.TLS.PeerCertificates[0])
	if err != nil {
		return nil, err
	}
	if fl.Username != "" && !strings.EqualFold(u.UPN, fl.Username) {
		return nil, tokenendpoint.ErrCertificateBinding.Because("the certificate is of %s", u.UPN)
	}
	if t := s.keeper.FlowTenant(fl); t != nil && t != u.Tenant {
		return nil, s.keeper.UnknownUser(t, u.UPN)
	}
	ss := s.sts.CertificateSession(u, c)
	return &ss, nil
}

// loginCertificate takes what a certificate proved, once: a first factor, or a
// second beside what the session has.
func (s *Server) loginCertificate(w http.ResponseWriter, r *web.Request, fl *session.Flow) {
	var token certificateToken
	err := s.keeper.Box.Open(session.KindFlow, r.Values.Get("certificatetoken"), &token)
	sum := sha256.Sum256([]byte(flowField(r)))
	if err != nil || string(token.Flow) != string(sum[:]) || !s.keeper.Pending.Redeem("certificate "+token.ID, token.Expires, s.Now()) {
		s.errorPage(w, r, web.InvalidRequest(90014, "The required field 'certificatetoken' is missing from the credential.").Because("the token is not of this sign-in, or was used"))
		return
	}
	method := token.Session.Methods.Modes()
	ss := fl.Session
	if ss == nil {
		// Here the user was asked, other than by the assertion of a PRT request.
		if token.Session.MFA != 0 {
			token.Session.ProveMFA(method, s.Now())
		}
		s.signedIn(w, r, fl, token.Session)
		return
	}
	if ss.User != token.Session.User || !session.Allows(fl.Accept, method, ss.Methods) {
		err := web.InvalidGrant(500121, "Authentication failed during strong authentication request.").Because("the certificate is not a second factor here")
		r.Entry = s.flowEntry(r, fl)
		s.web.Record(r, err)
		s.errorPage(w, r, err)
		return
	}
	ss.ProveMFA(method, s.Now())
	ss.Issuer, ss.Policies = token.Session.Issuer, token.Session.Policies
	s.proceed(w, r, fl)
}
