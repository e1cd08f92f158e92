package policy_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/policy"
	"github.com/prtbroker/prtbroker/policy/policytest"
)

const exported = `{"id":"p1","displayName":"Require MFA","state":"enabled","conditions":{"users":{"includeUsers":["All"]},` +
	`"applications":{"includeApplications":["All"]},"clientAppTypes":["all"]},"grantControls":{"operator":"OR","builtInControls":["mfa"]},"sessionControls":null}`

func load(t testing.TB, text string) (*policy.Bundle, []policy.Diagnostic) {
	t.Helper()
	b, diags, err := policy.Load(strings.NewReader(text))
	require.NoError(t, err)
	return b, diags
}

func encoded(text string, order binary.ByteOrder, mark bool) string {
	var b bytes.Buffer
	units := utf16.Encode([]rune(text))
	if mark {
		units = append([]uint16{0xfeff}, units...)
	}
	for _, u := range units {
		_ = binary.Write(&b, order, u)
	}
	return b.String()
}

func TestLoadShapes(t *testing.T) {
	template := `{"id":"t1","name":"Require MFA","scenarios":"x","details":` + strings.Replace(exported, `"id":"p1","displayName":"Require MFA","state":"enabled",`, "", 1) + `}`
	for _, tt := range []struct {
		name, text string
		policies   int
	}{
		{"object", exported, 1},
		{"array", "[" + exported + "," + exported + "]", 2},
		{"collection", `{"@odata.context":"https://graph.microsoft.com/beta/$metadata","value":[` + exported + `]}`, 1},
		{"empty collection", `{"@odata.context":"x","value":[]}`, 0},
		{"containers", `{"tenant":{"name":"contoso","tags":["a"],"@odata.more":{"x":"y"},"ConditionalAccess":{"policies":[` + exported + `],"more":[[` + exported + `]]}}}`, 2},
		{"documents one after the other", exported + "\n" + exported, 2},
		{"template", template, 1},
		{"templates", `{"value":[` + template + `]}`, 1},
		{"without id and state", `{"conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["All"]}},"grantControls":{"builtInControls":["mfa"]}}`, 1},
		{"UTF-8 with mark", "\xef\xbb\xbf" + exported, 1},
		{"UTF-16 LE with mark", encoded(exported, binary.LittleEndian, true), 1},
		{"UTF-16 LE", encoded(exported, binary.LittleEndian, false), 1},
		{"UTF-16 BE with mark", encoded(exported, binary.BigEndian, true), 1},
		{"UTF-16 BE", encoded(exported, binary.BigEndian, false), 1},
		{"null", "null", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, diags := load(t, tt.text)
			require.Len(t, b.Policies, tt.policies, "%v", diags)
			for _, d := range diags {
				require.Equal(t, policy.CodeTemplate, d.Code, d.String())
			}
			for _, p := range b.Policies {
				require.Equal(t, []string{"All"}, p.Conditions.Users.IncludeUsers)
				require.Equal(t, []string{"mfa"}, p.GrantControls.BuiltInControls)
				require.Empty(t, p.Unmodeled)
				if strings.Contains(tt.text, "Require MFA") {
					require.Equal(t, "Require MFA", p.DisplayName)
				}
			}
		})
	}
}

