package broker_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/store"
)

// neverAnswers takes requests and never answers, whatever their context says,
// until the test is over.
type neverAnswers struct{ over chan struct{} }

func (h neverAnswers) Do(*http.Request) (*http.Response, error) {
	<-h.over
	return nil, errors.New("over")
}

// deaf is a Prompter that shows things and never comes back.
type deaf struct{ over chan struct{} }

func (d deaf) Authorize(context.Context, string, string) (string, error) {
	<-d.over
	return "", broker.ErrUserCanceled
}
func (d deaf) DeviceCode(context.Context, broker.DeviceCode) error { <-d.over; return nil }
func (d deaf) PIN(context.Context, broker.Account) (broker.PIN, error) {
	<-d.over
	return nil, broker.ErrUserCanceled
}

// calls are all public methods of a Broker that take a context.
func calls(acct broker.Account, imported broker.DeviceImport) map[string]func(context.Context, *broker.Broker) error {
	cred := broker.Password{Username: alice, Password: password}
	return map[string]func(context.Context, *broker.Broker) error{
		"Enroll": func(ctx context.Context, b *broker.Broker) error {
			_, err := b.Enroll(ctx, cred, broker.EnrollRequest{})
			return err
		},
		"RegisterDevice": func(ctx context.Context, b *broker.Broker) error {
			_, err := b.RegisterDevice(ctx, broker.RegisterRequest{Credential: cred})
			return err
		},
		"ImportDevice": func(ctx context.Context, b *broker.Broker) error {
			_, err := b.ImportDevice(ctx, imported)
			return err
		},
		"ForgetDevice": func(ctx context.Context, b *broker.Broker) error { return b.ForgetDevice(ctx) },
		"OnPremisesCertificate": func(ctx context.Context, b *broker.Broker) error {
			_, err := b.OnPremisesCertificate(ctx, broker.OnPremises{})
			return err
		},
		"UnregisterDevice": func(ctx context.Context, b *broker.Broker) error { return b.UnregisterDevice(ctx) },
		"SignIn": func(ctx context.Context, b *broker.Broker) error {
			_, err := b.SignIn(ctx, cred)
			return err
		},
		"SignIn with a page": func(ctx context.Context, b *broker.Broker) error {
			_, err := b.SignIn(ctx, broker.AuthCode{})
			return err
		},
		"AcquireTokenSilent": func(ctx context.Context, b *broker.Broker) error {
			_, err := b.AcquireTokenSilent(ctx, graph)
			return err
		},
		"AcquireTokenInteractive": func(ctx context.Context, b *broker.Broker) error {
			_, err := b.AcquireTokenInteractive(ctx, graph, broker.WithClaims(`{"access_token":{"nbf":{"essential":true,"value":"1"}}}`))
			return err
		},
		"AcquireTokenByDeviceCode": func(ctx context.Context, b *broker.Broker) error {
			_, err := b.AcquireTokenByDeviceCode(ctx, graph)
			return err
		},
		"SSOCookies": func(ctx context.Context, b *broker.Broker) error {
			_, err := b.SSOCookies(ctx, "https://login.microsoftonline.com/common/oauth2/authorize")
			return err
		},
		"SignIn with a PIN": func(ctx context.Context, b *broker.Broker) error {
			_, err := b.SignIn(ctx, broker.HelloPIN{PIN: rightPIN}, broker.WithAccount(acct))
			return err
		},
		"ProvisionHello": func(ctx context.Context, b *broker.Broker) error { return b.ProvisionHello(ctx, acct, rightPIN) },
		"ResetPIN":       func(ctx context.Context, b *broker.Broker) error { return b.ResetPIN(ctx, acct, rightPIN) },
		"ChangePIN":      func(ctx context.Context, b *broker.Broker) error { return b.ChangePIN(ctx, acct, rightPIN, rightPIN) },
		"RemoveHello":    func(ctx context.Context, b *broker.Broker) error { return b.RemoveHello(ctx, acct) },
		"Unlock":         func(ctx context.Context, b *broker.Broker) error { _, err := b.Unlock(ctx, acct, rightPIN); return err },
		"Lock":           func(ctx context.Context, b *broker.Broker) error { return b.Lock(ctx, acct) },
		"HelloStatus":    func(ctx context.Context, b *broker.Broker) error { _, err := b.HelloStatus(ctx, acct); return err },
		"RenewPRT":       func(ctx context.Context, b *broker.Broker) error { return b.RenewPRT(ctx, acct) },
		"RemoveAccount":  func(ctx context.Context, b *broker.Broker) error { return b.RemoveAccount(ctx, acct) },
		"Accounts":       func(ctx context.Context, b *broker.Broker) error { _, err := b.Accounts(ctx); return err },
		"PRTStatus":      func(ctx context.Context, b *broker.Broker) error { _, err := b.PRTStatus(ctx, acct); return err },
		"Status":         func(ctx context.Context, b *broker.Broker) error { _, err := b.Status(ctx); return err },
		"SignInLog":      func(ctx context.Context, b *broker.Broker) error { _, err := b.SignInLog(ctx, acct); return err },
		"Why": func(ctx context.Context, b *broker.Broker) error {
			_, err := b.Why(ctx, broker.WhyInput{Scopes: graph})
			return err
		},
		"Preflight": func(ctx context.Context, b *broker.Broker) error {
			_, err := b.Preflight(ctx, broker.WhyInput{Scopes: graph})
			return err
		},
		"SignedHTTPRequest": func(ctx context.Context, b *broker.Broker) error {
			_, err := b.SignedHTTPRequest(ctx, "token", broker.PoP{})
			return err
		},
		"PoPKeyID": func(ctx context.Context, b *broker.Broker) error { _, err := b.PoPKeyID(ctx); return err },
		"Run":      func(ctx context.Context, b *broker.Broker) error { return b.Run(ctx) },
	}
}

