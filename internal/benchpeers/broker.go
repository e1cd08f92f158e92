package benchpeers

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm"
)

const (
	alice    = "alice@contoso.example"
	password = "correct horse battery staple"
	native   = "https://login.microsoftonline.com/common/oauth2/nativeclient"
)

// Broker is package broker on a registered device with one account and some
// cached tokens, each for a resource of its own.
type Broker struct {
	broker   *broker.Broker
	account  broker.CallOption
	tokens   int
	requests atomic.Int64
	inner    *http.Client
}

// Do counts requests.
func (b *Broker) Do(req *http.Request) (*http.Response, error) {
	b.requests.Add(1)
	return b.inner.Do(req)
}

// Options are the emulator's: a tenant with an application per resource.
func Options() entratest.Options {
	o := entratest.Options{
		Seed:           1,
		Users:          []entratest.User{{Username: "alice", Password: password}},
		ReplicationLag: -1,
		Apps:           []entratest.App{{ClientID: clientID, Name: "The app", Public: true, Redirects: []string{native}, AdminConsent: true}},
	}
	for i := range resources {
		o.Apps = append(o.Apps, entratest.App{
			ClientID: fmt.Sprintf("22222222-aaaa-4bbb-8ccc-%012d", i), Name: fmt.Sprint("Resource ", i),
			URIs: []string{fmt.Sprintf("https://resource%d.example", i)},
		})
	}
	return o
}

// NewBroker joins a device and signs in. A broker that keeps tokens has them in
// its store too.
func NewBroker(ctx context.Context, srv *entratest.Server, keys tpm.KeyStore, state store.Store, keep bool) (*Broker, error) {
	b := &Broker{inner: srv.Client()}
	var err error
	b.broker, err = broker.New(ctx, broker.Config{
		Tenant: "contoso.example", App: broker.App{ClientID: clientID},
		Keys: keys, Store: state, Transport: b, KeepTokens: keep,
	})
	if err != nil {
		return nil, err
	}
	cred := broker.Password{Username: alice, Password: password}
	if _, err := b.broker.RegisterDevice(ctx, broker.RegisterRequest{Credential: cred}); err != nil {
		return nil, err
	}
	res, err := b.broker.SignIn(ctx, cred)
	if err != nil {
		return nil, err
	}
	b.account = broker.WithAccount(res.Account)
	return b, nil
}

// Fill fetches tokens until there are this many, and asks for each once more,
// so that the broker knows how its scopes are written.
func (b *Broker) Fill(ctx context.Context, tokens int) error {
	for ; b.tokens < tokens; b.tokens++ {
		for range 2 {
			if _, err := b.Silent(ctx, b.tokens); err != nil {
				return err
			}
		}
	}
	return nil
}

// Silent serves token i.
func (b *Broker) Silent(ctx context.Context, i int) (string, error) {
	res, err := b.broker.AcquireTokenSilent(ctx, resource(i), b.account)
	return res.AccessToken, err
}

// Close ends the broker.
func (b *Broker) Close() error { return b.broker.Close() }
