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

// AADSTS50155 is what a device gets that is deleted or disabled, and has other
// causes: two at least ten minutes apart keep the PIN from opening anything
// offline, one does not. 135011 and 700003 are certain at once. All of it is
// taken back by the next success. What a young device hears, or one that was
// just restored, counts for nothing, since the directory does not know it
// everywhere yet.
func TestRefusalOfTheDeviceAtUnlock(t *testing.T) {
	t.Parallel()
	says := func(code int) func(*laptop) {
		return func(l *laptop) {
			l.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.AADSTS, Code: code, Times: -1})
		}
	}
	refused := func(l *laptop) {
		_, err := l.b.Unlock(l.t.Context(), l.acct, rightPIN)
		require.ErrorIs(l.t, err, broker.ErrDeviceAuth)
	}
	pass := func(d time.Duration) func(*laptop) { return func(l *laptop) { l.clock.Advance(d) } }
	disable := func(l *laptop) { require.NoError(l.t, l.srv.DisableDevice(l.srv.Devices()[0].ID)) }
	enable := func(l *laptop) { require.NoError(l.t, l.srv.EnableDevice(l.srv.Devices()[0].ID)) }
	remove := func(l *laptop) { require.NoError(l.t, l.srv.DeleteDevice(l.srv.Devices()[0].ID)) }
	works := func(l *laptop) { require.False(l.t, l.unlock(rightPIN).Offline) }
	clear := func(l *laptop) { l.srv.ClearFaults() }
	old, later := pass(time.Hour), pass(11*time.Minute)
	for _, tt := range []struct {
		name string
		do   []func(*laptop)
		want error // nil: the PIN opens offline
	}{
		{"50155 once", []func(*laptop){old, says(50155), refused}, nil},
		{"50155 twice within ten minutes", []func(*laptop){old, says(50155), refused, pass(9 * time.Minute), refused}, nil},
		{"50155 twice, ten minutes apart", []func(*laptop){old, says(50155), refused, pass(10 * time.Minute), refused}, broker.ErrDeviceAuth},
		{"50155 many times", []func(*laptop){old, says(50155), refused, pass(6 * time.Minute), refused, pass(6 * time.Minute), refused}, broker.ErrDeviceAuth},
		{"50155 twice, and the clock was set back between", []func(*laptop){old, says(50155), refused, pass(-30 * time.Minute), refused, pass(10 * time.Minute), refused}, broker.ErrDeviceAuth},
		{"50155 twice with a success between", []func(*laptop){old, says(50155), refused, later, clear, works, says(50155), refused}, nil},
		{"50155 twice and a success", []func(*laptop){old, says(50155), refused, later, refused, clear, works}, nil},
		{"deleted", []func(*laptop){old, remove, refused, later, refused}, broker.ErrDeviceAuth},
		{"disabled", []func(*laptop){old, disable, refused}, broker.ErrDeviceDisabled},
		{"135011 once", []func(*laptop){old, says(135011), refused}, broker.ErrDeviceDisabled},
		{"700003 once", []func(*laptop){old, says(700003), refused}, broker.ErrDeviceGone},
		{"135010 says not whose key", []func(*laptop){old, says(135010), refused, later, refused}, nil},
		{"a young device: 50155", []func(*laptop){says(50155), refused, pass(8 * time.Minute), refused}, nil},
		{"a young device: 700003", []func(*laptop){says(700003), refused}, nil},
		{"a young device: disabled", []func(*laptop){disable, refused}, broker.ErrDeviceDisabled},
		{"young, and again when it is not", []func(*laptop){says(50155), refused, later, refused}, nil},
		{"just restored: 700003", []func(*laptop){old, disable, refused, enable, works, says(700003), refused}, nil},
		{"just restored: 50155 twice", []func(*laptop){old, disable, refused, enable, works, says(50155), refused, pass(9 * time.Minute), refused, pass(9 * time.Minute), refused}, nil},
		{"restored a while ago", []func(*laptop){old, disable, refused, enable, works, later, says(700003), refused}, broker.ErrDeviceGone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLaptop(t, tpms.Swtpm(t), aWeek)
			for _, do := range tt.do {
				do(l)
			}
			l.reopen()
			l.cut()
			u, err := l.b.Unlock(t.Context(), l.acct, rightPIN)
			if tt.want != nil {
				require.ErrorIs(t, err, tt.want)
				require.NotErrorIs(t, err, broker.ErrTransient)
				return
			}
			require.NoError(t, err)
			require.True(t, u.Offline)
		})
	}
}

