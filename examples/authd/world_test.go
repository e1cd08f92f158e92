package authd_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/examples/authd"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

const (
	domain = "contoso.example"
	secret = "correct horse battery staple"
	totp   = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	app    = "7a11e51e-0004-4000-8000-000000000004" // the app registration of authd
	wrong  = "7a11e51e-0005-4000-8000-000000000005" // one without the redirect URI
	alice  = "alice@contoso.example"                // codes of an app
	bob    = "bob@contoso.example"                  // nothing beside the password
	carol  = "carol@contoso.example"                // number match
	pia    = "pia@contoso.example"                  // text messages and calls
	paul   = "paul@contoso.example"                 // signs in with the phone
	kim    = "kim@contoso.example"                  // a security key
	kurt   = "kurt@contoso.example"                 // a security key and text messages
)

// graphNeedsMFA is Conditional Access: a token for Microsoft Graph is given for MFA
// alone, so that a token that comes silently shows that the PRT carries it.
const graphNeedsMFA = `{"value":[{"id":"p1","displayName":"Graph needs MFA","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["00000003-0000-0000-c000-000000000000"]},"clientAppTypes":["all"]},"grantControls":{"operator":"OR","builtInControls":["mfa"]}}]}`

// A world is a tenant and a machine with authd.
type world struct {
	*entratest.Server
	t     *testing.T
	clock *entratest.Clock
	web   *wire
	keys  tpm.KeyStore // nil: software keys
	p     *authd.Provider
	logs  *logBuffer

	passkeys map[string]*entratest.Passkey
	pass     string // temporary access pass
	number   int    // that a page did not show
}

func newWorld(t *testing.T, keys tpm.KeyStore, changes ...func(*entratest.Options)) *world {
	t.Helper()
	w := &world{t: t, clock: entratest.NewClock(time.Time{}), keys: keys, logs: new(logBuffer), passkeys: map[string]*entratest.Passkey{}}
	for _, name := range []string{kim, kurt} {
		k, err := entratest.NewPasskey()
		require.NoError(t, err)
		w.passkeys[name] = k
	}
	o := entratest.Options{
		Clock: w.clock, Seed: 1, ReplicationLag: -1, Policies: []byte(graphNeedsMFA),
		Users: []entratest.User{
			{Username: "alice", Name: "Alice Example", Password: secret, TOTPSecret: totp},
			{Username: "bob", Password: secret},
			{Username: "carol", Password: secret, NumberMatch: true},
			{Username: "pia", Password: secret, Phone: "+41 79 123 45 67"},
			{Username: "paul", Password: secret, PhoneSignIn: true},
			{Username: "kim", Password: secret, Passkeys: []entratest.Passkey{*w.passkeys[kim]}},
			{Username: "kurt", Password: secret, Phone: "+41 79 123 45 68", Passkeys: []entratest.Passkey{*w.passkeys[kurt]}},
		},
		Groups: []entratest.Group{{Name: "linux-admins", Members: []string{"alice", "bob", "carol", "pia", "paul", "kim", "kurt"}}},
		Apps: []entratest.App{
			{ClientID: app, Name: "authd", Public: true, Redirects: []string{broker.NativeClientRedirect}, AdminConsent: true},
			{ClientID: wrong, Name: "authd, misconfigured", Public: true, Redirects: []string{"http://localhost"}, AdminConsent: true},
		},
	}
	for _, change := range changes {
		change(&o)
	}
	w.Server = entratest.NewTB(t, o)
	w.web = &wire{inner: w.Transport()}
	w.p = w.provider(nil)
	return w
}

