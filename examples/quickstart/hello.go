package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/claims"
)

// hello sets a PIN up and shows that it is MFA, that it outlives a password
// change, and that it opens the account without a network.
func (s *story) hello(ctx context.Context) error {
	pin, asked := broker.PIN(helloPIN), s.page.prompts
	if err := s.b.ProvisionHello(ctx, s.alice, pin); err != nil {
		return err
	}
	s.say("Hello key", "made and registered, %s", s.askedSince(asked))
	if !s.machine.info.Hardware {
		s.say("", "in software, allowed by InsecureSoftwareHello: Entra accepts it as MFA; you should not")
	}
	s.clock.Advance(day)
	if err := s.srv.ChangePassword(username, "forgotten meanwhile"); err != nil {
		return err
	}
	asked = s.page.prompts
	u, err := s.b.Unlock(ctx, s.alice, pin)
	if err != nil {
		return err
	}
	if u.Offline || u.MFA.MFA != claims.Yes || !u.MFA.At.Equal(s.clock.Now()) {
		return fmt.Errorf("the unlock gave MFA %v at %s", u.MFA.MFA, at(u.MFA.At))
	}
	s.say("a day later", "the password is changed, and the PIN signs in: amr %s, MFA %s", amrOf(u.MFA), at(u.MFA.At))
	res, err := s.b.AcquireTokenSilent(ctx, []string{payrollURI + "/.default"}, broker.WithAccount(s.alice), broker.WithForceRefresh())
	if err != nil {
		return err
	}
	s.say("Payroll", "token from the %s, %s", res.Metadata.Source, s.askedSince(asked))
	if s.page.prompts != asked {
		return errors.New("somebody was asked")
	}
	return s.offline(ctx, pin)
}

// offline cuts the network and unlocks.
func (s *story) offline(ctx context.Context, pin broker.PIN) error {
	if !s.machine.info.Hardware {
		s.say("offline", "not without a TPM: nothing measures the time or counts wrong PINs")
		return nil
	}
	if err := s.b.Lock(ctx, s.alice); err != nil {
		return err
	}
	if _, err := s.b.AcquireTokenSilent(ctx, []string{graphScope}, broker.WithAccount(s.alice)); !errors.Is(err, broker.ErrLocked) {
		return fmt.Errorf("locked: want ErrLocked, got %w", orNone(err))
	}
	s.tap.cut(true)
	defer s.tap.cut(false)
	if _, err := s.b.Unlock(ctx, s.alice, broker.PIN("314159")); !errors.Is(err, broker.ErrWrongPIN) {
		return fmt.Errorf("a wrong PIN offline: want ErrWrongPIN, got %w", orNone(err))
	}
	u, err := s.b.Unlock(ctx, s.alice, pin)
	if err != nil {
		return err
	}
	if !u.Offline {
		return errors.New("the unlock was not offline")
	}
	res, err := s.b.AcquireTokenSilent(ctx, []string{payrollURI + "/.default"}, broker.WithAccount(s.alice))
	if err != nil {
		return err
	}
	s.say("offline", "locked, the network cut: a wrong PIN is ErrWrongPIN, the PIN opens the token from the %s; %s left by the TPM's clock",
		res.Metadata.Source, u.Left.Time.Round(time.Hour))
	return nil
}

func (s *story) askedSince(prompts int) string {
	switch n := s.page.prompts - prompts; n {
	case 0:
		return "nobody was asked"
	case 1:
		return "asked for MFA once"
	default:
		return fmt.Sprintf("asked %d times", n)
	}
}
