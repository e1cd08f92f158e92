package sts

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// A canned reply is what somebody answers to a request.
type canned struct {
	status int
	header map[string]string
	body   string
}

// answering answers every request alike and counts them.
type answering struct {
	mu    sync.Mutex // guards asked
	asked int
	canned
	err error
}

func (a *answering) Do(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	if a.err != nil {
		return nil, a.err
	}
	h := http.Header{}
	for k, v := range a.header {
		h.Set(k, v)
	}
	return &http.Response{StatusCode: a.status, Header: h, Request: r, Body: io.NopCloser(strings.NewReader(a.body))}, nil
}

const server = "https://sts.fed.example/adfs/services/trust/13/usernamemixed"

// calls are one of each kind that the broker makes; once are those whose
// request must not be handled twice.
var calls = map[string]struct {
	once bool
	ok   canned // what the service says to it
	no   canned // how the service refuses it
	do   func(context.Context, *Client) error
}{
	"nonce": {ok: canned{200, nil, `{"Nonce":"AwAB"}`}, no: refused(90055), do: func(ctx context.Context, c *Client) error {
		_, err := c.Nonce(ctx)
		return err
	}},
	"exchange of a PRT": {ok: canned{200, nil, "e30.a.b.c.d"}, no: refused(50076), do: func(ctx context.Context, c *Client) error {
		_, err := c.Post(ctx, "t", prt.Form{Path: wire.PathToken, Values: url.Values{"grant_type": {wire.GrantJWTBearer}}}, ByPRT, From{})
		return err
	}},
	"issuance of a PRT": {true, canned{200, nil, `{"refresh_token":"x","session_key_jwe":"y"}`}, refused(50155), func(ctx context.Context, c *Client) error {
		_, err := c.Post(ctx, "t", prt.Form{Path: wire.PathToken, Values: url.Values{"grant_type": {wire.GrantJWTBearer}}}, ByUser, From{})
		return err
	}},
	"password": {true, tokens, refused(50126), func(ctx context.Context, c *Client) error {
		_, err := c.Grant(ctx, "t", wire.PathToken, url.Values{"grant_type": {wire.GrantPassword}})
		return err
	}},
	"code": {true, tokens, refused(70008), func(ctx context.Context, c *Client) error {
		_, err := c.Grant(ctx, "t", wire.PathToken, url.Values{"grant_type": {wire.GrantAuthCode}})
		return err
	}},
	"assertion": {true, tokens, refused(50107), func(ctx context.Context, c *Client) error {
		_, err := c.Grant(ctx, "t", wire.PathToken, url.Values{"grant_type": {wire.GrantSAML20}})
		return err
	}},
	"refresh token": {ok: tokens, no: refused(700082), do: func(ctx context.Context, c *Client) error {
		_, err := c.Grant(ctx, "t", wire.PathToken, url.Values{"grant_type": {wire.GrantRefreshToken}})
		return err
	}},
	"device code": {ok: canned{200, nil, `{"device_code":"d","user_code":"u","expires_in":"900"}`}, no: refused(50059), do: func(ctx context.Context, c *Client) error {
		_, err := c.DeviceCode(ctx, "t", wire.PathDeviceCode, url.Values{"client_id": {"c"}}, "")
		return err
	}},
	"tenant": {ok: canned{200, nil, `{"issuer":"https://sts.windows.net/f3d10000-0000-4000-8000-000000000002/","token_endpoint":"https://x"}`}, no: refused(90002), do: func(ctx context.Context, c *Client) error {
		_, err := c.TenantID(ctx, "contoso.example")
		return err
	}},
	"instance": {ok: canned{200, nil, `{"tenant_discovery_endpoint":"https://login.example/common/.well-known/openid-configuration"}`}, no: refused(50049), do: func(ctx context.Context, c *Client) error {
		return c.instance(ctx, "login.example")
	}},
	"realm": {ok: canned{200, nil, `{"ver":"1.0","account_type":"Managed"}`}, no: refused(90002), do: func(ctx context.Context, c *Client) error {
		_, err := c.userRealm(ctx, "a@b.example")
		return err
	}},
	"federation metadata": {ok: canned{200, nil, `<w:definitions xmlns:w="http://schemas.xmlsoap.org/wsdl/"><address location="` + server + `"/></w:definitions>`},
		no: canned{200, nil, `<w:definitions xmlns:w="http://schemas.xmlsoap.org/wsdl/"></w:definitions>`}, do: func(ctx context.Context, c *Client) error {
			_, _, err := c.trustEndpoint(ctx, &realm{Metadata: "https://sts.fed.example/mex"})
			return err
		}},
	"federated password": {true, canned{200, nil, soap(`<x:RequestSecurityTokenResponse><saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:1.0:assertion"/></x:RequestSecurityTokenResponse>`)},
		canned{500, nil, soap(`<s:Fault><s:Code><s:Subcode><s:Value>a:FailedAuthentication</s:Value></s:Subcode></s:Code></s:Fault>`)}, func(ctx context.Context, c *Client) error {
			_, err := c.requestAssertion(ctx, server, wsTrustVersions[0], "", "a@b.example", "pw")
			return err
		}},
	"join": {true, canned{200, nil, `{"Certificate":{"Thumbprint":"x","RawBody":"y"}}`}, drsRefused, func(ctx context.Context, c *Client) error {
		_, err := c.Register(ctx, http.MethodPost, "https://drs.example/device", []byte("{}"), prt.NewSecret("t"), "")
		return err
	}},
	"hybrid join": {true, canned{200, nil, `{"Certificate":{"RawBody":"y"}}`}, drsRefused, func(ctx context.Context, c *Client) error {
		_, err := c.Register(ctx, http.MethodPut, "https://drs.example/device/id", []byte("{}"), prt.Secret{}, "")
		return err
	}},
	"Hello key": {true, canned{200, nil, `{"kid":"1","upn":"a@b.example"}`}, drsRefused, func(ctx context.Context, c *Client) error {
		_, err := c.Register(ctx, http.MethodPost, "https://drs.example/key", []byte("{}"), prt.NewSecret("t"), "")
		return err
	}},
	"removal of a Hello key": {true, canned{200, map[string]string{"request-id": "1"}, `{"upn":"a@b.example"}`}, drsRefused, func(ctx context.Context, c *Client) error {
		return c.DeleteKey(ctx, "https://drs.example/key/1", prt.NewSecret("t"), "")
	}},
	"removal of the device": {true, canned{200, nil, `{"AttestationResult":{"KeyId":"1"}}`}, drsRefused, func(ctx context.Context, c *Client) error {
		return c.DeleteDevice(ctx, "https://drs.example/device/1", nil)
	}},
	"sign-in page": {ok: canned{302, map[string]string{"Location": "ms-appx-web://app?code=c&state=s"}, ""}, no: canned{200, map[string]string{"Content-Type": "text/html"}, "<html><script>$Config={};</script>"},
		do: func(ctx context.Context, c *Client) error {
			r, err := c.Open(ctx, "https://login.microsoftonline.com/t/oauth2/authorize", "ms-appx-web://app", prt.Cookie{}, "")
			if err == nil && r.Status != 302 {
				return &Error{Said: true, Detail: "a page"}
			}
			return err
		}},
}

