package broker_test

import (
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
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
	return map[string]broker.Status{
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
