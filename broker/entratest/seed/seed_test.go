package seed_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/entratest/seed"
)

// export is a small tenant in the shapes of the examples of Microsoft's pages "List users"
// (#EXT# in example 8), "List groups", "List members", "List applications", "List
// servicePrincipals", "List devices", "List organization", "List policies", "List
// namedLocations" (contexts #conditionalAccess/… and #identity/conditionalAccess/…) and
// "List authenticationStrengthPolicies" (2024-05-28) of the Microsoft Graph REST API v1.0,
// as of microsoft-graph-docs-contrib 008316a, 06829cb, 0713c45, 028b8e3, 02b4cba.
func export() fstest.MapFS {
	files := map[string]string{
		"organization.json": `{"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#organization", "value": [{"id": "11111111-0000-4000-8000-0000000000ff", "displayName": "Northwind",
			"city": "Oslo", "verifiedDomains": [{"name": "northwind.example", "isDefault": true, "type": "Managed"}, {"name": "Northwind.onmicrosoft.com", "isInitial": true, "type": "Managed"},
			{"name": "fed.northwind.example", "type": "Federated"}]}]}`,
		"users-1.json": `{"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#users(id,userPrincipalName)", "@odata.nextLink": "https://graph.microsoft.com/v1.0/users?$skiptoken=x", "value": [
			{"id": "11111111-0000-4000-8000-000000000001", "userPrincipalName": "Ann@northwind.example", "displayName": "Ann Example", "mail": "ann@northwind.example", "accountEnabled": true, "userType": "Member", "jobTitle": "Designer", "businessPhones": [], "officeLocation": null},
			{"id": "11111111-0000-4000-8000-000000000002", "userPrincipalName": "ben@northwind.example", "displayName": "Ben", "accountEnabled": false}]}`,
		"users-2.json": `{"value": [
			{"id": "11111111-0000-4000-8000-000000000003", "userPrincipalName": "gus_partner.example#EXT#@northwind.onmicrosoft.com", "displayName": "Gus", "mail": "gus@partner.example", "userType": "Guest"},
			{"id": "11111111-0000-4000-8000-000000000004", "displayName": "John Smith"}]}`,
		"groups.json": `{"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#groups", "value": [
			{"id": "22222222-0000-4000-8000-000000000001", "displayName": "Staff", "securityEnabled": true, "groupTypes": [], "members": [{"@odata.type": "#microsoft.graph.group", "id": "22222222-0000-4000-8000-000000000002"}]},
			{"id": "22222222-0000-4000-8000-000000000002", "displayName": "Payroll", "membershipRule": "user.department -eq \"Payroll\""}]}`,
		"groups/22222222-0000-4000-8000-000000000002/members.json": `{"value": [{"id": "11111111-0000-4000-8000-000000000001"}, {"id": "99999999-0000-4000-8000-000000000001"}]}`,
		"roles.json": `{"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#directoryRoles(members())", "value": [
			{"id": "x", "displayName": "Global Reader", "roleTemplateId": "f2ef992c-3afb-46b9-b7cf-a126ee74c451", "members": [{"id": "11111111-0000-4000-8000-000000000001"}]}]}`,
		"applications.json": `{"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#applications", "@odata.count": 2, "value": [
			{"id": "33333333-0000-4000-8000-0000000000aa", "appId": "33333333-0000-4000-8000-000000000001", "displayName": "Orders", "identifierUris": ["api://orders"], "signInAudience": "AzureADMyOrg", "publisherDomain": "northwind.example",
			 "api": {"requestedAccessTokenVersion": 2, "oauth2PermissionScopes": [{"id": "s1", "value": "Orders.Read", "isEnabled": true}], "preAuthorizedApplications": [{"appId": "33333333-0000-4000-8000-000000000002", "delegatedPermissionIds": ["s1"]}]},
			 "appRoles": [{"id": "44444444-0000-4000-8000-000000000001", "value": "Manager", "allowedMemberTypes": ["User", "Application"]}], "web": {"redirectUris": ["https://orders.example/cb", "no uri"]}, "passwordCredentials": [{"hint": "abc"}],
			 "groupMembershipClaims": "SecurityGroup", "optionalClaims": {"accessToken": [{"name": "acct"}], "idToken": [{"name": "email"}, {"name": "acct"}]}},
			{"appId": "33333333-0000-4000-8000-000000000002", "displayName": "Front", "publicClient": {"redirectUris": ["http://localhost"]}, "spa": {"redirectUris": []}}]}`,
		"servicePrincipals.json": `{"value": [
			{"id": "55555555-0000-4000-8000-000000000001", "appId": "33333333-0000-4000-8000-000000000001", "displayName": "Orders", "accountEnabled": true, "appRoleAssignmentRequired": true, "servicePrincipalNames": ["33333333-0000-4000-8000-000000000001", "https://orders.northwind.example"],
			 "appRoles": [{"id": "44444444-0000-4000-8000-000000000001", "value": "Manager"}]},
			{"id": "55555555-0000-4000-8000-000000000002", "appId": "33333333-0000-4000-8000-000000000002", "displayName": "Front"},
			{"id": "55555555-0000-4000-8000-000000000003", "appId": "33333333-0000-4000-8000-000000000003", "appDisplayName": "Bought", "replyUrls": ["https://bought.example/"], "accountEnabled": false},
			{"id": "55555555-0000-4000-8000-000000000004", "appId": "00000003-0000-0000-c000-000000000000", "displayName": "Microsoft Graph", "appOwnerOrganizationId": "f8cdef31-a31e-4b4a-93e4-5f571e91255a"}]}`,
		"appRoleAssignedTo/orders.json": `{"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#appRoleAssignments", "value": [
			{"principalId": "22222222-0000-4000-8000-000000000001", "principalType": "Group", "resourceId": "55555555-0000-4000-8000-000000000001", "appRoleId": "44444444-0000-4000-8000-000000000001"},
			{"principalId": "55555555-0000-4000-8000-000000000002", "principalType": "ServicePrincipal", "resourceId": "55555555-0000-4000-8000-000000000001", "appRoleId": "44444444-0000-4000-8000-000000000001"},
			{"principalId": "99999999-0000-4000-8000-000000000009", "principalType": "User", "resourceId": "55555555-0000-4000-8000-000000000001", "appRoleId": "00000000-0000-0000-0000-000000000000"}]}`,
		"grants.json": `{"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#oauth2PermissionGrants", "value": [
			{"clientId": "55555555-0000-4000-8000-000000000002", "consentType": "AllPrincipals", "resourceId": "55555555-0000-4000-8000-000000000004", "scope": " User.Read Mail.Read"},
			{"clientId": "55555555-0000-4000-8000-000000000002", "consentType": "Principal", "principalId": "11111111-0000-4000-8000-000000000001", "resourceId": "55555555-0000-4000-8000-000000000004", "scope": "Files.Read"}]}`,
		"devices.json": `{"value": [{"id": "66666666-0000-4000-8000-0000000000aa", "deviceId": "66666666-0000-4000-8000-000000000001", "displayName": "LAPTOP1", "operatingSystem": "Windows", "operatingSystemVersion": "10.0.26100", "trustType": "AzureAd",
			"accountEnabled": true, "isCompliant": true, "isManaged": true, "deviceVersion": 2, "registeredOwners": [{"id": "11111111-0000-4000-8000-000000000001"}]}]}`,
		"conditionalAccess/policies.json": `{"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#identity/conditionalAccess/policies", "value": [{"id": "77777777-0000-4000-8000-000000000001", "displayName": "Orders from home need MFA", "state": "enabled",
			"conditions": {"clientAppTypes": ["all"], "users": {"includeUsers": ["All"]}, "applications": {"includeApplications": ["33333333-0000-4000-8000-000000000001"]}, "locations": {"includeLocations": ["All"], "excludeLocations": ["88888888-0000-4000-8000-000000000001"]}},
			"grantControls": {"operator": "OR", "builtInControls": [], "authenticationStrength": {"id": "00000000-0000-0000-0000-000000000002"}}}]}`,
		"conditionalAccess/namedLocations.json": `{"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#conditionalAccess/namedLocations", "value": [{"@odata.type": "#microsoft.graph.ipNamedLocation", "id": "88888888-0000-4000-8000-000000000001", "displayName": "Office", "isTrusted": true, "ipRanges": [{"@odata.type": "#microsoft.graph.iPv4CidrRange", "cidrAddress": "192.0.2.0/24"}]}]}`,
		"authenticationStrengthPolicies.json":   `{"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#policies/authenticationStrengthPolicies", "value": [{"id": "00000000-0000-0000-0000-000000000002", "displayName": "Multifactor authentication", "policyType": "builtIn", "requirementsSatisfied": "mfa", "allowedCombinations": ["fido2", "password,softwareOath"]}]}`,
		"mail/messages.json":                    `{"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#users('x')/messages", "value": [{"id": "m"}, {"id": "n"}]}`,
		"readme.txt":                            "not read",
	}
	out := fstest.MapFS{}
	for name, text := range files {
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return out
}

func TestFromGraph(t *testing.T) {
	tenant, err := seed.FromGraph(export(), seed.Config{Password: "correct horse"})
	require.NoError(t, err)
	o := tenant.Options
	require.Equal(t, "northwind.example", o.Domain)
	require.Equal(t, []string{"northwind.onmicrosoft.com"}, o.Domains)
	require.Equal(t, []string{"fed.northwind.example"}, o.Federated)
	require.Equal(t, []entratest.User{
		{Username: "Ann@northwind.example", ID: "11111111-0000-4000-8000-000000000001", Name: "Ann Example", Mail: "ann@northwind.example", Password: "correct horse", Roles: []string{"f2ef992c-3afb-46b9-b7cf-a126ee74c451"}},
		{Username: "ben@northwind.example", ID: "11111111-0000-4000-8000-000000000002", Name: "Ben", Password: "correct horse", Disabled: true},
		{Username: "gus_partner.example#EXT#@northwind.onmicrosoft.com", ID: "11111111-0000-4000-8000-000000000003", Name: "Gus", Mail: "gus@partner.example", Password: "correct horse", Guest: true},
	}, o.Users)
	require.Equal(t, []entratest.Group{
		{ID: "22222222-0000-4000-8000-000000000002", Name: "Payroll", Members: []string{"11111111-0000-4000-8000-000000000001"}},
		{ID: "22222222-0000-4000-8000-000000000001", Name: "Staff", Members: []string{"22222222-0000-4000-8000-000000000002"}},
	}, o.Groups)
	require.Equal(t, []entratest.App{
		{ClientID: "33333333-0000-4000-8000-000000000001", Name: "Orders", URIs: []string{"api://orders", "https://orders.northwind.example"}, Exposes: []string{"Orders.Read"}, Roles: []string{"Manager"}, TokenVersion: 2,
			Redirects: []string{"https://orders.example/cb"}, GroupClaims: true, OptionalClaims: []string{"acct", "email"}, ServicePrincipalID: "55555555-0000-4000-8000-000000000001",
			PreauthorisedClients: map[string][]string{"33333333-0000-4000-8000-000000000002": {"Orders.Read"}}, AssignmentRequired: true, AssignTo: []string{"22222222-0000-4000-8000-000000000001"},
			RoleAssignments: map[string][]string{"Manager": {"22222222-0000-4000-8000-000000000001"}}},
		{ClientID: "33333333-0000-4000-8000-000000000002", Name: "Front", Public: true, Redirects: []string{"http://localhost"}, ServicePrincipalID: "55555555-0000-4000-8000-000000000002",
			Permissions: map[string][]string{"33333333-0000-4000-8000-000000000001": {"Manager"}}, Preauthorised: map[string][]string{"00000003-0000-0000-c000-000000000000": {"User.Read", "Mail.Read"}}},
		{ClientID: "33333333-0000-4000-8000-000000000003", Name: "Bought", Redirects: []string{"https://bought.example/"}, ServicePrincipalID: "55555555-0000-4000-8000-000000000003", Disabled: true},
	}, o.Apps)
	require.Equal(t, []entratest.Device{{ID: "66666666-0000-4000-8000-000000000001", ObjectID: "66666666-0000-4000-8000-0000000000aa", Name: "LAPTOP1", OS: "Windows", OSVersion: "10.0.26100",
		TrustType: "AzureAd", Owner: "11111111-0000-4000-8000-000000000001", Managed: true, Compliant: true}}, o.Devices)

	var said []string
	for _, r := range tenant.Remarks {
		said = append(said, r.String())
	}
	all := strings.Join(said, "\n")
	for _, want := range []string{
		"mail/messages.json: neither its @odata.context nor its name says what its objects are: 2 objects are not represented",
		"users-2.json: user 11111111-0000-4000-8000-000000000004 John Smith is not represented",
		"groups: Payroll: 1 member is neither a user nor a group of the export",
		"application Orders: its secret is not exported",
		`application Orders: the redirect "no uri" is not represented`,
		"servicePrincipals: 1 object is Microsoft's own",
		"the assignment of role 00000000-0000-0000-0000-000000000000",
		"the consent of one user to Files.Read",
		"devices: keys are not exported",
		"organization: not represented: city",
		"users: not represented: jobTitle",
		"groups: not represented: membershipRule, securityEnabled",
		"applications: not represented: id, publisherDomain, signInAudience",
	} {
		require.Contains(t, all, want)
	}
	require.NotContains(t, all, "last page", "the second page has no nextLink")
}

// The tenant that an export makes is one that people sign in to.
func TestSignIn(t *testing.T) {
	tenant, err := seed.FromGraph(export(), seed.Config{Password: "correct horse"})
	require.NoError(t, err)
	o := tenant.Options
	o.Logf = t.Logf
	s, err := entratest.Start(o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	ask := func(user, scope string) (int, map[string]any) {
		resp, err := s.Client().PostForm("https://login.microsoftonline.com/northwind.example/oauth2/v2.0/token", url.Values{"grant_type": {"password"}, "client_id": {"33333333-0000-4000-8000-000000000002"},
			"username": {user}, "password": {"correct horse"}, "scope": {scope}})
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		var v map[string]any
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &v))
		return resp.StatusCode, v
	}
	status, v := ask("ann@northwind.example", "User.Read")
	require.Equal(t, http.StatusOK, status, "%v", v)
	_, v = ask("ben@northwind.example", "User.Read")
	require.Contains(t, v["error_description"], "AADSTS50057")
	_, v = ask("ann@northwind.example", "api://orders/Orders.Read")
	require.Contains(t, v["error_description"], "AADSTS50079", "the policy asks for MFA, and Ann has none")
	require.Equal(t, "LAPTOP1", s.Devices()[0].DisplayName)
	require.True(t, s.Devices()[0].Compliant)

	state, err := s.State()
	require.NoError(t, err)
	again, err := entratest.Start(entratest.Options{State: state})
	require.NoError(t, err)
	t.Cleanup(again.Close)
	require.Equal(t, s.Users(), again.Users())
	require.Equal(t, s.Devices(), again.Devices())
}

