package entratest_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

const (
	daemonID = "55555555-6666-4777-8888-999999999999"
	apiID    = "66666666-7777-4888-8999-aaaaaaaaaaaa"
	closedID = "77777777-8888-4999-8aaa-bbbbbbbbbbbb"

	assertionKind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	cluster       = "https://oidc.cluster.example/"
	account       = "system:serviceaccount:shop:checkout"
)

// daemon is a tenant with an application that has every credential, an API with
// app roles, and one that only assigned clients may call.
func daemon(t testing.TB) (*tc, *entratest.Clock) {
	t.Helper()
	clock := entratest.NewClock(time.Time{})
	o := options(clock)
	o.Apps = append(o.Apps,
		entratest.App{ClientID: daemonID, Name: "Daemon", Secret: "daemon secret", Certificates: [][]byte{certOf(t, pool()[2], clock.Now())},
			Federated:          []entratest.FederatedCredential{{Issuer: cluster, Subject: account}},
			Permissions:        map[string][]string{"api://orders": {"Orders.Read.All"}},
			ServicePrincipalID: "88888888-9999-4aaa-8bbb-cccccccccccc", AdminConsent: true},
		entratest.App{ClientID: apiID, Name: "Orders", URIs: []string{"api://orders"}, Secret: "api secret", Roles: []string{"Orders.Read.All", "Manager"},
			RoleAssignments: map[string][]string{"Manager": {"Finance"}}, GroupClaims: true, AdminConsent: true},
		entratest.App{ClientID: closedID, Name: "Closed", URIs: []string{"api://closed"}, AssignmentRequired: true})
	return newClient(t, entratest.NewTB(t, o)), clock
}

func certOf(t testing.TB, key *rsa.PrivateKey, now time.Time) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "daemon"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(365 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return der
}

