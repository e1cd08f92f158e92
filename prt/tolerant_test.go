package prt_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/prt"
)

// values are what a member may turn out to be.
var values = map[string]string{
	"null": `null`, "true": `true`, "a number": `5`, "a fraction": `1.5`, "a large number": `1e300`, "a negative number": `-1`,
	"an empty string": `""`, "a string": `"x"`, "an array": `[]`, "an array of strings": `["a","b"]`, "an object": `{}`, "an object in a string": `"{}"`,
}

// Members that nobody needs never fail a reply, whatever they are. Those that
// are needed do, unless they are absent, which null is.
func TestMembersNobodyNeeds(t *testing.T) {
	unneeded := []string{
		"token_type", "scope", "expires_on", "not_before", "ext_expires_in", "refresh_in", "refresh_token_expires_in", "resource", "foci",
		"client_info", "device_tenant_id", "kerberos_top_level_names", "tgt_ad", "tgt_cloud", "tgt_client_key", "tgt_key_type", "tgt_error_code", "anything_new",
	}
	for _, name := range unneeded {
		for kind, value := range values {
			reply := map[string]json.RawMessage{"access_token": json.RawMessage(`"eyJ"`), "expires_in": json.RawMessage(`"3599"`), name: json.RawMessage(value)}
			body, err := json.Marshal(reply)
			require.NoError(t, err)
			r, err := prt.ParseTokens(body)
			require.NoErrorf(t, err, "%s is %s", name, kind)
			require.Equal(t, "eyJ", r.AccessToken.Reveal())
		}
	}
	for kind, value := range values {
		_, err := prt.ParseTokens([]byte(`{"access_token":"eyJ","expires_in":` + value + `}`))
		switch kind {
		case "null", "an empty string", "a number", "a fraction", "a large number", "a negative number":
			require.NoErrorf(t, err, "expires_in is %s", kind)
		default:
			require.ErrorIsf(t, err, prt.ErrReply, "expires_in is %s", kind)
		}
	}
	for _, name := range []string{"access_token", "refresh_token", "id_token", "session_key_jwe"} {
		for kind, value := range values {
			if kind == "null" || kind == "an empty string" || value[0] == '"' {
				continue
			}
			_, err := prt.ParseTokens([]byte(`{"access_token":"eyJ","` + name + `2":1,"` + name + `":` + value + `}`))
			if name == "access_token" { // twice in the object above
				_, err = prt.ParseTokens([]byte(`{"refresh_token":"0.A","access_token":` + value + `}`))
			}
			require.ErrorIsf(t, err, prt.ErrReply, "%s is %s", name, kind)
		}
	}
}

func TestSpellingsOfMembers(t *testing.T) {
	r, err := prt.ParseTokens([]byte("\xef\xbb\xbf" + `{"access_token":"eyJ","expires_in":3599.7,"expires_on":"","refresh_in":"1800.0","scope":["a","b"],
		"kerberos_top_level_names":[".windows.net",".azure.net"],"foci":1,"refresh_token_expires_in":1e300}`))
	require.NoError(t, err)
	require.Equal(t, 3599*time.Second, r.ExpiresIn)
	require.Equal(t, 1800*time.Second, r.RefreshIn)
	require.Equal(t, []string{"a", "b"}, r.Scopes)
	require.Equal(t, ".windows.net,.azure.net", r.TopLevelNames)
	require.Equal(t, "1", r.FamilyID)
	require.Positive(t, r.RefreshExpiresIn)
	require.Zero(t, r.ExpiresOn)
	r, err = prt.ParseTokens([]byte(`{"access_token":"eyJ","foci":"office"}`))
	require.NoError(t, err)
	require.Equal(t, "office", r.FamilyID)

	for _, body := range []string{"\xef\xbb\xbf" + `{"Nonce":"a"}`} {
		n, err := prt.ParseNonce([]byte(body))
		require.NoError(t, err)
		require.Equal(t, "a", n)
	}
	e := prt.ParseError(400, []byte("\xef\xbb\xbf"+`{"error":"invalid_grant","error_codes":["50173"],"suberror":5,"claims":{},"timestamp":1}`))
	require.Equal(t, "invalid_grant", e.Code)
	require.Equal(t, []int{50173}, e.Codes)
}
