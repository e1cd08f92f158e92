package policy_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

// The tests of this file are public reports of other tools that read a policy
// otherwise than Entra does: what the reporter expected is asserted here. Each
// names the repository and the number of the report.

// reported compiles policies as Graph writes them.
func reported(t *testing.T, export string) (*policy.Set, []policy.Diagnostic) {
	t.Helper()
	b, diags, err := policy.Load(strings.NewReader(export))
	require.NoError(t, err)
	s := compile(t, b)
	return s, append(diags, s.Diagnostics()...)
}

// maester365/maester 1778: a policy for workload identities alone, which the
// portal writes with the word None among its users.
func TestReportMaester1778(t *testing.T) {
	s, diags := reported(t, `{"id":"1","displayName":"Workloads","state":"enabled","conditions":{
		"users":{"includeUsers":["None"],"excludeUsers":[],"includeGroups":[],"excludeGroups":[],"includeRoles":[],"excludeRoles":[],
			"includeGuestsOrExternalUsers":null,"excludeGuestsOrExternalUsers":null},
		"applications":{"includeApplications":["All"]},
		"clientApplications":{"includeServicePrincipals":["ServicePrincipalsInMyTenant"]}},
		"grantControls":{"operator":"OR","builtInControls":["block"]}}`)
	t.Run("None is not the id of a missing user", func(t *testing.T) { require.Empty(t, diags) })
	t.Run("the policy applies to workloads", func(t *testing.T) {
		require.Equal(t, policy.OutcomeBlock, s.Evaluate(&policy.SignIn{User: &policy.User{Kind: policy.IdentityWorkload, ID: "job"}, AppID: exchange}).Outcome)
	})
	t.Run("and to no user", func(t *testing.T) { require.Empty(t, applies(s, ask())) })
}

// maester365/maester 1057: device code flow is blocked for all users, with the
// break-glass account excluded, and the check says that nothing blocks it.
func TestReportMaester1057(t *testing.T) {
	s, _ := reported(t, `{"id":"1","displayName":"Block device code","state":"enabled","conditions":{
		"users":{"includeUsers":["All"],"excludeUsers":["break-glass"]},"applications":{"includeApplications":["All"]},"clientAppTypes":["all"],
		"authenticationFlows":{"transferMethods":"deviceCodeFlow"}},"grantControls":{"operator":"OR","builtInControls":["block"]}}`)
	code := func(in *policy.SignIn) {
		in.Flow, in.ClientApp = policy.TransferDeviceCode, policy.ClientMobileOrDesktop
	}
	t.Run("device code is blocked", func(t *testing.T) { require.Equal(t, policy.BlockControl, s.Evaluate(ask(code)).Reason) })
	t.Run("but for the break-glass account", func(t *testing.T) {
		require.Empty(t, applies(s, ask(code, func(in *policy.SignIn) { in.User.ID = "break-glass" })))
	})
	t.Run("other flows are not", func(t *testing.T) { require.Empty(t, applies(s, ask())) })
}

// maester365/maester 1385: a policy for agent identities has no users to
// exclude a break-glass account from.
func TestReportMaester1385(t *testing.T) {
	s, diags := reported(t, `{"id":"1","displayName":"Agents","state":"enabled","conditions":{
		"applications":{"includeApplications":["All"]},"clientApplications":{"includeAgentIdServicePrincipals":["All"]}},
		"grantControls":{"operator":"AND","builtInControls":["block"]}}`)
	t.Run("it is understood", func(t *testing.T) { require.Empty(t, diags) })
	t.Run("it locks out no user", func(t *testing.T) { require.Empty(t, applies(s, ask())) })
	t.Run("and every agent", func(t *testing.T) {
		require.Equal(t, policy.OutcomeBlock, s.Evaluate(&policy.SignIn{User: &policy.User{Kind: policy.IdentityAgent, ID: "agent"}, AppID: exchange}).Outcome)
	})
}

