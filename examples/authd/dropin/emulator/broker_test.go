//go:build withmsentraid

package emulator_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	authdbroker "github.com/canonical/authd/authd-oidc-brokers/internal/broker"
	"github.com/canonical/authd/authd-oidc-brokers/internal/providers/msentraid/himmelblau"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/examples/authd"
)

// A login is a session of authd's broker, as PAM drives it.
type login struct {
	t       *testing.T
	b       *authdbroker.Broker
	id, key string
}

// layouts are what authd's PAM module can show.
var layouts = []map[string]string{
	{"type": "form", "entry": "optional:chars,chars_password", "wait": "optional:true,false"},
	{"type": "qrcode", "wait": "true"},
	{"type": "newpassword", "entry": "chars_password"},
}

func begin(t *testing.T, b *authdbroker.Broker, user string) *login {
	t.Helper()
	id, key, err := b.NewSession(user, "C", "login", "")
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.EndSession(id) })
	return &login{t, b, id, key}
}

// choose takes a mode, which authd must offer, and returns what is shown.
func (l *login) choose(mode string) map[string]string {
	l.t.Helper()
	modes, err := l.b.GetAuthenticationModes(l.id, layouts)
	require.NoError(l.t, err)
	var offered []string
	for _, m := range modes {
		offered = append(offered, m["id"])
	}
	require.Contains(l.t, offered, mode)
	layout, err := l.b.SelectAuthenticationMode(l.id, mode)
	require.NoError(l.t, err)
	return layout
}

// answer gives authd what the user typed.
func (l *login) answer(secret string) (access, data string) {
	l.t.Helper()
	raw, err := base64.StdEncoding.DecodeString(l.key)
	require.NoError(l.t, err)
	key, err := x509.ParsePKIXPublicKey(raw)
	require.NoError(l.t, err)
	sealed, err := rsa.EncryptOAEP(sha512.New(), rand.Reader, key.(*rsa.PublicKey), []byte(secret), nil)
	require.NoError(l.t, err)
	in, err := json.Marshal(map[string]string{authdbroker.AuthDataSecret: base64.StdEncoding.EncodeToString(sealed)})
	require.NoError(l.t, err)
	access, data, err = l.b.IsAuthenticated(l.id, string(in))
	require.NoError(l.t, err)
	return access, data
}

// authd's broker, as it is, with its configuration and its files: a first login with
// password and MFA, a later one with the local password, and what the administrator of
// the tenant does to the device in between.
func TestBroker(t *testing.T) {
	entra := entratest.NewTB(t, entratest.Options{
		ReplicationLag: -1, Policies: []byte(policy),
		Users: []entratest.User{
			{Username: "alice", Name: "Alice Example", Password: secret, TOTPSecret: "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"},
			{Username: "carol", Name: "Carol Example", Password: secret, NumberMatch: true},
		},
		Groups: []entratest.Group{{Name: "linux-admins", Members: []string{"alice", "carol"}}},
		Apps:   []entratest.App{{ClientID: app, Name: "authd", Public: true, AdminConsent: true, Redirects: []string{broker.NativeClientRedirect}}},
	})
	http.DefaultTransport = entra.HTTPTransport()
	http.DefaultClient.Transport = http.DefaultTransport
	restart := func() { // authd's service
		himmelblau.Use(t, authd.New(authd.Config{Transport: entra.Transport()}))
	}
	restart()

	dir := t.TempDir()
	config := filepath.Join(dir, "broker.conf")
	require.NoError(t, os.WriteFile(config, []byte("[oidc]\nissuer = https://login.microsoftonline.com/"+entra.TenantID()+"/v2.0\nclient_id = "+app+
		"\n[msentraid]\nregister_device = true\n[users]\nallowed_users = ALL\nhome_base_dir = /home\n[flows]\nentra_password = true\n"), 0o600))
	b, err := authdbroker.New(authdbroker.Config{ConfigFile: config, DataDir: filepath.Join(dir, "data")}, 2)
	require.NoError(t, err)

	t.Run("password_and_code", func(t *testing.T) {
		l := begin(t, b, "alice@contoso.example")
		l.choose("entra_password")
		access, data := l.answer("guess")
		require.Equal(t, authdbroker.AuthRetry, access, data)
		access, data = l.answer(secret)
		require.Equal(t, authdbroker.AuthNext, access, data)
		l.choose("entra_mfa_code")
		access, data = l.answer("000000")
		require.Equal(t, authdbroker.AuthRetry, access, data)
		code, _, err := entra.OneTimeCode("alice")
		require.NoError(t, err)
		access, data = l.answer(code)
		require.Equal(t, authdbroker.AuthGranted, access, data)
		require.Contains(t, data, `"alice@contoso.example"`)
		require.Contains(t, data, `"admins"`)
		require.Len(t, entra.Devices(), 1)
	})
	t.Run("password_and_number", func(t *testing.T) {
		l := begin(t, b, "carol@contoso.example")
		l.choose("entra_password")
		access, data := l.answer(secret)
		require.Equal(t, authdbroker.AuthNext, access, data)
		shown := l.choose("entra_mfa_wait")
		number, err := strconv.Atoi(regexp.MustCompile(`\d+`).FindString(shown["label"]))
		require.NoError(t, err, shown)
		require.True(t, entra.AnswerNumberMatch("carol", number))
		access, data = l.answer("")
		require.Equal(t, authdbroker.AuthGranted, access, data)
		require.Contains(t, data, `"admins"`)
	})

	// later is a login with the password that authd keeps.
	later := func(t *testing.T) (access, data string) {
		restart()
		l := begin(t, b, "alice@contoso.example")
		l.choose("password")
		return l.answer(secret)
	}
	t.Run("later_by_the_kept_PRT", func(t *testing.T) {
		prts, from := len(entra.PRTs()), len(entra.SignIns())
		access, data := later(t)
		require.Equal(t, authdbroker.AuthGranted, access, data)
		require.Contains(t, data, `"admins"`)
		require.Len(t, entra.PRTs(), prts)
		for _, s := range entra.SignIns()[from:] {
			require.Zero(t, s.MFAPrompts)
		}
	})
	t.Run("later_while_tokens_cannot_be_had", func(t *testing.T) {
		devices := len(entra.Devices())
		defer entra.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.Status, Status: http.StatusBadGateway, Times: -1,
			Match: func(r *http.Request) bool { return r.PostForm.Get("request") != "" }})()
		access, data := later(t)
		require.Equal(t, authdbroker.AuthGranted, access, data)
		require.Contains(t, data, `"admins"`, "the groups that authd knows")
		require.Len(t, entra.Devices(), devices)
	})
	t.Run("later_as_before", func(t *testing.T) {
		access, data := later(t)
		require.Equal(t, authdbroker.AuthGranted, access, data)
		require.Len(t, entra.Devices(), 2, "no registration was given up")
	})
	t.Run("the_device_is_disabled", func(t *testing.T) {
		for _, d := range entra.Devices() {
			require.NoError(t, entra.DisableDevice(d.ID))
		}
		access, data := later(t)
		require.Equal(t, authdbroker.AuthDenied, access, data)
		require.Contains(t, data, "disabled")
	})
}
