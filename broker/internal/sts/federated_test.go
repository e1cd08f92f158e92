package sts

import (
	"encoding/xml"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/wire"
)

func TestFindAssertion(t *testing.T) {
	const assertion = `<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:1.0:assertion" ID="a"> <x>1</x></saml:Assertion>`
	const response = `<p:Response xmlns:p="urn:oasis:names:tc:SAML:1.0:protocol">`
	for _, doc := range []string{`<Envelope><Body><Token>` + assertion + `</Token></Body></Envelope>`, response + assertion + `</p:Response>`} {
		got, err := findAssertion([]byte(doc))
		require.NoError(t, err)
		require.Equal(t, assertion, string(got))
	}
	for _, bad := range []string{"", "<a/>", "<Assertion/>", `<s:Assertion xmlns:s="urn:oasis:names:tc:SAML:2.0:assertion">`, response + `</p:Response>`} {
		_, err := findAssertion([]byte(bad))
		require.ErrorIs(t, err, errNoAssertion, bad)
	}
}

const sts13, sts2005 = "https://sts.fed.example/adfs/services/trust/13/usernamemixed", "https://sts.fed.example/adfs/services/trust/2005/usernamemixed"

// A password goes to the address that the domain names for a user name and a
// password, over TLS, and of two versions to the standard's (WS-Trust 1.3).
func TestTrustEndpoint(t *testing.T) {
	wsdl := func(content string) canned {
		return canned{200, nil, `<w:definitions xmlns:w="http://schemas.xmlsoap.org/wsdl/">` + content + `</w:definitions>`}
	}
	at := func(address string) string { return `<address location="` + address + `"/>` }
	const mex = "https://sts.fed.example/mex"
	none := &Error{Verdict: aadsts.Interact}
	for name, tt := range map[string]struct {
		realm   realm
		mex     canned
		address string
		version int
		err     *Error
	}{
		"both":                       {realm{Metadata: mex}, wsdl(at(sts2005) + at(sts13)), sts13, 0, nil},
		"the older one":              {realm{Metadata: mex}, wsdl(at(sts2005)), sts2005, 1, nil},
		"as an element":              {realm{Metadata: mex}, wsdl(`<Address> ` + sts13 + ` </Address>`), sts13, 0, nil},
		"an element of elements":     {realm{Metadata: mex}, wsdl(`<Address><x/></Address>` + at(sts13)), sts13, 0, nil},
		"another attribute":          {realm{Metadata: mex}, wsdl(`<address other="` + sts13 + `"/>`), "", 0, none},
		"in capitals, and a slash":   {realm{Metadata: mex}, wsdl(at("https://sts.fed.example/adfs/services/TRUST/13/UserNameMixed/")), "https://sts.fed.example/adfs/services/TRUST/13/UserNameMixed/", 0, nil},
		"the realm's own":            {realm{Active: sts2005}, canned{}, sts2005, 1, nil},
		"the realm's own, and worse": {realm{Metadata: mex, Active: sts2005}, strangers["502 of a balancer"], sts2005, 1, nil},
		"in the clear":               {realm{Metadata: mex, Active: "http://sts.fed.example/trust/2005/usernamemixed"}, wsdl(at("http://sts.fed.example/trust/13/usernamemixed")), "", 0, none},
		"with a user":                {realm{Active: "https://u@sts.fed.example/trust/13/usernamemixed"}, canned{}, "", 0, none},
		"without a host":             {realm{Active: "https:///trust/13/usernamemixed"}, canned{}, "", 0, none},
		"not an address":             {realm{Active: "https://%zz/trust/13/usernamemixed"}, canned{}, "", 0, none},
		"for certificates":           {realm{Metadata: mex}, wsdl(at("https://sts.fed.example/adfs/services/trust/13/certificatemixed")), "", 0, none},
		"metadata in the clear":      {realm{Metadata: "http://sts.fed.example/mex"}, wsdl(at(sts13)), "", 0, none},
		"nothing":                    {realm{}, canned{}, "", 0, none},
		"metadata is not there":      {realm{Metadata: mex}, strangers["502 of a balancer"], "", 0, &Error{Verdict: aadsts.Retry}},
	} {
		t.Run(name, func(t *testing.T) {
			address, version, err := testClient(t, &answering{canned: tt.mex}).trustEndpoint(t.Context(), &tt.realm)
			if tt.err != nil {
				var e *Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, tt.err.Verdict, e.Verdict)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.address, address)
			require.Equal(t, wsTrustVersions[tt.version], version)
		})
	}
}

