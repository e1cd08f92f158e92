package interop

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

const (
	erin    = "erin@contoso.example" // signs in by a security key alone
	frank   = "frank@contoso.example"
	keyPwd  = "brass key ring"
	fidoRP  = "login.microsoft.com"
	fidoURL = "https://login.microsoft.com"
)

// pagesTenant is himmelblauTenant with pages that vary, and users with a key.
func pagesTenant(t *testing.T, p entratest.Pages) (*emulator, *entratest.Passkey) {
	t.Helper()
	o, key := pagesOptions(t, p)
	return newEmulator(t, o), key
}

func pagesOptions(t *testing.T, p entratest.Pages) (entratest.Options, *entratest.Passkey) {
	t.Helper()
	key, err := entratest.NewPasskey()
	require.NoError(t, err)
	key.UserHandle = []byte("erin of the key")
	return entratest.Options{
		Pages: p,
		Users: []entratest.User{
			{Username: "alice", Name: "Alice Example", Password: alicePwd, TOTPSecret: aliceOTP},
			{Username: "erin", Password: keyPwd, Passkeys: []entratest.Passkey{*key}},
			{Username: "frank", Password: keyPwd, Phone: "+41 79 123 45 67"},
		},
		Apps: []entratest.App{
			{ClientID: appID, Name: "Desktop app", Public: true, AdminConsent: true, Redirects: []string{loopback, native}},
			{ClientID: payrollID, Name: "Payroll", URIs: []string{"api://payroll"}, PreauthorisedClients: map[string][]string{portalLinux: {"*"}}},
		},
		Policies: []byte(`{"value":[` + policyFor("p1", "Payroll needs MFA", payrollID, "mfa") + `]}`),
	}, key
}

// touch answers what libhimmelblau asks a security key: "FidoKey", the challenge and
// the credentials. It is an authenticator as WebAuthn has it (Level 2, 6.3.3).
func touch(t *testing.T, key *entratest.Passkey, asked string) string {
	t.Helper()
	words := strings.Fields(asked)
	require.Len(t, words, 3, asked)
	require.Equal(t, "FidoKey", words[0])
	id, err := base64.StdEncoding.DecodeString(words[2])
	require.NoError(t, err)
	require.Equal(t, key.ID, id)
	b64 := base64.RawURLEncoding.EncodeToString
	data, err := json.Marshal(map[string]any{"type": "webauthn.get", "challenge": b64([]byte(words[1])), "origin": fidoURL, "crossOrigin": false})
	require.NoError(t, err)
	party, sum := sha256.Sum256([]byte(fidoRP)), sha256.Sum256(data)
	auth := append(party[:], 0x05, 0, 0, 0, 0)
	digest := sha256.Sum256(append(auth[:len(auth):len(auth)], sum[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, key.Key, digest[:])
	require.NoError(t, err)
	out, err := json.Marshal(map[string]string{"id": b64(id), "clientDataJSON": b64(data), "authenticatorData": b64(auth), "signature": b64(sig), "userHandle": b64(key.UserHandle)})
	require.NoError(t, err)
	return string(out)
}

func TestHimmelblauPages(t *testing.T) {
	t.Parallel()
	heavy(t, himmelblauClient)
	row := func(name string, run func(t *testing.T) string) { flow(t, himmelblauClient, name, run) }

	e, key := pagesTenant(t, entratest.Pages{SecurityKeysOnly: true})
	h := newHimmelblau(t, e)
	row("sign-in pages, security key beside a password", func(t *testing.T) string {
		return h.must(t, "answer", erin, touch(t, key, h.must(t, "mfa", erin, keyPwd, payroll, "", "fido")))
	})
	row("sign-in pages, security key in place of a password", func(t *testing.T) string {
		return h.must(t, "answer", erin, touch(t, key, h.must(t, "mfa", erin, "", payroll, "", "fido passwordless-fido")))
	})
	row("sign-in pages, another's security key", func(t *testing.T) string {
		other, err := entratest.NewPasskey()
		require.NoError(t, err)
		other.ID, other.UserHandle = key.ID, key.UserHandle
		return h.refused(t, "AADSTS135003", "answer", erin, touch(t, other, h.must(t, "mfa", erin, keyPwd, payroll, "", "fido")))
	})
	row("enrol with a security key, PRT by refresh token", func(t *testing.T) string {
		got := h.must(t, "answer", erin, touch(t, key, h.must(t, "enrol-mfa", erin, keyPwd, "", "fido")))
		require.Contains(t, got, "with MFA")
		h.must(t, "enrol", "contoso.example", "0", "pc-key")
		h.must(t, "prt-refresh")
		require.Contains(t, h.must(t, "exchange", payroll), "with MFA")
		return "certificate, PRT with the MFA claim"
	})

	e, key = pagesTenant(t, entratest.Pages{SecurityKeysOnly: true, ScriptRedirect: true})
	h = newHimmelblau(t, e)
	row("sign-in pages that end by script, security key", func(t *testing.T) string {
		return h.must(t, "answer", erin, touch(t, key, h.must(t, "mfa", erin, keyPwd, payroll, "", "fido")))
	})
	row("sign-in pages that end by script, code of an app", func(t *testing.T) string {
		h.must(t, "mfa", alice, alicePwd, payroll)
		h.refused(t, "document.location.replace", "answer", alice, h.code(t))
		return "refused: it reads the code from a redirect alone"
	})

	e, _ = pagesTenant(t, entratest.Pages{Intermediate: true, RegistrationCampaign: true})
	h = newHimmelblau(t, e)
	row("sign-in pages with one that posts itself", func(t *testing.T) string {
		require.Equal(t, "PhoneAppOTP", h.must(t, "mfa", alice, alicePwd, payroll))
		return h.must(t, "answer", alice, h.code(t))
	})
	row("sign-in pages, registration put off after a text message", func(t *testing.T) string {
		require.Equal(t, "OneWaySMS", h.must(t, "mfa", frank, keyPwd, payroll))
		code, ok := h.SMSCode("frank")
		require.True(t, ok)
		return h.must(t, "answer", frank, code)
	})
	row("sign-in pages, access pass", func(t *testing.T) string {
		pass, err := h.CreateAccessPass("frank", false)
		require.NoError(t, err)
		require.Equal(t, "AccessPass", h.must(t, "mfa", frank, "", payroll))
		return h.must(t, "answer", frank, pass)
	})
}
