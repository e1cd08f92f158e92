package device_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// computer is the machine in the on-premises directory.
var computer = device.Computer{ObjectID: "5b0b6a3e-7c1d-4c0e-9b53-0d6a4c1f2e01", SID: "S-1-5-21-1004336348-1177238915-682003330-1105"}

// A keyFault is what is wrong with a key that is made or opened.
type keyFault int

const (
	sound keyFault = iota
	blunt          // it cannot sign
	lost           // there is none
)

var errLost = errors.New("the key store lost a key")

// faultyKeys counts the keys that are open. The nth that is made or opened has a
// fault.
type faultyKeys struct {
	tpm.KeyStore
	nth   int
	fault keyFault
	open  int
}

type openKey struct {
	tpm.Key
	s *faultyKeys
}

func (k openKey) Close() error { k.s.open--; return k.Key.Close() }

type openSigner struct {
	tpm.Signer
	s *faultyKeys
}

func (k openSigner) Close() error { k.s.open--; return k.Signer.Close() }

func (s *faultyKeys) give(k tpm.Key, err error) (tpm.Key, error) {
	if err != nil {
		return nil, err
	}
	fault := sound
	if s.nth--; s.nth == 0 {
		fault = s.fault
	}
	if fault == lost {
		_ = k.Close()
		return nil, errLost
	}
	s.open++
	if signer, ok := k.(tpm.Signer); ok && fault != blunt {
		return openSigner{signer, s}, nil
	}
	return openKey{k, s}, nil
}

func (s *faultyKeys) GenerateKey(ctx context.Context, spec tpm.KeySpec) (tpm.Key, error) {
	return s.give(s.KeyStore.GenerateKey(ctx, spec))
}

func (s *faultyKeys) OpenKey(ctx context.Context, blob []byte, opts ...tpm.OpenOption) (tpm.Key, error) {
	return s.give(s.KeyStore.OpenKey(ctx, blob, opts...))
}

// A key store that makes or opens a wrong key, or none, registers nothing, and no key
// of it stays open.
func TestFaultyKeys(t *testing.T) {
	t.Parallel()
	register := func(t *testing.T, p *process) error {
		_, _, err := p.Register(t.Context(), device.Request{Token: p.token(t)})
		return err
	}
	certify := func(t *testing.T, p *process) error {
		_, err := p.ComputerCertificate(t.Context(), computer)
		return err
	}
	load := func(t *testing.T, p *process) error {
		_, err := p.Load(t.Context())
		return err
	}
	for name, tt := range map[string]struct {
		before, do func(*testing.T, *process) error // before: with sound keys
		nth        int
		fault      keyFault
		is         error
		says       string
	}{
		"a device key that cannot sign":            {nil, register, 1, blunt, nil, "made a device key that cannot sign"},
		"no device key":                            {nil, register, 1, lost, errLost, "making the device key"},
		"no transport key":                         {nil, register, 2, lost, errLost, "making the transport key"},
		"a device key that cannot sign any more":   {register, load, 1, blunt, store.ErrDamaged, "the device key cannot sign"},
		"a device key that does not open":          {register, load, 1, lost, errLost, "opening the device key"},
		"a transport key that does not open":       {register, load, 2, lost, errLost, "opening the transport key"},
		"a computer's key that cannot sign":        {nil, certify, 1, blunt, nil, "made a key that cannot sign"},
		"no key of the computer":                   {nil, certify, 1, lost, errLost, "making the on-premises key"},
		"a computer's key that cannot sign longer": {certify, certify, 1, blunt, store.ErrDamaged, ""},
		"a computer's key that does not open":      {certify, certify, 1, lost, errLost, "opening the on-premises key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			if tt.before != nil {
				require.NoError(t, tt.before(t, m.start()))
			}
			keys := &faultyKeys{KeyStore: m.keys, nth: tt.nth, fault: tt.fault}
			m.keys = keys
			err := tt.do(t, m.start())
			require.ErrorContains(t, err, tt.says)
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
			}
			require.Zero(t, keys.open)
		})
	}
}

// remembering is a source of randomness that remembers the data keys that it made.
type remembering struct{ keys [][]byte }

func (r *remembering) Read(b []byte) (int, error) {
	if len(b) == vault.KeySize {
		r.keys = append(r.keys, b)
	}
	return rand.Read(b)
}

// Whatever comes of it, a registration leaves no data key in memory; one that fails
// leaves no key open.
func TestRegistrationLetsGo(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		nth  int // the state that is not saved
		open int
		want error
	}{
		"registered":           {0, 2, nil},
		"keys not saved":       {1, 0, errFull},
		"request not noted":    {2, 0, errFull},
		"no certificate saved": {3, 0, errFull},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, random := newMachine(t), &remembering{}
			keys := &faultyKeys{KeyStore: m.keys}
			m.store, m.rand, m.keys = &refusing{m.store, tt.nth}, random, keys
			p := m.start()
			_, _, err := p.Register(t.Context(), device.Request{Token: p.token(t)})
			require.ErrorIs(t, err, tt.want)
			require.Equal(t, [][]byte{make([]byte, vault.KeySize)}, random.keys)
			require.Equal(t, tt.open, keys.open)
		})
	}
}

// The computer's key is not certified before it is saved.
func TestDirectoryKeyIsSaved(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	keys := &faultyKeys{KeyStore: m.keys}
	m.store, m.keys = &refusing{m.store, 1}, keys
	p := m.start()
	_, err := p.ComputerCertificate(t.Context(), computer)
	require.ErrorIs(t, err, errFull)
	require.Zero(t, keys.open)
}

