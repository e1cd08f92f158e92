package wire

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a client of this package writes, the reader reads.
func TestRequestRoundTrip(t *testing.T) {
	r := Request{
		Account:  Account{HomeAccountID: "o.t", LocalAccountID: "o", Realm: "t", Environment: "e", Username: "u", Name: "n", GivenName: "g", FamilyName: "f", ClientInfo: "c", PasswordExpiry: 7},
		ClientID: "id", RedirectURI: "https://r", Authority: "https://a/common", Username: "u", Scopes: []string{"s", "t"}, Claims: `{"a":{}}`,
		Renew: "old", Prompt: "LOGIN", SSOURL: "https://x", SignIn: true,
		PoP: &PoPParams{Scheme: "pop", Method: "GET", Host: "h", Path: "/p", Nonce: "n", ClientClaims: "{}", HomeAccountID: "o.t", KeyID: "k"},
	}
	for _, method := range []string{AcquireSilently, AcquireInteractive, AcquireCookie} {
		text, err := r.Marshal(method)
		require.NoError(t, err)
		got, err := ParseRequest(text)
		require.NoError(t, err)
		require.Equal(t, r, got, method)
	}
	text, err := (&Request{}).Marshal(CancelInteractive)
	require.NoError(t, err)
	got, err := ParseRequest(text)
	require.NoError(t, err)
	require.Equal(t, UserCanceled, got.Status)
}

// The short requests have the members that sso-mib and msalruntime send, and no other.
func TestShortRequests(t *testing.T) {
	r := Request{ClientID: "id", RedirectURI: "https://r", Username: "not sent", Account: Account{HomeAccountID: "o.t"}, PoP: &PoPParams{Scheme: "pop", Method: "GET", Host: "h", HomeAccountID: "o.t"}}
	const account = `{"clientInfo":"","environment":"","familyName":"","givenName":"","homeAccountId":"o.t","localAccountId":"","name":"","passwordExpiry":0,"realm":"","username":""}`
	for method, want := range map[string]string{
		GetAccounts:     `{"clientId":"id","redirectUri":"https://r"}`,
		GetVersion:      `{"msalCppVersion":"0"}`,
		RemoveAccount:   `{"clientId":"id","account":` + account + `}`,
		SignHTTPRequest: `{"clientId":"id","popParams":{"authenticationScheme":"pop","clientClaims":"","homeAccountId":"o.t","httpMethod":"GET","nonce":"","uriHost":"h","uriPath":""}}`,
	} {
		got, err := r.Marshal(method)
		require.NoError(t, err)
		require.JSONEq(t, want, got, method)
	}
	// A request that names no account and no bound token says so, as msalruntime does.
	text, err := (&Request{}).Marshal(AcquireSilently)
	require.NoError(t, err)
	require.Contains(t, text, `"account":null`)
	require.Contains(t, text, `"popParams":null`)
	require.Contains(t, text, `"uxContextHandle":-1`)
}

// One of three members identifies a user.
func TestAccountIsZero(t *testing.T) {
	require.True(t, Account{Name: "n", Realm: "t"}.IsZero())
	for _, a := range []Account{{HomeAccountID: "o.t"}, {LocalAccountID: "o"}, {Username: "u"}} {
		require.False(t, a.IsZero(), a)
	}
}

