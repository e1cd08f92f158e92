package authd_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/examples/authd"
	"github.com/prtbroker/prtbroker/tpm"
)

func TestRegisterDevice(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, keys tpm.KeyStore) {
		w := newWorld(t, keys)
		token := w.signIn(nil)
		data := w.register(token)
		devices := w.Devices()
		require.Len(t, devices, 1)
		require.Equal(t, devices[0].ID, data.DeviceID)
		require.Equal(t, "pc-1", devices[0].DisplayName)
		require.Equal(t, keys != nil, data.AuthValue == "tpm")
		require.Len(t, data.CertKey, 20)
		require.Contains(t, string(data.TransportKey), w.TenantID())

		again := w.register(token)
		require.NotEqual(t, data.DeviceID, again.DeviceID, "each call makes a device, as authd's callers know")
		for _, d := range []authd.DeviceRegistrationData{data, again} {
			names, err := w.groups(w.p, token, d)
			require.NoError(t, err)
			require.Equal(t, []string{"linux-admins"}, names)
		}
		for _, secret := range []string{token.RefreshToken, token.AccessToken} {
			require.NotContains(t, w.logs.String(), secret)
			raw, err := json.Marshal(data)
			require.NoError(t, err)
			require.NotContains(t, string(raw), secret)
		}
	})
}

func TestRegistrationFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.signIn(nil)
	register := func() error {
		data, cleanup, err := w.p.RegisterDevice(t.Context(), token, w.TenantID(), domain)
		require.NotNil(t, cleanup)
		cleanup()
		require.Nil(t, data)
		return err
	}
	remove := w.AddFault(entratest.Fault{Endpoint: entratest.EndpointDevice, Kind: entratest.DropBefore, Times: -1})
	require.ErrorIs(t, register(), broker.ErrTransient)
	remove()
	token = &oauth2.Token{RefreshToken: "0.Aof-of-nobody"}
	require.ErrorIs(t, register(), broker.ErrInteractionRequired)
	require.Empty(t, w.Devices())
	require.NoError(t, w.p.Close())
	require.ErrorContains(t, register(), "closed")
}

// A user who cannot be signed in at once has a device all the same.
func TestRegistrationWithoutASignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.signIn(nil)
	remove := w.AddFault(entratest.Fault{Endpoint: entratest.EndpointNonce, Kind: entratest.DropBefore, Times: -1})
	data := w.register(token)
	remove()
	require.Empty(t, w.PRTs())
	require.Contains(t, w.logs.String(), "not signed in")
	names, err := w.groups(w.p, token, data)
	require.NoError(t, err)
	require.Equal(t, []string{"linux-admins"}, names)
	require.Len(t, w.PRTs(), 1)
}

// The PRT of the registration is kept: tokens take one request each, in this process
// and in the next, and nobody is asked.
func TestThePRTIsKept(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, keys tpm.KeyStore) {
		w := newWorld(t, keys)
		token := w.signIn(nil)
		data := w.register(token)
		signIns := len(w.SignIns())

		token = &oauth2.Token{AccessToken: token.AccessToken, RefreshToken: "not used"}
		for _, p := range []*authd.Provider{w.p, w.provider(nil)} {
			w.web.take()
			_, err := w.groups(p, token, data)
			require.NoError(t, err)
			require.LessOrEqual(t, len(w.web.take()), 2, "a token, and a nonce where there is none yet")
		}
		w.clock.Advance(2 * time.Hour)
		_, err := w.groups(w.p, token, data)
		require.NoError(t, err)
		require.Len(t, w.PRTs(), 1)
		for _, s := range w.SignIns()[signIns:] {
			require.Zero(t, s.MFAPrompts)
			require.Equal(t, data.DeviceID, s.DeviceID)
			require.False(t, s.Interactive)
		}
	})
}