func TestLoadTolerance(t *testing.T) {
	b, diags := load(t, `{
		"@odata.context": "x", "#microsoft.graph.restore": {"title": "", "target": "x"},
		"ID": "p", "displayname": "P", "STATE": "EnabledForReportingButNotEnforced", "partialEnablementStrategy": null,
		"Conditions": {
			"users": {"includeUsers": ["all"], "excludeUsers": [], "includeGuestsOrExternalUsers": null,
				"excludeGuestsOrExternalUsers": {"guestOrExternalUserTypes": "internalGuest, serviceProvider",
					"externalTenants": {"@odata.type": "#microsoft.graph.conditionalAccessEnumeratedExternalTenants", "members": ["t"]}}},
			"applications": {"includeApplications": "All", "applicationFilter": null},
			"platforms": [], "locations": [], "times": null, "clients": null, "signInRiskDetections": null,
			"authenticationFlows": {"transferMethods": ["deviceCodeFlow", "authenticationTransfer"]},
			"insiderRiskLevels": "moderate,elevated"
		},
		"GrantControls": {"operator": "or", "builtInControls": ["MFA"], "authenticationStrength@odata.context": "x", "authenticationStrength": null},
		"sessionControls": {"signInFrequency": {"isEnabled": true, "type": "hours", "value": "12", "frequencyInterval": "timeBased"}, "blockSensitiveActions": null,
			"persistentBrowser": {"mode": "never"}}
	}`)
	for _, d := range diags {
		require.NotEqual(t, policy.SeverityError, d.Severity, d.String())
	}
	p := b.Policies[0]
	require.Equal(t, policy.StateReportOnly, p.State)
	require.Nil(t, p.Conditions.Platforms)
	require.Nil(t, p.Conditions.Locations)
	require.Equal(t, policy.Flags{"internalGuest", "serviceProvider"}, p.Conditions.Users.ExcludeGuests.Types)
	require.Equal(t, "enumerated", p.Conditions.Users.ExcludeGuests.Tenants.MembershipKind)
	require.Equal(t, policy.Flags{"deviceCodeFlow", "authenticationTransfer"}, p.Conditions.AuthenticationFlows.TransferMethods)
	require.Equal(t, policy.Flags{"moderate", "elevated"}, p.Conditions.InsiderRiskLevels)
	require.Equal(t, 12, *p.SessionControls.SignInFrequency.Value)
	require.True(t, p.SessionControls.PersistentBrowser.IsEnabled)
	s := compile(t, b)
	require.True(t, s.Evaluable(0))
}

// Members of enumerations are known in any casing, and have Graph's afterwards.
func TestLoadCasing(t *testing.T) {
	for text, want := range map[string]policy.State{"Enabled": policy.StateEnabled, "DISABLED": policy.StateDisabled} {
		for written, operator := range map[string]string{"and": "AND", "Or": "OR"} {
			b, _ := load(t, `{"state":"`+text+`","conditions":{"users":{"includeUsers":["All"]}},"grantControls":{"operator":"`+written+`","builtInControls":["mfa"]}}`)
			require.Equal(t, want, b.Policies[0].State)
			require.Equal(t, operator, b.Policies[0].GrantControls.Operator)
			require.True(t, compile(t, b).Evaluable(0))
		}
	}
}

// Of a key in several casings the exact one counts.
func TestLoadKeysTwice(t *testing.T) {
	b, _ := load(t, `{"State":"disabled","state":"enabled","STATE":"disabled","conditions":{"users":{"includeUsers":["All"]}},"grantControls":{"builtInControls":["mfa"]}}`)
	require.Equal(t, policy.StateEnabled, b.Policies[0].State)
}

// What holds nothing but nulls, empty lists and annotations is not configured.
func TestLoadEmptyConditions(t *testing.T) {
	for _, conditions := range []string{
		`"times":{"@odata.type":"#microsoft.graph.times","includeDays":null}`, `"platforms":{"includePlatforms":[],"excludePlatforms":null}`,
		`"locations":{"@odata.type":"x"}`, `"devices":{"deviceFilter":{"mode":null,"rule":""}}`,
	} {
		b, _ := load(t, `{"state":"enabled","conditions":{"users":{"includeUsers":["All"]},`+conditions+`},"grantControls":{"builtInControls":["mfa"]}}`)
		require.Equal(t, policy.Conditions{Users: &policy.UserCondition{IncludeUsers: []string{"All"}}}, b.Policies[0].Conditions, conditions)
		require.Empty(t, b.Policies[0].Unmodeled, conditions)
	}
}

// Each document of a file has a name of its own in diagnostics.
func TestLoadDocuments(t *testing.T) {
	_, diags := load(t, exported+"\n"+`{"displayName":"second","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"times":{"x":1}},"grantControls":{"builtInControls":["mfa"]}}`)
	require.Len(t, diags, 1)
	require.Equal(t, "$[document 2].conditions.times: error: is not understood (unmodeled)", diags[0].String())
}