// ssc-spc-ccoe-cei/azure-guardrails-solution-accelerator 753: sign-ins are
// allowed from one country only, by a location that names that country and is
// excluded, and not by one that names all the others.
func TestReportGuardrails753(t *testing.T) {
	s, diags := reported(t, `{"value":[
		{"@odata.type":"#microsoft.graph.countryNamedLocation","id":"canada","displayName":"Canada","countriesAndRegions":["CA"],"includeUnknownCountriesAndRegions":false},
		{"id":"1","displayName":"Canada only","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["All"]},
			"locations":{"includeLocations":["All"],"excludeLocations":["canada"]}},"grantControls":{"operator":"OR","builtInControls":["block"]}}]}`)
	require.Empty(t, diags)
	for country, want := range map[string]policy.Outcome{"CA": policy.OutcomeGrant, "US": policy.OutcomeBlock, "": policy.OutcomeBlock} {
		t.Run("from "+country, func(t *testing.T) {
			in := ask(func(in *policy.SignIn) { in.Country, in.IP = country, netip.MustParseAddr("203.0.113.5") })
			require.Equal(t, want, s.Evaluate(in).Outcome)
		})
	}
}

// ssc-spc-ccoe-cei/azure-guardrails-solution-accelerator 561: all four client
// types selected are as good as the condition not configured.
func TestReportGuardrails561(t *testing.T) {
	s, _ := reported(t, `{"id":"1","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["All"]},
		"clientAppTypes":["browser","mobileAppsAndDesktopClients","exchangeActiveSync","other"]},"grantControls":{"operator":"OR","builtInControls":["mfa"]}}`)
	for c := policy.ClientBrowser; c <= policy.ClientOther; c++ {
		require.Len(t, applies(s, ask(func(in *policy.SignIn) { in.ClientApp = c })), 1, c.String())
	}
	s, _ = reported(t, `{"id":"1","state":"enabled","conditions":{"clientApplications":{"includeServicePrincipals":["ServicePrincipalsInMyTenant"]},"applications":{"includeApplications":["All"]},
		"clientAppTypes":["browser","mobileAppsAndDesktopClients","exchangeActiveSync","other"]},"grantControls":{"operator":"OR","builtInControls":["block"]}}`)
	job := &policy.SignIn{User: &policy.User{Kind: policy.IdentityWorkload, ID: "job"}, AppID: exchange}
	require.Equal(t, policy.OutcomeBlock, s.Evaluate(job).Outcome, "also to a workload, which is no type of client")
}

// ssc-spc-ccoe-cei/azure-guardrails-solution-accelerator 731: an authentication
// strength enforces MFA as well as the control mfa does.
func TestReportGuardrails731(t *testing.T) {
	s, _ := reported(t, `{"id":"1","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["All"]}},
		"grantControls":{"operator":"OR","builtInControls":[],"authenticationStrength":{"id":"00000000-0000-0000-0000-000000000002"}}}`)
	require.Equal(t, []policy.ControlKind{policy.AuthenticationStrength}, prompts(s.Evaluate(ask())))
}

// Microsoft365DSC/Microsoft365DSC 2974 (pull request 2982): types of guests and
// external users were not processed.
func TestReportMicrosoft365DSC2974(t *testing.T) {
	s, diags := reported(t, `{"id":"1","state":"enabled","conditions":{"users":{"includeUsers":["All"],
		"excludeGuestsOrExternalUsers":{"guestOrExternalUserTypes":"b2bCollaborationGuest,serviceProvider",
			"externalTenants":{"@odata.type":"#microsoft.graph.conditionalAccessEnumeratedExternalTenants","membershipKind":"enumerated","members":["fabrikam"]}}},
		"applications":{"includeApplications":["All"]}},"grantControls":{"operator":"OR","builtInControls":["mfa"]}}`)
	require.Empty(t, diags)
	reaches := func(g policy.GuestType, tenant string) bool {
		return len(applies(s, ask(func(in *policy.SignIn) { in.User.Guest, in.User.HomeTenant = g, tenant }))) == 1
	}
	t.Run("the excluded type of the tenant is excluded", func(t *testing.T) { require.False(t, reaches(policy.GuestB2BCollaboration, "Fabrikam")) })
	t.Run("of another tenant it is not", func(t *testing.T) { require.True(t, reaches(policy.GuestB2BCollaboration, "contoso")) })
	t.Run("nor is another type", func(t *testing.T) { require.True(t, reaches(policy.GuestB2BMember, "fabrikam")) })
	t.Run("the export is written back whole", func(t *testing.T) {
		out, err := json.Marshal(s.Policy(0))
		require.NoError(t, err)
		again, _ := reported(t, string(out))
		require.Equal(t, s.Policy(0).Conditions, again.Policy(0).Conditions)
	})
}

