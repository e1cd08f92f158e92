package sts

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/strictjson"
	"github.com/prtbroker/prtbroker/prt"
)

// A reply is the service's if it has the shape that replies of this endpoint
// have. Anything else comes from something in between, such as a proxy, a
// portal or a load balancer, whatever its status says: it is a temporary
// failure and changes nothing.

// An Endpoint is where a request goes. It decides what a reply looks like.
type Endpoint uint8

// The endpoints.
const (
	TokenEndpoint         Endpoint = iota // also nonces and device codes
	SignInPage                            // the authorize endpoint
	Realm                                 // who signs in the users of a domain
	OpenIDConfiguration                   // of a tenant
	InstanceDiscovery                     // which login hosts there are
	RegistrationDiscovery                 // where the registration services are
	Registration                          // of a device or a key
	Removal                               // of a device or a key
	FederationMetadata                    // WSDL
	FederationServer                      // WS-Trust
)

// successes are fields of which a successful reply has at least one, by their
// JSON types: a text, or an object.
var successes = map[Endpoint][]string{
	TokenEndpoint:         {"access_token", "refresh_token", "id_token", "session_key_jwe", "Nonce", "device_code"},
	Realm:                 {"account_type"},
	OpenIDConfiguration:   {"issuer"},
	InstanceDiscovery:     {"tenant_discovery_endpoint"},
	RegistrationDiscovery: {"DeviceJoinService{", "KeyProvisioningService{", "DeviceRegistrationService{", "DiscoveryService{"},
	Registration:          {"Certificate{", "kid"},
	Removal:               {"AttestationResult{"},
}

// isServices reports whether a reply to q is the service's.
func (c *Client) isServices(q Request, r *Reply) bool {
	switch {
	case r.from != "":
		return false
	case q.Endpoint == SignInPage:
		return c.isSignInPage(q, r)
	case r.Status >= 300 && r.Status < 400:
		return false
	case q.Endpoint == FederationMetadata:
		return r.OK() && hasRoot(r.Body, "definitions", "http://schemas.xmlsoap.org/wsdl/")
	case q.Endpoint == FederationServer:
		return hasRoot(r.Body, "Envelope", "http://www.w3.org/2003/05/soap-envelope", "http://schemas.xmlsoap.org/soap/envelope/")
	case q.Endpoint == TokenEndpoint && r.OK() && isJWE(r.Body):
		return true
	case q.Endpoint == Removal && r.OK() && r.signed() && !isPage(r.Body):
		return true // how a key service answers the removal of a key is not documented
	}
	o, err := strictjson.Parse(r.Body, prt.MaxReplySize)
	if err != nil {
		return false
	}
	if isRefusal(o, r) {
		return true
	}
	return r.OK() && slices.ContainsFunc(successes[q.Endpoint], func(field string) bool { return has(o, field) })
}

// signed reports whether a reply has a header that Microsoft's services set, or
// returns the id of the request, as they do when asked to.
func (r *Reply) signed() bool {
	return r.Header.Get("x-ms-request-id") != "" || r.Header.Get("request-id") != "" ||
		r.CorrelationID != "" && strings.EqualFold(r.Header.Get("client-request-id"), r.CorrelationID)
}

// has reports whether a field has its type and is not empty. A name that ends
// in a brace is that of an object.
func has(o *strictjson.Object, field string) bool {
	if name, object := strings.CutSuffix(field, "{"); object {
		raw := o.Raw(name)
		return raw != nil && raw[0] == '{'
	}
	return o.String(field) != ""
}

// isRefusal reports whether an object is an error of the sign-in service or of
// a registration service. The OAuth error alone (RFC 6749 5.2) is not enough:
// gateways send that too. Microsoft's comes with a code, or with what finds the
// request in its log ("Error response", Microsoft identity platform).
func isRefusal(o *strictjson.Object, r *Reply) bool {
	logged := r.signed() || o.String("trace_id") != "" || o.String("correlation_id") != ""
	switch {
	case o.String("error") != "":
		return logged || len(prt.ParseError(r.Status, r.Body).Codes) > 0
	case o.String("ErrorType") != "": // of the device registration service
		return true
	case o.String("code") != "" && o.String("message") != "": // MS-KPP 2.2.3.1, AD FS
		return logged || o.String("response") != "" || o.String("clientrequestid") != ""
	case has(o, "error{"):
		in := o.Object("error")
		return in.String("code") != "" && (logged || has(in, "innererror{") || has(in, "innerError{"))
	}
	return false
}

var compactJWE = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*){4}$`)

func isJWE(body []byte) bool { return compactJWE.Match(bytes.TrimSpace(body)) }

// isSignInPage reports whether a reply is the authorize endpoint's: a redirect
// to the app or within the sign-in service, or a page of it.
func (c *Client) isSignInPage(q Request, r *Reply) bool {
	if r.Status >= 300 && r.Status < 400 {
		to := r.Header.Get("Location")
		if q.redirect != "" && hasPrefixFold(to, q.redirect) {
			return true
		}
		at, err := url.Parse(q.URL)
		if err != nil {
			return false
		}
		next, err := at.Parse(to)
		return to != "" && err == nil && next.Scheme == "https" && c.Cloud().isLogin(next.Host)
	}
	if o, err := strictjson.Parse(r.Body, prt.MaxReplySize); err == nil {
		return isRefusal(o, r)
	}
	return isPage(r.Body) && (r.signed() || bytes.Contains(r.Body, []byte("$Config")))
}

// isLogin reports whether a host is one of the sign-in service.
func (c Cloud) isLogin(host string) bool {
	return strings.EqualFold(host, c.LoginHost) ||
		slices.ContainsFunc(c.Aliases, func(alias string) bool { return strings.EqualFold(host, alias) })
}

// hasRoot reports whether a document is XML, to its end, whose outermost element
// has that name in one of these namespaces.
func hasRoot(doc []byte, name string, spaces ...string) bool {
	d := xml.NewDecoder(bytes.NewReader(doc))
	rooted, found := false, false
	for {
		t, err := d.Token()
		if err != nil {
			return errors.Is(err, io.EOF) && found
		}
		if e, ok := t.(xml.StartElement); ok && !rooted {
			rooted, found = true, e.Name.Local == name && slices.Contains(spaces, e.Name.Space)
		}
	}
}

// stranger is the error of a reply that is not the service's.
func stranger(q Request, r *Reply) *Error {
	host := ""
	if u, err := url.Parse(q.URL); err == nil {
		host = u.Host
	}
	what := "an empty body"
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && len(r.Body) > 0 {
		what = aadsts.Clean(t)
	} else if len(r.Body) > 0 {
		what = aadsts.Clean(http.DetectContentType(r.Body))
	}
	to := r.from
	if u, err := url.Parse(r.Header.Get("Location")); to == "" && err == nil {
		to = u.Host
	}
	if to != "" && to != host {
		what = "a redirect to " + aadsts.Clean(to)
	}
	verdict := aadsts.Retry
	if r.Status == http.StatusTooManyRequests {
		verdict = aadsts.Throttled
	}
	return &Error{
		Verdict:       verdict,
		StatusCode:    r.Status,
		CorrelationID: r.CorrelationID,
		RetryAfter:    r.RetryAfter,
		Detail:        fmt.Sprintf("something on the way to %s answered in its place, with %s", aadsts.Clean(host), what),
	}
}
