package entratest_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

const hardwareSecret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"

// phoneUser is somebody with a phone, a hardware token, or both.
func (c *tc) phoneUser(u entratest.User) entratest.Person {
	c.t.Helper()
	u.Username, u.Password = "pia", password
	require.NoError(c.t, c.s.AddUser(u))
	return entratest.Person{Username: "pia@contoso.example", Password: password}
}

func (c *tc) readSMS(user string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		code, ok := c.s.SMSCode(user)
		if !ok {
			return "", errors.New("no message")
		}
		return code, nil
	}
}

func (c *tc) answerCall(user string, approve bool) func(context.Context) error {
	return func(context.Context) error {
		if !c.s.AnswerCall(user, approve) {
			return errors.New("the phone does not ring")
		}
		return nil
	}
}

// customStrength is a policy that wants one of the combinations for payroll.
func customStrength(combinations ...string) []byte {
	return []byte(`{"value":[` + strings.Replace(string(policyJSON("P", payrollID, "", "")), `"builtInControls":[]`,
		`"builtInControls":[],"authenticationStrength":{"id":"cccccccc-0000-4000-8000-000000000001","displayName":"S","allowedCombinations":["`+strings.Join(combinations, `","`)+`"]}`, 1) + `]}`)
}

func TestSecondFactors(t *testing.T) {
	const phone = "+41 79 123 45 67"
	mfa := []string{"amr_values", "mfa"}
	tests := []struct {
		name     string
		user     entratest.User
		policies []byte
		person   func(*tc, *entratest.Person)
		code     int // of the page that ends it; zero: it succeeds
		more     int // prompts beyond one
	}{
		{"text message", entratest.User{Phone: phone}, nil, func(c *tc, p *entratest.Person) { p.ReadSMS = c.readSMS("pia") }, 0, 0},
		{"call", entratest.User{Phone: phone}, nil, func(c *tc, p *entratest.Person) { p.AnswerCall = c.answerCall("pia", true) }, 0, 1}, // a text message went out first
		{"hardware token", entratest.User{HardwareTOTP: hardwareSecret}, nil, func(_ *tc, p *entratest.Person) { p.HardwareTOTP = hardwareSecret }, 0, 0},
		{"hardware token, chosen over the app", entratest.User{TOTPSecret: totpSecret, HardwareTOTP: hardwareSecret}, nil,
			func(_ *tc, p *entratest.Person) { p.HardwareTOTP = hardwareSecret }, 0, 0},
		{"number match by somebody who signs in with the app", entratest.User{PhoneSignIn: true}, nil, func(c *tc, p *entratest.Person) {
			p.Approve = func(_ context.Context, n int) error { c.s.AnswerNumberMatch("pia", n); return nil }
		}, 0, 0},
		{"call for a strength that wants it", entratest.User{Phone: phone, TOTPSecret: totpSecret}, customStrength("password,voice"),
			func(c *tc, p *entratest.Person) { p.TOTPSecret, p.AnswerCall = totpSecret, c.answerCall("pia", true) }, 0, 0},
		{"hardware token for a strength that wants it", entratest.User{HardwareTOTP: hardwareSecret, TOTPSecret: totpSecret}, customStrength("password,hardwareOath"),
			func(_ *tc, p *entratest.Person) { p.TOTPSecret, p.HardwareTOTP = totpSecret, hardwareSecret }, 0, 0},
		{"number match that signs in, for a strength that wants it", entratest.User{PhoneSignIn: true}, customStrength("deviceBasedPush"), func(c *tc, p *entratest.Person) {
			p.Approve = func(_ context.Context, n int) error { c.s.AnswerNumberMatch("pia", n); return nil }
		}, 0, 0},

		{"wrong code", entratest.User{Phone: phone}, nil, func(_ *tc, p *entratest.Person) {
			p.ReadSMS = func(context.Context) (string, error) { return "000000", nil }
		}, 500121, 0},
		{"call declined", entratest.User{Phone: phone}, nil, func(c *tc, p *entratest.Person) { p.AnswerCall = c.answerCall("pia", false) }, 500121, 0},
		{"call not answered", entratest.User{Phone: phone}, nil, func(_ *tc, p *entratest.Person) {
			p.AnswerCall = func(context.Context) error { return nil }
		}, 500121, 0},
		{"code of the app on the page of the token", entratest.User{HardwareTOTP: hardwareSecret}, nil, func(_ *tc, p *entratest.Person) { p.HardwareTOTP = totpSecret }, 500121, 0},
		{"no phone at hand", entratest.User{Phone: phone}, nil, func(*tc, *entratest.Person) {}, 50076, 0},
		{"strength that takes no text message", entratest.User{Phone: phone}, customStrength("password,softwareOath", "fido2"),
			func(c *tc, p *entratest.Person) { p.ReadSMS = c.readSMS("pia") }, 53003, 0},
		{"strength that takes it beside another first factor", entratest.User{Phone: phone}, customStrength("federatedSingleFactor,sms"),
			func(c *tc, p *entratest.Person) { p.ReadSMS = c.readSMS("pia") }, 53003, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, _ := start(t)
			p := c.phoneUser(tt.user)
			tt.person(c, &p)
			kv := mfa
			if tt.policies != nil {
				c.must(c.s.SetPolicies(tt.policies))
				kv = nil
			}
			to, err := c.tryAuthorize(p, kv...)
			if tt.code != 0 {
				require.Equal(t, tt.code, pageCode(t, err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, 1+tt.more, lastSignIn(c).MFAPrompts)
			r := c.redeemCode(query(t, to).Get("code"))
			require.Equal(t, 200, r.status, "%s", r.body)
			amr := []any{"pwd", "mfa"}
			if strings.Contains(string(tt.policies), "deviceBasedPush") {
				amr = []any{"pwd", "rsa", "mfa"}
			}
			require.Equal(t, amr, jwtClaims(t, r.str("access_token"))["amr"])
		})
	}
}

// signInPage signs in with a password and returns the configuration of the
// page that asks for a second factor.
func (c *tc) signInPage(user string, kv ...string) map[string]any {
	c.t.Helper()
	cfg := config(c.t, c.authorizeQuery(kv...))
	return config(c.t, c.form(onLogin(cfg["urlPost"]), "login", user+"@contoso.example", "passwd", password, "ctx", cfg["sCtx"].(string), "flowToken", cfg["sFT"].(string)))
}

// config reads $Config of a page.
func config(t testing.TB, r *reply) map[string]any {
	t.Helper()
	_, text, ok := strings.Cut(string(r.body), "$Config=")
	require.True(t, ok, "%s", r.body)
	text, _, _ = strings.Cut(text, ";\n//]]>")
	return jsonObject(t, text)
}

func (c *tc) beginAuth(ctx any, method string) *reply {
	return c.json("POST", login+"/common/SAS/BeginAuth", "", map[string]any{"AuthMethodId": method, "Method": "BeginAuth", "ctx": ctx, "flowToken": ctx})
}

func (c *tc) endAuth(ctx any, method, code string) *reply {
	return c.json("POST", login+"/common/SAS/EndAuth", "", map[string]any{"AuthMethodId": method, "Method": "EndAuth", "Ctx": ctx, "FlowToken": ctx, "AdditionalAuthData": code})
}

func (c *tc) pollAuth(ctx, method string) *reply {
	return c.do("GET", login+"/common/SAS/EndAuth?authMethodId="+method, http.Header{"X-Ms-Ctx": {ctx}}, "")
}

func TestSASByPhone(t *testing.T) {
	c, clock := start(t)
	c.phoneUser(entratest.User{Phone: "+41791234567", HardwareTOTP: hardwareSecret})
	finish := func(ctx string) *reply {
		return c.form(login+"/common/SAS/ProcessAuth", "request", ctx, "flowToken", ctx, "mfaAuthMethod", "OneWaySMS")
	}
	cfg := c.signInPage("pia", "amr_values", "mfa")
	ids := map[string]any{}
	for _, p := range cfg["arrUserProofs"].([]any) {
		ids[p.(map[string]any)["authMethodId"].(string)] = p.(map[string]any)["display"]
	}
	require.Equal(t, map[string]any{"HardwareOTP": "Use a code from your hardware token", "OneWaySMS": "+XXXXXXXXX67", "TwoWayVoiceMobile": "+XXXXXXXXX67"}, ids)

	_, sent := c.s.SMSCode("pia")
	require.False(t, sent, "nothing was sent yet")
	b := c.beginAuth(cfg["sCtx"], "OneWaySMS")
	require.Equal(t, true, b.v["Success"], "%s", b.body)
	code, sent := c.s.SMSCode("pia")
	require.True(t, sent)
	wrong := c.endAuth(b.v["Ctx"], "OneWaySMS", "000000")
	require.Equal(t, []any{false, false, 500121.0}, []any{wrong.v["Success"], wrong.v["Retry"], wrong.v["ErrCode"]})
	e := c.endAuth(wrong.v["Ctx"], "OneWaySMS", code)
	require.Equal(t, true, e.v["Success"], "%s", e.body)
	require.Contains(t, finish(e.str("Ctx")).header.Get("Location"), "code=")
	require.Equal(t, false, c.endAuth(wrong.v["Ctx"], "OneWaySMS", code).v["Success"], "a code works once")

	b = c.beginAuth(cfg["sCtx"], "TwoWayVoiceMobile")
	require.Equal(t, true, c.pollAuth(b.str("Ctx"), "TwoWayVoiceMobile").v["Retry"])
	require.True(t, c.s.AnswerCall("pia", true))
	require.False(t, c.s.AnswerCall("pia", true), "it rang once")
	e = c.pollAuth(b.str("Ctx"), "TwoWayVoiceMobile")
	require.Equal(t, true, e.v["Success"], "%s", e.body)
	require.Contains(t, finish(e.str("Ctx")).header.Get("Location"), "code=")

	totp, err := entratest.TOTP(hardwareSecret, clock.Now())
	require.NoError(t, err)
	require.Equal(t, true, c.endAuth(c.beginAuth(cfg["sCtx"], "HardwareOTP").v["Ctx"], "HardwareOTP", totp).v["Success"])
	require.Equal(t, false, c.beginAuth(cfg["sCtx"], "PhoneAppOTP").v["Success"], "the user has none")
	require.Equal(t, false, c.endAuth(cfg["sCtx"], "PhoneAppOTP", totp).v["Success"])

	t.Run("too many wrong codes", func(t *testing.T) {
		b := c.beginAuth(cfg["sCtx"], "OneWaySMS")
		for range 5 {
			require.Equal(t, false, c.endAuth(b.v["Ctx"], "OneWaySMS", "000000").v["Success"])
		}
		_, sent := c.s.SMSCode("pia")
		require.False(t, sent, "the code is void")
	})
	t.Run("too late", func(t *testing.T) {
		b := c.beginAuth(cfg["sCtx"], "OneWaySMS")
		code, _ := c.s.SMSCode("pia")
		clock.Advance(3 * time.Minute)
		require.Contains(t, c.endAuth(b.v["Ctx"], "OneWaySMS", code).str("Message"), "not answered in time")
	})
	t.Run("restricted by a strength", func(t *testing.T) {
		c.must(c.s.SetPolicies(customStrength("password,voice")))
		cfg := c.signInPage("pia")
		require.Len(t, cfg["arrUserProofs"], 1)
		require.Equal(t, "MethodNotSupported", c.beginAuth(cfg["sCtx"], "OneWaySMS").v["ResultValue"])
		require.Equal(t, false, c.endAuth(cfg["sCtx"], "HardwareOTP", totp).v["Success"])
		require.Equal(t, true, c.beginAuth(cfg["sCtx"], "TwoWayVoiceMobile").v["Success"])
	})
}

// approve types the number that the page shows into the user's app.
func (c *tc) approve(user string) func(context.Context, int) error {
	return func(_ context.Context, n int) error {
		if !c.s.AnswerNumberMatch(user, n) {
			return errors.New("nothing to approve")
		}
		return nil
	}
}
