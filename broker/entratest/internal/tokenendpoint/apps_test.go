package tokenendpoint_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/cert"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/testkeys"
	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/internal/wire"
)

const (
	daemonID   = "7a11e51e-0002-4000-8000-0000000000aa"
	exchangeID = "7a11e51e-0003-4000-8000-0000000000aa"
	bearer     = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" // RFC 7523, 2.2
)

// The key of the devices and the one of the application: clients' own.
var deviceKey, clientKey = sync.OnceValue(newKey), sync.OnceValue(newKey)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // it does not fail
	}
	return key
}

// daemon is an application that proves itself, with a certificate of its key. It has a role of the API api://orders.
func daemon(t *testing.T, at time.Time) (spec []directory.AppSpec, own *x509.Certificate) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "daemon"}, NotBefore: at.Add(-time.Hour), NotAfter: at.Add(90 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &clientKey().PublicKey, clientKey())
	require.NoError(t, err)
	own, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return []directory.AppSpec{
		{ClientID: daemonID, Name: "daemon", Secret: "s3cret", Certificates: [][]byte{der}, URIs: []string{"api://daemon"}, AdminConsent: true,
			Federated:   []directory.FederatedCredential{{Issuer: "https://token.actions.example", Subject: "repo:contoso/app"}},
			Permissions: map[string][]string{"api://orders": {"Orders.Read"}}},
		{ClientID: exchangeID, Name: "orders", URIs: []string{"api://orders"}, Roles: []string{"Orders.Read"}, AssignmentRequired: true, AdminConsent: true},
		{ClientID: "7a11e51e-0004-4000-8000-0000000000aa", Name: "closed", URIs: []string{"api://closed"}, AssignmentRequired: true},
	}, own
}

// payload are the claims of a token, whose signature nobody here looks at.
func payload(t *testing.T, token any) map[string]any {
	t.Helper()
	text, ok := token.(string)
	require.True(t, ok, "there is no token")
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[1])
	require.NoError(t, err)
	var out map[string]any
	require.NoError(t, json.Unmarshal(raw, &out))
	return out
}

func TestClientCredentials(t *testing.T) {
	w := newWorld(t)
	got := w.json(t, v2, "grant_type", "client_credentials", "client_id", daemonID, "client_secret", "s3cret", "scope", "api://orders/.default")
	require.InDelta(t, 3600, got["expires_in"], 0, "a number in version 2.0")
	c := payload(t, got["access_token"])
	require.Equal(t, []any{"Orders.Read"}, c["roles"])
	require.Equal(t, "1", c["appidacr"], "a secret")
	require.Equal(t, daemonID, c["appid"])
	require.NotContains(t, c, "scp", "there is no user who delegates")
	require.Nil(t, got["refresh_token"])

	got = w.json(t, v1, "grant_type", "client_credentials", "client_id", daemonID, "client_secret", "s3cret", "resource", "api://orders")
	require.Equal(t, "3600", got["expires_in"], "a text in version 1.0")
	require.Equal(t, "api://orders", got["resource"])
	got = w.json(t, v2, "grant_type", "client_credentials", "client_id", daemonID, "client_secret", "s3cret", "scope", "api://orders/.default openid profile")
	require.NotEmpty(t, got["access_token"], "MSAL for Go sends the scopes of OpenID Connect along")
	got = w.json(t, v2, "grant_type", "client_credentials", "client_id", daemonID, "client_secret", "s3cret", "scope", "api://orders/.default",
		"claims", `{"access_token":{"xms_cc":{"values":["cp1"]}}}`)
	require.InDelta(t, 24*3600, got["expires_in"], 0, "who handles claims challenges has tokens for a day")

	form := func(change ...string) []string {
		return append([]string{"grant_type", "client_credentials", "client_id", daemonID, "client_secret", "s3cret", "scope", "api://orders/.default"}, change...)
	}
	for name, c := range map[string]struct {
		path string
		form []string
		want int
	}{
		"no proof":                {v2, form("client_secret", ""), 7000216},
		"a wrong secret":          {v2, form("client_secret", "x"), 7000215},
		"no tenant":               {"/common/oauth2/v2.0/token", form(), 50059},
		"an unknown client":       {v2, form("client_id", deviceID), 700016},
		"a public client":         {v2, form("client_id", appID), 700025},
		"no scope":                {v2, form("scope", ""), 900144},
		"the scopes of OIDC only": {v2, form("scope", "openid"), 900144},
		"a scope by name":         {v2, form("scope", "api://orders/Orders.Read"), 1002012},
		"two resources":           {v2, form("scope", "api://orders/.default api://daemon/.default"), 1002012},
		"an unknown resource":     {v2, form("scope", "api://nowhere/.default"), 500011},
		"no resource":             {v1, form(), 900144},
		"not assigned":            {v2, form("scope", "api://closed/.default"), 501051},
		"claims that are no JSON": {v2, form("claims", "{"), 9002313},
	} {
		require.Equal(t, c.want, code(w.json(t, c.path, c.form...)), name)
	}
}

