package sts

import (
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// hosts answers by the host that is asked, and notes the addresses.
type hosts struct {
	replies map[string]canned
	asked   []*url.URL
	forms   []url.Values // what was sent, for each of asked
}

func (h *hosts) Do(r *http.Request) (*http.Response, error) {
	h.asked = append(h.asked, r.URL)
	var form url.Values
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		if form, err = url.ParseQuery(string(body)); err != nil {
			return nil, err
		}
	}
	h.forms = append(h.forms, form)
	return (&answering{canned: h.replies[r.URL.Host]}).Do(r)
}

// names are the hosts that were asked.
func (h *hosts) names() (out []string) {
	for _, u := range h.asked {
		out = append(out, u.Host)
	}
	return out
}

func clientOf(t *testing.T, h *hosts, cloud Cloud, movable bool) *Client {
	t.Helper()
	c := testClient(t, h)
	c.place.Store(&place{Cloud: cloud, movable: movable, known: cloud.known()})
	return c
}

func refresh(t *testing.T, c *Client) error {
	t.Helper()
	_, err := c.Grant(t.Context(), "t", wire.PathToken, url.Values{"grant_type": {wire.GrantRefreshToken}})
	return err
}

// Nothing is sent to a login host that neither this package nor the public cloud
// knows. The public cloud is asked once.
func TestUnknownHost(t *testing.T) {
	const host = "login.example"
	yes, no := calls["instance"].ok, refused(50049)
	for name, tt := range map[string]struct {
		cloud Cloud
		reply canned
		asked []string // for two requests
	}{
		"the public cloud knows it":         {Cloud{LoginHost: host}, yes, []string{wire.LoginHost, host, host}},
		"the public cloud does not know it": {Cloud{LoginHost: host}, no, []string{wire.LoginHost, wire.LoginHost}},
		"a stranger answers":                {Cloud{LoginHost: host}, strangers["a portal's page"], []string{wire.LoginHost, wire.LoginHost}},
		"the caller vouches for it":         {Cloud{LoginHost: host, InsecureSkipInstanceDiscovery: true}, no, []string{host, host}},
		"Microsoft's, by another name":      {Cloud{LoginHost: "Login.Windows.Net"}, no, []string{"Login.Windows.Net", "Login.Windows.Net"}},
		"Microsoft's, of a government":      {USGovernment, no, []string{"login.microsoftonline.us", "login.microsoftonline.us"}},
		"Microsoft's, sovereign":            {Cloud{LoginHost: "login.sovcloud-identity.fr"}, no, []string{"login.sovcloud-identity.fr", "login.sovcloud-identity.fr"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := &hosts{replies: map[string]canned{wire.LoginHost: tt.reply, tt.cloud.LoginHost: tokens}}
			c := clientOf(t, h, tt.cloud, false)
			told := tt.asked[len(tt.asked)-1] == tt.cloud.LoginHost
			for range 2 {
				if err := refresh(t, c); !told {
					require.ErrorAs(t, err, new(*Error))
				} else {
					require.NoError(t, err)
				}
			}
			require.Equal(t, tt.asked, h.names())
		})
	}

	h := &hosts{replies: map[string]canned{wire.LoginHost: no}}
	c := clientOf(t, h, Cloud{LoginHost: host}, false)
	_, err := c.Visit(t.Context(), Visit{})
	require.ErrorContains(t, err, "the cloud is unknown", "no user is sent there either")
	_, err = c.userRealm(t.Context(), "a@b.example")
	require.ErrorContains(t, err, "the cloud is unknown", "nor is it asked where a password goes")
	require.Equal(t, wire.PathInstance, h.asked[0].Path)
	require.Equal(t, url.Values{
		"api-version":            {"1.1"},
		"authorization_endpoint": {"https://login.example/common/oauth2/v2.0/authorize"},
	}, h.asked[0].Query())
}

// elsewhere is how a cloud refuses the tenant of another one.
func elsewhere(description string) canned {
	return canned{400, nil, `{"error":"invalid_request","error_codes":[90038],"error_description":"AADSTS90038: ` + description + `"}`}
}