// Two replies in doubt are about the device, and so about each account on it,
// whoever heard them.
func TestDoubtIsAboutTheDevice(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, tpms.Swtpm(t), aWeek)
	second, other := l.second()
	l.clock.Advance(time.Hour)
	require.NoError(t, l.srv.DeleteDevice(l.srv.Devices()[0].ID))
	_, err := second.b.Unlock(t.Context(), other, rightPIN)
	require.ErrorIs(t, err, broker.ErrDeviceAuth)
	l.clock.Advance(time.Hour)
	_, err = l.b.AcquireTokenSilent(t.Context(), ledger, broker.WithForceRefresh(), broker.WithAccount(l.acct))
	require.ErrorIs(t, err, broker.ErrDeviceAuth)
	l.cut()
	for _, acct := range []broker.Account{l.acct, other} {
		_, err = second.b.Unlock(t.Context(), acct, rightPIN)
		require.ErrorIs(t, err, broker.ErrDeviceAuth)
	}
}

// A device that an administrator restores works again: with the PRT it has, by
// a password and by the PIN, and nobody registers anew.
func TestRestoredDevice(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, tpms.Swtpm(t), aWeek)
	l.clock.Advance(time.Hour)
	id := l.srv.Devices()[0].ID
	require.NoError(t, l.srv.DeleteDevice(id))
	silently := func() error {
		_, err := l.b.AcquireTokenSilent(t.Context(), ledger, broker.WithForceRefresh())
		return err
	}
	for range 2 {
		require.ErrorIs(t, silently(), broker.ErrDeviceAuth)
		require.ErrorIs(t, l.b.RenewPRT(t.Context(), l.acct), broker.ErrDeviceAuth)
		_, err := l.b.Unlock(t.Context(), l.acct, rightPIN)
		require.ErrorIs(t, err, broker.ErrDeviceAuth)
		l.clock.Advance(11 * time.Minute)
	}
	l.reopen()
	require.NoError(t, l.srv.RestoreDevice(id))
	require.NoError(t, silently())
	require.NoError(t, l.b.RenewPRT(t.Context(), l.acct))
	require.False(t, l.unlock(rightPIN).Offline)
	l.signIn()
	require.Len(t, l.srv.Devices(), 1)
	l.cut()
	require.True(t, l.unlock(rightPIN).Offline)
}

// A Hello key that the service does not know any more is shown as such, and a new
// one takes its place.
func TestUnknownHelloKey(t *testing.T) {
	t.Parallel()
	l := newLaptop(t, tpms.Swtpm(t), aWeek)
	status := func() broker.HelloStatus {
		h, err := l.b.HelloStatus(t.Context(), l.acct)
		require.NoError(t, err)
		return h
	}
	before := status()
	require.False(t, before.Unknown)
	require.ErrorIs(t, l.b.ProvisionHello(t.Context(), l.acct, otherPIN), broker.ErrHelloExists)
	require.NoError(t, l.srv.RemoveHelloKey(alice, before.KeyID))
	_, err := l.b.Unlock(t.Context(), l.acct, rightPIN)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	require.True(t, status().Unknown)
	s, err := l.b.Status(t.Context())
	require.NoError(t, err)
	require.True(t, s.Hello[0].Unknown)
	require.Contains(t, s.String(), "NgcKnown : NO")

	require.NoError(t, l.b.ProvisionHello(t.Context(), l.acct, otherPIN))
	after := status()
	require.False(t, after.Unknown)
	require.NotEqual(t, before.KeyID, after.KeyID)
	require.Equal(t, []string{after.KeyID}, l.helloKeys(alice))
	require.False(t, l.unlock(otherPIN).Offline)
	_, err = l.b.Unlock(t.Context(), l.acct, rightPIN)
	require.ErrorIs(t, err, broker.ErrWrongPIN)
	require.ErrorIs(t, l.b.ProvisionHello(t.Context(), l.acct, rightPIN), broker.ErrHelloExists)
	l.cut()
	require.True(t, l.unlock(otherPIN).Offline)
}
