package interop

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	broker = "29d9ed98-a469-4536-ade2-f981bc1d605e"
	drs    = "urn:ms-drs:enterpriseregistration.windows.net"
)

// device is a device that roadtx joined, with the PRT it got for alice.
type device struct {
	dir, name, id string
}

// roadtx runs the command in the device's directory, which holds its files.
func (d *device) roadtx(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := running.command(t, "roadtx", args...)
	cmd.Dir = d.dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (d *device) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := d.roadtx(t, args...)
	require.NoError(t, err, "roadtx %v\n%s", args, out)
	return out
}

func (d *device) files() []string { return []string{"-c", d.name + ".pem", "-k", d.name + ".key"} }

func (d *device) join(t *testing.T) {
	t.Helper()
	out := d.must(t, "gettokens", "-u", alice, "-p", alicePwd, "-c", broker, "-r", drs)
	require.Contains(t, out, "Tokens were written")
	out = d.must(t, "device", "-a", "join", "-n", d.name, "-d", "contoso.example")
	id := regexp.MustCompile(`Device ID: ([0-9a-f-]{36})`).FindStringSubmatch(out)
	require.NotNil(t, id, out)
	d.id = id[1]
}

// prt asks for a PRT, again while the join is not replicated yet.
func (d *device) prt(t *testing.T, args ...string) {
	t.Helper()
	args = append(append([]string{"prt"}, d.files()...), args...)
	out, err := d.roadtx(t, args...)
	for tries := 0; err != nil && strings.Contains(out, "AADSTS50155") && tries < 3; tries++ {
		out, err = d.roadtx(t, args...)
	}
	require.NoError(t, err, out)
	require.Contains(t, out, "Saved PRT")
}

func newDevice(t *testing.T, name string) *device {
	return &device{dir: t.TempDir(), name: "pc-" + strings.ToLower(strings.ReplaceAll(name, " ", "-"))}
}

// shared is a device with a PRT for the clients that have none of their own.
// Whoever disables it holds the lock.
var shared struct {
	sync.Mutex // guards the state of the device
	once       sync.Once
	device     *device
}

// withDisabled runs before on a device, then disables it and runs after.
func withDisabled(t *testing.T, before func(d *device), after func()) {
	t.Helper()
	withShared(t, func(d *device) {
		before(d)
		d.press(t, "disable-device")
		defer d.press(t, "enable-device")
		after()
	})
}

// withShared runs something on the shared device while nobody disables it.
func withShared(t *testing.T, run func(d *device)) {
	t.Helper()
	shared.once.Do(func() {
		d := &device{dir: filepath.Join(running.dir, "shared"), name: "pc-shared"}
		require.NoError(t, os.Mkdir(d.dir, 0o700))
		d.join(t)
		d.prt(t, "-u", alice, "-p", alicePwd)
		shared.device = d
	})
	require.NotNil(t, shared.device, "the shared device could not be joined")
	shared.Lock()
	defer shared.Unlock()
	run(shared.device)
}

func (d *device) press(t *testing.T, event string) {
	t.Helper()
	running.press(t, event, url.Values{"device": {d.id}})
}

var cookieLine = regexp.MustCompile(`PRT cookie: (\S+)`)

// browser is a browser on the device: it shows the PRT cookie that roadtx made.
func (d *device) browser(t *testing.T) *http.Client {
	t.Helper()
	m := cookieLine.FindStringSubmatch(d.must(t, "prtcookie"))
	require.NotNil(t, m)
	c := *running.http
	c.Transport = withCookie{m[1], c.Transport}
	return &c
}

type withCookie struct {
	cookie string
	next   http.RoundTripper
}

func (w withCookie) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("x-ms-RefreshTokenCredential", w.cookie)
	return w.next.RoundTrip(r)
}

// token reads the claims of the access token that roadtx saved.
func (d *device) token(t *testing.T) map[string]any {
	t.Helper()
	var saved struct {
		AccessToken string `json:"accessToken"`
	}
	text, err := os.ReadFile(filepath.Join(d.dir, ".roadtools_auth"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &saved))
	return claimsOf(t, saved.AccessToken)
}

