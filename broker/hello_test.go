package broker_test

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

var (
	rightPIN = broker.PIN("271828")
	wrongPIN = broker.PIN("314159")
	otherPIN = broker.PIN("161803")
)

// softwareHello allows Hello keys in the software keys that most tests use.
func softwareHello(w *world) {
	w.cfg.InsecureSoftwareHello = true
	w.reopen()
}

// reopen ends the process and starts another one on the same machine.
func (w *world) reopen() {
	w.t.Helper()
	require.NoError(w.t, w.b.Close())
	w.b = w.open()
}

// hello provisions a Hello key with rightPIN for a user who did MFA just now.
func (w *world) hello() broker.Account {
	w.t.Helper()
	res, err := w.b.SignIn(w.t.Context(), broker.AuthCode{LoginHint: w.person.Username, MFA: true})
	require.NoError(w.t, err)
	prompts := w.person.prompts()
	require.NoError(w.t, w.b.ProvisionHello(w.t.Context(), res.Account, rightPIN))
	require.Equal(w.t, prompts, w.person.prompts(), "the MFA was fresh")
	return res.Account
}

// helloKeys are those that the service has of a user.
func (w *world) helloKeys(user string) (ids []string) {
	for _, u := range w.srv.Users() {
		if u.Username == user {
			for _, k := range u.HelloKeys {
				ids = append(ids, k.ID)
			}
		}
	}
	return ids
}

// The service takes a key only after fresh MFA: silently when there was one,
// else the user is asked once, for the device's PRT.
func TestProvisionHello(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	softwareHello(w)
	w.join()
	acct := w.signIn()

	alone := w.cfg
	alone.Prompter = nil
	b, err := broker.New(t.Context(), alone)
	require.NoError(t, err)
	err = b.ProvisionHello(t.Context(), acct, rightPIN)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	require.Empty(t, w.helloKeys(alice))
	s, err := b.HelloStatus(t.Context(), acct)
	require.NoError(t, err)
	require.Equal(t, broker.HelloStatus{Account: acct}, s)
	require.NoError(t, b.Close())

	require.NoError(t, w.b.ProvisionHello(t.Context(), broker.Account{}, rightPIN))
	require.Equal(t, 1, w.person.prompts(), "the password sign-in was no MFA")
	require.Equal(t, claims.Yes, w.status(acct).MFA.MFA, "and the MFA reached the PRT")
	w.silent(payroll)
	s, err = w.b.HelloStatus(t.Context(), acct)
	require.NoError(t, err)
	require.Equal(t, broker.HelloStatus{Account: acct, Set: true, KeyID: w.helloKeys(alice)[0], Created: w.clock.Now(), Software: true}, s)

	require.ErrorIs(t, w.b.ProvisionHello(t.Context(), acct, rightPIN), broker.ErrHelloExists)
	require.Len(t, w.helloKeys(alice), 1)

	// Nine minutes after the MFA nobody is asked; eleven minutes after, once.
	for _, tt := range []struct {
		wait    time.Duration
		prompts int
	}{{9 * time.Minute, 1}, {2*time.Minute + time.Second, 2}} {
		w.clock.Advance(tt.wait)
		require.NoError(t, w.b.ResetPIN(t.Context(), acct, otherPIN))
		require.Equal(t, tt.prompts, w.person.prompts())
		require.Len(t, w.helloKeys(alice), 1, "no key is left behind")
	}
	_, err = w.b.SignIn(t.Context(), broker.HelloPIN{PIN: otherPIN})
	require.NoError(t, err)
	_, err = w.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
	require.ErrorIs(t, err, broker.ErrWrongPIN)

	// A Hello sign-in is MFA, and none that a key may be provisioned after.
	w.clock.Advance(time.Hour)
	_, err = w.b.SignIn(t.Context(), broker.HelloPIN{PIN: otherPIN})
	require.NoError(t, err)
	require.NoError(t, w.b.ResetPIN(t.Context(), acct, rightPIN))
	require.Equal(t, 3, w.person.prompts())
}

