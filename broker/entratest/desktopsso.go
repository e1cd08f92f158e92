package entratest

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/claims"
)

// Seamless single sign-on ("desktop SSO") with a password: a WS-Trust endpoint
// of the sign-in service that answers with a token of its own, which the SAML
// grant takes in the place of an assertion. What is public of it is how its
// clients read it (roadtools, roadlib, auth.py: get_desktopsso_token). The
// endpoint for Kerberos tickets beside it is not served.

func (s *Server) desktopSSORoutes() {
	s.route(onAutologon, "POST", "/{tenant}/winauth/trust/2005/usernamemixed", EndpointFederation, s.desktopSSO)
}

// autologonHost is where desktop SSO signs in.
const autologonHost = "autologon.microsoftazuread-sso.com"

// desktopSSOLife is how long the token waits for its redemption. The service's
// own value is not public.
const desktopSSOLife = 10 * time.Minute

// desktopSSORecord is what a desktop SSO token holds.
type desktopSSORecord struct {
	Session session `json:"s"`
	Expires int64   `json:"e"`
}

func (s *Server) desktopSSO(w http.ResponseWriter, r *request) {
	e := s.begin(r, "desktop_sso")
	var in rst
	if err := xml.Unmarshal(r.body, &in); err != nil {
		s.desktopSSOFault(w, r, invalidRequest(90023, "Invalid STS request."))
		return
	}
	u, err := s.checkPassword(r.tenant, in.Username, in.Password)
	if err != nil {
		e.Username = in.Username
		s.desktopSSOFault(w, r, asSTSError(err))
		return
	}
	now := s.Now()
	ss := s.newSession(u, claims.Password)
	ss.Password = true
	noteUser(r.entry, u, &ss)
	s.record(r, nil)
	token := s.box.Seal(kindDesktopSSO, desktopSSORecord{Session: ss, Expires: now.Add(desktopSSOLife).Unix()})
	w.Header().Set("Content-Type", "application/soap+xml; charset=utf-8")
	_, _ = w.Write([]byte(s.soapReply(trust2005, saml11,
		`<saml:Assertion xmlns:saml="`+saml11+`"><DesktopSsoToken>`+token+`</DesktopSsoToken></saml:Assertion>`)))
}

// desktopSSOFault answers with the error in the detail of a SOAP fault, where
// clients look for its AADSTS code.
func (s *Server) desktopSSOFault(w http.ResponseWriter, r *request, e *stsError) {
	s.mistake(r, "AADSTS%d: %s", e.code, e.text)
	s.record(r, e)
	w.Header().Set("Content-Type", "application/soap+xml; charset=utf-8")
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, `<S:Envelope xmlns:S="http://www.w3.org/2003/05/soap-envelope" xmlns:wst="%s" xmlns:psf="http://schemas.microsoft.com/Passport/SoapServices/SOAPFault"><S:Body><S:Fault><S:Code><S:Value>S:Sender</S:Value><S:Subcode><S:Value>wst:FailedAuthentication</S:Value></S:Subcode></S:Code><S:Reason><S:Text xml:lang="en-US">Authentication Failure</S:Text></S:Reason><S:Detail><psf:error><psf:value>0x80048821</psf:value><psf:internalerror><psf:code>0x80048821</psf:code><psf:text>%s</psf:text></psf:internalerror></psf:error></S:Detail></S:Fault></S:Body></S:Envelope>`,
		trust2005, escape(e.Error()))
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
func (s *Server) desktopSSOCredential(token string) (*directory.User, *session, error) {
	var rec desktopSSORecord
	if err := s.box.Open(kindDesktopSSO, token, &rec); err != nil {
		return nil, nil, invalidGrant(50008, "Unable to verify token signature or the SAML assertion is missing or misconfigured in the token.").
			because("the DesktopSsoToken is not of this server")
	}
	if s.Now().Unix() >= rec.Expires {
		return nil, nil, invalidGrant(500133, "Assertion is not within its valid time range.")
	}
	u, err := s.userOf(&rec.Session)
	if err != nil {
		return nil, nil, err
	}
	return u, &rec.Session, nil
}
