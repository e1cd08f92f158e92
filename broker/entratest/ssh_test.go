package entratest_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A certificate for the virtual machines of Azure, as the ssh extension of the Azure CLI
// and libhimmelblau ask for it; ssh-keygen reads it, and checks the signature.
func TestSSHCertificate(t *testing.T) {
	c, clock := start(t)
	key := pool()[2]
	jwk := func(pub *rsa.PublicKey, pad bool) string {
		enc := base64.RawURLEncoding
		if pad {
			enc = base64.URLEncoding
		}
		out, err := json.Marshal(map[string]string{"kty": "RSA", "n": enc.EncodeToString(pub.N.Bytes()), "e": enc.EncodeToString(big.NewInt(int64(pub.E)).Bytes()), "kid": "kid"})
		require.NoError(t, err)
		return string(out)
	}
	const scope = "https://pas.windows.net/CheckMyAccess/Linux/.default offline_access openid profile"
	rt := c.tokenV2("grant_type", "password", "client_id", azureCLI, "username", "alice@contoso.example", "password", password, "scope", "openid offline_access https://management.core.windows.net//.default").str("refresh_token")
	ask := func(reqCnf string, kv ...string) *reply {
		return c.tokenV2(append([]string{"grant_type", "refresh_token", "client_id", azureCLI, "refresh_token", rt, "scope", scope, "token_type", "ssh-cert", "key_id", "kid", "req_cnf", reqCnf}, kv...)...)
	}
	for _, pad := range []bool{false, true} {
		r := ask(jwk(&key.PublicKey, pad))
		require.Equal(t, 200, r.status, "%s", r.body)
		require.Equal(t, "ssh-cert", r.str("token_type"))
		require.EqualValues(t, 3600, r.v["expires_in"])
		file := filepath.Join(t.TempDir(), "id_rsa-aadcert.pub")
		require.NoError(t, os.WriteFile(file, []byte("ssh-rsa-cert-v01@openssh.com "+r.str("access_token")+"\n"), 0o600))
		if _, err := exec.LookPath("ssh-keygen"); err != nil {
			continue
		}
		cmd := exec.Command("ssh-keygen", "-L", "-f", file)
		cmd.Env = append(os.Environ(), "TZ=UTC")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		const layout = "2006-01-02T15:04:05"
		for _, line := range []string{"user certificate", "(using rsa-sha2-256)", "Key ID: \"" + c.s.Users()[0].ID + "@" + c.s.TenantID() + "\"",
			"alice@contoso.example", "oid@sshservice.azure.net", "tid@sshservice.azure.net", "displayname@sshservice.azure.net", "permit-pty",
			"from " + clock.Now().UTC().Add(-5*time.Minute).Format(layout) + " to " + clock.Now().UTC().Add(time.Hour).Format(layout)} {
			require.Contains(t, string(out), line)
		}
	}
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	for name, r := range map[string]*reply{
		"no key":           ask(""),
		"not JSON":         ask("x"),
		"another kind":     ask(`{"kty":"EC","n":"AQAB","e":"AQAB","kid":"k"}`),
		"a short key":      ask(jwk(&short.PublicKey, false)),
		"no exponent":      ask(`{"kty":"RSA","n":"` + base64.RawURLEncoding.EncodeToString(key.N.Bytes()) + `","e":"","kid":"k"}`),
		"another resource": ask(jwk(&key.PublicKey, false), "scope", "https://graph.microsoft.com/.default"),
	} {
		require.Equal(t, 9002313, r.code(), "%s: %s", name, r.body)
	}
	c.must(c.s.SetPolicies(policies(policyJSON("P", "ce6ff14a-7fdc-4685-bbe0-f6afdfcfa8e0", `"block"`, ""))))
	require.Equal(t, 53003, ask(jwk(&key.PublicKey, false)).code(), "Conditional Access is asked as for a token")
}
