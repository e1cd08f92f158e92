package device_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

type fileSigner struct{ *rsa.PrivateKey }

func (s fileSigner) SignContext(_ context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.Sign(rand.Reader, digest, opts)
}

// elsewhere registers the machine as another program does, and returns the reply, too.
func (p *process) elsewhere(t *testing.T) (in device.Import, reply string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	body, err := prt.JoinRequest{
		DeviceKey: fileSigner{key}, TransportKey: &key.PublicKey, Type: prt.JoinEntra, Domain: "contoso.example", DisplayName: "pc-9", OSVersion: "Debian 12",
	}.Marshal(t.Context())
	require.NoError(t, err)
	rep, err := p.services.Register(t.Context(), http.MethodPost, "https://"+wire.RegistrationHost+"/EnrollmentServer/device/?api-version=2.0", body, p.token(t), "")
	require.NoError(t, err)
	joined, err := prt.ParseJoin(rep.Body)
	require.NoError(t, err)
	return device.Import{Certificate: joined.Certificate, Key: key, Transport: key, JoinType: prt.JoinEntra}, string(rep.Body)
}

// A registration that another program made is this machine's from now on, once and
// for all.
func TestImport(t *testing.T) {
	t.Parallel()
	m, ctx := newMachine(t), t.Context()
	p := m.start()
	in, _ := p.elsewhere(t)
	m.clock.Advance(time.Hour)
	d, existing, err := p.Import(ctx, in)
	require.NoError(t, err)
	require.False(t, existing)
	require.Same(t, d, p.Open())
	require.Equal(t, in.Certificate.DER, d.Cert.DER)
	require.Equal(t, in.Key.Public(), d.Key.Public())
	require.Equal(t, in.Transport.Public(), d.Transport.Public())
	require.Equal(t, m.clock.Now(), d.Record.Registered)
	require.Equal(t, prt.JoinEntra, d.Record.JoinType)

	again, existing, err := p.Import(ctx, in)
	require.NoError(t, err)
	require.True(t, existing)
	require.Same(t, d, again)
	same, err := m.start().Load(ctx)
	require.NoError(t, err)
	require.Equal(t, d.Cert.DER, same.Cert.DER)

	other, _ := p.elsewhere(t)
	_, _, err = p.Import(ctx, other)
	require.ErrorContains(t, err, "already has a registration")
	require.Same(t, d, p.Open())
}

// A registration that was begun here is not given up for one from elsewhere: the
// service may know it, or somebody has written the computer's certificate into the
// directory.
func TestImportWhereOneWasBegun(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(*testing.T, *machine, *process){
		"the certificate of a computer": func(t *testing.T, _ *machine, p *process) {
			_, err := p.ComputerCertificate(t.Context(), computer)
			require.NoError(t, err)
		},
		"a registration": func(t *testing.T, m *machine, p *process) {
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
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			p := m.start()
			in, _ := p.elsewhere(t)
			begin(t, m, p)
			_, _, err := p.Import(t.Context(), in)
			require.ErrorContains(t, err, "already has a registration, finished or not")
			_, err = p.Load(t.Context())
			require.ErrorIs(t, err, device.ErrIncomplete)
		})
	}
}

func TestImportRefused(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	good, _ := m.start().elsewhere(t)
	now := m.clock.Now()
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		change func(*device.Import)
		at     time.Time
		says   string
	}{
		"another key":   {func(in *device.Import) { in.Key = stranger }, now, "the certificate is not for this key"},
		"not valid yet": {func(*device.Import) {}, good.Certificate.NotBefore.Add(-time.Second), "not valid before"},
		"expired":       {func(*device.Import) {}, good.Certificate.NotAfter.Add(time.Second), "expired on"},
		"another tenant": {func(in *device.Import) {
			c := *in.Certificate
			c.TenantID = "99999999-8888-4777-8666-555555555555"
			in.Certificate = &c
		}, now, "the certificate is for the tenant 99999999-8888-4777-8666-555555555555, and contoso.example is " + m.srv.TenantID()},
	} {
		t.Run(name, func(t *testing.T) {
			in := good
			tt.change(&in)
			m.clock.Advance(tt.at.Sub(now))
			defer m.clock.Advance(now.Sub(tt.at))
			_, _, err := m.start().Import(t.Context(), in)
			var why *device.ImportError
			require.ErrorAs(t, err, &why)
			require.ErrorContains(t, err, tt.says)
		})
	}
	m.keys = struct{ tpm.KeyStore }{m.keys}
	_, _, err = m.start().Import(t.Context(), good)
	require.ErrorIs(t, err, tpm.ErrNoImport)
	names, err := m.store.List(t.Context(), "device-")
	require.NoError(t, err)
	require.Empty(t, names, "none of these left anything")
}