// KelvinTegelaar/CIPP 1618: a policy of a template refers to a named location
// that the tenant does not have, and nobody is told.
func TestReportCIPP1618(t *testing.T) {
	s, diags := reported(t, `{"id":"1","displayName":"Block abroad","state":"enabled","conditions":{"users":{"includeUsers":["All"]},
		"applications":{"includeApplications":["All"]},"locations":{"includeLocations":["All"],"excludeLocations":["1df231c7-9930-485f-a00a-ba4bc47a8901"]}},
		"grantControls":{"operator":"OR","builtInControls":["block"]}}`)
	t.Run("the export says so", func(t *testing.T) {
		require.True(t, slices.ContainsFunc(diags, func(d policy.Diagnostic) bool {
			return d.Code == policy.CodeNoLocation && d.Severity == policy.SeverityError && strings.Contains(d.Message, "1df231c7-9930-485f-a00a-ba4bc47a8901")
		}), "%v", diags)
	})
	t.Run("and the answer counts on nothing", func(t *testing.T) { require.Equal(t, 1, s.Evaluate(ask()).Unevaluable) })
}

// merill/idPowerToys 28: the condition on authentication flows is missing from
// the documentation of a policy.
func TestReportIDPowerToys28(t *testing.T) {
	s, _ := reported(t, `{"id":"1","displayName":"CAP003-All: Block device code authentication flow","state":"enabled","conditions":{
		"users":{"includeUsers":["All"]},"applications":{"includeApplications":["All"]},"authenticationFlows":{"transferMethods":"deviceCodeFlow,authenticationTransfer"}},
		"grantControls":{"operator":"OR","builtInControls":["block"]}}`)
	x := s.Explain(ask(func(in *policy.SignIn) { in.Flow = policy.TransferAuthentication })).Policies[0]
	require.True(t, x.Applies)
	require.Contains(t, x.Include, policy.RuleMatch{Condition: "authenticationFlows", Satisfied: "authenticationTransfer"})
	require.Equal(t, policy.ReasonAuthenticationFlow, s.Explain(ask()).Policies[0].Reasons, "and why it does not apply")
}

// MicrosoftDocs/azure-docs 75955 and 94571: an unregistered device has no
// manufacturer, so that a negative comparison holds and a positive one does not.
func TestReportAzureDocs75955(t *testing.T) {
	for rule, want := range map[string]bool{
		`device.manufacturer -startsWith \"Microsoft\"`:    false,
		`device.manufacturer -notStartsWith \"Microsoft\"`: true,
	} {
		s, _ := reported(t, `{"id":"1","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["All"]},
			"devices":{"deviceFilter":{"mode":"include","rule":"`+rule+`"}}},"grantControls":{"operator":"OR","builtInControls":["mfa"]}}`)
		require.Equal(t, want, len(applies(s, ask())) == 1, rule)
	}
}

