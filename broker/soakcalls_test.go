package broker_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
)

// A soakCall is an operation, and how often it is made.
type soakCall struct {
	name   string
	weight int
	do     func(context.Context, *soak, *resident) error
	pinned bool // by those with a Hello key
}

// soakCalls are all calls. Those that go through all accounts are made so rarely that
// they come to as much work as the others.
func soakCalls(accounts int) []soakCall {
	rare := max(1, 500/accounts)
	return []soakCall{
		{"a token", 250, func(ctx context.Context, s *soak, p *resident) error {
			_, err := s.b.AcquireTokenSilent(ctx, s.scopes(), broker.WithAccount(p.acct))
			return err
		}, false},
		{"a new token", 100, func(ctx context.Context, s *soak, p *resident) error {
			_, err := s.b.AcquireTokenSilent(ctx, s.scopes(), broker.WithAccount(p.acct), broker.WithForceRefresh())
			return err
		}, false},
		{"a token after a claims challenge", 20, func(ctx context.Context, s *soak, p *resident) error {
			claims := fmt.Sprintf(`{"access_token":{"nbf":{"essential":true,"value":"%d"}}}`, s.clock.Now().Unix())
			_, err := s.b.AcquireTokenSilent(ctx, open, broker.WithAccount(p.acct), broker.WithClaims(claims))
			return err
		}, false},
		{"tokens of eight callers at once", 20, eightAtOnce, false},
		{"a token bound to a key", 10, func(ctx context.Context, s *soak, p *resident) error {
			proof := broker.PoP{Method: "GET", URL: fmt.Sprintf("https://open.example/%d", s.r.IntN(1000))}
			res, err := s.b.AcquireTokenSilent(ctx, open, broker.WithAccount(p.acct), broker.WithPoP(proof))
			if err != nil {
				return err
			}
			_, err = s.b.SignedHTTPRequest(ctx, res.AccessToken, proof)
			return err
		}, false},
		{"a token for another process", 20, anotherProcess, false},
		{"a step-up", 20, func(ctx context.Context, s *soak, p *resident) error {
			s.sits(p)
			_, err := s.b.AcquireTokenInteractive(ctx, payroll, broker.WithAccount(p.acct))
			return err
		}, false},
		{"a device code", 5, func(ctx context.Context, s *soak, _ *resident) error {
			_, err := s.b.AcquireTokenByDeviceCode(ctx, open) // which nobody enters
			return err
		}, false},
		{"cookies", 30, func(ctx context.Context, s *soak, p *resident) error {
			_, err := s.b.SSOCookies(ctx, "https://login.microsoftonline.com/common/oauth2/authorize", broker.WithAccount(p.acct))
			return err
		}, false},
		{"a renewal", 80, func(ctx context.Context, s *soak, p *resident) error { return s.b.RenewPRT(ctx, p.acct) }, false},
		{"Run", rare, func(ctx context.Context, s *soak, _ *resident) error { return runOnce(ctx, &life{world: s.world}) }, false},
		{"the accounts", rare, func(ctx context.Context, s *soak, _ *resident) error { _, err := s.b.Accounts(ctx); return err }, false},
		{"the status", rare, func(ctx context.Context, s *soak, _ *resident) error { _, err := s.b.Status(ctx); return err }, false},
		{"the status of the PRT", 30, func(ctx context.Context, s *soak, p *resident) error {
			_, err := s.b.PRTStatus(ctx, p.acct)
			return err
		}, false},
		{"the sign-in log", 10, func(ctx context.Context, s *soak, p *resident) error {
			_, err := s.b.SignInLog(ctx, p.acct)
			return err
		}, false},
		{"why", 10, func(ctx context.Context, s *soak, p *resident) error {
			_, err := s.b.Why(ctx, broker.WhyInput{Account: p.acct, Scopes: payroll})
			return err
		}, false},
		{"a sign-in", 30, signsIn, false},
		{"a sign-in with MFA", 20, signsInWithMFA, false},
		{"a sign-in with the PIN", 20, func(ctx context.Context, s *soak, p *resident) error {
			_, err := s.b.SignIn(ctx, broker.HelloPIN{PIN: p.pin}, broker.WithAccount(p.acct))
			return err
		}, true},
		{"a wrong password", 5, func(ctx context.Context, s *soak, p *resident) error {
			_, err := s.b.SignIn(ctx, broker.Password{Username: p.name, Password: "wrong"})
			return err
		}, false},
		{"a new Hello key", 20, func(ctx context.Context, s *soak, p *resident) error {
			return provisions(ctx, s, p, s.b.ProvisionHello)
		}, true},
		{"a reset of the PIN", 5, func(ctx context.Context, s *soak, p *resident) error {
			return provisions(ctx, s, p, s.b.ResetPIN)
		}, true},
		{"a change of the PIN", 5, changesPIN, true},
		{"no Hello key any more", 5, func(ctx context.Context, s *soak, p *resident) error { return s.b.RemoveHello(ctx, p.acct) }, true},
		{"an unlock", 60, unlocksNow, true},
		{"an unlock offline", 40, func(ctx context.Context, s *soak, p *resident) error {
			s.wire.set(func(*http.Request) error { return errCut }, nil)
			defer s.wire.set(nil, nil)
			return unlocksNow(ctx, s, p)
		}, true},
		{"a wrong PIN", 10, func(ctx context.Context, s *soak, p *resident) error {
			_, err := s.b.Unlock(ctx, p.acct, wrongPIN)
			return err
		}, true},
		{"a lock", 40, func(ctx context.Context, s *soak, p *resident) error { return s.b.Lock(ctx, p.acct) }, true},
		{"a sign-out", 20, func(ctx context.Context, s *soak, p *resident) error {
			err := s.b.RemoveAccount(ctx, p.acct)
			p.out = p.out || err == nil
			return err
		}, false},
		{"a token after a password change", 10, func(ctx context.Context, s *soak, p *resident) error {
			p.password = fmt.Sprintf("correct horse battery %d", s.r.Uint64())
			require.NoError(s.t, s.srv.ChangePassword(p.name, p.password))
			return forced(ctx, s, p)
		}, false},
		{"a token after the sessions were revoked", 10, func(ctx context.Context, s *soak, p *resident) error {
			require.NoError(s.t, s.srv.Revoke(p.name))
			return forced(ctx, s, p)
		}, false},
		{"a token of a disabled user", 10, func(ctx context.Context, s *soak, p *resident) error {
			require.NoError(s.t, s.srv.DisableUser(p.name))
			p.disabled = true // until the next call for this user has failed too
			return forced(ctx, s, p)
		}, false},
		{"a token on a disabled device", 5, func(ctx context.Context, s *soak, p *resident) error {
			require.NoError(s.t, s.srv.DisableDevice(s.device))
			s.down = 5
			return forced(ctx, s, p)
		}, false},
	}
}

