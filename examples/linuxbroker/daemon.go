package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/prtbroker/prtbroker/internal/atomicfile"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// A daemon is the opened state and the broker over it.
type daemon struct {
	opts   options
	log    *slog.Logger
	keys   tpm.KeyStore
	broker *broker.Broker
	tenant *emulated // nil without -emulator
	ready  func()    // called when the name is acquired; may be nil
}

// settled holds what the first start decided and later ones keep. Dsreg writes
// the same file into its state.
type settled struct {
	Tenant   string `json:"tenant"`
	Keys     string `json:"keys"` // "tpm" or "software"
	TPM      string `json:"tpm,omitempty"`
	Emulator bool   `json:"emulator,omitempty"`
}

const (
	settledFile  = "dsreg.json"
	keysTPM      = "tpm"
	keysSoftware = "software"
)

func open(ctx context.Context, o options, log *slog.Logger) (_ *daemon, err error) {
	if err := os.MkdirAll(o.state, 0o700); err != nil {
		return nil, err
	}
	s, err := settle(o)
	if err != nil {
		return nil, err
	}
	d := &daemon{opts: o, log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.keys, err = openKeys(ctx, o, s); err != nil {
		return nil, err
	}
	records, err := store.NewFile(filepath.Join(o.state, "records"))
	if err != nil {
		return nil, err
	}
	cfg := broker.Config{
		Tenant: s.Tenant,
		Keys:   d.keys,
		Store:  records,
		Prompter: prompter(o, func(ctx context.Context, page string) ([]*http.Cookie, error) {
			return d.broker.SSOCookies(ctx, page)
		}),
		Logger: log,
	}
	if s.Emulator {
		if d.tenant, err = emulate(ctx, o.state, s.Tenant); err != nil {
			return nil, err
		}
		d.tenant.use(&cfg, o.prompt == promptWindow)
	}
	if d.broker, err = broker.New(ctx, cfg); err != nil {
		return nil, err
	}
	return d, save(o.state, s)
}

// settle reads the earlier decisions, and refuses options that would change
// them.
func settle(o options) (settled, error) {
	want := settled{Tenant: o.tenant, Keys: keysTPM, TPM: o.tpm, Emulator: o.emulator}
	if o.software {
		want.Keys, want.TPM = keysSoftware, ""
	}
	if want.Tenant == "" && o.emulator {
		want.Tenant = emulatedDomain
	}
	text, err := os.ReadFile(filepath.Join(o.state, settledFile))
	if errors.Is(err, fs.ErrNotExist) {
		if want.Tenant == "" {
			return settled{}, errors.New("no tenant: use -tenant DOMAIN (or -emulator to try it out)")
		}
		return want, nil
	}
	if err != nil {
		return settled{}, err
	}
	var s settled
	if err := json.Unmarshal(text, &s); err != nil || s.Tenant == "" {
		return settled{}, fmt.Errorf("%s is damaged", filepath.Join(o.state, settledFile))
	}
	switch {
	case o.software && s.Keys != keysSoftware:
		return settled{}, fmt.Errorf("%s was made with a TPM and cannot be opened with software keys", o.state)
	case o.emulator != s.Emulator:
		return settled{}, fmt.Errorf("%s belongs to a tenant of another kind: use another -state for the emulator", o.state)
	case o.tenant != "" && !strings.EqualFold(o.tenant, s.Tenant):
		return settled{}, fmt.Errorf("%s belongs to tenant %s", o.state, s.Tenant)
	}
	if o.tpm != "" {
		s.TPM = o.tpm
	}
	return s, nil
}

func save(dir string, s settled) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, settledFile), append(text, '\n'), 0o600)
}

func openKeys(ctx context.Context, o options, s settled) (tpm.KeyStore, error) {
	if s.Keys == keysSoftware {
		return softkeys.Open(softkeys.File(filepath.Join(o.state, "software.key")))
	}
	opener := tpm.Default()
	if s.TPM != "" {
		info, err := os.Stat(s.TPM)
		if err != nil {
			return nil, fmt.Errorf("-tpm: %w", err)
		}
		slots := 1
		if strings.HasPrefix(filepath.Base(s.TPM), "tpmrm") {
			slots = 2
		}
		if opener = tpm.DeviceFile(s.TPM, slots); info.Mode()&fs.ModeSocket != 0 {
			opener = tpm.Swtpm(s.TPM)
		}
	}
	keys, err := tpm.Open(ctx, opener, tpm.Config{})
	if errors.Is(err, tpm.ErrNoTPM) {
		return nil, fmt.Errorf("%w (-software-keys works without one, and is weaker)", err)
	}
	return keys, err
}

// serve answers calls until ctx ends or the broker is idle. Meanwhile PRTs that
// are due are renewed.
func (d *daemon) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	renewing := make(chan struct{})
	go func() {
		defer close(renewing)
		_ = d.broker.Run(ctx)
	}()
	s := &dbus.Service{
		Handler: &dbus.Handler{Broker: dbus.OwnUser(&desktop{d.broker, d.opts.join, d.log, make(chan struct{}, 1)}), Logger: d.log},
		Address: d.opts.bus,
		Idle:    d.opts.idle,
		Logger:  d.log,
		Ready: func() {
			d.log.Info("serving com.microsoft.identity.broker1", "state", d.opts.state)
			if d.ready != nil {
				d.ready()
			}
		},
	}
	err := s.Run(ctx)
	cancel()
	<-renewing
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (d *daemon) close() error {
	var errs []error
	if d.broker != nil {
		errs = append(errs, d.broker.Close())
	}
	if d.tenant != nil {
		errs = append(errs, d.tenant.close())
	}
	if d.keys != nil {
		errs = append(errs, d.keys.Close())
	}
	return errors.Join(errs...)
}

// desktop is the broker of a machine that may not be registered yet: the first
// interactive call enrols it, as Microsoft's broker does.
type desktop struct {
	*broker.Broker
	join      bool
	log       *slog.Logger
	enrolling chan struct{} // has room for one: the call that registers the machine
}

// AcquireTokenInteractive implements [dbus.Broker].
func (d *desktop) AcquireTokenInteractive(ctx context.Context, scopes []string, opts ...broker.CallOption) (broker.AuthResult, error) {
	st, err := d.Status(ctx)
	if err != nil {
		return broker.AuthResult{}, err
	}
	if st.Registered {
		return d.Broker.AcquireTokenInteractive(ctx, scopes, opts...)
	}
	o, err := broker.ResolveOptions(opts...)
	if err != nil {
		return broker.AuthResult{}, err
	}
	if err := d.enrol(ctx, o.LoginHint); err != nil {
		return broker.AuthResult{}, err
	}
	return d.Broker.AcquireTokenInteractive(ctx, scopes, signedIn(o)...)
}

// signedIn drops the options that request a sign-in or name the user, since
// somebody has now signed in. The user is prompted again only if the app demands
// more.
func signedIn(o broker.Options) (out []broker.CallOption) {
	if o.App != (broker.App{}) {
		out = append(out, broker.WithApp(o.App))
	}
	if o.TenantID != "" {
		out = append(out, broker.WithTenantID(o.TenantID))
	}
	if o.Claims != "" {
		out = append(out, broker.WithClaims(o.Claims))
	}
	if o.CorrelationID != "" {
		out = append(out, broker.WithCorrelationID(o.CorrelationID))
	}
	if o.CAE {
		out = append(out, broker.WithCAE())
	}
	if o.PoP != nil {
		out = append(out, broker.WithPoP(*o.PoP))
	}
	return out
}
