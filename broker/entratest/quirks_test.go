package entratest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/lestrrat-go/jwx/v2/jwt"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// The tests of docs/quirks.md. Where a verifier is needed, it is jwx.

const graphURI = "https://graph.microsoft.com"

func (c *tc) published() jwk.Set {
	c.t.Helper()
	r := c.get(login + "/common/discovery/v2.0/keys")
	require.Equal(c.t, 200, r.status)
	set, err := jwk.Parse(r.body)
	require.NoError(c.t, err)
	return set
}

func verifies(set jwk.Set, token string) error {
	_, err := jws.Verify([]byte(token), jws.WithKeySet(set, jws.WithInferAlgorithmFromKey(true)))
	return err
}

func without(t testing.TB, quirks ...entratest.Quirk) *tc {
	t.Helper()
	o := options(entratest.NewClock(time.Time{}))
	o.WithoutQuirks = quirks
	return newClient(t, entratest.NewTB(t, o))
}

// "Signing key rollover in the Microsoft identity platform": a new key is published
// before it signs, and programs must fetch the set again when they see an unknown kid.
func TestKeyRollover(t *testing.T) {
	c, _ := start(t)
	token := func() string { c.t.Helper(); return c.ropc("alice", payrollID, "api://payroll").str("access_token") }
	uses := func() (out []string) {
		for _, k := range c.s.SigningKeys() {
			out = append(out, k.Use)
		}
		return out
	}
	before, first := c.published(), token()
	require.NoError(t, verifies(before, first))
	require.Equal(t, []string{"current", "next"}, uses())
	require.NoError(t, c.s.UseNextKey())
	require.NoError(t, verifies(before, token()), "the next key was published before it signed")
	require.Equal(t, []string{"former", "current"}, uses())
	c.s.DropFormerKeys()
	before, first = c.published(), token()
	require.Equal(t, 1, before.Len())

	require.NoError(t, c.s.PublishNextKey())
	require.NoError(t, c.s.PublishNextKey(), "no effect")
	require.Equal(t, []string{"current", "next"}, uses())
	ahead := c.published()
	require.Equal(t, 2, ahead.Len())
	require.NoError(t, verifies(before, token()), "the next key does not sign yet")

	require.NoError(t, c.s.UseNextKey())
	require.Equal(t, []string{"former", "current"}, uses())
	second := token()
	require.NoError(t, verifies(ahead, second), "a program that fetched the set in time")
	require.ErrorContains(t, verifies(before, second), "failed to find key", "one that did not")
	require.NoError(t, verifies(c.published(), first), "the former key is still published")

	me := c.ropc("alice", financeID, graphURI).str("access_token")
	require.NoError(t, c.s.UseNextKey(), "an emergency: not published ahead")
	require.Equal(t, []string{"former", "former", "current"}, uses())
	require.Equal(t, 200, c.json("GET", graphURI+"/v1.0/me", me, nil).status)
	third := token()
	c.s.DropFormerKeys()
	require.Equal(t, []string{"current"}, uses())
	require.ErrorContains(t, verifies(c.published(), second), "failed to find key")
	require.NoError(t, verifies(c.published(), third))
	require.Equal(t, 401, c.json("GET", graphURI+"/v1.0/me", me, nil).status)

	t.Run("the state remembers", func(t *testing.T) {
		state, err := c.s.State()
		require.NoError(t, err)
		o := options(entratest.NewClock(time.Time{}))
		o.State = state
		again := newClient(t, entratest.NewTB(t, o))
		require.Equal(t, c.s.SigningKeys(), again.s.SigningKeys())
		require.NoError(t, verifies(again.published(), third))
		var v map[string]any
		require.NoError(t, json.Unmarshal(state, &v))
		v["Keys"] = map[string]int{"First": 3, "Used": 2, "Last": 2}
		o.State, _ = json.Marshal(v)
		_, err = entratest.Start(o)
		require.ErrorContains(t, err, "signing keys")
	})
	t.Run("another server", func(t *testing.T) {
		other, _ := start(t)
		require.NotEqual(t, c.s.SigningKeys(), other.s.SigningKeys(), "rolled by itself")
	})
	t.Run("only so many", func(t *testing.T) {
		var err error
		for range 20 {
			if err = c.s.UseNextKey(); err != nil {
				break
			}
		}
		require.ErrorContains(t, err, "drop the former ones")
		require.NoError(t, verifies(c.published(), token()))
	})
}