// A reply moves the client to a cloud that this package knows, once, and only if
// none was configured.
func TestMovingToAnotherCloud(t *testing.T) {
	const us, cn = "login.microsoftonline.us", "login.partner.microsoftonline.cn"
	for name, tt := range map[string]struct {
		movable bool
		says    string
		asked   []string
	}{
		"a name":                       {true, "The specified tenant 'contoso.example' belongs to the National Cloud 'MicrosoftOnline.US'. Current cloud instance 'microsoftonline.com' does not federate with it.", []string{wire.LoginHost, us}},
		"the current one, then a name": {true, "'microsoftonline.com' does not federate with 'microsoftonline.us'", []string{wire.LoginHost, us}},
		"a login host":                 {true, "redirected to 'login.microsoftonline.us'", []string{wire.LoginHost, us}},
		"China":                        {true, "belongs to 'partner.microsoftonline.cn'", []string{wire.LoginHost, cn}},
		"China, by its former name":    {true, "belongs to 'chinacloudapi.cn'", []string{wire.LoginHost, cn}},
		"nobody knows it":              {true, "belongs to 'evil.example'", []string{wire.LoginHost}},
		"it only begins like one":      {true, "belongs to 'microsoftonline.us.evil.example'", []string{wire.LoginHost}},
		"not quoted":                   {true, "belongs to microsoftonline.us", []string{wire.LoginHost}},
		"the current one":              {true, "belongs to 'microsoftonline.com'", []string{wire.LoginHost}},
		"a cloud is configured":        {false, "belongs to 'microsoftonline.us'", []string{wire.LoginHost}},
	} {
		t.Run(name, func(t *testing.T) {
			h := &hosts{replies: map[string]canned{wire.LoginHost: elsewhere(tt.says), us: tokens, cn: tokens}}
			c := clientOf(t, h, Public, tt.movable)
			err := refresh(t, c)
			require.Equal(t, tt.asked, h.names())
			require.Equal(t, tt.asked[len(tt.asked)-1], c.Cloud().LoginHost)
			if len(tt.asked) > 1 {
				require.NoError(t, err)
				return
			}
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, aadsts.SwitchCloud, e.Verdict)
		})
	}

	h := &hosts{replies: map[string]canned{wire.LoginHost: elsewhere("'microsoftonline.us'"), us: elsewhere("'microsoftonline.cn'"), cn: tokens}}
	require.ErrorContains(t, refresh(t, clientOf(t, h, Public, true)), "another national cloud")
	require.Equal(t, []string{wire.LoginHost, us}, h.names(), "a reply there does not move the client again")
}

// What a refusal says besides does not move the client.
func TestOnlyItsOwnCodeMovesTheClient(t *testing.T) {
	h := &hosts{replies: map[string]canned{wire.LoginHost: {400, nil, `{"error":"invalid_grant","error_codes":[50126],"error_description":"AADSTS50126: 'microsoftonline.us'"}`}}}
	c := clientOf(t, h, Public, true)
	require.ErrorAs(t, refresh(t, c), new(*Error))
	_, err := c.TenantID(t.Context(), "contoso.example")
	require.ErrorAs(t, err, new(*Error))
	_, err = visiting(c).Redeem(t.Context(), "app://x?state=s&error=invalid_grant&error_description=AADSTS50126%3A+%27microsoftonline.us%27")
	require.NotErrorIs(t, err, ErrMoved)
	require.Equal(t, Public, c.Cloud())
}

// The discovery of a tenant and the sign-in page tell its cloud too.
func TestOtherRepliesThatTellTheCloud(t *testing.T) {
	const us = "login.microsoftonline.us"
	h := &hosts{replies: map[string]canned{wire.LoginHost: elsewhere("'microsoftonline.us'"), us: calls["tenant"].ok}}
	id, err := clientOf(t, h, Public, true).TenantID(t.Context(), "contoso.example")
	require.NoError(t, err)
	require.Equal(t, "f3d10000-0000-4000-8000-000000000002", id)
	require.Equal(t, []string{wire.LoginHost, us}, h.names())

	h = &hosts{replies: map[string]canned{wire.LoginHost: {200, nil, `{"issuer":"https://sts.windows.net/f3d10000-0000-4000-8000-000000000002/","cloud_instance_name":"microsoftonline.us"}`}}}
	c := clientOf(t, h, Public, true)
	_, err = c.TenantID(t.Context(), "contoso.example")
	require.NoError(t, err)
	require.Equal(t, USGovernment, c.Cloud(), "the public cloud knows the tenants of the others")

	c = clientOf(t, &hosts{}, Public, true)
	const redirected = "app://x?state=s&error=invalid_request&error_description=AADSTS90038%3A+%27microsoftonline.us%27"
	_, err = visiting(c).Redeem(t.Context(), redirected)
	require.ErrorIs(t, err, ErrMoved)
	require.Equal(t, USGovernment, c.Cloud())
	_, err = visiting(clientOf(t, &hosts{}, Public, false)).Redeem(t.Context(), redirected)
	require.ErrorContains(t, err, "another national cloud", "a cloud is configured")
}

// visiting is a visit of which the page has not answered yet.
func visiting(c *Client) *Page {
	return &Page{c: c, at: c.place.Load(), visit: Visit{Tenant: "t", TokenPath: wire.PathToken, Redirect: "app://x"}, verifier: "v", state: "s"}
}

// The client goes back to where the device was registered, if that is a cloud and
// none was configured.
func TestReturn(t *testing.T) {
	for name, tt := range map[string]struct {
		movable  bool
		endpoint string
		want     Cloud
	}{
		"another cloud":         {true, USGovernment.Login("t", wire.PathToken), USGovernment},
		"the same cloud":        {true, Public.Login("t", wire.PathToken), Public},
		"no cloud":              {true, "https://login.example/t/oauth2/token", Public},
		"no address":            {true, "://", Public},
		"none":                  {true, "", Public},
		"a cloud is configured": {false, USGovernment.Login("t", wire.PathToken), Public},
	} {
		t.Run(name, func(t *testing.T) {
			c := clientOf(t, &hosts{}, Public, tt.movable)
			c.Return(tt.endpoint)
			require.Equal(t, tt.want, c.Cloud())
			require.Equal(t, tt.movable && tt.want.LoginHost == Public.LoginHost, c.place.Load().movable)
		})
	}
}