// A renewed PRT is in what Saved is given, and the next process goes on with it when
// that of the registration has ended.
func TestSaved(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, keys tpm.KeyStore) {
		w := newWorld(t, keys)
		data := w.register(w.signIn(nil))
		kept, token := data, &oauth2.Token{RefreshToken: "not used"}
		p := w.provider(func(_ context.Context, d authd.DeviceRegistrationData) error {
			kept = carried(t, d)
			return nil
		})
		for range 3 {
			w.clock.Advance(8 * 24 * time.Hour)
			_, err := w.groups(p, token, data)
			require.NoError(t, err)
		}
		require.Equal(t, data.DeviceID, kept.DeviceID)
		require.NotEqual(t, data.TPMMachineKey, kept.TPMMachineKey)
		require.NoError(t, p.Close())

		_, err := w.groups(w.provider(nil), token, kept)
		require.NoError(t, err)
		_, err = w.groups(w.provider(nil), token, data)
		require.ErrorIs(t, err, broker.ErrInteractionRequired, "the PRT of 24 days ago")
		require.NotErrorAs(t, err, new(authd.TokenAcquisitionError), "the device is what it was")
	})
}

func TestSavedFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.signIn(nil)
	data := w.register(token)
	p := w.provider(func(context.Context, authd.DeviceRegistrationData) error { return errDisk })
	w.clock.Advance(15 * 24 * time.Hour) // the PRT has ended: a new one would be kept
	token = w.signIn(nil)
	_, err := w.groups(p, token, data)
	require.ErrorIs(t, err, errDisk)
	require.NotErrorAs(t, err, new(authd.TokenAcquisitionError))
}

// A PRT that has ended is followed by one that authd's refresh token brings.
func TestARefreshTokenBringsANewPRT(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	data := w.register(w.signIn(nil))
	w.clock.Advance(15 * 24 * time.Hour)
	later := w.signIn(nil) // data is not named: nothing is noted
	_, err := w.groups(w.p, later, data)
	require.NoError(t, err)
	require.Len(t, w.Devices(), 1)
}

// MFA that the user has just done reaches the PRT, which a sign-in frequency asks for.
func TestFreshMFAReachesThePRT(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	first := w.signIn(nil)
	data := w.register(first)
	before := w.PRTs()[0].MFATime
	w.clock.Advance(3 * time.Hour)
	token := w.signIn(&data)
	_, err := w.groups(w.p, token, data)
	require.NoError(t, err)
	newest := w.PRTs()[len(w.PRTs())-1]
	require.Equal(t, 3*time.Hour, newest.MFATime.Sub(before).Round(time.Minute))

	w.web.take()
	_, err = w.groups(w.p, token, data)
	require.NoError(t, err)
	require.Empty(t, w.web.take(), "once: then it is the kept PRT, with a token of its own")
}

// Whoever is named by the token is whose groups are read.
func TestTheTokenOfAnotherUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	data := w.register(w.signIn(nil))
	f, _, err := w.begin(pia, secret, nil)
	require.NoError(t, err)
	code, ok := w.SMSCode("pia")
	require.True(t, ok)
	token, err := w.answer(pia, f, nil, code, 0)
	require.NoError(t, err)
	before := len(w.SignIns())
	_, err = w.groups(w.p, token, data)
	require.NoError(t, err)
	for _, s := range w.SignIns()[before:] {
		require.Equal(t, pia, s.Username)
	}
	require.Len(t, w.PRTs(), 2)
}

// authd looks at each login whether the user is still active, by a refresh of its own:
// as a public client, at the v2 endpoint, without a scope. A refresh token of a sign-in
// that asked for a resource (v1 endpoint) does not survive that.
func TestAuthdRefreshesTheToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.signIn(nil)
	cfg := oauth2.Config{ClientID: broker.BrokerClientID, Scopes: []string{"openid", "profile", "offline_access"},
		Endpoint: oauth2.Endpoint{TokenURL: "https://login.microsoftonline.com/" + w.TenantID() + "/oauth2/v2.0/token", AuthStyle: oauth2.AuthStyleInParams}}
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, w.Client())
	next, err := cfg.TokenSource(ctx, &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
	require.NoError(t, err)
	said, err := claims.Parse(next.AccessToken)
	require.NoError(t, err)
	require.Equal(t, alice, said.Username)

	data := w.register(next) // and what it returns goes on as before
	_, err = w.groups(w.p, next, data)
	require.NoError(t, err)

	require.NoError(t, w.DisableUser("alice"))
	_, err = cfg.TokenSource(ctx, next).Token()
	require.NoError(t, err, "it lives for an hour")
	_, err = cfg.TokenSource(ctx, &oauth2.Token{RefreshToken: next.RefreshToken}).Token()
	var refused *oauth2.RetrieveError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "invalid_grant", refused.ErrorCode)
	require.Contains(t, refused.ErrorDescription, "AADSTS50057:")
}