// A client that proves itself by the key of its certificate (Microsoft,
// "Microsoft identity platform application authentication certificate credentials"),
// or by the token of an issuer that it trusts ("Workload identity federation").
func TestClientAssertion(t *testing.T) {
	w := newWorld(t)
	sum := sha256.Sum256(w.daemon.Raw)
	named := map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}
	ask := func(header map[string]any, key crypto.Signer, alg jwa.SignatureAlgorithm, change map[string]any, more ...string) map[string]any {
		c := map[string]any{"iss": daemonID, "sub": daemonID, "aud": base + "/contoso.example/oauth2/v2.0/token",
			"nbf": w.now.Unix(), "exp": w.now.Add(10 * time.Minute).Unix()}
		for k, v := range change {
			if c[k] = v; v == nil {
				delete(c, k)
			}
		}
		text, err := json.Marshal(c)
		require.NoError(t, err)
		h := jws.NewHeaders()
		for k, v := range header {
			require.NoError(t, h.Set(k, v))
		}
		signed, err := jws.Sign(text, jws.WithKey(alg, key, jws.WithProtectedHeaders(h)))
		require.NoError(t, err)
		return w.json(t, v2, append([]string{"grant_type", "client_credentials", "client_id", daemonID, "scope", "api://orders/.default",
			"client_assertion_type", bearer, "client_assertion", string(signed)}, more...)...)
	}
	mine, theirs := clientKey(), testkeys.OutsideIssuer()
	for name, alg := range map[string]jwa.SignatureAlgorithm{"PS256, as Microsoft recommends": jwa.PS256, "RS256": jwa.RS256} {
		got := ask(named, mine, alg, nil)
		require.Equal(t, "2", payload(t, got["access_token"])["appidacr"], name)
	}
	outside := map[string]any{"iss": "https://token.actions.example", "sub": "repo:contoso/app", "aud": "api://AzureADTokenExchange"}
	with := func(k string, v any) map[string]any {
		out := map[string]any{}
		for k, v := range outside {
			out[k] = v
		}
		out[k] = v
		return out
	}
	require.Equal(t, "2", payload(t, ask(nil, theirs, jwa.RS256, outside)["access_token"])["appidacr"])

	for name, c := range map[string]struct {
		header map[string]any
		key    crypto.Signer
		change map[string]any
		more   []string
		want   int
	}{
		"another type":           {named, mine, nil, []string{"client_assertion_type", "x"}, 900144},
		"malformed":              {named, mine, nil, []string{"client_assertion", "x"}, 50027},
		"no thumbprint":          {nil, mine, nil, nil, 50027},
		"another certificate":    {map[string]any{"x5t": "AAAA"}, mine, nil, nil, 700027},
		"another key":            {named, theirs, nil, nil, 700027},
		"another subject":        {named, mine, map[string]any{"sub": appID}, nil, 50048},
		"no issuer":              {named, mine, map[string]any{"iss": nil}, nil, 700021},
		"another audience":       {named, mine, map[string]any{"aud": base + "/fabrikam.example/oauth2/v2.0/token"}, nil, 700023},
		"another host":           {named, mine, map[string]any{"aud": "https://evil.example/contoso.example/v2.0"}, nil, 700023},
		"another path":           {named, mine, map[string]any{"aud": base + "/contoso.example/oauth2/authorize"}, nil, 700023},
		"no end":                 {named, mine, map[string]any{"exp": nil}, nil, 50027},
		"over":                   {named, mine, map[string]any{"exp": w.now.Add(-6 * time.Minute).Unix()}, nil, 700024},
		"not yet":                {named, mine, map[string]any{"nbf": w.now.Add(6 * time.Minute).Unix()}, nil, 700024},
		"for days":               {named, mine, map[string]any{"exp": w.now.Add(25 * time.Hour).Unix()}, nil, 0},
		"outside: issuer":        {nil, theirs, with("iss", "https://evil.example"), nil, 700211},
		"outside: a slash more":  {nil, theirs, with("iss", "https://token.actions.example/"), nil, 700211},
		"outside: subject":       {nil, theirs, with("sub", "repo:contoso/App"), nil, 7002138},
		"outside: audience":      {nil, theirs, with("aud", "api://other"), nil, 700212},
		"outside: another key":   {nil, mine, outside, nil, 700027},
		"outside: over":          {nil, theirs, with("exp", w.now.Add(-time.Hour).Unix()), nil, 700024},
		"of a client without it": {nil, theirs, outside, []string{"client_id", exchangeID}, 70025},
	} {
		require.Equal(t, c.want, code(ask(c.header, c.key, jwa.RS256, c.change, c.more...)), name)
	}
	for name, aud := range map[string]string{
		"issuer of version 2.0": base + "/contoso.example/v2.0", "the tenant": base + "/" + w.dir.Home().ID, "version 1.0": "https://login.windows.net/" + w.dir.Home().ID + "/oauth2/token",
	} {
		require.NotEmpty(t, ask(named, mine, jwa.RS256, map[string]any{"aud": aud})["access_token"], name)
	}
	w.now = w.now.Add(91 * 24 * time.Hour)
	require.Equal(t, 700027, code(ask(named, mine, jwa.RS256, nil)), "the certificate has expired")
}

