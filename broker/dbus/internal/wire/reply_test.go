package wire

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Replies of the brokers, in the shapes that were seen of Microsoft's 2.0.1, of later
// ones, and of those that say the status in words.
func TestParseReply(t *testing.T) {
	for name, c := range map[string]struct {
		method, text string
		want         Reply
	}{
		"accounts": {
			GetAccounts, `{"accounts":[{"homeAccountId":"o.t","passwordExpiry":7},{"localAccountId":"o"},{"username":"u"},{"name":"identifies nobody"},null]}`,
			Reply{Accounts: []Account{{HomeAccountID: "o.t", PasswordExpiry: 7}, {LocalAccountID: "o"}, {Username: "u"}}},
		},
		"accounts that are no array": {GetAccounts, `{"accounts":{"username":"u"}}`, Reply{}},
		"version":                    {GetVersion, `{"linuxBrokerVersion":"2.5.2"}`, Reply{Version: "2.5.2"}},
		"signed request":             {SignHTTPRequest, `{"signedHttpRequest":"s"}`, Reply{Signed: "s"}},
		"removed":                    {RemoveAccount, Empty, Reply{}},
		"canceled":                   {CancelInteractive, Empty, Reply{}},
		"cookie of 2.0.1":            {AcquireCookie, `{"cookieName":"n","cookieContent":"c"}`, Reply{Cookies: []CookieItem{{"n", "c"}}}},
		"cookies since 2.0.2": {
			AcquireCookie, `{"cookieItems":[{"cookieName":"n","cookieContent":"c"},{"cookieName":"without content"},{"cookieContent":"without a name"},{"cookieName":"n2","cookieContent":"c2"}]}`,
			Reply{Cookies: []CookieItem{{"n", "c"}, {"n2", "c2"}}},
		},
		"a cookie in both shapes": {AcquireCookie, `{"cookieName":"n","cookieContent":"c","cookieItems":[{"cookieName":"n2","cookieContent":"c2"}]}`, Reply{Cookies: []CookieItem{{"n2", "c2"}}}},
		"token": {
			AcquireSilently, `{"brokerTokenResponse":{"accessToken":"a","accessTokenType":1,"expiresOn":"1795821769000","extendedExpiresOn":1795825369000,"grantedScopes":"s","idToken":"i","clientInfo":"c","account":{"username":"u"}},"telemetry":{}}`,
			Reply{Token: &Token{AccessToken: "a", AccessTokenType: TypePoP, ExpiresOn: 1795821769000, ExtendedExpiresOn: 1795825369000, GrantedScopes: "s", IDToken: "i", ClientInfo: "c", Account: Account{Username: "u"}}},
		},
		"a token in a string": {AcquireInteractive, `{"brokerTokenResponse":"\u007b\"accessToken\":\"a\"}"}`, Reply{Token: &Token{AccessToken: "a"}}},
		"error": {
			GetAccounts, `{"error":{"context":"no such account","diagnostics":null,"errorCode":5,"status":19,"subStatus":6,"tag":1}}`,
			Reply{Error: &Error{Context: "no such account", Status: AccountNotFound, ErrorCode: 5, SubStatus: 6, Tag: 1}},
		},
		"error of 2.0.1": {
			AcquireSilently, `{"brokerTokenResponse":{"accessTokenType":0,"error":{"context":"AADSTS50078","diagnostics":{"raw_error_code":"invalid_grant","oauth2_sub_error_code":"basic_action","claims":"{}","correlation_id":"7"},"status":2}}}`,
			Reply{Error: &Error{Context: "AADSTS50078", Status: InteractionRequired, Diagnostics: &Diagnostics{OAuth: "invalid_grant", SubError: "basic_action", Claims: "{}", CorrelationID: "7"}}},
		},
		"suberror beside the error": {
			AcquireSilently, `{"brokerTokenResponse":{"error":{"status":2},"subError":"basic_action"}}`,
			Reply{Error: &Error{Status: InteractionRequired, Diagnostics: &Diagnostics{SubError: "basic_action"}}},
		},
		"suberrors in both places": {
			AcquireSilently, `{"brokerTokenResponse":{"error":{"status":2,"diagnostics":{"oauth2_sub_error_code":"basic_action"}},"subError":"other"}}`,
			Reply{Error: &Error{Status: InteractionRequired, Diagnostics: &Diagnostics{SubError: "basic_action"}}},
		},
		"no suberror":               {AcquireSilently, `{"brokerTokenResponse":{"error":{"status":2},"subError":""}}`, Reply{Error: &Error{Status: InteractionRequired}}},
		"error of a token, outside": {AcquireSilently, `{"error":{"status":7}}`, Reply{Error: &Error{Status: UserCanceled}}},
		"status in a word":          {AcquireSilently, `{"brokerTokenResponse":{"error":{"status":"no_network"}}}`, Reply{Error: &Error{Status: NoNetwork}}},
		"status in an unknown word": {AcquireSilently, `{"brokerTokenResponse":{"error":{"status":"?"}}}`, Reply{Error: &Error{Status: Unexpected}}},
	} {
		got, err := ParseReply(c.method, c.text)
		require.NoError(t, err, name)
		require.Equal(t, &c.want, got, name)
	}
}