// clientAssertion is written from Microsoft's page "Application authentication
// certificate credentials": PS256 and x5t#S256, or RS256 and x5t.
func clientAssertion(t testing.TB, key *rsa.PrivateKey, header, claims map[string]any) string {
	t.Helper()
	part := func(v any) string {
		raw, err := json.Marshal(v)
		require.NoError(t, err)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	text := part(header) + "." + part(claims)
	sum := sha256.Sum256([]byte(text))
	var sig []byte
	var err error
	if header["alg"] == "PS256" {
		sig, err = rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	} else {
		sig, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	}
	require.NoError(t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func modern(cert []byte) map[string]any {
	sum := sha256.Sum256(cert)
	return map[string]any{"typ": "JWT", "alg": "PS256", "x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}
}

func older(cert []byte) map[string]any {
	sum := sha1.Sum(cert)
	return map[string]any{"typ": "JWT", "alg": "RS256", "x5t": base64.RawURLEncoding.EncodeToString(sum[:])}
}

func (c *tc) assertionClaims(now time.Time, change ...func(map[string]any)) map[string]any {
	v := map[string]any{"aud": login + "/" + c.s.TenantID() + "/oauth2/v2.0/token", "iss": daemonID, "sub": daemonID,
		"jti": "1", "nbf": now.Unix(), "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix()}
	for _, f := range change {
		f(v)
	}
	return v
}

// appOnly asks for the daemon's own token; what kv gives stands in place of the
// usual.
func (c *tc) appOnly(kv ...string) *reply {
	form := map[string]string{"grant_type": "client_credentials", "client_id": daemonID, "scope": "api://orders/.default"}
	for i := 0; i < len(kv); i += 2 {
		form[kv[i]] = kv[i+1]
	}
	var list []string
	for k, v := range form {
		if v != "" {
			list = append(list, k, v)
		}
	}
	return c.form(c.tenantPath("/oauth2/v2.0/token"), list...)
}

func TestClientCredentials(t *testing.T) {
	c, clock := daemon(t)
	cert := certOf(t, pool()[2], clock.Now())
	require.NoError(t, c.s.AddApp(entratest.App{ClientID: daemonID, Name: "Daemon", Secret: "daemon secret", Certificates: [][]byte{cert},
		Federated: []entratest.FederatedCredential{{Issuer: cluster, Subject: account}}, Permissions: map[string][]string{"api://orders": {"Orders.Read.All"}},
		ServicePrincipalID: "88888888-9999-4aaa-8bbb-cccccccccccc"}))
	for name, kv := range map[string][]string{
		"a secret":                 {"client_secret", "daemon secret"},
		"a certificate, PS256":     {"client_assertion_type", assertionKind, "client_assertion", clientAssertion(t, pool()[2], modern(cert), c.assertionClaims(clock.Now()))},
		"a certificate, RS256":     {"client_assertion_type", assertionKind, "client_assertion", clientAssertion(t, pool()[2], older(cert), c.assertionClaims(clock.Now()))},
		"an assertion for a year":  {"client_assertion_type", assertionKind, "client_assertion", clientAssertion(t, pool()[2], modern(cert), c.assertionClaims(clock.Now(), func(v map[string]any) { v["exp"] = clock.Now().Add(365 * 24 * time.Hour).Unix() }))},
		"the issuer as audience":   {"client_assertion_type", assertionKind, "client_assertion", clientAssertion(t, pool()[2], modern(cert), c.assertionClaims(clock.Now(), func(v map[string]any) { v["aud"] = login + "/contoso.example/v2.0" }))},
		"a cluster's token":        {"client_assertion_type", assertionKind, "client_assertion", c.s.FederatedToken(entratest.FederatedCredential{Issuer: cluster, Subject: account})},
		"the v1 endpoint's name":   {"client_secret", "daemon secret", "scope", "api://orders/.default"},
		"OpenID Connect's scopes":  {"client_secret", "daemon secret", "scope", "api://orders/.default openid offline_access profile"},
		"the resource's client id": {"client_secret", "daemon secret", "scope", apiID + "/.default"},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.appOnly(kv...)
			require.Equal(t, 200, r.status, "%s", r.body)
			require.NotContains(t, r.v, "refresh_token")
			require.NotContains(t, r.v, "id_token")
			claims := jwtClaims(t, r.str("access_token"))
			require.Equal(t, "88888888-9999-4aaa-8bbb-cccccccccccc", claims["oid"])
			require.Equal(t, claims["oid"], claims["sub"])
			require.Equal(t, []any{"Orders.Read.All"}, claims["roles"])
			require.NotContains(t, claims, "scp")
			require.NotContains(t, claims, "upn")
		})
	}
	last := c.s.SignIns()[len(c.s.SignIns())-1]
	require.Equal(t, "client_credentials", last.Grant)
	require.Equal(t, "88888888-9999-4aaa-8bbb-cccccccccccc", last.ServicePrincipalID)
	require.Empty(t, last.Username)

	t.Run("the v1 endpoint", func(t *testing.T) {
		r := c.form(c.tenantPath("/oauth2/token"), "grant_type", "client_credentials", "client_id", daemonID, "client_secret", "daemon secret", "resource", "api://orders")
		require.Equal(t, 200, r.status, "%s", r.body)
		require.Equal(t, "api://orders", r.str("resource"))
		require.Equal(t, "1", jwtClaims(t, r.str("access_token"))["appidacr"])
	})
}

// Each refusal with its code: Microsoft's page of AADSTS codes, "Application
// authentication certificate credentials", "Workload identity federation", and for
// the federated ones the replies in the issues of Azure/login and
// Azure/azure-workload-identity.
func TestClientCredentialsRefused(t *testing.T) {
	c, clock := daemon(t)
	now := clock.Now()
	cert := certOf(t, pool()[2], now)
	app := entratest.App{ClientID: daemonID, Name: "Daemon", Secret: "daemon secret", Certificates: [][]byte{cert},
		Federated: []entratest.FederatedCredential{{Issuer: cluster, Subject: account}}}
	require.NoError(t, c.s.AddApp(app))
	signed := func(key *rsa.PrivateKey, header map[string]any, change ...func(map[string]any)) []string {
		return []string{"client_assertion_type", assertionKind, "client_assertion", clientAssertion(t, key, header, c.assertionClaims(now, change...))}
	}
	set := func(name string, v any) func(map[string]any) { return func(m map[string]any) { m[name] = v } }
	federated := func(issuer, subject, audience string) []string {
		return []string{"client_assertion_type", assertionKind, "client_assertion",
			c.s.FederatedToken(entratest.FederatedCredential{Issuer: issuer, Subject: subject, Audience: audience})}
	}
	foreign := func() []string {
		return []string{"client_assertion_type", assertionKind, "client_assertion", clientAssertion(t, pool()[3], map[string]any{"alg": "RS256"},
			map[string]any{"iss": cluster, "sub": account, "aud": "api://AzureADTokenExchange", "exp": now.Add(time.Hour).Unix()})}
	}
	for _, tt := range []struct {
		name  string
		kv    []string
		code  int
		oauth string
	}{
		{"no credential", nil, 7000216, "invalid_client"},
		{"a wrong secret", []string{"client_secret", "x"}, 7000215, "invalid_client"},
		{"an unknown client", []string{"client_id", thirdParty[:35] + "0", "client_secret", "x"}, 700016, "unauthorized_client"},
		{"a public client", []string{"client_id", payrollID, "client_secret", "x"}, 700025, "invalid_client"},
		{"no scope", []string{"client_secret", "daemon secret", "scope", ""}, 900144, "invalid_request"},
		{"a scope of its own", []string{"client_secret", "daemon secret", "scope", "api://orders/Orders.Read.All"}, 1002012, "invalid_scope"},
		{"two resources", []string{"client_secret", "daemon secret", "scope", "api://orders/.default api://payroll/.default"}, 1002012, "invalid_scope"},
		{"an unknown resource", []string{"client_secret", "daemon secret", "scope", "api://nowhere/.default"}, 500011, "invalid_resource"},
		{"a resource for assigned clients", []string{"client_secret", "daemon secret", "scope", "api://closed/.default"}, 501051, "invalid_grant"},
		{"an assertion of another type", []string{"client_assertion_type", "saml", "client_assertion", "x"}, 900144, "invalid_request"},
		{"no JWT", []string{"client_assertion_type", assertionKind, "client_assertion", "x"}, 50027, "invalid_client"},
		{"another key", signed(pool()[3], modern(cert)), 700027, "invalid_client"},
		{"a certificate that is not registered", signed(pool()[3], modern(certOf(t, pool()[3], now))), 700027, "invalid_client"},
		{"another certificate of the same key", signed(pool()[2], modern(certOf(t, pool()[2], now.Add(time.Minute)))), 700027, "invalid_client"},
		{"no thumbprint", signed(pool()[2], map[string]any{"alg": "PS256"}), 50027, "invalid_client"},
		{"alg none", signed(pool()[2], map[string]any{"alg": "none", "x5t#S256": modern(cert)["x5t#S256"]}), 700027, "invalid_client"},
		{"another subject", signed(pool()[2], modern(cert), set("sub", payrollID)), 50048, "invalid_client"},
		{"no issuer", signed(pool()[2], modern(cert), func(m map[string]any) { delete(m, "iss") }), 700021, "invalid_client"},
		{"the audience of another endpoint", signed(pool()[2], modern(cert), set("aud", login+"/"+c.s.TenantID()+"/oauth2/v2.0/authorize")), 700023, "invalid_client"},
		{"the audience of another tenant", signed(pool()[2], modern(cert), set("aud", login+"/fabrikam.example/oauth2/v2.0/token")), 700023, "invalid_client"},
		{"the audience of another host", signed(pool()[2], modern(cert), set("aud", "https://evil.example/"+c.s.TenantID()+"/oauth2/v2.0/token")), 700023, "invalid_client"},
		{"an assertion that is over", signed(pool()[2], modern(cert), set("exp", now.Add(-6*time.Minute).Unix())), 700024, "invalid_client"},
		{"one that is not valid yet", signed(pool()[2], modern(cert), set("nbf", now.Add(6*time.Minute).Unix())), 700024, "invalid_client"},
		{"one without an end", signed(pool()[2], modern(cert), func(m map[string]any) { delete(m, "exp") }), 50027, "invalid_client"},
		{"another issuer", federated("https://other.example/", account, ""), 700211, "invalid_client"},
		{"another subject of the issuer", federated(cluster, "system:serviceaccount:shop:other", ""), 700213, "invalid_client"},
		{"another audience", federated(cluster, account, "api://other"), 700212, "invalid_client"},
		{"a token that the issuer did not sign", foreign(), 700027, "invalid_client"},
		{"a client without federated credentials", append(federated(cluster, account, ""), "client_id", webID), 70025, "invalid_client"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := c.appOnly(tt.kv...)
			require.Equal(t, tt.code, r.code(), "%s", r.body)
			require.Equal(t, tt.oauth, r.str("error"))
		})
	}
	for name, tt := range map[string]struct {
		change func(a *entratest.App)
		kv     []string
		code   int
		oauth  string
	}{
		"a secret that is over":                       {func(a *entratest.App) { a.SecretExpires = now }, []string{"client_secret", "daemon secret"}, 7000222, "invalid_client"},
		"a wrong secret in place of one that is over": {func(a *entratest.App) { a.SecretExpires = now }, []string{"client_secret", "x"}, 7000215, "invalid_client"},
		"a secret that ends later":                    {func(a *entratest.App) { a.SecretExpires = now.Add(time.Second) }, []string{"client_secret", "daemon secret"}, 0, ""},
		"a disabled application":                      {func(a *entratest.App) { a.Disabled = true }, []string{"client_secret", "daemon secret"}, 7000112, "unauthorized_client"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := app
			tt.change(&changed)
			require.NoError(t, c.s.AddApp(changed))
			r := c.appOnly(tt.kv...)
			require.Equal(t, tt.code, r.code(), "%s", r.body)
			require.Equal(t, tt.oauth, r.str("error"))
			require.NoError(t, c.s.AddApp(app))
		})
	}
	t.Run("a disabled resource", func(t *testing.T) {
		require.NoError(t, c.s.AddApp(entratest.App{ClientID: closedID, Name: "Closed", URIs: []string{"api://closed"}, Disabled: true}))
		require.Equal(t, 500014, c.appOnly("client_secret", "daemon secret", "scope", "api://closed/.default").code())
		require.Equal(t, 500014, c.ropc("alice", payrollID, "api://closed").code(), "a user gets none either")
		require.Equal(t, 500014, c.tokenV2(append([]string{"grant_type", "password", "client_id", payrollID, "scope", "api://closed/.default"}, alicePassword(c)...)...).code())
	})
	t.Run("an unknown tenant", func(t *testing.T) {
		r := c.form("/nowhere.example/oauth2/v2.0/token", "grant_type", "client_credentials", "client_id", daemonID, "client_secret", "daemon secret", "scope", "api://orders/.default")
		require.Equal(t, 90002, r.code(), "%s", r.body)
	})
	t.Run("no tenant", func(t *testing.T) {
		r := c.form("/common/oauth2/v2.0/token", "grant_type", "client_credentials", "client_id", daemonID, "client_secret", "daemon secret", "scope", "api://orders/.default")
		require.Equal(t, 50059, r.code(), "%s", r.body)
	})
	t.Run("a certificate that is not valid yet", func(t *testing.T) {
		next := certOf(t, pool()[2], now.Add(24*time.Hour))
		early := app
		early.Certificates = [][]byte{next}
		require.NoError(t, c.s.AddApp(early))
		r := c.appOnly(signed(pool()[2], modern(next))...)
		require.Equal(t, 700027, r.code(), "%s", r.body)
		require.Contains(t, r.str("error_description"), "The key used is expired")
		require.NoError(t, c.s.AddApp(app))
	})
	earlier := federated(cluster, account, "")
	t.Run("a certificate that is over", func(t *testing.T) {
		clock.Advance(366 * 24 * time.Hour)
		now := clock.Now()
		r := c.appOnly("client_assertion_type", assertionKind, "client_assertion", clientAssertion(t, pool()[2], modern(cert), c.assertionClaims(now)))
		require.Equal(t, 700027, r.code(), "%s", r.body)
	})
	t.Run("a token of the issuer that is over", func(t *testing.T) {
		r := c.appOnly(earlier...)
		require.Equal(t, 700024, r.code(), "%s", r.body)
	})
}

// "Configure an application to trust a managed identity" (Microsoft): the issuer is the
// tenant's, the subject the object id of the identity, and only an app-only token will
// do (AADSTS700229).
func TestManagedIdentityAsCredential(t *testing.T) {
	c, clock := daemon(t)
	const identity, identityObject = "99999999-0000-4000-8000-00000000000a", "99999999-0000-4000-8000-00000000000b"
	issuer := login + "/" + c.s.TenantID() + "/v2.0"
	require.NoError(t, c.s.AddApp(entratest.App{ClientID: identity, Name: "Identity", Secret: "identity secret", ServicePrincipalID: identityObject}))
	require.NoError(t, c.s.AddApp(entratest.App{ClientID: daemonID, Name: "Daemon", Permissions: map[string][]string{"api://orders": {"Orders.Read.All"}},
		Federated: []entratest.FederatedCredential{{Issuer: issuer, Subject: identityObject}}}))
	got := c.appOnly("client_id", identity, "client_secret", "identity secret", "scope", "api://AzureADTokenExchange/.default")
	require.Equal(t, 200, got.status, "%s", got.body)
	token := got.str("access_token")
	exchange := func(token string) *reply {
		return c.appOnly("client_assertion_type", assertionKind, "client_assertion", token)
	}
	r := exchange(token)
	require.Equal(t, 200, r.status, "%s", r.body)
	require.Equal(t, []any{"Orders.Read.All"}, jwtClaims(t, r.str("access_token"))["roles"])

	user := c.tokenV2(append([]string{"grant_type", "password", "client_id", payrollID, "scope", "api://AzureADTokenExchange/.default"}, alicePassword(c)...)...)
	require.Equal(t, 65001, user.code(), "nobody consented")
	require.NoError(t, c.s.AddApp(entratest.App{ClientID: payrollID, Name: "Payroll", Public: true, URIs: []string{"api://payroll"}, AdminConsent: true}))
	user = c.tokenV2(append([]string{"grant_type", "password", "client_id", payrollID, "scope", "api://AzureADTokenExchange/.default"}, alicePassword(c)...)...)
	require.Equal(t, 200, user.status, "%s", user.body)
	subject := jwtClaims(t, user.str("access_token"))["sub"].(string)
	require.Equal(t, 700213, exchange(user.str("access_token")).code(), "another subject")
	require.NoError(t, c.s.AddApp(entratest.App{ClientID: daemonID, Name: "Daemon", Federated: []entratest.FederatedCredential{{Issuer: issuer, Subject: subject}}}))
	require.Equal(t, 700229, exchange(user.str("access_token")).code(), "a user's token")

	require.NoError(t, c.s.AddApp(entratest.App{ClientID: daemonID, Name: "Daemon", Federated: []entratest.FederatedCredential{{Issuer: issuer, Subject: identityObject}}}))
	require.Equal(t, 700027, exchange(c.s.FederatedToken(entratest.FederatedCredential{Issuer: issuer, Subject: identityObject})).code(), "signed by another issuer")
	other := c.appOnly("client_id", identity, "client_secret", "identity secret", "scope", apiID+"/.default")
	require.Equal(t, 700211, exchange(other.str("access_token")).code(), "a v1 token has another issuer")
	clock.Advance(2 * time.Hour)
	require.Equal(t, 700024, exchange(token).code())
}

// Policies for workload identities list service principals by object id
// (Microsoft, "Conditional Access for workload identities").
func TestWorkloadPolicies(t *testing.T) {
	c, _ := daemon(t)
	policy := func(include string) string {
		return fmt.Sprintf(`{"id":"w","displayName":"Workloads","state":"enabled","conditions":{"applications":{"includeApplications":["All"]},
			"clientApplications":{"includeServicePrincipals":[%q]}},"grantControls":{"operator":"OR","builtInControls":["block"]}}`, include)
	}
	for include, code := range map[string]int{
		"ServicePrincipalsInMyTenant":          53003,
		"88888888-9999-4aaa-8bbb-cccccccccccc": 53003,
		"99999999-9999-4aaa-8bbb-cccccccccccc": 0,
	} {
		require.NoError(t, c.s.SetPolicies([]byte(policy(include))))
		r := c.appOnly("client_secret", "daemon secret")
		require.Equal(t, code, r.code(), "%s: %s", include, r.body)
		require.Equal(t, 200, c.ropc("alice", payrollID, "api://payroll").status, "no user is meant")
	}
}

func TestOnBehalfOf(t *testing.T) {
	c, clock := daemon(t)
	require.NoError(t, c.s.AddApp(entratest.App{ClientID: payrollID, Name: "Payroll", Public: true, URIs: []string{"api://payroll"}, AdminConsent: true}))
	user := c.form(c.tenantPath("/oauth2/v2.0/token"), "grant_type", "password", "client_id", payrollID, "username", "alice@contoso.example", "password", password,
		"scope", "openid api://orders/user_impersonation")
	require.Equal(t, 200, user.status, "%s", user.body)
	onBehalf := func(kv ...string) *reply {
		form := map[string]string{"grant_type": jwtBearer, "requested_token_use": "on_behalf_of", "client_id": apiID, "client_secret": "api secret",
			"assertion": user.str("access_token"), "scope": "https://graph.microsoft.com/User.Read offline_access"}
		for i := 0; i < len(kv); i += 2 {
			form[kv[i]] = kv[i+1]
		}
		var list []string
		for k, v := range form {
			list = append(list, k, v)
		}
		return c.form(c.tenantPath("/oauth2/v2.0/token"), list...)
	}
	t.Run("the user's token for the next service", func(t *testing.T) {
		r := onBehalf()
		require.Equal(t, 200, r.status, "%s", r.body)
		claims := jwtClaims(t, r.str("access_token"))
		require.Equal(t, jwtClaims(t, user.str("access_token"))["oid"], claims["oid"])
		require.Equal(t, apiID, claims["appid"])
		require.Equal(t, "User.Read", claims["scp"])
		require.NotEmpty(t, r.str("refresh_token"))
	})
	t.Run("roles and groups of the user", func(t *testing.T) {
		claims := jwtClaims(t, user.str("access_token"))
		require.Equal(t, []any{"Manager"}, claims["roles"])
		require.Len(t, claims["groups"], 2, "nested ones too")
	})
	app := c.appOnly("client_secret", "daemon secret")
	require.Equal(t, 200, app.status, "%s", app.body)
	other := c.ropc("alice", payrollID, "api://payroll")
	require.Equal(t, 200, other.status)
	for name, tt := range map[string]struct {
		kv   []string
		code int
	}{
		"another use":                  {[]string{"requested_token_use", "actor"}, 70003},
		"a wrong secret":               {[]string{"client_secret", "x"}, 7000215},
		"no JWT":                       {[]string{"assertion", "x"}, 50027},
		"a token of another service":   {[]string{"assertion", clientAssertion(t, pool()[3], map[string]any{"alg": "RS256"}, map[string]any{"aud": apiID})}, 50013},
		"a token for another resource": {[]string{"assertion", other.str("access_token")}, 500131},
		"an id_token":                  {[]string{"assertion", user.str("id_token")}, 240002},
		"an app-only token":            {[]string{"assertion", app.str("access_token")}, 7000114},
		"a public client":              {[]string{"client_id", payrollID, "client_secret", "", "assertion", other.str("access_token")}, 7000218},
	} {
		t.Run(name, func(t *testing.T) {
			r := onBehalf(tt.kv...)
			require.Equal(t, tt.code, r.code(), "%s", r.body)
		})
	}
	t.Run("a token from before the service had a credential", func(t *testing.T) {
		require.NoError(t, c.s.AddApp(entratest.App{ClientID: webID, Name: "Young", URIs: []string{"api://young"}, AdminConsent: true}))
		early := c.ropc("alice", payrollID, "api://young")
		require.Equal(t, 200, early.status, "%s", early.body)
		require.NoError(t, c.s.AddApp(entratest.App{ClientID: webID, Name: "Young", URIs: []string{"api://young"}, Secret: "young secret", AdminConsent: true}))
		r := onBehalf("client_id", webID, "client_secret", "young secret", "assertion", early.str("access_token"))
		require.Equal(t, 50013, r.code(), "%s", r.body)
	})
	t.Run("the service has no consent for the next one", func(t *testing.T) {
		require.NoError(t, c.s.AddApp(entratest.App{ClientID: apiID, Name: "Orders", URIs: []string{"api://orders"}, Secret: "api secret"}))
		r := onBehalf()
		require.Equal(t, 65001, r.code(), "%s", r.body)
		require.NoError(t, c.s.AddApp(entratest.App{ClientID: apiID, Name: "Orders", URIs: []string{"api://orders"}, Secret: "api secret", AdminConsent: true}))
	})
	t.Run("MFA for the next service is asked of the user", func(t *testing.T) {
		require.NoError(t, c.s.SetPolicies([]byte(`{"id":"m","displayName":"MFA","state":"enabled","conditions":{"users":{"includeUsers":["All"]},
			"applications":{"includeApplications":["`+payrollID+`"]}},"grantControls":{"operator":"OR","builtInControls":["mfa"]}}`)))
		r := onBehalf("scope", "api://payroll/.default")
		require.Equal(t, 50076, r.code(), "%s", r.body)
		require.Equal(t, "interaction_required", r.str("error"))
		require.Contains(t, r.str("claims"), "capolids")
	})
	t.Run("the user's sessions are revoked", func(t *testing.T) {
		require.NoError(t, c.s.Revoke("alice@contoso.example"))
		require.Equal(t, 50173, onBehalf().code())
	})
	t.Run("the token is over", func(t *testing.T) {
		clock.Advance(2 * time.Hour)
		require.Equal(t, 500133, onBehalf().code())
	})
}

// An application reads Graph by its own roles, and has no /me.
func TestGraphAsAnApplication(t *testing.T) {
	c, _ := daemon(t)
	require.NoError(t, c.s.AddApp(entratest.App{ClientID: daemonID, Name: "Daemon", Secret: "daemon secret",
		Permissions: map[string][]string{"https://graph.microsoft.com": {"User.Read.All"}}}))
	r := c.appOnly("client_secret", "daemon secret", "scope", "https://graph.microsoft.com/.default")
	require.Equal(t, 200, r.status, "%s", r.body)
	token := r.str("access_token")
	require.Equal(t, "app", jwtClaims(t, token)["idtyp"])
	const graph = "https://graph.microsoft.com/v1.0"
	require.Equal(t, 200, c.json("GET", graph+"/users/alice@contoso.example", token, nil).status)
	require.Equal(t, 403, c.json("GET", graph+"/groups", token, nil).status, "that takes another role")
	require.Equal(t, 400, c.json("GET", graph+"/me", token, nil).status)
	require.NoError(t, c.s.AddApp(entratest.App{ClientID: daemonID, Name: "Daemon", Disabled: true}))
	require.Equal(t, 401, c.json("GET", graph+"/users/alice@contoso.example", token, nil).status)
}

// "Configure group claims for applications": up to 200 groups in a JWT, and beyond
// that a reference to Graph, which lists them.
func TestGroupOverage(t *testing.T) {
	clock := entratest.NewClock(time.Time{})
	o := options(clock)
	o.Apps = append(o.Apps, entratest.App{ClientID: apiID, Name: "Orders", URIs: []string{"api://orders"}, Public: true, GroupClaims: true, AdminConsent: true})
	for i := range 201 {
		team := entratest.Group{Name: fmt.Sprint("Team ", i), Members: []string{"bob"}}
		if i < 200 {
			team.Members = append(team.Members, "carol")
		}
		o.Groups = append(o.Groups, team)
	}
	c := newClient(t, entratest.NewTB(t, o))
	most := jwtClaims(t, c.ropc("carol", apiID, "api://orders").str("access_token"))
	require.Len(t, most["groups"], 200)
	require.NotContains(t, most, "_claim_names")
	claims := jwtClaims(t, c.ropc("bob", apiID, "api://orders").str("access_token"))
	require.NotContains(t, claims, "groups")
	require.Equal(t, map[string]any{"groups": "src1"}, claims["_claim_names"])
	source := claims["_claim_sources"].(map[string]any)["src1"].(map[string]any)["endpoint"].(string)

	graph := c.ropc("bob", apiID, "https://graph.microsoft.com").str("access_token")
	r := c.json("POST", source, graph, map[string]bool{"securityEnabledOnly": false})
	require.Equal(t, 200, r.status, "%s", r.body)
	require.Len(t, r.v["value"], 202, "201 teams, and Staff")
}
