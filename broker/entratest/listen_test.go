package entratest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

func TestListen(t *testing.T) {
	for name, o := range map[string]entratest.ListenOptions{"https": {}, "http": {InsecureHTTP: true}} {
		t.Run(name, func(t *testing.T) {
			c, clock := daemon(t)
			require.NoError(t, c.s.AddApp(entratest.App{ClientID: payrollID, Name: "Payroll", Public: true, Redirects: []string{"https://app.contoso.example/"}, URIs: []string{"api://payroll"}, AdminConsent: true}))
			base, err := c.s.Listen("localhost:0", o)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(base, name+"://localhost:"), base)
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.s.CertPool(), MinVersion: tls.VersionTLS12}}, Timeout: 10 * time.Second}
			c.http = &http.Client{Transport: client.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			tenant := base + c.s.TenantID()

			t.Run("discovery is of that address", func(t *testing.T) {
				for version, issuer := range map[string]string{"/v2.0": tenant + "/v2.0", "": tenant + "/"} {
					r := c.do("GET", tenant+version+"/.well-known/openid-configuration", http.Header{"Origin": {"https://spa.example"}}, "")
					require.Equal(t, issuer, r.str("issuer"))
					for _, member := range []string{"authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "jwks_uri", "end_session_endpoint"} {
						require.True(t, strings.HasPrefix(r.str(member), base), "%s is %s", member, r.str(member))
					}
					require.Equal(t, "*", r.header.Get("Access-Control-Allow-Origin"))
					keys := c.do("GET", r.str("jwks_uri"), nil, "")
					require.Contains(t, string(keys.body), `"kty":"RSA"`)
				}
			})
			t.Run("tokens name it as their issuer", func(t *testing.T) {
				r := c.at(tenant+"/oauth2/v2.0/token", "grant_type", "password", "client_id", payrollID, "username", "alice@contoso.example", "password", password, "scope", "openid User.Read")
				require.Equal(t, 200, r.status, "%s", r.body)
				require.Equal(t, tenant+"/v2.0", jwtClaims(t, r.str("id_token"))["iss"])
				require.Equal(t, tenant+"/", jwtClaims(t, r.str("access_token"))["iss"])
				me := c.do("GET", base+"graph.microsoft.com/v1.0/me", http.Header{"Authorization": {"Bearer " + r.str("access_token")}}, "")
				require.Equal(t, "alice@contoso.example", me.v["userPrincipalName"], "%s", me.body)
			})
			t.Run("a person signs in on the pages", func(t *testing.T) {
				page := tenant + "/oauth2/v2.0/authorize?" + url.Values{"client_id": {payrollID}, "response_type": {"code"}, "redirect_uri": {"https://app.contoso.example/"}, "scope": {"openid"}}.Encode()
				to, err := c.alice().Authorize(t.Context(), client, page, "https://app.contoso.example/")
				require.NoError(t, err)
				u, err := url.Parse(to)
				require.NoError(t, err)
				r := c.at(tenant+"/oauth2/v2.0/token", "grant_type", "authorization_code", "client_id", payrollID, "redirect_uri", "https://app.contoso.example/", "code", u.Query().Get("code"))
				require.Equal(t, 200, r.status, "%s", r.body)
			})
			t.Run("no page leads away from it", func(t *testing.T) {
				resp, err := client.Get(tenant + "/oauth2/v2.0/authorize?" + url.Values{"client_id": {payrollID}, "response_type": {"code"}, "redirect_uri": {"https://app.contoso.example/"}, "scope": {"openid"}}.Encode())
				require.NoError(t, err)
				defer func() { _ = resp.Body.Close() }()
				text, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.NotContains(t, string(text), `:"https://login.microsoftonline.com`)
			})
			t.Run("an application proves itself to that address", func(t *testing.T) {
				cert := certOf(t, pool()[2], clock.Now())
				require.NoError(t, c.s.AddApp(entratest.App{ClientID: daemonID, Name: "Daemon", Certificates: [][]byte{cert}}))
				aud := func(v map[string]any) { v["aud"] = tenant + "/oauth2/v2.0/token" }
				assertion := clientAssertion(t, pool()[2], modern(cert), c.assertionClaims(clock.Now(), aud))
				r := c.at(tenant+"/oauth2/v2.0/token", "grant_type", "client_credentials", "client_id", daemonID, "scope", "api://orders/.default", "client_assertion_type", assertionKind, "client_assertion", assertion)
				require.Equal(t, 200, r.status, "%s", r.body)
				require.Equal(t, tenant+"/", jwtClaims(t, r.str("access_token"))["iss"])
				elsewhere := c.appOnlyAt(login+"/"+c.s.TenantID(), assertion)
				require.Equal(t, 700023, elsewhere.code(), "it is for the other address")
			})
			t.Run("the hosts of the service are below it, but for those of the sign-in", func(t *testing.T) {
				for path, status := range map[string]int{
					"graph.microsoft.com/v1.0/me": 401,
					"login.microsoftonline.com/" + c.s.TenantID() + "/v2.0/.well-known/openid-configuration": 404,
					"www.example.org/v1.0/me": 404,
				} {
					r := c.do("GET", base+path, nil, "")
					require.Equal(t, status, r.status, "%s: %s", path, r.body)
				}
			})
			t.Run("a code is entered there", func(t *testing.T) {
				r := c.at(tenant+"/oauth2/v2.0/devicecode", "client_id", payrollID, "scope", "openid")
				require.Equal(t, base+"common/oauth2/deviceauth", r.str("verification_uri"))
			})
			c.s.Close()
			_, err = client.Get(tenant + "/v2.0/.well-known/openid-configuration")
			require.ErrorContains(t, err, "connect", "Close ends it")
		})
	}
	t.Run("on loopback only", func(t *testing.T) {
		_, err := entratest.NewTB(t, entratest.Options{}).Listen("0.0.0.0:0", entratest.ListenOptions{})
		require.ErrorContains(t, err, "not a loopback address; InsecureExposed")
	})
}

