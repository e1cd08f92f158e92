package device_test

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// A registration is made step by step, found by another process, and is the
// same as long as nobody forgets it.
func TestRegister(t *testing.T) {
	t.Parallel()
	m, ctx := newMachine(t), t.Context()
	p := m.start()
	_, err := p.Load(ctx)
	require.ErrorIs(t, err, device.ErrNone)
	d, err := p.Registered(ctx, prt.JoinEntra)
	require.NoError(t, err)
	require.Nil(t, d)

	var steps []string
	d, existing, err := p.Register(ctx, device.Request{Token: p.token(t), Step: func(s string) { steps = append(steps, s) }})
	require.NoError(t, err)
	require.False(t, existing)
	require.Equal(t, []string{"discover", "device key", "transport key", "save keys", "request certificate", "save certificate"}, steps)
	require.Equal(t, m.srv.TenantID(), d.Record.TenantID)
	require.Equal(t, []string{"contoso.example"}, d.Record.TenantNames)
	require.Equal(t, m.clock.Now(), d.Record.Registered)
	require.Equal(t, m.srv.Devices()[0].ID, d.Cert.DeviceID)
	require.Same(t, d, p.Open())
	require.Equal(t, d.Cert.DER, d.Proof().Certificate)
	require.Equal(t, [][]byte{d.Cert.DER}, d.TLSCertificate(ctx).Certificate)
	require.Equal(t, d.Key.Public(), d.TLSCertificate(ctx).PrivateKey.(crypto.Signer).Public())

	m.wire = func(r *http.Request) { require.Fail(t, "nothing is sent", "%s", r.URL) }
	again, existing, err := p.Register(ctx, device.Request{Step: func(s string) { require.Fail(t, "nothing is done", "%s", s) }})
	require.NoError(t, err)
	require.True(t, existing)
	require.Same(t, d, again)
	var other *device.OtherTypeError
	_, err = p.Registered(ctx, prt.JoinPersonal)
	require.ErrorAs(t, err, &other)
	require.Equal(t, device.OtherTypeError{Is: prt.JoinEntra, Want: prt.JoinPersonal}, *other)
	require.ErrorContains(t, err, "registered with join type")

	q := m.start()
	same, err := q.Load(ctx)
	require.NoError(t, err)
	require.Equal(t, d.Cert.DeviceID, same.Cert.DeviceID)
	require.Equal(t, d.Key.Public(), same.Key.Public())
}

// A process that finds that another one has registered the device meanwhile asks
// nobody anything.
func TestRegisteredByAnother(t *testing.T) {
	t.Parallel()
	m, ctx := newMachine(t), t.Context()
	p, q := m.start(), m.start()
	_, err := q.Load(ctx)
	require.ErrorIs(t, err, device.ErrNone)
	d, _, err := p.Register(ctx, device.Request{Token: p.token(t)})
	require.NoError(t, err)

	m.wire = func(r *http.Request) { require.Fail(t, "a request", "%s", r.URL) }
	var steps []string
	same, existing, err := q.Register(ctx, device.Request{Step: func(s string) { steps = append(steps, s) }})
	require.NoError(t, err)
	require.True(t, existing)
	require.Equal(t, d.Cert.DER, same.Cert.DER)
	require.Empty(t, steps)
	var other *device.OtherTypeError
	_, _, err = q.Register(ctx, device.Request{JoinType: prt.JoinPersonal})
	require.ErrorAs(t, err, &other)
}

// A registration that was cut off is taken up with the same keys, and the
// service is asked for the same device object.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	m, p := newMachine(t), (*process)(nil)
	p = m.start()
	token := p.token(t)
	ctx, cancel := context.WithCancel(t.Context())
	m.wire = func(r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Host == wire.RegistrationHost {
			cancel()
		}
	}
	_, _, err := p.Register(ctx, device.Request{Token: token})
	require.ErrorIs(t, err, context.Canceled)
	m.wire = nil
	p = m.start()
	_, err = p.Load(t.Context())
	require.ErrorIs(t, err, device.ErrIncomplete)
	require.ErrorIs(t, err, device.ErrNone)
	var steps []string
	_, _, err = p.Register(t.Context(), device.Request{Token: token, Step: func(s string) { steps = append(steps, s) }})
	require.NoError(t, err)
	require.Equal(t, []string{"discover", "request certificate", "save certificate"}, steps)
	require.Len(t, m.srv.Devices(), 1)
}

// refusing is a store that does not save the nth state of a registration.
type refusing struct {
	store.Store
	nth int
}

var errFull = errors.New("the disk is full")

func (s *refusing) Put(ctx context.Context, name string, data []byte, old store.Version) (store.Version, error) {
	if strings.HasSuffix(name, vault.StateSuffix) {
		if s.nth--; s.nth == 0 {
			return 0, errFull
		}
	}
	return s.Store.Put(ctx, name, data, old)
}

