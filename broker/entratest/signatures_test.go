package entratest_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/testkeys"
)

// A sign-in is one RSA signature, that of the access token. The id_token is another at
// the v2 endpoint alone, and only where openid was asked for; at v1 it comes always, and is unsigned.
// The test is not parallel, so that nothing else signs meanwhile.
func TestSignatures(t *testing.T) {
	c, _ := start(t)
	c.joined()
	signIn := func(kv ...string) []string {
		return append([]string{"grant_type", "password", "client_id", payrollID, "username", "alice@" + c.s.Domain(), "password", password}, kv...)
	}
	refresh := c.refreshToken()
	for _, tt := range []struct {
		name       string
		do         func() *reply
		signatures int64
		idToken    string // its header; "": there is none
	}{
		{"v1, password", func() *reply { return c.token(signIn("resource", "api://payroll")...) }, 1, "none"},
		{"v1, password, openid", func() *reply { return c.token(signIn("resource", "api://payroll", "scope", "openid")...) }, 1, "none"},
		{"v2, password", func() *reply { return c.tokenV2(signIn("scope", "api://payroll/.default")...) }, 1, ""},
		{"v2, password, openid", func() *reply { return c.tokenV2(signIn("scope", "openid api://payroll/.default")...) }, 2, "RS256"},
		{"v1, refresh token", func() *reply { return c.refresh(payrollID, refresh, "resource", "api://payroll") }, 1, "none"},
		{"by the PRT", func() *reply { return c.exchange(payrollID, "api://payroll") }, 1, "none"},
		{"on the pages", func() *reply { return c.interactive(c.alice(), payrollID, nativeURI, "api://payroll") }, 1, "none"},
		{"a nonce", func() *reply { return c.token("grant_type", "srv_challenge") }, 0, ""},
		{"a wrong password", func() *reply {
			return c.token("grant_type", "password", "client_id", payrollID, "username", "bob", "password", "wrong")
		}, 0, ""},
	} {
		before := testkeys.TokenSigning().Signatures()
		r := tt.do()
		require.Equal(t, tt.signatures, testkeys.TokenSigning().Signatures()-before, "%s: %s", tt.name, r.body)
		id := r.str("id_token")
		if tt.idToken == "" {
			require.Empty(t, id, tt.name)
			continue
		}
		header, err := base64.RawURLEncoding.DecodeString(strings.Split(id, ".")[0])
		require.NoError(t, err, tt.name)
		require.Contains(t, string(header), `"alg":"`+tt.idToken+`"`, tt.name)
		require.Equal(t, tt.idToken == "none", strings.HasSuffix(id, "."), tt.name)
	}
}