func (s *soak) scopes() []string { return [][]string{graph, open, payroll, ledger}[s.r.IntN(4)] }

// sits puts a user in front of the machine.
func (s *soak) sits(p *resident) {
	s.person.Person = entratest.Person{Username: p.name, Password: p.password, TOTPSecret: totp}
	s.person.pin = p.pin
}

func forced(ctx context.Context, s *soak, p *resident) error {
	_, err := s.b.AcquireTokenSilent(ctx, open, broker.WithAccount(p.acct), broker.WithForceRefresh())
	return err
}

func signsIn(ctx context.Context, s *soak, p *resident) error {
	return s.came(p)(s.b.SignIn(ctx, broker.Password{Username: p.name, Password: p.password}))
}

func signsInWithMFA(ctx context.Context, s *soak, p *resident) error {
	s.sits(p)
	return s.came(p)(s.b.SignIn(ctx, broker.AuthCode{LoginHint: p.name, MFA: true}))
}

// came notes who signed in.
func (s *soak) came(p *resident) func(broker.AuthResult, error) error {
	return func(res broker.AuthResult, err error) error {
		if err == nil {
			p.acct, p.out = res.Account, false
		}
		return err
	}
}

func unlocksNow(ctx context.Context, s *soak, p *resident) error {
	_, err := s.b.Unlock(ctx, p.acct, p.pin)
	return err
}

// provisions makes a Hello key under the PIN that all keys have at first, so that there
// are few.
func provisions(ctx context.Context, s *soak, p *resident, by func(context.Context, broker.Account, broker.PIN) error) error {
	s.sits(p)
	s.keys.owner = p.name
	err := by(ctx, p.acct, rightPIN)
	if err == nil {
		p.pin = rightPIN
	}
	return err
}

func changesPIN(ctx context.Context, s *soak, p *resident) error {
	next := rightPIN
	if string(p.pin) == string(rightPIN) {
		next = otherPIN
	}
	err := s.b.ChangePIN(ctx, p.acct, p.pin, next)
	if err == nil {
		p.pin = next
	}
	return err
}

func eightAtOnce(ctx context.Context, s *soak, p *resident) error {
	var all sync.WaitGroup
	errs := make([]error, 8)
	scopes := s.scopes()
	for i := range errs {
		all.Go(func() {
			_, errs[i] = s.b.AcquireTokenSilent(ctx, scopes, broker.WithAccount(p.acct), broker.WithForceRefresh())
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func anotherProcess(ctx context.Context, s *soak, p *resident) error {
	b, err := broker.New(ctx, s.cfg)
	if err != nil {
		return err
	}
	broker.SetSleep(b, s.sleep)
	_, err = b.AcquireTokenSilent(ctx, s.scopes(), broker.WithAccount(p.acct))
	return errors.Join(err, b.Close())
}