// A registration is given up for certain news alone.
func TestRefusals(t *testing.T) {
	t.Parallel()
	fault := func(f entratest.Fault) func(*testing.T, *world, authd.DeviceRegistrationData) {
		return func(_ *testing.T, w *world, _ authd.DeviceRegistrationData) { w.AddFault(f) }
	}
	aadsts := func(code int, oauth string) func(*testing.T, *world, authd.DeviceRegistrationData) {
		return fault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.AADSTS, Code: code, Error: oauth, Times: -1})
	}
	for _, tt := range []struct {
		name   string
		young  bool
		before func(*testing.T, *world, authd.DeviceRegistrationData)
		is     error
		gone   bool // authd registers again
	}{
		{"device disabled", false, func(t *testing.T, w *world, d authd.DeviceRegistrationData) {
			require.NoError(t, w.DisableDevice(d.DeviceID))
		}, authd.ErrDeviceDisabled, false},
		{"device deleted", false, func(t *testing.T, w *world, d authd.DeviceRegistrationData) {
			require.NoError(t, w.DeleteDevice(d.DeviceID))
		}, broker.ErrDeviceAuth, true},
		{"device said to be unknown", false, aadsts(50155, "invalid_grant"), broker.ErrDeviceAuth, true},
		{"young device said to be unknown", true, aadsts(50155, "invalid_grant"), broker.ErrDeviceAuth, false},
		{"no redirect URI", false, aadsts(50011, "invalid_request"), authd.ErrInvalidRedirectURI, false},
		{"no reply address at all", false, aadsts(500113, "invalid_request"), authd.ErrInvalidRedirectURI, false},
		{"not a public client", false, aadsts(7000218, "invalid_client"), broker.ErrAppConfig, false},
		{"no consent", false, aadsts(65001, "invalid_grant"), broker.ErrInteractionRequired, false},
		{"blocked", false, aadsts(53003, "access_denied"), broker.ErrBlocked, false},
		{"user disabled", false, aadsts(50057, "invalid_grant"), broker.ErrUserDisabled, false},
		{"a busy service", false, fault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.Throttle, RetryAfter: time.Hour, Times: -1}), broker.ErrTransient, false},
		{"no network", false, fault(entratest.Fault{Kind: entratest.DropBefore, Times: -1}), broker.ErrTransient, false},
		{"a lost reply", false, fault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.DropAfter, Times: -1}), broker.ErrTransient, false},
		{"something on the way", false, fault(entratest.Fault{Kind: entratest.Status, Status: http.StatusForbidden, Times: -1}), nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			token := w.signIn(nil)
			data := w.register(token)
			if !tt.young {
				w.clock.Advance(2 * time.Hour)
			}
			tt.before(t, w, data)
			_, err := w.groups(w.p, token, data)
			require.ErrorContains(t, err, "authd: ")
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
			}
			require.NotContains(t, err.Error(), token.RefreshToken)
			var acquisition authd.TokenAcquisitionError
			if tt.gone {
				require.ErrorAs(t, err, &acquisition)
			} else {
				require.NotErrorAs(t, err, &acquisition)
			}
			for _, is := range []error{authd.ErrDeviceDisabled, authd.ErrInvalidRedirectURI} {
				if is != tt.is {
					require.NotErrorIs(t, err, is)
				}
			}
		})
	}
}

// After the device was deleted the user signs in again and the machine registers
// again, as authd does.
func TestADeletedDeviceIsRegisteredAgain(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, keys tpm.KeyStore) {
		w := newWorld(t, keys)
		token := w.signIn(nil)
		data := w.register(token)
		w.clock.Advance(2 * time.Hour)
		require.NoError(t, w.DeleteDevice(data.DeviceID))
		_, err := w.groups(w.p, token, data)
		require.ErrorAs(t, err, new(authd.TokenAcquisitionError))
		again := w.register(w.signIn(nil))
		require.NotEqual(t, data.DeviceID, again.DeviceID)
		names, err := w.groups(w.p, token, again)
		require.NoError(t, err)
		require.Equal(t, []string{"linux-admins"}, names)
	})
}