var (
	tokens     = canned{200, nil, `{"access_token":"a","token_type":"Bearer","expires_in":"3600"}`}
	drsRefused = canned{400, nil, `{"ErrorType":"DirectoryError","Message":"gone","TraceId":"1","Time":"x"}`}
)

// refused is how the sign-in service refuses.
func refused(code int) canned {
	e, _ := aadsts.Lookup(code)
	return canned{400, map[string]string{"Content-Type": "application/json"}, `{"error":"` + e.Error + `","error_codes":[` + itoa(code) + `],"error_description":"AADSTS` + itoa(code) + `: x","trace_id":"1"}`}
}

func soap(body string) string {
	return `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>` + body + `</s:Body></s:Envelope>`
}

// strangers are what somebody on the way answers: a proxy, a portal, a load
// balancer, a gateway. None of it is the service's word, at any endpoint.
var strangers = map[string]canned{
	"302 to a portal":                   {302, map[string]string{"Location": "https://portal.example/login?u=x"}, ""},
	"302 without an address":            {302, nil, ""},
	"302 to a portal in the clear":      {302, map[string]string{"Location": "http://login.microsoftonline.com/"}, "<html>moved</html>"},
	"303 to a portal":                   {303, map[string]string{"Location": "https://portal.example/"}, ""},
	"307, which would send it again":    {307, map[string]string{"Location": "https://proxy.example/token"}, ""},
	"308, which would send it again":    {308, map[string]string{"Location": "https://proxy.example/token"}, ""},
	"300":                               {300, nil, ""},
	"300 in the service's words":        {300, map[string]string{"x-ms-request-id": "1"}, `{"error":"invalid_grant","error_codes":[50173]}`},
	"399 in the service's words":        {399, map[string]string{"x-ms-request-id": "1"}, `{"error":"invalid_grant","error_codes":[50173]}`},
	"400 with something encrypted":      {400, nil, "e30.a.b.c.d"},
	"403 of a gateway, with a response": {403, nil, `{"message":"denied","response":"blocked"}`},
	"304":                               {304, nil, ""},
	"a portal's page":                   {200, map[string]string{"Content-Type": "text/html"}, "<!DOCTYPE html><title>Accept the terms</title>"},
	"a page after white space":          {200, map[string]string{"Content-Type": "text/html"}, "\r\n\t <html></html>"},
	"a page that calls itself JSON":     {200, map[string]string{"Content-Type": "application/json"}, "<html></html>"},
	"nothing at all":                    {200, nil, ""},
	"204":                               {204, nil, ""},
	"an empty object":                   {200, map[string]string{"Content-Type": "application/json"}, "{}"},
	"an empty list":                     {200, map[string]string{"Content-Type": "application/json"}, "[]"},
	"null":                              {200, map[string]string{"Content-Type": "application/json"}, "null"},
	"a word":                            {200, map[string]string{"Content-Type": "text/plain"}, "OK"},
	"a word as JSON":                    {200, map[string]string{"Content-Type": "application/json"}, `"ok"`},
	"foreign JSON":                      {200, map[string]string{"Content-Type": "application/json"}, `{"status":"ok","result":[]}`},
	"foreign JSON, nested":              {200, nil, `{"data":{"access_token":"x","Nonce":"y","issuer":"https://z"}}`},
	"foreign XML":                       {200, map[string]string{"Content-Type": "text/xml"}, `<?xml version="1.0"?><response code="0"/>`},
	"an envelope of another kind":       {200, map[string]string{"Content-Type": "text/xml"}, `<Envelope xmlns="urn:mail"><Body/></Envelope>`},
	"an envelope, cut off":              {200, map[string]string{"Content-Type": "application/soap+xml"}, `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><a`},
	"500 and an envelope, cut off":      {500, map[string]string{"Content-Type": "application/soap+xml"}, `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><s:Fault>`},
	"WSDL, cut off":                     {200, map[string]string{"Content-Type": "text/xml"}, `<definitions xmlns="http://schemas.xmlsoap.org/wsdl/"><binding>`},
	"bytes":                             {200, map[string]string{"Content-Encoding": "br"}, "\x0b\x02\x80\xff\xfe"},
	"fields of the wrong type":          {200, nil, `{"access_token":1,"Nonce":2,"issuer":3,"account_type":4,"device_code":5,"Certificate":6,"kid":7,"AttestationResult":8,"tenant_discovery_endpoint":9,"error":10}`},
	"cut off":                           {200, nil, `{"access_token":"eyJ0eXAi`},
	"an error, cut off":                 {400, nil, `{"error":"invalid_grant","error_codes":[50173`},
	"400 of a gateway":                  {400, map[string]string{"Content-Type": "application/json"}, `{"message":"bad request"}`},
	"400 of a Java server":              {400, map[string]string{"Content-Type": "application/json"}, `{"timestamp":"2026-03-02T09:00:00Z","status":400,"error":"Bad Request","path":"/x"}`},
	"400 in OAuth's words alone":        {400, map[string]string{"Content-Type": "application/json"}, `{"error":"invalid_grant","error_description":"Session not active"}`},
	"401 of a gateway":                  {401, map[string]string{"WWW-Authenticate": `Basic realm="corp"`}, ""},
	"401 in OAuth's words alone":        {401, nil, `{"error":"unauthorized","error_description":"Full authentication is required"}`},
	"401, invalid_client":               {401, nil, `{"error":"invalid_client"}`},
	"403, a page":                       {403, map[string]string{"Content-Type": "text/html"}, "<html>the proxy says no</html>"},
	"403, empty":                        {403, nil, ""},
	"403 of a gateway":                  {403, nil, `{"code":403,"message":"Forbidden"}`},
	"403 of a gateway, with words":      {403, nil, `{"code":"Forbidden","message":"blocked by policy"}`},
	"403 as Google says it":             {403, nil, `{"error":{"code":403,"message":"denied","status":"PERMISSION_DENIED"}}`},
	"403 as OData, by nobody we know":   {403, nil, `{"error":{"code":"Forbidden","message":"denied"}}`},
	"404, a page":                       {404, map[string]string{"Content-Type": "text/html"}, "<html>not found</html>"},
	"404 of an API gateway":             {404, nil, `{"fault":{"faultstring":"Unable to identify proxy","detail":{"errorcode":"messaging.adaptors"}}}`},
	"404 as OData, by nobody we know":   {404, nil, `{"error":{"code":"NotFound","message":"no such route"}}`},
	"405":                               {405, map[string]string{"Allow": "GET"}, ""},
	"407 of a proxy":                    {407, map[string]string{"Proxy-Authenticate": "NTLM", "Content-Type": "text/html"}, "<html>authenticate</html>"},
	"408":                               {408, nil, ""},
	"410, empty":                        {410, nil, ""},
	"413, a page":                       {413, nil, "<html>too large</html>"},
	"418":                               {418, nil, "short and stout"},
	"421":                               {421, nil, ""},
	"426":                               {426, map[string]string{"Upgrade": "TLS/1.2"}, ""},
	"429, empty":                        {429, nil, ""},
	"429, a page that names a time":     {429, map[string]string{"Retry-After": "2", "Content-Type": "text/html"}, "<html>slow down</html>"},
	"431":                               {431, nil, ""},
	"451, a page":                       {451, map[string]string{"Content-Type": "text/html"}, "<html>blocked</html>"},
	"500, a page":                       {500, nil, "<html>oops</html>"},
	"500, a fault without an envelope":  {500, nil, `<s:Fault xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Code/></s:Fault>`},
	"502 of a balancer":                 {502, map[string]string{"Content-Type": "text/html"}, "<html>bad gateway</html>"},
	"503, empty":                        {503, nil, ""},
	"503 that names a time":             {503, map[string]string{"Retry-After": "3"}, ""},
	"503, foreign JSON":                 {503, nil, `{"error":"Service Unavailable","status":503}`},
	"504":                               {504, nil, "upstream timed out"},
	"511 of a portal":                   {511, map[string]string{"Content-Type": "text/html"}, "<html>log in to the network</html>"},
	"520 of a content network":          {520, nil, "error code: 520"},
	"an error of success":               {200, nil, `{"error":"invalid_grant"}`},
	"codes without an error":            {400, nil, `{"error_codes":[50173]}`},
	"an error that is a number":         {400, nil, `{"error":50173,"error_codes":[50173]}`},
}

