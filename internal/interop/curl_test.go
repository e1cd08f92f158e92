package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func curl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := running.command(t, "curl", append([]string{"-sS"}, args...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

func openssl(t *testing.T, args ...string) string {
	t.Helper()
	cmd := running.command(t, "openssl", args...)
	cmd.Stdin = strings.NewReader("")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

func curlForm(t *testing.T, form map[string]string) (out struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	Error        string `json:"error"`
	Suberror     string `json:"suberror"`
	Codes        []int  `json:"error_codes"`
}) {
	t.Helper()
	args := []string{"https://login.microsoftonline.com/" + running.tenantID + "/oauth2/v2.0/token"}
	for k, v := range form {
		args = append(args, "--data-urlencode", k+"="+v)
	}
	require.NoError(t, json.Unmarshal([]byte(curl(t, args...)), &out))
	return out
}

func TestCurl(t *testing.T) {
	t.Parallel()
	const client = "curl and OpenSSL"
	flow(t, client, "TLS as login.microsoftonline.com", func(t *testing.T) string {
		host := strings.TrimPrefix(running.proxy, "http://")
		out := openssl(t, "s_client", "-proxy", host, "-connect", "login.microsoftonline.com:443", "-servername", "login.microsoftonline.com",
			"-verify_hostname", "login.microsoftonline.com", "-verify_return_error", "-CAfile", running.caFile)
		require.Contains(t, out, "Verify return code: 0 (ok)")
		return "verified"
	})
	flow(t, client, "a host that is not emulated", func(t *testing.T) string {
		out, err := running.command(t, "curl", "-sS", "https://www.example.org/").CombinedOutput()
		require.ErrorContains(t, err, "exit status")
		require.Contains(t, string(out), "403")
		return "refused by the proxy"
	})
	flow(t, client, "wrong password", func(t *testing.T) string {
		r := curlForm(t, map[string]string{"grant_type": "password", "client_id": appID, "scope": userRead, "username": bob, "password": "wrong"})
		require.Equal(t, []int{50126}, r.Codes)
		return "refused: " + r.Error + ", AADSTS50126"
	})
	flow(t, client, "blocked by policy", func(t *testing.T) string {
		r := curlForm(t, map[string]string{"grant_type": "password", "client_id": appID, "scope": secrets, "username": bob, "password": bobPwd})
		require.Equal(t, []int{53003}, r.Codes)
		return fmt.Sprintf("refused: %s / %s, AADSTS53003", r.Error, r.Suberror)
	})

	d := newDevice(t, "curl")
	d.join(t)
	cert, key := filepath.Join(d.dir, d.name+".pem"), filepath.Join(d.dir, d.name+".key")
	flow(t, client, "device certificate", func(t *testing.T) string {
		text := openssl(t, "x509", "-in", cert, "-noout", "-text")
		require.Contains(t, text, "CN = "+d.id)
		require.Contains(t, text, "MS-Organization-Access")
		require.Contains(t, text, "TLS Web Client Authentication")
		return "subject, issuer and usage as documented"
	})
	flow(t, client, "device certificate, ASN.1", func(t *testing.T) string {
		text := openssl(t, "asn1parse", "-in", cert)
		for _, oid := range []string{"284.2", "284.3", "284.5", "284.7", "284.8"} {
			require.Regexp(t, regexp.QuoteMeta("1.2.840.113556.1.5."+oid), text)
		}
		// The id is an octet string of 16 bytes in long form: 04 81 10.
		require.Regexp(t, `HEX DUMP\]:048110[0-9A-F]{32}`, text)
		return "ids in octet strings of long form (04 81 10)"
	})
	flow(t, client, "disabled device", func(t *testing.T) string {
		d.press(t, "disable-device")
		out := curl(t, "-o", os.DevNull, "-w", "%{http_code}", "--cert", cert, "--key", key, "-X", "GET",
			"https://enterpriseregistration.windows.net/manage/"+running.tenantID+"/"+d.id+"?api-version=1.0")
		require.Equal(t, "401", out)
		d.press(t, "enable-device")
		return "refused: 401 by mutual TLS"
	})
	flow(t, client, "unjoin by mutual TLS", func(t *testing.T) string {
		gone := "https://enterpriseregistration.windows.net/EnrollmentServer/device/" + d.id + "?api-version=1.0"
		require.Equal(t, "401", curl(t, "-o", os.DevNull, "-w", "%{http_code}", "-X", "DELETE", gone), "without a certificate")
		require.Equal(t, "200", curl(t, "-o", os.DevNull, "-w", "%{http_code}", "--cert", cert, "--key", key, "-X", "DELETE", gone))
		return "device gone; 401 without the certificate"
	})
}
