package broker_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// The story that the project exists for: why people are not asked for MFA.
// Real cryptography, a software TPM, a virtual clock, and an Entra that
// evaluates policies when it issues app tokens.

// 2. A password sign-in gives a PRT too, without the MFA claim. The first
// access that requires MFA asks; after it a new PRT carries the claim, and
// later accesses, of other apps too, are silent.
func TestStoryPasswordThenMFAOnce(t *testing.T) {
	t.Parallel()
	keys, _ := softwareTPM(t)
	w := newWorld(t, withKeys(keys))
	w.join()
	acct := w.signIn()
	require.Equal(t, claims.No, w.status(acct).MFA.MFA, "a PRT is no proof of strong authentication")

	res := w.silent(graph)
	require.Equal(t, broker.SourcePRT, res.Metadata.Source)
	require.NotContains(t, amr(t, res), "mfa")

	_, err := w.b.AcquireTokenSilent(t.Context(), payroll)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	var e *broker.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 50076, e.Code)
	require.NotEmpty(t, e.Claims)
	require.Equal(t, payroll, e.Scopes)
	require.Zero(t, w.person.prompts(), "a silent call asks nobody")

	res, err = w.b.AcquireTokenInteractive(t.Context(), payroll, broker.WithClaims(e.Claims))
	require.NoError(t, err)
	require.Equal(t, 1, w.person.prompts())
	require.Contains(t, amr(t, res), "mfa")
	require.Equal(t, claims.Yes, w.status(acct).MFA.MFA)

	res = w.silent(payroll)
	require.Equal(t, broker.SourceCache, res.Metadata.Source)
	res = w.silent(ledger)
	require.Equal(t, broker.SourcePRT, res.Metadata.Source, "another app, by the same PRT")
	require.Contains(t, amr(t, res), "mfa")
	require.Equal(t, 1, w.person.prompts())
}

// 3. MFA done in the enrolment prompt reaches the PRT: one prompt for join and
// PRT, none afterwards.
func TestStoryOnePromptToEnroll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var steps []broker.Step
	res, err := w.b.Enroll(t.Context(), broker.AuthCode{LoginHint: alice, MFA: true}, broker.EnrollRequest{
		Progress: func(s broker.Step) { steps = append(steps, s) },
	})
	require.NoError(t, err)
	require.Equal(t, 1, w.person.prompts())
	require.Equal(t, []broker.Step{
		broker.StepSignIn, broker.StepDiscover, broker.StepDeviceKey, broker.StepTransportKey,
		broker.StepSaveKeys, broker.StepRequest, broker.StepSave, broker.StepPRT,
	}, steps)
	require.Equal(t, claims.Yes, w.status(res.Account).MFA.MFA)
	w.silent(payroll)
	w.silent(ledger)
	require.Equal(t, 1, w.person.prompts())
}

// 4. The claim persists through every renewal as long as the PRT lives; its
// time does not move, so a sign-in frequency still asks when it is due.
func TestStoryClaimPersists(t *testing.T) {
	t.Parallel()
	keys, _ := softwareTPM(t)
	w := newWorld(t, withKeys(keys), withPolicies(`[`+one(mfaForMoney)+`,{"id":"99999999-0000-4000-8000-000000000002","displayName":"Ledger each day","state":"enabled",
 "conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["`+ledgerID+`"]},"clientAppTypes":["all"]},
 "sessionControls":{"signInFrequency":{"isEnabled":true,"type":"days","value":1,"authenticationType":"primaryAndSecondaryAuthentication","frequencyInterval":"timeBased"}}}]`))
	w.join()
	res, err := w.b.SignIn(t.Context(), broker.AuthCode{LoginHint: alice, MFA: true})
	require.NoError(t, err)
	acct := res.Account
	first := w.status(acct)
	require.Equal(t, claims.Yes, first.MFA.MFA)

	w.silent(ledger)
	for range 20 { // ten days of use, twice a day
		w.clock.Advance(12 * time.Hour)
		w.silent(payroll)
	}
	now := w.status(acct)
	require.Equal(t, claims.Yes, now.MFA.MFA)
	require.Equal(t, first.MFA.At, now.MFA.At, "a renewal proves nothing anew")
	require.Equal(t, first.MFA.AuthTime, now.MFA.AuthTime)
	require.Equal(t, first.IssuedOn, now.IssuedOn)
	require.True(t, now.ExpiresOn.After(first.ExpiresOn))

	_, err = w.b.AcquireTokenSilent(t.Context(), ledger, broker.WithForceRefresh())
	require.ErrorIs(t, err, broker.ErrInteractionRequired, "the sign-in frequency is due")
	var e *broker.Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, []int{50078, 70043}, e.Code)
	require.NotErrorIs(t, err, broker.ErrBadCredential, "stale is not wrong")
	require.NotErrorIs(t, err, broker.ErrPRTRevoked)
	require.Equal(t, broker.Verdict("stale MFA"), e.Verdict)

	prompts := w.person.prompts()
	_, err = w.b.AcquireTokenInteractive(t.Context(), ledger, broker.WithClaims(`{"access_token":{}}`))
	require.NoError(t, err)
	require.Equal(t, prompts+1, w.person.prompts())
	require.True(t, w.status(acct).MFA.At.After(first.MFA.At), "a sign-in moves the time")
	w.silent(ledger)
}