// Without a TPM a PIN can be searched. That is refused unless it was allowed,
// and then it is said.
func TestHelloNeedsTPM(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join()
	acct := w.signIn()
	w.wire.take()
	err := w.b.ProvisionHello(t.Context(), acct, rightPIN)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "needs a TPM")
	require.Empty(t, w.wire.take())

	w.cfg.Policies = policySet(t, mfaForMoney)
	softwareHello(w)
	require.NoError(t, w.b.ProvisionHello(t.Context(), acct, rightPIN))
	w.clock.Advance(time.Minute)
	_, err = w.b.Unlock(t.Context(), acct, rightPIN)
	require.NoError(t, err)
	why, err := w.b.Why(t.Context(), broker.WhyInput{Scopes: payroll, ResourceID: payrollID})
	require.NoError(t, err)
	require.Contains(t, why.String(), "Entra accepts it as MFA")
	st, err := w.b.Status(t.Context())
	require.NoError(t, err)
	require.Contains(t, st.String(), "NgcSet : YES")
	require.Contains(t, st.String(), "NgcProtection : software key")
	require.Contains(t, st.String(), "NgcKeyId : {"+strings.ToUpper(w.helloKeys(alice)[0])+"}")
}

// The broker counts wrong PINs beside the TPM, in the state, so that a new
// process begins where the old one ended.
func TestWrongPINsAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world, _ *entratestOptions) { w.store = fileStore(t, filepath.Join(t.TempDir(), "state")) })
	softwareHello(w)
	w.join()
	acct := w.hello()
	try := func(pin broker.PIN) error {
		_, err := w.b.SignIn(t.Context(), broker.HelloPIN{PIN: pin})
		return err
	}
	for _, pin := range []broker.PIN{nil, broker.PIN("12"), broker.PIN("２７１８２８"), broker.PIN(strings.Repeat("1", 128))} {
		require.ErrorIs(t, try(pin), broker.ErrWrongPIN)
	}
	s, err := w.b.HelloStatus(t.Context(), acct)
	require.NoError(t, err)
	require.Zero(t, s.WrongPINs, "what no PIN can be is no try")

	for range 4 {
		err := try(wrongPIN)
		require.ErrorIs(t, err, broker.ErrWrongPIN)
		require.ErrorIs(t, err, broker.ErrBadCredential)
		require.ErrorIs(t, err, tpm.ErrWrongPIN)
	}
	require.NoError(t, try(rightPIN))
	for range 4 {
		require.ErrorIs(t, try(wrongPIN), broker.ErrWrongPIN)
	}
	w.reopen()
	require.ErrorIs(t, try(wrongPIN), broker.ErrWrongPIN)
	wait := time.Minute
	for range 8 {
		for _, pin := range []broker.PIN{wrongPIN, rightPIN} {
			err := try(pin)
			require.ErrorIs(t, err, broker.ErrPINLocked)
			require.NotErrorIs(t, err, broker.ErrWrongPIN, "it was not tried")
			var e *broker.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, wait, e.RetryAfter)
		}
		w.clock.Advance(wait - time.Second)
		require.ErrorIs(t, try(wrongPIN), broker.ErrPINLocked)
		w.clock.Advance(time.Second)
		require.ErrorIs(t, try(wrongPIN), broker.ErrWrongPIN)
		wait = min(2*wait, time.Hour)
	}
	w.clock.Advance(wait)
	require.NoError(t, try(rightPIN))
	s, err = w.b.HelloStatus(t.Context(), acct)
	require.NoError(t, err)
	require.Zero(t, s.WrongPINs)
	w.silent(payroll)
}

