package entratest

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// The federation server of a federated domain: WS-Trust for programs, and one
// page for browsers. It knows the users' passwords, which the sign-in service
// then never sees.

func (s *Server) federationRoutes() {
	on := func(methods, pattern string, h web.Handler) {
		s.web.Handle(web.OnFederation, methods, pattern, web.EndpointFederation, h)
	}
	on("GET", "/adfs/services/trust/mex", s.mex)
	on("POST", "/adfs/services/trust/2005/usernamemixed", s.wsTrust)
	on("POST", "/adfs/services/trust/13/usernamemixed", s.wsTrust)
	on("GET POST", "/adfs/ls", s.passive)
}

// Namespaces of WS-Trust, by the version in the path.
const (
	trust2005 = "http://schemas.xmlsoap.org/ws/2005/02/trust"
	trust13   = "http://docs.oasis-open.org/ws-sx/ws-trust/200512"
)

const (
	saml11 = "urn:oasis:names:tc:SAML:1.0:assertion"
	saml20 = "urn:oasis:names:tc:SAML:2.0:assertion"
)

func federationIssuer(host string) string { return "http://" + host + "/adfs/services/trust" }

// mex is the metadata by which clients find the endpoints.
func (s *Server) mex(w http.ResponseWriter, r *web.Request) {
	base := "https://" + strings.ToLower(r.Host) + "/adfs/services/trust/"
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?><wsdl:definitions name="SecurityTokenService" targetNamespace="http://schemas.microsoft.com/ws/2008/06/identity/securitytokenservice" xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:soap12="http://schemas.xmlsoap.org/wsdl/soap12/" xmlns:wsa10="http://www.w3.org/2005/08/addressing" xmlns:wsp="http://schemas.xmlsoap.org/ws/2004/09/policy" xmlns:wsu="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd" xmlns:tns="http://schemas.microsoft.com/ws/2008/06/identity/securitytokenservice">`)
	versions := []struct{ path, ns, sp, tokens string }{
		{"13", trust13, "http://docs.oasis-open.org/ws-sx/ws-securitypolicy/200702", "SignedEncryptedSupportingTokens"},
		{"2005", trust2005, "http://schemas.xmlsoap.org/ws/2005/07/securitypolicy", "SignedSupportingTokens"},
	}
	for _, v := range versions {
		// AD FS declares the prefix sp on these elements, and MSAL Go looks for it there.
		fmt.Fprintf(&b, `<wsp:Policy wsu:Id="UserName%[1]s_policy"><wsp:ExactlyOne><wsp:All><sp:TransportBinding xmlns:sp="%[2]s"><wsp:Policy/></sp:TransportBinding><sp:%[3]s xmlns:sp="%[2]s"><wsp:Policy><sp:UsernameToken sp:IncludeToken="%[2]s/IncludeToken/AlwaysToRecipient"><wsp:Policy><sp:WssUsernameToken10/></wsp:Policy></sp:UsernameToken></wsp:Policy></sp:%[3]s></wsp:All></wsp:ExactlyOne></wsp:Policy>`, v.path, v.sp, v.tokens)
	}
	for _, v := range versions {
		fmt.Fprintf(&b, `<wsdl:binding name="UserName%[1]s" type="tns:IWSTrust%[1]s"><wsp:PolicyReference URI="#UserName%[1]s_policy"/><soap12:binding transport="http://schemas.xmlsoap.org/soap/http"/><wsdl:operation name="Trust%[1]s"><soap12:operation soapAction="%[2]s/RST/Issue" style="document"/></wsdl:operation></wsdl:binding>`, v.path, v.ns)
	}
	b.WriteString(`<wsdl:service name="SecurityTokenService">`)
	for _, v := range versions {
		fmt.Fprintf(&b, `<wsdl:port name="UserName%[1]s" binding="tns:UserName%[1]s"><soap12:address location="%[2]s"/><wsa10:EndpointReference><wsa10:Address>%[2]s</wsa10:Address></wsa10:EndpointReference></wsdl:port>`, v.path, base+v.path+"/usernamemixed")
	}
	b.WriteString(`</wsdl:service></wsdl:definitions>`)
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	_, _ = w.Write([]byte(b.String()))
}

// rst is a request for a security token, of either version.
type rst struct {
	To        string `xml:"Header>To"`
	Username  string `xml:"Header>Security>UsernameToken>Username"`
	Password  string `xml:"Header>Security>UsernameToken>Password"`
	AppliesTo string `xml:"Body>RequestSecurityToken>AppliesTo>EndpointReference>Address"`
	TokenType string `xml:"Body>RequestSecurityToken>TokenType"`
}

func (s *Server) wsTrust(w http.ResponseWriter, r *web.Request) {
	ns := trust2005
	if strings.Contains(r.URL.Path, "/13/") {
		ns = trust13
	}
	var in rst
	if err := xml.Unmarshal(r.Data, &in); err != nil {
		s.soapFault(w, r, "s:Sender", "The message is not SOAP.", err.Error())
		return
	}
	if in.AppliesTo != cloudAudience {
		s.soapFault(w, r, "s:Sender", "ID3082: The request scope is not valid or is unsupported.", "AppliesTo is "+web.Clip(in.AppliesTo))
		return
	}
	u, err := s.federatedPassword(r, in.Username, in.Password)
	if err != nil {
		s.soapFault(w, r, "s:Sender", "ID3242: The security token could not be authenticated or authorized.", err.Error())
		return
	}
	version := saml11
	if strings.Contains(in.TokenType, "SAML:2.0") || strings.Contains(in.TokenType, "SAMLV2.0") {
		version = saml20
	}
	w.Header().Set("Content-Type", "application/soap+xml; charset=utf-8")
	_, _ = w.Write([]byte(s.soapReply(ns, version, s.assertion(u, strings.ToLower(r.Host), version, false))))
}

// federatedPassword checks a password at the federation server.
func (s *Server) federatedPassword(r *web.Request, name, password string) (*directory.User, error) {
	t := s.dir.FederationTenant(r.Host)
	u := s.dir.User(name)
	if u == nil || u.Tenant != t || !t.IsFederated(name) || directory.FederationHost(domainOf(name)) != strings.ToLower(r.Host) {
		return nil, errors.New("no such user here")
	}
	if u.Disabled || u.Password == "" || subtle.ConstantTimeCompare([]byte(u.Password), []byte(password)) != 1 {
		return nil, errors.New("wrong password")
	}
	return u, nil
}

func domainOf(upn string) string {
	_, domain, _ := strings.Cut(strings.ToLower(upn), "@")
	return domain
}

func (s *Server) soapFault(w http.ResponseWriter, r *web.Request, code, reason, why string) {
	s.web.Mistake(r, "WS-Trust fault: %s", why)
	w.Header().Set("Content-Type", "application/soap+xml; charset=utf-8")
	w.WriteHeader(http.StatusInternalServerError)
	fmt.Fprintf(w, `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing"><s:Body><s:Fault><s:Code><s:Value>%s</s:Value><s:Subcode><s:Value xmlns:a="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd">a:FailedAuthentication</s:Value></s:Subcode></s:Code><s:Reason><s:Text xml:lang="en-US">%s</s:Text></s:Reason></s:Fault></s:Body></s:Envelope>`, code, escape(reason))
}