// Whatever a stranger answers, at any endpoint, is a temporary failure that
// nobody takes for the service's word, and the text says what was seen.
func TestStrangers(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		call := calls[name]
		for _, what := range slices.Sorted(maps.Keys(strangers)) {
			t.Run(name+"/"+what, func(t *testing.T) {
				from := &answering{canned: strangers[what]}
				err := call.do(t.Context(), testClient(t, from))
				var e *Error
				require.ErrorAs(t, err, &e)
				require.False(t, e.Said, "it was taken for the service's word: %v", err)
				require.True(t, e.Transient(), "%v", err)
				require.Equal(t, from.status, e.StatusCode)
				require.ErrorContains(t, err, "answered in its place")
				require.Equal(t, from.status == 429, e.Verdict == aadsts.Throttled)
				if call.once {
					require.Equal(t, 1, from.asked)
				}
				if from.status < 500 && from.status != 429 && from.status != 408 {
					require.Equal(t, 1, from.asked, "as if it was refused")
				}
			})
		}
	}
}

// What the service itself says is heard: a success, and a refusal.
func TestTheServiceIsHeard(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			err := call.do(t.Context(), testClient(t, &answering{canned: call.ok}))
			require.NoError(t, err)
			if name == "federation metadata" || name == "removal of a Hello key" {
				return
			}
			err = call.do(t.Context(), testClient(t, &answering{canned: call.no}))
			var e *Error
			require.ErrorAs(t, err, &e)
			require.NotContains(t, err.Error(), "answered in its place")
			require.Equal(t, name != "federated password", e.Said)
		})
	}
}