// Who signs in the users of a domain decides whether a password goes anywhere.
func TestAssertionByRealm(t *testing.T) {
	const fed = "sts.fed.example"
	for name, tt := range map[string]struct {
		realm string
		want  aadsts.Verdict // None: an assertion
		asked []string
	}{
		"federated":                          {`{"account_type":"Federated","federation_protocol":"WSTrust","federation_active_auth_url":"` + sts2005 + `"}`, aadsts.None, []string{wire.LoginHost, fed}},
		"federated, in small":                {`{"account_type":"federated","federation_protocol":"WSFed","federation_active_auth_url":"` + sts2005 + `"}`, aadsts.None, []string{wire.LoginHost, fed}},
		"no protocol is named":               {`{"account_type":"Federated","federation_active_auth_url":"` + sts2005 + `"}`, aadsts.None, []string{wire.LoginHost, fed}},
		"federated by SAML":                  {`{"account_type":"Federated","federation_protocol":"SAML20","federation_active_auth_url":"` + sts2005 + `"}`, aadsts.Interact, []string{wire.LoginHost}},
		"managed":                            {`{"account_type":"Managed"}`, aadsts.AppConfig, []string{wire.LoginHost}},
		"unknown":                            {`{"account_type":"Unknown"}`, aadsts.UserNotFound, []string{wire.LoginHost}},
		"federated, but it names no address": {`{"account_type":"Federated"}`, aadsts.Interact, []string{wire.LoginHost}},
		"a reply of another type":            {`{"account_type":"Federated","federation_protocol":1}`, aadsts.None, []string{wire.LoginHost}},
	} {
		t.Run(name, func(t *testing.T) {
			h := &hosts{replies: map[string]canned{wire.LoginHost: {200, nil, tt.realm}, fed: calls["federated password"].ok}}
			assertion, err := clientOf(t, h, Public, true).Assertion(t.Context(), "a@fed.example", "pw")
			require.Equal(t, tt.asked, h.names())
			if len(tt.asked) > 1 {
				require.NoError(t, err)
				require.Contains(t, string(assertion), "<saml:Assertion")
				return
			}
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, tt.want, e.Verdict)
		})
	}
	_, err := testClient(t, &answering{canned: refused(90002)}).Assertion(t.Context(), "a@fed.example", "pw")
	require.ErrorContains(t, err, "AADSTS90002")
}

// What a user types ends up in the request as it is, and adds no element to it. The
// request is good for ten minutes, and for Entra unless the realm names another
// audience.
func TestTrustRequest(t *testing.T) {
	type envelope struct {
		To       string `xml:"Header>To"`
		Created  string `xml:"Header>Security>Timestamp>Created"`
		Expires  string `xml:"Header>Security>Timestamp>Expires"`
		Username string `xml:"Header>Security>UsernameToken>Username"`
		Password string `xml:"Header>Security>UsernameToken>Password"`
		Audience string `xml:"Body>RequestSecurityToken>AppliesTo>EndpointReference>Address"`
		KeyType  string `xml:"Body>RequestSecurityToken>KeyType"`
		Request  string `xml:"Body>RequestSecurityToken>RequestType"`
	}
	const username, password = `a&b@fed.example`, `<o:Password>'"]]>&amp;`
	for audience, want := range map[string]string{"": "urn:federation:MicrosoftOnline", "urn:federation:other": "urn:federation:other"} {
		var got envelope
		c := testClient(t, transport(func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			require.NoError(t, xml.Unmarshal(body, &got))
			return (&answering{canned: calls["federated password"].ok}).Do(r)
		}))
		_, err := c.requestAssertion(t.Context(), sts13, wsTrustVersions[0], audience, username, password)
		require.NoError(t, err)
		require.Equal(t, envelope{
			To: sts13, Created: "2026-03-02T12:00:00.000Z", Expires: "2026-03-02T12:10:00.000Z", Username: username, Password: password, Audience: want,
			KeyType: "http://docs.oasis-open.org/ws-sx/ws-trust/200512/Bearer", Request: "http://docs.oasis-open.org/ws-sx/ws-trust/200512/Issue",
		}, got)
	}

	for says, reply := range map[string]canned{
		"user name or password is wrong": calls["federated password"].no,
		"issued no assertion":            {500, nil, soap(`<s:Fault><s:Code><s:Value>s:Receiver</s:Value></s:Code></s:Fault>`)},
	} {
		_, err := testClient(t, &answering{canned: reply}).requestAssertion(t.Context(), sts13, wsTrustVersions[0], "", username, password)
		var e *Error
		require.ErrorAs(t, err, &e)
		require.ErrorContains(t, e, says)
		require.Equal(t, says != "issued no assertion", e.Verdict == aadsts.BadCredential)
	}
}