func TestLoadBadStrength(t *testing.T) {
	_, diags := load(t, `{"displayName":"Strong","allowedCombinations":["telepathy"]}`)
	require.Len(t, diags, 1)
	require.Equal(t, `$: error: strength "Strong": unknown authentication method "telepathy" (bad-strength)`, diags[0].String())
}

// PowerShell writes booleans as words now and then.
func TestLoadSwitches(t *testing.T) {
	for text, want := range map[string]bool{`true`: true, `"True"`: true, `false`: false, `"False"`: false, `null`: true, `""`: true} {
		t.Run(text, func(t *testing.T) {
			b, _ := load(t, `{"state":"enabled","conditions":{"users":{"includeUsers":["All"]}},"sessionControls":{"persistentBrowser":{"isEnabled":`+text+`,"mode":"never"}}}`)
			require.Empty(t, b.Policies[0].Unmodeled)
			require.Equal(t, want, b.Policies[0].SessionControls.PersistentBrowser.IsEnabled)
		})
	}
}

// What does not name the kind of a list of tenants tells it by its type, or by
// what it lists.
func TestLoadKindOfTenants(t *testing.T) {
	for _, tt := range []struct{ name, tenants, want string }{
		{"its own word", `{"membershipKind":"all"}`, "all"},
		{"enumerated by type", `{"@odata.type":"#microsoft.graph.conditionalAccessEnumeratedExternalTenants","members":[]}`, "enumerated"},
		{"enumerated by members", `{"members":["contoso"]}`, "enumerated"},
		{"all by type", `{"@odata.type":"#microsoft.graph.conditionalAccessAllExternalTenants"}`, "all"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, _ := load(t, `{"state":"enabled","conditions":{"users":{"includeGuestsOrExternalUsers":{"guestOrExternalUserTypes":"serviceProvider","externalTenants":`+tt.tenants+`}}},
				"grantControls":{"builtInControls":["mfa"]}}`)
			require.Equal(t, tt.want, b.Policies[0].Conditions.Users.IncludeGuests.Tenants.MembershipKind)
			partner := ask(func(in *policy.SignIn) { in.User.Guest, in.User.HomeTenant = policy.GuestServiceProvider, "fabrikam" })
			require.Equal(t, tt.want == "all", len(applies(compile(t, b), partner)) == 1)
		})
	}
}

// Older exports call the filtering profile networkAccessSecurity.
func TestLoadOlderFilteringProfile(t *testing.T) {
	b, _ := load(t, `{"state":"enabled","conditions":{"users":{"includeUsers":["All"]}},"sessionControls":{"networkAccessSecurity":{"isEnabled":true,"policyId":"profile"}}}`)
	require.Empty(t, b.Policies[0].Unmodeled)
	require.Equal(t, &policy.SecureAccess{IsEnabled: true, ProfileID: "profile"}, b.Policies[0].SessionControls.GlobalSecureAccessProfile)
}