func TestKeysWithoutAlg(t *testing.T) {
	c, _ := start(t)
	_, err := jws.Verify([]byte(c.payroll().str("access_token")), jws.WithKeySet(c.published()))
	require.ErrorContains(t, err, "could not verify", "a verifier that reads the algorithm from the key")
	c = without(t, entratest.KeysWithoutAlg)
	_, err = jws.Verify([]byte(c.payroll().str("access_token")), jws.WithKeySet(c.published()))
	require.NoError(t, err)
}

// A clock that is behind sees tokens from the future: jwx refuses them unless it is told
// how far clocks may be apart.
func TestClockSkew(t *testing.T) {
	c, clock := start(t)
	token := c.payroll().str("access_token")
	behind := jwt.WithClock(jwt.ClockFunc(func() time.Time { return clock.Now().Add(-2 * time.Minute) }))
	keys := jwt.WithKeySet(c.published(), jws.WithInferAlgorithmFromKey(true))
	_, err := jwt.Parse([]byte(token), keys, behind)
	require.ErrorIs(t, err, jwt.ErrInvalidIssuedAt())
	_, err = jwt.Parse([]byte(token), keys, behind, jwt.WithAcceptableSkew(5*time.Minute))
	require.NoError(t, err)
	clock.Advance(80 * time.Minute)
	_, err = jwt.Parse([]byte(token), keys, jwt.WithClock(clock), jwt.WithAcceptableSkew(5*time.Minute))
	require.ErrorIs(t, err, jwt.ErrTokenExpired())
}

func TestThrottled(t *testing.T) {
	c, _ := start(t)
	c.s.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.Throttle, RetryAfter: 7 * time.Second, Times: 2})
	for range 2 {
		r := c.payroll()
		require.Equal(t, 429, r.status)
		require.Equal(t, "7", r.header.Get("Retry-After"))
		require.Equal(t, 90055, r.code())
		require.Equal(t, "temporarily_unavailable", r.str("error"))
	}
	require.Equal(t, 200, c.payroll().status)
}

// The members of an error are those of the example in "OAuth 2.0 authorization code
// flow" (Microsoft), and the description ends with the same values.
func TestErrorBodies(t *testing.T) {
	c, clock := start(t)
	for _, path := range []string{"/oauth2/token", "/oauth2/v2.0/token"} {
		r := c.form(c.tenantPath(path), "grant_type", "password", "client_id", payrollID, "username", "alice@contoso.example", "password", "x", "scope", "openid")
		require.Equal(t, 400, r.status)
		require.Equal(t, "application/json; charset=utf-8", r.header.Get("Content-Type"))
		require.Equal(t, "invalid_grant", r.str("error"))
		require.Equal(t, []any{50126.0}, r.v["error_codes"])
		require.Equal(t, clock.Now().UTC().Format("2006-01-02 15:04:05Z"), r.str("timestamp"), "no RFC 3339")
		require.Equal(t, "https://login.microsoftonline.com/error?code=50126", r.str("error_uri"))
		require.Regexp(t, `^AADSTS50126: .* Trace ID: `+r.str("trace_id")+` Correlation ID: `+r.str("correlation_id")+` Timestamp: `+r.str("timestamp")+`$`, r.str("error_description"))
		require.Equal(t, r.str("trace_id"), r.header.Get("x-ms-request-id"))
		require.NotContains(t, r.v, "suberror")
	}
	require.NoError(t, c.s.ExpirePassword("alice"))
	require.Equal(t, "user_password_expired", c.payroll().str("suberror"))
}

// The nonce in the header stands for its hash in what was signed, so that nobody else
// can verify the token.
func TestGraphNonce(t *testing.T) {
	c, _ := start(t)
	token := c.ropc("alice", financeID, graphURI).str("access_token")
	parsed, err := jws.ParseString(token)
	require.NoError(t, err)
	nonce, ok := parsed.Signatures()[0].ProtectedHeaders().Get("nonce")
	require.True(t, ok)
	require.NotEmpty(t, nonce)
	require.ErrorContains(t, verifies(c.published(), token), "could not verify")
	require.Equal(t, 200, c.json("GET", graphURI+"/v1.0/me", token, nil).status, "Graph can")
	head, rest, _ := strings.Cut(token, ".")
	forged := strings.Replace(head, head[40:44], "AAAA", 1) + "." + rest
	require.Equal(t, 401, c.json("GET", graphURI+"/v1.0/me", forged, nil).status)
	require.NoError(t, verifies(c.published(), c.payroll().str("access_token")), "a token for another service")

	require.NoError(t, c.s.SetQuirk(entratest.GraphNonce, false))
	token = c.ropc("alice", financeID, graphURI).str("access_token")
	require.NoError(t, verifies(c.published(), token))
	require.Equal(t, 200, c.json("GET", graphURI+"/v1.0/me", token, nil).status)
}