// MicrosoftDocs/azure-docs 80521: block a device whose name is another, empty or
// not known, such as in a private window.
func TestReportAzureDocs80521(t *testing.T) {
	s, _ := reported(t, `{"id":"1","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["All"]},
		"devices":{"deviceFilter":{"mode":"include","rule":"device.displayName -ne \"PC-1\" -or device.displayName -eq null"}}},
		"grantControls":{"operator":"OR","builtInControls":["block"]}}`)
	for name, d := range map[string]*policy.Device{
		"no device": nil, "no name": {TrustType: policy.TrustJoined}, "another name": {TrustType: policy.TrustJoined, DisplayName: "PC-2"},
	} {
		require.Equal(t, policy.OutcomeBlock, s.Evaluate(ask(func(in *policy.SignIn) { in.Device = d })).Outcome, name)
	}
	require.Equal(t, policy.OutcomeGrant, s.Evaluate(ask(func(in *policy.SignIn) {
		in.Device = &policy.Device{TrustType: policy.TrustJoined, DisplayName: "pc-1"}
	})).Outcome)
}

// hashicorp/terraform-provider-azuread 1168: terms of use alone are a grant.
func TestReportTerraform1168(t *testing.T) {
	s, diags := reported(t, `{"id":"1","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["All"]}},
		"grantControls":{"operator":"OR","builtInControls":[],"termsOfUse":["tou"]}}`)
	require.Empty(t, diags)
	require.Equal(t, []policy.ControlKind{policy.TermsOfUse}, prompts(s.Evaluate(ask())))
}

// dirkjanm/ROADtools 54: a policy without users, which a reader that takes
// them for granted stumbles over.
func TestReportROADtools54(t *testing.T) {
	for name, users := range map[string]string{"absent": ``, "null": `"users":null,`, "empty": `"users":{},`} {
		s, _ := reported(t, `{"id":"1","state":"enabled","conditions":{`+users+`"applications":{"includeApplications":["All"]}},
			"grantControls":{"operator":"OR","builtInControls":["block"]}}`)
		require.Equal(t, 1, s.Len(), name)
		require.Empty(t, applies(s, ask()), "nobody is in it: users %s", name)
	}
}

// dirkjanm/ROADtools 98: a policy for the workloads that a rule on custom
// security attributes chooses, outside one location.
func TestReportROADtools98(t *testing.T) {
	s, diags := reported(t, `{"value":[
		{"@odata.type":"#microsoft.graph.ipNamedLocation","id":"044cb1b4-75cc-4b71-9f78-094873583a10","displayName":"Office",
			"ipRanges":[{"@odata.type":"#microsoft.graph.iPv4CidrRange","cidrAddress":"203.0.113.0/24"}]},
		{"id":"97e32d76-dbc0-4cfe-b088-9f37b18743e9","state":"enabled","conditions":{"users":{"includeUsers":["None"]},
			"applications":{"includeApplications":["All"]},
			"locations":{"includeLocations":["All"],"excludeLocations":["044cb1b4-75cc-4b71-9f78-094873583a10"]},
			"clientApplications":{"includeServicePrincipals":[],"servicePrincipalFilter":{"mode":"include",
				"rule":"CustomSecurityAttribute.WorkLoadIDAttributeSet_OnlyStr -eq \"yes\""}}},
			"grantControls":{"operator":"OR","builtInControls":["block"]}}]}`)
	require.Empty(t, diags)
	workload := func(value, address string) policy.Outcome {
		u := &policy.User{Kind: policy.IdentityWorkload, ID: "job"}
		if value != "" {
			u.Attributes = []policy.Attribute{{Name: "WorkLoadIDAttributeSet_OnlyStr", Values: []string{value}}}
		}
		return s.Evaluate(&policy.SignIn{User: u, AppID: exchange, IP: netip.MustParseAddr(address)}).Outcome
	}
	t.Run("the marked workload is blocked elsewhere", func(t *testing.T) { require.Equal(t, policy.OutcomeBlock, workload("yes", "198.51.100.1")) })
	t.Run("and not at the office", func(t *testing.T) { require.Equal(t, policy.OutcomeGrant, workload("yes", "203.0.113.9")) })
	t.Run("another mark is another workload", func(t *testing.T) { require.Equal(t, policy.OutcomeGrant, workload("no", "198.51.100.1")) })
	t.Run("so is none", func(t *testing.T) { require.Equal(t, policy.OutcomeGrant, workload("", "198.51.100.1")) })
	t.Run("no user is meant", func(t *testing.T) { require.Empty(t, applies(s, ask())) })
}

