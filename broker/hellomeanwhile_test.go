package broker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
)

// isKeyService reports whether a request is for the service that keeps Hello keys.
func isKeyService(r *http.Request) bool {
	return strings.Contains(strings.ToLower(r.URL.Path), "/enrollmentserver/key")
}

// afterKeyService does something once, after the next reply of the service that keeps
// Hello keys to a request by a method.
func (w *world) afterKeyService(method string, do func()) {
	w.wire.set(nil, func(r *http.Request) error {
		if r.Method == method && isKeyService(r) {
			w.wire.set(nil, nil)
			do()
		}
		return nil
	})
}

// In a store that lends no leases another process may do something to the Hello key
// after the service has answered and before that is written down: its key stays.
func TestHelloKeyOfAnotherProcessMeanwhile(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		have      bool // a key
		do        func(w *world, acct broker.Account) error
		method    string
		meanwhile func(b *broker.Broker, acct broker.Account) error
		says      string // empty: it works
		left      bool
	}{
		{"provisioned twice", false, func(w *world, acct broker.Account) error {
			return w.b.ProvisionHello(w.t.Context(), acct, rightPIN)
		}, http.MethodPost, func(b *broker.Broker, acct broker.Account) error {
			return b.ProvisionHello(context.Background(), acct, otherPIN)
		}, "replaced in the meantime", true},
		{"reset while it is removed", true, func(w *world, acct broker.Account) error {
			return w.b.RemoveHello(w.t.Context(), acct)
		}, http.MethodDelete, func(b *broker.Broker, acct broker.Account) error {
			return b.ResetPIN(context.Background(), acct, otherPIN)
		}, "replaced in the meantime", true},
		{"removed twice", true, func(w *world, acct broker.Account) error {
			return w.b.RemoveHello(w.t.Context(), acct)
		}, http.MethodDelete, func(b *broker.Broker, acct broker.Account) error {
			return b.RemoveHello(context.Background(), acct)
		}, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(w *world, _ *entratestOptions) { w.store = &bareStore{Store: &store.Memory{}} })
			softwareHello(w)
			w.join()
			res, err := w.b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice, MFA: true})
			require.NoError(t, err)
			if tt.have {
				require.NoError(t, w.b.ProvisionHello(t.Context(), res.Account, rightPIN))
			}
			other := w.open()
			w.afterKeyService(tt.method, func() { require.NoError(t, tt.meanwhile(other, res.Account)) })
			err = tt.do(w, res.Account)
			if tt.says != "" {
				require.ErrorContains(t, err, tt.says)
			} else {
				require.NoError(t, err)
			}
			s, err := w.b.HelloStatus(t.Context(), res.Account)
			require.NoError(t, err)
			require.Equal(t, tt.left, s.Set)
			require.False(t, s.Unfinished)
			if tt.left {
				require.Equal(t, []string{s.KeyID}, w.helloKeys(alice))
				_, err = w.b.SignIn(t.Context(), broker.HelloPIN{PIN: otherPIN})
				require.NoError(t, err)
			}
		})
	}
}

// A key that another process removes while its PIN is changed is not there afterwards.
func TestHelloKeyIsRemovedDuringChangePIN(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world, _ *entratestOptions) { w.store = &bareStore{Store: &store.Memory{}} })
	softwareHello(w)
	w.join()
	acct := w.hello()
	other := w.open()
	trap := &trapped{Store: w.store}
	w.cfg.Store = trap
	w.reopen()
	trap.on(".state", func() { require.NoError(t, other.RemoveHello(t.Context(), acct)) }) // the try is counted
	require.ErrorIs(t, w.b.ChangePIN(t.Context(), acct, rightPIN, otherPIN), broker.ErrNoHello)
}

// An account that is removed while its user is on the page gets no Hello key.
func TestProvisionHelloOfARemovedAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	softwareHello(w)
	w.join()
	acct := w.signIn()
	w.cfg.Prompter = locking{w.person, func() { require.NoError(t, w.b.RemoveAccount(t.Context(), acct)) }}
	w.reopen()
	require.ErrorIs(t, w.b.ProvisionHello(t.Context(), acct, rightPIN), broker.ErrNoAccount)
	require.Empty(t, w.helloKeys(alice))
}

// breakingLeases breaks a store as soon as a Hello key is leased.
type breakingLeases struct {
	*brokenStore
	once bool
}

func (s *breakingLeases) Lease(ctx context.Context, name string) (func(), error) {
	if strings.HasSuffix(name, ".hello") && !s.once {
		s.once = true
		s.set("get .state")
	}
	return s.brokenStore.Lease(ctx, name)
}

// A record that cannot be read under the lease does not keep the lease.
func TestHelloLeaseIsGivenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	s := &breakingLeases{brokenStore: &brokenStore{Store: w.store}}
	w.cfg.Store = s
	softwareHello(w)
	w.join()
	res, err := w.b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice, MFA: true})
	require.NoError(t, err)
	require.ErrorIs(t, w.b.ProvisionHello(t.Context(), res.Account, rightPIN), errDisk)
	s.set("")
	require.NoError(t, w.b.ProvisionHello(t.Context(), res.Account, rightPIN))
}

// The key signs under the name that the service gave with it, else under that of the
// account.
func TestHelloUsername(t *testing.T) {
	t.Parallel()
	const other = "alice@fabrikam.example"
	for given, want := range map[string]string{"": alice, other: other} {
		t.Run(want, func(t *testing.T) {
			w := newWorld(t, withMemory)
			softwareHello(w)
			w.join()
			res, err := w.b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice, MFA: true})
			require.NoError(t, err)
			inner := w.wire.inner
			w.wire.inner = apiDo(func(r *http.Request) (*http.Response, error) {
				res, err := inner.Do(r)
				if err != nil || r.Method != http.MethodPost || !isKeyService(r) {
					return res, err
				}
				defer res.Body.Close()
				var raw bytes.Buffer
				_, err = raw.ReadFrom(res.Body)
				require.NoError(t, err)
				var body map[string]any
				require.NoError(t, json.Unmarshal(raw.Bytes(), &body))
				require.Contains(t, body, "upn")
				body["upn"] = given
				text, err := json.Marshal(body)
				require.NoError(t, err)
				return reply(res.StatusCode, string(text)), nil
			})
			require.NoError(t, w.b.ProvisionHello(t.Context(), res.Account, rightPIN))
			require.Equal(t, want, broker.HelloUsername(t.Context(), w.b))
		})
	}
}
