package entratest_test

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/claims"
)

// What each way to sign in leaves in a PRT: the methods that Conditional Access
// judges by, the amr that tokens show, and the time of MFA.
func TestMethodsOfAPRT(t *testing.T) {
	const device = claims.MarkRSA // a PRT is born of a request that the device key signed
	mfa := []string{"amr_values", "mfa"}
	pia := entratest.User{Username: "pia", Password: password, Phone: "+41791234567", HardwareTOTP: hardwareSecret, TOTPSecret: totpSecret, PhoneSignIn: true}
	basic := entratest.Person{Username: "pia@contoso.example", Password: password}
	interactive := func(kv []string, with func(*tc, *entratest.Person)) func(*tc) *reply {
		return func(c *tc) *reply {
			p := basic
			with(c, &p)
			rt := c.interactive(p, brokerClient, brokerURI, updatePRT, kv...)
			require.Equal(c.t, 200, rt.status, "%s", rt.body)
			return c.refreshPRT(rt.str("refresh_token"))
		}
	}
	tests := []struct {
		name    string
		born    func(*tc) *reply
		methods claims.Methods
		amr     []any
		bornOf  string
	}{
		{"password", func(c *tc) *reply { return c.passwordPRT("pia") }, claims.Password, []any{"pwd", "rsa"}, "password"},
		{"password on the pages", interactive(nil, func(*tc, *entratest.Person) {}), claims.Password, []any{"pwd", "rsa"}, "refresh token"},
		{"code of an app", interactive(mfa, func(_ *tc, p *entratest.Person) { p.TOTPSecret = totpSecret }), claims.Password | claims.SoftwareOATH | claims.MarkMFA, []any{"pwd", "rsa", "mfa"}, "refresh token"},
		{"code of a token", interactive(mfa, func(_ *tc, p *entratest.Person) { p.HardwareTOTP = hardwareSecret }), claims.Password | claims.HardwareOATH | claims.MarkMFA, []any{"pwd", "rsa", "mfa"}, "refresh token"},
		{"number match", interactive(mfa, func(c *tc, p *entratest.Person) { p.Approve = c.approve("pia") }), claims.Password | claims.AuthenticatorPush | claims.MarkMFA, []any{"pwd", "rsa", "mfa"}, "refresh token"},
		{"text message", interactive(mfa, func(c *tc, p *entratest.Person) { p.ReadSMS = c.readSMS("pia") }), claims.Password | claims.SMS | claims.MarkMFA, []any{"pwd", "rsa", "mfa"}, "refresh token"},
		{"call", interactive(mfa, func(c *tc, p *entratest.Person) { p.AnswerCall = c.answerCall("pia", true) }), claims.Password | claims.Voice | claims.MarkMFA, []any{"pwd", "rsa", "mfa"}, "refresh token"},
		{"phone sign-in", interactive(nil, func(c *tc, p *entratest.Person) { p.PhoneSignIn, p.Approve = true, c.approve("pia") }), claims.DeviceBasedPush | claims.MarkMFA, []any{"rsa", "mfa"}, "refresh token"},
		{"passkey", interactive(nil, func(c *tc, p *entratest.Person) {
			key, err := entratest.NewPasskey()
			c.must(err)
			c.must(c.s.AddPasskey("pia", *key))
			p.Passkey = key
		}), claims.FIDO2 | claims.MarkMFA, []any{"fido", "rsa", "mfa"}, "refresh token"},
		{"access pass for one use", interactive(nil, func(c *tc, p *entratest.Person) {
			pass, err := c.s.CreateAccessPass("pia", true)
			c.must(err)
			p.AccessPass = pass
		}), claims.TemporaryAccessPassOneTime | claims.MarkMFA, []any{"rsa", "otp", "mfa"}, "refresh token"},
		{"access pass", interactive(nil, func(c *tc, p *entratest.Person) {
			pass, err := c.s.CreateAccessPass("pia", false)
			c.must(err)
			p.AccessPass = pass
		}), claims.TemporaryAccessPassMultiUse | claims.MarkMFA, []any{"rsa", "otp", "mfa"}, "refresh token"},
		{"certificate on the pages", interactive(nil, func(c *tc, p *entratest.Person) { p.Password, p.Certificate = "", c.certificate("pia", true) }), claims.CertificateMultiFactor | claims.MarkMFA, []any{"rsa", "mfa"}, "refresh token"},
		{"certificate, single factor", interactive(nil, func(c *tc, p *entratest.Person) { p.Password, p.Certificate = "", c.certificate("pia", false) }), claims.CertificateSingleFactor, []any{"rsa"}, "refresh token"},
		{"password and certificate", interactive(mfa, func(c *tc, p *entratest.Person) { p.Certificate = c.certificate("pia", false) }), claims.Password | claims.CertificateSingleFactor | claims.MarkMFA, []any{"pwd", "rsa", "mfa"}, "refresh token"},
		{"certificate, by an assertion", func(c *tc) *reply {
			return c.prtRequest(map[string]any{"grant_type": jwtBearer, "assertion": c.certificateAssertion(c.certificate("pia", true), nil, map[string]any{"iss": "pia@contoso.example"})})
		}, claims.CertificateMultiFactor | claims.MarkMFA, []any{"rsa", "mfa"}, "certificate"},
		{"federation server, password", func(c *tc) *reply {
			a := assertionOf(c.t.(*testing.T), c.soap("2005", "frida@fed.example", password, "urn:federation:MicrosoftOnline", ""))
			return c.prtRequest(map[string]any{"grant_type": "urn:ietf:params:oauth:grant-type:saml1_1-bearer", "assertion": base64.StdEncoding.EncodeToString([]byte(a))})
		}, claims.FederatedSingleFactor, []any{"fed", "rsa"}, "federation"},
		{"federation server, password and code", interactive(nil, func(_ *tc, p *entratest.Person) { p.Username, p.TOTPSecret = "frida@fed.example", hardwareSecret }),
			claims.FederatedSingleFactor | claims.FederatedMultiFactor | claims.MarkMFA, []any{"fed", "rsa", "mfa"}, "refresh token"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, clock := federated(t, "")
			require.NoError(t, c.s.AddUser(pia))
			c.join("alice", 0)
			clock.Advance(time.Hour)
			born := clock.Now()
			r := tt.born(c)
			require.Equal(t, 200, r.status, "%s", r.body)
			require.Equal(t, tt.amr, jwtClaims(t, r.str("id_token"))["amr"])
			require.Equal(t, tt.methods|device, c.s.LastPRTMethods(), "%s", c.s.LastPRTMethods())
			prts := c.s.PRTs()
			prt := prts[len(prts)-1]
			require.Equal(t, tt.bornOf, prt.BornOf)
			require.Equal(t, tt.methods&claims.MarkMFA != 0, prt.MFA)
			c.usePRT(r)
			clock.Advance(time.Minute)
			require.Equal(t, 200, c.renew().status)
			prts = c.s.PRTs()
			prt = prts[len(prts)-1]
			require.Equal(t, 1, prt.Renewals)
			if prt.MFA {
				require.Equal(t, born.UTC(), prt.MFATime, "a renewal does not move it")
			} else {
				require.Zero(t, prt.MFATime)
			}
		})
	}
}
