package entratest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// The JSON endpoints by which programs without a browser drive a second factor.
func TestSAS(t *testing.T) {
	c, _ := start(t)
	config := func(r *reply) map[string]any {
		_, text, ok := strings.Cut(string(r.body), "$Config=")
		require.True(t, ok, "%s", r.body)
		text, _, _ = strings.Cut(text, ";\n//]]>")
		return jsonObject(t, text)
	}
	signIn := func(user string) map[string]any {
		cfg := config(c.authorizeQuery("amr_values", "mfa"))
		require.Equal(t, "ConvergedSignIn", cfg["pgid"])
		cfg = config(c.form(onLogin(cfg["urlPost"]), "login", user+"@contoso.example", "passwd", password, "ctx", cfg["sCtx"].(string), "flowToken", cfg["sFT"].(string)))
		require.Equal(t, "ConvergedTFA", cfg["pgid"])
		return cfg
	}
	begin := func(cfg map[string]any, method string) map[string]any {
		return c.json("POST", onLogin(cfg["urlBeginAuth"]), "", map[string]any{"AuthMethodId": method, "Method": "BeginAuth", "ctx": cfg["sCtx"], "flowToken": cfg["sFT"]}).v
	}
	finish := func(cfg, r map[string]any) *reply {
		return c.form(onLogin(cfg["urlPost"]), "request", r["Ctx"].(string), "mfaAuthMethod", "PhoneAppOTP", "flowToken", r["FlowToken"].(string))
	}
	cfg := signIn("alice")
	require.Equal(t, "PhoneAppOTP", cfg["arrUserProofs"].([]any)[0].(map[string]any)["authMethodId"])
	require.Equal(t, false, begin(cfg, "OneWaySMS")["Success"])
	b := begin(cfg, "PhoneAppOTP")
	require.Equal(t, true, b["Success"])
	end := func(b map[string]any, code string) map[string]any {
		return c.json("POST", onLogin(cfg["urlEndAuth"]), "", map[string]any{"AuthMethodId": "PhoneAppOTP", "Method": "EndAuth", "Ctx": b["Ctx"], "FlowToken": b["FlowToken"], "AdditionalAuthData": code}).v
	}
	require.Equal(t, false, end(b, "000000")["Success"])
	code, err := entratest.TOTP(totpSecret, c.s.Now())
	require.NoError(t, err)
	e := end(b, code)
	require.Equal(t, true, e["Success"])
	require.Contains(t, finish(cfg, e).header.Get("Location"), "code=")

	cfg = signIn("carol")
	b = begin(cfg, "PhoneAppNotification")
	n := int(b["Entropy"].(float64))
	require.GreaterOrEqual(t, n, 10)
	poll := func() map[string]any {
		return c.do("GET", onLogin(cfg["urlEndAuth"])+"?authMethodId=PhoneAppNotification&pollCount=1", http.Header{"X-Ms-Ctx": {b["Ctx"].(string)}}, "").v
	}
	require.Equal(t, true, poll()["Retry"])
	require.True(t, c.s.AnswerNumberMatch("carol", n))
	e = poll()
	require.Equal(t, true, e["Success"], e)
	require.Contains(t, finish(cfg, e).header.Get("Location"), "code=")

	// Passwordless: the number prompt is the first factor.
	cfg = config(c.authorizeQuery())
	otc := c.json("POST", onLogin(cfg["urlGetOneTimeCode"]), "", map[string]any{"username": "carol@contoso.example"})
	params := otc.v["RemoteNgcParams"].(map[string]any)
	id := params["SessionIdentifier"].(string)
	status := func() any {
		return c.json("POST", onLogin(cfg["urlSessionState"])+"?code="+id, "", map[string]any{"DeviceCode": id}).v["AuthorizationState"]
	}
	require.EqualValues(t, 0, status())
	require.True(t, c.s.AnswerNumberMatch("carol", int(params["Entropy"].(float64))))
	require.EqualValues(t, 2, status())
	r := c.form(onLogin(cfg["urlPost"]), "code", id, "psRNGCSLK", id, "login", "carol@contoso.example", "ctx", cfg["sCtx"].(string))
	got := c.redeemCode(query(t, r.header.Get("Location")).Get("code"))
	require.Equal(t, []any{"rsa", "mfa"}, jwtClaims(t, got.str("access_token"))["amr"])
	require.Contains(t, c.json("POST", onLogin(cfg["urlGetOneTimeCode"]), "", map[string]any{"username": "alice@contoso.example"}).v, "error")
}
