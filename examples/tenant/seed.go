package main

import (
	"encoding/json"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// The applications of a new tenant: three clients that programs may use as
// their own, one of each kind (a desktop program, a web server with a secret, a
// single-page app), and two resources.
const (
	appID      = "7a11e51e-0001-4000-8000-000000000001"
	payrollID  = "7a11e51e-0002-4000-8000-000000000002"
	secretsID  = "7a11e51e-0003-4000-8000-000000000003"
	webID      = "7a11e51e-0004-4000-8000-000000000004"
	spaID      = "7a11e51e-0005-4000-8000-000000000005"
	webSecret  = "web.app~secret"
	payrollURI = "api://payroll"
	secretsURI = "api://secrets"
)

// federatedDomain is the domain of a new tenant whose users sign in at a
// federation server, which the emulator plays too.
func federatedDomain(domain string) string { return "corp." + domain }

// Redirects of the clients that are web pages. Nothing answers there.
func webRedirect(domain string) string { return "https://web." + domain + "/signed-in" }
func spaRedirect(domain string) string { return "https://spa." + domain + "/" }

// seedUsers are the people of a new tenant. Each stands for one way to sign in.
func seedUsers(domain string) []entratest.User {
	return []entratest.User{
		{Username: "alice", Name: "Alice Example", Password: "correct horse", TOTPSecret: "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"},
		{Username: "bob", Name: "Bob Example", Password: "battery staple"},
		{Username: "carol", Name: "Carol Example", Password: "paper clip", NumberMatch: true},
		{Username: "dave@" + federatedDomain(domain), Name: "Dave Example", Password: "river stone"},
	}
}

func seedApps(domain string) []entratest.App {
	return []entratest.App{
		{
			ClientID: appID, Name: "Desktop app", Public: true, AdminConsent: true,
			Redirects: []string{
				"http://localhost", "https://login.microsoftonline.com/common/oauth2/nativeclient",
			},
		},
		{ClientID: webID, Name: "Web app", Secret: webSecret, AdminConsent: true, Redirects: []string{webRedirect(domain)}},
		{ClientID: spaID, Name: "Page app", Public: true, SPA: true, AdminConsent: true, Redirects: []string{spaRedirect(domain)}},
		{ClientID: payrollID, Name: "Payroll", URIs: []string{payrollURI}},
		{ClientID: secretsID, Name: "Secrets", URIs: []string{secretsURI}},
	}
}

// seedPolicies require MFA for one resource, block another, and have a third
// rule in report-only mode, so that each can be seen before anybody writes a
// policy.
func seedPolicies() json.RawMessage {
	policy := func(id, name, state, resource, control string) map[string]any {
		return map[string]any{
			"id": id, "displayName": name, "state": state,
			"conditions": map[string]any{
				"users":          map[string]any{"includeUsers": []string{"All"}},
				"applications":   map[string]any{"includeApplications": []string{resource}},
				"clientAppTypes": []string{"all"},
			},
			"grantControls": map[string]any{"operator": "OR", "builtInControls": []string{control}},
		}
	}
	text, err := json.Marshal(map[string]any{"value": []any{
		policy("7a11e51e-1001-4000-8000-000000000001", "Payroll needs MFA", "enabled", payrollID, "mfa"),
		policy("7a11e51e-1002-4000-8000-000000000002", "Secrets are blocked", "enabled", secretsID, "block"),
		policy("7a11e51e-1003-4000-8000-000000000003", "Compliant devices, tried out", "enabledForReportingButNotEnforced", "All", "compliantDevice"),
	}})
	if err != nil {
		panic(err) // plain maps of strings
	}
	return text
}