// Refusals of the service come in more shapes than one.
func TestShapesOfRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		call string
		canned
		code  int
		oauth string
	}{
		"codes as text":                   {"exchange of a PRT", canned{400, nil, `{"error":"invalid_grant","error_codes":["50173"]}`}, 50173, "invalid_grant"},
		"the code in the sentence":        {"exchange of a PRT", canned{400, nil, `{"error":"invalid_grant","error_description":"AADSTS50173: x"}`}, 50173, "invalid_grant"},
		"a trace alone":                   {"exchange of a PRT", canned{400, nil, `{"error":"temporarily_unavailable","trace_id":"1"}`}, 0, "temporarily_unavailable"},
		"a correlation id alone":          {"exchange of a PRT", canned{400, nil, `{"error":"slow_down","correlation_id":"1"}`}, 0, "slow_down"},
		"the service's own header alone":  {"exchange of a PRT", canned{400, map[string]string{"x-ms-request-id": "1"}, `{"error":"authorization_pending"}`}, 0, "authorization_pending"},
		"with a code of 401":              {"exchange of a PRT", canned{401, nil, `{"error":"invalid_client","error_codes":[7000218]}`}, 7000218, "invalid_client"},
		"with 503":                        {"exchange of a PRT", canned{503, nil, `{"error":"server_error","error_codes":[90033]}`}, 90033, "server_error"},
		"a code that nobody knows":        {"exchange of a PRT", canned{400, nil, `{"error":"invalid_grant","error_codes":[999999]}`}, 999999, "invalid_grant"},
		"of a key service":                {"Hello key", canned{400, nil, `{"code":"invalid_request","message":"m","response":"ERROR_FAIL","target":"t","time":"x"}`}, 0, "invalid_request"},
		"of a key service, with an id":    {"Hello key", canned{403, nil, `{"code":"authorization_error","message":"m","clientrequestid":"1"}`}, 0, "authorization_error"},
		"an object with an inner error":   {"Hello key", canned{403, nil, `{"error":{"code":"AuthorizationError","message":"m","innererror":{"trace":"1"}}}`}, 0, "AuthorizationError"},
		"an object beside the header":     {"Hello key", canned{403, map[string]string{"x-ms-request-id": "1"}, `{"error":{"code":"AuthorizationError","message":"m"}}`}, 0, "AuthorizationError"},
		"at the sign-in page":             {"sign-in page", refused(50076), 0, ""},
		"of the sign-in service at a DRS": {"join", canned{401, nil, `{"error":"invalid_token","error_codes":[50155]}`}, 50155, "invalid_token"},
	} {
		t.Run(name, func(t *testing.T) {
			err := calls[tt.call].do(t.Context(), testClient(t, &answering{canned: tt.canned}))
			var e *Error
			require.ErrorAs(t, err, &e)
			require.True(t, e.Said, "%v", err)
			require.Equal(t, tt.code, e.Code)
			require.Equal(t, tt.oauth, e.OAuth)
		})
	}
}

