package interop

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"net"
	"net/url"
	"testing"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// The sign-in methods that a browser takes part in, on a phone's screen and by
// the keyboard alone, against an emulator of their own: they change its users.

const phoneWidth = 390

// methodsServer is an emulator with a user for each method.
func methodsServer(t *testing.T, users ...entratest.User) *entratest.Server {
	t.Helper()
	srv := entratest.NewTB(t, entratest.Options{Users: users,
		Apps: []entratest.App{{ClientID: appID, Name: "Desktop app", Public: true, Redirects: []string{native}, URIs: []string{payroll}}}})
	return srv
}

// openEmulator is a browser that reaches an emulator under the real host names.
func openEmulator(t *testing.T, srv *entratest.Server) *page {
	t.Helper()
	_, port, err := net.SplitHostPort(srv.Addr())
	require.NoError(t, err)
	return openBrowser(t, phoneWidth, chromedp.Flag("proxy-server", false), chromedp.Flag("proxy-bypass-list", false),
		chromedp.Flag("no-proxy-server", true), chromedp.Flag("host-resolver-rules", "MAP * 127.0.0.1:"+port))
}

// open goes to the sign-in page for a v1 request with the amr values.
func (p *page) open(t *testing.T, srv *entratest.Server, amr string) {
	t.Helper()
	p.run(t, chromedp.Navigate("https://login.microsoftonline.com/"+srv.TenantID()+"/oauth2/authorize?"+url.Values{"client_id": {appID},
		"response_type": {"code"}, "redirect_uri": {native}, "resource": {payroll}, "amr_values": {amr}, "prompt": {"login"}}.Encode()))
	p.until(t, `document.querySelector("#i0116") !== null`)
}

// signIn types a name and a password.
func (p *page) signIn(t *testing.T, name, password string) {
	t.Helper()
	p.tabTo(t, "#i0116")
	p.typeKeys(t, name)
	p.tabTo(t, "#i0118")
	p.typeKeys(t, password+kb.Enter)
}

// press tabs to a button and presses it.
func (p *page) press(t *testing.T, selector string) {
	t.Helper()
	p.tabTo(t, selector)
	p.typeKeys(t, kb.Enter)
}

// signedIn waits for the end of the sign-in.
func (p *page) signedIn(t *testing.T) {
	t.Helper()
	p.until(t, `location.pathname.endsWith("/nativeclient") && location.search.includes("code=")`)
}

// authenticator is the browser's authenticator with one passkey, made anew.
func (p *page) authenticator(t *testing.T, credential *webauthn.Credential) {
	t.Helper()
	p.run(t, webauthn.Enable(), chromedp.ActionFunc(func(ctx context.Context) error {
		id, err := webauthn.AddVirtualAuthenticator(&webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
		}).Do(ctx)
		if err != nil {
			return err
		}
		return webauthn.AddCredential(id, credential).Do(ctx)
	}))
}

