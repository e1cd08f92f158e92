package dbus_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

const (
	alice    = "alice@contoso.example"
	bob      = "bob@contoso.example"
	password = "correct horse battery staple"
	totp     = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

	appID     = "11111111-aaaa-4bbb-8ccc-000000000001" // has consent for everything
	payrollID = "11111111-aaaa-4bbb-8ccc-000000000002" // MFA is required
	strangeID = "11111111-aaaa-4bbb-8ccc-000000000005" // has no consent
	vaultID   = "11111111-aaaa-4bbb-8ccc-000000000006" // blocked by policy
	cliID     = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
	desktopID = "a85cf173-4192-42f8-81fa-777a763e6e2c"

	native  = "https://login.microsoftonline.com/common/oauth2/nativeclient"
	desktop = "ms-device-service://termsrv.wvd.microsoft.com/name/host.example"
)

const policies = `{"value":[
 {"id":"99999999-0000-4000-8000-000000000001","displayName":"MFA for payroll","state":"enabled",
  "conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["` + payrollID + `"]},"clientAppTypes":["all"]},
  "grantControls":{"operator":"OR","builtInControls":["mfa"]}},
 {"id":"99999999-0000-4000-8000-000000000002","displayName":"Nobody into the vault","state":"enabled",
  "conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["` + vaultID + `"]},"clientAppTypes":["all"]},
  "grantControls":{"operator":"OR","builtInControls":["block"]}}]}`

// A world is a tenant, a machine on which alice is signed in, and a handler.
type world struct {
	t      testing.TB
	srv    *entratest.Server
	clock  *entratest.Clock
	wire   *counter
	person *person
	cfg    broker.Config
	b      *broker.Broker
	acct   broker.Account
	h      *dbus.Handler
}

func newWorld(t testing.TB, change ...func(*broker.Config)) *world {
	t.Helper()
	w := &world{t: t, clock: entratest.NewClock(time.Time{})}
	w.srv = entratest.NewTB(t, entratest.Options{
		Clock: w.clock, Seed: 1, ReplicationLag: -1, Policies: []byte(policies), Logf: func(string, ...any) {},
		Users: []entratest.User{
			{Username: "alice", Name: "Alice Example", Password: password, TOTPSecret: totp},
			{Username: "bob", Name: "Bob Example", Password: password, TOTPSecret: totp},
		},
		Apps: []entratest.App{
			{ClientID: appID, Name: "The app", Public: true, Redirects: []string{native}, AdminConsent: true},
			{ClientID: strangeID, Name: "Strange", Public: true, Redirects: []string{native}},
			{ClientID: desktopID, Name: "Remote Desktop client", Public: true, Redirects: []string{native}, AdminConsent: true},
			{Name: "Remote desktop", URIs: []string{desktop}},
			{ClientID: payrollID, Name: "Payroll", URIs: []string{"api://payroll"}},
			{ClientID: vaultID, Name: "Vault", URIs: []string{"api://vault"}},
		},
	})
	w.wire = &counter{inner: w.srv.Transport()}
	w.person = &person{Person: entratest.Person{Username: alice, Password: password, TOTPSecret: totp}, client: w.srv.Client(), again: make(chan struct{})}
	w.cfg = broker.Config{
		Tenant: "contoso.example", App: broker.App{ClientID: appID}, Keys: keys(t), Store: &store.Memory{}, Transport: w.wire,
		Prompter: w.person, Device: broker.DeviceInfo{DisplayName: "pc-1", OSVersion: "Debian 12"}, Now: w.clock.Now,
	}
	for _, f := range change {
		f(&w.cfg)
	}
	w.b = w.open()
	w.register()
	w.acct = w.signIn(alice)
	w.h = &dbus.Handler{Broker: dbus.OwnUser(w.b), Now: w.clock.Now, Version: "1.2.3"}
	return w
}

func (w *world) open() *broker.Broker {
	w.t.Helper()
	b, err := broker.New(w.t.Context(), w.cfg)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = b.Close() })
	return b
}

func (w *world) register() {
	w.t.Helper()
	_, err := w.b.RegisterDevice(w.t.Context(), broker.RegisterRequest{Credential: broker.Password{Username: alice, Password: password}})
	require.NoError(w.t, err)
}

func (w *world) signIn(user string) broker.Account {
	w.t.Helper()
	res, err := w.b.SignIn(w.t.Context(), broker.Password{Username: user, Password: password})
	require.NoError(w.t, err)
	return res.Account
}

// A pool makes each kind of key once, since an RSA key takes its time.
type pool struct {
	tpm.KeyStore

	mu    sync.Mutex // guards blobs
	blobs map[[2]uint8][]byte
}

var (
	poolOnce sync.Once
	thePool  *pool
	poolErr  error
)

func keys(t testing.TB) tpm.KeyStore {
	t.Helper()
	poolOnce.Do(func() {
		var s *softkeys.Store
		s, poolErr = softkeys.Open(softkeys.Secret(make([]byte, 32)))
		thePool = &pool{KeyStore: s, blobs: map[[2]uint8][]byte{}}
	})
	require.NoError(t, poolErr)
	return thePool
}

// GenerateKey implements [tpm.KeyStore].
func (p *pool) GenerateKey(ctx context.Context, spec tpm.KeySpec) (tpm.Key, error) {
	kind := [2]uint8{uint8(spec.Purpose), uint8(spec.Algorithm)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if blob := p.blobs[kind]; blob != nil {
		return p.OpenKey(ctx, blob)
	}
	k, err := p.KeyStore.GenerateKey(ctx, spec)
	if err == nil {
		p.blobs[kind] = k.Blob()
	}
	return k, err
}

// A person signs in where the broker asks for it.
type person struct {
	entratest.Person
	client *http.Client
	asked  atomic.Int32
	hang   atomic.Pointer[chan struct{}] // not nil: the person goes away; told of a prompt that is up
	again  chan struct{}                 // closed: the person is back
	refuse atomic.Bool
}

func (p *person) back() { close(p.again) }

// Authorize implements [broker.Prompter].
func (p *person) Authorize(ctx context.Context, url, prefix string) (string, error) {
	p.asked.Add(1)
	if up := p.hang.Load(); up != nil {
		*up <- struct{}{}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-p.again:
		}
	}
	if p.refuse.Load() {
		return "", broker.ErrUserCanceled
	}
	return p.Person.Authorize(ctx, p.client, url, prefix)
}

// DeviceCode implements [broker.Prompter].
func (p *person) DeviceCode(ctx context.Context, dc broker.DeviceCode) error {
	return p.ApproveDeviceCode(ctx, p.client, dc.UserCode)
}

// PIN implements [broker.Prompter].
func (p *person) PIN(context.Context, broker.Account) (broker.PIN, error) {
	return nil, errors.ErrUnsupported
}

// A counter counts requests.
type counter struct {
	inner broker.Transport
	n     atomic.Int64
	hook  atomic.Pointer[func(*http.Request) error] // before a request is sent
}

// Do implements [broker.Transport].
func (c *counter) Do(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	if f := c.hook.Load(); f != nil {
		if err := (*f)(r); err != nil {
			return nil, err
		}
	}
	return c.inner.Do(r)
}

func (c *counter) take() int64 { return c.n.Swap(0) }