func TestOnBehalfOf(t *testing.T) {
	w := newWorld(t)
	user := func(resource string) map[string]any {
		return w.json(t, v2, "grant_type", "password", "client_id", appID, "username", "alice@contoso.example", "password", "pw", "scope", "openid "+resource+"/.default")
	}
	shown := user("api://daemon")
	form := func(change ...string) []string {
		return append([]string{"grant_type", wire.GrantJWTBearer, "requested_token_use", "on_behalf_of", "client_id", daemonID, "client_secret", "s3cret",
			"scope", "api://payroll/.default offline_access", "assertion", shown["access_token"].(string)}, change...)
	}
	got := w.json(t, v2, form()...)
	require.Empty(t, got["error_description"])
	c := payload(t, got["access_token"])
	require.Equal(t, "api://payroll", c["aud"])
	require.Equal(t, payload(t, shown["access_token"])["oid"], c["oid"], "for the same user")
	require.Equal(t, daemonID, c["appid"])
	require.NotEmpty(t, got["refresh_token"])

	own := w.json(t, v2, "grant_type", "client_credentials", "client_id", daemonID, "client_secret", "s3cret", "scope", "api://daemon/.default")
	require.NotEmpty(t, own["access_token"], own)
	for name, c := range map[string]struct {
		form []string
		want int
	}{
		"another use":         {form("requested_token_use", "x"), 70003},
		"no assertion":        {form("assertion", ""), 900144},
		"malformed":           {form("assertion", "x"), 50027},
		"forged":              {form("assertion", shown["access_token"].(string)[:len(shown["access_token"].(string))-8]+"AAAAAAAA"), 50013},
		"an id_token":         {form("assertion", shown["id_token"].(string)), 240002},
		"for another service": {form("assertion", user("api://payroll")["access_token"].(string)), 500131},
		"of an application":   {form("assertion", own["access_token"].(string)), 7000114},
		"a wrong secret":      {form("client_secret", "x"), 7000215},
		"a public client":     {form("client_id", appID, "client_secret", ""), 7000218},
		"an unknown resource": {form("scope", "api://nowhere/.default"), 500011},
	} {
		require.Equal(t, c.want, code(w.json(t, v2, c.form...)), name)
	}
	require.NotEmpty(t, w.json(t, "/common/oauth2/v2.0/token", form()...)["access_token"], "the tenant of the token")
	require.NoError(t, w.dir.ChangeUser("alice@contoso.example", func(u *directory.User) error { u.Disabled = true; return nil }))
	require.Equal(t, 50057, code(w.json(t, v2, form()...)), "the user is disabled meanwhile")
	w.now = w.now.Add(2 * time.Hour)
	require.Equal(t, 500133, code(w.json(t, v2, form()...)))
}