func (s *Server) soapReply(ns, version, assertion string) string {
	now := s.Now().UTC()
	open, end := "", ""
	if ns == trust13 {
		open, end = `<trust:RequestSecurityTokenResponseCollection xmlns:trust="`+ns+`">`, `</trust:RequestSecurityTokenResponseCollection>`
	}
	return `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing" xmlns:u="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"><s:Header><a:Action s:mustUnderstand="1">` + ns + `/RSTR/Issue</a:Action></s:Header><s:Body>` + open +
		rstr(ns, version, assertion, now) + end + `</s:Body></s:Envelope>`
}

func rstr(ns, version, assertion string, now time.Time) string {
	return `<t:RequestSecurityTokenResponse xmlns:t="` + ns + `"><t:Lifetime><wsu:Created xmlns:wsu="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd">` + now.Format(xmlTime) +
		`</wsu:Created><wsu:Expires xmlns:wsu="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd">` + now.Add(assertionLife).Format(xmlTime) +
		`</wsu:Expires></t:Lifetime><wsp:AppliesTo xmlns:wsp="http://schemas.xmlsoap.org/ws/2004/09/policy"><wsa:EndpointReference xmlns:wsa="http://www.w3.org/2005/08/addressing"><wsa:Address>` + cloudAudience +
		`</wsa:Address></wsa:EndpointReference></wsp:AppliesTo><t:RequestedSecurityToken>` + assertion +
		`</t:RequestedSecurityToken><t:TokenType>` + version + `</t:TokenType><t:RequestType>` + ns + `/Issue</t:RequestType></t:RequestSecurityTokenResponse>`
}

