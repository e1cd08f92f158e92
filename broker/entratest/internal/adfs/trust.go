package adfs

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// Routes adds the endpoints to the router.
func (s *Server) Routes() {
	on := func(methods, pattern string, h web.Handler) {
		s.Web.Handle(web.OnFederation, methods, pattern, web.EndpointFederation, h)
	}
	on("GET", "/adfs/services/trust/mex", s.mex)
	on("POST", "/adfs/services/trust/2005/usernamemixed", s.wsTrust)
	on("POST", "/adfs/services/trust/13/usernamemixed", s.wsTrust)
	on("GET POST", "/adfs/ls", s.passive)
}

// Namespaces of WS-Trust, by the version in the path.
const (
	Trust2005 = "http://schemas.xmlsoap.org/ws/2005/02/trust"
	trust13   = "http://docs.oasis-open.org/ws-sx/ws-trust/200512"
)

const (
	SAML11 = "urn:oasis:names:tc:SAML:1.0:assertion"
	saml20 = "urn:oasis:names:tc:SAML:2.0:assertion"
)

// Issuer returns the issuer name of the federation server at a host.
func Issuer(host string) string { return "http://" + host + "/adfs/services/trust" }

// mex serves the metadata in which clients find the endpoints.
func (s *Server) mex(w http.ResponseWriter, r *web.Request) {
	base := "https://" + strings.ToLower(r.Host) + "/adfs/services/trust/"
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?><wsdl:definitions name="SecurityTokenService" targetNamespace="http://schemas.microsoft.com/ws/2008/06/identity/securitytokenservice" xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:soap12="http://schemas.xmlsoap.org/wsdl/soap12/" xmlns:wsa10="http://www.w3.org/2005/08/addressing" xmlns:wsp="http://schemas.xmlsoap.org/ws/2004/09/policy" xmlns:wsu="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd" xmlns:tns="http://schemas.microsoft.com/ws/2008/06/identity/securitytokenservice">`)
	versions := []struct{ path, ns, sp, tokens string }{
		{"13", trust13, "http://docs.oasis-open.org/ws-sx/ws-securitypolicy/200702", "SignedEncryptedSupportingTokens"},
		{"2005", Trust2005, "http://schemas.xmlsoap.org/ws/2005/07/securitypolicy", "SignedSupportingTokens"},
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

// RST is a request for a security token, of either version.
type RST struct {
	To        string `xml:"Header>To"`
	Username  string `xml:"Header>Security>UsernameToken>Username"`
	Password  string `xml:"Header>Security>UsernameToken>Password"`
	AppliesTo string `xml:"Body>RequestSecurityToken>AppliesTo>EndpointReference>Address"`
	TokenType string `xml:"Body>RequestSecurityToken>TokenType"`
}

func (s *Server) wsTrust(w http.ResponseWriter, r *web.Request) {
	ns := Trust2005
	if strings.Contains(r.URL.Path, "/13/") {
		ns = trust13
	}
	var in RST
	if err := xml.Unmarshal(r.Data, &in); err != nil {
		s.soapFault(w, r, "s:Sender", "The message is not SOAP.", err.Error())
		return
	}
	if in.AppliesTo != CloudAudience {
		s.soapFault(w, r, "s:Sender", "ID3082: The request scope is not valid or is unsupported.", "AppliesTo is "+web.Clip(in.AppliesTo))
		return
	}
	u, err := s.federatedPassword(r, in.Username, in.Password)
	if err != nil {
		s.soapFault(w, r, "s:Sender", "ID3242: The security token could not be authenticated or authorized.", err.Error())
		return
	}
	version := SAML11
	if strings.Contains(in.TokenType, "SAML:2.0") || strings.Contains(in.TokenType, "SAMLV2.0") {
		version = saml20
	}
	w.Header().Set("Content-Type", "application/soap+xml; charset=utf-8")
	_, _ = w.Write([]byte(SOAPReply(ns, version, s.assertion(u, strings.ToLower(r.Host), version, false), s.Keeper.Now().UTC())))
}

// federatedPassword checks a password at the federation server.
func (s *Server) federatedPassword(r *web.Request, name, password string) (*directory.User, error) {
	t := s.Keeper.Directory.FederationTenant(r.Host)
	u := s.Keeper.Directory.User(name)
	if u == nil || u.Tenant != t || !t.IsFederated(name) || directory.FederationHost(DomainOf(name)) != strings.ToLower(r.Host) {
		return nil, errors.New("no such user here")
	}
	if u.Disabled || u.Password == "" || subtle.ConstantTimeCompare([]byte(u.Password), []byte(password)) != 1 {
		return nil, errors.New("wrong password")
	}
	return u, nil
}

// DomainOf returns the domain of a user name, in lower case.
func DomainOf(upn string) string {
	_, domain, _ := strings.Cut(strings.ToLower(upn), "@")
	return domain
}

func (s *Server) soapFault(w http.ResponseWriter, r *web.Request, code, reason, why string) {
	s.Web.Mistake(r, "WS-Trust fault: %s", why)
	w.Header().Set("Content-Type", "application/soap+xml; charset=utf-8")
	w.WriteHeader(http.StatusInternalServerError)
	fmt.Fprintf(w, `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing"><s:Body><s:Fault><s:Code><s:Value>%s</s:Value><s:Subcode><s:Value xmlns:a="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd">a:FailedAuthentication</s:Value></s:Subcode></s:Code><s:Reason><s:Text xml:lang="en-US">%s</s:Text></s:Reason></s:Fault></s:Body></s:Envelope>`, code, Escape(reason))
}

// SOAPReply is the answer to a request for a security token.
func SOAPReply(ns, version, assertion string, now time.Time) string {
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
		`</wsu:Expires></t:Lifetime><wsp:AppliesTo xmlns:wsp="http://schemas.xmlsoap.org/ws/2004/09/policy"><wsa:EndpointReference xmlns:wsa="http://www.w3.org/2005/08/addressing"><wsa:Address>` + CloudAudience +
		`</wsa:Address></wsa:EndpointReference></wsp:AppliesTo><t:RequestedSecurityToken>` + assertion +
		`</t:RequestedSecurityToken><t:TokenType>` + version + `</t:TokenType><t:RequestType>` + ns + `/Issue</t:RequestType></t:RequestSecurityTokenResponse>`
}

const (
	xmlTime       = "2006-01-02T15:04:05.000Z"
	assertionLife = time.Hour
)

// Escape writes text for XML.
func Escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // writing to a buffer does not fail
	return b.String()
}

// ImmutableID returns the id by which the federation server names a user to the service.
func ImmutableID(u *directory.User) string {
	b, _ := ids.GUIDBytes(u.ID)
	return base64.StdEncoding.EncodeToString(b[:])
}

// URL returns the address where a user of a federated domain signs in; context
// comes back with the assertion.
func URL(username, context string) string {
	q := url.Values{"wa": {"wsignin1.0"}, "wtrealm": {CloudAudience}, "username": {username}}
	if context != "" {
		q.Set("wctx", context)
	}
	return "https://" + directory.FederationHost(DomainOf(username)) + "/adfs/ls/?" + q.Encode()
}

// MultipleAuthn requests MFA from a federation server, which states it with the same
// value.
const MultipleAuthn = "http://schemas.microsoft.com/claims/multipleauthn"

const CloudAudience = "urn:federation:MicrosoftOnline"
