package broker_test

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

const (
	alice    = "alice@contoso.example"
	password = "correct horse battery staple"
	totp     = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

	appID     = "11111111-aaaa-4bbb-8ccc-000000000001" // the importing app
	payrollID = "11111111-aaaa-4bbb-8ccc-000000000002" // MFA is required
	ledgerID  = "11111111-aaaa-4bbb-8ccc-000000000003" // MFA is required
	openID    = "11111111-aaaa-4bbb-8ccc-000000000004" // nothing is

	native = "https://login.microsoftonline.com/common/oauth2/nativeclient"
)

var (
	graph   = []string{"https://graph.microsoft.com/.default"}
	payroll = []string{"api://payroll/.default"}
	ledger  = []string{"api://ledger/.default"}
	open    = []string{"api://open/.default"}
)

// mfaForMoney requires MFA for payroll and ledger.
const mfaForMoney = `{"value":[{"id":"99999999-0000-4000-8000-000000000001","displayName":"MFA for money","state":"enabled",
 "conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["` + payrollID + `","` + ledgerID + `"]},"clientAppTypes":["all"]},
 "grantControls":{"operator":"OR","builtInControls":["mfa"]}}]}`

// A world is a tenant and a machine with a broker.
type world struct {
	t      testing.TB
	srv    *entratest.Server
	clock  *entratest.Clock
	keys   tpm.KeyStore
	store  store.Store
	person *person
	wire   *counter
	cfg    broker.Config
	b      *broker.Broker
}

// a change adjusts a world before it begins.
type change func(*world, *entratest.Options)

func withPolicies(json string) change {
	return func(_ *world, o *entratest.Options) { o.Policies = []byte(json) }
}

func withKeys(k tpm.KeyStore) change { return func(w *world, _ *entratest.Options) { w.keys = k } }

func withOptions(f func(*entratest.Options)) change {
	return func(_ *world, o *entratest.Options) { f(o) }
}

func newWorld(t testing.TB, changes ...change) *world {
	t.Helper()
	w := &world{t: t, clock: entratest.NewClock(time.Time{})}
	opts := entratest.Options{
		Clock:          w.clock,
		Seed:           1,
		Users:          []entratest.User{{Username: "alice", Name: "Alice Example", Password: password, TOTPSecret: totp}, {Username: "bob", Password: password, TOTPSecret: totp}},
		Policies:       []byte(mfaForMoney),
		ReplicationLag: -1,
		Logf:           t.Logf,
		Apps: []entratest.App{
			{ClientID: appID, Name: "The app", Public: true, Redirects: []string{native}, AdminConsent: true},
			{ClientID: payrollID, Name: "Payroll", URIs: []string{"api://payroll"}},
			{ClientID: ledgerID, Name: "Ledger", URIs: []string{"api://ledger"}},
			{ClientID: openID, Name: "Open", URIs: []string{"api://open"}},
		},
	}
	for _, c := range changes {
		c(w, &opts)
	}
	w.srv = entratest.NewTB(t, opts)
	if w.keys == nil {
		w.keys = pooledKeys(t)
	}
	if w.store == nil {
		w.store = &store.Memory{}
	}
	w.person = &person{Person: entratest.Person{Username: alice, Password: password, TOTPSecret: totp}, client: w.srv.Client()}
	direct := *w.srv.Client() // a Transport follows no redirect
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	w.wire = &counter{inner: &direct}
	w.cfg = broker.Config{
		Tenant:    "contoso.example",
		App:       broker.App{ClientID: appID},
		Keys:      w.keys,
		Store:     w.store,
		Transport: w.wire,
		Prompter:  w.person,
		Device:    broker.DeviceInfo{DisplayName: "pc-1", Type: "Linux", OSVersion: "Debian 12"},
		UserAgent: "prtbroker/1.0 (X11; Linux x86_64)",
		Now:       w.clock.Now,
		MutualTLS: w.wire.mutualTLS(w.srv),
	}
	w.b = w.open()
	return w
}

// open starts another broker on the same machine.
func (w *world) open() *broker.Broker {
	w.t.Helper()
	b, err := broker.New(w.t.Context(), w.cfg)
	require.NoError(w.t, err)
	broker.SetSleep(b, w.sleep)
	w.t.Cleanup(func() { _ = b.Close() })
	return b
}

// sleep moves the clock instead of waiting.
func (w *world) sleep(ctx context.Context, d time.Duration) error {
	w.clock.Advance(d)
	return ctx.Err()
}

// join registers the device by the user's password.
func (w *world) join() *broker.Device {
	w.t.Helper()
	d, err := w.b.RegisterDevice(w.t.Context(), broker.RegisterRequest{Credential: broker.Password{Username: alice, Password: password}})
	require.NoError(w.t, err)
	return d
}