const (
	xmlTime       = "2006-01-02T15:04:05.000Z"
	assertionLife = time.Hour
)

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a buffer does not fail
	return b.String()
}

// immutableID is how the federation server names a user to the service.
func immutableID(u *directory.User) string {
	b, _ := ids.GUIDBytes(u.ID)
	return base64.StdEncoding.EncodeToString(b[:])
}

// assertion makes a signed SAML assertion, in canonical form throughout. It
// states multipleauthn when the user gave a second factor (Entra, "Use AD FS
// with Microsoft Entra multifactor authentication").
func (s *Server) assertion(u *directory.User, host, version string, multiple bool) string {
	now := s.Now().UTC()
	id := "_" + s.rand.GUID()
	begin, until := now.Format(xmlTime), now.Add(assertionLife).Format(xmlTime)
	var head, tail string
	if version == saml11 {
		subject := `<saml:Subject><saml:NameIdentifier Format="urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified">` + immutableID(u) +
			`</saml:NameIdentifier><saml:SubjectConfirmation><saml:ConfirmationMethod>urn:oasis:names:tc:SAML:1.0:cm:bearer</saml:ConfirmationMethod></saml:SubjectConfirmation></saml:Subject>`
		head = `<saml:Assertion xmlns:saml="` + saml11 + `" AssertionID="` + id + `" IssueInstant="` + begin + `" Issuer="` + federationIssuer(host) + `" MajorVersion="1" MinorVersion="1">` +
			`<saml:Conditions NotBefore="` + begin + `" NotOnOrAfter="` + until + `"><saml:AudienceRestrictionCondition><saml:Audience>` + cloudAudience + `</saml:Audience></saml:AudienceRestrictionCondition></saml:Conditions>` +
			`<saml:AttributeStatement>` + subject + `<saml:Attribute AttributeName="UPN" AttributeNamespace="http://schemas.xmlsoap.org/claims"><saml:AttributeValue>` + escape(u.UPN) + `</saml:AttributeValue></saml:Attribute>` +
			`<saml:Attribute AttributeName="ImmutableID" AttributeNamespace="http://schemas.microsoft.com/LiveID/Federation/2008/05"><saml:AttributeValue>` + immutableID(u) + `</saml:AttributeValue></saml:Attribute>` +
			methodsReference(multiple, `AttributeName="authnmethodsreferences" AttributeNamespace="http://schemas.microsoft.com/claims"`) + `</saml:AttributeStatement>` +
			`<saml:AuthenticationStatement AuthenticationInstant="` + begin + `" AuthenticationMethod="urn:oasis:names:tc:SAML:1.0:am:password">` + subject + `</saml:AuthenticationStatement>`
	} else {
		head = `<saml:Assertion xmlns:saml="` + saml20 + `" ID="` + id + `" IssueInstant="` + begin + `" Version="2.0"><saml:Issuer>` + federationIssuer(host) + `</saml:Issuer>`
		tail = `<saml:Subject><saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">` + immutableID(u) +
			`</saml:NameID><saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"></saml:SubjectConfirmation></saml:Subject>` +
			`<saml:Conditions NotBefore="` + begin + `" NotOnOrAfter="` + until + `"><saml:AudienceRestriction><saml:Audience>` + cloudAudience + `</saml:Audience></saml:AudienceRestriction></saml:Conditions>` +
			`<saml:AttributeStatement><saml:Attribute Name="IDPEmail"><saml:AttributeValue>` + escape(u.UPN) + `</saml:AttributeValue></saml:Attribute>` +
			methodsReference(multiple, `Name="http://schemas.microsoft.com/claims/authnmethodsreferences"`) + `</saml:AttributeStatement>` +
			`<saml:AuthnStatement AuthnInstant="` + begin + `"><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>`
	}
	tail += `</saml:Assertion>`
	return head + s.xmlSignature(id, head+tail) + tail
}

