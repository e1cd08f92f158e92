package signon_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/broker/internal/signon"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

const (
	alice, password = "alice@contoso.example", "Wonderland-2026"
	appID           = "11111111-aaaa-4bbb-8ccc-000000000001"
	moneyID         = "11111111-aaaa-4bbb-8ccc-000000000002"
	native          = "https://login.microsoftonline.com/common/oauth2/nativeclient"
	desktop         = "ms-device-service://termsrv.wvd.microsoft.com/name/host.example"
	graph           = "https://graph.microsoft.com"
	policies        = `[{"id":"1","displayName":"MFA for money","state":"enabled",
		"conditions":{"clientAppTypes":["all"],"applications":{"includeApplications":["` + moneyID + `"]},"users":{"includeUsers":["All"]}},
		"grantControls":{"operator":"OR","builtInControls":["mfa"]}}]`
)

// laptop is a registered machine and an engine over its state.
type laptop struct {
	*signon.Engine
	t     *testing.T
	clock *entratest.Clock
	srv   *entratest.Server
	book  *account.Book
	books account.Config // of the book
	wire  *counter
	store *watched
	keys  *countedKeys
	log   *bytes.Buffer
}

// watched is a store that counts what is read and written, and lets a test fail it.
type watched struct {
	store.Memory
	gets, puts int
	hangs      bool                    // writes end with their context
	onPut      func(name string) error // nil: nothing
	listErr    error
}

func (s *watched) Get(ctx context.Context, name string) ([]byte, store.Version, error) {
	s.gets++
	return s.Memory.Get(ctx, name)
}