func TestRoadtx(t *testing.T) {
	t.Parallel()
	const client = "roadtx"
	d := newDevice(t, client)
	flow(t, client, "01 gettokens (ROPC)", func(t *testing.T) string {
		d.must(t, "gettokens", "-u", alice, "-p", alicePwd, "-c", "azcli", "-r", "msgraph")
		require.Equal(t, []any{"pwd"}, d.token(t)["amr"])
		return "token"
	})
	flow(t, client, "02 gettokens --device-code", func(t *testing.T) string {
		cmd := running.command(t, "roadtx", "gettokens", "--device-code", "-c", "azcli", "-r", "msgraph")
		cmd.Dir = d.dir
		cmd.Env = append(cmd.Environ(), "PYTHONUNBUFFERED=1")
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		buf := make([]byte, 4096)
		var text string
		code := regexp.MustCompile(`enter the code (\S+)`)
		for code.FindStringSubmatch(text) == nil {
			n, err := out.Read(buf)
			text += string(buf[:n])
			require.NoError(t, err, text)
		}
		require.NoError(t, person().ApproveDeviceCode(t.Context(), running.http, code.FindStringSubmatch(text)[1]))
		require.NoError(t, cmd.Wait())
		require.Equal(t, "https://graph.microsoft.com/", d.token(t)["aud"])
		return "token"
	})
	flow(t, client, "03 refreshtokento", func(t *testing.T) string {
		d.must(t, "refreshtokento", "-c", "msteams", "-r", "azrm")
		require.Contains(t, d.token(t)["aud"], "https://management.core.windows.net")
		return "token for another client of the family"
	})
	flow(t, client, "04 device -a join", func(t *testing.T) string {
		d.join(t)
		return "certificate"
	})
	if d.id == "" {
		return
	}
	flow(t, client, "05 prt (password)", func(t *testing.T) string {
		d.prt(t, "-u", alice, "-p", alicePwd)
		return "PRT and session key"
	})
	flow(t, client, "06 prt -a renew", func(t *testing.T) string {
		require.Contains(t, d.must(t, "prt", "-a", "renew"), "Saved PRT")
		return "PRT"
	})
	flow(t, client, "07 prtauth", func(t *testing.T) string {
		d.must(t, "prtauth", "-c", "azcli", "-r", "msgraph")
		require.Equal(t, d.id, d.token(t)["deviceid"])
		return "token with the device id"
	})
	flow(t, client, "08 prtauth, blocked by policy", func(t *testing.T) string {
		out, err := d.roadtx(t, "prtauth", "-c", appID, "-r", "api://secrets", "-ru", native)
		require.Error(t, err)
		return sawError(t, out, "AADSTS53003")
	})
	flow(t, client, "09 browserprtauth (Firefox)", func(t *testing.T) string {
		d.must(t, "browserprtauth", "-c", "azcli", "-r", "msgraph")
		require.Equal(t, d.id, d.token(t)["deviceid"])
		return "token with the device id"
	})
	refreshToken := ""
	flow(t, client, "10 prtenrich (Firefox)", func(t *testing.T) string {
		out := d.must(t, "prtenrich", "-u", alice, "--otpseed", aliceOTP)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		require.Contains(t, out, "Got refresh token")
		refreshToken = lines[len(lines)-1]
		return "refresh token with MFA"
	})
	flow(t, client, "11 prt (refresh token)", func(t *testing.T) string {
		d.prt(t, "-r", refreshToken)
		d.must(t, "prtauth", "-c", "azcli", "-r", "msgraph")
		require.Contains(t, d.token(t)["amr"], "mfa")
		return "PRT with the MFA claim"
	})
	flow(t, client, "12 prtenrich --ngcmfa-drs-auth (Firefox)", func(t *testing.T) string {
		d.must(t, "prtenrich", "--ngcmfa-drs-auth", "-u", alice, "--otpseed", aliceOTP)
		require.Contains(t, d.token(t)["amr"], "ngcmfa")
		return "token with ngcmfa"
	})
	flow(t, client, "13 winhello", func(t *testing.T) string {
		require.Contains(t, d.must(t, "winhello", "-k", "hello.key"), "'kid'")
		return "key registered"
	})
	flow(t, client, "14 prt (Hello key)", func(t *testing.T) string {
		d.prt(t, "-u", alice, "-hk", "hello.key")
		d.must(t, "prtauth", "-c", appID, "-r", "api://payroll", "-ru", native)
		require.Contains(t, d.token(t)["amr"], "mfa")
		return "PRT with the MFA claim; an app that wants MFA asks nothing"
	})
	flow(t, client, "15 prt -v3", func(t *testing.T) string {
		d.prt(t, "-v3", "-r", refreshToken)
		d.must(t, "prt", "-a", "renew", "-v3")
		d.must(t, "prtauth", "-v3", "-c", "azcli", "-r", "msgraph")
		require.Equal(t, d.id, d.token(t)["deviceid"])
		return "PRT, renewal and token by protocol 3.0"
	})
	flow(t, client, "16 interactiveauth (Firefox)", func(t *testing.T) string {
		d.must(t, "interactiveauth", "--headless", "-u", alice, "-p", alicePwd, "--otpseed", aliceOTP, "--force-mfa", "-c", "azcli", "-r", "msgraph")
		require.Contains(t, d.token(t)["amr"], "mfa")
		return "token"
	})
	flow(t, client, "17 deviceauth", func(t *testing.T) string {
		out, err := d.roadtx(t, append([]string{"deviceauth", "-t", running.tenantID, "-r", drs, "-c", "29d9ed98-a469-4536-ade2-f981bc1d605e"},
			"--cert-pem", d.name+".pem", "--key-pem", d.name+".key")...)
		require.NoError(t, err, out)
		return "device token"
	})
	flow(t, client, "18 hybriddevice", hybridDevice)
	flow(t, client, "19 wrong password", func(t *testing.T) string {
		out, _ := d.roadtx(t, "gettokens", "-u", bob, "-p", "wrong", "-c", "azcli", "-r", "msgraph")
		return sawError(t, out, "AADSTS50126")
	})
	flow(t, client, "20 disabled device", func(t *testing.T) string {
		d.press(t, "disable-device")
		out, err := d.roadtx(t, "prt", "-a", "renew")
		require.Error(t, err)
		saw := sawError(t, out, "AADSTS135011")
		d.press(t, "enable-device")
		d.must(t, "prt", "-a", "renew")
		return saw + "; renewed again once enabled"
	})
	flow(t, client, "21 device -a delete", func(t *testing.T) string {
		out := d.must(t, append([]string{"device", "-a", "delete"}, d.files()...)...)
		require.Contains(t, out, "Device was deleted")
		for _, dev := range running.state(t).Devices {
			require.NotEqual(t, d.id, dev.ID)
		}
		return "device gone"
	})
	flow(t, client, "22 prt after the device is gone", func(t *testing.T) string {
		out, err := d.roadtx(t, "prt", "-a", "renew")
		require.Error(t, err)
		return sawError(t, out, "AADSTS50155")
	})
}

