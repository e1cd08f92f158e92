package broker_test

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

var update = flag.Bool("update", false, "rewrite golden files")

// statuses are states with fixed facts, one for each golden file.
func statuses() map[string]broker.Status {
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	acct := broker.Account{
		HomeAccountID: "0b6a1c22-0000-4000-8000-000000000001.f3d10000-0000-4000-8000-000000000002", Environment: "login.windows.net",
		Realm: "f3d10000-0000-4000-8000-000000000002", LocalAccountID: "0b6a1c22-0000-4000-8000-000000000001",
		PreferredUsername: "alice@contoso.example", Name: "Alice Example",
	}
	session := broker.PRTStatus{
		Account: acct, State: broker.PRTFresh, Credential: prt.ByRefreshToken, IssuedOn: at.Add(-20 * time.Hour),
		RenewedOn: at.Add(-time.Hour), RenewOn: at.Add(3 * time.Hour), ExpiresOn: at.Add(13*24*time.Hour + 23*time.Hour),
		DeviceID: "2bd0d16d-8533-4440-9c2c-4b201b58b7a9", SessionKey: true,
		MFA: claims.Evidence{MFA: claims.Yes, Methods: claims.Password | claims.SoftwareOATH | claims.MarkMFA | claims.MarkRSA, At: at.Add(-20 * time.Hour), Source: claims.SourceRefresh},
	}
	revoked := session
	revoked.State, revoked.LastError, revoked.Credential = broker.PRTNeedsInteraction, 50173, prt.ByPassword
	revoked.MFA = claims.Evidence{MFA: claims.No, Methods: claims.Password, Source: claims.SourcePRT}
	drs := "https://enterpriseregistration.windows.net/EnrollmentServer/"
	joined := broker.Status{
		Registered: true,
		Device: broker.Device{
			ID: "2bd0d16d-8533-4440-9c2c-4b201b58b7a9", TenantID: acct.Realm, TenantName: "contoso.example", UserID: acct.LocalAccountID,
			Region: "EU", DisplayName: "pc-1", Thumbprint: "C228571A12F1636F2F13B403ED6B71D16900E8FF",
			NotBefore: at.Add(-24 * time.Hour), NotAfter: at.AddDate(10, 0, -1), Registered: at.Add(-24 * time.Hour),
		},
		Tenant: broker.Tenant{
			ID: acct.Realm, Name: "contoso.example", Idp: "login.windows.net",
			AuthCodeURL:  "https://login.microsoftonline.com/" + acct.Realm + "/oauth2/authorize",
			TokenURL:     "https://login.microsoftonline.com/" + acct.Realm + "/oauth2/token",
			Join:         broker.ServiceEndpoint{Version: "2.0", URL: drs + "device/", ID: "urn:ms-drs:enterpriseregistration.windows.net"},
			Key:          broker.ServiceEndpoint{Version: "1.0", URL: drs + "key/", ID: "urn:ms-drs:enterpriseregistration.windows.net"},
			PRTAuthority: "https://login.microsoftonline.com/" + acct.Realm,
		},
		Protection: tpm.Info{Hardware: true, Backend: "tpm", Manufacturer: "INTC", Model: "Intel", Firmware: "600.18.0.0"},
		Accounts:   []broker.Account{acct}, PRTs: []broker.PRTStatus{session}, Time: at,
	}
	over := joined
	over.PRTs, over.Protection = []broker.PRTStatus{revoked}, tpm.Info{Backend: "softkeys"}
	over.Device.JoinType = prt.JoinPersonal
	failed := joined
	failed.PRTs = []broker.PRTStatus{session}
	failed.PRTs[0].Failed = &broker.Attempt{
		Time: at.Add(-time.Minute), Renewal: true, Username: acct.PreferredUsername, Credential: prt.ByRefreshToken,
		Endpoint: joined.Tenant.TokenURL, Method: "POST", HTTPError: "the service cannot be reached: no route to host",
	}
	failed.Failed = &broker.Attempt{
		Time: at, Username: "bob@contoso.example", Credential: prt.ByPassword, CorrelationID: "63648321-fc5c-46eb-996e-ed1f3ba7740f",
		Endpoint: joined.Tenant.TokenURL, Method: "POST", HTTPStatus: 400, Code: 50126, ErrorCode: "invalid_grant", Description: "the user name or password is wrong",
	}
	two := joined
	bob := acct
	bob.HomeAccountID, bob.PreferredUsername, bob.Name = "0b6a1c22-0000-4000-8000-000000000003.f3d10000-0000-4000-8000-000000000002", "bob@contoso.example", "Bob Example"
	none := broker.PRTStatus{Account: bob, State: broker.PRTNone}
	two.Accounts, two.PRTs = []broker.Account{acct, bob}, []broker.PRTStatus{session, none}
	two.Hello = []broker.HelloStatus{
		{Account: acct, Set: true, KeyID: "6b0e0b1f-9f5a-4c3e-8a77-0d3f6a1f2c11", Created: at, WrongPINs: 6, RetryAfter: 2 * time.Minute, Locked: true},
		{Account: bob, Set: true, KeyID: "6b0e0b1f-9f5a-4c3e-8a77-0d3f6a1f2c12", Created: at, Software: true, Unknown: true},
	}
	hello := joined
	hello.Hello = two.Hello[:1]
	unknown := joined
	unknown.Accounts, unknown.PRTs, unknown.Failed = []broker.Account{}, []broker.PRTStatus{}, failed.Failed
	return map[string]broker.Status{
		"hello":        hello,
		"failed-first": unknown,
		"two-users":    two,
		"failed":       failed,
		"joined":       joined,
		"revoked":      over,
		"unregistered": {Protection: joined.Protection, Accounts: []broker.Account{}, PRTs: []broker.PRTStatus{}, Time: at},
		"damaged":      {Protection: joined.Protection, Time: at, Problem: "broker: the state is damaged: record device-1.state"},
	}
}