// Microsoft, "ID token claims reference": sub is unique to an application, oid is the
// same in all of them.
func TestPairwiseSubject(t *testing.T) {
	subjects := func(c *tc) (a, b map[string]any) {
		return jwtClaims(t, c.ropc("alice", payrollID, "api://payroll").str("access_token")), jwtClaims(t, c.ropc("alice", financeID, "api://finance").str("access_token"))
	}
	c, _ := start(t)
	a, b := subjects(c)
	require.NotEqual(t, a["sub"], b["sub"])
	require.Equal(t, a["oid"], b["oid"])
	a, b = subjects(without(t, entratest.PairwiseSubject))
	require.Equal(t, a["sub"], b["sub"])
	require.Equal(t, a["oid"], a["sub"])
}

func TestIssuerOfCommon(t *testing.T) {
	issuer := func(c *tc) string {
		return c.get(login + "/common/v2.0/.well-known/openid-configuration").str("issuer")
	}
	c, _ := start(t)
	require.Equal(t, login+"/{tenantid}/v2.0", issuer(c))
	c = without(t, entratest.TenantIDInIssuer)
	require.Equal(t, login+"/"+c.s.TenantID()+"/v2.0", issuer(c))
}

// The version of an access token is that of the resource, not of the endpoint
// ("Access tokens in the Microsoft identity platform").
func TestTokenVersions(t *testing.T) {
	c, _ := start(t)
	ask := func() map[string]any {
		r := c.tokenV2(append([]string{"grant_type", "password", "client_id", payrollID, "scope", "api://payroll/.default"}, alicePassword(c)...)...)
		require.Equal(t, 200, r.status, "%s", r.body)
		return jwtClaims(t, r.str("access_token"))
	}
	v1 := ask()
	require.Equal(t, "1.0", v1["ver"])
	require.Equal(t, "https://sts.windows.net/"+c.s.TenantID()+"/", v1["iss"])
	require.Equal(t, "api://payroll", v1["aud"], "as it was asked for")
	require.NoError(t, c.s.AddApp(entratest.App{ClientID: payrollID, Public: true, URIs: []string{"api://payroll"}, TokenVersion: 2}))
	v2 := ask()
	require.Equal(t, "2.0", v2["ver"])
	require.Equal(t, login+"/"+c.s.TenantID()+"/v2.0", v2["iss"])
	require.Equal(t, payrollID, v2["aud"], "always the client id")
}

// "Refresh tokens in the Microsoft identity platform": Entra does not revoke old refresh
// tokens when they are used to fetch new access tokens.
func TestRefreshTokenReuse(t *testing.T) {
	c, _ := start(t)
	rt := c.payroll().str("refresh_token")
	next := c.refresh(payrollID, rt)
	require.NotEqual(t, rt, next.str("refresh_token"), "replaced")
	require.Equal(t, 200, c.refresh(payrollID, rt).status)
	require.Equal(t, 200, c.refresh(payrollID, next.str("refresh_token")).status)

	c = without(t, entratest.RefreshTokenReuse)
	rt = c.payroll().str("refresh_token")
	next = c.refresh(payrollID, rt)
	require.Equal(t, 200, next.status)
	require.Equal(t, 70000, c.refresh(payrollID, rt).code())
	require.Equal(t, 200, c.refresh(payrollID, next.str("refresh_token")).status)
}

func TestOfflineAccessIsNotEchoed(t *testing.T) {
	ask := func(c *tc) *reply {
		return c.tokenV2(append([]string{"grant_type", "password", "client_id", payrollID, "scope", "offline_access openid api://payroll/.default"}, alicePassword(c)...)...)
	}
	c, _ := start(t)
	r := ask(c)
	require.NotEmpty(t, r.str("refresh_token"))
	require.Equal(t, "openid api://payroll/user_impersonation api://payroll/.default", r.str("scope"))
	require.Contains(t, ask(without(t, entratest.OfflineNotEchoed)).str("scope"), "offline_access")
}

func TestScopesByTheirCase(t *testing.T) {
	ask := func(c *tc) *reply {
		return c.tokenV2(append([]string{"grant_type", "password", "client_id", payrollID, "scope", "api://payroll/USER_impersonation"}, alicePassword(c)...)...)
	}
	c, _ := start(t)
	require.Equal(t, "api://payroll/user_impersonation", ask(c).str("scope"))
	require.Equal(t, 70011, ask(without(t, entratest.ScopesInAnyCase)).code())
}