// twenty is the members of a group that has at least as many.
func twenty() string {
	var all []string
	for i := range 20 {
		all = append(all, fmt.Sprintf(`{"id": "11111111-0000-4000-8000-%012d"}`, i))
	}
	return "[" + strings.Join(all, ",") + "]"
}

// A list of members of its own says what $expand left out, of a group and of a role.
func TestMembersBeyondExpand(t *testing.T) {
	var people []string
	for i := range 21 {
		people = append(people, fmt.Sprintf(`{"id": "11111111-0000-4000-8000-%012d", "userPrincipalName": "u%d@contoso.example"}`, i, i))
	}
	all := `{"value": [` + strings.Join(people, ",") + `]}`
	tenant, err := seed.FromGraph(fstest.MapFS{
		"users.json":          {Data: []byte(all)},
		"groups.json":         {Data: []byte(`{"value": [{"id": "22222222-0000-4000-8000-000000000001", "displayName": "Staff", "members": ` + twenty() + `}]}`)},
		"directoryRoles.json": {Data: []byte(`{"value": [{"id": "66666666-0000-4000-8000-000000000001", "displayName": "Readers", "roleTemplateId": "x", "members": ` + twenty() + `}]}`)},
		"groups/22222222-0000-4000-8000-000000000001/members.json":         {Data: []byte(all)},
		"directoryRoles/66666666-0000-4000-8000-000000000001/members.json": {Data: []byte(all)},
	}, seed.Config{Password: "x"})
	require.NoError(t, err)
	require.Len(t, tenant.Options.Groups, 1)
	require.Len(t, tenant.Options.Groups[0].Members, 21)
	require.Len(t, tenant.Options.Users, 21)
	for _, u := range tenant.Options.Users {
		require.Equal(t, []string{"x"}, u.Roles, u.Username)
	}
	for _, r := range tenant.Remarks {
		require.NotContains(t, r.Text, "members")
	}
}