// A PRT that is born of a user certificate (MS-OAPXBC 3.2.5.1.2.1.4), and the
// certificate for other machines that it buys (3.2.5.1.4).
func TestUserCertificates(t *testing.T) {
	w := newWorld(t)
	leaf, err := w.Mint.IssueUserCertificate("alice", true)
	require.NoError(t, err)
	var chain cert.Chain
	require.NoError(t, chain.AddString(base64.StdEncoding.EncodeToString(leaf.Certificate[0])))
	assertion := func(change map[string]any, key any) string {
		c := map[string]any{"iss": "alice@contoso.example", "aud": "common", "iat": w.now.Unix(), "exp": w.now.Unix() + 300, "request_nonce": w.Keeper.NewNonce()}
		for k, v := range change {
			c[k] = v
		}
		text, err := json.Marshal(c)
		require.NoError(t, err)
		h := jws.NewHeaders()
		require.NoError(t, h.Set("x5c", &chain))
		signed, err := jws.Sign(text, jws.WithKey(jwa.RS256, key, jws.WithProtectedHeaders(h)))
		require.NoError(t, err)
		return string(signed)
	}
	birth := func(assertion string) map[string]any {
		return w.ofDevice(t, map[string]any{"client_id": wire.ClientWindowsSignIn, "scope": "openid aza", "grant_type": wire.GrantJWTBearer, "assertion": assertion})
	}
	got := birth(assertion(nil, leaf.PrivateKey))
	require.NotEmpty(t, got["session_key_jwe"], got)
	for name, c := range map[string]struct {
		assertion string
		want      int
	}{
		"another key":  {assertion(nil, w.key), 50012},
		"over":         {assertion(map[string]any{"exp": w.now.Unix() - 3600}, leaf.PrivateKey), 500133},
		"no audience":  {assertion(map[string]any{"aud": ""}, leaf.PrivateKey), 50027},
		"an old nonce": {assertion(map[string]any{"request_nonce": "x"}, leaf.PrivateKey), 140000},
		"another user": {assertion(map[string]any{"iss": "bob@fed.example"}, leaf.PrivateKey), 50013},
	} {
		require.Equal(t, c.want, code(birth(c.assertion)), name)
	}

	// The certificate of the user, for remote desktops.
	sessionKey := w.unwrap(t, got)
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, w.key)
	require.NoError(t, err)
	ask := func(change map[string]any) map[string]any {
		ctx := make([]byte, 24)
		_, err := rand.Read(ctx)
		require.NoError(t, err)
		c := map[string]any{"client_id": wire.ClientWindowsSignIn, "request_nonce": w.Keeper.NewNonce(), "scope": "openid aza ugs", "grant_type": wire.GrantRefreshToken,
			"refresh_token": got["refresh_token"], "cert_token_use": "user_cert", "csr_type": "http://schemas.microsoft.com/windows/pki/2009/01/enrollment#PKCS10",
			"csr": base64.StdEncoding.EncodeToString(request)}
		for k, v := range change {
			c[k] = v
		}
		key := kdf.Derive(sessionKey, []byte(kdf.Label), ctx)
		status, text := w.signed(t, map[string]any{"ctx": base64.StdEncoding.EncodeToString(ctx)}, jwa.HS256, key[:], c)
		if status == http.StatusOK {
			return open(t, sessionKey, text)
		}
		var out map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &out), text)
		return out
	}
	out := ask(nil)
	require.NotEmpty(t, out["x5c"], out)
	raw, err := base64.StdEncoding.DecodeString(out["x5c"].(string))
	require.NoError(t, err)
	user, err := x509.ParseCertificate(raw)
	require.NoError(t, err)
	require.Contains(t, user.Subject.String(), "alice@contoso.example")
	require.True(t, user.NotAfter.Equal(w.now.Add(time.Hour)), "an hour")
	rawCA, err := base64.StdEncoding.DecodeString(out["x5c_ca"].(string))
	require.NoError(t, err)
	authority, err := x509.ParseCertificate(rawCA)
	require.NoError(t, err)
	require.NoError(t, user.CheckSignatureFrom(authority))
	for name, c := range map[string]struct {
		change map[string]any
		want   int
	}{
		"for the device":    {map[string]any{"cert_token_use": "device_cert"}, 9002313},
		"of another type":   {map[string]any{"csr_type": "x"}, 9002313},
		"no request at all": {map[string]any{"csr": "AAAA"}, 9002313},
	} {
		require.Equal(t, c.want, code(ask(c.change)), name)
	}
}