// A request that must not be handled twice leaves once, whatever comes back.
// Only when nothing was sent it is sent again.
func TestOnce(t *testing.T) {
	dial := &url.Error{Err: &net.OpError{Op: "dial", Err: errors.New("refused")}}
	type outcome struct {
		canned canned
		err    error
	}
	outcomes := map[string]outcome{
		"throttled by the service":           {canned: canned{429, map[string]string{"Retry-After": "1"}, refused(90055).body}},
		"throttled by a code":                {canned: canned{400, map[string]string{"Retry-After": "1"}, refused(50196).body}},
		"out of order, says the service":     {canned: canned{503, nil, refused(90033).body}},
		"a server error of the service":      {canned: canned{500, nil, `{"error":"server_error","trace_id":"1"}`}},
		"a temporary failure by its code":    {canned: refused(90033)},
		"a failure of the registration":      {canned: canned{503, map[string]string{"Retry-After": "1"}, `{"ErrorType":"ServerError","Message":"m","TraceId":"1"}`}},
		"a fault of the server":              {canned: canned{500, nil, soap(`<s:Fault><s:Code><s:Value>s:Receiver</s:Value></s:Code></s:Fault>`)}},
		"lost after it was sent":             {err: &url.Error{Err: &net.OpError{Op: "read", Err: errors.New("reset")}}},
		"lost while it was sent":             {err: &url.Error{Err: &net.OpError{Op: "write", Err: errors.New("broken pipe")}}},
		"the reply broke off":                {err: io.ErrUnexpectedEOF},
		"an error that says nothing":         {err: errors.New("sent perhaps")},
		"a stream that the server closed":    {err: errors.New("http2: server sent GOAWAY and closed the connection")},
		"a handshake that took too long":     {err: &url.Error{Err: errors.New("net/http: TLS handshake timeout")}},
		"the time of one request is over":    {err: &url.Error{Err: context.DeadlineExceeded}},
		"bare 429":                           {canned: canned{429, nil, ""}},
		"429 of a proxy that names a time":   {canned: canned{429, map[string]string{"Retry-After": "1"}, "<html>"}},
		"bare 503":                           {canned: canned{503, nil, ""}},
		"503 of a proxy that names a time":   {canned: canned{503, map[string]string{"Retry-After": "1"}, ""}},
		"502 of a balancer":                  {canned: canned{502, nil, "<html>"}},
		"504 of a balancer":                  {canned: canned{504, nil, ""}},
		"408 of a proxy":                     {canned: canned{408, nil, ""}},
		"425, too early":                     {canned: canned{425, nil, ""}},
		"a redirect that keeps the method":   {canned: canned{307, map[string]string{"Location": "https://login.microsoftonline.com/x"}, ""}},
		"a permanent one":                    {canned: canned{308, map[string]string{"Location": "https://login.microsoftonline.com/x"}, ""}},
		"a redirect to the same address":     {canned: canned{307, map[string]string{"Location": "/t/oauth2/token"}, ""}},
		"a nonce is wanted, outside of that": {canned: refused(140000)},
	}
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		call := calls[name]
		if !call.once {
			continue
		}
		for what, o := range outcomes {
			t.Run(name+"/"+what, func(t *testing.T) {
				from := &answering{canned: o.canned, err: o.err}
				require.NotNil(t, call.do(t.Context(), testClient(t, from)))
				require.Equal(t, 1, from.asked)
			})
		}
		t.Run(name+"/nothing was sent", func(t *testing.T) {
			from := &answering{err: dial}
			err := call.do(t.Context(), testClient(t, from))
			require.ErrorContains(t, err, "refused")
			require.Equal(t, 3, from.asked)
		})
	}
}

