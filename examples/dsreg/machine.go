package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/prtbroker/prtbroker/internal/atomicfile"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/policy"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// settled holds what join decided and later commands keep: a state that was
// created with a TPM is never opened with anything else.
type settled struct {
	Tenant   string `json:"tenant"`
	Keys     string `json:"keys"` // "tpm" or "software"
	TPM      string `json:"tpm,omitempty"`
	Emulator bool   `json:"emulator,omitempty"`
}

const (
	keysTPM      = "tpm"
	keysSoftware = "software"
)

// machine is the opened state: keys, records and the broker over them.
type machine struct {
	dir    string
	keys   tpm.KeyStore
	broker *broker.Broker
	person *emulated // nil without --emulator

	policies *policy.Set // those for why; nil: not known
}

// errNotJoined is returned for a state directory that join has not created.
var errNotJoined = fmt.Errorf("there is no state here: %w", broker.ErrDeviceNotRegistered)

// stateDir is --state, or the directory of the XDG base directory
// specification.
func (a *app) stateDir() (string, error) {
	if a.flags.state != "" {
		return filepath.Abs(a.flags.state)
	}
	if d := a.getenv("XDG_STATE_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "dsreg"), nil
	}
	home := a.getenv("HOME")
	if home == "" {
		var err error
		if home, err = os.UserHomeDir(); err != nil {
			return "", usagef("use --state to say where to keep the state: %v", err)
		}
	}
	return filepath.Join(home, ".local", "state", "dsreg"), nil
}

// open opens the state that join made.
func (a *app) open(ctx context.Context) (*machine, error) {
	dir, err := a.stateDir()
	if err != nil {
		return nil, err
	}
	s, err := readSettled(dir)
	if err != nil {
		return nil, err
	}
	switch {
	case a.flags.softwareKeys && s.Keys == keysTPM:
		return nil, usagef("%s was made with a TPM and cannot be opened with software keys", dir)
	case a.flags.emulator && !s.Emulator:
		return nil, usagef("%s belongs to a real tenant: use another --state for the emulator", dir)
	case a.flags.tenant != "" && !strings.EqualFold(a.flags.tenant, s.Tenant):
		return nil, usagef("%s belongs to tenant %s", dir, s.Tenant)
	}
	return a.openAs(ctx, dir, s)
}

// begin opens a state directory for join, which may be new.
func (a *app) begin(ctx context.Context) (*machine, error) {
	dir, err := a.stateDir()
	if err != nil {
		return nil, err
	}
	s, err := readSettled(dir)
	if err == nil {
		return a.open(ctx)
	}
	if !errors.Is(err, broker.ErrDeviceNotRegistered) {
		return nil, err
	}
	s = settled{Tenant: a.flags.tenant, Keys: keysTPM, TPM: a.flags.tpm, Emulator: a.flags.emulator}
	if a.flags.softwareKeys {
		s.Keys, s.TPM = keysSoftware, ""
	}
	if s.Tenant == "" && s.Emulator {
		s.Tenant = emulatedDomain
	}
	if s.Tenant == "" {
		return nil, usagef("no tenant: use --tenant DOMAIN (or --emulator to try it out)")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	m, err := a.openAs(ctx, dir, s)
	if err != nil {
		return nil, err
	}
	if err := writeSettled(dir, s); err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

func readSettled(dir string) (s settled, err error) {
	b, err := os.ReadFile(filepath.Join(dir, "dsreg.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return s, errNotJoined
	}
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil || s.Tenant == "" || s.Keys != keysTPM && s.Keys != keysSoftware {
		return s, fmt.Errorf("%s is damaged", filepath.Join(dir, "dsreg.json"))
	}
	return s, nil
}

func writeSettled(dir string, s settled) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, "dsreg.json"), append(b, '\n'), 0o600)
}