// 5. The PRT is renewed every 4 hours in use, its expiry slides, and it dies
// after 14 days without use: a typed error, not a hang.
func TestStoryRenewalAndDeath(t *testing.T) {
	t.Parallel()
	keys, _ := softwareTPM(t)
	w := newWorld(t, withKeys(keys))
	w.join()
	acct := w.signIn()
	issued := w.status(acct)
	require.Equal(t, broker.PRTFresh, issued.State)
	require.Equal(t, 14*24*time.Hour, issued.ExpiresOn.Sub(issued.IssuedOn).Round(time.Minute))

	w.clock.Advance(4*time.Hour - time.Second)
	w.silent(graph)
	require.Equal(t, issued.RenewedOn, w.status(acct).RenewedOn, "not before 4 hours")
	w.clock.Advance(time.Second)
	require.Equal(t, broker.PRTNeedsRenewal, w.status(acct).State)
	w.silent(open)
	require.Equal(t, w.clock.Now(), w.status(acct).RenewedOn)

	for range 13 { // 13 days of use
		w.clock.Advance(24 * time.Hour)
		w.silent(graph)
	}
	slid := w.status(acct)
	require.Equal(t, 14*24*time.Hour, slid.ExpiresOn.Sub(w.clock.Now()).Round(time.Minute))

	w.clock.Advance(14*24*time.Hour + time.Minute)
	require.Equal(t, broker.PRTExpired, w.status(acct).State)
	_, err := w.b.AcquireTokenSilent(t.Context(), graph)
	require.ErrorIs(t, err, broker.ErrPRTExpired)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	var e *broker.Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, []int{70008, 700082}, e.Code, "the service was asked")
	require.Equal(t, broker.PRTNeedsInteraction, w.status(acct).State)

	w.signIn()
	w.silent(graph)
}

// A PRT born of an access pass says that it lives for two weeks and is over with
// the pass: the user signs in again, and nothing local is lost.
func TestStoryAccessPassIsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.join()
	pass, err := w.srv.CreateAccessPass(alice, false)
	require.NoError(t, err)
	w.person.AccessPass = pass
	res, err := w.b.AcquireTokenInteractive(t.Context(), payroll)
	require.NoError(t, err)
	require.Equal(t, broker.PRTFresh, w.status(res.Account).State)
	w.silent(ledger)

	w.clock.Advance(time.Hour)
	for range 2 {
		w.wire.take()
		_, err = w.b.AcquireTokenSilent(t.Context(), open)
		require.ErrorIs(t, err, broker.ErrPRTExpired)
		require.ErrorIs(t, err, broker.ErrInteractionRequired)
		require.NotErrorIs(t, err, broker.ErrPRTRevoked)
		var e *broker.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, 130504, e.Code)
		require.LessOrEqual(t, count(w.wire.take(), "token"), 1, "asked once, not in a loop")
	}
	require.Equal(t, broker.PRTNeedsInteraction, w.status(res.Account).State)
	require.Equal(t, 130504, w.status(res.Account).LastError)
	s, err := w.b.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, d.ID, s.Device.ID)
	require.Equal(t, []broker.Account{res.Account}, s.Accounts)

	_, err = w.b.AcquireTokenSilent(t.Context(), ledger)
	require.ErrorIs(t, err, broker.ErrPRTExpired, "the token ended with the pass")

	w.person.AccessPass = ""
	_, err = w.b.AcquireTokenInteractive(t.Context(), open)
	require.NoError(t, err)
	require.Equal(t, broker.PRTFresh, w.status(res.Account).State)
	w.silent(graph)
}