// How long to wait is taken from any reply, bounded, and against the time that
// the reply itself gives.
func TestRetryAfterOfAnyReply(t *testing.T) {
	late := noon.Add(7 * time.Minute) // the service's clock
	for name, tt := range map[string]struct {
		header map[string]string
		body   string
		want   time.Duration
	}{
		"of the service":           {map[string]string{"Retry-After": "30"}, refused(90055).body, 30 * time.Second},
		"of a proxy":               {map[string]string{"Retry-After": "30"}, "<html>", 30 * time.Second},
		"a day":                    {map[string]string{"Retry-After": "86400"}, "<html>", time.Hour},
		"beyond all measure":       {map[string]string{"Retry-After": "99999999999999999999"}, "<html>", 0},
		"a date, with one":         {map[string]string{"Retry-After": late.Add(20 * time.Second).Format(http.TimeFormat), "Date": late.Format(http.TimeFormat)}, "<html>", 20 * time.Second},
		"a date, without one":      {map[string]string{"Retry-After": noon.Add(20 * time.Second).Format(http.TimeFormat)}, "<html>", 20 * time.Second},
		"a date that has passed":   {map[string]string{"Retry-After": late.Add(-time.Second).Format(http.TimeFormat), "Date": late.Format(http.TimeFormat)}, "<html>", 0},
		"a date beside a bad one":  {map[string]string{"Retry-After": noon.Add(20 * time.Second).Format(http.TimeFormat), "Date": "yesterday"}, "<html>", 20 * time.Second},
		"a date of the far future": {map[string]string{"Retry-After": late.AddDate(70, 0, 0).Format(http.TimeFormat), "Date": late.Format(http.TimeFormat)}, "", time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			c := testClient(t, &answering{canned: canned{429, tt.header, tt.body}})
			_, err := c.Grant(t.Context(), "t", wire.PathToken, url.Values{"grant_type": {wire.GrantPassword}})
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, tt.want, e.RetryAfter)
		})
	}
}