// forward passes the connections of a port of its own on to an address, as a container's
// runtime does for a mapped port, and returns the port.
func forward(t *testing.T, to string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		}
	}()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	require.NoError(t, err)
	return port
}

// A port that a container's runtime chose, and host names besides localhost: what the
// client is told is the address that it used, and the certificate is valid there.
func TestListenBehindAMappedPort(t *testing.T) {
	c, _ := daemon(t)
	ln, err := net.Listen("tcp", "0.0.0.0:0") // a free port
	require.NoError(t, err)
	inner := ln.Addr().String()
	require.NoError(t, ln.Close())
	base, err := c.s.Listen(inner, entratest.ListenOptions{Base: "https://entra.test:443", Hosts: []string{"localhost", "tenant"}, InsecureExposed: true})
	require.NoError(t, err)
	require.Equal(t, "https://entra.test:443/", base)
	mapped := forward(t, inner)
	// Every name leads to the mapped port, as in a network of containers.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.s.CertPool(), MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+mapped)
		}}}
	c.http = client
	for _, at := range []string{"https://localhost:" + mapped + "/", "https://tenant:8443/", "https://entra.test:443/"} {
		r := c.do("GET", at+c.s.TenantID()+"/v2.0/.well-known/openid-configuration", nil, "")
		require.Equal(t, at+c.s.TenantID()+"/v2.0", r.str("issuer"))
		require.Equal(t, at+c.s.TenantID()+"/oauth2/v2.0/token", r.str("token_endpoint"))
	}
	_, err = client.Get("https://other.test/")
	var wrong x509.HostnameError
	require.ErrorAs(t, err, &wrong)
}

// at posts a form to any address.
func (c *tc) at(u string, kv ...string) *reply {
	c.t.Helper()
	v := url.Values{}
	for i := 0; i < len(kv); i += 2 {
		v.Set(kv[i], kv[i+1])
	}
	return c.do("POST", u, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, v.Encode())
}

func (c *tc) appOnlyAt(tenant, assertion string) *reply {
	c.t.Helper()
	other := newClient(c.t, c.s)
	return other.at(tenant+"/oauth2/v2.0/token", "grant_type", "client_credentials", "client_id", daemonID, "scope", "api://orders/.default", "client_assertion_type", assertionKind, "client_assertion", assertion)
}