// MicrosoftDocs/azure-docs 86128: the page's filter in place of the old device
// state condition. With -ne it blocked exactly the devices that it was to let in;
// the reporter's -eq is right.
func TestReportAzureDocs86128(t *testing.T) {
	outcomes := func(operator string) (hybrid, compliant, neither, unknown policy.Outcome) {
		s, _ := reported(t, `{"id":"1","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["All"]},
			"devices":{"deviceFilter":{"mode":"exclude","rule":"device.trustType `+operator+` \"ServerAD\" -or device.isCompliant `+operator+` True"}}},
			"grantControls":{"operator":"OR","builtInControls":["block"]}}`)
		on := func(d *policy.Device) policy.Outcome {
			return s.Evaluate(ask(func(in *policy.SignIn) { in.Device = d })).Outcome
		}
		return on(&policy.Device{TrustType: policy.TrustHybrid}), on(&policy.Device{TrustType: policy.TrustJoined, Compliant: claims.Yes}),
			on(&policy.Device{TrustType: policy.TrustRegistered}), on(nil)
	}
	t.Run("eq: what is hybrid or compliant is let in, all else is blocked", func(t *testing.T) {
		hybrid, compliant, neither, unknown := outcomes("-eq")
		require.Equal(t, []policy.Outcome{policy.OutcomeGrant, policy.OutcomeGrant, policy.OutcomeBlock, policy.OutcomeBlock},
			[]policy.Outcome{hybrid, compliant, neither, unknown})
	})
	t.Run("ne: everything is let in that is not both", func(t *testing.T) {
		hybrid, compliant, neither, unknown := outcomes("-ne")
		require.Equal(t, []policy.Outcome{policy.OutcomeGrant, policy.OutcomeGrant, policy.OutcomeGrant, policy.OutcomeGrant},
			[]policy.Outcome{hybrid, compliant, neither, unknown})
	})
}

// MicrosoftDocs/azure-docs 87980: "require all the selected controls" is an AND,
// whatever the sentence before it says.
func TestReportAzureDocs87980(t *testing.T) {
	for operator, want := range map[string][]policy.ControlKind{"AND": {policy.MFA, policy.CompliantDevice}, "OR": {policy.MFA}} {
		s, _ := reported(t, `{"id":"1","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["All"]}},
			"grantControls":{"operator":"`+operator+`","builtInControls":["mfa","compliantDevice"]}}`)
		require.Equal(t, want, prompts(s.Evaluate(ask())), operator)
	}
}

// ssc-spc-ccoe-cei/azure-guardrails-solution-accelerator 894 and 989: any
// platform, or each by its name, is as good as the condition not configured.
func TestReportGuardrails989(t *testing.T) {
	for name, platforms := range map[string]string{
		"any":  `"platforms":{"includePlatforms":["all"],"excludePlatforms":[]},`,
		"each": `"platforms":{"includePlatforms":["android","iOS","windows","macOS","linux","windowsPhone"]},`,
		"none": `"platforms":null,`,
	} {
		s, diags := reported(t, `{"id":"1","state":"enabled","conditions":{`+platforms+`"users":{"includeUsers":["All"]},"applications":{"includeApplications":["All"]},
			"userRiskLevels":["high"]},"grantControls":{"operator":"OR","builtInControls":["block"]}}`)
		require.Empty(t, diags, name)
		for _, p := range []policy.Platform{policy.PlatformAndroid, policy.PlatformIOS, policy.PlatformWindows, policy.PlatformMacOS, policy.PlatformLinux} {
			require.Len(t, applies(s, ask(func(in *policy.SignIn) { in.Platform, in.UserRisk = p, policy.RiskHigh })), 1, "%s: %s", name, p)
		}
	}
}
