package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/prt"
)

const day = 24 * time.Hour

func (s *story) time(ctx context.Context) error {
	before, err := s.b.PRTStatus(ctx, s.alice)
	if err != nil {
		return err
	}
	s.clock.Advance(prt.RenewAfter)
	if err := s.use(ctx); err != nil {
		return err
	}
	after, err := s.b.PRTStatus(ctx, s.alice)
	if err != nil {
		return err
	}
	if !after.RenewedOn.After(before.RenewedOn) || after.MFA.MFA != claims.Yes || !after.MFA.At.Equal(before.MFA.At) {
		return fmt.Errorf("after 4 hours: renewed %s, MFA %t since %s", at(after.RenewedOn), after.MFA.MFA == claims.Yes, at(after.MFA.At))
	}
	s.say("4 hours later", "renewed %s, the claim is still there, its time unchanged: %s", at(after.RenewedOn), at(after.MFA.At))

	for range 13 {
		s.clock.Advance(day)
		if err := s.use(ctx); err != nil {
			return err
		}
	}
	moved, err := s.b.PRTStatus(ctx, s.alice)
	if err != nil {
		return err
	}
	if !moved.ExpiresOn.After(before.ExpiresOn) || moved.MFA.MFA != claims.Yes {
		return fmt.Errorf("after 13 days of use the PRT expires %s, MFA %t", at(moved.ExpiresOn), moved.MFA.MFA == claims.Yes)
	}
	s.say("13 days of use", "expiry moved from %s to %s", at(before.ExpiresOn), at(moved.ExpiresOn))

	s.clock.Advance(14*day + time.Minute)
	err = s.use(ctx)
	if !errors.Is(err, broker.ErrPRTExpired) {
		return fmt.Errorf("after 14 days without use: want ErrPRTExpired, got %w", orNone(err))
	}
	s.say("14 days idle", "ErrPRTExpired%s", code(err))
	return nil
}

// use asks for a token that no policy guards, past the cache.
func (s *story) use(ctx context.Context) error {
	_, err := s.b.AcquireTokenSilent(ctx, []string{graphScope}, broker.WithAccount(s.alice), broker.WithForceRefresh())
	return err
}

func (s *story) revoked(ctx context.Context) error {
	if _, err := s.b.SignIn(ctx, broker.Password{Username: username, Password: password}); err != nil {
		return err
	}
	const changed = "a new password, changed at the service"
	if err := s.srv.ChangePassword(username, changed); err != nil {
		return err
	}
	err := s.use(ctx)
	if !errors.Is(err, broker.ErrPRTRevoked) {
		return fmt.Errorf("after a password change: want ErrPRTRevoked, got %w", orNone(err))
	}
	s.say("password", "changed at the service: ErrPRTRevoked%s", code(err))

	s.page.person.Password = changed
	if _, err := s.b.SignIn(ctx, broker.Password{Username: username, Password: changed}); err != nil {
		return err
	}
	if err := s.srv.DisableDevice(s.device.ID); err != nil {
		return err
	}
	err = s.use(ctx)
	if !errors.Is(err, broker.ErrDeviceDisabled) {
		return fmt.Errorf("with the device disabled: want ErrDeviceDisabled, got %w", orNone(err))
	}
	s.say("device", "disabled by an administrator: ErrDeviceDisabled%s", code(err))
	if err := s.srv.EnableDevice(s.device.ID); err != nil {
		return err
	}
	if err := s.use(ctx); err != nil {
		return fmt.Errorf("with the device enabled again: %w", err)
	}
	s.say("enabled again", "silent, with the same registration and PRT as before")
	if _, err := s.b.AcquireTokenInteractive(ctx, []string{payrollURI + "/.default"}, broker.WithAccount(s.alice)); err != nil {
		return fmt.Errorf("MFA for the new sign-in: %w", err)
	}
	s.say("asked once", "for Payroll again, since the new sign-in was with a password alone")
	return nil
}

func (s *story) stolen(ctx context.Context) (err error) {
	if s.status, err = s.b.Status(ctx); err != nil {
		return err
	}
	n, err := s.tap.replay("https://login.microsoftonline.com/"+domain+"/oauth2/token", clientID)
	if err != nil {
		return err
	}
	if n != 7000016 {
		return fmt.Errorf("a PRT without its session key: want AADSTS7000016, got AADSTS%d", n)
	}
	s.say("stolen PRT", "replayed without its session key: AADSTS%d", n)

	if err := s.closeMachine(); err != nil { // one simulator per process
		return err
	}
	other := filepath.Join(s.dir, "other")
	defer func() { err = errors.Join(err, os.RemoveAll(other)) }()
	if err := copyState(filepath.Join(other, "state"), filepath.Join(s.dir, "state")); err != nil {
		return err
	}
	kind := s.o.tpm
	if kind == "device" { // there is no second chip; another machine's keys are just as foreign
		kind = "software"
	}
	m, err := openMachine(ctx, kind, filepath.Join(other, "keys"), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	err = s.tryForeign(ctx, m, filepath.Join(other, "state"))
	if !errors.Is(err, broker.ErrKeyUnusable) {
		return fmt.Errorf("the state on another machine: want ErrKeyUnusable, got %w", orNone(err))
	}
	s.say("copied state", "on a second machine (%s): ErrKeyUnusable", m.describe())
	return nil
}

func (s *story) tryForeign(ctx context.Context, m *machine, dir string) error {
	b, err := s.open(ctx, m, dir)
	if err != nil {
		return err
	}
	defer b.Close()
	_, err = b.AcquireTokenSilent(ctx, []string{graphScope}, broker.WithAccount(s.alice))
	return err
}

// copyState copies a state directory with its file modes, as a thief would.
func copyState(to, from string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	return filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	})
}

// code names the AADSTS code of an error, if it has one.
func code(err error) string {
	var e *broker.Error
	if !errors.As(err, &e) || e.Code == 0 {
		return ""
	}
	return fmt.Sprintf(", AADSTS%d", e.Code)
}
