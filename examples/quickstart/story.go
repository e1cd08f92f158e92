package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/tpm"
)

// A story is one run against the emulated tenant.
type story struct {
	o     options
	out   io.Writer
	clock *entratest.Clock
	srv   *entratest.Server
	tap   *wiretap
	page  *page

	dir     string // of the state
	kept    bool   // dir is of an earlier run
	machine *machine
	b       *broker.Broker
	device  *broker.Device
	alice   broker.Account
	status  broker.Status
}

// emulated runs the nine steps.
func emulated(ctx context.Context, o options, out io.Writer) (err error) {
	s, cleanup, err := begin(ctx, o, out, tenantOptions)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cleanup()) }()
	if s.kept {
		if err := s.again(ctx); err != nil {
			return err
		}
	}
	if o.browser {
		fmt.Fprint(out, "This run waits twice, in steps 4 and 7, until you have signed in in a browser.\n\n")
	}
	steps := []struct {
		title string
		run   func(context.Context) error
	}{
		{"A device is registered (Entra join).", s.register},
		{"Alice signs in with a password.", s.signIn},
		{"Graph, which no policy guards.", s.graph},
		{"Payroll, behind \"require MFA\": asked once.", s.stepUp},
		{"Payroll again, and Expenses: nobody is asked.", s.silent},
		{"Time passes.", s.time},
		{"A password change, then a disabled device.", s.revoked},
		{"A PIN (Windows Hello): MFA from the start, offline too.", s.hello},
		{"The state on another machine, and a stolen PRT.", s.stolen},
	}
	for i, step := range steps {
		fmt.Fprintf(out, "%d. %s\n", i+1, step.title)
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("step %d does not hold: %w", i+1, err)
		}
		if err := s.save(); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "\nThe device, before step 9 removed its state:\n\n%s", s.status)
	return nil
}

func begin(ctx context.Context, o options, out io.Writer, tenant func(*entratest.Clock) entratest.Options) (*story, func() error, error) {
	s := &story{o: o, out: out}
	s.o.tpm = chooseTPM(o.tpm, out)
	dir, removeDir, err := stateDir(o.state)
	if err != nil {
		return nil, nil, err
	}
	s.dir = dir
	earlier, err := readTenant(dir)
	if err != nil {
		return nil, nil, errors.Join(err, removeDir())
	}
	s.kept = earlier.Tenant != nil
	s.clock = entratest.NewClock(earlier.Now)
	opts := tenant(s.clock)
	opts.State = earlier.Tenant
	if s.srv, err = entratest.Start(opts); err != nil {
		return nil, nil, errors.Join(err, removeDir())
	}
	s.tap = &wiretap{next: s.srv.Client()}
	s.page = &page{
		srv:     s.srv,
		person:  entratest.Person{Username: username, Password: password, TOTPSecret: totpSecret},
		client:  s.srv.Client(),
		browser: o.browser,
		out:     out,
	}
	cleanup := func() error {
		err := errors.Join(s.closeMachine(), s.save())
		s.srv.Close()
		return errors.Join(err, removeDir())
	}
	if s.machine, err = openMachine(ctx, s.o.tpm, filepath.Join(dir, "keys"), nil); err != nil {
		return nil, nil, errors.Join(err, cleanup())
	}
	if s.b, err = s.open(ctx, s.machine, filepath.Join(dir, "state")); err != nil {
		return nil, nil, errors.Join(err, cleanup())
	}
	return s, cleanup, nil
}

// stateDir returns the directory to keep state in, and what removes it if it
// is a temporary one.
func stateDir(dir string) (string, func() error, error) {
	if dir != "" {
		abs, err := filepath.Abs(dir)
		if err == nil {
			err = os.MkdirAll(abs, 0o700)
		}
		return abs, func() error { return nil }, err
	}
	dir, err := os.MkdirTemp("", "prtbroker-quickstart-")
	return dir, func() error { return os.RemoveAll(dir) }, err
}

func (s *story) open(ctx context.Context, m *machine, dir string) (*broker.Broker, error) {
	st, err := store.NewFile(dir)
	if err != nil {
		return nil, err
	}
	return broker.New(ctx, broker.Config{
		Tenant:    domain,
		App:       broker.App{ClientID: clientID},
		Keys:      m.keys,
		Store:     st,
		Transport: s.tap,
		Prompter:  s.page,
		Device:    broker.DeviceInfo{DisplayName: "quickstart", Type: "Linux", OSVersion: "Debian 12"},
		Logger:    s.o.logger,
		Now:       s.clock.Now,
		// Without a TPM the story runs all the same, and says so.
		InsecureSoftwareHello: !m.info.Hardware,
		Offline:               tpm.Limit{Time: 7 * day, Resets: 10, Restarts: -1},
	})
}

func (s *story) closeMachine() error {
	var errs []error
	if s.b != nil {
		errs = append(errs, s.b.Close())
	}
	if s.machine != nil {
		errs = append(errs, s.machine.close())
	}
	s.b, s.machine = nil, nil
	return errors.Join(errs...)
}

func (s *story) say(label, format string, args ...any) {
	fmt.Fprintf(s.out, "   %-14s %s\n", label, fmt.Sprintf(format, args...))
}

const stamp = "2006-01-02 15:04"