// provider is another process with authd.
func (w *world) provider(saved func(context.Context, authd.DeviceRegistrationData) error) *authd.Provider {
	p := authd.New(authd.Config{Keys: w.keys, Transport: w.web, Now: w.Now, Saved: saved,
		Device: broker.DeviceInfo{DisplayName: "pc-1", Type: "Linux", OSVersion: "Ubuntu 26.04"},
		Logger: slog.New(slog.NewTextHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	w.t.Cleanup(func() { _ = p.Close() })
	return p
}

// begin begins a sign-in of a registered or unregistered user.
func (w *world) begin(user, password string, data *authd.DeviceRegistrationData, opts ...authd.AuthOption) (*authd.MFAFlowState, *authd.MFAChallengeInfo, error) {
	f, c, err := w.p.InitiateMFAFlow(w.t.Context(), app, w.TenantID(), data, user, password, data == nil, opts...)
	w.t.Cleanup(func() { authd.FreeMFAFlowState(f) })
	return f, c, err
}

// answer is one call of authd's.
func (w *world) answer(user string, f *authd.MFAFlowState, data *authd.DeviceRegistrationData, text string, attempt int) (*oauth2.Token, error) {
	return w.p.AcquireTokenByMFAFlow(w.t.Context(), app, w.TenantID(), data, user, f, text, attempt)
}

// signIn signs alice in with password and code.
func (w *world) signIn(data *authd.DeviceRegistrationData) *oauth2.Token {
	w.t.Helper()
	f, c, err := w.begin(alice, secret, data)
	require.NoError(w.t, err)
	require.Equal(w.t, "PhoneAppOTP", c.Method)
	token, err := w.answer(alice, f, data, w.code(alice), 0)
	require.NoError(w.t, err)
	return token
}

func (w *world) code(user string) string {
	w.t.Helper()
	code, _, err := w.OneTimeCode(user)
	require.NoError(w.t, err)
	return code
}

// register registers the machine with a token, as authd keeps it: as JSON.
func (w *world) register(token *oauth2.Token) authd.DeviceRegistrationData {
	w.t.Helper()
	data, cleanup, err := w.p.RegisterDevice(w.t.Context(), token, w.TenantID(), domain)
	require.NoError(w.t, err)
	defer cleanup()
	return carried(w.t, *data)
}

// carried is data that went to authd's file and back.
func carried(t *testing.T, data authd.DeviceRegistrationData) (out authd.DeviceRegistrationData) {
	t.Helper()
	raw, err := json.Marshal(&data)
	require.NoError(t, err)
	require.True(t, authd.ValidDeviceRegistrationDataJSON(raw))
	require.NoError(t, json.Unmarshal(raw, &out))
	require.Equal(t, data, out)
	return out
}

// groups gets the token for Microsoft Graph and reads the user's groups by it.
func (w *world) groups(p *authd.Provider, token *oauth2.Token, data authd.DeviceRegistrationData) (names []string, err error) {
	w.t.Helper()
	access, err := p.AcquireAccessTokenForGraphAPI(w.t.Context(), app, w.TenantID(), token, data)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "https://graph.microsoft.com/v1.0/me/transitiveMemberOf/graph.group", nil)
	require.NoError(w.t, err)
	req.Header.Set("Authorization", "Bearer "+access)
	resp, err := w.Client().Do(req)
	require.NoError(w.t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(w.t, http.StatusOK, resp.StatusCode)
	var page struct {
		Value []struct{ DisplayName string }
	}
	require.NoError(w.t, json.NewDecoder(resp.Body).Decode(&page))
	for _, g := range page.Value {
		names = append(names, g.DisplayName)
	}
	return names, nil
}

// mfaError is the error of a sign-in.
func mfaError(t *testing.T, err error) *authd.MFAError {
	t.Helper()
	var e *authd.MFAError
	require.ErrorAs(t, err, &e)
	return e
}

// assertion is what authd makes of a security key's answer, by what the challenge
// says: the page's text as base64url in the client data, and a flat object.
func (w *world) assertion(user string, c *authd.MFAChallengeInfo) string {
	w.t.Helper()
	k := w.passkeys[user]
	require.Contains(w.t, c.FidoAllowList, base64.StdEncoding.EncodeToString(k.ID))
	b64 := base64.RawURLEncoding.EncodeToString
	client := `{"type":"webauthn.get","challenge":"` + b64([]byte(c.FidoChallenge)) + `","origin":"https://login.microsoft.com"}`
	rp := sha256.Sum256([]byte("login.microsoft.com"))
	auth := append(rp[:], 0x05) // user present and verified
	k.Count++
	auth = binary.BigEndian.AppendUint32(auth, k.Count)
	hash := sha256.Sum256([]byte(client))
	sum := sha256.Sum256(append(bytes.Clone(auth), hash[:]...))
	sig, err := k.Key.Sign(rand.Reader, sum[:], crypto.SHA256)
	require.NoError(w.t, err)
	return `{"id":"` + b64(k.ID) + `","clientDataJSON":"` + b64([]byte(client)) + `","authenticatorData":"` + b64(auth) + `","signature":"` + b64(sig) + `","userHandle":""}`
}

// A wire counts what is sent, keeps it, and can change what comes back.
type wire struct {
	inner broker.Transport

	mu     sync.Mutex // guards what follows
	change func(path, body string) string
	paths  []string
	bodies []string
	hang   bool // until the context ends
}

func (w *wire) Do(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	w.mu.Lock()
	w.paths = append(w.paths, r.Method+" "+r.URL.Path)
	w.bodies = append(w.bodies, string(body))
	change, hang := w.change, w.hang
	w.mu.Unlock()
	if hang {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	res, err := w.inner.Do(r)
	if err != nil || change == nil {
		return res, err
	}
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	changed := change(r.URL.Path, string(data))
	res.Body, res.ContentLength = io.NopCloser(strings.NewReader(changed)), int64(len(changed))
	return res, nil
}

func (w *wire) set(f func(*wire)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w)
}

// take returns the paths of what was sent since the last call.
func (w *wire) take() (paths []string) {
	w.set(func(w *wire) { paths, w.paths = w.paths, nil })
	return paths
}

// sent counts the requests whose body has a text.
func (w *wire) sent(text string) (n int) {
	w.set(func(w *wire) {
		for _, b := range w.bodies {
			if strings.Contains(b, text) {
				n++
			}
		}
	})
	return n
}

var entropy = regexp.MustCompile(`"Entropy":(\d+)`)

// withoutNumbers is a service that asks to approve without a number.
func (w *world) withoutNumbers(_, body string) string {
	if m := entropy.FindStringSubmatch(body); m != nil && m[1] != "0" {
		w.number, _ = strconv.Atoi(m[1])
	}
	return entropy.ReplaceAllString(body, `"Entropy":0`)
}

// numberIn is the number that a message shows.
func numberIn(t *testing.T, c *authd.MFAChallengeInfo) int {
	t.Helper()
	m := regexp.MustCompile(`\d+`).FindString(c.Message)
	n, err := strconv.Atoi(m)
	require.NoError(t, err, c.Message)
	return n
}

type logBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// machines are what keeps the keys of a device; nil: software.
var machines = map[string]func(*testing.T) tpm.KeyStore{
	"software keys": func(*testing.T) tpm.KeyStore { return nil },
	"swtpm": func(t *testing.T) tpm.KeyStore {
		e := tpms.Swtpm(t)
		keys, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
		require.NoError(t, err)
		t.Cleanup(func() { _ = keys.Close() })
		return e.Store(keys)
	},
}

var tpms tpmtest.Pool

// onEach runs a test on each kind of machine.
func onEach(t *testing.T, run func(t *testing.T, keys tpm.KeyStore)) {
	for name, keys := range machines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, keys(t))
		})
	}
}

var errDisk = errors.New("the disk is full")

// replaceID gives a page another id.
func replaceID(body, from, to string) string {
	return strings.ReplaceAll(body, `"pgid":"`+from+`"`, `"pgid":"`+to+`"`)
}