// methodsReference is the attribute that states a second factor.
func methodsReference(multiple bool, name string) string {
	if !multiple {
		return ""
	}
	return `<saml:Attribute ` + name + `><saml:AttributeValue>` + multipleAuthn + `</saml:AttributeValue></saml:Attribute>`
}

// xmlSignature signs canonical XML.
func (s *Server) xmlSignature(id, signed string) string {
	return s.mint.Keys.SignXML(id, signed)
}

// samlGrant redeems an assertion of the federation server.
func (s *Server) samlGrant(r *web.Request, grant string) (any, error) {
	s.begin(r, "saml")
	u, ss, err := s.samlCredential(r.Values.Get("assertion"), grant)
	if err != nil {
		return nil, err
	}
	session.LogUser(r.Entry, u, ss)
	if err := access.SameTenant(r, u); err != nil {
		return nil, err
	}
	client, err := s.plainClient(r, u.Tenant)
	if err != nil {
		return nil, err
	}
	return s.issueForm(r, client, u, ss, issuance{})
}

// samlCredential checks an assertion, in base64 of either alphabet.
func (s *Server) samlCredential(assertion, grant string) (*directory.User, *session.Session, error) {
	if assertion == "" {
		return nil, nil, web.InvalidRequest(900144, "The request body must contain the following parameter: 'assertion'.")
	}
	bad := web.InvalidGrant(50008, "Unable to verify token signature or the SAML assertion is missing or misconfigured in the token.")
	raw, err := decodeLoose(assertion)
	if err != nil {
		return nil, nil, bad.Because("the assertion is not base64")
	}
	raw = bytes.TrimSpace(raw) // around the element, which alone is signed
	if token := desktopSSOToken(raw); token != "" {
		return s.desktopSSOCredential(token)
	}
	if (grant == wire.GrantSAML11) != bytes.Contains(raw, []byte(saml11)) {
		return nil, nil, bad.Because("the assertion is of another version than the grant %s", grant)
	}
	a, err := verify.ParseSAML(raw, s.mint.Keys.Public())
	if err != nil {
		return nil, nil, bad.Because("%v", err)
	}
	now := s.Now()
	if now.Before(a.NotBefore.Add(-helloSkew)) || !now.Before(a.NotOnOrAfter.Add(helloSkew)) {
		return nil, nil, web.InvalidGrant(500133, "Assertion is not within its valid time range.")
	}
	if a.Audience != cloudAudience {
		return nil, nil, bad.Because("the assertion is for %q", web.Clip(a.Audience))
	}
	if a.ImmutableID == "" {
		return nil, nil, web.InvalidGrant(90020, "The SAML 1.1 Assertion is missing ImmutableID of the user.")
	}
	u := s.dir.User(a.UPN)
	if u == nil || immutableID(u) != a.ImmutableID {
		return nil, nil, s.keeper.UnknownUser(s.dir.TenantOf(a.UPN), a.UPN)
	}
	if a.Issuer != federationIssuer(directory.FederationHost(domainOf(u.UPN))) {
		return nil, nil, bad.Because("issuer %q does not serve %s", web.Clip(a.Issuer), u.UPN)
	}
	if u.Disabled {
		return nil, nil, web.InvalidGrant(50057, "The user account is disabled.")
	}
	at := a.Authenticated
	if at.After(now) { // by a clock that is ahead of ours
		at = now
	}
	ss := s.keeper.NewSession(u, claims.FederatedSingleFactor)
	ss.Password, ss.Auth = true, at.Unix()
	if a.MultipleAuthn && u.Tenant.FederatedMFA != directory.RejectFederatedMFA {
		ss.ProveMFA(claims.FederatedMultiFactor, at)
	}
	return u, &ss, nil
}

