package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"github.com/prtbroker/prtbroker/internal/atomicfile"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
)

// The emulated tenant. Its data is invented, and its password is not a secret.
const (
	emulatedDomain   = "contoso.example"
	emulatedUser     = "alice@contoso.example"
	emulatedPassword = "correct horse battery staple"
	emulatedTOTP     = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
)

// emulated is a tenant in this process with a user who does what the
// notification asks for.
type emulated struct {
	srv  *entratest.Server
	file string
	lock *flock.Flock // a tenant lives in one process at a time
	show broker.Prompter
	page bool // the user signs in on the page, and not by a device code
}

// lockWait is how often to try again while another process holds the tenant.
const lockWait = 20 * time.Millisecond

func emulate(ctx context.Context, dir, domain string) (*emulated, error) {
	e := &emulated{file: filepath.Join(dir, "emulator.json"), lock: flock.New(filepath.Join(dir, "emulator.lock"))}
	if _, err := e.lock.TryLockContext(ctx, lockWait); err != nil {
		return nil, err
	}
	state, err := os.ReadFile(e.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, e.lock.Close())
	}
	o := entratest.Options{State: state, ReplicationLag: -1}
	if state == nil {
		o.Domain = domain
		o.Users = []entratest.User{{Username: emulatedUser, Name: "Alice Example", Password: emulatedPassword, TOTPSecret: emulatedTOTP}}
	}
	if e.srv, err = entratest.Start(o); err != nil {
		return nil, errors.Join(fmt.Errorf("the emulated tenant in %s: %w", e.file, err), e.lock.Close())
	}
	return e, nil
}

// use points a broker at the tenant, and the user at the broker's prompts.
func (e *emulated) use(cfg *broker.Config, page bool) {
	e.show, e.page = cfg.Prompter, page
	cfg.Transport, cfg.Prompter = e.srv.Client(), e
}

func (e *emulated) close() error {
	state, err := e.srv.State()
	e.srv.Close()
	if err == nil {
		err = atomicfile.Write(e.file, state, 0o600)
	}
	return errors.Join(err, e.lock.Close())
}

// Authorize implements [broker.Prompter]: the user fills in the page without a
// window, which a browser would open at the real service.
func (e *emulated) Authorize(ctx context.Context, url, prefix string) (string, error) {
	if !e.page {
		return "", errors.ErrUnsupported
	}
	p := e.user()
	return p.Authorize(ctx, e.srv.Client(), url, prefix)
}

func (e *emulated) user() entratest.Person {
	return entratest.Person{Username: emulatedUser, Password: emulatedPassword, TOTPSecret: emulatedTOTP, Now: e.srv.Now}
}

// PIN implements [broker.Prompter].
func (e *emulated) PIN(ctx context.Context, a broker.Account) (broker.PIN, error) {
	return e.show.PIN(ctx, a)
}

// DeviceCode implements [broker.Prompter]: the user enters the code, also on a
// desktop that shows no notification.
func (e *emulated) DeviceCode(ctx context.Context, dc broker.DeviceCode) error {
	_ = e.show.DeviceCode(ctx, dc)
	p := e.user()
	return p.ApproveDeviceCode(ctx, e.srv.Client(), dc.UserCode)
}