func TestStatusGolden(t *testing.T) {
	t.Parallel()
	for name, s := range statuses() {
		t.Run(name, func(t *testing.T) {
			j, err := json.MarshalIndent(s, "", "  ")
			require.NoError(t, err)
			golden(t, "testdata/status-"+name+".txt", s.String())
			golden(t, "testdata/status-"+name+".json", string(j)+"\n")
			var back broker.Status
			require.NoError(t, json.Unmarshal(j, &back))
			require.Equal(t, s.String(), back.String(), "JSON has the same facts")
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// After a sign-in, an unlock or a renewal that failed, Status tells what dsregcmd
// does, in the next process too, until one succeeds.
func TestFailedAttempts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	softwareHello(w)
	w.join()
	_, err := w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: "hunter2hunter2"})
	require.ErrorIs(t, err, broker.ErrBadCredential)
	s := w.wholeStatus()
	require.Empty(t, s.PRTs)
	require.NotContains(t, s.String(), "hunter2")
	require.Equal(t, 50126, s.Failed.Code)
	// The labels are those of Microsoft's page "Troubleshoot devices by using the
	// dsregcmd command", section "SSO state", of 2025-06.
	for _, line := range []string{
		"AzureAdPrt : NO", "AcquirePrtDiagnostics : PRESENT", "Previous Prt Attempt : 2026-03-02", "Attempt Status : AADSTS50126", "User Identity : " + alice,
		"Credential Type : password", "Correlation ID : " + w.lastSignIn().CorrelationID, "Endpoint URI : https://login.microsoftonline.com/contoso.example/oauth2/token",
		"HTTP Method : POST", "HTTP Error : 0x0", "HTTP status : 400", "Server Error Code : invalid_grant", "Server Error Description : AADSTS50126: ",
	} {
		require.Contains(t, s.String(), line)
	}

	acct := w.hello()
	require.Nil(t, w.wholeStatus().Failed)
	require.Nil(t, w.status(acct).Failed)

	for _, tt := range []struct {
		name    string
		fault   entratest.Fault
		do      func() error
		renewal bool
		by      prt.CredentialKind
		code    int
		status  int
		want    error
	}{
		{"sign-in", entratest.Fault{}, func() error {
			_, err := w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: "hunter2hunter2"})
			return err
		}, false, prt.ByPassword, 50126, 400, broker.ErrBadCredential},
		{"unlock", entratest.Fault{Kind: entratest.AADSTS, Code: 50057}, func() error {
			_, err := w.b.Unlock(t.Context(), acct, rightPIN)
			return err
		}, false, prt.ByHello, 50057, 400, broker.ErrUserDisabled},
		{"renewal", entratest.Fault{Kind: entratest.AADSTS, Code: 50155}, func() error { return w.b.RenewPRT(t.Context(), acct) }, true, prt.ByRefreshToken, 50155, 400, broker.ErrDeviceAuth},
		{"renewal without a network", entratest.Fault{Kind: entratest.DropBefore, Times: -1}, func() error { return w.b.RenewPRT(t.Context(), acct) }, true, prt.ByRefreshToken, 0, 0, broker.ErrTransient},
	} {
		t.Run(tt.name, func(t *testing.T) {
			remove := func() {}
			if tt.name != "sign-in" {
				tt.fault.Endpoint, tt.fault.Times = entratest.EndpointToken, -1
				remove = w.srv.AddFault(tt.fault)
			}
			err := tt.do()
			require.ErrorIs(t, err, tt.want)
			w.b = w.open() // the next process
			got := w.status(acct).Failed
			require.NotNil(t, got)
			require.Equal(t, []any{tt.renewal, tt.code, tt.status, alice, w.clock.Now()}, []any{got.Renewal, got.Code, got.HTTPStatus, got.Username, got.Time})
			require.Equal(t, tt.by, got.Credential)
			require.Equal(t, tt.status == 0, got.HTTPError != "", got.HTTPError)
			require.NotEmpty(t, got.CorrelationID)
			text := w.wholeStatus().String()
			require.Contains(t, text, "AzureAdPrt : YES", "it is as it was")
			require.Equal(t, tt.renewal, strings.Contains(text, "RefreshPrtDiagnostics : PRESENT"))
			remove()
			w.clock.Advance(time.Hour) // circuits close
			require.NoError(t, w.b.RenewPRT(t.Context(), acct))
			require.Nil(t, w.status(acct).Failed)
			require.NotContains(t, w.wholeStatus().String(), "PrtDiagnostics")
		})
	}
}

