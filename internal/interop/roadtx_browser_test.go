package interop

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const brokerRedirect = "ms-appx-web://Microsoft.AAD.BrokerPlugin/DRS"

// TestRoadtxBrowser runs the commands of roadtx that drive Firefox on the
// sign-in pages; those that need a PRT of alice's are in TestRoadtx.
func TestRoadtxBrowser(t *testing.T) {
	t.Parallel()
	const client = "roadtx"
	d := newDevice(t, "browser")
	as := func(user, password string, more ...string) []string {
		return append([]string{"interactiveauth", "--headless", "-u", user, "-p", password}, more...)
	}
	flow(t, client, "interactiveauth --force-mfa (Firefox)", func(t *testing.T) string {
		d.must(t, as(alice, alicePwd, "--otpseed", aliceOTP, "--force-mfa", "-c", "azcli", "-r", "msgraph")...)
		require.Contains(t, d.token(t)["amr"], "mfa")
		return "token"
	})
	flow(t, client, "interactiveauth -ua --pkce --cae --scope (Firefox)", func(t *testing.T) string {
		d.must(t, as(bob, bobPwd, "-ua", "edge", "--pkce", "--cae", "-c", "azcli", "-s", "https://graph.microsoft.com/.default")...)
		require.Equal(t, []any{"CP1"}, d.token(t)["xms_cc"])
		return "token of the v2.0 endpoint, with CP1"
	})
	flow(t, client, "interactiveauth --federated (Firefox)", func(t *testing.T) string {
		sessions.Lock()
		defer sessions.Unlock()
		d.must(t, as(dave, davePwd, "--federated", "-c", "azcli", "-r", "msgraph")...)
		require.Equal(t, []any{"fed"}, d.token(t)["amr"])
		return "token, by the pages of the federation server"
	})
	flow(t, client, "interactiveauth --estscookie (Firefox)", func(t *testing.T) string {
		cookie := browserSession(t)
		d.must(t, "interactiveauth", "--headless", "--estscookie", cookie, "-c", "azcli", "-r", "msgraph")
		require.Equal(t, alice, d.token(t)["upn"])
		return "token of the session"
	})
	flow(t, client, "interactiveauth --capture-code, devicelessprt (Firefox)", func(t *testing.T) string {
		start := "https://login.microsoftonline.com/common/oauth2/v2.0/authorize?" + url.Values{"client_id": {broker}, "response_type": {"code"},
			"redirect_uri": {brokerRedirect}, "scope": {"openid profile offline_access aza"}}.Encode()
		out := d.must(t, as(bob, bobPwd, "-c", broker, "-ru", brokerRedirect, "-url", start, "--capture-code")...)
		m := regexp.MustCompile(`Captured auth code: (\S+)`).FindStringSubmatch(out)
		require.NotNil(t, m, out)
		require.Contains(t, d.must(t, "devicelessprt", "-ru", brokerRedirect, m[1]), "Saved PRT")
		d.must(t, "prtauth", "-v3", "-c", "azcli", "-r", "msgraph")
		require.Equal(t, bob, d.token(t)["upn"])
		require.NotContains(t, d.token(t), "deviceid")
		return "PRT without a device; token"
	})

	require.NoError(t, os.WriteFile(filepath.Join(d.dir, "keepass.xml"), []byte(keepass), 0o600))
	flow(t, client, "keepassauth --force-mfa (Firefox)", func(t *testing.T) string {
		d.must(t, "keepassauth", "--headless", "-u", alice, "-kp", "keepass.xml", "-c", "azcli", "-r", "msgraph", "--force-mfa")
		require.Contains(t, d.token(t)["amr"], "mfa")
		return "token, with password and code from the file"
	})
	flow(t, client, "keepassauth --device-code (Firefox)", func(t *testing.T) string {
		dc, err := newMSAL(t).AcquireTokenByDeviceCode(t.Context(), []string{userRead})
		require.NoError(t, err)
		d.must(t, "keepassauth", "--headless", "-u", alice, "-kp", "keepass.xml", "-c", "azcli", "-r", "msgraph", "--device-code", dc.Result.UserCode)
		r, err := dc.AuthenticationResult(t.Context())
		require.NoError(t, err)
		require.Equal(t, alice, r.Account.PreferredUsername)
		return "device code approved"
	})
}

// keepass is an export of a password store, as roadtx reads it.
const keepass = `<KeePassFile><Root><Group><Entry><String><Key>UserName</Key><Value>` + alice + `</Value></String><String><Key>Password</Key><Value>` +
	alicePwd + `</Value></String><String><Key>otp</Key><Value>` + aliceOTP + `</Value></String></Entry></Group></Root></KeePassFile>`

// browserSession signs alice in and returns the cookie of her session.
func browserSession(t *testing.T) string {
	t.Helper()
	spy := &cookieSpy{next: running.http.Transport}
	start := "https://login.microsoftonline.com/common/oauth2/authorize?" + url.Values{"client_id": {appID}, "response_type": {"code"},
		"redirect_uri": {native}, "resource": {"https://graph.microsoft.com"}}.Encode()
	running.authorize(t, person(), &http.Client{Transport: spy}, start, native)
	require.NotEmpty(t, spy.session)
	return spy.session
}

// cookieSpy remembers the session cookie that the sign-in service set.
type cookieSpy struct {
	next    http.RoundTripper
	mu      sync.Mutex // guards session
	session string
}

func (s *cookieSpy) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range resp.Cookies() {
		if strings.HasPrefix(c.Name, "ESTSAUTH") {
			s.session = c.Value
		}
	}
	return resp, nil
}