// A failure that says nothing about the PIN neither counts nor forgives.
func TestFailuresAreNoTries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	softwareHello(w)
	w.join()
	acct := w.hello()
	_, err := w.b.SignIn(t.Context(), broker.HelloPIN{PIN: wrongPIN})
	require.ErrorIs(t, err, broker.ErrWrongPIN)
	down := errors.New("the network is down")
	w.clock.Advance(time.Hour) // the nonce is old
	w.wire.set(func(*http.Request) error { return down }, nil)
	for range 8 {
		_, err := w.b.SignIn(t.Context(), broker.HelloPIN{PIN: wrongPIN})
		require.ErrorIs(t, err, broker.ErrTransient)
		w.clock.Advance(10 * time.Minute) // no circuit is open
	}
	w.wire.set(nil, nil)
	s, err := w.b.HelloStatus(t.Context(), acct)
	require.NoError(t, err)
	require.Equal(t, 1, s.WrongPINs)
}

// ChangePIN keeps the key: the service is not asked.
func TestChangePIN(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	softwareHello(w)
	w.join()
	acct := w.hello()
	before := w.helloKeys(alice)
	w.wire.take()
	require.ErrorIs(t, w.b.ChangePIN(t.Context(), acct, wrongPIN, otherPIN), broker.ErrWrongPIN)
	require.ErrorIs(t, w.b.ChangePIN(t.Context(), acct, rightPIN, broker.PIN("111111")), broker.ErrPINRules)
	require.NoError(t, w.b.ChangePIN(t.Context(), acct, rightPIN, otherPIN))
	require.Empty(t, w.wire.take())
	require.Equal(t, before, w.helloKeys(alice))
	w.reopen()
	_, err := w.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
	require.ErrorIs(t, err, broker.ErrWrongPIN)
	_, err = w.b.SignIn(t.Context(), broker.HelloPIN{PIN: otherPIN})
	require.NoError(t, err)
}

// RemoveHello deletes the key at the service first. When that fails the key
// stays here too; a key that the service does not have is gone all the same.
func TestRemoveHello(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	softwareHello(w)
	w.join()
	acct := w.hello()
	_, err := w.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
	require.NoError(t, err)

	w.wire.set(func(r *http.Request) error {
		if r.Method == http.MethodDelete {
			return errors.New("the network is down")
		}
		return nil
	}, nil)
	require.ErrorIs(t, w.b.RemoveHello(t.Context(), acct), broker.ErrTransient)
	w.wire.set(nil, nil)
	s, err := w.b.HelloStatus(t.Context(), acct)
	require.NoError(t, err)
	require.True(t, s.Set)

	require.NoError(t, w.b.RemoveHello(t.Context(), acct))
	require.Empty(t, w.helloKeys(alice))
	require.ErrorIs(t, w.b.RemoveHello(t.Context(), acct), broker.ErrNoHello)
	_, err = w.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
	require.ErrorIs(t, err, broker.ErrNoHello)
	_, err = w.b.Unlock(t.Context(), acct, rightPIN)
	require.ErrorIs(t, err, broker.ErrNoHello)
	require.ErrorIs(t, w.b.ChangePIN(t.Context(), acct, rightPIN, otherPIN), broker.ErrNoHello)
	require.ErrorIs(t, w.b.ResetPIN(t.Context(), acct, otherPIN), broker.ErrNoHello)
	require.NotEqual(t, prt.ByHello, w.status(acct).Credential, "the PRT of the key went with it")
	w.silent(graph)

	require.NoError(t, w.b.ProvisionHello(t.Context(), acct, otherPIN))
	require.NoError(t, w.srv.RemoveHelloKey(alice, w.helloKeys(alice)[0]))
	_, err = w.b.SignIn(t.Context(), broker.HelloPIN{PIN: otherPIN})
	require.ErrorIs(t, err, broker.ErrInteractionRequired, "provision it again")
	var e *broker.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 130004, e.Code)
	s, err = w.b.HelloStatus(t.Context(), acct)
	require.NoError(t, err)
	require.True(t, s.Set, "nothing is deleted because of an error")
	require.NoError(t, w.b.RemoveHello(t.Context(), acct), "what is not there need not be deleted")
}

