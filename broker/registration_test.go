package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/prt"
)

func TestRegistrationTypes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		join   prt.JoinType
		joined string
		work   string
	}{{prt.JoinEntra, "YES", "NO"}, {prt.JoinPersonal, "NO", "YES"}} {
		t.Run(tt.join.String(), func(t *testing.T) {
			w := newWorld(t)
			d, err := w.b.RegisterDevice(t.Context(), broker.RegisterRequest{JoinType: tt.join, Credential: broker.Password{Username: alice, Password: password}})
			require.NoError(t, err)
			require.Equal(t, tt.join, d.JoinType)
			require.Equal(t, w.srv.TenantID(), d.TenantID)
			require.Equal(t, "contoso.example", d.TenantName)
			require.Len(t, d.Thumbprint, 40)
			require.NotEmpty(t, d.UserID)
			require.Equal(t, "EU", d.Region)
			require.True(t, d.NotAfter.After(w.clock.Now().AddDate(9, 0, 0)))
			s, err := w.b.Status(t.Context())
			require.NoError(t, err)
			require.Contains(t, s.String(), "AzureAdJoined : "+tt.joined)
			require.Contains(t, s.String(), "WorkplaceJoined : "+tt.work)
			require.Contains(t, s.String(), "Thumbprint : "+d.Thumbprint)
			w.signIn()
			w.silent(graph)
		})
	}
}

// A device that is registered is returned as it is, without a credential.
func TestRegisterTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.join()
	require.False(t, first.Existing)
	w.wire.take()
	again, err := w.b.RegisterDevice(t.Context(), broker.RegisterRequest{})
	require.NoError(t, err)
	require.True(t, again.Existing)
	require.Equal(t, first.ID, again.ID)
	require.Empty(t, w.wire.take())

	_, err = w.b.RegisterDevice(t.Context(), broker.RegisterRequest{JoinType: prt.JoinPersonal})
	require.ErrorContains(t, err, "joined already")

	// The same tenant by its id, in a broker of its own.
	w.cfg.Tenant = w.srv.TenantID()
	b := w.open()
	byID, err := b.RegisterDevice(t.Context(), broker.RegisterRequest{})
	require.NoError(t, err)
	require.True(t, byID.Existing)
	require.Equal(t, first.ID, byID.ID)
	require.Len(t, w.srv.Devices(), 1)
}

// Brokers that share a store, as the apps of a user do, join once.
func TestRegisterAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ids := make([]string, 4)
	var wg sync.WaitGroup
	for i := range ids {
		b := w.open()
		wg.Go(func() {
			d, err := b.RegisterDevice(t.Context(), broker.RegisterRequest{Credential: broker.Password{Username: alice, Password: password}})
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = d.ID
		})
	}
	wg.Wait()
	require.Len(t, w.srv.Devices(), 1)
	for _, id := range ids {
		require.Equal(t, ids[0], id)
	}
}

var errKilled = errors.New("killed")

// A killer ends the life of a process at one point: nothing that it does
// after that point has an effect.
type killer struct {
	mu   sync.Mutex
	left int // effects before the end
	dead bool
}

// step reports whether the next effect still happens.
func (k *killer) step() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.left == 0 {
		k.dead = true
	}
	if k.dead {
		return errKilled
	}
	k.left--
	return nil
}

// set says how many effects are left.
func (k *killer) set(left int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.left, k.dead = left, false
}

func (k *killer) request(*http.Request) error { return k.step() }

type mortalStore struct {
	store.Store
	k *killer
}

func (s *mortalStore) Put(ctx context.Context, name string, data []byte, old store.Version) (store.Version, error) {
	if err := s.k.step(); err != nil {
		return 0, err
	}
	return s.Store.Put(ctx, name, data, old)
}

func (s *mortalStore) Delete(ctx context.Context, name string, old store.Version) error {
	if err := s.k.step(); err != nil {
		return err
	}
	return s.Store.Delete(ctx, name, old)
}

func (s *mortalStore) Lease(ctx context.Context, name string) (func(), error) {
	if l, ok := s.Store.(store.Leaser); ok {
		return l.Lease(ctx, name)
	}
	return func() {}, nil
}