// A success that is not in the words of an endpoint is not the service's, though a
// header says so. Only how a key's removal succeeds is not documented.
func TestHeaderAloneIsNoReply(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			err := call.do(t.Context(), testClient(t, &answering{canned: canned{200, map[string]string{"request-id": "1"}, `{"status":"ok"}`}}))
			if name == "removal of a Hello key" || name == "removal of the device" {
				require.NoError(t, err)
				err = call.do(t.Context(), testClient(t, &answering{canned: canned{500, map[string]string{"request-id": "1"}, `{"status":"oops"}`}}))
			}
			require.ErrorContains(t, err, "answered in its place")
		})
	}
}

// The service's replies carry an id of theirs, or that of the request.
func TestSigned(t *testing.T) {
	for name, tt := range map[string]struct {
		header, value, id string
		want              bool
	}{
		"of the sign-in service": {"x-ms-request-id", "1", "", true},
		"of a key service":       {"request-id", "1", "", true},
		"the request's":          {"client-request-id", "ABC", "abc", true},
		"another request's":      {"client-request-id", "abd", "abc", false},
		"none":                   {"x", "1", "abc", false},
		"none, for none":         {"x", "1", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Reply{Header: http.Header{}, CorrelationID: tt.id}
			r.Header.Set(tt.header, tt.value)
			require.Equal(t, tt.want, r.signed())
		})
	}
}

// The sign-in page redirects to the app or within the sign-in service.
func TestSignInPageRedirects(t *testing.T) {
	c := testClient(t, nil)
	for name, tt := range map[string]struct {
		to   string
		want bool
	}{
		"to the app":                 {"ms-appx-web://app?code=c", true},
		"to the app, in capitals":    {"MS-APPX-WEB://app?code=c", true},
		"within the service":         {"https://login.microsoftonline.com/common/reprocess?x=1", true},
		"to its other name":          {"https://LOGIN.windows.net/common/reprocess", true},
		"by a path alone":            {"/common/reprocess", true},
		"in the clear":               {"http://login.microsoftonline.com/common/reprocess", false},
		"to a portal":                {"https://portal.example/", false},
		"to a portal, by half a URL": {"//portal.example/", false},
		"to another app":             {"msauth://other?code=c", false},
		"nowhere":                    {"", false},
		"not an address":             {"https://login.microsoftonline.com/%zz", false},
	} {
		t.Run(name, func(t *testing.T) {
			q := Request{URL: "https://login.microsoftonline.com/t/oauth2/authorize", Endpoint: SignInPage, redirect: "ms-appx-web://app"}
			r := &Reply{Status: 302, Header: http.Header{"Location": {tt.to}}}
			require.Equal(t, tt.want, c.isServices(q, r))
		})
	}
	require.False(t, c.isServices(Request{URL: "%zz", Endpoint: SignInPage}, &Reply{Status: 302, Header: http.Header{"Location": {"/x"}}}))
	require.False(t, c.isServices(Request{URL: "https://login.microsoftonline.com/", Endpoint: SignInPage}, &Reply{Status: 302, Header: http.Header{"Location": {"app://x"}}}), "no app is meant")
}
