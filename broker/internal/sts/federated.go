package sts

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// realm is what the service says about a user name's domain.
type realm struct {
	AccountType string `json:"account_type"`
	Protocol    string `json:"federation_protocol"`
	Metadata    string `json:"federation_metadata_url"`
	Active      string `json:"federation_active_auth_url"`
	Audience    string `json:"cloud_audience_urn"`
}

const defaultAudience = "urn:federation:MicrosoftOnline"

// userRealm finds out who authenticates a user: Entra or a federation server.
// The answer decides where a password goes, so only the host of a cloud is
// trusted.
func (c *Client) userRealm(ctx context.Context, username string) (*realm, error) {
	if err := c.Verify(ctx); err != nil {
		return nil, err
	}
	rep, err := c.Do(ctx, Request{
		Method:   http.MethodGet,
		URL:      "https://" + c.Cloud().LoginHost + wire.PathUserRealm + url.PathEscape(username) + "?api-version=1.0",
		Endpoint: Realm,
	})
	if err != nil {
		return nil, err
	}
	if !rep.OK() {
		return nil, Refusal(rep, ByUser)
	}
	r := new(realm)
	if err := json.Unmarshal(rep.Body, r); err != nil {
		return nil, Malformed(rep, prt.ErrReply)
	}
	return r, nil
}

// Assertion gets an assertion from the organization's federation server
// by WS-Trust, with user name and password. The password is sent once.
func (c *Client) Assertion(ctx context.Context, username, password string) ([]byte, error) {
	r, err := c.userRealm(ctx, username)
	if err != nil {
		return nil, err
	}
	switch {
	case strings.EqualFold(r.AccountType, "Managed"):
		return nil, &Error{Verdict: aadsts.AppConfig, Detail: "the user's domain is not federated: sign in with Password"}
	case !strings.EqualFold(r.AccountType, "Federated"):
		return nil, &Error{Verdict: aadsts.UserNotFound, Detail: "the service does not know the user's domain"}
	case r.Protocol != "" && r.Protocol != "WSTrust" && r.Protocol != "WSFed":
		return nil, &Error{Verdict: aadsts.Interact, Detail: "the federation server has no WS-Trust: sign in with AuthCode"}
	}
	endpoint, version, err := c.trustEndpoint(ctx, r)
	if err != nil {
		return nil, err
	}
	return c.requestAssertion(ctx, endpoint, version, r.Audience, username, password)
}

// wsTrust is a version of WS-Trust.
type wsTrust struct {
	path, namespace, action, request, keyType string
}

// The versions, the preferred one first (WS-Trust 1.3, OASIS; and the draft of
// February 2005).
var wsTrustVersions = []wsTrust{
	{
		path:      "/trust/13/usernamemixed",
		namespace: "http://docs.oasis-open.org/ws-sx/ws-trust/200512",
		action:    "http://docs.oasis-open.org/ws-sx/ws-trust/200512/RST/Issue",
		request:   "http://docs.oasis-open.org/ws-sx/ws-trust/200512/Issue",
		keyType:   "http://docs.oasis-open.org/ws-sx/ws-trust/200512/Bearer",
	},
	{
		path:      "/trust/2005/usernamemixed",
		namespace: "http://schemas.xmlsoap.org/ws/2005/02/trust",
		action:    "http://schemas.xmlsoap.org/ws/2005/02/trust/RST/Issue",
		request:   "http://schemas.xmlsoap.org/ws/2005/02/trust/Issue",
		keyType:   "http://schemas.xmlsoap.org/ws/2005/05/identity/NoProofKey",
	},
}

// trustEndpoint finds the endpoint that takes a user name and a password, in
// the server's metadata or as the realm names it.
func (c *Client) trustEndpoint(ctx context.Context, r *realm) (string, wsTrust, error) {
	var found []string
	var unread error
	if isHTTPS(r.Metadata) {
		rep, err := c.Do(ctx, Request{Method: http.MethodGet, URL: r.Metadata, Endpoint: FederationMetadata})
		if unread = err; err == nil {
			found = addresses(rep.Body)
		}
	}
	found = append(found, r.Active)
	for _, v := range wsTrustVersions {
		for _, a := range found {
			if isHTTPS(a) && strings.HasSuffix(strings.ToLower(strings.TrimRight(a, "/")), v.path) {
				return a, v, nil
			}
		}
	}
	if unread != nil {
		return "", wsTrust{}, unread
	}
	return "", wsTrust{}, &Error{Verdict: aadsts.Interact, Detail: "the federation server has no endpoint for a user name and a password: sign in with AuthCode"}
}