func TestPages(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"the last page is missing":  {map[string]string{"users.json": `{"@odata.nextLink": "x", "value": []}`}, "users: the last page is missing"},
		"no organization":           {map[string]string{"users.json": `[{"userPrincipalName": "a@a.example"}, {"userPrincipalName": "b@b.example"}, {"userPrincipalName": "c@b.example"}]`}, "the tenant's domain is taken to be b.example"},
		"members of no group":       {map[string]string{"members-22222222-0000-4000-8000-000000000002.json": `{"value": [{"id": "x"}]}`}, "22222222-0000-4000-8000-000000000002 is not in the export, but its members are"},
		"twenty members":            {map[string]string{"groups.json": `{"value": [{"id": "22222222-0000-4000-8000-000000000001", "displayName": "Staff", "members": ` + twenty() + `}]}`}, "group Staff: 20 members, as many as $expand returns: others may be missing without groups/22222222-0000-4000-8000-000000000001/members"},
		"twenty in a role":          {map[string]string{"directoryRoles.json": `{"value": [{"id": "66666666-0000-4000-8000-000000000001", "displayName": "Readers", "roleTemplateId": "x", "members": ` + twenty() + `}]}`}, "role Readers: 20 members, as many as $expand returns"},
		"a device without its id":   {map[string]string{"devices.json": `{"value": [{"displayName": "D"}]}`}, "device D is not represented"},
		"a certificate left out":    {map[string]string{"apps.json": `{"value": [{"appId": "33333333-0000-4000-8000-000000000001", "displayName": "A", "keyCredentials": [{"type": "AsymmetricX509Cert", "key": null}]}]}`}, "application A: a certificate is not in the export"},
		"several platforms":         {map[string]string{"apps.json": `{"value": [{"appId": "33333333-0000-4000-8000-000000000001", "displayName": "A", "spa": {"redirectUris": ["https://a.example"]}, "publicClient": {"redirectUris": ["http://localhost"]}}]}`}, "all are those of a single-page app"},
		"what policy cannot model":  {map[string]string{"policies.json": `{"value": [{"displayName": "P", "state": "enabled", "conditions": {"users": {"includeUsers": ["All"]}, "applications": {"includeApplications": ["All"]}, "times": {"x": 1}}}]}`}, "times"},
		"one object by its type":    {map[string]string{"x.json": `[{"@odata.type": "#microsoft.graph.device", "displayName": "D"}]`}, "device D is not represented"},
		"one object by its shape":   {map[string]string{"CA001.json": `{"displayName": "P", "state": "enabled", "conditions": {"users": {"includeUsers": ["All"]}, "applications": {"includeApplications": ["All"]}, "times": {"x": 1}}, "grantControls": null}`}, "times"},
		"one object by its context": {map[string]string{"x.json": `{"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#devices/$entity", "displayName": "D"}`}, "device D is not represented"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := fstest.MapFS{}
			for name, text := range tt.files {
				fsys[name] = &fstest.MapFile{Data: []byte(text)}
			}
			tenant, err := seed.FromGraph(fsys, seed.Config{})
			require.NoError(t, err)
			var said []string
			for _, r := range tenant.Remarks {
				said = append(said, r.String())
			}
			require.Contains(t, strings.Join(said, "\n"), tt.want)
		})
	}
	t.Run("UTF-16", func(t *testing.T) {
		for name, order := range map[string]binary.AppendByteOrder{"little": binary.LittleEndian, "big": binary.BigEndian} {
			text := order.AppendUint16(nil, 0xfeff)
			for _, unit := range utf16.Encode([]rune(`[{"userPrincipalName": "zoë@a.example"}]`)) {
				text = order.AppendUint16(text, unit)
			}
			tenant, err := seed.FromGraph(fstest.MapFS{"users.json": &fstest.MapFile{Data: text}}, seed.Config{})
			require.NoError(t, err, name)
			require.Equal(t, "zoë@a.example", tenant.Options.Users[0].Username)
		}
	})
	for _, bad := range []string{`{`, `7`, `{"value": [7]}`} {
		_, err := seed.FromGraph(fstest.MapFS{"users.json": &fstest.MapFile{Data: []byte(bad)}}, seed.Config{})
		require.ErrorContains(t, err, "users.json", bad)
	}
}