// With Hello each unlock moves the time of the MFA, which a renewal does not.
func TestUnlockMovesTheMFA(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPolicies(frequencyForLedger))
	softwareHello(w)
	w.join()
	acct := w.hello()
	_, err := w.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
	require.NoError(t, err)
	w.silent(ledger)
	prompts := w.person.prompts()
	for range 20 { // ten days, unlocked twice a day
		w.clock.Advance(12 * time.Hour)
		u, err := w.b.Unlock(t.Context(), acct, rightPIN)
		require.NoError(t, err)
		require.Equal(t, broker.Unlocked{Account: acct, MFA: w.status(acct).MFA}, u)
		require.Equal(t, w.clock.Now(), u.MFA.At)
		w.silent(ledger, broker.WithForceRefresh())
	}
	w.clock.Advance(25 * time.Hour)
	require.NoError(t, w.b.RenewPRT(t.Context(), acct))
	_, err = w.b.AcquireTokenSilent(t.Context(), ledger, broker.WithForceRefresh())
	require.ErrorIs(t, err, broker.ErrInteractionRequired, "a renewal is no unlock")

	// The PIN answers what the frequency asks.
	w.person.pin = rightPIN
	_, err = w.b.AcquireTokenInteractive(t.Context(), ledger)
	require.NoError(t, err)
	require.EqualValues(t, 1, w.person.pins.Load())
	require.Equal(t, prompts, w.person.prompts())
}

// A password change ends the PRTs of passwords and not that of a Hello key; a
// revocation ends all, and the PIN brings a new one.
func TestHelloOutlivesThePassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	softwareHello(w)
	w.join()
	acct := w.hello()
	w.signIn()
	_, err := w.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
	require.NoError(t, err)
	require.NoError(t, w.srv.ChangePassword(alice, "new "+password))
	w.clock.Advance(time.Minute)
	w.silent(payroll)
	require.Equal(t, prt.ByHello, w.status(acct).Credential)

	require.NoError(t, w.srv.Revoke(alice))
	w.clock.Advance(time.Minute)
	_, err = w.b.AcquireTokenSilent(t.Context(), ledger)
	require.ErrorIs(t, err, broker.ErrPRTRevoked)
	prompts := w.person.prompts()
	_, err = w.b.Unlock(t.Context(), acct, rightPIN)
	require.NoError(t, err)
	w.silent(ledger)
	require.Equal(t, prompts, w.person.prompts())
}

// Several users of one machine, and one user on two machines, have keys of
// their own.
func TestHelloOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	softwareHello(w)
	w.join()
	first := w.hello()

	other := *w
	other.person = &person{client: w.person.client}
	other.person.Username, other.person.Password, other.person.TOTPSecret = bob, password, totp
	other.cfg.Prompter = other.person
	other.b = other.open()
	second := other.hello()
	require.NotEqual(t, first.Key(), second.Key())
	require.NoError(t, w.b.ChangePIN(t.Context(), first, rightPIN, otherPIN))
	_, err := w.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN}, broker.WithAccount(second))
	require.NoError(t, err)
	_, err = w.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN}, broker.WithAccount(first))
	require.ErrorIs(t, err, broker.ErrWrongPIN)
	_, err = w.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
	require.ErrorContains(t, err, "say which")

	laptop := *w
	laptop.cfg.Store = &store.Memory{}
	laptop.b = laptop.open()
	laptop.join()
	laptop.hello()
	require.Len(t, w.helloKeys(alice), 2, "one for each device")
	_, err = laptop.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
	require.NoError(t, err)
	require.NoError(t, laptop.b.RemoveHello(t.Context(), broker.Account{}))
	require.Len(t, w.helloKeys(alice), 1, "the other device keeps its own")
	_, err = w.b.SignIn(t.Context(), broker.HelloPIN{PIN: otherPIN}, broker.WithAccount(first))
	require.NoError(t, err)

	require.NoError(t, w.b.UnregisterDevice(t.Context()))
	require.Empty(t, w.helloKeys(alice), "the keys go with the device")
	s, err := w.b.HelloStatus(t.Context(), first)
	require.NoError(t, err)
	require.False(t, s.Set)
}
