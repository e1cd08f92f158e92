package broker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

// The step-up asks for the PIN where that can be enough, and for the page where
// it is not.
func TestStepUpByPIN(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		before       func(*world)
		pin          broker.PIN
		claims       string
		pins, pages  int
		want         error
		noPlaceForIt bool
	}{
		{name: "an old MFA", before: func(w *world) { w.clock.Advance(25 * time.Hour) }, pin: rightPIN, pins: 1},
		{name: "a revoked PRT", before: func(w *world) { require.NoError(w.t, w.srv.Revoke(alice)) }, pin: rightPIN, pins: 1},
		{name: "an expired PRT", before: func(w *world) { w.clock.Advance(15 * 24 * time.Hour) }, pin: rightPIN, pins: 1},
		{name: "given up", before: func(w *world) { w.clock.Advance(25 * time.Hour) }, want: broker.ErrUserCanceled},
		{name: "a wrong PIN", before: func(w *world) { w.clock.Advance(25 * time.Hour) }, pin: wrongPIN, pins: 1, want: broker.ErrWrongPIN},
		{name: "fresh MFA", pin: rightPIN, claims: `{"access_token":{"amr":{"essential":true,"values":["ngcmfa"]}}}`, pages: 1},
		{name: "another key at the service", before: func(w *world) {
			require.NoError(w.t, w.srv.RemoveHelloKey(alice, w.helloKeys(alice)[0]))
			w.clock.Advance(25 * time.Hour)
			_, err := w.b.SignIn(w.t.Context(), broker.HelloPIN{PIN: rightPIN})
			require.ErrorContains(w.t, err, "AADSTS130004")
		}, pin: rightPIN, pages: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, withPolicies(frequencyForLedger))
			softwareHello(w)
			w.join()
			w.hello()
			_, err := w.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
			require.NoError(t, err)
			if tt.before != nil {
				tt.before(w)
			}
			pages := w.person.prompts()
			w.person.pin = tt.pin
			var opts []broker.CallOption
			if tt.claims != "" {
				opts = append(opts, broker.WithClaims(tt.claims))
			}
			_, err = w.b.AcquireTokenInteractive(t.Context(), ledger, opts...)
			if tt.want != nil {
				require.ErrorIs(t, err, tt.want)
			} else {
				require.NoError(t, err)
			}
			require.EqualValues(t, tt.pins, w.person.pins.Load())
			require.Equal(t, pages+tt.pages, w.person.prompts())
		})
	}
}

// frequencyForLedger requires MFA for payroll and ledger, and a sign-in each
// day for ledger.
const frequencyForLedger = `{"value":[{"id":"99999999-0000-4000-8000-000000000001","displayName":"MFA for money","state":"enabled",
 "conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["` + payrollID + `","` + ledgerID + `"]},"clientAppTypes":["all"]},
 "grantControls":{"operator":"OR","builtInControls":["mfa"]}},
 {"id":"99999999-0000-4000-8000-000000000002","displayName":"Ledger each day","state":"enabled",
 "conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["` + ledgerID + `"]},"clientAppTypes":["all"]},
 "sessionControls":{"signInFrequency":{"isEnabled":true,"type":"days","value":1,"authenticationType":"primaryAndSecondaryAuthentication","frequencyInterval":"timeBased"}}}]}`

// Provisioning that is killed at any point leaves no key at the service that
// the next call does not replace, and nothing that keeps the user out.
func TestProvisionKilledAnywhere(t *testing.T) {
	t.Parallel()
	killed := 0
	for point := 0; ; point += everyPoint() {
		w := newWorld(t)
		softwareHello(w)
		w.join()
		res, err := w.b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice, MFA: true})
		require.NoError(t, err)
		good := w.cfg
		k := &killer{left: point}
		w.cfg.Store = &mortalStore{w.store, k}
		w.wire.set(k.request, k.request)
		b := w.open()
		err = b.ProvisionHello(t.Context(), res.Account, rightPIN)
		_ = b.Close()
		if err == nil {
			require.Greater(t, killed*everyPoint(), 6, "the points were really there")
			break
		}
		require.ErrorIs(t, err, errKilled, "point %d", point)
		killed++

		w.wire.set(nil, nil)
		w.cfg = good
		w.b = w.open()
		w.silent(payroll)
		pin := otherPIN
		err = w.b.ProvisionHello(t.Context(), res.Account, pin)
		if errors.Is(err, broker.ErrHelloExists) { // the last write was there, and not what marks it
			pin, err = rightPIN, nil
		}
		require.NoError(t, err, "point %d", point)
		require.Len(t, w.helloKeys(alice), 1, "point %d: an orphan", point)
		s, err := w.b.HelloStatus(t.Context(), res.Account)
		require.NoError(t, err)
		require.Equal(t, w.helloKeys(alice)[0], s.KeyID)
		require.False(t, s.Unfinished)
		_, err = w.b.SignIn(t.Context(), broker.HelloPIN{PIN: pin})
		require.NoError(t, err)
	}
}

// The sign-in page answers with a redirect to the app. A Transport that follows
// redirects, though it must not, brings it back all the same.
func TestTransportThatFollows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.wire.inner = w.srv.Client() // an http.Client behind another type
	softwareHello(w)
	w.join()
	w.hello()
	_, err := w.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
	require.NoError(t, err)
}

// Where the PRT of the page lacks the strength and that of the Hello key is only
// too old, the PIN is asked for and no page.
func TestStepUpByPINWhereThePRTIsOld(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPolicies(resistantDaily))
	softwareHello(w)
	w.join()
	w.hello()
	_, err := w.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
	require.NoError(t, err)
	w.silent(ledger)
	w.clock.Advance(25 * time.Hour)
	_, err = w.b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice, MFA: true})
	require.NoError(t, err)
	w.clock.Advance(time.Minute)
	pages := w.person.prompts()
	w.person.pin = rightPIN
	_, err = w.b.AcquireTokenInteractive(t.Context(), ledger)
	require.NoError(t, err)
	require.EqualValues(t, 1, w.person.pins.Load())
	require.Equal(t, pages, w.person.prompts())
}

// resistantDaily asks for phishing-resistant MFA and a sign-in each day for
// ledger.
const resistantDaily = `[
 {"id":"99999999-0000-4000-8000-000000000003","displayName":"Phishing-resistant for ledger","state":"enabled",
 "conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["` + ledgerID + `"]},"clientAppTypes":["all"]},
 "grantControls":{"operator":"OR","builtInControls":[],"authenticationStrength":{"id":"00000000-0000-0000-0000-000000000004"}}},
 {"id":"99999999-0000-4000-8000-000000000002","displayName":"Ledger each day","state":"enabled",
 "conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["` + ledgerID + `"]},"clientAppTypes":["all"]},
 "sessionControls":{"signInFrequency":{"isEnabled":true,"type":"days","value":1,"authenticationType":"primaryAndSecondaryAuthentication","frequencyInterval":"timeBased"}}}]`