// Registration that is killed at any point is taken up by the next call, with
// the same keys: before each write, before each request, and after each
// request before its reply is seen.
func TestRegistrationKilledAnywhere(t *testing.T) {
	t.Parallel()
	killed := 0
	for point := 0; ; point++ {
		w := newWorld(t)
		good := w.cfg
		k := &killer{left: point}
		w.cfg.Store = &mortalStore{w.store, k}
		var mu sync.Mutex
		var joins []joinBody
		w.wire.set(func(r *http.Request) error {
			if err := k.step(); err != nil {
				return err
			}
			if body, ok := joinOf(r); ok {
				mu.Lock()
				joins = append(joins, body)
				mu.Unlock()
			}
			return nil
		}, func(*http.Request) error { return k.step() })
		b := w.open()
		_, err := b.RegisterDevice(t.Context(), broker.RegisterRequest{Credential: broker.Password{Username: alice, Password: password}})
		_ = b.Close()
		if err == nil {
			require.Greater(t, killed, 8, "the points were really there")
			break
		}
		require.ErrorIs(t, err, errKilled, "point %d", point)
		killed++

		// The machine starts again.
		k.set(1 << 20)
		w.cfg = good
		w.b = w.open()
		d := w.join()
		require.NotEmpty(t, d.ID)
		require.Len(t, w.srv.Devices(), 1, "point %d: an orphan", point)
		if len(joins) > 1 {
			require.Equal(t, joins[0].TransportKey, joins[1].TransportKey, "the same keys")
			require.Equal(t, "true", joins[1].Attributes["ReuseDevice"], "and the same object")
		}
		w.signIn()
		w.silent(graph)
		_ = w.b.Close()
	}
}

type joinBody struct {
	TransportKey string
	Attributes   map[string]string
}

func joinOf(r *http.Request) (b joinBody, ok bool) {
	if r.Method != http.MethodPost || !strings.Contains(r.URL.Path, "/EnrollmentServer/device/") {
		return b, false
	}
	body, err := r.GetBody()
	if err != nil {
		return b, false
	}
	raw, _ := io.ReadAll(body)
	return b, json.Unmarshal(raw, &b) == nil
}

// The token service does not know a new device at once.
func TestReplication(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withOptions(func(o *entratestOptions) { o.ReplicationLag, o.ReplicationTries = time.Minute, -1 }))
	w.join()
	begin := w.clock.Now()
	w.signIn()
	waited := w.clock.Now().Sub(begin)
	require.GreaterOrEqual(t, waited, time.Minute)
	require.Less(t, waited, 3*time.Minute)
	w.silent(graph)
}

// The wait is bounded, and the registration stays.
func TestReplicationNeverEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withOptions(func(o *entratestOptions) { o.ReplicationLag, o.ReplicationTries = time.Hour, -1 }))
	d := w.join()
	_, err := w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
	require.ErrorIs(t, err, broker.ErrDeviceAuth)
	s, err := w.b.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, d.ID, s.Device.ID)
}

func TestUnregister(t *testing.T) {
	t.Parallel()
	keys, _ := softwareTPM(t)
	w := newWorld(t, withKeys(keys))
	w.join()
	acct := w.signIn()
	w.silent(graph)
	require.NoError(t, w.b.UnregisterDevice(t.Context()))
	require.Empty(t, w.srv.Devices())
	_, err := w.b.AcquireTokenSilent(t.Context(), open)
	require.ErrorIs(t, err, broker.ErrDeviceNotRegistered)
	require.Equal(t, broker.PRTNone, w.status(acct).State)
	require.ErrorIs(t, w.b.UnregisterDevice(t.Context()), broker.ErrDeviceNotRegistered)

	w.join()
	w.signIn()
	w.silent(graph)
}

// When the service refuses, nothing is deleted here.
func TestUnregisterRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.join()
	w.signIn()
	require.NoError(t, w.srv.DeleteDevice(d.ID))
	for range 2 { // as after a removal whose reply was lost
		err := w.b.UnregisterDevice(t.Context())
		require.ErrorIs(t, err, broker.ErrDeviceGone)
		require.ErrorContains(t, err, "ForgetDevice")
	}
	s, err := w.b.Status(t.Context())
	require.NoError(t, err)
	require.True(t, s.Registered)

	require.NoError(t, w.b.ForgetDevice(t.Context()))
	again := w.join()
	require.NotEqual(t, d.ID, again.ID)
}

// Without discovery the well-known endpoints serve; a discovered one on
// another host is not taken, for a token goes there.
func TestDiscoveryFallBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.wire.set(func(r *http.Request) error {
		if strings.HasSuffix(r.URL.Path, "/Discover") {
			return errors.New("no route")
		}
		return nil
	}, nil)
	w.join()
	w.signIn()
	s, err := w.b.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, "https://enterpriseregistration.windows.net/EnrollmentServer/device/", s.Tenant.Join.URL)
}

func TestRegistrationRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		opts func(*entratestOptions)
		want error
		text string
	}{
		{"MFA", func(o *entratestOptions) { o.RequireMFAToJoin = true }, broker.ErrInteractionRequired, "MFA"},
		{"quota", func(o *entratestOptions) { o.DeviceQuota = 1 }, broker.ErrBlocked, "as many devices"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, withOptions(tt.opts))
			register := func() error {
				w.cfg.Store = &store.Memory{}
				_, err := w.open().RegisterDevice(t.Context(), broker.RegisterRequest{Credential: broker.Password{Username: alice, Password: password}})
				return err
			}
			err := register()
			if err == nil {
				err = register()
			}
			require.ErrorIs(t, err, tt.want)
			require.Contains(t, err.Error(), tt.text)
		})
	}
}