func (w *world) wholeStatus() broker.Status {
	w.t.Helper()
	s, err := w.b.Status(w.t.Context())
	require.NoError(w.t, err)
	return s
}

func (w *world) lastSignIn() entratest.SignIn {
	all := w.srv.SignIns()
	return all[len(all)-1]
}

// A user is named beside a Hello key only where there are several, and a failed
// attempt stands apart from the PRTs only where there are any.
func TestStatusLines(t *testing.T) {
	acct := broker.Account{HomeAccountID: "oid.tid", PreferredUsername: "alice@contoso.example"}
	hello := []broker.HelloStatus{{Account: acct, Set: true, KeyID: "6b0e0b1f-9f5a-4c3e-8a77-0d3f6a1f2c11"}}
	require.NotContains(t, broker.Status{Accounts: []broker.Account{acct}, Hello: hello}.String(), "NgcUser")
	require.Contains(t, broker.Status{Accounts: []broker.Account{acct, {HomeAccountID: "b.tid"}}, Hello: hello}.String(), "NgcUser")

	failed := broker.Status{Failed: &broker.Attempt{Username: "bob@contoso.example", Method: "POST"}}.String()
	require.Regexp(t, `AzureAdPrt : NO\n +AcquirePrtDiagnostics : PRESENT`, failed)
}