// Microsoft's own examples, from a checkout of microsoftgraph/microsoft-graph-docs-contrib
// (PRTBROKER_GRAPH_DOCS names it): every response of these pages is read, and makes a
// tenant that starts.
func TestDocumentedExamples(t *testing.T) {
	docs := os.Getenv("PRTBROKER_GRAPH_DOCS")
	if docs == "" {
		t.Skip("PRTBROKER_GRAPH_DOCS does not name a checkout of microsoft-graph-docs-contrib")
	}
	response := regexp.MustCompile("(?s)HTTP/1.1 200 OK\\s+Content-[tT]ype: application/json\\s+(?:Content-length: \\d+\\s+)?(.*?)```")
	read := 0
	for page, name := range map[string]string{"user-list": "users", "group-list": "groups", "application-list": "applications", "serviceprincipal-list": "servicePrincipals", "device-list": "devices",
		"organization-list": "organization", "conditionalaccessroot-list-policies": "policies", "conditionalaccessroot-list-namedlocations": "namedLocations",
		"authenticationstrengthroot-list-policies": "authenticationStrengthPolicies", "group-list-members": "members-22222222-0000-4000-8000-000000000002"} {
		text, err := os.ReadFile(filepath.Join(docs, "api-reference/v1.0/api", page+".md"))
		if os.IsNotExist(err) {
			t.Logf("%s is not there", page)
			continue
		}
		require.NoError(t, err)
		for _, m := range response.FindAllStringSubmatch(string(text), -1) {
			tenant, err := seed.FromGraph(fstest.MapFS{name + ".json": &fstest.MapFile{Data: []byte(m[1])}}, seed.Config{Password: "correct horse"})
			require.NoError(t, err, "%s: %s", page, m[1])
			s, err := entratest.Start(tenant.Options)
			require.NoError(t, err, "%s: %s", page, m[1])
			s.Close()
			o := tenant.Options
			made := len(o.Users) + len(o.Groups) + len(o.Apps) + len(o.Devices) + len(o.Policies) + len(o.TenantID)
			require.Positive(t, made+len(tenant.Remarks), "%s: neither represented nor listed: %s", page, m[1])
			for _, r := range tenant.Remarks {
				t.Logf("%s: %s", page, r)
			}
			read++
		}
	}
	require.Positive(t, read)
}

// Policies of others, from repositories that publish them, where they are beside this one.
func TestCorpus(t *testing.T) {
	corpus := filepath.Join("..", "..", "..", "..", "shared", "corpus")
	if _, err := os.Stat(corpus); os.IsNotExist(err) {
		t.Skip("no corpus of exports beside the repository")
	}
	dirs, err := filepath.Glob(filepath.Join(corpus, "*"))
	require.NoError(t, err)
	policies := 0
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			continue
		}
		tenant, err := seed.FromGraph(os.DirFS(dir), seed.Config{})
		require.NoError(t, err, dir)
		tenant.Options.Logf = func(string, ...any) {}
		s, err := entratest.Start(tenant.Options)
		require.NoError(t, err, dir)
		policies += len(s.PolicyNames())
		t.Logf("%s: %d policies, %d remarks", filepath.Base(dir), len(s.PolicyNames()), len(tenant.Remarks))
		for _, r := range tenant.Remarks {
			require.NotContains(t, r.String(), "not represented", "every file is a policy or a location")
		}
		s.Close()
	}
	require.Greater(t, policies, 100)
}
