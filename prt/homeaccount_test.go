package prt_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/prt"
)

// homeAccounts are replies with the home account id that MSAL Python 1.39.0 and
// MSAL Go make of them. The module internal/benchpeers asks MSAL Go again.
func homeAccounts(t *testing.T) (rows []struct {
	Name           string
	ClientInfo, ID json.RawMessage
	MSAL           string
}) {
	t.Helper()
	text, err := os.ReadFile("testdata/homeaccounts.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &rows))
	return rows
}

// An account is named by client_info, whatever the id_token says, in every reply.
func TestHomeAccountID(t *testing.T) {
	t.Parallel()
	jwe, _, _ := sessionKeyJWE(t)
	for _, row := range homeAccounts(t) {
		t.Run(row.Name, func(t *testing.T) {
			body := fmt.Appendf(nil, `{"token_type":"Bearer","expires_in":3600,"access_token":"at","refresh_token":"rt","session_key_jwe":%q,"id_token":%q,"client_info":%q}`,
				jwe, idToken(string(row.ID)), base64.RawURLEncoding.EncodeToString(row.ClientInfo))
			r, err := prt.ParseTokens(body)
			require.NoError(t, err)
			require.Equal(t, row.MSAL, r.HomeAccountID())
			i, err := prt.ParseIssuance(body, prt.PRTRequest{Grant: prt.HelloGrant{}}, now)
			require.NoError(t, err)
			require.Equal(t, row.MSAL, i.Token.HomeAccountID())
			saved, err := i.Token.Marshal()
			require.NoError(t, err)
			again, err := prt.UnmarshalToken(saved)
			require.NoError(t, err)
			require.Equal(t, row.MSAL, again.HomeAccountID())
		})
	}
}

// Where there is no client_info the id_token speaks; one that is not readable is
// no leave to guess.
func TestHomeAccountIDWithoutClientInfo(t *testing.T) {
	t.Parallel()
	id := idToken(fmt.Sprintf(idClaims, `["pwd"]`))
	for name, tt := range map[string]struct{ more, want string }{
		"none":         {"", userID + "." + tenantID},
		"without utid": {`,"client_info":"` + base64.RawURLEncoding.EncodeToString([]byte(`{"uid":"u"}`)) + `"`, userID + "." + tenantID},
		"unreadable":   {`,"client_info":"%"`, ""},
		"a number":     {`,"client_info":7`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := prt.ParseTokens([]byte(`{"token_type":"Bearer","access_token":"at","id_token":"` + id + `"` + tt.more + `}`))
			require.NoError(t, err)
			require.Equal(t, tt.want, r.HomeAccountID())
		})
	}
	r, err := prt.ParseTokens([]byte(`{"token_type":"Bearer","access_token":"at"}`))
	require.NoError(t, err)
	require.Empty(t, r.HomeAccountID())
}
