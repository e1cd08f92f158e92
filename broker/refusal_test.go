package broker_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
)

// What the service said for certain keeps the account shut without it, whoever
// heard it and by whatever request, and only the service takes it back.
func TestRefusalIsKept(t *testing.T) {
	t.Parallel()
	silently := func(l *laptop) error {
		_, err := l.b.AcquireTokenSilent(l.t.Context(), ledger, broker.WithForceRefresh())
		return err
	}
	for _, tt := range []struct {
		name string
		hear func(l *laptop) error
	}{
		{"by a token request", silently},
		{"by a renewal", func(l *laptop) error { return l.b.RenewPRT(l.t.Context(), l.acct) }},
		{"by another credential", func(l *laptop) error {
			_, err := l.b.SignIn(l.t.Context(), broker.Password{Username: alice, Password: password}, broker.WithAccount(l.acct))
			return err
		}},
		{"and a cookie, which asks nobody, is no pardon", func(l *laptop) error {
			err := silently(l)
			l.cut()
			_, cerr := l.b.SSOCookies(l.t.Context(), "https://login.microsoftonline.com/?sso_nonce=x")
			require.NoError(l.t, cerr)
			return err
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLaptop(t, tpms.Swtpm(t), aWeek)
			require.NoError(t, l.srv.DisableUser(alice))
			l.clock.Advance(5 * time.Hour)
			require.ErrorIs(t, tt.hear(l), broker.ErrUserDisabled)
			l.reopen()
			l.cut()
			_, err := l.b.Unlock(t.Context(), l.acct, rightPIN)
			require.ErrorIs(t, err, broker.ErrUserDisabled)

			require.NoError(t, l.srv.EnableUser(alice))
			l.connect()
			l.clock.Advance(time.Hour)
			require.NoError(t, silently(l))
			l.cut()
			require.True(t, l.unlock(rightPIN).Offline)
		})
	}
}

// A device that is disabled is so for each of its accounts.
func TestRefusalOfTheDevice(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, tpms.Swtpm(t), aWeek)
	second, other := l.second()
	device := l.status(l.acct).DeviceID
	require.NoError(t, l.srv.DisableDevice(device))
	l.clock.Advance(time.Hour)
	_, err := l.b.AcquireTokenSilent(t.Context(), ledger, broker.WithForceRefresh(), broker.WithAccount(l.acct))
	require.ErrorIs(t, err, broker.ErrDeviceDisabled)
	l.cut()
	for _, acct := range []broker.Account{l.acct, other} {
		_, err = second.b.Unlock(t.Context(), acct, rightPIN)
		require.ErrorIs(t, err, broker.ErrDeviceDisabled)
	}

	require.NoError(t, l.srv.EnableDevice(device))
	l.connect()
	l.clock.Advance(time.Hour)
	l.unlock(rightPIN)
	l.cut()
	u, err := second.b.Unlock(t.Context(), other, rightPIN)
	require.NoError(t, err)
	require.True(t, u.Offline)
}

// Another tenant does not know the user, which says nothing about the user.
func TestRefusalOfAnotherTenant(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, tpms.Swtpm(t), aWeek)
	const foreign = "11111111-2222-4333-8444-555555555555"
	s := &stranger{inner: l.cfg.Transport, answer: func(r *http.Request) *http.Response {
		if strings.Contains(r.URL.Path, foreign) {
			return reply(400, `{"error":"invalid_grant","error_description":"AADSTS50034: The user account does not exist in the directory.","error_codes":[50034]}`)
		}
		return nil
	}}
	l.cfg.Transport = s
	l.reopen()
	_, err := l.b.AcquireTokenSilent(t.Context(), ledger, broker.WithTenantID(foreign))
	require.ErrorIs(t, err, broker.ErrUserNotFound)
	l.cut()
	require.True(t, l.unlock(rightPIN).Offline)
}

