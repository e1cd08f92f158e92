package entratest_test

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

const authenticator = "https://login.microsoftonline.com/emulator/authenticator"

var promptField = regexp.MustCompile(`name="prompt" value="([0-9a-f]+)"`)

// promptID is the one prompt that the authenticator shows.
func (c *tc) promptID() string {
	c.t.Helper()
	found := promptField.FindAllStringSubmatch(string(c.get(authenticator).body), -1)
	require.Len(c.t, found, 1)
	return found[0][1]
}

// The page on which the emulator plays its users' phones.
func TestAuthenticator(t *testing.T) {
	carol := entratest.Person{Username: "carol@contoso.example", Password: password}
	answer := func(c *tc, number int, choice string) string {
		return string(c.form(authenticator, "prompt", c.promptID(), "answer", choice, "number", strconv.Itoa(number)).body)
	}
	tests := []struct {
		name  string
		does  func(c *tc, clock *entratest.Clock, number int)
		code  int
		text  string
		phone bool
	}{
		{name: "right number", does: func(c *tc, _ *entratest.Clock, n int) {
			body := string(c.get(authenticator).body)
			require.Contains(t, body, "carol@contoso.example")
			require.Contains(t, body, "to Payroll?")
			require.Contains(t, body, "1m0s left")
			require.Contains(t, answer(c, n, "approve"), "Approved.")
			require.Contains(t, string(c.get(authenticator).body), "Nothing waits")
		}},
		{name: "wrong number", does: func(c *tc, _ *entratest.Clock, n int) {
			require.Contains(t, answer(c, n+1, "approve"), "Declined.")
		}, code: 500121, text: "Authentication failed"},
		{name: "denied", does: func(c *tc, _ *entratest.Clock, n int) {
			require.Contains(t, answer(c, n, "deny"), "Declined.")
		}, code: 500121, text: "Authentication failed"},
		{name: "nothing", does: func(*tc, *entratest.Clock, int) {}, code: 500121, text: "waiting for your approval"},
		{name: "too late", does: func(c *tc, clock *entratest.Clock, n int) {
			id := c.promptID()
			clock.Advance(time.Minute)
			require.Contains(t, string(c.form(authenticator, "prompt", id, "answer", "approve", "number", strconv.Itoa(n)).body), "That prompt is over")
			require.False(t, c.s.AnswerNumberMatch("carol", n))
		}, code: 500121, text: "not answered in time"},
		{name: "phone sign-in", phone: true, does: func(c *tc, _ *entratest.Clock, n int) {
			require.Contains(t, answer(c, n, "approve"), "Approved.")
		}},
		{name: "phone sign-in, denied", phone: true, does: func(c *tc, _ *entratest.Clock, n int) { answer(c, n, "deny") }, code: 500121, text: "Authentication failed"},
		{name: "phone sign-in, nothing", phone: true, does: func(*tc, *entratest.Clock, int) {}, code: 500121, text: "waiting for your approval"},
		{name: "phone sign-in, too late", phone: true, does: func(_ *tc, clock *entratest.Clock, _ int) { clock.Advance(time.Minute) }, code: 500121, text: "not answered in time"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, clock := start(t)
			p := carol
			p.PhoneSignIn = tt.phone
			p.Approve = func(_ context.Context, n int) error { tt.does(c, clock, n); return nil }
			to, err := c.tryAuthorize(p, "amr_values", "mfa")
			if tt.code != 0 {
				require.Equal(t, tt.code, pageCode(t, err))
				require.ErrorContains(t, err, tt.text)
				return
			}
			require.NoError(t, err)
			amr := []any{"pwd", "mfa"}
			if tt.phone {
				amr = []any{"rsa", "mfa"}
			}
			require.Equal(t, amr, jwtClaims(t, c.redeemCode(query(t, to).Get("code")).str("access_token"))["amr"])
		})
	}
	t.Run("another try shows another number", func(t *testing.T) {
		c, clock := start(t)
		cfg := c.signInPage("carol", "amr_values", "mfa")
		first := c.promptID()
		r := c.form(login+"/common/SAS/ProcessAuth", "ctx", cfg["sCtx"].(string), "mfaAuthMethod", "PhoneAppNotification")
		require.Contains(t, string(r.body), "waiting for your approval")
		require.Equal(t, first, c.promptID(), "the prompt that waits is asked about again")
		clock.Advance(time.Minute)
		r = c.form(login+"/common/SAS/ProcessAuth", "ctx", cfg["sCtx"].(string), "mfaAuthMethod", "PhoneAppNotification")
		require.Contains(t, string(r.body), "not answered in time")
		require.Contains(t, string(c.get(authenticator).body), "Nothing waits", "nobody asked for another")
		r = c.form(login+"/common/SAS/ProcessAuth", "ctx", config(t, r)["sCtx"].(string), "switch", "PhoneAppNotification")
		require.NotEqual(t, first, c.promptID())
		n, err := strconv.Atoi(regexp.MustCompile(`data-number="(\d+)"`).FindStringSubmatch(string(r.body))[1])
		require.NoError(t, err)
		answer(c, n, "approve")
		r = c.form(login+"/common/SAS/ProcessAuth", "ctx", config(t, r)["sCtx"].(string), "mfaAuthMethod", "PhoneAppNotification")
		require.Contains(t, r.header.Get("Location"), "code=")
		require.Equal(t, 2, lastSignIn(c).MFAPrompts)
	})
	t.Run("nothing more is sent after a decline", func(t *testing.T) {
		c, clock := start(t)
		c.phoneUser(entratest.User{Phone: "+41791234567"})
		for _, tt := range []struct {
			user, method, again string
			refuse              func()
		}{
			{"carol", "PhoneAppNotification", "Send another request", func() { c.s.AnswerNumberMatch("carol", 0) }},
			{"pia", "TwoWayVoiceMobile", "Call me again", func() {
				c.s.AnswerCall("pia", false)
				clock.Advance(3 * time.Minute) // past the text message that the first page sent
			}},
			{"pia", "OneWaySMS", "Send another text message", func() { clock.Advance(3 * time.Minute) }},
		} {
			cfg := c.signInPage(tt.user, "amr_values", "mfa")
			post := func(kv ...string) *reply {
				r := c.form(login+"/common/SAS/ProcessAuth", append([]string{"ctx", cfg["sCtx"].(string)}, kv...)...)
				cfg = config(t, r)
				return r
			}
			post("switch", tt.method)
			tt.refuse()
			for range 3 {
				r := post("mfaAuthMethod", tt.method, "otc", "000000")
				require.Equal(t, "500121", aadsts.FindStringSubmatch(string(r.body))[1])
				require.Contains(t, string(r.body), tt.again)
				require.NotContains(t, string(c.get(authenticator).body), tt.user+"@", tt.method)
			}
			require.NotContains(t, string(post("switch", tt.method).body), tt.again)
			require.Contains(t, string(c.get(authenticator).body), tt.user+"@", tt.method)
			clock.Advance(3 * time.Minute)
		}
	})
	t.Run("calls and text messages", func(t *testing.T) {
		c, _ := start(t)
		c.phoneUser(entratest.User{Phone: "+41791234567"})
		cfg := c.signInPage("pia", "amr_values", "mfa")
		code, ok := c.s.SMSCode("pia")
		require.True(t, ok)
		require.Contains(t, string(c.get(authenticator).body), code)
		b := c.beginAuth(cfg["sCtx"], "TwoWayVoiceMobile")
		require.Contains(t, string(c.get(authenticator).body), "phone rings")
		require.Contains(t, string(c.form(authenticator, "prompt", c.promptID(), "answer", "approve").body), "Approved.")
		require.Equal(t, true, c.pollAuth(b.str("Ctx"), "TwoWayVoiceMobile").v["Success"])
	})
	t.Run("in a browser on this machine", func(t *testing.T) {
		c, _ := start(t)
		u, err := c.s.AuthenticatorURL()
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(u, "http://localhost:"), u)
		require.Contains(t, string(c.get(u).body), "Nothing waits")
	})
	t.Run("no app that signs in", func(t *testing.T) {
		c, _ := start(t)
		p := c.alice()
		p.PhoneSignIn = true
		_, err := c.tryAuthorize(p)
		require.Equal(t, 130500, pageCode(t, err))
	})
}