// A certificate for another key is not this machine's.
func TestOthersCertificate(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := m.start()
	token := p.token(t)
	_, m.reply = p.elsewhere(t)
	_, _, err := p.Register(t.Context(), device.Request{Token: token})
	require.ErrorContains(t, err, "not for the device key of this machine")
	_, err = p.Load(t.Context())
	require.ErrorIs(t, err, device.ErrIncomplete)
}

// A hybrid registration is given up after an hour, and at once when the service
// refuses the computer.
func TestHybridGivesUp(t *testing.T) {
	t.Parallel()
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		known bool // by another certificate
		waits int
		says  string
	}{
		"never synced": {false, 15, "DirectoryError"},
		"refused":      {true, 0, "AuthenticationError"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, waits := newMachine(t), 0
			p := m.start()
			der, err := p.ComputerCertificate(t.Context(), computer)
			require.NoError(t, err)
			_, err = x509.ParseCertificate(der)
			require.NoError(t, err)
			if tt.known {
				require.NoError(t, m.srv.SyncComputer(entratest.Computer{ID: computer.ObjectID, SID: computer.SID, Name: "PC-1", PublicKey: &stranger.PublicKey}))
			}
			m.sleep = func() { waits++; require.LessOrEqual(t, waits, tt.waits) }
			_, _, err = p.Register(t.Context(), device.Request{JoinType: prt.JoinHybrid, Computer: &computer})
			var said *sts.Error
			require.ErrorAs(t, err, &said)
			require.Equal(t, tt.says, said.OAuth)
			require.Equal(t, tt.waits, waits)
		})
	}
}

// watched is a store that lets a test act before a record is read.
type watched struct {
	store.Store
	onGet func()
}

func (s *watched) Get(ctx context.Context, name string) ([]byte, store.Version, error) {
	if do := s.onGet; do != nil {
		s.onGet = nil
		do()
	}
	return s.Store.Get(ctx, name)
}

// A registration that is gone is let go once, however many notice it, and the log
// says so.
func TestNoticedTwice(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	m, ctx := newMachine(t), t.Context()
	p := m.start()
	_, _, err := p.Register(ctx, device.Request{Token: p.token(t)})
	require.NoError(t, err)
	s := &watched{Store: m.store}
	m.store, m.log = s, &log
	q := m.start()
	_, err = q.Load(ctx)
	require.NoError(t, err)
	_, err = p.Forget(ctx)
	require.NoError(t, err)
	s.onGet = func() { require.NoError(t, q.Notice(ctx)) }
	require.NoError(t, q.Notice(ctx))
	require.Equal(t, 1, q.gone)
	require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("another process has unregistered the device")))
}

// A sign-up that did not come to its first record hides no registration, and what is
// in memory is found there.
func TestFind(t *testing.T) {
	t.Parallel()
	m, ctx := newMachine(t), t.Context()
	p := m.start()
	d, _, err := p.Register(ctx, device.Request{Token: p.token(t)})
	require.NoError(t, err)
	require.NoError(t, vault.New(vault.NewKeyring(m.keys, m.store, rand.Reader), m.store, rand.Reader, "device-0").Create(ctx))
	same, err := m.start().Load(ctx)
	require.NoError(t, err)
	require.Equal(t, d.Cert.DER, same.Cert.DER)
	p.Stop()
	same, err = p.Load(ctx)
	require.NoError(t, err)
	require.Same(t, d, same)
}

// A registration has the names of its tenant that were configured, each once.
func TestTenantNames(t *testing.T) {
	t.Parallel()
	m, ctx := newMachine(t), t.Context()
	memory := m.store
	m.store = &refusing{memory, 2}
	p := m.start()
	token := p.token(t)
	_, _, err := p.Register(ctx, device.Request{Token: token})
	require.ErrorIs(t, err, errFull)
	d, _, err := p.Register(ctx, device.Request{Token: token})
	require.NoError(t, err)
	require.Equal(t, []string{"contoso.example"}, d.Record.TenantNames)

	m = newMachine(t)
	token = m.start().token(t)
	d, _, err = m.startFor(m.srv.TenantID()).Register(ctx, device.Request{Token: token})
	require.NoError(t, err)
	require.Empty(t, d.Record.TenantNames)
}

// The device object is deleted where it was made, as discovery said then.
func TestDeleteWhereItWasMade(t *testing.T) {
	t.Parallel()
	m, ctx := newMachine(t), t.Context()
	p := m.start()
	d, _, err := p.Register(ctx, device.Request{Token: p.token(t)})
	require.NoError(t, err)
	for join, want := range map[string]string{
		"": "https://enterpriseregistration.windows.net/EnrollmentServer/device/" + d.Cert.DeviceID + "?api-version=1.0",
		"https://enterpriseregistration.windows.net/elsewhere/": "https://enterpriseregistration.windows.net/elsewhere/" + d.Cert.DeviceID + "?api-version=1.0",
	} {
		var asked []string
		m.wire = func(r *http.Request) {
			if r.Method == http.MethodDelete {
				asked = append(asked, r.URL.String())
			}
		}
		of := *d
		record := *d.Record
		record.Endpoints.Join = join
		of.Record = &record
		var said *sts.Error
		require.ErrorAs(t, p.Delete(ctx, &of, nil), &said)
		require.Equal(t, []string{want}, asked)
	}
}