// local are the calls that need no service.
var local = []string{"OnPremisesCertificate", "ForgetDevice", "RemoveAccount", "Accounts", "PRTStatus", "Status", "SignInLog", "Why", "Preflight", "SignedHTTPRequest", "PoPKeyID", "HelloStatus", "Lock", "ChangePIN"}

// withoutContext are methods without a context.
var withoutContext = []string{"Close", "Format"}

// Every call returns within its context, though the service never answers and
// the transport does not heed the context.
func TestEveryCallHeedsItsContext(t *testing.T) {
	w := newWorld(t, withMemory, withKeys(softwareKeys(t))) // which take keys from outside
	softwareHello(w)
	w.join()
	acct := w.hello()
	state := w.store.(*store.Memory)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	all := calls(acct, broker.DeviceImport{Certificate: selfSigned(t, key, "d03994c9-24f8-41ba-a156-1805998d6dc7"), Key: pkcs8(t, key)})
	covered := map[string]bool{}
	for name := range all {
		covered[strings.Fields(name)[0]] = true
	}
	for m := range reflect.TypeFor[*broker.Broker]().Methods() {
		require.Truef(t, covered[m.Name] || contains(withoutContext, m.Name), "%s is not tried", m.Name)
	}
	w.clock.Advance(20 * time.Hour)
	for name, call := range all {
		for _, registered := range []bool{true, false} {
			t.Run(name+map[bool]string{true: "", false: " without a device"}[registered], func(t *testing.T) {
				t.Parallel()
				over := make(chan struct{})
				t.Cleanup(func() { close(over) })
				cfg := w.cfg
				cfg.Store = &store.Memory{}
				if registered {
					cfg.Store = copyStore(t, state)
				}
				cfg.Transport, cfg.Prompter, cfg.MutualTLS = neverAnswers{over}, deaf{over}, func(tls.Certificate) broker.Transport { return neverAnswers{over} }
				cfg.AllowUnbound = true
				b, err := broker.New(t.Context(), cfg)
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, b.Close()) })

				ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
				defer cancel()
				err = ends(t, func() error { return call(ctx, b) })
				if registered && !contains(local, name) && !contains([]string{"Enroll", "RegisterDevice", "ProvisionHello"}, name) {
					require.ErrorIs(t, err, context.DeadlineExceeded)
				}
			})
		}
	}
}

// A Prompter that never comes back does not keep a call, whatever it was asked
// for.
func TestPromptsHeedTheContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	softwareHello(w)
	w.join()
	acct := w.hello()
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	w.cfg.Prompter = deaf{over}
	b := w.open()
	for name, call := range map[string]func(context.Context) error{
		"a page": func(ctx context.Context) error { _, err := b.SignIn(ctx, broker.AuthCode{}); return err },
		"a device code": func(ctx context.Context) error {
			_, err := b.SignIn(ctx, broker.DeviceCodeFlow{})
			return err
		},
		"a PIN": func(ctx context.Context) error {
			_, err := b.AcquireTokenInteractive(ctx, graph, broker.WithAccount(acct), broker.WithClaims(`{"access_token":{"nbf":{"essential":true,"value":"1"}}}`))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			require.ErrorIs(t, ends(t, func() error { return call(ctx) }), context.DeadlineExceeded)
		})
	}
}

// ends returns what a call returns, which has to end with its context. The minute
// only guards against a test that hangs.
func ends(t *testing.T, call func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-time.After(time.Minute):
		t.Fatal("the call outlived its context")
		return nil
	}
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// No goroutine of the broker outlives Close.
func TestNoGoroutineLeak(t *testing.T) {
	t.Parallel()
	before := brokerGoroutines(nil) // of tests whose transport never returns
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	w.silent(graph, broker.WithCAE())
	w.clock.Advance(13 * time.Hour)
	remove := w.srv.AddFault(entratest.Fault{Kind: entratest.Delay, Delay: -1, Times: -1})
	defer remove()
	w.silent(graph, broker.WithCAE()) // begins a refresh that never ends
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.b.Run(ctx)
	}()
	for range 50 {
		short, stop := context.WithTimeout(t.Context(), time.Millisecond)
		_, err := w.b.AcquireTokenSilent(short, open)
		stop()
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	cancel()
	<-done
	require.NoError(t, w.b.Close())
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Empty(c, brokerGoroutines(before))
	}, time.Minute, 10*time.Millisecond)
}

// brokerGoroutines returns the stacks of goroutines inside the broker, by
// their names, but for those that were there before.
func brokerGoroutines(before map[string]string) map[string]string {
	buf := make([]byte, 16<<20)
	buf = buf[:runtime.Stack(buf, true)]
	in := map[string]string{}
	for g := range strings.SplitSeq(string(buf), "\n\n") {
		name, _, _ := strings.Cut(g, " [")
		if _, old := before[name]; !old && strings.Contains(g, "prtbroker/broker.") && !strings.Contains(g, "broker_test.TestNoGoroutineLeak") {
			in[name] = g
		}
	}
	return in
}
