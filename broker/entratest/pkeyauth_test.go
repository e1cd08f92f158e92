package entratest_test

import (
	"encoding/base64"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPKeyAuth(t *testing.T) {
	c, _ := start(t)
	c.agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) PKeyAuth/1.0"
	c.join("alice", 0)
	require.NoError(t, c.s.SetCompliant(c.deviceID, true))
	c.policy(`"compliantDevice"`)

	parameter := regexp.MustCompile(`(\w+)="([^"]*)"`)
	challenge := func() (u string, p map[string]string) {
		cfg := c.authorizeQuery()
		ctx := regexp.MustCompile(`name="ctx" value="([^"]*)"`).FindSubmatch(cfg.body)
		require.NotNil(t, ctx)
		u = login + "/" + c.s.TenantID() + "/login"
		r := c.form(u, "ctx", string(ctx[1]), "login", "alice@contoso.example", "passwd", password)
		require.Equal(t, 401, r.status, "%s", r.body)
		p = map[string]string{}
		for _, m := range parameter.FindAllStringSubmatch(r.header.Get("WWW-Authenticate"), -1) {
			p[m[1]] = m[2]
		}
		require.Equal(t, "1.0", p["Version"])
		require.Contains(t, p["CertAuthorities"], "MS-Organization-Access")
		return u, p
	}
	answer := func(change func(claims map[string]any)) *reply {
		u, p := challenge()
		claims := map[string]any{"aud": u, "nonce": p["nonce"], "iat": "1772442000"}
		change(claims)
		token := compact(map[string]any{"alg": "RS256", "typ": "JWT", "x5c": []string{base64.StdEncoding.EncodeToString(c.cert)}}, claims, rs256(c.device))
		if _, none := claims["none"]; none {
			token = ""
		}
		h := `PKeyAuth Context="` + p["Context"] + `", Version="1.0"`
		if token != "" {
			h = `PKeyAuth AuthToken="` + token + `", Context="` + p["Context"] + `", Version="1.0"`
		}
		return c.do("GET", u, http.Header{"Authorization": {h}}, "")
	}
	r := answer(func(map[string]any) {})
	require.Contains(t, r.header.Get("Location"), "code=", "%s", r.body)
	got := c.redeemCode(query(t, r.header.Get("Location")).Get("code"))
	require.Equal(t, c.deviceID, jwtClaims(t, got.str("access_token"))["deviceid"])

	for name, change := range map[string]func(map[string]any){
		"nonce":    func(m map[string]any) { m["nonce"] = "x" },
		"audience": func(m map[string]any) { m["aud"] = "https://elsewhere.example/" },
		"no time":  func(m map[string]any) { delete(m, "iat") },
	} {
		require.Contains(t, string(answer(change).body), `data-aadsts="50099"`, name)
	}
	require.Contains(t, string(answer(func(m map[string]any) { m["none"] = true }).body), `data-aadsts="50097"`, "no device, and no second challenge")
	c.device = pool()[2]
	require.Contains(t, string(answer(func(map[string]any) {}).body), `data-aadsts="50099"`, "another key")
	c.device = pool()[0]
	require.NoError(t, c.s.DisableDevice(c.deviceID))
	require.Contains(t, string(answer(func(map[string]any) {}).body), `data-aadsts="135011"`)
	c.agent = strings.TrimSuffix(c.agent, " PKeyAuth/1.0")
	_, err := c.tryAuthorize(c.alice())
	require.Equal(t, 50097, pageCode(t, err))
}
