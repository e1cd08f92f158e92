package main

import (
	"encoding/json"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
)

// The emulated tenant: one user, two apps behind "require MFA", and Graph,
// which no policy guards.
const (
	domain     = "contoso.example"
	username   = "alice@contoso.example"
	password   = "correct horse battery staple"
	totpSecret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

	clientID    = "7d1f3c52-0b6e-4b57-9a53-2f6f0e1c9a11" // the importing app
	payrollID   = "0c6c1a54-6f5e-4a6b-8f5d-5f7d6a2b1c01"
	expensesID  = "0c6c1a54-6f5e-4a6b-8f5d-5f7d6a2b1c02"
	policyID    = "a1f4e6b2-3c5d-4e7f-8a9b-0c1d2e3f4a5b"
	graphScope  = "https://graph.microsoft.com/User.Read"
	payrollURI  = "api://payroll"
	expensesURI = "api://expenses"
)

func tenantOptions(clock *entratest.Clock) entratest.Options {
	return entratest.Options{
		Domain: domain,
		Clock:  clock,
		Seed:   1,
		Users:  []entratest.User{{Username: username, Name: "Alice Example", Password: password, TOTPSecret: totpSecret}},
		Apps: []entratest.App{
			{ClientID: clientID, Name: "Quickstart", Public: true, Redirects: []string{broker.NativeClientRedirect}, AdminConsent: true},
			{ClientID: payrollID, Name: "Payroll", URIs: []string{payrollURI}},
			{ClientID: expensesID, Name: "Expenses", URIs: []string{expensesURI}},
		},
		Policies:       mustJSON(requireMFA()),
		ReplicationLag: -1,
	}
}

// requireMFA is a policy as Microsoft Graph exports it.
func requireMFA() map[string]any {
	return map[string]any{
		"id":          policyID,
		"displayName": "Require MFA for Payroll and Expenses",
		"state":       "enabled",
		"conditions": map[string]any{
			"clientAppTypes": []string{"all"},
			"users":          map[string]any{"includeUsers": []string{"All"}},
			"applications":   map[string]any{"includeApplications": []string{payrollID, expensesID}},
		},
		"grantControls": map[string]any{"operator": "OR", "builtInControls": []string{"mfa"}},
	}
}

func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a literal of this file does not marshal
	}
	return b
}
