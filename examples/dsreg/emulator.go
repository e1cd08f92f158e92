package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/prtbroker/prtbroker/internal/atomicfile"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
)

// The emulated tenant: a user, and an app behind a policy that requires MFA.
// Its data is invented, and its password is not a secret.
const (
	emulatedDomain   = "contoso.example"
	emulatedUser     = "alice@contoso.example"
	emulatedPassword = "correct horse battery staple"
	emulatedTOTP     = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	emulatedApp      = "7d1f3c52-0b6e-4b57-9a53-2f6f0e1c9a11"
	payrollID        = "0c6c1a54-6f5e-4a6b-8f5d-5f7d6a2b1c01"
	emulatedPolicies = `{"value":[{"id":"a1f4e6b2-3c5d-4e7f-8a9b-0c1d2e3f4a5b","displayName":"Payroll requires MFA","state":"enabled",
 "conditions":{"clientAppTypes":["all"],"users":{"includeUsers":["All"]},"applications":{"includeApplications":["` + payrollID + `"]}},
 "grantControls":{"operator":"OR","builtInControls":["mfa"]}}]}`
)

// emulated is a tenant in the process with a simulated person who answers its
// prompts, so that dsreg can be tried without an account.
type emulated struct {
	srv  *entratest.Server
	file string
	say  io.Writer
	pins broker.Prompter // PINs come from the real user
}

func emulate(dir, domain string, say io.Writer) (*emulated, error) {
	e := &emulated{file: filepath.Join(dir, "emulator.json"), say: say}
	state, err := os.ReadFile(e.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	o := entratest.Options{State: state, ReplicationLag: -1}
	if state == nil {
		o.Domain = domain
		o.Users = []entratest.User{{Username: emulatedUser, Name: "Alice Example", Password: emulatedPassword, TOTPSecret: emulatedTOTP}}
		o.Apps = []entratest.App{
			{ClientID: emulatedApp, Name: "dsreg", Public: true, Redirects: []string{broker.NativeClientRedirect}, AdminConsent: true},
			{ClientID: payrollID, Name: "Payroll", URIs: []string{"api://payroll"}},
			{ClientID: "499b84ac-1321-427f-aa17-267ca6975798", Name: "Azure DevOps"},
			{ClientID: aksServer, Name: "Azure Kubernetes Service AAD Server"},
		}
		o.Policies = json.RawMessage(emulatedPolicies)
	}
	if e.srv, err = entratest.Start(o); err != nil {
		return nil, fmt.Errorf("the emulated tenant in %s: %w", e.file, err)
	}
	return e, nil
}

// use points a broker at the tenant.
func (e *emulated) use(cfg *broker.Config) {
	cfg.Transport = e.srv.Client()
	cfg.Prompter = e
	if cfg.App.ClientID == broker.BrokerClientID {
		cfg.App = broker.App{ClientID: emulatedApp}
	}
}

func (e *emulated) close() error {
	state, err := e.srv.State()
	e.srv.Close()
	if err != nil {
		return err
	}
	return atomicfile.Write(e.file, state, 0o600)
}

func (e *emulated) somebody() entratest.Person {
	return entratest.Person{Username: emulatedUser, Password: emulatedPassword, TOTPSecret: emulatedTOTP, Now: e.srv.Now}
}

// Authorize implements [broker.Prompter].
func (e *emulated) Authorize(ctx context.Context, page, redirectPrefix string) (string, error) {
	fmt.Fprintf(e.say, "emulator: %s signs in on the sign-in page.\n", emulatedUser)
	return e.somebody().Authorize(ctx, e.srv.Client(), page, redirectPrefix)
}

// DeviceCode implements [broker.Prompter].
func (e *emulated) DeviceCode(ctx context.Context, dc broker.DeviceCode) error {
	fmt.Fprintf(e.say, "%s\nemulator: %s enters the code on a phone.\n", dc.Message, emulatedUser)
	return e.somebody().ApproveDeviceCode(ctx, e.srv.Client(), dc.UserCode)
}

// PIN implements [broker.Prompter].
func (e *emulated) PIN(ctx context.Context, acct broker.Account) (broker.PIN, error) {
	return e.pins.PIN(ctx, acct)
}

// client speaks to the emulated hosts.
func (e *emulated) client() *http.Client { return e.srv.Client() }
