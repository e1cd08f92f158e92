package login

import (
	"crypto/sha256"
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

// certificateHelps reports whether a certificate of the user would complete what the
// flow has to satisfy. It can complement a password, but not another certificate.
func certificateHelps(u *directory.User, fl *session.Flow) bool {
	const both = claims.CertificateSingleFactor | claims.CertificateMultiFactor
	return u.Certified && fl.Session.Methods&both == 0 && (session.Allows(fl.Accept, claims.CertificateSingleFactor, fl.Session.Methods) ||
		session.Allows(fl.Accept, claims.CertificateMultiFactor, fl.Session.Methods))
}

// showCertificate shows the page for a user whose only other factor is a
// certificate.
func (s *Pages) showCertificate(w http.ResponseWriter, r *web.Request, fl *session.Flow) {
	p := s.newPage(r, fl, "certificate", "Verify your identity")
	p.Config["pgid"] = "ConvergedTFA"
	s.offerCertificate(&p, r, fl)
	p.Write(w, http.StatusOK)
}

// offerCertificate adds the button that asks for a certificate, unless the page is on
// loopback, from where a browser does not reach the host that asks for it.
func (s *Pages) offerCertificate(p *pages.Page, r *web.Request, fl *session.Flow) {
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

// certificateToken carries the result of a certificate sign-in from one host to
// another.
type certificateToken struct {
	ID      string          `json:"i"`
	Session session.Session `json:"s"`
	Flow    []byte          `json:"f"` // SHA-256 of the context it is for
	Expires int64           `json:"x"`
}

// certAuth asks for a certificate in the TLS handshake and sends the browser
// back with the result.
func (s *Pages) certAuth(w http.ResponseWriter, r *web.Request) {
	ctx := flowField(r)
	fl, err := s.Keeper.OpenFlow(ctx)
	if err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	ss, err := s.handshakeSession(r, fl)
	if err != nil {
		s.Web.Mistake(r, "user certificate: %v", web.AsSTSError(err).Why)
		r.Entry = s.flowEntry(r, fl)
		s.Web.Record(r, err)
		s.ErrorPage(w, r, err)
		return
	}
	sum := sha256.Sum256([]byte(ctx))
	token := s.Keeper.Box.Seal(session.KindFlow, certificateToken{ID: ids.Hex(s.Keeper.Rand.Bytes(12)), Session: *ss, Flow: sum[:], Expires: fl.Expires})
	to := strings.TrimSuffix(web.LoginURL, "/")
	p := pages.Page{Name: "formpost", Title: "Working…", To: template.URL(to + "/common/login"), Nonce: s.pageNonce(), Config: map[string]any{}, FormAct: s.FormTargets(fl),
		Hidden: []pages.Field{{Name: "certificatetoken", Value: token}, {Name: "ctx", Value: ctx}, {Name: "flowtoken", Value: ctx}}}
	p.Write(w, http.StatusOK)
}

// handshakeSession checks the certificate that the browser presented.
func (s *Pages) handshakeSession(r *web.Request, fl *session.Flow) (*session.Session, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, web.InvalidRequest(50192, "Invalid request. Certificate based authentication attempt without any certificate.")
	}
	u, c, err := s.STS.CheckUserCertificate(r.TLS.PeerCertificates[0])
	if err != nil {
		return nil, err
	}
	if fl.Username != "" && !strings.EqualFold(u.UPN, fl.Username) {
		return nil, tokenendpoint.ErrCertificateBinding.Because("the certificate belongs to %s", u.UPN)
	}
	if t := s.Keeper.FlowTenant(fl); t != nil && t != u.Tenant {
		return nil, s.Keeper.UnknownUser(t, u.UPN)
	}
	ss := s.STS.CertificateSession(u, c)
	return &ss, nil
}

// loginCertificate accepts the result of a certificate sign-in, once: as a first
// factor, or as a second one in addition to those of the session.
func (s *Pages) loginCertificate(w http.ResponseWriter, r *web.Request, fl *session.Flow) {
	var token certificateToken
	err := s.Keeper.Box.Open(session.KindFlow, r.Values.Get("certificatetoken"), &token)
	sum := sha256.Sum256([]byte(flowField(r)))
	if err != nil || string(token.Flow) != string(sum[:]) || !s.Keeper.Pending.Redeem("certificate "+token.ID, token.Expires, s.Keeper.Now()) {
		s.ErrorPage(w, r, web.InvalidRequest(90014, "The required field 'certificatetoken' is missing from the credential.").Because("the token belongs to another sign-in, or was used before"))
		return
	}
	method := token.Session.Methods.Modes()
	ss := fl.Session
	if ss == nil {
		// Unlike with the assertion of a PRT request, the user was asked here.
		if token.Session.MFA != 0 {
			token.Session.ProveMFA(method, s.Keeper.Now())
		}
		s.signedIn(w, r, fl, token.Session)
		return
	}
	if ss.User != token.Session.User || !session.Allows(fl.Accept, method, ss.Methods) {
		err := web.InvalidGrant(500121, "Authentication failed during strong authentication request.").Because("the certificate is not a second factor here")
		r.Entry = s.flowEntry(r, fl)
		s.Web.Record(r, err)
		s.ErrorPage(w, r, err)
		return
	}
	ss.ProveMFA(method, s.Keeper.Now())
	ss.Issuer, ss.Policies = token.Session.Issuer, token.Session.Policies
	s.next(w, r, fl)
}