// signIn signs alice in by her password.
func (w *world) signIn() broker.Account {
	w.t.Helper()
	res, err := w.b.SignIn(w.t.Context(), broker.Password{Username: alice, Password: password})
	require.NoError(w.t, err)
	return res.Account
}

// silent gets a token that must come without a prompt.
func (w *world) silent(scopes []string, opts ...broker.CallOption) broker.AuthResult {
	w.t.Helper()
	prompts := w.person.prompts()
	res, err := w.b.AcquireTokenSilent(w.t.Context(), scopes, opts...)
	require.NoError(w.t, err)
	require.NotEmpty(w.t, res.AccessToken)
	require.Equal(w.t, prompts, w.person.prompts(), "somebody was asked")
	return res
}

func (w *world) status(a broker.Account) broker.PRTStatus {
	w.t.Helper()
	s, err := w.b.PRTStatus(w.t.Context(), a)
	require.NoError(w.t, err)
	return s
}

func softwareKeys(t testing.TB) *softkeys.Store {
	t.Helper()
	k, err := softkeys.Open(softkeys.File(filepath.Join(t.TempDir(), "master")), softkeys.InsecureFastPINs())
	require.NoError(t, err)
	t.Cleanup(func() { _ = k.Close() })
	return k
}

// tpms are the software TPMs of this package's tests, but for those that have
// to be strangers to each other.
var tpms tpmtest.Pool

// softwareTPM opens a swtpm and counts its commands, those for new RSA keys
// apart.
func softwareTPM(t *testing.T) (*tpmtest.Store, *tpmtest.Counting) {
	t.Helper()
	e := tpms.Swtpm(t)
	counting := tpmtest.NewCounting(e.Opener())
	keys, err := tpm.Open(t.Context(), counting.Opener(), tpm.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = keys.Close() })
	return e.Store(keys), counting
}

// A person signs in where the broker asks for it, and counts how often.
type person struct {
	entratest.Person
	client *http.Client
	asked  atomic.Int32
	codes  atomic.Int32
	none   atomic.Bool // there is no place to show a page
	pins   atomic.Int32
	pin    broker.PIN // nil: the person has none and gives up
}

// prompts is how often the person had to do something, the PIN apart.
func (p *person) prompts() int { return int(p.asked.Load() + p.codes.Load()) }

func (p *person) Authorize(ctx context.Context, url, prefix string) (string, error) {
	if p.none.Load() {
		return "", http.ErrNotSupported
	}
	p.asked.Add(1)
	return p.Person.Authorize(ctx, p.client, url, prefix)
}

func (p *person) DeviceCode(ctx context.Context, dc broker.DeviceCode) error {
	p.codes.Add(1)
	return p.ApproveDeviceCode(ctx, p.client, dc.UserCode)
}

func (p *person) PIN(context.Context, broker.Account) (broker.PIN, error) {
	if p.pin == nil {
		return nil, broker.ErrUserCanceled
	}
	p.pins.Add(1)
	return p.pin, nil
}

// A counter is a transport that counts requests by path.
type counter struct {
	inner broker.Transport

	mu    sync.Mutex // guards all below
	paths []string
	hook  func(*http.Request) error // called before a request is sent
	after func(*http.Request) error // called when the reply is there
}

func (c *counter) Do(r *http.Request) (*http.Response, error) {
	name := r.Method + " " + r.URL.Host + r.URL.Path
	if r.URL.Path != "" && strings.HasSuffix(r.URL.Path, "/oauth2/token") {
		name = "token"
		body, err := r.GetBody()
		if err == nil {
			buf := make([]byte, r.ContentLength)
			n, _ := body.Read(buf)
			if strings.Contains(string(buf[:n]), "grant_type=srv_challenge") {
				name = "nonce"
			}
		}
	}
	c.mu.Lock()
	c.paths = append(c.paths, name)
	hook, after := c.hook, c.after
	c.mu.Unlock()
	if hook != nil {
		if err := hook(r); err != nil {
			return nil, err
		}
	}
	res, err := c.inner.Do(r)
	if err == nil && after != nil {
		if err := after(r); err != nil {
			_ = res.Body.Close()
			return nil, err
		}
	}
	return res, err
}

// take returns what was counted since the last call.
func (c *counter) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.paths
	c.paths = nil
	return out
}

func (c *counter) set(hook, after func(*http.Request) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hook, c.after = hook, after
}

func fileStore(t testing.TB, dir string) *store.File {
	t.Helper()
	s, err := store.NewFile(dir)
	require.NoError(t, err)
	return s
}
