package entratest_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

const (
	requireMFA = `{"displayName": "Payroll needs MFA", "state": "enabled", "conditions": {"clientAppTypes": ["all"],
		"users": {"includeUsers": ["All"]}, "applications": {"includeApplications": ["` + payrollID + `"]}},
		"grantControls": {"operator": "OR", "builtInControls": ["mfa"]}}`
	scope = "api://payroll/.default"
	redir = nativeURI
	appID = payrollID
)

// The test of the README.
func TestPayrollAsksForMFA(t *testing.T) {
	srv := entratest.NewTB(t, entratest.Options{
		Users:          []entratest.User{{Username: "alice", Password: "correct horse", TOTPSecret: "JBSWY3DPEHPK3PXP"}},
		Apps:           []entratest.App{{ClientID: appID, Public: true, Redirects: []string{redir}, URIs: []string{"api://payroll"}}},
		Policies:       json.RawMessage(requireMFA), // as Microsoft Graph exports it
		ReplicationLag: -1,
	})
	keys, err := softkeys.Open(softkeys.Secret(make([]byte, 32)))
	require.NoError(t, err)
	b, err := broker.New(t.Context(), broker.Config{Tenant: srv.Domain(), App: broker.App{ClientID: appID}, Keys: keys, Transport: srv.Client()})
	require.NoError(t, err)
	defer b.Close()
	alice := broker.Password{Username: "alice@contoso.example", Password: "correct horse"}
	_, err = b.Enroll(t.Context(), alice, broker.EnrollRequest{})
	require.NoError(t, err)
	_, err = b.AcquireTokenSilent(t.Context(), []string{scope})
	require.ErrorIs(t, err, broker.ErrInteractionRequired) // the policy asks

	require.NoError(t, srv.SetPolicies(nil))
	_, err = b.AcquireTokenSilent(t.Context(), []string{scope}, broker.WithForceRefresh())
	require.NoError(t, err)
}