func TestRepliesOfV1(t *testing.T) {
	c, _ := start(t)
	r := c.payroll()
	require.Equal(t, "4200", r.v["expires_in"])
	require.True(t, strings.HasSuffix(r.str("id_token"), "."), "no signature")
	c = without(t, entratest.NumbersAsText, entratest.UnsignedV1IDToken)
	r = c.payroll()
	require.EqualValues(t, 4200, r.v["expires_in"])
	require.NoError(t, verifies(c.published(), r.str("id_token")))
}

// "ID token claims reference": the claim email is there only if the user has an address.
func TestMissingEmail(t *testing.T) {
	c, _ := start(t)
	require.NoError(t, c.s.AddUser(entratest.User{Username: "mel", Password: password, Mail: "mel@mail.example"}))
	ask := func(user, scope string) map[string]any {
		r := c.tokenV2("grant_type", "password", "client_id", payrollID, "scope", scope, "username", user+"@contoso.example", "password", password)
		require.Equal(t, 200, r.status, "%s", r.body)
		return jwtClaims(t, r.str("id_token"))
	}
	require.NotContains(t, ask("alice", "openid email profile"), "email")
	require.Equal(t, "alice@contoso.example", ask("alice", "openid email profile")["preferred_username"], "which is no address")
	require.Equal(t, "mel@mail.example", ask("mel", "openid email")["email"])
	require.NotContains(t, ask("mel", "openid profile"), "email", "it was not asked for")
	require.NoError(t, c.s.AddApp(entratest.App{ClientID: payrollID, Public: true, URIs: []string{"api://payroll"}, OptionalClaims: []string{"email"}, Redirects: []string{nativeURI}}))
	require.Equal(t, "mel@mail.example", ask("mel", "openid")["email"])
	require.NotContains(t, ask("alice", "openid"), "email")
	to, err := c.tryAuthorize(c.alice(), "v2", "", "client_id", payrollID, "scope", "openid email", "resource", "", "response_type", "id_token", "response_mode", "fragment", "nonce", "n")
	require.NoError(t, err)
	require.NotContains(t, jwtClaims(t, fragment(t, to).Get("id_token")), "email")
}

// "ID token claims reference", hasgroups: an id_token in a URL names at most five groups.
func TestHasGroups(t *testing.T) {
	o := options(entratest.NewClock(time.Time{}))
	for _, team := range []string{"1", "2", "3", "4"} {
		o.Groups = append(o.Groups, entratest.Group{Name: "Team " + team, Members: []string{"alice"}})
	}
	o.Apps = append(o.Apps, entratest.App{ClientID: apiID, Name: "Page", Public: true, Redirects: []string{nativeURI}, GroupClaims: true, AdminConsent: true})
	c := newClient(t, entratest.NewTB(t, o))
	inURL := func() map[string]any {
		to, err := c.tryAuthorize(c.alice(), "v2", "", "client_id", apiID, "scope", "openid", "resource", "", "response_type", "id_token", "response_mode", "fragment", "nonce", "n")
		require.NoError(t, err)
		return jwtClaims(t, fragment(t, to).Get("id_token"))
	}
	claims := inURL()
	require.Equal(t, true, claims["hasgroups"])
	require.NotContains(t, claims, "groups")
	r := c.tokenV2(append([]string{"grant_type", "password", "client_id", apiID, "scope", "openid"}, alicePassword(c)...)...)
	require.Len(t, jwtClaims(t, r.str("id_token"))["groups"], 6, "not in a URL")
	require.NoError(t, c.s.SetQuirk(entratest.GroupOverage, false))
	require.Len(t, inURL()["groups"], 6)
}