// A page of somebody on the way does not delete a Hello key.
func TestRemoveHelloBehindAPortal(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusOK, http.StatusNotFound} {
		w := newWorld(t)
		s := &stranger{inner: w.cfg.Transport}
		w.cfg.Transport = s
		softwareHello(w)
		w.join()
		acct := w.hello()
		s.answer = func(r *http.Request) *http.Response {
			if r.Method == http.MethodDelete {
				return reply(status, "\n<html>Welcome to the hotel</html>")
			}
			return nil
		}
		require.ErrorIs(t, w.b.RemoveHello(t.Context(), acct), broker.ErrTransient)
		h, err := w.b.HelloStatus(t.Context(), acct)
		require.NoError(t, err)
		require.True(t, h.Set)
		require.Len(t, w.helloKeys(alice), 1)
		s.answer = nil
		require.NoError(t, w.b.RemoveHello(t.Context(), acct))
		require.Empty(t, w.helloKeys(alice))
	}
}

// second is bob with a Hello key on the same device, in another process.
func (l *laptop) second() (*world, broker.Account) {
	w := *l.world
	w.person = &person{client: l.person.client}
	w.person.Username, w.person.Password, w.person.TOTPSecret = bob, password, totp
	w.cfg.Prompter = w.person
	w.b = w.open()
	return &w, w.hello()
}

// What the service says of the key is taken back by the key alone, whatever it
// says of the user meanwhile.
func TestRefusalOfTheKeyOutlastsThatOfTheUser(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, tpms.Swtpm(t), aWeek)
	l.signIn() // a PRT of the password
	require.NoError(t, l.srv.RemoveHelloKey(alice, l.helloKeys(alice)[0]))
	_, err := l.b.Unlock(t.Context(), l.acct, rightPIN)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	l.cut()
	l.clock.Advance(time.Hour)
	_, err = l.b.Unlock(t.Context(), l.acct, rightPIN)
	require.ErrorIs(t, err, broker.ErrInteractionRequired, "refused offline")
	l.connect()
	l.clock.Advance(time.Hour)

	require.NoError(t, l.srv.DisableUser(alice))
	_, err = l.b.AcquireTokenSilent(t.Context(), open, broker.WithForceRefresh())
	require.ErrorIs(t, err, broker.ErrUserDisabled)
	require.NoError(t, l.srv.EnableUser(alice))
	_, err = l.b.AcquireTokenSilent(t.Context(), open, broker.WithForceRefresh())
	if err != nil {
		l.signIn()
	}
	l.cut()
	l.clock.Advance(time.Hour)
	_, err = l.b.Unlock(t.Context(), l.acct, rightPIN)
	require.ErrorIs(t, err, broker.ErrInteractionRequired, "the key is still gone at the service")
}

// What it says of the user is not taken back because the device is enabled.
func TestRefusalOfTheUserOutlastsThatOfTheDevice(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, tpms.Swtpm(t), aWeek)
	second, other := l.second()
	require.NoError(t, l.srv.DisableUser(alice))
	l.clock.Advance(time.Hour)
	_, err := l.b.AcquireTokenSilent(t.Context(), ledger, broker.WithForceRefresh(), broker.WithAccount(l.acct))
	require.ErrorIs(t, err, broker.ErrUserDisabled)
	device := l.status(l.acct).DeviceID
	require.NoError(t, l.srv.DisableDevice(device))
	_, err = second.b.AcquireTokenSilent(t.Context(), ledger, broker.WithForceRefresh(), broker.WithAccount(other))
	require.ErrorIs(t, err, broker.ErrDeviceDisabled)
	require.NoError(t, l.srv.EnableDevice(device))
	l.clock.Advance(time.Hour)
	_, err = second.b.AcquireTokenSilent(t.Context(), ledger, broker.WithForceRefresh(), broker.WithAccount(other))
	require.NoError(t, err)
	l.cut()
	l.clock.Advance(time.Hour)
	_, err = l.b.Unlock(t.Context(), l.acct, rightPIN)
	require.ErrorIs(t, err, broker.ErrUserDisabled)
}

// A refusal of the device is about each of its accounts, also where the sign-in
// that heard it named none.
func TestRefusalOfTheDeviceHeardBySignIn(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, tpms.Swtpm(t), aWeek)
	l.clock.Advance(time.Hour)
	l.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.AADSTS, Code: 135011, Times: 1})
	_, err := l.b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
	require.ErrorIs(t, err, broker.ErrDeviceDisabled)
	l.cut()
	l.clock.Advance(time.Hour)
	_, err = l.b.Unlock(t.Context(), l.acct, rightPIN)
	require.ErrorIs(t, err, broker.ErrDeviceDisabled)
}
