package broker_test

import (
	"context"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm"
)

// What another process does to the registration is seen by the next call that
// is about it.
func TestAnotherProcessUnregisters(t *testing.T) {
	t.Parallel()
	cred := broker.Password{Username: alice, Password: password}
	register := broker.RegisterRequest{Credential: cred}
	for name, call := range map[string]func(*testing.T, *broker.Broker, *world){
		"Status": func(t *testing.T, b *broker.Broker, _ *world) {
			s, err := b.Status(t.Context())
			require.NoError(t, err)
			require.False(t, s.Registered)
			require.Empty(t, s.Problem)
		},
		"RegisterDevice": func(t *testing.T, b *broker.Broker, w *world) {
			d, err := b.RegisterDevice(t.Context(), register)
			require.NoError(t, err)
			require.False(t, d.Existing)
			require.Len(t, w.srv.Devices(), 1)
		},
		"Enroll": func(t *testing.T, b *broker.Broker, _ *world) {
			_, err := b.Enroll(t.Context(), cred, broker.EnrollRequest{})
			require.NoError(t, err)
		},
		"SignIn, before anybody is asked": func(t *testing.T, b *broker.Broker, w *world) {
			_, err := b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice})
			require.ErrorIs(t, err, broker.ErrDeviceNotRegistered)
			require.Zero(t, w.person.prompts())
		},
		"a token that memory has not": func(t *testing.T, b *broker.Broker, _ *world) {
			_, err := b.AcquireTokenSilent(t.Context(), open)
			require.ErrorIs(t, err, broker.ErrDeviceNotRegistered)
		},
		"UnregisterDevice": func(t *testing.T, b *broker.Broker, _ *world) {
			require.ErrorIs(t, b.UnregisterDevice(t.Context()), broker.ErrDeviceNotRegistered)
		},
		"ForgetDevice, and registering anew": func(t *testing.T, b *broker.Broker, _ *world) {
			require.ErrorIs(t, b.ForgetDevice(t.Context()), broker.ErrDeviceNotRegistered)
			d, err := b.RegisterDevice(t.Context(), register)
			require.NoError(t, err)
			require.False(t, d.Existing)
		},
		"Run, which serves tokens of the device no longer": func(t *testing.T, b *broker.Broker, _ *world) {
			broker.SetSleep(b, func(ctx context.Context, _ time.Duration) error { <-ctx.Done(); return ctx.Err() })
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- b.Run(ctx) }()
			defer func() { cancel(); require.ErrorIs(t, <-done, context.Canceled) }()
			require.EventuallyWithT(t, func(c *assert.CollectT) {
				_, err := b.AcquireTokenSilent(t.Context(), graph)
				assert.ErrorIs(c, err, broker.ErrDeviceNotRegistered)
			}, time.Minute, 50*time.Millisecond)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.join()
			w.signIn()
			b := w.open()
			_, err := b.AcquireTokenSilent(t.Context(), graph)
			require.NoError(t, err)
			require.NoError(t, w.b.UnregisterDevice(t.Context()))
			call(t, b, w)
		})
	}
}