// 6. Password change, revocation, disabled or deleted user, disabled or
// deleted device: each its own typed error; nothing local is wiped.
func TestStoryEnds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		event func(*world, *broker.Device) error
		want  error
		not   []error
		codes []int
		again func(*world, *broker.Device) error // undoes it; nil: a new sign-in does
	}{
		{
			name:  "password change",
			event: func(w *world, _ *broker.Device) error { return w.srv.ChangePassword(alice, "new "+password) },
			want:  broker.ErrPRTRevoked, not: []error{broker.ErrDeviceAuth, broker.ErrPRTExpired}, codes: []int{50132, 50133, 50173},
		},
		{
			name:  "revocation",
			event: func(w *world, _ *broker.Device) error { return w.srv.Revoke(alice) },
			want:  broker.ErrPRTRevoked, not: []error{broker.ErrDeviceAuth}, codes: []int{50133, 50173},
		},
		{
			name:  "disabled user",
			event: func(w *world, _ *broker.Device) error { return w.srv.DisableUser(alice) },
			want:  broker.ErrUserDisabled, not: []error{broker.ErrInteractionRequired}, codes: []int{50057},
			again: func(w *world, _ *broker.Device) error { return w.srv.EnableUser(alice) },
		},
		{
			name:  "deleted user",
			event: func(w *world, _ *broker.Device) error { return w.srv.DeleteUser(alice) },
			want:  broker.ErrUserNotFound, not: []error{broker.ErrInteractionRequired}, codes: []int{50034},
		},
		{
			name:  "disabled device",
			event: func(w *world, d *broker.Device) error { return w.srv.DisableDevice(d.ID) },
			want:  broker.ErrDeviceDisabled, not: []error{broker.ErrInteractionRequired, broker.ErrDeviceGone}, codes: []int{135011},
			again: func(w *world, d *broker.Device) error { return w.srv.EnableDevice(d.ID) },
		},
		{
			name:  "deleted device",
			event: func(w *world, d *broker.Device) error { return w.srv.DeleteDevice(d.ID) },
			want:  broker.ErrDeviceAuth, not: []error{broker.ErrInteractionRequired, broker.ErrDeviceDisabled}, codes: []int{50155, 700003},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(w *world, _ *entratestOptions) { w.store = fileStore(t, filepath.Join(t.TempDir(), "state")) })
			d := w.join()
			acct := w.signIn()
			w.silent(graph)
			require.NoError(t, tt.event(w, d))
			w.clock.Advance(time.Second)

			_, err := w.b.AcquireTokenSilent(t.Context(), open)
			require.ErrorIs(t, err, tt.want)
			for _, not := range tt.not {
				require.NotErrorIs(t, err, not)
			}
			var e *broker.Error
			require.ErrorAs(t, err, &e)
			require.Contains(t, tt.codes, e.Code)
			require.NotEmpty(t, e.CorrelationID)

			// Nothing local is wiped, in memory or on disk.
			reopened := w.open()
			s, err := reopened.Status(t.Context())
			require.NoError(t, err)
			require.True(t, s.Registered)
			require.Equal(t, d.ID, s.Device.ID)
			require.Equal(t, []broker.Account{acct}, s.Accounts)
			w.silent(graph) // from memory, still valid

			if tt.again != nil {
				require.NoError(t, tt.again(w, d))
				w.silent(open)
			}
		})
	}
}

// 7. It is bound to THAT device: its state copied to another TPM opens
// nothing; a PRT replayed without its session key is refused by the service.
func TestStoryBoundToTheDevice(t *testing.T) {
	t.Parallel()
	keys, _ := softwareTPM(t)
	dir := filepath.Join(t.TempDir(), "state")
	store := fileStore(t, dir)
	w := newWorld(t, withKeys(keys), func(w *world, _ *entratestOptions) { w.store = store })
	w.join()
	w.signIn()
	w.silent(graph)
	require.NoError(t, w.b.Close())
	require.NoError(t, keys.Close())

	thief := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, os.CopyFS(thief, os.DirFS(dir)))
	require.NoError(t, os.Chmod(thief, 0o700))
	files, err := os.ReadDir(thief)
	require.NoError(t, err)
	for _, f := range files {
		require.NoError(t, os.Chmod(filepath.Join(thief, f.Name()), 0o600))
	}
	other, err := tpm.Open(t.Context(), tpmtest.Swtpm(t).Opener(), tpm.Config{})
	require.NoError(t, err)
	defer other.Close()
	for name, k := range map[string]tpm.KeyStore{"another TPM": other, "software keys": softwareKeys(t)} {
		t.Run(name, func(t *testing.T) {
			cfg := w.cfg
			cfg.Keys, cfg.Store = k, fileStore(t, thief)
			_, err := broker.New(t.Context(), cfg)
			require.ErrorIs(t, err, broker.ErrKeyUnusable)
		})
	}
	t.Run("replay without the session key", func(t *testing.T) {
		w.replay(t)
	})
}

// replay steals the PRT out of a request and presents it as what it is not: an
// ordinary refresh token.
func (w *world) replay(t *testing.T) {
	v := newWorld(t)
	v.join()
	var stolen string
	v.wire.set(func(r *http.Request) error {
		if s := prtOf(r); s != "" {
			stolen = s
		}
		return nil
	}, nil)
	v.signIn()
	v.silent(graph)
	require.NotEmpty(t, stolen)
	res, err := v.srv.Client().PostForm("https://login.microsoftonline.com/contoso.example/oauth2/token", url.Values{
		"grant_type":    {wire.GrantRefreshToken},
		"client_id":     {wire.ClientWindowsSignIn},
		"refresh_token": {stolen},
		"resource":      {"https://graph.microsoft.com"},
	})
	require.NoError(t, err)
	defer res.Body.Close()
	var body struct {
		Codes []int `json:"error_codes"`
	}
	require.NoError(t, json.NewDecoder(res.Body).Decode(&body))
	require.Equal(t, []int{7000016}, body.Codes)
}

func amr(t *testing.T, r broker.AuthResult) []string {
	t.Helper()
	tok, err := claims.Parse(r.AccessToken)
	require.NoError(t, err)
	return tok.AMR
}