func (s *watched) Put(ctx context.Context, name string, data []byte, old store.Version) (store.Version, error) {
	s.puts++
	if s.hangs {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	if s.onPut != nil {
		if err := s.onPut(name); err != nil {
			return 0, err
		}
	}
	return s.Memory.Put(ctx, name, data, old)
}

func (s *watched) List(ctx context.Context, prefix string) ([]string, error) {
	if s.listErr != nil {
		return nil, s.listErr
	}
	return s.Memory.List(ctx, prefix)
}

// fails lets every write fail.
func (s *watched) fails(string) error { return errFull }

var errFull = errors.New("the disk is full")

// countedKeys counts the session keys that are open.
type countedKeys struct {
	tpm.KeyStore
	open int
}

type countedSession struct {
	tpm.SessionKey
	keys *countedKeys
}

func (s countedSession) Close() error { s.keys.open--; return s.SessionKey.Close() }

func (k *countedKeys) count(s tpm.SessionKey, err error) (tpm.SessionKey, error) {
	if err != nil {
		return nil, err
	}
	k.open++
	return countedSession{s, k}, nil
}

func (k *countedKeys) UnwrapSession(ctx context.Context, transport tpm.Key, wrapped []byte) (tpm.SessionKey, error) {
	return k.count(k.KeyStore.UnwrapSession(ctx, transport, wrapped))
}

func (k *countedKeys) OpenSession(ctx context.Context, blob []byte) (tpm.SessionKey, error) {
	return k.count(k.KeyStore.OpenSession(ctx, blob))
}

// counter counts the requests, and those to token endpoints, nonces apart.
type counter struct {
	inner  *http.Client
	all    int
	tokens int
	before func()   // called before each request; nil: nothing is
	during func()   // called once, while the next of them is under way; nil: nothing is
	drop   []string // members that the answers lack
}

func (c *counter) Do(r *http.Request) (*http.Response, error) {
	c.all++
	if c.before != nil {
		c.before()
	}
	if r.Body != nil && strings.HasSuffix(r.URL.Path, "/token") && !strings.Contains(r.URL.Path, "/common/") {
		c.tokens++
		if during := c.during; during != nil {
			c.during = nil
			defer during()
		}
	}
	resp, err := c.inner.Do(r)
	if err != nil || len(c.drop) == 0 {
		return resp, err
	}
	return c.without(resp)
}

// without takes members out of an answer.
func (c *counter) without(resp *http.Response) (*http.Response, error) {
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	var members map[string]any
	if json.Unmarshal(text, &members) == nil {
		maps.DeleteFunc(members, func(name string, _ any) bool { return slices.Contains(c.drop, name) })
		if text, err = json.Marshal(members); err != nil {
			return nil, err
		}
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	return resp, nil
}

// requireEncrypted makes an engine that refuses answers in the clear.
func requireEncrypted(c *signon.Config) { c.RequireEncrypted = true }

// newLaptop takes changes to the options of the emulator and to the engine's
// configuration.
func newLaptop(t *testing.T, changes ...any) *laptop {
	t.Helper()
	ctx := t.Context()
	l := &laptop{t: t, clock: entratest.NewClock(time.Time{})}
	o := entratest.Options{
		Clock: l.clock, Seed: 1, ReplicationLag: -1, Policies: []byte(policies),
		Users: []entratest.User{{Username: "alice", Password: password, TOTPSecret: "JBSWY3DPEHPK3PXP"}, {Username: "bob", Password: password}},
		Apps: []entratest.App{
			{ClientID: appID, Name: "The app", Public: true, Redirects: []string{native}, AdminConsent: true},
			{ClientID: moneyID, Name: "Money", URIs: []string{"api://money"}},
			{ClientID: "a4a365df-50f1-4397-bc59-1a1564b8bb9c", Name: "Remote desktop", URIs: []string{desktop}, OptionalClaims: []string{"xms_cc"}},
		},
	}
	for _, c := range changes {
		if change, ok := c.(func(*entratest.Options)); ok {
			change(&o)
		}
	}
	l.srv = entratest.NewTB(t, o)
	software, err := softkeys.Open(softkeys.File(t.TempDir() + "/master"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, software.Close()) })
	keys, s := &countedKeys{KeyStore: software}, &watched{}
	l.keys, l.store, l.log = keys, s, &bytes.Buffer{}
	client := *l.srv.Client()
	client.CheckRedirect = sts.NoRedirect
	l.wire = &counter{inner: &client}
	log, finish := slog.New(slog.NewTextHandler(l.log, nil)), func(ctx context.Context, work func(context.Context) error) error { return work(ctx) }
	sleep := func(ctx context.Context, d time.Duration) error { l.clock.Advance(d); return ctx.Err() }
	span := func(ctx context.Context, _ string) (context.Context, func(error)) { return ctx, func(error) {} }
	ring := vault.NewKeyring(keys, s, rand.Reader)
	services := sts.New(sts.Config{Transport: l.wire, UserAgent: "test (X11; Linux x86_64)", Cloud: sts.Cloud{}.WithDefaults(), Movable: true, Logger: log, Now: l.clock.Now, Rand: rand.Reader, Span: span})
	devices := device.New(device.Config{
		Keys: keys, Ring: ring, Store: s, Rand: rand.Reader, Logger: log, Now: l.clock.Now, Sleep: sleep, Services: services,
		Tenant: "contoso.example", Type: "Linux", DisplayName: "pc-1", OSVersion: "Debian 12", Finish: finish, Gone: func() {},
	})
	l.books = account.Config{Keys: keys, Ring: ring, Store: s, Rand: rand.Reader, Logger: log, Now: l.clock.Now, Finish: finish, Gone: func(account.Identity) {}, Renamed: func(account.Identity) {}}
	l.book = account.NewBook(l.books)
	cfg := signon.Config{
		Book: l.book, Devices: devices, Services: services, Keys: keys, Store: s, Logger: log, Now: l.clock.Now, Sleep: sleep,
		Tenant: "contoso.example", OSVersion: "Debian 12", Finish: finish, Span: span,
	}
	for _, c := range changes {
		if change, ok := c.(func(*signon.Config)); ok {
			change(&cfg)
		}
	}
	l.Engine = signon.New(cfg)
	t.Cleanup(func() {
		l.Close()
		devices.Stop()
		for _, a := range l.book.Close() {
			require.NoError(t, a.Close())
		}
		require.NoError(t, devices.Close())
		services.Close()
	})
	r, err := services.Grant(ctx, "contoso.example", wire.PathToken, url.Values{
		"grant_type": {wire.GrantPassword}, "client_id": {wire.ClientBroker}, "resource": {wire.ResourceRegistrationApp},
		"username": {alice}, "password": {password}, "scope": {wire.ScopeOpen},
	})
	require.NoError(t, err)
	_, _, err = devices.Register(ctx, device.Request{Token: r.AccessToken})
	require.NoError(t, err)
	return l
}

func (l *laptop) signIn() *account.Account { return l.signInAs(alice) }

func (l *laptop) signInAs(name string) *account.Account {
	l.t.Helper()
	in, err := l.Issue(l.t.Context(), passwordOf(name), signon.Provenance{Origin: account.Direct}, account.Identity{})
	require.NoError(l.t, err)
	require.NotEmpty(l.t, in.CorrelationID)
	require.Equal(l.t, name, in.Account.PreferredUsername)
	a, _, err := l.book.Find(l.t.Context(), in.Account)
	require.NoError(l.t, err)
	return a
}

func passwordOf(name string) prt.Grant {
	return prt.PasswordGrant{Username: name, Password: prt.NewSecret(password)}
}

// elsewhere is an account as another process has it.
func (l *laptop) elsewhere(a *account.Account) *account.Account {
	l.t.Helper()
	book := account.NewBook(l.books)
	l.t.Cleanup(func() {
		for _, a := range book.Close() {
			require.NoError(l.t, a.Close())
		}
	})
	other, _, err := book.Find(l.t.Context(), a.Record().Account)
	require.NoError(l.t, err)
	return other
}

// change changes the record of an account.
func (l *laptop) change(a *account.Account, change func(*account.Record)) {
	l.t.Helper()
	_, err := a.Update(l.t.Context(), func(r *account.Record) error { change(r); return nil })
	require.NoError(l.t, err)
}

// token gets a token for a resource, and says how many PRTs were presented.
func (l *laptop) token(a *account.Account, resource string) (tokens *prt.Reply, presented int, err error) {
	err = l.Use(l.t.Context(), a, func(t *prt.Token, s prt.Session) error {
		presented++
		tokens, _, err = l.Exchange(l.t.Context(), a, t, s, signon.Request{Tenant: "contoso.example", ClientID: appID, RedirectURI: native, Resource: resource, Scopes: []string{resource + "/.default"}})
		if err == nil {
			l.Learn(l.t.Context(), a, t, tokens)
		}
		return err
	})
	return tokens, presented, err
}