func decodeLoose(text string) ([]byte, error) {
	text = strings.NewReplacer("-", "+", "_", "/", "\r", "", "\n", "").Replace(strings.TrimRight(text, "="))
	return base64.RawStdEncoding.DecodeString(text)
}

// toFederation sends a browser to the federation server (WS-Federation).
func (s *Server) toFederation(w http.ResponseWriter, _ *web.Request, fl *session.Flow) {
	web.NoStore(w)
	writeRedirect(w, federationURL(fl.Username, s.keeper.SealFlow(fl)))
}

// federationURL is where a user of a federated domain signs in; context comes
// back with the assertion.
func federationURL(username, context string) string {
	q := url.Values{"wa": {"wsignin1.0"}, "wtrealm": {cloudAudience}, "username": {username}}
	if context != "" {
		q.Set("wctx", context)
	}
	return "https://" + directory.FederationHost(domainOf(username)) + "/adfs/ls/?" + q.Encode()
}

// passive is the federation server's page for browsers.
func (s *Server) passive(w http.ResponseWriter, r *web.Request) {
	q := r.URL.Query()
	p := pages.Page{Name: "federation", Title: "Sign in at " + r.Host, Username: q.Get("username"), Nonce: s.pageNonce(),
		Action: r.URL.RequestURI(), Config: map[string]any{}, FormAct: "https://" + wire.LoginHost}
	if q.Get("wa") != "wsignin1.0" || q.Get("wtrealm") != cloudAudience {
		s.errorPage(w, r, web.InvalidRequest(50107, "The requested federation realm object '%s' does not exist.", web.Clip(q.Get("wtrealm"))))
		return
	}
	if r.Method == http.MethodGet {
		p.Write(w, http.StatusOK)
		return
	}
	p.Username = r.Values.Get("UserName")
	u, err := s.federatedPassword(r, p.Username, r.Values.Get("Password"))
	if err != nil {
		explain(&p, web.InvalidGrant(50126, "Incorrect user ID or password. Type the correct user ID and password, and try again."))
		p.Write(w, http.StatusOK)
		return
	}
	multiple, answered := s.passiveFactor(w, r, u, p)
	if answered {
		return
	}
	done := pages.Page{Name: "formpost", Title: "Working…", Nonce: s.pageNonce(), Config: map[string]any{},
		To: template.URL(web.LoginURL + "login.srf"), FormAct: "https://" + wire.LoginHost,
		Hidden: []pages.Field{{Name: "wa", Value: "wsignin1.0"}, {Name: "wctx", Value: q.Get("wctx")},
			{Name: "wresult", Value: rstr(trust2005, saml11, s.assertion(u, strings.ToLower(r.Host), saml11, multiple), s.Now().UTC())}}}
	if fl, err := s.keeper.OpenFlow(q.Get("wctx")); err == nil {
		done.FormAct = s.formTargets(fl) // the form ends there by redirects
	}
	done.Write(w, http.StatusOK)
}

// loginSRF takes what the federation server sends back through the browser.
func (s *Server) loginSRF(w http.ResponseWriter, r *web.Request) {
	fl, err := s.keeper.OpenFlow(r.Values.Get("wctx"))
	if err != nil {
		s.errorPage(w, r, err)
		return
	}
	text := r.Values.Get("wresult")
	from, to := strings.Index(text, "<saml:Assertion"), strings.LastIndex(text, "</saml:Assertion>")
	if from < 0 || to < from {
		s.errorPage(w, r, web.InvalidGrant(50008, "SAML assertion is missing or misconfigured in the token."))
		return
	}
	raw := text[from : to+len("</saml:Assertion>")]
	u, ss, err := s.samlCredential(base64.StdEncoding.EncodeToString([]byte(raw)), wire.GrantSAML11)
	if err != nil {
		r.Entry = s.flowEntry(r, fl)
		s.web.Record(r, err)
		s.errorPage(w, r, err)
		return
	}
	fl.Username = u.UPN
	s.signedIn(w, r, fl, *ss)
}