// Whatever cannot be modelled makes its policy unevaluable, and is reported
// with the place where it stands.
func TestUnevaluable(t *testing.T) {
	for _, tt := range []struct {
		name, conditions, grant, session, beside string
		path                                     string
		code                                     policy.Code
	}{
		{name: "times", conditions: `"times":{"includeDays":{"daysOfWeek":["monday"]}}`, path: "$.conditions.times", code: policy.CodeUnmodeled},
		{name: "unknown condition", conditions: `"moonPhases":["full"]`, path: "$.conditions.moonPhases", code: policy.CodeUnmodeled},
		{name: "wrong type", conditions: `"platforms":"windows"`, path: "$.conditions.platforms", code: policy.CodeUnmodeled},
		{name: "unknown platform", conditions: `"platforms":{"includePlatforms":["chromeOS"]}`, path: "$.conditions.platforms.includePlatforms[0]", code: policy.CodeUnknownValue},
		{name: "rule", conditions: `"devices":{"deviceFilter":{"mode":"include","rule":"device.model -like \"x\""}}`, path: "$.conditions.devices.deviceFilter.rule", code: policy.CodeFilterRule},
		{name: "a device rule for applications", conditions: `"applications":{"includeApplications":["All"],"applicationFilter":{"mode":"exclude","rule":"device.model -eq \"x\""}}`, path: "$.conditions.applications.applicationFilter.rule", code: policy.CodeFilterRule},
		{name: "auth context", conditions: `"applications":{"includeAuthenticationContextClassReferences":["c100"]}`, path: "$.conditions.applications.includeAuthenticationContextClassReferences[0]", code: policy.CodeUnknownValue},
		{name: "control", grant: `"builtInControls":["compliantNetwork"]`, path: "$.grantControls.builtInControls[0]", code: policy.CodeUnknownValue},
		{name: "unknown grant", grant: `"builtInControls":["mfa"],"oath":{"needed":true}`, path: "$.grantControls.oath", code: policy.CodeUnmodeled},
		{name: "frequency", session: `"signInFrequency":{"isEnabled":true,"type":"weeks","value":1}`, path: "$.sessionControls.signInFrequency", code: policy.CodeUnknownValue},
		{name: "kind of authentication", session: `"signInFrequency":{"isEnabled":true,"type":"hours","value":1,"authenticationType":"tertiary"}`, path: "$.sessionControls.signInFrequency", code: policy.CodeUnknownValue},
		{name: "a frequency in words", session: `"signInFrequency":{"isEnabled":true,"type":"hours","value":"twelve"}`, path: "$.sessionControls.signInFrequency.value", code: policy.CodeUnmodeled},
		{name: "neither on nor off", session: `"persistentBrowser":{"isEnabled":"perhaps","mode":"never"}`, path: "$.sessionControls.persistentBrowser.isEnabled", code: policy.CodeUnmodeled},
		{name: "a number where a list belongs", conditions: `"clientAppTypes":5`, path: "$.conditions.clientAppTypes", code: policy.CodeUnmodeled},
		{name: "kind of tenants", conditions: `"users":{"includeGuestsOrExternalUsers":{"guestOrExternalUserTypes":"serviceProvider","externalTenants":{"membershipKind":"some","members":["t"]}}}`,
			path: "$.conditions.users.includeGuestsOrExternalUsers.externalTenants.membershipKind", code: policy.CodeUnknownValue},
		{name: "mode of a filter", conditions: `"devices":{"deviceFilter":{"mode":"only","rule":"device.model -eq \"x\""}}`, path: "$.conditions.devices.deviceFilter.mode", code: policy.CodeUnknownValue},
		{name: "device state", conditions: `"deviceStates":{"includeStates":["All"],"excludeStates":["Rooted"]}`, path: "$.conditions.deviceStates.excludeStates[0]", code: policy.CodeUnknownValue},
		{name: "agent context", conditions: `"agentContext":{"includeAgentContexts":["agentDreams"]}`, path: "$.conditions.agentContext.includeAgentContexts[0]", code: policy.CodeUnknownValue},
		{name: "traffic profile", conditions: `"applications":{"globalSecureAccess":{"includeTrafficProfiles":"darkWeb"}}`, path: "$.conditions.applications.globalSecureAccess.includeTrafficProfiles[0]", code: policy.CodeUnknownValue},
		{name: "operator", grant: `"operator":"XOR","builtInControls":["mfa"]`, path: "$.grantControls.operator", code: policy.CodeUnknownValue},
		{name: "kind of app control", session: `"cloudAppSecurity":{"isEnabled":true,"cloudAppSecurityType":"blockUploads"}`, path: "$.sessionControls.cloudAppSecurity.cloudAppSecurityType[0]", code: policy.CodeUnknownValue},
		{name: "mode of the browser", session: `"persistentBrowser":{"isEnabled":true,"mode":"sometimes"}`, path: "$.sessionControls.persistentBrowser.mode[0]", code: policy.CodeUnknownValue},
		{name: "mode of continuous access evaluation", session: `"continuousAccessEvaluation":{"mode":"relaxed"}`, path: "$.sessionControls.continuousAccessEvaluation.mode[0]", code: policy.CodeUnknownValue},
		{name: "state", beside: `"state":"enabledForSome"`, path: "$.state", code: policy.CodeUnknownValue},
		{name: "partial enablement", beside: `"state":"enabled","partialEnablementStrategy":{"percent":10}`, path: "$.partialEnablementStrategy", code: policy.CodeUnmodeled},
		{name: "unknown session control", session: `"blockSensitiveActions":{"isEnabled":true}`, path: "$.sessionControls.blockSensitiveActions", code: policy.CodeUnmodeled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conditions := tt.conditions
			if !strings.HasPrefix(conditions, `"users"`) {
				conditions = strings.TrimSuffix(`"users":{"includeUsers":["All"]},`+conditions, ",")
			}
			b, diags := load(t, `{"displayName":"P",`+cmp.Or(tt.beside, `"state":"enabled"`)+`,"conditions":{`+conditions+`},"grantControls":{`+tt.grant+`},"sessionControls":{`+tt.session+`}}`)
			require.Contains(t, diags, policy.Diagnostic{Path: tt.path, Policy: "P", Severity: policy.SeverityError, Code: tt.code, Message: diags[0].Message})
			s := compile(t, b)
			require.False(t, s.Evaluable(0))
			in := ask()
			if strings.Contains(tt.conditions, "AuthenticationContext") {
				in.AppID, in.AuthContext = "", 1
			}
			d := s.Evaluate(in)
			require.Equal(t, policy.OutcomeGrant, d.Outcome)
			require.Equal(t, 1, d.Unevaluable)
			d = compile(t, b, policy.FailClosed()).Evaluate(in)
			require.Equal(t, policy.Unevaluable, d.Reason)
			require.Equal(t, policy.OutcomeBlock, d.Outcome)
			require.Equal(t, policy.ReasonInvalidPolicy, s.Explain(in).Policies[0].Reasons)
		})
	}
}