func at(t time.Time) string { return t.UTC().Format(stamp) }

func (s *story) register(ctx context.Context) error {
	s.say("keys", "%s", s.machine.describe())
	var made []string
	dev, err := s.b.RegisterDevice(ctx, broker.RegisterRequest{
		Credential: broker.Password{Username: username, Password: password},
		Progress:   func(step broker.Step) { made = append(made, string(step)) },
	})
	if err != nil {
		return err
	}
	s.device = dev
	if dev.Existing {
		s.say("found", "the registration that -state keeps; nothing was sent")
	} else {
		s.say("steps", "%s", strings.Join(made, ", "))
	}
	s.say("device id", "%s", dev.ID)
	s.say("certificate", "thumbprint %s, valid %s to %s", dev.Thumbprint, at(dev.NotBefore), at(dev.NotAfter))
	return nil
}

func (s *story) signIn(ctx context.Context) error {
	res, err := s.b.SignIn(ctx, broker.Password{Username: username, Password: password})
	if err != nil {
		return err
	}
	s.alice = res.Account
	st, err := s.b.PRTStatus(ctx, s.alice)
	if err != nil {
		return err
	}
	if st.MFA.MFA == claims.Yes {
		return fmt.Errorf("a password alone gave the MFA claim: amr %s", amrOf(st.MFA))
	}
	if !st.SessionKey {
		return errors.New("the key store does not open the session key")
	}
	s.say("PRT", "issued %s, expires %s", at(st.IssuedOn), at(st.ExpiresOn))
	s.say("amr", "%s: no MFA claim", amrOf(st.MFA))
	s.say("session key", "sealed for this machine by %s", s.machine.describe())
	return nil
}

func (s *story) graph(ctx context.Context) error {
	res, err := s.b.AcquireTokenSilent(ctx, []string{graphScope}, broker.WithAccount(s.alice))
	if err != nil {
		return err
	}
	s.say("token", "from the %s, expires %s, device %s", res.Metadata.Source, at(res.ExpiresOn), res.Metadata.DeviceID)
	s.say("policies", "%s", s.policies())
	if s.page.prompts != 0 {
		return errors.New("somebody was asked")
	}
	return nil
}

func (s *story) stepUp(ctx context.Context) error {
	scopes := []string{payrollURI + "/.default"}
	_, err := s.b.AcquireTokenSilent(ctx, scopes, broker.WithAccount(s.alice))
	var e *broker.Error
	if !errors.Is(err, broker.ErrInteractionRequired) || !errors.As(err, &e) || e.Code != 50076 {
		return fmt.Errorf("want AADSTS50076 and ErrInteractionRequired, got %w", orNone(err))
	}
	s.say("silent", "ErrInteractionRequired, AADSTS%d, claims %s", e.Code, e.Claims)
	s.say("policy", "%s", s.policies())

	res, err := s.b.AcquireTokenInteractive(ctx, scopes, broker.WithAccount(s.alice), broker.WithClaims(e.Claims))
	if err != nil {
		return err
	}
	s.say("asked", "password and one-time code (RFC 6238) on the sign-in page, for the broker client")
	st, err := s.b.PRTStatus(ctx, s.alice)
	if err != nil {
		return err
	}
	if st.MFA.MFA != claims.Yes {
		return fmt.Errorf("the new PRT does not carry the claim: amr %s", amrOf(st.MFA))
	}
	s.say("new PRT", "amr %s: the MFA claim, earned %s, from the broker client's %s", amrOf(st.MFA), at(st.MFA.At), st.MFA.Source)
	s.say("token", "for Payroll, after an %s sign-in, expires %s", res.Metadata.Source, at(res.ExpiresOn))
	return nil
}

func (s *story) silent(ctx context.Context) error {
	asked := s.page.prompts
	for _, app := range []struct{ name, uri string }{{"Payroll", payrollURI}, {"Expenses", expensesURI}} {
		res, err := s.b.AcquireTokenSilent(ctx, []string{app.uri + "/.default"},
			broker.WithAccount(s.alice), broker.WithForceRefresh())
		if err != nil {
			return fmt.Errorf("%s: %w", app.name, err)
		}
		s.say(app.name, "token from the %s, expires %s; %s", res.Metadata.Source, at(res.ExpiresOn), s.policies())
	}
	if s.page.prompts != asked {
		return errors.New("somebody was asked")
	}
	st, err := s.b.PRTStatus(ctx, s.alice)
	if err != nil {
		return err
	}
	s.say("not asked", "%s, because the PRT of this device carries MFA since %s", s.alice.PreferredUsername, at(st.MFA.At))
	return nil
}

// policies says what the Conditional Access policies said about the last
// request that consulted them.
func (s *story) policies() string {
	log := s.srv.SignIns()
	if len(log) == 0 {
		return "no sign-in in the log"
	}
	var results []string
	for _, p := range log[len(log)-1].Policies {
		if p.Result != "notApplied" {
			results = append(results, fmt.Sprintf("%q: %s", p.Name, p.Result))
		}
	}
	if results == nil {
		return "none applies"
	}
	return strings.Join(results, ", ")
}

// amrOf returns evidence as it appears in the amr claim of a token.
func amrOf(e claims.Evidence) string { return strings.Join(e.Methods.AMR(), " ") }

func orNone(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}
