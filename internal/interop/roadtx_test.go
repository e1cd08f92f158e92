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

	prtbroker "github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
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

// imported hands the files that roadtx wrote to this project's broker, which signs
// alice in on that device.
func (d *device) imported(t *testing.T) string {
	t.Helper()
	keys, err := softkeys.Open(softkeys.Secret(make([]byte, 32)))
	require.NoError(t, err)
	b, err := prtbroker.New(t.Context(), prtbroker.Config{Tenant: "contoso.example", App: prtbroker.App{ClientID: appID}, Keys: keys, Transport: running.http})
	require.NoError(t, err)
	defer func() { _, _ = b.Close(), keys.Close() }()
	got, err := b.ImportDevice(t.Context(), prtbroker.DeviceImport{Certificate: d.saved(t, d.name+".pem"), Key: d.saved(t, d.name+".key")})
	require.NoError(t, err)
	require.Equal(t, d.id, got.ID)
	require.Equal(t, running.tenantID, got.TenantID)
	_, err = b.SignIn(t.Context(), prtbroker.Password{Username: alice, Password: alicePwd})
	require.NoError(t, err)
	res, err := b.AcquireTokenSilent(t.Context(), []string{userRead})
	require.NoError(t, err)
	require.Equal(t, d.id, claimsOf(t, res.AccessToken)["deviceid"])
	return "signed in, token with the device id"
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

// input runs roadtx with something to read.
func (d *device) input(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := running.command(t, "roadtx", args...)
	cmd.Dir, cmd.Stdin = d.dir, strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "roadtx %v\n%s", args, out)
	return string(out)
}

// saved reads a file that roadtx wrote.
func (d *device) saved(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, name))
	require.NoError(t, err)
	return text
}

// savedPRT reads the PRT and the session key, in hex, that roadtx saved.
func (d *device) savedPRT(t *testing.T) (prt, key string) {
	t.Helper()
	var saved struct {
		PRT string `json:"refresh_token"`
		Key string `json:"session_key"`
	}
	require.NoError(t, json.Unmarshal(d.saved(t, "roadtx.prt"), &saved))
	return saved.PRT, saved.Key
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
	return claimsOf(t, d.accessToken(t))
}