func TestUnresolvedReferences(t *testing.T) {
	b, _ := load(t, `[
		{"id":"a","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"locations":{"includeLocations":["All"],"excludeLocations":["%OfficeId%"]}},"grantControls":{"builtInControls":["block"]}},
		{"id":"b","state":"enabled","conditions":{"users":{"includeUsers":["All"]}},"grantControls":{"authenticationStrength":{"id":"gone"}}},
		{"id":"c","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["Office 365"]}},"grantControls":{"builtInControls":["mfa"]}},
		{"id":"d","state":"enabled","conditions":{"users":{"includeUsers":["All"],"excludeGroups":["<BreakGlass>"]},"locations":{"includeLocations":["x"]}},"grantControls":{"builtInControls":["block"]}},
		{"@odata.type":"#microsoft.graph.ipNamedLocation","id":"x","displayName":"X","ipRanges":[{"cidrAddress":"xx.xx.xxx.xx/32"}]}
	]`)
	s := compile(t, b)
	var codes []policy.Code
	for _, d := range s.Diagnostics() {
		codes = append(codes, d.Code)
	}
	require.ElementsMatch(t, []policy.Code{policy.CodeNoLocation, policy.CodeNoStrength, policy.CodeNoAppGroup, policy.CodeBadLocation, policy.CodeBadLocation}, codes)
	for i := range s.Len() {
		require.False(t, s.Evaluable(i))
	}
}