func TestParseReplyRefused(t *testing.T) {
	for name, c := range map[string]struct{ method, text, why string }{
		"no JSON":                     {GetAccounts, ``, "not valid JSON"},
		"too long":                    {GetAccounts, `{}` + strings.Repeat(" ", MaxReply-1), "larger"},
		"no token":                    {AcquireSilently, `{}`, "neither a result nor an error"},
		"an empty token":              {AcquireInteractive, `{"brokerTokenResponse":{"accessToken":"","idToken":"i"}}`, "neither a result nor an error"},
		"no signed request":           {SignHTTPRequest, `{}`, "neither a result nor an error"},
		"no cookie":                   {AcquireCookie, `{}`, "neither a result nor an error"},
		"a cookie without a name":     {AcquireCookie, `{"cookieContent":"c"}`, "neither a result nor an error"},
		"a cookie without a value":    {AcquireCookie, `{"cookieName":"n"}`, "neither a result nor an error"},
		"an error in place of a word": {AcquireSilently, `{"brokerTokenResponse":{"error":"failed"}}`, "neither a result nor an error"},
	} {
		_, err := ParseReply(c.method, c.text)
		require.ErrorContains(t, err, c.why, name)
	}
	_, err := ParseReply(GetAccounts, `{}`+strings.Repeat(" ", MaxReply-2))
	require.NoError(t, err, "as long as a reply may be")
}

// The replies in full, as MSAL and the other clients need them.
func TestReplies(t *testing.T) {
	const diagnostics = `"diagnostics":{"raw_error_code":"invalid_grant","oauth2_sub_error_code":"basic_action"}`
	e := NewError(InteractionRequired, "why")
	e.Diagnostics = &Diagnostics{OAuth: "invalid_grant", SubError: "basic_action"}
	for want, got := range map[string]string{
		`{"accounts":[]}`:            AccountsReply(nil),
		`{"linuxBrokerVersion":"1"}`: VersionReply("1"),
		`{"signedHttpRequest":"s"}`:  SignedReply("s"),
		`{"error":{"context":"why",` + diagnostics + `,"errorCode":0,"status":2,"subStatus":0,"tag":1886548994}}`:                                                                  Fail(GetAccounts, e),
		`{"brokerTokenResponse":{"error":{"context":"why",` + diagnostics + `,"errorCode":0,"status":2,"subStatus":0,"tag":1886548994},"subError":"basic_action"},"telemetry":{}}`: Fail(AcquireSilently, e),
	} {
		require.JSONEq(t, want, got)
	}
}

// MSAL splits a client_info into the user and the tenant.
func TestClientInfo(t *testing.T) {
	text, err := base64.RawURLEncoding.DecodeString(ClientInfo("oid.tid"))
	require.NoError(t, err)
	require.JSONEq(t, `{"uid":"oid","utid":"tid"}`, string(text))
	require.Empty(t, ClientInfo("oid"))
	require.Empty(t, ClientInfo(""))
}