// An app of the tenant's own directory that lacks the redirect URI: the emulator says
// so itself.
func TestMisconfiguredApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.signIn(nil)
	data := w.register(token)
	_, err := w.p.AcquireAccessTokenForGraphAPI(t.Context(), wrong, w.TenantID(), token, data)
	require.ErrorIs(t, err, authd.ErrInvalidRedirectURI)
}

// Data that is not of this machine, or not of this package.
func TestForeignData(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.signIn(nil)
	data := w.register(token)
	ask := func(p *authd.Provider, change func(*authd.DeviceRegistrationData)) error {
		d := data
		change(&d)
		_, err := p.AcquireAccessTokenForGraphAPI(t.Context(), app, w.TenantID(), token, d)
		return err
	}
	for name, change := range map[string]func(*authd.DeviceRegistrationData){
		"of libhimmelblau": func(d *authd.DeviceRegistrationData) { d.TransportKey = []byte{0xa1, 0x63} },
		"incomplete":       func(d *authd.DeviceRegistrationData) { d.CertKey = nil },
		"damaged":          func(d *authd.DeviceRegistrationData) { d.TPMMachineKey = d.TPMMachineKey[:len(d.TPMMachineKey)-1] },
		"another secret":   func(d *authd.DeviceRegistrationData) { d.AuthValue = strings.Repeat("A", 43) },
	} {
		require.ErrorAs(t, ask(w.provider(nil), change), new(authd.TokenAcquisitionError), name)
	}
	require.ErrorAs(t, ask(w.p, func(d *authd.DeviceRegistrationData) { d.AuthValue = strings.Repeat("A", 43) }), new(authd.TokenAcquisitionError),
		"a machine that is open already needs its secret too")

	w.keys = machines["swtpm"](t)
	err := ask(w.provider(nil), func(*authd.DeviceRegistrationData) {})
	require.ErrorContains(t, err, "another kind of key store")
	require.NotErrorAs(t, err, new(authd.TokenAcquisitionError), "a TPM that was configured later deletes no device")

	data = w.moved(t)
	w.keys = nil
	require.ErrorContains(t, ask(w.provider(nil), func(*authd.DeviceRegistrationData) {}), "another kind of key store", "nor is there a way back to software")
}

// moved registers the machine anew in its TPM.
func (w *world) moved(t *testing.T) authd.DeviceRegistrationData {
	t.Helper()
	w.p = w.provider(nil)
	return w.register(w.signIn(nil))
}

// The data of one TPM opens nothing on another.
func TestAnotherTPM(t *testing.T) {
	t.Parallel()
	w := newWorld(t, machines["swtpm"](t))
	token := w.signIn(nil)
	data := w.register(token)
	other := tpms.Swtpm(t)
	require.NoError(t, other.Wipe())
	keys, err := tpm.Open(t.Context(), other.Opener(), tpm.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = keys.Close() })
	w.keys = keys
	_, err = w.groups(w.provider(nil), token, data)
	require.ErrorIs(t, err, broker.ErrKeyUnusable)
}

func TestValidDeviceRegistrationDataJSON(t *testing.T) {
	t.Parallel()
	whole := map[string]string{"device_id": "d", "cert_key": "AQID", "transport_key": "BAUG", "auth_value": "a", "tpm_machine_key": "BwgJ"}
	raw, err := json.Marshal(whole)
	require.NoError(t, err)
	require.True(t, authd.ValidDeviceRegistrationDataJSON(raw))
	for name := range whole {
		for _, value := range []any{"", nil, 42} {
			part := map[string]any{}
			for n, v := range whole {
				part[n] = v
			}
			part[name] = value
			raw, err := json.Marshal(part)
			require.NoError(t, err)
			require.False(t, authd.ValidDeviceRegistrationDataJSON(raw), string(raw))
		}
	}
	for _, raw := range []string{"", "null", "{}", "no JSON"} {
		require.False(t, authd.ValidDeviceRegistrationDataJSON([]byte(raw)))
	}
}