// A token that a phone's broker buys with a code: a PRT without a device, whose
// session key is wrapped to a key of the request.
func TestDevicelessPRT(t *testing.T) {
	w := newWorld(t)
	jwk := `{"kty":"RSA","e":"AQAB","n":"` + base64.RawURLEncoding.EncodeToString(w.key.N.Bytes()) + `"}`
	redeem := func(change ...string) map[string]any {
		return w.json(t, v2, append([]string{"grant_type", "authorization_code", "client_id", wire.ClientBroker, "code", w.code(t, wire.ClientBroker, wire.RedirectBrokerDRS),
			"redirect_uri", wire.RedirectBrokerDRS, "scope", "openid aza", "prt_protocol_version", "3.0", "stk_jwk", jwk}, change...)...)
	}
	got := redeem()
	require.NotEmpty(t, got["session_key_jwe"], got)
	require.Len(t, w.unwrap(t, got), wire.SessionKeySize)
	for name, change := range map[string][]string{
		"another version": {"prt_protocol_version", "2.0"},
		"no aza":          {"scope", "openid"},
		"no key":          {"stk_jwk", "{}"},
	} {
		require.Equal(t, 9002313, code(redeem(change...)), name)
	}
}

// An SSH certificate instead of a token (Azure Linux VM Sign-In).
func TestSSHCertificates(t *testing.T) {
	w := newWorld(t)
	jwk := func(kid, n, e string) string {
		return `{"kty":"RSA","n":"` + n + `","e":"` + e + `","kid":"` + kid + `"}`
	}
	n := base64.RawURLEncoding.EncodeToString(w.key.N.Bytes())
	ask := func(cnf, resource string) map[string]any {
		return w.json(t, v2, "grant_type", "password", "client_id", "04b07795-8ddb-461a-bbee-02f9e1bf7b46", "username", "alice@contoso.example", "password", "pw",
			"scope", resource+"/.default", "token_type", "ssh-cert", "req_cnf", cnf)
	}
	const vm = "https://pas.windows.net/CheckMyAccess/Linux"
	got := ask(jwk("k", n, "AQAB"), vm)
	require.Equal(t, "ssh-cert", got["token_type"], got)
	require.NotEmpty(t, got["access_token"])
	require.Equal(t, "ssh-cert", ask(jwk("k", n+"==", "AQAB"), vm)["token_type"], "numbers that are padded")
	for name, c := range map[string]struct{ cnf, resource string }{
		"another resource":       {jwk("k", n, "AQAB"), "https://graph.microsoft.com"},
		"not JSON":               {"x", vm},
		"no kid":                 {jwk("", n, "AQAB"), vm},
		"a short key":            {jwk("k", "AQAB", "AQAB"), vm},
		"a number in no base64":  {jwk("k", "!", "AQAB"), vm},
		"an exponent of 1":       {jwk("k", n, "AQ"), vm},
		"an exponent of 5 bytes": {jwk("k", n, "AQAAAAE"), vm},
	} {
		require.Equal(t, 9002313, code(ask(c.cnf, c.resource)), name)
	}
}

// A secret may also come by HTTP Basic (RFC 6749, 2.3.1).
func TestSecretByBasic(t *testing.T) {
	w := newWorld(t)
	for secret, want := range map[string]int{"s3cret": 0, "x": 7000215} {
		r := httptest.NewRequest(http.MethodPost, base+v2, strings.NewReader(url.Values{"grant_type": {"client_credentials"}, "scope": {"api://orders/.default"}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(daemonID, secret)
		rec := httptest.NewRecorder()
		w.Web.ServeHTTP(rec, r)
		var out map[string]any
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &out))
		require.Equal(t, want, code(out), secret)
	}
}