// Nothing is sent before it is saved that it may have been, and only what may have
// been sent before asks for the device object that it may have made.
func TestSavedBeforeSent(t *testing.T) {
	t.Parallel()
	for nth, sent := range map[int]int{1: 0, 2: 0, 3: 1} { // the keys, that the request may be sent, the certificate
		t.Run(fmt.Sprint(nth), func(t *testing.T) {
			m := newMachine(t)
			m.store = &refusing{m.store, nth}
			var reuse []bool
			m.wire = func(r *http.Request) {
				if r.Method != http.MethodPost || r.URL.Host != wire.RegistrationHost {
					return
				}
				body, err := r.GetBody()
				require.NoError(t, err)
				text, err := io.ReadAll(body)
				require.NoError(t, err)
				reuse = append(reuse, strings.Contains(string(text), "ReuseDevice"))
			}
			p := m.start()
			token := p.token(t)
			_, _, err := p.Register(t.Context(), device.Request{Token: token})
			require.ErrorIs(t, err, errFull)
			require.Len(t, reuse, sent)
			_, _, err = p.Register(t.Context(), device.Request{Token: token})
			require.NoError(t, err)
			require.Len(t, m.srv.Devices(), 1)
			require.Equal(t, slices.Repeat([]bool{false}, sent), reuse[:sent])
			require.Equal(t, []bool{sent > 0}, reuse[sent:])
		})
	}
}

// The registration of a tenant is found under another name of it, and is the same one:
// nothing is sent, and nothing of it changes but the names. One of another type stands
// in the way there too.
func TestRegisterUnderAnotherName(t *testing.T) {
	t.Parallel()
	m, ctx := newMachine(t), t.Context()
	p := m.start()
	d, _, err := p.Register(ctx, device.Request{Token: p.token(t)})
	require.NoError(t, err)

	m.name = "renamed since"
	q := m.startFor(otherName)
	_, err = q.Load(ctx)
	require.ErrorIs(t, err, device.ErrNone)
	_, _, err = q.Register(ctx, device.Request{Token: p.token(t), JoinType: prt.JoinPersonal})
	var other *device.OtherTypeError
	require.ErrorAs(t, err, &other)
	require.Equal(t, device.OtherTypeError{Is: prt.JoinEntra, Want: prt.JoinPersonal}, *other)

	m.wire = func(r *http.Request) { require.NotEqual(t, http.MethodPost, r.Method, "%s", r.URL) }
	again, existing, err := q.Register(ctx, device.Request{})
	require.NoError(t, err)
	require.True(t, existing)
	require.Equal(t, d.Cert.DER, again.Cert.DER)
	want := *d.Record
	want.TenantNames = []string{"contoso.example", otherName}
	require.Equal(t, &want, again.Record)
	require.Len(t, m.srv.Devices(), 1)
	for _, name := range want.TenantNames {
		_, err := m.startFor(name).Load(ctx)
		require.NoError(t, err, name)
	}
}

// A registration that cannot be read is not taken for a missing one.
func TestDamaged(t *testing.T) {
	t.Parallel()
	m, ctx := newMachine(t), t.Context()
	p := m.start()
	_, _, err := p.Register(ctx, device.Request{Token: p.token(t)})
	require.NoError(t, err)
	names, err := m.store.List(ctx, "device-")
	require.NoError(t, err)
	for _, n := range names {
		_, v, err := m.store.Get(ctx, n)
		require.NoError(t, err)
		_, err = m.store.Put(ctx, n, []byte("nonsense"), v)
		require.NoError(t, err)
	}
	_, err = m.start().Load(ctx)
	require.ErrorIs(t, err, tpm.ErrInvalidBlob)
	require.NotErrorIs(t, err, device.ErrNone)
}

// A computer of an on-premises directory proves itself by a key of its own, and
// waits until its certificate is synced.
func TestHybrid(t *testing.T) {
	t.Parallel()
	m, ctx := newMachine(t), t.Context()
	p := m.start()
	c := device.Computer{ObjectID: "5B0B6A3E-7C1D-4C0E-9B53-0D6A4C1F2E01", SID: "S-1-5-21-1004336348-1177238915-682003330-1105"}
	_, err := p.ComputerCertificate(ctx, device.Computer{ObjectID: c.ObjectID})
	require.ErrorIs(t, err, device.ErrComputer)
	_, _, err = p.Register(ctx, device.Request{JoinType: prt.JoinHybrid, Computer: &c})
	require.ErrorIs(t, err, device.ErrNoComputer, "it has no certificate")
	der, err := p.ComputerCertificate(ctx, c)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)

	waits := 0
	m.sleep = func() {
		if waits++; waits == 2 {
			require.NoError(t, m.srv.SyncComputer(entratest.Computer{
				ID: "5b0b6a3e-7c1d-4c0e-9b53-0d6a4c1f2e01", SID: c.SID, Name: "PC-1", PublicKey: cert.PublicKey.(*rsa.PublicKey),
			}))
		}
	}
	d, _, err := p.Register(ctx, device.Request{JoinType: prt.JoinHybrid, Computer: &c})
	require.NoError(t, err)
	require.Equal(t, 2, waits)
	require.Equal(t, "5b0b6a3e-7c1d-4c0e-9b53-0d6a4c1f2e01", d.Cert.DeviceID)
}