func TestBrowserMethods(t *testing.T) {
	t.Parallel()
	const client = "Chromium"
	flow(t, client, "passkey (WebAuthn), and a clone of it", func(t *testing.T) string {
		key, err := entratest.NewPasskey()
		require.NoError(t, err)
		const id = "dddddddd-0000-4000-8000-000000000001"
		srv := methodsServer(t, entratest.User{Username: "dave", ID: id, Passkeys: []entratest.Passkey{*key}})
		der, err := x509.MarshalPKCS8PrivateKey(key.Key)
		require.NoError(t, err)
		b64 := base64.StdEncoding.EncodeToString
		credential := func(count int64) *webauthn.Credential {
			return &webauthn.Credential{CredentialID: b64(key.ID), IsResidentCredential: true, RpID: "login.microsoft.com",
				PrivateKey: b64(der), UserHandle: b64([]byte(id)), SignCount: count}
		}
		sign := func(p *page, typed bool) {
			p.open(t, srv, "mfa")
			if typed {
				p.tabTo(t, "#i0116")
				p.typeKeys(t, "dave@contoso.example")
			}
			p.press(t, `button[value="passkey"]`)
			p.until(t, `document.querySelector("#use") !== null`)
			require.Equal(t, "login.microsoft.com", p.eval(t, `location.hostname`))
			p.check(t, "passkey")
			p.press(t, "#use")
		}
		p := openEmulator(t, srv)
		p.authenticator(t, credential(5))
		sign(p, true)
		p.signedIn(t)
		sign(p, false) // the passkey knows its user
		p.signedIn(t)
		require.Equal(t, []string{"fido", "rsa", "mfa"}, srv.SignIns()[1].AMR)

		clone := openEmulator(t, srv)
		clone.authenticator(t, credential(5))
		sign(clone, true)
		clone.until(t, `document.querySelector("[role=alert]")?.dataset.aadsts === "135003"`)
		clone.check(t, "passkey-cloned")
		return "signed in with and without a name; the clone refused: AADSTS135003"
	})
	flow(t, client, "number match, typed into the authenticator page", func(t *testing.T) string {
		srv := methodsServer(t, entratest.User{Username: "carol", Password: "paper clip", PhoneSignIn: true})
		p, phone := openEmulator(t, srv), openEmulator(t, srv)
		answer := func(number, button string) {
			phone.run(t, chromedp.Navigate("https://login.microsoftonline.com/emulator/authenticator"))
			phone.until(t, `document.querySelector('input[name="number"]') !== null`)
			phone.check(t, "authenticator")
			phone.tabTo(t, `input[name="number"]`)
			phone.typeKeys(t, number)
			phone.press(t, `button[value="`+button+`"]`)
			phone.until(t, `document.body.innerText.includes("Nothing waits")`)
			phone.check(t, "authenticator-answered")
		}
		shown := func() string {
			p.until(t, `document.querySelector("#number") !== null`)
			return p.eval(t, `document.querySelector("#number").textContent`)
		}
		p.open(t, srv, "mfa")
		p.signIn(t, "carol@contoso.example", "paper clip")
		shown()
		p.check(t, "number")
		answer("", "deny")
		p.press(t, "button.primary")
		p.until(t, `document.querySelector("[role=alert]")?.dataset.aadsts === "500121"`)
		p.check(t, "number-denied")
		p.press(t, `button[value="PhoneAppNotification"]`) // nothing is sent unasked
		answer(shown(), "approve")
		p.press(t, "button.primary")
		p.signedIn(t)

		p.open(t, srv, "mfa")
		p.tabTo(t, "#i0116")
		p.typeKeys(t, "carol@contoso.example")
		p.press(t, `button[value="phone"]`)
		number := shown()
		p.check(t, "phone-sign-in")
		answer(number, "approve")
		p.press(t, "button.primary")
		p.signedIn(t)
		log := srv.SignIns()
		require.Equal(t, []string{"rsa", "mfa"}, log[len(log)-1].AMR)
		return "declined, approved, and in place of a password"
	})
	flow(t, client, "text message and call", func(t *testing.T) string {
		srv := methodsServer(t, entratest.User{Username: "pia", Password: "paper clip", Phone: "+41 79 123 45 67"})
		p := openEmulator(t, srv)
		p.open(t, srv, "mfa")
		p.signIn(t, "pia@contoso.example", "paper clip")
		p.until(t, `document.querySelector("#idTxtBx_SAOTCC_OTC") !== null`)
		p.check(t, "text-message")
		code, ok := srv.SMSCode("pia")
		require.True(t, ok)
		p.run(t, chromedp.Focus("#idTxtBx_SAOTCC_OTC"))
		p.typeKeys(t, code+kb.Enter)
		p.signedIn(t)

		p.open(t, srv, "mfa")
		p.signIn(t, "pia@contoso.example", "paper clip")
		p.until(t, `document.querySelector('button[value="TwoWayVoiceMobile"]') !== null`)
		p.press(t, `button[value="TwoWayVoiceMobile"]`)
		p.until(t, `document.querySelector("#call") !== null`)
		p.check(t, "call")
		phone := openEmulator(t, srv)
		phone.run(t, chromedp.Navigate("https://login.microsoftonline.com/emulator/authenticator"))
		phone.check(t, "authenticator-call")
		phone.press(t, `button[value="approve"]`)
		phone.until(t, `document.body.innerText.includes("Approved.")`)
		p.press(t, "button.primary")
		p.signedIn(t)
		return "signed in with each"
	})
	flow(t, client, "expired password", func(t *testing.T) string {
		srv := methodsServer(t, entratest.User{Username: "erin", Password: "paper clip"})
		require.NoError(t, srv.ExpirePassword("erin"))
		p := openEmulator(t, srv)
		p.open(t, srv, "")
		p.signIn(t, "erin@contoso.example", "paper clip")
		change := func(old, next string) {
			p.until(t, `document.querySelector("#newPassword") !== null`)
			p.tabTo(t, "#currentPassword")
			p.typeKeys(t, old)
			p.tabTo(t, "#newPassword")
			p.typeKeys(t, next)
			p.tabTo(t, "#confirmNewPassword")
			p.typeKeys(t, next+kb.Enter)
		}
		p.until(t, `document.querySelector("#newPassword") !== null`)
		p.check(t, "changepassword")
		change("paper clip", "paper clip")
		p.until(t, `document.querySelector("[role=alert]") !== null`)
		p.check(t, "changepassword-refused")
		change("paper clip", "another clip")
		p.signedIn(t)
		return "changed, then signed in"
	})
}