func sawError(t *testing.T, out, code string) string {
	t.Helper()
	require.Contains(t, out, code)
	return "refused: " + code
}

// hybridDevice joins a computer that directory synchronisation brought.
func hybridDevice(t *testing.T) string {
	d := &device{dir: t.TempDir(), name: "hybrid"}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	const id = "3f6c1d5e-1111-4222-8333-944455566677"
	form := computerOf(t, id, "HYBRID", key)
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	require.NoError(t, os.WriteFile(filepath.Join(d.dir, "hybrid.pem"), []byte(form.Get("certificate")), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(d.dir, "hybrid.key"), keyPEM, 0o600))
	running.press(t, "sync-computer", form)
	out := d.must(t, append([]string{"hybriddevice", "--sid", form.Get("sid"), "-t", running.tenantID}, d.files()...)...)
	require.Contains(t, out, "AAD device ID: "+id)
	for _, dev := range running.state(t).Devices {
		if dev.ID == id {
			require.Equal(t, "ServerAd", dev.TrustType)
			return "certificate"
		}
	}
	t.Fatal("the device is not in the directory")
	return ""
}

// computer is the form that synchronises a computer with a key of its own.
func computer(t *testing.T, id, name string) url.Values {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return computerOf(t, id, name, key)
}

func computerOf(t *testing.T, id, name string, key *rsa.PrivateKey) url.Values {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: id},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return url.Values{"name": {name}, "sid": {"S-1-5-21-1-2-3-1105"}, "certificate": {string(cert)}}
}
