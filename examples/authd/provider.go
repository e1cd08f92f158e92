package authd

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// A Config configures a [Provider]. The zero value uses software keys and the public
// cloud.
type Config struct {
	// Keys holds the keys of devices: an open [tpm.TPM], which the caller closes
	// after the provider. Nil: software keys. A device that was registered with one
	// kind of keys cannot be opened with the other.
	Keys tpm.KeyStore

	// Saved is called with the data of a device when its state has changed after
	// RegisterDevice returned it: a PRT was issued or renewed. It must store the
	// value in place of the previous one, and return when its context ends. If it
	// fails, the change is not made. Nil: changes are lost when the process ends.
	Saved func(context.Context, DeviceRegistrationData) error

	// Device describes this machine in a registration. Empty fields are filled from
	// the operating system.
	Device broker.DeviceInfo

	// Cloud is the national cloud. The zero value is the public cloud.
	Cloud broker.Cloud
	// Transport sends requests. Nil: a client with the deadlines and limits of
	// packages broker and webflow.
	Transport broker.Transport
	// Logger receives what happens, never a secret. Nil discards it.
	Logger *slog.Logger
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// A Provider registers devices and signs users in. It is safe for concurrent use,
// and there may be several. Two processes must not use the data of one user at the
// same time.
type Provider struct {
	cfg Config

	mu       sync.Mutex // guards what follows
	machines map[machineKey]*machine
	closed   bool
}

// Format prints the type's name: the keys of machines are not for a log.
func (p *Provider) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "Provider{}") }

// New returns a provider.
func New(cfg Config) *Provider {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Provider{cfg: cfg, machines: map[machineKey]*machine{}}
}

var errClosed = errors.New("authd: the provider was closed")

// Close ends the calls in progress and discards all keys. Config.Keys stays open.
func (p *Provider) Close() error {
	p.mu.Lock()
	all := p.machines
	p.machines, p.closed = nil, true
	p.mu.Unlock()
	var errs []error
	for _, m := range all {
		errs = append(errs, m.close())
	}
	return errors.Join(errs...)
}

// A machine is a device with the PRT of its user, as one JSON value of authd holds
// them.
type machine struct {
	b    *broker.Broker
	blob *store.Blob
	soft *softkeys.Store // nil: the keys are those of Config.Keys

	complete   atomic.Bool            // data has all but the newest state
	data       DeviceRegistrationData // written before complete is set
	registered time.Time              // as data

	mu    sync.Mutex        // guards fresh
	fresh [sha256.Size]byte // digest of a refresh token that MFA was just done for
}

// A machineKey identifies a machine. Data that names a device without its secret
// does not match it.
type machineKey struct {
	device string
	secret [sha256.Size]byte
}

func keyOf(d DeviceRegistrationData) machineKey {
	return machineKey{d.DeviceID, sha256.Sum256([]byte(d.AuthValue))}
}

// current returns the data with the newest state.
func (m *machine) current() *DeviceRegistrationData {
	d := m.data
	d.CertKey, d.TransportKey, d.TPMMachineKey = bytes.Clone(d.CertKey), bytes.Clone(d.TransportKey), m.blob.Bytes()
	return &d
}

func (m *machine) close() error {
	err := m.b.Close()
	if m.soft != nil {
		err = errors.Join(err, m.soft.Close())
	}
	return err
}

// machine opens the machine that data describes, once.
func (p *Provider) machine(ctx context.Context, tenant string, data DeviceRegistrationData) (*machine, error) {
	h, err := readHeader(data)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	m := p.machines[keyOf(data)] // nil also where the provider was closed
	p.mu.Unlock()
	if m != nil {
		return m, nil
	}
	m, err = p.open(ctx, cmp.Or(tenant, h.Tenant), data)
	if err != nil {
		return nil, err
	}
	dev, err := m.b.RegisterDevice(ctx, broker.RegisterRequest{}) // sends nothing: it is registered
	if err != nil {
		return nil, errors.Join(err, m.close())
	}
	m.registered = dev.Registered
	m.complete.Store(true)
	return p.keep(m)
}

// keep stores a machine, unless another call has stored the same one first.
func (p *Provider) keep(m *machine) (*machine, error) {
	p.mu.Lock()
	other, closed := p.machines[keyOf(m.data)], p.closed
	if other == nil && !closed {
		p.machines[keyOf(m.data)] = m
	}
	p.mu.Unlock()
	switch {
	case closed:
		return nil, errors.Join(errClosed, m.close())
	case other != nil:
		return other, m.close()
	}
	return m, nil
}

// open makes a broker over the state in data. For a new machine, data is empty
// except for AuthValue.
func (p *Provider) open(ctx context.Context, tenant string, data DeviceRegistrationData) (*machine, error) {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return nil, errClosed
	}
	m := &machine{data: data}
	keys, err := p.keys(m, data.AuthValue)
	if err != nil {
		return nil, err
	}
	m.blob, err = store.NewBlob(data.TPMMachineKey, func(ctx context.Context, value []byte) error {
		if p.cfg.Saved == nil || !m.complete.Load() {
			return nil
		}
		d := m.data
		d.TPMMachineKey = value
		return p.cfg.Saved(ctx, d)
	})
	if err == nil {
		m.b, err = broker.New(ctx, broker.Config{Tenant: tenant, Cloud: p.cfg.Cloud, Keys: keys, Store: m.blob, Transport: p.cfg.Transport,
			Device: p.cfg.Device, Logger: p.cfg.Logger, Now: p.cfg.Now})
	}
	if err != nil && m.soft != nil {
		return nil, errors.Join(err, m.soft.Close())
	}
	return m, err
}

// errOtherKeys means that a device in a TPM was opened with software keys, or the
// reverse.
var errOtherKeys = errors.New("authd: the device was registered with another kind of key store")

func (p *Provider) keys(m *machine, auth string) (tpm.KeyStore, error) {
	if (auth == inTPM) != (p.cfg.Keys != nil) {
		return nil, errOtherKeys
	}
	if p.cfg.Keys != nil {
		return p.cfg.Keys, nil
	}
	secret, err := base64.RawURLEncoding.DecodeString(auth)
	if err != nil {
		return nil, errForeign
	}
	defer clear(secret)
	if m.soft, err = softkeys.Open(softkeys.Secret(secret)); err != nil {
		return nil, fmt.Errorf("authd: %w", err)
	}
	return m.soft, nil
}

// newAuthValue returns a master key for software keys.
func newAuthValue() string {
	var secret [32]byte
	defer clear(secret[:])
	_, _ = rand.Read(secret[:]) // it never fails
	return base64.RawURLEncoding.EncodeToString(secret[:])
}
