package webflow_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/webflow"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

const (
	tenant  = "contoso.example"
	alice   = "alice@contoso.example" // authenticator app with codes
	secret  = "correct horse battery staple"
	totp    = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	carol   = "carol@contoso.example"     // number match
	pia     = "pia@contoso.example"       // text messages and calls
	paul    = "paul@contoso.example"      // signs in with the phone
	kim     = "kim@contoso.example"       // a security key, and a password
	bob     = "bob@contoso.example"       // nothing beside the password
	dave    = "dave@corp.contoso.example" // federated
	payroll = "7a11e51e-0002-4000-8000-000000000002"
	secrets = "7a11e51e-0003-4000-8000-000000000003"
	app     = "7a11e51e-0004-4000-8000-000000000004" // has no consent
	ledger  = "7a11e51e-0005-4000-8000-000000000005"
	native  = "https://login.microsoftonline.com/common/oauth2/nativeclient"
)

const policies = `{"value":[
 {"id":"p1","displayName":"Payroll needs MFA","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["` + payroll + `","` + ledger + `"]},"clientAppTypes":["all"]},"grantControls":{"operator":"OR","builtInControls":["mfa"]}},
 {"id":"p2","displayName":"Secrets are blocked","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["` + secrets + `"]},"clientAppTypes":["all"]},"grantControls":{"operator":"OR","builtInControls":["block"]}}]}`

// A world is a tenant with one user for each way to sign in, and a machine.
type world struct {
	*entratest.Server
	t       *testing.T
	clock   *entratest.Clock
	passkey *entratest.Passkey
	web     *wire
	waits   int
	b       *broker.Broker
	pass    string // temporary access pass
	number  int    // that a page did not show
}

func newWorld(t *testing.T, change func(*entratest.Options)) *world {
	t.Helper()
	w := &world{t: t, clock: entratest.NewClock(time.Time{})}
	var err error
	w.passkey, err = entratest.NewPasskey()
	require.NoError(t, err)
	o := entratest.Options{
		Clock: w.clock, Seed: 1, ReplicationLag: -1, Policies: []byte(policies), Federated: []string{"corp.contoso.example"}, FederatedMFA: "rejectMfaByFederatedIdp",
		Users: []entratest.User{
			{Username: "alice", Name: "Alice Example", Password: secret, TOTPSecret: totp},
			{Username: "bob", Password: secret},
			{Username: "carol", Password: secret, NumberMatch: true},
			{Username: "pia", Password: secret, Phone: "+41 79 123 45 67"},
			{Username: "paul", Password: secret, PhoneSignIn: true},
			{Username: "kim", Password: secret, Passkeys: []entratest.Passkey{*w.passkey}},
			{Username: dave, Password: secret, TOTPSecret: totp},
		},
		Apps: []entratest.App{
			{ClientID: payroll, Name: "Payroll", URIs: []string{"api://payroll"}, PreauthorisedClients: map[string][]string{app: {"*"}}},
			{ClientID: ledger, Name: "Ledger", URIs: []string{"api://ledger"}, PreauthorisedClients: map[string][]string{app: {"*"}}},
			{ClientID: secrets, Name: "Secrets", URIs: []string{"api://secrets"}, PreauthorisedClients: map[string][]string{app: {"*"}}},
			{ClientID: app, Name: "The app", Public: true, Redirects: []string{native}},
		},
	}
	if change != nil {
		change(&o)
	}
	w.Server = entratest.NewTB(t, o)
	w.web = &wire{inner: w.Transport()}
	return w
}

// options are those of a user who types the password at once.
func (w *world) options(user string) webflow.Options {
	return webflow.Options{Tenant: tenant, Username: user, Password: secret, MFA: true, Transport: w.web, Now: w.Now, Wait: w.wait}
}

// wait moves the clock instead of waiting.
func (w *world) wait(ctx context.Context, d time.Duration) error {
	w.waits++
	w.clock.Advance(d)
	return ctx.Err()
}

