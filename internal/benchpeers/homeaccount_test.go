package benchpeers

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"
	"github.com/stretchr/testify/require"
)

// oneReply answers token requests by a reply that the test made.
type oneReply struct {
	fakeEntra
	reply map[string]any
	form  map[string]string // of the last token request
}

func (o *oneReply) Do(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(req.URL.Path, "/openid-configuration") {
		return o.fakeEntra.Do(req)
	}
	reply := o.reply
	if strings.Contains(req.URL.Path, "UserRealm") {
		reply = map[string]any{"ver": "1.0", "account_type": "Managed", "domain_name": "contoso.example", "cloud_instance_name": "microsoftonline.com", "cloud_audience_urn": "urn:federation:MicrosoftOnline"}
	} else {
		form, err := requestForm(req)
		if err != nil {
			return nil, err
		}
		o.form = form
	}
	data, err := json.Marshal(reply)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(data)), Request: req}, err
}

// What package prt is held against in its own test: MSAL Go names accounts so.
func TestHomeAccountIDs(t *testing.T) {
	text, err := os.ReadFile("../../prt/testdata/homeaccounts.json")
	require.NoError(t, err)
	var rows []struct {
		Name           string
		ClientInfo, ID map[string]any
		MSAL           string
	}
	require.NoError(t, json.Unmarshal(text, &rows))
	for _, row := range rows {
		t.Run(row.Name, func(t *testing.T) {
			service := &oneReply{reply: map[string]any{
				"token_type": "Bearer", "scope": "User.Read", "expires_in": 3600, "access_token": "at", "refresh_token": "rt",
				"id_token": encode(map[string]any{"alg": "none"}) + "." + encode(row.ID) + ".c2ln", "client_info": encode(row.ClientInfo),
			}}
			c, err := public.New(clientID, public.WithAuthority(authority), public.WithInstanceDiscovery(false), public.WithHTTPClient(service))
			require.NoError(t, err)
			//lint:ignore SA1019 a flow that the client has is a flow to compare
			r, err := c.AcquireTokenByUsernamePassword(t.Context(), []string{"User.Read"}, "alice@contoso.example", "password")
			require.NoError(t, err)
			require.Equal(t, row.MSAL, r.Account.HomeAccountID)
		})
	}
}

// MSAL Go takes scopes of OpenID Connect alone, and names no resource: the service
// answers with a token for Microsoft Graph.
func TestOpenIDScopesNameNoResource(t *testing.T) {
	for _, scopes := range [][]string{{"openid"}, {"email"}, {"profile", "email"}} {
		service := &oneReply{reply: map[string]any{
			"token_type": "Bearer", "scope": "openid profile email", "expires_in": 3600, "access_token": "at", "refresh_token": "rt",
			"id_token": idToken(authority), "client_info": encode(map[string]any{"uid": objectID, "utid": tenantID}),
		}}
		c, err := public.New(clientID, public.WithAuthority(authority), public.WithInstanceDiscovery(false), public.WithHTTPClient(service))
		require.NoError(t, err)
		//lint:ignore SA1019 a flow that the client has is a flow to compare
		_, err = c.AcquireTokenByUsernamePassword(t.Context(), scopes, "alice@contoso.example", "password")
		require.NoError(t, err)
		sent := strings.Fields(service.form["scope"])
		require.Subset(t, []string{"openid", "profile", "email", "offline_access"}, sent)
		require.Subset(t, sent, append([]string{"openid", "profile", "offline_access"}, scopes...))
		require.Empty(t, service.form["resource"])
	}
}
