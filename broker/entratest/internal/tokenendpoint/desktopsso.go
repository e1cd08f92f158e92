package tokenendpoint

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/adfs"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
)

// Seamless single sign-on ("desktop SSO") with a password: a WS-Trust endpoint
// of the sign-in service that answers with a special token, which the SAML grant
// accepts in place of an assertion. The only public description is how clients read
// it (roadtools, roadlib, auth.py: get_desktopsso_token). The corresponding endpoint
// for Kerberos tickets is not served.

func (s *Service) desktopSSORoutes() {
	s.Web.Handle(web.OnAutologon, "POST", "/{tenant}/winauth/trust/2005/usernamemixed", web.EndpointFederation, s.desktopSSO)
}

// desktopSSOLife is how long the token can be redeemed. The real service's value is
// not public.
const desktopSSOLife = 10 * time.Minute

// desktopSSORecord is the content of a desktop SSO token.
type desktopSSORecord struct {
	Session session.Session `json:"s"`
	Expires int64           `json:"e"`
}

func (s *Service) desktopSSO(w http.ResponseWriter, r *web.Request) {
	e := s.begin(r, "desktop_sso")
	var in adfs.RST
	if err := xml.Unmarshal(r.Data, &in); err != nil {
		s.desktopSSOFault(w, r, web.InvalidRequest(90023, "Invalid STS request."))
		return
	}
	u, err := s.Keeper.CheckPassword(r.Tenant, in.Username, in.Password)
	if err != nil {
		e.Username = in.Username
		s.desktopSSOFault(w, r, web.AsSTSError(err))
		return
	}
	now := s.Keeper.Now()
	ss := s.Keeper.NewSession(u, claims.Password)
	ss.Password = true
	session.LogUser(r.Entry, u, &ss)
	s.Web.Record(r, nil)
	token := s.Keeper.Box.Seal(session.KindDesktopSSO, desktopSSORecord{Session: ss, Expires: now.Add(desktopSSOLife).Unix()})
	w.Header().Set("Content-Type", "application/soap+xml; charset=utf-8")
	_, _ = w.Write([]byte(adfs.SOAPReply(adfs.Trust2005, adfs.SAML11,
		`<saml:Assertion xmlns:saml="`+adfs.SAML11+`"><DesktopSsoToken>`+token+`</DesktopSsoToken></saml:Assertion>`, now.UTC())))
}

// desktopSSOFault answers with the error in the detail of a SOAP fault, where
// clients look for its AADSTS code.
func (s *Service) desktopSSOFault(w http.ResponseWriter, r *web.Request, e *web.STSError) {
	s.Web.Mistake(r, "AADSTS%d: %s", e.Code, e.Text)
	s.Web.Record(r, e)
	w.Header().Set("Content-Type", "application/soap+xml; charset=utf-8")
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, `<S:Envelope xmlns:S="http://www.w3.org/2003/05/soap-envelope" xmlns:wst="%s" xmlns:psf="http://schemas.microsoft.com/Passport/SoapServices/SOAPFault"><S:Body><S:Fault><S:Code><S:Value>S:Sender</S:Value><S:Subcode><S:Value>wst:FailedAuthentication</S:Value></S:Subcode></S:Code><S:Reason><S:Text xml:lang="en-US">Authentication Failure</S:Text></S:Reason><S:Detail><psf:error><psf:value>0x80048821</psf:value><psf:internalerror><psf:code>0x80048821</psf:code><psf:text>%s</psf:text></psf:internalerror></psf:error></S:Detail></S:Fault></S:Body></S:Envelope>`,
		adfs.Trust2005, adfs.Escape(e.Error()))
}

// desktopSSOToken returns the token inside an assertion, or "".
func desktopSSOToken(assertion []byte) string {
	_, rest, ok := bytes.Cut(assertion, []byte("<DesktopSsoToken>"))
	token, _, ended := bytes.Cut(rest, []byte("</DesktopSsoToken>"))
	if !ok || !ended {
		return ""
	}
	return strings.TrimSpace(string(token))
}

// desktopSSOCredential redeems a desktop SSO token.
func (s *Service) desktopSSOCredential(token string) (*directory.User, *session.Session, error) {
	var rec desktopSSORecord
	if err := s.Keeper.Box.Open(session.KindDesktopSSO, token, &rec); err != nil {
		return nil, nil, web.InvalidGrant(50008, "Unable to verify token signature or the SAML assertion is missing or misconfigured in the token.").
			Because("the DesktopSsoToken was not issued by this server")
	}
	if s.Keeper.Now().Unix() >= rec.Expires {
		return nil, nil, web.InvalidGrant(500133, "Assertion is not within its valid time range.")
	}
	u, err := s.Keeper.UserOf(&rec.Session)
	if err != nil {
		return nil, nil, err
	}
	return u, &rec.Session, nil
}
