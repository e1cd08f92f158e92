package broker_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

// Only codes of a policy or an administrator who refuses are blocks; what an unknown
// code means is not known.
func TestBlockedAs(t *testing.T) {
	for code, want := range map[int]string{
		53003: "blocked", 50005: "blocked", 53000: "device not compliant",
		50076: "", 16000: "", 50055: "", 50126: "", 70008: "", 0: "", 999999: "",
	} {
		word, ok := broker.BlockedAs(code)
		require.Equal(t, want != "", ok, code)
		if ok {
			require.Equal(t, want, word, code)
		}
	}
}

// Without an answer of the service nobody asked for MFA.
func TestNeedsMFA(t *testing.T) {
	require.False(t, broker.NeedsMFA(nil))
	require.False(t, broker.NeedsMFA(&broker.Error{}))
}

// A tenant is called what the service calls it, or else what it was registered as.
func TestTenantName(t *testing.T) {
	w := newWorld(t)
	for want, tt := range map[string]struct {
		discovered string
		names      []string
	}{
		"Contoso":         {"Contoso", []string{"contoso.example"}},
		"contoso.example": {"", []string{"contoso.example", "contoso-mail.example"}},
		"":                {"", nil},
	} {
		require.Equal(t, want, broker.TenantName(w.b, tt.discovered, tt.names...))
	}
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