func TestRoadtx(t *testing.T) {
	t.Parallel()
	const client = "roadtx"
	d := newDevice(t, client)
	flow(t, client, "device -a join", func(t *testing.T) string {
		d.join(t)
		return "certificate"
	})
	if d.id == "" {
		return
	}
	flow(t, client, "device -a join, then ImportDevice of this project", func(t *testing.T) string { return d.imported(t) })
	flow(t, client, "prt, password", func(t *testing.T) string {
		d.prt(t, "-u", alice, "-p", alicePwd)
		return "PRT and session key"
	})
	flow(t, client, "prt -a renew", func(t *testing.T) string {
		require.Contains(t, d.must(t, "prt", "-a", "renew"), "Saved PRT")
		return "PRT"
	})
	flow(t, client, "prtauth", func(t *testing.T) string {
		d.must(t, "prtauth", "-c", "azcli", "-r", "msgraph")
		require.Equal(t, d.id, d.token(t)["deviceid"])
		return "token with the device id"
	})
	flow(t, client, "prt -a renew --prt -s, into another file", func(t *testing.T) string {
		prt, key := d.savedPRT(t)
		require.Contains(t, d.must(t, "prt", "-a", "renew", "--prt", prt, "-s", key, "-f", "other.prt"), "Saved PRT")
		d.must(t, "prtauth", "-f", "other.prt", "-c", "azcli", "-r", "msgraph")
		require.Equal(t, d.id, d.token(t)["deviceid"])
		return "PRT"
	})
	flow(t, client, "prtauth, other resources", func(t *testing.T) string {
		for resource, aud := range map[string]string{"azrm": "https://management.core.windows.net/", "outlook": "https://outlook.office.com/", "drs": drs} {
			d.must(t, "prtauth", "-c", "aadps", "-r", resource)
			require.Equal(t, aud, d.token(t)["aud"])
		}
		return "tokens for management, mail and device registration"
	})
	flow(t, client, "gettokens --prt --prt-sessionkey", func(t *testing.T) string {
		prt, key := d.savedPRT(t)
		d.must(t, "gettokens", "--prt", prt, "--prt-sessionkey", key, "-c", "azcli", "-r", "msgraph")
		require.Equal(t, d.id, d.token(t)["deviceid"])
		return "token with the device id"
	})
	flow(t, client, "gettokens --prt --kdf-v1", func(t *testing.T) string {
		prt, key := d.savedPRT(t)
		require.Contains(t, d.must(t, "gettokens", "--prt", prt, "--prt-sessionkey", key, "--kdf-v1", "-c", "azcli", "-r", "msgraph"), "No authentication code was returned")
		return "no code: the PRT was issued for the second derivation"
	})
	flow(t, client, "gettokens --prt-cookie", func(t *testing.T) string {
		m := cookieLine.FindStringSubmatch(d.must(t, "prtcookie"))
		require.NotNil(t, m)
		d.must(t, "gettokens", "--prt-cookie", m[1], "-c", "azcli", "-r", "msgraph")
		require.Equal(t, d.id, d.token(t)["deviceid"])
		return "token with the device id"
	})
	flow(t, client, "prt --saml-token", func(t *testing.T) string {
		sessions.Lock()
		defer sessions.Unlock()
		require.Contains(t, d.input(t, assertion(t, davePwd), append([]string{"prt", "--saml-token", "stdin", "-f", "dave.prt"}, d.files()...)...), "Saved PRT")
		d.must(t, "prtauth", "-f", "dave.prt", "-c", "azcli", "-r", "msgraph")
		require.Equal(t, dave, d.token(t)["upn"])
		require.Equal(t, d.id, d.token(t)["deviceid"])
		return "PRT of a federated user"
	})
	flow(t, client, "prtauth, blocked by policy", func(t *testing.T) string {
		out, err := d.roadtx(t, "prtauth", "-c", appID, "-r", "api://secrets", "-ru", native)
		require.ErrorContains(t, err, "exit status")
		return sawError(t, out, "AADSTS53003")
	})
	flow(t, client, "browserprtauth (Firefox)", func(t *testing.T) string {
		d.must(t, "browserprtauth", "-c", "azcli", "-r", "msgraph")
		require.Equal(t, d.id, d.token(t)["deviceid"])
		return "token with the device id"
	})
	flow(t, client, "browserprtinject (Firefox)", func(t *testing.T) string {
		d.must(t, "browserprtinject", "-u", bob, "-p", bobPwd, "-c", "azcli", "-r", "msgraph")
		require.Equal(t, bob, d.token(t)["upn"])
		require.Equal(t, d.id, d.token(t)["deviceid"])
		return "token of one user with the device of another's PRT"
	})
	refreshToken := ""
	flow(t, client, "prtenrich (Firefox)", func(t *testing.T) string {
		out := d.must(t, "prtenrich", "-u", alice, "--otpseed", aliceOTP)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		require.Contains(t, out, "Got refresh token")
		refreshToken = lines[len(lines)-1]
		return "refresh token with MFA"
	})
	flow(t, client, "prt, refresh token with MFA", func(t *testing.T) string {
		d.prt(t, "-r", refreshToken)
		d.must(t, "prtauth", "-c", "azcli", "-r", "msgraph")
		require.Contains(t, d.token(t)["amr"], "mfa")
		return "PRT with the MFA claim"
	})
	flow(t, client, "prtenrich --ngcmfa-drs-auth (Firefox)", func(t *testing.T) string {
		d.must(t, "prtenrich", "--ngcmfa-drs-auth", "-u", alice, "--otpseed", aliceOTP)
		require.Contains(t, d.token(t)["amr"], "ngcmfa")
		return "token with ngcmfa"
	})
	flow(t, client, "winhello", func(t *testing.T) string {
		require.Contains(t, d.must(t, "winhello", "-k", "hello.key"), "'kid'")
		return "key registered"
	})
	flow(t, client, "fidoauth -hk (by roadlib)", func(t *testing.T) string { return helloSignIn(t, d, "hello.key") })
	flow(t, client, "prt, Hello key", func(t *testing.T) string {
		d.prt(t, "-u", alice, "-hk", "hello.key")
		d.must(t, "prtauth", "-c", appID, "-r", "api://payroll", "-ru", native)
		require.Contains(t, d.token(t)["amr"], "mfa")
		return "PRT with the MFA claim; an app that wants MFA asks nothing"
	})
	flow(t, client, "prt -v3", func(t *testing.T) string {
		d.prt(t, "-v3", "-r", refreshToken)
		d.must(t, "prt", "-a", "renew", "-v3")
		d.must(t, "prtauth", "-v3", "-c", "azcli", "-r", "msgraph")
		require.Equal(t, d.id, d.token(t)["deviceid"])
		return "PRT, renewal and token by protocol 3.0"
	})
	flow(t, client, "deviceauth", func(t *testing.T) string {
		out, err := d.roadtx(t, append([]string{"deviceauth", "-t", running.tenantID, "-r", drs, "-c", "29d9ed98-a469-4536-ade2-f981bc1d605e"},
			"--cert-pem", d.name+".pem", "--key-pem", d.name+".key")...)
		require.NoError(t, err, out)
		return "device token"
	})
	flow(t, client, "hybriddevice", hybridDevice)
	flow(t, client, "prt -a renew, disabled device", func(t *testing.T) string {
		d.press(t, "disable-device")
		out, err := d.roadtx(t, "prt", "-a", "renew")
		require.ErrorContains(t, err, "exit status")
		saw := sawError(t, out, "AADSTS135011")
		d.press(t, "enable-device")
		d.must(t, "prt", "-a", "renew")
		return saw + "; renewed again once enabled"
	})
	flow(t, client, "device -a delete", func(t *testing.T) string {
		out := d.must(t, append([]string{"device", "-a", "delete"}, d.files()...)...)
		require.Contains(t, out, "Device was deleted")
		for _, dev := range running.state(t).Devices {
			require.NotEqual(t, d.id, dev.ID)
		}
		return "device gone"
	})
	flow(t, client, "prt -a renew, deleted device", func(t *testing.T) string {
		out, err := d.roadtx(t, "prt", "-a", "renew")
		require.ErrorContains(t, err, "exit status")
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
