package interop

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRoadtxTokens runs the commands of roadtx that need no PRT.
func TestRoadtxTokens(t *testing.T) {
	t.Parallel()
	const client = "roadtx"
	const graphScope = "https://graph.microsoft.com/.default"
	d := newDevice(t, "tokens")
	flow(t, client, "gettokens, password", func(t *testing.T) string {
		d.must(t, "gettokens", "-u", alice, "-p", alicePwd, "-c", "azcli", "-r", "msgraph")
		require.Equal(t, []any{"pwd"}, d.token(t)["amr"])
		return "token"
	})
	flow(t, client, "gettokens --scope, password", func(t *testing.T) string {
		d.must(t, "gettokens", "-u", alice, "-p", alicePwd, "-c", "azcli", "-s", graphScope+" offline_access openid", "--cae")
		require.Equal(t, []any{"CP1"}, d.token(t)["xms_cc"])
		return "token of the v2.0 endpoint, with CP1"
	})
	flow(t, client, "gettokens, wrong password", func(t *testing.T) string {
		out, _ := d.roadtx(t, "gettokens", "-u", bob, "-p", "wrong", "-c", "azcli", "-r", "msgraph")
		return sawError(t, out, "AADSTS50126")
	})
	flow(t, client, "gettokens, blocked by policy", func(t *testing.T) string {
		out, _ := d.roadtx(t, "gettokens", "-u", bob, "-p", bobPwd, "-c", appID, "-r", "api://secrets")
		return sawError(t, out, "AADSTS53003")
	})
	flow(t, client, "gettokens --device-code", func(t *testing.T) string {
		cmd := running.command(t, "roadtx", "gettokens", "--device-code", "-c", "azcli", "-r", "msgraph")
		cmd.Dir = d.dir
		cmd.Env = append(cmd.Environ(), "PYTHONUNBUFFERED=1")
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		buf := make([]byte, 4096)
		var text string
		code := regexp.MustCompile(`enter the code (\S+)`)
		for code.FindStringSubmatch(text) == nil {
			n, err := out.Read(buf)
			text += string(buf[:n])
			require.NoError(t, err, text)
		}
		require.NoError(t, person().ApproveDeviceCode(t.Context(), running.http, code.FindStringSubmatch(text)[1]))
		require.NoError(t, cmd.Wait())
		require.Equal(t, "https://graph.microsoft.com/", d.token(t)["aud"])
		return "token"
	})
	flow(t, client, "refreshtokento", func(t *testing.T) string {
		d.must(t, "gettokens", "-u", alice, "-p", alicePwd, "-c", "msteams", "-r", "msgraph")
		d.must(t, "refreshtokento", "-c", "d3590ed6-52b3-4102-aeff-aad2292ab01c", "-r", "msgraph")
		require.Equal(t, "https://graph.microsoft.com/", d.token(t)["aud"])
		return "token for another client of the family"
	})
	flow(t, client, "refreshtokento --scope --cae", func(t *testing.T) string {
		d.must(t, "refreshtokento", "-c", "msteams", "-s", graphScope+" offline_access openid", "--cae")
		require.Equal(t, []any{"CP1"}, d.token(t)["xms_cc"])
		return "token of the v2.0 endpoint, with CP1"
	})
	flow(t, client, "refreshtokento, outside the family", func(t *testing.T) string {
		out, err := d.roadtx(t, "refreshtokento", "-c", appID, "-r", "msgraph")
		require.ErrorContains(t, err, "exit status")
		return sawError(t, out, "AADSTS700007")
	})
	flow(t, client, "gettokens --refresh-token", func(t *testing.T) string {
		d.must(t, "gettokens", "-u", alice, "-p", alicePwd, "-c", "azcli", "-r", "msgraph")
		d.must(t, "gettokens", "--refresh-token", "file", "-c", "azcli", "-r", "azrm")
		require.Contains(t, d.token(t)["aud"], "https://management.core.windows.net")
		return "token"
	})
	flow(t, client, "graphrequest", func(t *testing.T) string {
		d.must(t, "gettokens", "-u", alice, "-p", alicePwd, "-c", "azcli", "-r", "msgraph")
		require.Contains(t, d.must(t, "graphrequest", "/v1.0/me"), `"userPrincipalName": "`+alice+`"`)
		return "the user"
	})
	flow(t, client, "describe", func(t *testing.T) string {
		out := d.must(t, "describe", "-t", d.accessToken(t))
		require.Contains(t, out, `"upn": "`+alice+`"`)
		require.Contains(t, out, `"alg": "RS256"`)
		return "the claims of an access token"
	})
	flow(t, client, "gettokens --prt-init", func(t *testing.T) string {
		require.Contains(t, d.must(t, "gettokens", "--prt-init"), "Requested nonce from server to use with ROADtoken: AwAB")
		return "nonce"
	})
	flow(t, client, "gettokens --fido-init", func(t *testing.T) string {
		require.Contains(t, d.must(t, "gettokens", "--fido-init"), "windows hello script: O.")
		return "challenge"
	})
	flow(t, client, "desktopsso", func(t *testing.T) string {
		d.must(t, "desktopsso", "-u", alice, "-p", alicePwd, "-t", "contoso.example", "-r", "msgraph")
		require.Equal(t, alice, d.token(t)["upn"])
		return "token"
	})
	flow(t, client, "desktopsso, wrong password", func(t *testing.T) string {
		out, err := d.roadtx(t, "desktopsso", "-u", alice, "-p", "wrong", "-t", "contoso.example", "-r", "msgraph")
		require.ErrorContains(t, err, "exit status")
		return sawError(t, out, "AADSTS50126")
	})
	federatedTokens(t, client, d)
	codeTokens(t, client, d)
	registrationTokens(t, client, d)
}