// Requests are read as they come: members of the wrong type, null, empty, at
// the root or nested.
func TestTolerance(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want Request
	}{
		"null everywhere":           {`{"authParameters":{"account":null,"popParams":null,"clientId":null,"requestedScopes":null,"decodedClaims":null},"account":null}`, Request{}},
		"empty strings for objects": {`{"authParameters":{"account":"","popParams":"","clientId":"c"}}`, Request{ClientID: "c"}},
		"no authParameters":         {`{"clientId":"c","requestedScopes":["a"]}`, Request{ClientID: "c", Scopes: []string{"a"}}},
		"parameters as text":        {`{"authParameters":"{\"clientId\":\"c\"}"}`, Request{ClientID: "c"}},
		"account at the root":       {`{"account":{"homeAccountId":"h","passwordExpiry":"12"},"authParameters":{"account":{}}}`, Request{Account: Account{HomeAccountID: "h", PasswordExpiry: 12}}},
		"account nested":            {`{"account":{"homeAccountId":"outer"},"authParameters":{"account":{"homeAccountId":"inner"}}}`, Request{Account: Account{HomeAccountID: "inner"}}},
		"scopes in one string":      {`{"authParameters":{"requestedScopes":"a  b"}}`, Request{Scopes: []string{"a", "b"}}},
		"scopes of several types":   {`{"authParameters":{"requestedScopes":["a",null,7,"",{"x":1}]}}`, Request{Scopes: []string{"a"}}},
		"claims as an object":       {`{"authParameters":{"decodedClaims":{"access_token":{}}}}`, Request{Claims: `{"access_token":{}}`}},
		"a number for a string":     {`{"authParameters":{"clientId":7}}`, Request{ClientID: "7"}},
		"a bearer scheme":           {`{"authParameters":{"popParams":{"authenticationScheme":"bearer","uriHost":"h"}}}`, Request{}},
		"empty popParams":           {`{"authParameters":{"popParams":{}}}`, Request{}},
		"flags as text":             {`{"authParameters":{"isSignIn":"true"}}`, Request{SignIn: true}},
		"unknown members":           {`{"authParameters":{"requestOptions":[205],"enrollmentId":"","password":"","isTestMode":false,"onboardingBlob":"{}"}}`, Request{}},
		"the digits for strings":    {`{"clientId":0,"redirectUri":9,"username":-1,"prompt":true,"authority":{}}`, Request{ClientID: "0", RedirectURI: "9", Username: "-1"}},
		"no array of scopes":        {`{"requestedScopes":{"a":1}}`, Request{}},
		"parameters that are text":  {`{"authParameters":"{","clientId":"c"}`, Request{ClientID: "c"}},
		"claims as text":            {`{"decodedClaims":" {\"a\":1} "}`, Request{Claims: `{"a":1}`}},
		"claims in both places":     {`{"authParameters":{"decodedClaims":"{}"},"decodedClaims":{"a":1}}`, Request{Claims: `{}`}},
		"a flag of 1":               {`{"isSignIn":1}`, Request{SignIn: true}},
		"a flag of 0":               {`{"isSignIn":"0"}`, Request{}},
		"popParams at the root":     {`{"popParams":{"uriHost":"h"}}`, Request{PoP: &PoPParams{Host: "h"}}},
		"popParams in both places":  {`{"authParameters":{"popParams":{"uriHost":"inner"}},"popParams":{"uriHost":"h"}}`, Request{PoP: &PoPParams{Host: "inner"}}},
		"an error":                  {`{"error":{"status":7}}`, Request{Status: UserCanceled}},
		"escapes":                   {`{"clientId":"a\u0041\n","username":"\u0041"}`, Request{ClientID: "aA\n", Username: "A"}},
	} {
		got, err := ParseRequest(c.text)
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
	most, err := ParseRequest(`{"requestedScopes":[` + strings.Repeat(`"a",`, MaxScopes-1) + `"a"]}`)
	require.NoError(t, err)
	require.Len(t, most.Scopes, MaxScopes)
	_, err = ParseRequest(`{"requestedScopes":[` + strings.Repeat(`"a",`, MaxScopes) + `"a"]}`)
	require.ErrorContains(t, err, "too many scopes")
	_, err = ParseRequest(`{"a":"` + strings.Repeat("x", MaxRequest) + `"}`)
	require.ErrorContains(t, err, "larger")
}

// The numbers are those that msalruntime was seen to take.
func TestStatusNames(t *testing.T) {
	require.Len(t, statusNames, int(FallbackToNativeMSAL)+1)
	require.Equal(t, "InteractionRequired", Status(2).String())
	require.Equal(t, "DeviceNotRegistered", Status(17).String())
	require.Equal(t, "AccountNotFound", Status(19).String())
	require.Equal(t, "Unexpected", Status(0).String())
	require.Equal(t, "Status22", Status(22).String())
	require.Equal(t, "Status-1", Status(-1).String())
	for s := range statusNames {
		require.Equal(t, 0x70727400+s, Status(s).Tag(), "prt and the number")
	}
	require.Equal(t, 0x707274ff, Status(-1).Tag())
}

// Errors have each member that msalruntime needs, and of the type it reads.
func TestErrorShape(t *testing.T) {
	for _, method := range Methods {
		var v map[string]any
		require.NoError(t, json.Unmarshal([]byte(Fail(method, NewError(InteractionRequired, "why"))), &v))
		e := v["error"]
		if method == AcquireSilently || method == AcquireInteractive {
			r, ok := v["brokerTokenResponse"].(map[string]any)
			require.True(t, ok)
			require.Contains(t, r, "subError")
			e = r["error"]
		}
		m, ok := e.(map[string]any)
		require.True(t, ok, method)
		require.Equal(t, "why", m["context"])
		for _, member := range []string{"status", "subStatus", "errorCode", "tag"} {
			require.IsType(t, float64(0), m[member], member)
		}
	}
}

// A reply that is read and written again says the same; nothing else is a
// reply.
func FuzzParseReply(f *testing.F) {
	for _, s := range []string{
		TokenReply(&Token{AccessToken: "t"}), AccountsReply(nil), CookieReply(Cookie{Name: "n", Content: "c"}), VersionReply("1"), SignedReply("s"), Empty,
		Fail(AcquireSilently, NewError(InteractionRequired, "x")), Fail(GetAccounts, NewError(NoNetwork, "x")),
		`{"brokerTokenResponse":{"error":{"status":"NO_NETWORK"}}}`, `{"cookieItems":[{"cookieName":"a","cookieContent":"b"}]}`,
	} {
		for i := range Methods {
			f.Add(uint8(i), s)
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, text string) {
		method := Methods[int(n)%len(Methods)]
		r, err := ParseReply(method, text)
		if err != nil {
			return
		}
		switch {
		case r.Error != nil:
			again, err := ParseReply(method, Fail(method, r.Error))
			require.NoError(t, err)
			require.Equal(t, r.Error.Status, again.Error.Status)
			require.Equal(t, r.Error.Context, again.Error.Context)
		case r.Token != nil:
			require.NotEmpty(t, r.Token.AccessToken)
			again, err := ParseReply(method, TokenReply(r.Token))
			require.NoError(t, err)
			require.Equal(t, r.Token, again.Token)
		}
	})
}
