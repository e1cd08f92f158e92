//go:build withmsentraid

// Package emulator_test runs authd's provider for Microsoft Entra ID and its broker against
// prtbroker's emulator: what authd does with a password and a second factor has no
// stand-in in authd's own tests. It belongs below the provider's package.
package emulator_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"testing"

	"github.com/canonical/authd/authd-oidc-brokers/internal/providers/msentraid"
	"github.com/canonical/authd/authd-oidc-brokers/internal/providers/msentraid/himmelblau"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	providerErrors "github.com/canonical/authd/authd-oidc-brokers/internal/providers/errors"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/examples/authd"
)

const (
	secret = "correct horse battery staple"
	app    = "7a11e51e-0004-4000-8000-000000000004"
	policy = `{"value":[{"id":"p1","displayName":"Graph needs MFA","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["00000003-0000-0000-c000-000000000000"]},"clientAppTypes":["all"]},"grantControls":{"operator":"OR","builtInControls":["mfa"]}}]}`
)

// The whole of a first and of a later login, in the order in which authd's broker makes
// the calls.
func TestProvider(t *testing.T) {
	entra := entratest.NewTB(t, entratest.Options{
		ReplicationLag: -1, Policies: []byte(policy),
		Users: []entratest.User{
			{Username: "alice", Name: "Alice Example", Password: secret, TOTPSecret: "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"},
			{Username: "carol", Name: "Carol Example", Password: secret, NumberMatch: true},
			{Username: "pia", Name: "Pia Example", Password: secret, Phone: "+41 79 123 45 67"},
			{Username: "bob", Password: secret},
		},
		Groups: []entratest.Group{{Name: "linux-admins", Members: []string{"alice", "carol", "pia"}}, {Name: "Staff", Members: []string{"alice", "carol", "pia"}}},
		Apps:   []entratest.App{{ClientID: app, Name: "authd", Public: true, AdminConsent: true, Redirects: []string{broker.NativeClientRedirect}}},
	})
	http.DefaultTransport = entra.HTTPTransport() // of Graph's SDK, x/oauth2 and the key set
	http.DefaultClient.Transport = http.DefaultTransport
	shared := authd.New(authd.Config{Transport: entra.Transport(), Device: broker.DeviceInfo{DisplayName: "pc-1"}})
	himmelblau.Use(t, shared)

	issuer := "https://login.microsoftonline.com/" + entra.TenantID() + "/v2.0"
	graph := map[string]any{"msgraph_host": "https://graph.microsoft.com/v1.0"}
	ctx := context.Background()

	start := func(p *msentraid.Provider, user, password string, data []byte) (*himmelblau.MFAFlowState, *himmelblau.MFAChallengeInfo, error) {
		return p.InitiateEntraPasswordAuth(ctx, app, issuer, user, password, data, true)
	}
	category := func(t *testing.T, err error) himmelblau.MFAErrorCategory {
		var e *himmelblau.MFAError
		require.ErrorAs(t, err, &e)
		return e.Category
	}
	for user, answer := range map[string]func(t *testing.T, try func(code string, attempt int) (*oauth2.Token, error), c *himmelblau.MFAChallengeInfo) *oauth2.Token{
		"alice": func(t *testing.T, try func(string, int) (*oauth2.Token, error), c *himmelblau.MFAChallengeInfo) *oauth2.Token {
			require.Equal(t, "PhoneAppOTP", c.Method)
			_, err := try("000000", 0)
			require.Equal(t, himmelblau.MFAErrorRetryableCode, category(t, err))
			code, _, err := entra.OneTimeCode("alice")
			require.NoError(t, err)
			token, err := try(code, 0)
			require.NoError(t, err)
			return token
		},
		"carol": func(t *testing.T, try func(string, int) (*oauth2.Token, error), c *himmelblau.MFAChallengeInfo) *oauth2.Token {
			require.Equal(t, "PhoneAppNotification", c.Method)
			require.Positive(t, c.PollingIntervalMs)
			_, err := try("", 1)
			require.Equal(t, himmelblau.MFAErrorPollContinue, category(t, err))
			number, err := strconv.Atoi(regexp.MustCompile(`\d+`).FindString(c.Message))
			require.NoError(t, err)
			require.True(t, entra.AnswerNumberMatch("carol", number))
			token, err := try("", 2)
			require.NoError(t, err)
			return token
		},
		"pia": func(t *testing.T, try func(string, int) (*oauth2.Token, error), c *himmelblau.MFAChallengeInfo) *oauth2.Token {
			require.Equal(t, "OneWaySMS", c.Method)
			code, ok := entra.SMSCode("pia")
			require.True(t, ok)
			token, err := try(code, 0)
			require.NoError(t, err)
			return token
		},
	} {
		t.Run(user, func(t *testing.T) {
			p, upn := msentraid.New(), user+"@contoso.example"
			flow, challenge, err := start(p, upn, secret, nil)
			require.NoError(t, err)
			token := answer(t, func(code string, attempt int) (*oauth2.Token, error) {
				return p.AcquireTokenByMFAFlow(ctx, app, issuer, upn, flow, code, attempt, nil)
			}, challenge)
			himmelblau.FreeMFAFlowState(flow)

			require.NoError(t, p.VerifyAccessToken(ctx, issuer, token.AccessToken))
			who, err := p.UserInfoFromAccessToken(token.AccessToken)
			require.NoError(t, err)
			require.Equal(t, upn, who.Name)
			require.NoError(t, p.VerifyUsername(upn, who.Name))

			data, cleanup, err := p.MaybeRegisterDevice(ctx, token, upn, issuer, nil)
			require.NoError(t, err)
			require.True(t, himmelblau.ValidDeviceRegistrationDataJSON(data))
			groups, err := p.GetGroups(ctx, app, issuer, token, graph, data, true)
			require.NoError(t, err)
			cleanup()
			names := []string{}
			for _, g := range groups {
				names = append(names, g.Name)
			}
			require.ElementsMatch(t, []string{"admins", "staff"}, names)

			// The next process: authd refreshes its token and looks at the groups.
			next := authd.New(authd.Config{Transport: entra.Transport()})
			himmelblau.Use(t, next)
			defer himmelblau.Use(t, shared)
			refreshed, err := p.RefreshEntraPasswordToken(ctx, issuer, token.RefreshToken)
			require.NoError(t, err)
			require.NoError(t, p.VerifyAccessToken(ctx, issuer, refreshed.AccessToken))
			same, again, err := p.MaybeRegisterDevice(ctx, token, upn, issuer, data)
			require.NoError(t, err)
			again()
			require.Equal(t, data, same)
			prts := len(entra.PRTs())
			_, err = p.GetGroups(ctx, app, issuer, token, graph, data, true)
			require.NoError(t, err)
			require.Len(t, entra.PRTs(), prts, "by the PRT that is in the data")

			// An administrator disables the device.
			var d himmelblau.DeviceRegistrationData
			require.NoError(t, json.Unmarshal(data, &d))
			require.NoError(t, entra.DisableDevice(d.DeviceID))
			himmelblau.Use(t, authd.New(authd.Config{Transport: entra.Transport()}))
			_, err = p.GetGroups(ctx, app, issuer, token, graph, data, true)
			require.ErrorIs(t, err, providerErrors.ErrDeviceDisabled)
			var again2 *providerErrors.RetryWithDeviceAuthError
			require.False(t, errors.As(err, &again2))
		})
	}

	p := msentraid.New()
	for name, tt := range map[string]struct {
		user, password string
		aadsts         int
	}{
		"wrong_password":   {"alice@contoso.example", "guess", 50126},
		"unknown_user":     {"nobody@contoso.example", secret, 50034},
		"no_second_factor": {"bob@contoso.example", secret, 50079},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := start(p, tt.user, tt.password, nil)
			var e *himmelblau.MFAError
			require.ErrorAs(t, err, &e)
			require.Equal(t, tt.aadsts, e.AADSTS)
		})
	}
	t.Run("declined", func(t *testing.T) {
		flow, c, err := start(p, "carol@contoso.example", secret, nil)
		require.NoError(t, err)
		defer himmelblau.FreeMFAFlowState(flow)
		number, err := strconv.Atoi(regexp.MustCompile(`\d+`).FindString(c.Message))
		require.NoError(t, err)
		require.True(t, entra.AnswerNumberMatch("carol", (number+1)%100))
		_, err = p.AcquireTokenByMFAFlow(ctx, app, issuer, "carol@contoso.example", flow, "", 1, nil)
		require.Equal(t, himmelblau.MFAErrorDenied, category(t, err))
	})
	t.Run("disabled_user_at_the_refresh", func(t *testing.T) {
		flow, _, err := start(p, "pia@contoso.example", secret, nil)
		require.NoError(t, err)
		code, ok := entra.SMSCode("pia")
		require.True(t, ok)
		token, err := p.AcquireTokenByMFAFlow(ctx, app, issuer, "pia@contoso.example", flow, code, 0, nil)
		require.NoError(t, err)
		require.NoError(t, entra.DisableUser("pia"))
		_, err = p.RefreshEntraPasswordToken(ctx, issuer, token.RefreshToken)
		var refused *oauth2.RetrieveError
		require.ErrorAs(t, err, &refused)
		require.True(t, p.IsUserDisabledError(refused))
	})
}
