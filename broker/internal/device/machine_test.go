package device_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

const alice, password = "alice@contoso.example", "Wonderland-2026"

// machine is one computer and the tenant that it may join.
type machine struct {
	t     *testing.T
	clock *entratest.Clock
	srv   *entratest.Server
	keys  tpm.KeyStore
	store store.Store
	rand  io.Reader
	log   io.Writer
	wire  func(*http.Request) // looks at each request
	reply string              // in place of that of the service to a registration; empty: its own
	sleep func()
	name  string // as which it registers
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, clock: entratest.NewClock(time.Time{}), store: &store.Memory{}, rand: rand.Reader, log: io.Discard, sleep: func() {}}
	m.srv = entratest.NewTB(t, entratest.Options{Clock: m.clock, Seed: 1, ReplicationLag: -1, Domains: []string{otherName}, Users: []entratest.User{{Username: "alice", Password: password}}})
	keys, err := softkeys.Open(softkeys.File(t.TempDir() + "/master"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, keys.Close()) })
	m.keys = keys
	return m
}

type transport struct {
	client *http.Client
	m      *machine
}

func (t transport) Do(r *http.Request) (*http.Response, error) {
	if t.m.wire != nil {
		t.m.wire(r)
	}
	if t.m.reply != "" && r.Method == http.MethodPost && r.URL.Host == wire.RegistrationHost {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(t.m.reply)), Request: r}, nil
	}
	return t.client.Do(r)
}

// otherName is another domain of the tenant.
const otherName = "contoso-mail.example"

// process is a keeper as a process of its own has it.
type process struct {
	*device.Keeper
	services *sts.Client
	gone     int
}

func (m *machine) start() *process { return m.startFor("contoso.example") }

// startFor is start with one of the names of the tenant.
func (m *machine) startFor(tenant string) *process {
	m.t.Helper()
	client := *m.srv.Client()
	client.CheckRedirect = sts.NoRedirect
	p := &process{services: sts.New(sts.Config{
		Transport: transport{&client, m}, UserAgent: "test (X11; Linux x86_64)", Cloud: sts.Cloud{}.WithDefaults(), Movable: true,
		Logger: slog.New(slog.DiscardHandler), Now: m.clock.Now, Rand: rand.Reader,
		Span: func(ctx context.Context, _ string) (context.Context, func(error)) { return ctx, func(error) {} },
	})}
	p.Keeper = device.New(device.Config{
		Keys: m.keys, Ring: vault.NewKeyring(m.keys, m.store, rand.Reader), Store: m.store, Rand: m.rand, Logger: slog.New(slog.NewTextHandler(m.log, nil)), Now: m.clock.Now,
		Sleep:    func(ctx context.Context, d time.Duration) error { m.clock.Advance(d); m.sleep(); return ctx.Err() },
		Services: p.services, Tenant: tenant, Type: "Linux", DisplayName: cmp.Or(m.name, "pc-1"), OSVersion: "Debian 12",
		Finish: func(ctx context.Context, work func(context.Context) error) error { return work(ctx) },
		Gone:   func() { p.gone++ },
	})
	m.t.Cleanup(func() {
		p.Stop()
		require.NoError(m.t, p.Close())
		p.services.Close()
	})
	return p
}

// token is one of the user's for the registration service.
func (p *process) token(t *testing.T) prt.Secret {
	t.Helper()
	r, err := p.services.Grant(t.Context(), "contoso.example", wire.PathToken, url.Values{
		"grant_type": {wire.GrantPassword}, "client_id": {wire.ClientBroker}, "resource": {wire.ResourceRegistrationApp},
		"username": {alice}, "password": {password}, "scope": {wire.ScopeOpen},
	})
	require.NoError(t, err)
	return r.AccessToken
}