// accessToken is the access token that roadtx saved.
func (d *device) accessToken(t *testing.T) string {
	t.Helper()
	var saved struct {
		AccessToken string `json:"accessToken"`
	}
	require.NoError(t, json.Unmarshal(d.saved(t, ".roadtools_auth"), &saved))
	return saved.AccessToken
}

func federatedTokens(t *testing.T, client string, d *device) {
	flow(t, client, "gettokens, federated user (WS-Trust)", func(t *testing.T) string {
		sessions.Lock()
		defer sessions.Unlock()
		d.must(t, "gettokens", "-u", dave, "-p", davePwd, "-c", "azcli", "-r", "msgraph")
		require.Equal(t, []any{"fed"}, d.token(t)["amr"])
		return "token"
	})
	flow(t, client, "gettokens, federated user, wrong password", func(t *testing.T) string {
		out, err := d.roadtx(t, "gettokens", "-u", dave, "-p", "wrong", "-c", "azcli", "-r", "msgraph")
		require.ErrorContains(t, err, "exit status")
		require.Contains(t, out, "ID3242")
		return "refused: SOAP fault ID3242"
	})
	flow(t, client, "gettokens --saml-token", func(t *testing.T) string {
		sessions.Lock()
		defer sessions.Unlock()
		d.input(t, assertion(t, davePwd), "gettokens", "--saml-token", "stdin", "-c", "azcli", "-r", "msgraph")
		require.Equal(t, dave, d.token(t)["upn"])
		return "token"
	})
}

// codeTokens redeems codes that somebody else fetched.
func codeTokens(t *testing.T, client string, d *device) {
	code := func(t *testing.T, app, redirect string) string {
		t.Helper()
		start := "https://login.microsoftonline.com/" + running.tenantID + "/oauth2/v2.0/authorize?" + url.Values{"client_id": {app}, "response_type": {"code"},
			"redirect_uri": {redirect}, "scope": {userRead + " openid offline_access"}}.Encode()
		return running.authorize(t, person(), running.http, start, redirect)["code"]
	}
	flow(t, client, "codeauth", func(t *testing.T) string {
		d.must(t, "codeauth", "-c", appID, "-r", "msgraph", "-ru", native, code(t, appID, native))
		require.Equal(t, alice, d.token(t)["upn"])
		return "token"
	})
	flow(t, client, "codeauth --password (web app)", func(t *testing.T) string {
		d.must(t, "codeauth", "-c", webID, "-p", webSecret, "-r", "msgraph", "-ru", webRedirect, code(t, webID, webRedirect))
		require.Equal(t, "1", d.token(t)["appidacr"])
		return "token"
	})
	flow(t, client, "codeauth --origin (single-page app)", func(t *testing.T) string {
		scope := userRead + " openid offline_access"
		out, err := d.roadtx(t, "codeauth", "-c", spaID, "-s", scope, "-ru", spaRedirect, code(t, spaID, spaRedirect))
		require.ErrorContains(t, err, "exit status")
		saw := sawError(t, out, "AADSTS9002327")
		d.must(t, "codeauth", "-c", spaID, "-s", scope, "-ru", spaRedirect, "--origin", strings.TrimSuffix(spaRedirect, "/"), code(t, spaID, spaRedirect))
		d.must(t, "refreshtokento", "-c", spaID, "-s", scope, "-t", running.tenantID) // with the origin that it saved
		return "token, renewed; without the origin " + saw
	})
	flow(t, client, "clicodeauth", func(t *testing.T) string {
		out := d.input(t, native+"?code="+url.QueryEscape(code(t, appID, native))+"\n", "clicodeauth", "-c", appID, "-r", "msgraph", "-ru", native)
		require.Contains(t, out, "Tokens were written")
		require.Equal(t, alice, d.token(t)["upn"])
		return "token"
	})
}

// registrationTokens are the commands about registering devices in bulk.
func registrationTokens(t *testing.T, client string, d *device) {
	flow(t, client, "bulkenrollmenttoken -a request", func(t *testing.T) string {
		d.must(t, "gettokens", "-u", alice, "-p", alicePwd, "-c", broker, "-r", drs)
		require.Contains(t, d.must(t, "bulkenrollmenttoken", "-a", "request"), "Tokens were written to .bulktoken")
		return "bulk token"
	})
	flow(t, client, "bulkenrollmenttoken -a use, device -a join", func(t *testing.T) string {
		d.must(t, "bulkenrollmenttoken", "-a", "use")
		require.Contains(t, d.token(t)["upn"], "package_")
		require.Contains(t, d.must(t, "device", "-a", "join", "-n", "pc-bulk", "-d", "contoso.example"), "Saved device certificate")
		return "certificate"
	})
	flow(t, client, "device -a register", func(t *testing.T) string {
		d.must(t, "gettokens", "-u", alice, "-p", alicePwd, "-c", broker, "-r", drs)
		require.Contains(t, d.must(t, "device", "-a", "register", "-n", "pc-registered", "-d", "contoso.example"), "Saved device certificate")
		for _, dev := range running.state(t).Devices {
			if dev.DisplayName == "pc-registered" {
				require.Equal(t, "Workplace", dev.TrustType)
				return "certificate"
			}
		}
		t.Fatal("the device is not in the directory")
		return ""
	})
}