func isHTTPS(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil
}

// addresses returns what stands in the address elements of a metadata
// document.
func addresses(doc []byte) (out []string) {
	d := xml.NewDecoder(bytes.NewReader(doc))
	for {
		t, err := d.Token()
		if err != nil {
			return out
		}
		start, _ := t.(xml.StartElement) // anything else has no name
		if start.Name.Local == "address" {
			for _, a := range start.Attr {
				if a.Name.Local == "location" {
					out = append(out, a.Value)
				}
			}
		}
		if start.Name.Local == "Address" {
			var s string
			if d.DecodeElement(&s, &start) == nil {
				out = append(out, strings.TrimSpace(s))
			}
		}
	}
}

// tokenLife is how long the request is valid.
const tokenLife = 10 * time.Minute

func (c *Client) requestAssertion(ctx context.Context, endpoint string, v wsTrust, audience, username, password string) ([]byte, error) {
	if audience == "" {
		audience = defaultAudience
	}
	id, err := newGUID(c.cfg.Rand)
	if err != nil {
		return nil, err
	}
	now := c.Now().UTC()
	const stamp = "2006-01-02T15:04:05.000Z"
	var s strings.Builder
	write := func(parts ...string) {
		for i, p := range parts {
			if i%2 == 1 { // every other part comes from outside
				_ = xml.EscapeText(&s, []byte(p))
				continue
			}
			s.WriteString(p)
		}
	}
	write(`<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing"`+
		` xmlns:u="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"><s:Header>`+
		`<a:Action s:mustUnderstand="1">`, v.action, `</a:Action><a:MessageID>urn:uuid:`, id, `</a:MessageID>`+
		`<a:ReplyTo><a:Address>http://www.w3.org/2005/08/addressing/anonymous</a:Address></a:ReplyTo>`+
		`<a:To s:mustUnderstand="1">`, endpoint, `</a:To>`+
		`<o:Security s:mustUnderstand="1" xmlns:o="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd">`+
		`<u:Timestamp u:Id="_0"><u:Created>`, now.Format(stamp), `</u:Created><u:Expires>`, now.Add(tokenLife).Format(stamp), `</u:Expires></u:Timestamp>`+
		`<o:UsernameToken><o:Username>`, username, `</o:Username><o:Password>`, password, `</o:Password></o:UsernameToken>`+
		`</o:Security></s:Header><s:Body><t:RequestSecurityToken xmlns:t="`, v.namespace, `">`+
		`<p:AppliesTo xmlns:p="http://schemas.xmlsoap.org/ws/2004/09/policy"><a:EndpointReference><a:Address>`, audience, `</a:Address></a:EndpointReference></p:AppliesTo>`+
		`<t:KeyType>`, v.keyType, `</t:KeyType><t:RequestType>`, v.request, `</t:RequestType>`+
		`</t:RequestSecurityToken></s:Body></s:Envelope>`)
	rep, err := c.Do(ctx, Request{
		Method:      http.MethodPost,
		URL:         endpoint,
		ContentType: "application/soap+xml; charset=utf-8",
		Body:        []byte(s.String()),
		Once:        true,
		Endpoint:    FederationServer,
		From:        From{Account: username},
	})
	if err != nil {
		return nil, err
	}
	assertion, err := findAssertion(rep.Body)
	if err == nil {
		return assertion, nil
	}
	e := &Error{StatusCode: rep.Status, CorrelationID: rep.CorrelationID}
	e.Detail = "the federation server issued no assertion"
	if bytes.Contains(rep.Body, []byte("FailedAuthentication")) {
		e.Verdict, e.Detail = aadsts.BadCredential, "the federation server says that user name or password is wrong"
	}
	return nil, e
}

var errNoAssertion = errors.New("no assertion")

// findAssertion returns the first Assertion element exactly as it stands,
// because its signature covers its bytes.
func findAssertion(doc []byte) ([]byte, error) {
	d := xml.NewDecoder(bytes.NewReader(doc))
	for {
		before := d.InputOffset()
		t, err := d.Token()
		if err != nil {
			return nil, errNoAssertion
		}
		start, ok := t.(xml.StartElement)
		if !ok || start.Name.Local != "Assertion" || !strings.Contains(start.Name.Space, ":SAML:") {
			continue
		}
		if err := d.Skip(); err != nil {
			return nil, errNoAssertion
		}
		return doc[before:d.InputOffset()], nil
	}
}