func TestLoadLocationsAndStrengths(t *testing.T) {
	b, diags := load(t, `{"value":[
		{"@odata.type":"#microsoft.graph.ipNamedLocation","id":"a","displayName":"A","isTrusted":true,"ipRanges":[
			{"@odata.type":"#microsoft.graph.iPv4CidrRange","cidrAddress":"178.72.74.5/24"},{"lowerAddress":"10.0.0.1","upperAddress":"10.0.0.9"},"2001:db8::/32"]},
		{"@odata.type":"#microsoft.graph.countryNamedLocation","id":"b","countriesAndRegions":["DE","at"],"includeUnknownCountriesAndRegions":true,"countryLookupMethod":"authenticatorAppGps"},
		{"@odata.type":"#microsoft.graph.compliantNetworkNamedLocation","id":"c","displayName":"C","compliantNetworkType":"allTenantCompliantNetworks","isTrusted":true},
		{"@odata.type":"#microsoft.graph.serviceTagNamedLocation","id":"d","serviceTags":["AzureCloud"]},
		{"id":"s","displayName":"Keys","policyType":"custom","allowedCombinations":["fido2","password, sms"],"combinationConfigurations":[
			{"@odata.type":"#microsoft.graph.fido2CombinationConfiguration","id":"k","allowedAAGUIDs":["g"],"appliesToCombinations":["fido2"]}]}
	]}`)
	require.Len(t, b.Locations, 4)
	require.Equal(t, []string{"178.72.74.5/24", "10.0.0.1-10.0.0.9", "2001:db8::/32"}, b.Locations[0].Ranges)
	require.Equal(t, policy.CountryLocation, b.Locations[1].Kind)
	require.True(t, b.Locations[1].IncludeUnknown)
	require.Equal(t, policy.CompliantNetworkLocation, b.Locations[2].Kind)
	require.Equal(t, []string{"AzureCloud"}, b.Locations[3].ServiceTags)
	require.Len(t, b.Strengths, 1)
	require.Equal(t, []string{"g"}, b.Strengths[0].Configurations[0].AllowedAAGUIDs)
	var codes []policy.Code
	for _, d := range diags {
		codes = append(codes, d.Code)
	}
	require.ElementsMatch(t, []policy.Code{policy.CodeHostBits, policy.CodeWrongType}, codes)
}

// What Load read, json.Marshal writes, so that it is read again as the same.
func TestMarshalRoundTrip(t *testing.T) {
	g := policytest.NewGenerator(11)
	for range 500 {
		p := g.Policy()
		p.Unmodeled = nil
		if p.GrantControls != nil {
			p.GrantControls.Operator = strings.ToUpper(p.GrantControls.Operator)
		}
		first, err := json.Marshal(p)
		require.NoError(t, err)
		b, _, err := policy.Load(bytes.NewReader(first))
		require.NoError(t, err)
		require.Len(t, b.Policies, 1, "%s", first)

		second, err := json.Marshal(b.Policies[0])
		require.NoError(t, err)
		var x, y any
		require.NoError(t, json.Unmarshal(first, &x))
		require.NoError(t, json.Unmarshal(second, &y))
		require.Equal(t, pruned(x), pruned(y))
	}
}

// pruned drops what configures nothing: null, "", [] and {}.
func pruned(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			if x = pruned(x); x != nil {
				out[k] = x
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case []any:
		if len(v) == 0 {
			return nil
		}
		for i := range v {
			v[i] = pruned(v[i])
		}
	case string:
		if v == "" {
			return nil
		}
	}
	return v
}

func TestRemarks(t *testing.T) {
	b, diags := load(t, `[
		{"id":"a","state":"enabled","deletedDateTime":"2026-01-01T00:00:00Z","conditions":{"users":{"includeUsers":["All"]}}},
		{"id":"A","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["x"]}},"owner":"Bob","grantControls":{"builtInControls":["block","mfa"]},
		 "sessionControls":{"persistentBrowser":{"isEnabled":true,"mode":"never"}}},
		{"id":"b","state":"enabled","conditions":{"clientApplications":{"includeServicePrincipals":["ServicePrincipalsInMyTenant"]}},"grantControls":{"builtInControls":["mfa"],"authenticationStrength":{"id":"00000000-0000-0000-0000-000000000002"}}}
	]`)
	require.Equal(t, policy.StateDisabled, b.Policies[0].State, "deleted policies do not count")
	var got []string
	for _, d := range diags {
		require.NotEqual(t, policy.SeverityError, d.Severity)
		got = append(got, d.Path+" "+string(d.Code))
	}
	require.ElementsMatch(t, []string{
		"$[0].grantControls authoring", "$[1].owner unmodeled", "$[1] template", "$[1].grantControls authoring", "$[1].sessionControls.persistentBrowser authoring",
		"$[2].grantControls authoring", "$[2].grantControls authoring",
	}, got)
	dup := 0
	for _, d := range compile(t, b).Diagnostics() {
		if d.Code == policy.CodeDuplicate {
			dup++
		}
	}
	require.Equal(t, 1, dup)
}
