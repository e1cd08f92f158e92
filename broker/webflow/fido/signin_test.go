package fido_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/webflow"
	"github.com/prtbroker/prtbroker/broker/webflow/fido"
	"github.com/prtbroker/prtbroker/broker/webflow/fido/fidotest"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

const (
	kim     = "kim@contoso.example"
	secret  = "correct horse battery staple"
	payroll = "7a11e51e-0002-4000-8000-000000000002"
	native  = "https://login.microsoftonline.com/common/oauth2/nativeclient"
)

// tenantOf is a tenant where kim has a password, an authenticator app and the
// credential of a security key.
func tenantOf(t *testing.T, c fidotest.Credential) *entratest.Server {
	t.Helper()
	return entratest.NewTB(t, entratest.Options{
		Clock: entratest.NewClock(time.Time{}), Seed: 1, ReplicationLag: -1,
		Users: []entratest.User{{Username: "kim", Password: secret, TOTPSecret: "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
			Passkeys: []entratest.Passkey{{ID: c.ID, Key: c.Key, UserHandle: c.UserHandle}}}},
		Apps: []entratest.App{{ClientID: payroll, Name: "Payroll", Public: true, AdminConsent: true, URIs: []string{"api://payroll"}, Redirects: []string{native}}},
		Policies: []byte(`{"value":[{"id":"p1","displayName":"Payroll needs MFA","state":"enabled","conditions":{"users":{"includeUsers":["All"]},
			"applications":{"includeApplications":["` + payroll + `"]},"clientAppTypes":["all"]},"grantControls":{"operator":"OR","builtInControls":["mfa"]}}]}`),
	})
}

// asker answers in place of a person.
type asker func(context.Context, webflow.Challenge, error) (webflow.Answer, error)

func (a asker) Ask(ctx context.Context, c webflow.Challenge, wrong error) (webflow.Answer, error) {
	return a(ctx, c, wrong)
}

// chooseKey goes from whatever is asked for to the security key.
func chooseKey(_ context.Context, c webflow.Challenge, wrong error) (webflow.Answer, error) {
	if wrong != nil {
		return webflow.Answer{}, wrong
	}
	return webflow.Answer{Choice: webflow.MethodKey}, nil
}

func brokerOf(t *testing.T, s *entratest.Server) *broker.Broker {
	t.Helper()
	keys, err := softkeys.Open(softkeys.File(filepath.Join(t.TempDir(), "master")), softkeys.InsecureFastPINs())
	require.NoError(t, err)
	b, err := broker.New(t.Context(), broker.Config{Tenant: "contoso.example", Keys: keys, Transport: s.Transport(), Now: s.Now, App: broker.App{ClientID: payroll}})
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = b.Close(), keys.Close() })
	return b
}

// A security key is the first factor, or the second one after a password, of a
// sign-in without a browser; its PRT carries the MFA, and the app that a policy asks
// MFA for gets its token silently.
func TestSignIn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		password string
		key      fidotest.Options
	}{
		{"first factor, PIN", "", fidotest.Options{PIN: pin}},
		{"first factor, PIN of CTAP 2.0", "", fidotest.Options{PIN: pin, CTAP20: true, Protocols: []int{1}}},
		{"first factor, fingerprint", "", fidotest.Options{BuiltIn: func(context.Context) error { return nil }}},
		{"second factor, PIN", secret, fidotest.Options{PIN: pin}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := credential(t, "the key of kim", kim)
			s := tenantOf(t, c)
			k := fidotest.New(tt.key)
			k.Add(c)
			u := &user{pins: []string{"9999", pin}}
			pages := &webflow.Pages{Options: webflow.Options{Transport: s.Transport(), Now: s.Now, Password: tt.password}, Asker: asker(chooseKey),
				Key: &fido.Key{Prompter: u, Devices: fidotest.Devices(k)}}
			b := brokerOf(t, s)
			res, err := b.Enroll(t.Context(), broker.WebFlow{LoginHint: kim, MFA: true, Pages: pages}, broker.EnrollRequest{})
			require.NoError(t, err)
			require.Equal(t, claims.Yes, res.Metadata.MFA.MFA)
			require.NotEmpty(t, u.touches)
			before := len(s.SignIns())
			_, err = b.AcquireTokenSilent(t.Context(), []string{"api://payroll/.default"})
			require.NoError(t, err)
			for _, in := range s.SignIns()[before:] {
				require.Zero(t, in.MFAPrompts)
			}
		})
	}
}

// A key that cannot sign is not the end: the user is told and chooses another way, or
// the same again.
func TestAnotherWay(t *testing.T) {
	t.Parallel()
	c := credential(t, "the key of kim", kim)
	s := tenantOf(t, c)
	k := fidotest.New(fidotest.Options{PIN: pin})
	k.Add(c)
	k.Unplug()
	var told []error
	ask := func(_ context.Context, ch webflow.Challenge, wrong error) (webflow.Answer, error) {
		told = append(told, wrong)
		switch {
		case wrong == nil:
			return webflow.Answer{Choice: webflow.MethodKey}, nil
		case len(told) == 2:
			k.PlugIn()
			return webflow.Answer{Choice: ch.Method}, nil
		}
		return webflow.Answer{}, errors.New("asked once too often")
	}
	pages := &webflow.Pages{Options: webflow.Options{Transport: s.Transport(), Now: s.Now}, Asker: asker(ask),
		Key: &fido.Key{Prompter: &user{pins: []string{pin}}, Devices: fidotest.Devices(k)}}
	_, err := brokerOf(t, s).Enroll(t.Context(), broker.WebFlow{LoginHint: kim, MFA: true, Pages: pages}, broker.EnrollRequest{})
	require.NoError(t, err)
	require.Len(t, told, 2)
	require.ErrorIs(t, told[1], fido.ErrNoKey)
}
