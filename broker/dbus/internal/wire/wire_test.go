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
		"escapes":                   {`{"clientId":"a\u0041\n"}`, Request{ClientID: "aA\n"}},
	} {
		got, err := ParseRequest(c.text)
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
	_, err := ParseRequest(`{"requestedScopes":[` + strings.Repeat(`"a",`, MaxScopes) + `"a"]}`)
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
	require.Equal(t, "Status22", Status(22).String())
	for s := range statusNames {
		require.NotZero(t, Status(s).Tag())
	}
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
