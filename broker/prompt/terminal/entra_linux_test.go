package terminal_test

import (
	"net/url"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/prompt/terminal"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

const (
	totpSecret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	appID      = "11111111-aaaa-4bbb-8ccc-000000000001"
	payrollID  = "11111111-aaaa-4bbb-8ccc-000000000002"
	needsMFA   = `{"value":[{"id":"99999999-0000-4000-8000-000000000001","displayName":"Payroll requires MFA","state":"enabled",
 "conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["` + payrollID + `"]},"clientAppTypes":["all"]},
 "grantControls":{"operator":"OR","builtInControls":["mfa"]}}]}`
)

var (
	codeOnScreen = regexp.MustCompile(`enter the code (\S+)`)
	pageOnScreen = regexp.MustCompile(`open this address in a browser:\s+(https://\S+)`)
	endOnScreen  = regexp.MustCompile(`begins with\s+(\S+)\s+and cannot`)
)

// A person who has a terminal, and a browser elsewhere, signs in at the
// emulator's pages by nothing but what the terminal shows: by a device code, by
// the paste of a redirect, and by a PIN.
func TestSignInPages(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	clock := entratest.NewRunningClock(time.Now())
	srv := entratest.NewTB(t, entratest.Options{
		Clock:          clock,
		Users:          []entratest.User{{Username: "alice", Password: "correct horse", TOTPSecret: totpSecret}},
		Apps:           []entratest.App{{ClientID: appID, Public: true, AdminConsent: true, Redirects: []string{broker.NativeClientRedirect}}, {ClientID: payrollID, URIs: []string{"api://payroll"}}},
		Policies:       []byte(needsMFA),
		ReplicationLag: -1,
	})
	alice := entratest.Person{Username: "alice@contoso.example", Password: "correct horse", TOTPSecret: totpSecret, Now: srv.Now}
	s := newScreen(t)
	keys, err := softkeys.Open(softkeys.Secret(make([]byte, 32)), softkeys.InsecureFastPINs())
	require.NoError(t, err)
	b, err := broker.New(t.Context(), broker.Config{
		Tenant: srv.Domain(), App: broker.App{ClientID: appID}, Keys: keys, Transport: srv.Client(), Now: clock.Now,
		Prompter: &terminal.Prompter{Device: s.path, Paste: true}, InsecureSoftwareHello: true,
	})
	require.NoError(t, err)
	defer b.Close()
	payroll := []string{"api://payroll/.default"}

	person := make(chan error, 1)
	go func() {
		text := s.await(t, "do not enter the code.")
		person <- alice.ApproveDeviceCode(t.Context(), srv.Client(), codeOnScreen.FindStringSubmatch(text)[1])
	}()
	res, err := b.Enroll(t.Context(), broker.DeviceCodeFlow{}, broker.EnrollRequest{})
	require.NoError(t, err)
	require.NoError(t, <-person)
	_, err = b.AcquireTokenSilent(t.Context(), payroll)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)

	var to string
	go func() {
		text := s.await(t, "Paste it here")
		var err error
		to, err = alice.Authorize(t.Context(), srv.Client(), pageOnScreen.FindStringSubmatch(text)[1], endOnScreen.FindStringSubmatch(text)[1])
		if err == nil {
			s.press(t, to+"\r")
		}
		person <- err
	}()
	_, err = b.AcquireTokenInteractive(t.Context(), payroll)
	require.NoError(t, err)
	require.NoError(t, <-person)
	u, err := url.Parse(to)
	require.NoError(t, err)
	require.NotEmpty(t, u.Query().Get("code"))
	require.NotContains(t, s.await(t, "Paste it here"), u.Query().Get("code"), "the code of the redirect is on the screen")

	require.NoError(t, b.ProvisionHello(t.Context(), res.Account, broker.PIN("27182845")))
	require.NoError(t, srv.Revoke("alice"))
	clock.Advance(time.Minute)
	go func() {
		s.await(t, "PIN for alice@contoso.example: ")
		s.press(t, "27182845\r")
		person <- nil
	}()
	_, err = b.AcquireTokenInteractive(t.Context(), payroll, broker.WithForceRefresh())
	require.NoError(t, err)
	require.NoError(t, <-person)
	st, err := b.PRTStatus(t.Context(), res.Account)
	require.NoError(t, err)
	require.Equal(t, claims.Yes, st.MFA.MFA)
}