// A wire counts what is sent, can change what comes back, and keeps everything
// that was a secret, so that tests can look for it elsewhere.
type wire struct {
	inner broker.Transport

	mu     sync.Mutex // guards all below
	change func(path, body string) string
	paths  []string
	bodies []string
}

func (w *wire) Do(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	w.mu.Lock()
	w.paths = append(w.paths, r.Method+" "+r.URL.Host+r.URL.Path)
	w.bodies = append(w.bodies, string(body))
	change := w.change
	w.mu.Unlock()
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

func (w *wire) edit(f func(path, body string) string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.change = f
}

// sent counts the requests whose body has a text.
func (w *wire) sent(text string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.bodies {
		if strings.Contains(b, text) {
			n++
		}
	}
	return n
}

// setConfig changes a field of the $Config of pages with an id; an empty value
// takes it away.
func setConfig(pgid, name, value string) func(string, string) string {
	at := regexp.MustCompile(`(?s)\$Config=(\{.*?\});\n`)
	return func(_, body string) string {
		m := at.FindStringSubmatchIndex(body)
		if m == nil || !strings.Contains(body, `"pgid":"`+pgid+`"`) {
			return body
		}
		var c map[string]json.RawMessage
		if json.Unmarshal([]byte(body[m[2]:m[3]]), &c) != nil {
			return body
		}
		if value == "" {
			delete(c, name)
		} else {
			c[name] = json.RawMessage(value)
		}
		out, _ := json.Marshal(c)
		return body[:m[2]] + string(out) + body[m[3]:]
	}
}

var entropy = regexp.MustCompile(`"Entropy":(\d+)`)

// withoutNumbers is a service that asks to approve without a number.
func (w *world) withoutNumbers(_, body string) string {
	if m := entropy.FindStringSubmatch(body); m != nil && m[1] != "0" {
		w.number, _ = strconv.Atoi(m[1])
	}
	return entropy.ReplaceAllString(body, `"Entropy":0`)
}

// A key signs as a security key with the passkey does, by what the request says
// and nothing else.
type key struct{ *entratest.Passkey }

func (k key) Assert(_ context.Context, r webflow.KeyRequest) (*webflow.Assertion, error) {
	rp := sha256.Sum256([]byte(r.RelyingParty))
	auth := append(rp[:], 0x05) // user present and verified
	k.Count++
	auth = binary.BigEndian.AppendUint32(auth, k.Count)
	hash := sha256.Sum256(r.ClientDataJSON)
	sum := sha256.Sum256(append(bytes.Clone(auth), hash[:]...))
	sig, err := k.Key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	return &webflow.Assertion{ID: k.ID, AuthenticatorData: auth, Signature: sig}, nil
}

// Machines that flows end on.
var machines = map[string]func(*testing.T) tpm.KeyStore{
	"software keys": func(t *testing.T) tpm.KeyStore {
		k, err := softkeys.Open(softkeys.File(filepath.Join(t.TempDir(), "master")), softkeys.InsecureFastPINs())
		require.NoError(t, err)
		t.Cleanup(func() { _ = k.Close() })
		return k
	},
	"swtpm": func(t *testing.T) tpm.KeyStore {
		e := tpms.Swtpm(t)
		keys, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
		require.NoError(t, err)
		t.Cleanup(func() { _ = keys.Close() })
		return e.Store(keys)
	},
}

var tpms tpmtest.Pool

// broker is a broker on a machine.
func (w *world) broker(t *testing.T, keys tpm.KeyStore) *broker.Broker {
	t.Helper()
	b, err := broker.New(t.Context(), broker.Config{Tenant: tenant, Keys: keys, Transport: w.web.inner, Now: w.Now,
		App: broker.App{ClientID: payroll}, Device: broker.DeviceInfo{DisplayName: "pc-1", Type: "Linux", OSVersion: "Debian 13"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}