// Another process has registered the device anew: its registration is used,
// and ForgetDevice, which meant the one before, leaves it alone.
func TestAnotherProcessRegistersAnew(t *testing.T) {
	t.Parallel()
	newRegistration := func(t *testing.T) (*world, *broker.Broker, *broker.Device) {
		w := newWorld(t)
		w.join()
		w.signIn()
		b := w.open()
		require.NoError(t, w.b.UnregisterDevice(t.Context()))
		d := w.join()
		w.signIn()
		return w, b, d
	}
	t.Run("SignIn", func(t *testing.T) {
		w, b, d := newRegistration(t)
		res, err := b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
		require.NoError(t, err)
		require.Equal(t, d.ID, res.Metadata.DeviceID)
		require.NoError(t, b.ForgetDevice(t.Context()), "it is this broker's own now")
		s, err := w.b.Status(t.Context())
		require.NoError(t, err)
		require.False(t, s.Registered)
	})
	for name, before := range map[string]func(*testing.T, *broker.Broker){
		"ForgetDevice": func(*testing.T, *broker.Broker) {},
		"ForgetDevice after it was noticed": func(t *testing.T, b *broker.Broker) {
			broker.NoticeDevice(t.Context(), b)
		},
		"ForgetDevice, twice": func(t *testing.T, b *broker.Broker) {
			require.NoError(t, b.ForgetDevice(t.Context()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, b, d := newRegistration(t)
			before(t, b)
			require.NoError(t, b.ForgetDevice(t.Context()))
			got, err := b.RegisterDevice(t.Context(), broker.RegisterRequest{})
			require.NoError(t, err)
			require.True(t, got.Existing)
			require.Equal(t, d.ID, got.ID)
			require.Len(t, w.srv.Devices(), 1)
			w.silent(open) // the PRTs are there still
		})
	}
}

// What an interrupted registration left is this broker's own to forget.
func TestForgetInterruptedRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	require.NoError(t, w.b.ForgetDevice(t.Context()))
	w.wire.set(func(r *http.Request) error {
		if _, ok := joinOf(r); ok {
			return errKilled
		}
		return nil
	}, nil)
	_, err := w.b.RegisterDevice(t.Context(), broker.RegisterRequest{Credential: broker.Password{Username: alice, Password: password}})
	require.ErrorIs(t, err, errKilled)
	require.NoError(t, w.b.ForgetDevice(t.Context()))
	names, err := w.store.List(t.Context(), "device-")
	require.NoError(t, err)
	require.Empty(t, names)
}

// A store that does not answer says nothing about the registration.
func TestRegistrationOutlivesTheStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.join()
	acct := w.signIn()
	s := &sickStore{Store: w.store, prefix: "device-"}
	b := w.on(t, s)
	_, err := b.AcquireTokenSilent(t.Context(), graph)
	require.NoError(t, err)
	s.sick.Store(true)
	broker.NoticeDevice(t.Context(), b)
	require.ErrorIs(t, b.ForgetDevice(t.Context()), os.ErrPermission)
	res, err := b.AcquireTokenSilent(t.Context(), graph, broker.WithAccount(acct))
	require.NoError(t, err)
	require.Equal(t, broker.SourceCache, res.Metadata.Source)
	s.sick.Store(false)
	status, err := b.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, d.ID, status.Device.ID)
}

// A store that does not answer withholds no token that is in memory.
func TestTokensOutliveTheStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	w.signIn()
	s := &sickStore{Store: w.store, prefix: "account-"}
	b := w.on(t, s)
	_, err := b.AcquireTokenSilent(t.Context(), graph)
	require.NoError(t, err)
	s.sick.Store(true)
	_, err = b.Accounts(t.Context())
	require.ErrorIs(t, err, os.ErrPermission)
	res, err := b.AcquireTokenSilent(t.Context(), graph)
	require.NoError(t, err)
	require.Equal(t, broker.SourceCache, res.Metadata.Source)
	s.sick.Store(false)
}

// sickStore does not read records whose names begin with prefix.
type sickStore struct {
	store.Store
	prefix string
	sick   atomic.Bool
}

func (s *sickStore) Get(ctx context.Context, name string) ([]byte, store.Version, error) {
	if s.sick.Load() && strings.HasPrefix(name, s.prefix) {
		return nil, 0, os.ErrPermission
	}
	return s.Store.Get(ctx, name)
}

// A registration that is forgotten while it is being read is not kept.
func TestForgetWhileItIsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	keys := &heldKeys{KeyStore: w.keys, reached: make(chan struct{}), goOn: make(chan struct{})}
	w.cfg.Keys = keys
	b := w.open()
	w.cfg.Keys = w.keys
	w.join()
	status := make(chan broker.Status, 1)
	go func() {
		s, err := b.Status(t.Context())
		assert.NoError(t, err)
		status <- s
	}()
	<-keys.reached
	require.NoError(t, b.ForgetDevice(t.Context()))
	close(keys.goOn)
	require.False(t, (<-status).Registered)
	_, err := b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
	require.ErrorIs(t, err, broker.ErrDeviceNotRegistered)
}

// heldKeys holds the first opening of a key until it may go on.
type heldKeys struct {
	tpm.KeyStore
	once          sync.Once
	reached, goOn chan struct{}
}

func (k *heldKeys) OpenKey(ctx context.Context, blob []byte, opts ...tpm.OpenOption) (tpm.Key, error) {
	k.once.Do(func() {
		close(k.reached)
		<-k.goOn
	})
	return k.KeyStore.OpenKey(ctx, blob, opts...)
}