// What was just added is not known everywhere at once ("I created a user and Entra says
// that it does not exist"): the former state is, until the lag is over.
func TestDirectoryLag(t *testing.T) {
	clock := entratest.NewClock(time.Time{})
	o := options(clock)
	o.DirectoryLag = 30 * time.Second
	c := newClient(t, entratest.NewTB(t, o))
	require.Equal(t, 200, c.payroll().status, "what the server started with is known")

	const young = "99999999-0000-4000-8000-000000000001"
	require.NoError(t, c.s.AddUser(entratest.User{Username: "mel", Password: password}))
	require.NoError(t, c.s.AddApp(entratest.App{ClientID: young, Name: "Young", Public: true, URIs: []string{"api://young"}, AdminConsent: true}))
	require.NoError(t, c.s.AddApp(entratest.App{ClientID: webID, Name: "Web", Secret: "second secret", AdminConsent: true, URIs: []string{"api://web"}}))
	secret := func(s string) *reply {
		return c.form(c.tenantPath("/oauth2/v2.0/token"), "grant_type", "client_credentials", "client_id", webID, "client_secret", s, "scope", graphURI+"/.default")
	}
	require.Equal(t, 50034, c.ropc("mel", payrollID, "api://payroll").code())
	require.Equal(t, 700016, c.ropc("alice", young, "").code())
	require.Equal(t, 500011, c.ropc("alice", payrollID, "api://young").code())
	require.Equal(t, 500011, c.ropc("alice", payrollID, "api://web").code(), "a new name of a known one")
	require.Equal(t, 7000215, secret("second secret").code())
	require.Equal(t, 200, secret("web secret").status, "the former secret")
	require.True(t, slices.ContainsFunc(c.s.Users(), func(u entratest.UserStatus) bool { return u.Username == "mel@contoso.example" }), "the directory knows it")

	clock.Advance(30 * time.Second)
	require.Equal(t, 200, c.ropc("mel", payrollID, "api://payroll").status)
	require.Equal(t, 200, c.ropc("alice", young, "api://young").status)
	require.Equal(t, 7000215, secret("web secret").code())
	require.Equal(t, 200, secret("second secret").status)

	c.s.SetDirectoryLag(0)
	require.NoError(t, c.s.AddUser(entratest.User{Username: "nat", Password: password}))
	require.Equal(t, 200, c.ropc("nat", payrollID, "api://payroll").status)
}

// "Configure how users consent to applications" (Microsoft): where users may not
// consent, they are told that an administrator must (AADSTS90094).
func TestAdminConsent(t *testing.T) {
	o := options(entratest.NewClock(time.Time{}))
	o.NoUserConsent = true
	o.Users = append(o.Users, entratest.User{Username: "root", Password: password, Roles: []string{"62E90394-69f5-4237-9190-012177145e10"}})
	c := newClient(t, entratest.NewTB(t, o))
	kv := []string{"v2", "", "client_id", thirdParty, "scope", "openid User.Read", "resource", ""}
	_, err := c.tryAuthorize(c.alice(), kv...)
	require.ErrorContains(t, err, "90094")
	last := c.s.SignIns()[len(c.s.SignIns())-1]
	require.Equal(t, 90094, last.ErrorCode)
	_, err = c.tryAuthorize(entratest.Person{Username: "root@contoso.example", Password: password}, kv...)
	require.NoError(t, err, "an administrator is asked")
	require.NoError(t, c.s.AddApp(entratest.App{ClientID: thirdParty, Name: "Third", Public: true, Redirects: []string{nativeURI}, AdminConsent: true}))
	_, err = c.tryAuthorize(c.alice(), kv...)
	require.NoError(t, err)
}

// Names change, and the object id stays.
func TestRenamedUser(t *testing.T) {
	c, _ := start(t)
	ask := func(user string) *reply {
		return c.tokenV2("grant_type", "password", "client_id", payrollID, "scope", "openid profile", "username", user+"@contoso.example", "password", password)
	}
	before := jwtClaims(t, ask("alice").str("id_token"))
	require.NoError(t, c.s.RenameUser("alice", "alice.married", "Alice Married"))
	require.Equal(t, 50034, ask("alice").code())
	after := jwtClaims(t, ask("alice.married").str("id_token"))
	require.Equal(t, "alice.married@contoso.example", after["preferred_username"])
	require.Equal(t, "Alice Married", after["name"])
	require.Equal(t, before["oid"], after["oid"])
	require.Equal(t, before["sub"], after["sub"])
}

func TestQuirksByName(t *testing.T) {
	c := without(t, entratest.PairwiseSubject)
	for _, q := range c.s.Quirks() {
		require.Equal(t, q.Quirk != entratest.PairwiseSubject, q.On, q.Quirk)
	}
	require.NoError(t, c.s.SetQuirk(entratest.PairwiseSubject, true))
	require.ErrorContains(t, c.s.SetQuirk("telepathy", true), "telepathy")
	_, err := entratest.Start(entratest.Options{WithoutQuirks: []entratest.Quirk{"telepathy"}})
	require.ErrorContains(t, err, "telepathy")
	require.Equal(t, http.StatusOK, c.payroll().status)
}

// fragment returns the parameters behind the # of a URL.
func fragment(t testing.TB, to string) url.Values {
	t.Helper()
	_, text, ok := strings.Cut(to, "#")
	require.True(t, ok, to)
	v, err := url.ParseQuery(text)
	require.NoError(t, err)
	return v
}