func (a *app) openAs(ctx context.Context, dir string, s settled) (_ *machine, err error) {
	m := &machine{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	if m.keys, err = a.openKeys(ctx, dir, s); err != nil {
		return nil, err
	}
	records, err := store.NewFile(filepath.Join(dir, "records"))
	if err != nil {
		return nil, err
	}
	cfg := broker.Config{
		Tenant:   s.Tenant,
		App:      a.client(),
		Keys:     m.keys,
		Store:    records,
		Prompter: a.terminal(),
		Logger:   a.logger(),
		Offline:  offline,

		KeepTokens: true, // every command is a process
		Policies:   func() *policy.Set { return m.policies },

		InsecureSoftwareHello: s.Keys == keysSoftware,
	}
	if s.Emulator {
		if m.person, err = emulate(dir, s.Tenant, a.err); err != nil {
			return nil, err
		}
		m.person.pins = cfg.Prompter
		m.person.use(&cfg)
		if a.network != nil {
			cfg.Transport = a.network(cfg.Transport)
		}
	}
	if s.Keys == keysSoftware {
		cfg.Offline = tpm.Limit{} // nothing measures it without a TPM
	}
	m.broker, err = broker.New(ctx, cfg)
	return m, err
}

func (a *app) openKeys(ctx context.Context, dir string, s settled) (tpm.KeyStore, error) {
	if s.Keys == keysSoftware {
		return softkeys.Open(softkeys.File(filepath.Join(dir, "software.key")))
	}
	path := a.flags.tpm
	if path == "" {
		path = s.TPM
	}
	opener := tpm.Default()
	if path != "" {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("--tpm: %w", err)
		}
		if opener = tpm.DeviceFile(path, spaces(path)); info.Mode()&fs.ModeSocket != 0 {
			opener = tpm.Swtpm(path)
		}
	}
	if a.rec != nil {
		opener = a.rec.TPM(opener)
	}
	keys, err := tpm.Open(ctx, opener, tpm.Config{})
	if errors.Is(err, tpm.ErrNoTPM) {
		return nil, fmt.Errorf("%w (join --software-keys works without one, and is weaker)", err)
	}
	return keys, err
}

// spaces returns how many connections a device supports: the kernel's resource
// manager (/dev/tpmrm0) gives each its own slots, the raw device has one.
func spaces(path string) int {
	if strings.HasPrefix(filepath.Base(path), "tpmrm") {
		return 2
	}
	return 1
}

func (a *app) client() broker.App {
	if a.flags.app == "" {
		return broker.App{ClientID: broker.BrokerClientID, RedirectURI: broker.BrokerRedirect}
	}
	return broker.App{ClientID: a.flags.app, RedirectURI: a.flags.redirect}
}

func (a *app) logger() *slog.Logger {
	if !a.flags.verbose {
		return nil
	}
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// close closes what is open, and keeps the emulated tenant.
func (m *machine) close() error {
	var errs []error
	if m.broker != nil {
		errs = append(errs, m.broker.Close())
	}
	if m.person != nil {
		errs = append(errs, m.person.close())
	}
	if m.keys != nil {
		errs = append(errs, m.keys.Close())
	}
	return errors.Join(errs...)
}

// with opens the state, runs f and closes it.
func (a *app) with(ctx context.Context, f func(*machine) error) error {
	m, err := a.open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(m), m.close())
}

// find returns the account that --account names. Without the flag it returns
// the zero value, which stands for the only account.
func (a *app) find(ctx context.Context, m *machine) (broker.Account, error) {
	if a.flags.account == "" {
		return broker.Account{}, nil
	}
	all, err := m.broker.Accounts(ctx)
	if err != nil {
		return broker.Account{}, err
	}
	for _, acct := range all {
		if strings.EqualFold(acct.PreferredUsername, a.flags.account) || acct.HomeAccountID == a.flags.account {
			return acct, nil
		}
	}
	return broker.Account{}, fmt.Errorf("%s is not signed in here: %w", a.flags.account, broker.ErrNoAccount)
}
