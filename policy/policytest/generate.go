package policytest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/policy"
)

// Generator makes policies and sign-ins out of few names, so that they often
// match each other.
type Generator struct {
	*rand.Rand
}

// NewGenerator returns a generator whose output depends only on the seed.
func NewGenerator(seed uint64) Generator {
	return Generator{rand.New(rand.NewPCG(seed, seed^0x9e3779b97f4a7c15))}
}

// The names that generated policies and sign-ins mention.
var (
	userIDs   = names("user", 6)
	groupIDs  = names("group", 8)
	tenantIDs = names("tenant", 3)
	spIDs     = names("principal", 4)
	roleIDs   = []string{"62e90394-69f5-4237-9190-012177145e10", "194ae4cb-b126-40b2-bd5b-6091b380977d", "29232cdf-9323-42fd-ade2-1d097af3e4de"}
	appIDs    = slices.Concat(names("app", 5), []string{
		"cc15fd57-2c6c-4117-a88c-83b1d56b4bbe", // Teams
		"00000003-0000-0ff1-ce00-000000000000", // SharePoint
		"00000002-0000-0000-c000-000000000000", // the directory
		"c44b4083-3bb0-49c1-b47d-974e53cbdf3c", // Azure portal
		"797f4846-ba00-4fd7-ba43-dac1f8f63013", // Azure management, a group too
		"d4ebce55-015a-49b5-a083-c84d1797ae8c", // Intune enrolment
		"fb60f99c-7a34-4190-8149-302f77469936", // token exchange
		"5dc48733-b5df-475c-a49b-fa307ef00853", // internet traffic
		"e92b9b37-1b47-4c01-9fbc-91d84450870e", // private traffic
	})
	blueprintIDs = names("blueprint", 2)
	placeIDs     = []string{"office", "hq", "vpn", "v6", "home", "dach", "unknown", "gps", "network", "tags",
		"00000000-0000-0000-0000-000000000000", "3d46dbda-8382-466a-856d-eb00cbc6b910"}
	strengths = []string{policy.StrengthMFA, policy.StrengthPasswordless, policy.StrengthPhishingResistant, "keys", "cards", "odd"}
	termIDs   = names("terms", 3)
	factorIDs = names("factor", 2)
	attribute = []string{"Finance_Level", "Finance_Tags"}
)

func names(kind string, n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("%s-%d", kind, i))
	}
	return slices.Clip(list)
}

// Bundle makes a bundle of n policies with locations and strengths.
func (g Generator) Bundle(n int) *policy.Bundle {
	b := &policy.Bundle{Locations: places(), Strengths: customStrengths()}
	for i := range n {
		p := g.Policy()
		p.ID = fmt.Sprintf("policy-%d", i)
		b.Policies = append(b.Policies, p)
	}
	return b
}

// Options makes compile options.
func (g Generator) Options() Options {
	o := Options{FailClosed: g.chance(2), LegacyBaselineScopes: g.chance(4)}
	if g.chance(2) {
		o.TrustedIPs = trustedIPs
	}
	if g.chance(4) {
		o.BaselineApp = pick(g, appIDs)
	}
	if g.chance(3) {
		o.ApprovedAppUntil = pick(g, []time.Time{now, now.Add(1), now.AddDate(-1, 0, 0)})
	}
	if g.chance(4) {
		o.AppGroups = map[string][]string{"office365": {"app-1", "app-2"}}
	}
	return o
}

func (g Generator) chance(oneIn int) bool { return g.IntN(oneIn) == 0 }

func pick[T any](g Generator, list []T) T { return list[g.IntN(len(list))] }

// some picks up to n of a list, in some casing.
func (g Generator) some(list []string, n int) (out []string) {
	for range g.IntN(n + 1) {
		out = append(out, g.cased(pick(g, list)))
	}
	return out
}

// exact picks without changing the casing.
func (g Generator) exact(list []string, n int) (out []string) {
	for range g.IntN(n + 1) {
		out = append(out, pick(g, list))
	}
	return out
}

func (g Generator) cased(s string) string {
	if g.chance(8) {
		return strings.ToUpper(s)
	}
	return s
}

// Policy makes a policy, once in a while one that cannot be evaluated.
func (g Generator) Policy() policy.Policy {
	p := policy.Policy{
		State:         pick(g, []policy.State{policy.StateEnabled, policy.StateEnabled, policy.StateEnabled, policy.StateReportOnly, policy.StateDisabled, ""}),
		Conditions:    g.conditions(),
		GrantControls: g.grants(),
	}
	if g.chance(3) {
		p.SessionControls = g.session()
	}
	if g.chance(60) {
		p.Unmodeled = []string{"conditions.times"}
	}
	return p
}

func (g Generator) conditions() policy.Conditions {
	c := policy.Conditions{Users: g.users(), Applications: g.applications()}
	if g.chance(5) {
		c.ClientApplications = g.clientApplications()
		if g.chance(2) {
			c.Users = &policy.UserCondition{IncludeUsers: []string{"None"}}
		}
	}
	if g.chance(12) {
		c.Agents = &policy.AgentCondition{IncludeUsers: g.some(append(spIDs, "All", "All"), 2), ExcludeUsers: g.some(spIDs, 1), Filter: g.attributeFilter()}
	}
	if g.chance(3) {
		c.ClientAppTypes = g.odd(g.exact([]string{"all", "browser", "browser", "mobileAppsAndDesktopClients", "mobileAppsAndDesktopClients", "exchangeActiveSync", "easSupported", "other", "modern"}, 4))
	}
	if g.chance(3) {
		list := []string{"all", "All", "android", "iOS", "windows", "windowsPhone", "macOS", "linux"}
		c.Platforms = &policy.PlatformCondition{Include: g.odd(g.exact(list, 3)), Exclude: g.exact(list[2:], 2)}
	}
	if g.chance(3) {
		c.Locations = g.locationCondition()
	}
	if g.chance(3) {
		c.Devices = g.devices()
	}
	if g.chance(12) {
		list := []string{"All", "Compliant", "DomainJoined"}
		c.DeviceStates = &policy.DeviceStateCondition{Include: g.exact(list, 1), Exclude: g.exact(list[1:], 2)}
	}
	risks := []string{"low", "medium", "high", "none", "hidden"}
	for _, list := range []*[]string{&c.SignInRiskLevels, &c.UserRiskLevels, &c.ServicePrincipalRiskLevels} {
		if g.chance(6) {
			*list = g.odd(g.exact(risks, 3))
		}
	}
	if g.chance(10) {
		c.InsiderRiskLevels = g.exact([]string{"minor", "moderate", "elevated"}, 2)
	}
	if g.chance(15) {
		c.AgentIDRiskLevels = g.exact(risks[:4], 3)
	}
	if g.chance(8) {
		c.AuthenticationFlows = &policy.FlowCondition{TransferMethods: g.odd(g.exact([]string{"deviceCodeFlow", "authenticationTransfer", "none"}, 2))}
	}
	if g.chance(20) {
		list := []string{"agentUserSessionsInitiatedFromEndpoints"}
		c.AgentContext = &policy.AgentContextCondition{Include: g.exact(list, 1), Exclude: g.exact(list, 1)}
	}
	return c
}

// odd now and then slips in a value that does not exist.
func (g Generator) odd(list []string) []string {
	if len(list) > 0 && g.chance(40) {
		list[0] = "somethingNew"
	}
	return list
}

func (g Generator) users() *policy.UserCondition {
	u := &policy.UserCondition{
		ExcludeUsers: g.some(append(userIDs, "GuestsOrExternalUsers", "AllAgentIdUsers"), 1), ExcludeGroups: g.some(groupIDs, 1),
		ExcludeRoles: g.some(roleIDs, g.IntN(2)), ExcludeGuests: g.guests(8),
	}
	switch g.IntN(6) {
	case 0, 1, 2:
		u.IncludeUsers = []string{g.cased("All")}
	case 3:
		u.IncludeUsers = g.some(append(userIDs, "None", "GuestsOrExternalUsers", "AllAgentIdUsers", "AllAgentIdUsers"), 3)
		if g.chance(20) {
			u.ExcludeUsers = append(u.ExcludeUsers, pick(g, []string{"AllRobots", "allusers"}))
		}
	case 4:
		u.IncludeUsers = []string{"None"}
	case 5:
		if g.chance(4) {
			return nil
		}
	}
	if g.chance(2) {
		u.IncludeGroups, u.IncludeRoles = g.some(groupIDs, 3), g.some(roleIDs, 2)
	}
	if len(u.IncludeUsers) == 0 {
		u.IncludeGuests = g.guests(2)
	}
	return u
}

func (g Generator) guests(oneIn int) *policy.GuestCondition {
	if !g.chance(oneIn) {
		return nil
	}
	c := &policy.GuestCondition{Types: g.odd(g.exact([]string{"internalGuest", "b2bCollaborationGuest", "b2bCollaborationMember", "b2bDirectConnectUser", "otherExternalUser", "serviceProvider"}, 4))}
	switch g.IntN(3) {
	case 0:
		c.Tenants = &policy.ExternalTenants{MembershipKind: "all"}
	case 1:
		c.Tenants = &policy.ExternalTenants{MembershipKind: "enumerated", Members: g.some(tenantIDs, 2)}
	}
	return c
}

func (g Generator) applications() *policy.ApplicationCondition {
	a := &policy.ApplicationCondition{}
	listed := append(appIDs, "Office365", "MicrosoftAdminPortals", "AllAgentIdResources", "797f4846-ba00-4fd7-ba43-dac1f8f63013")
	switch g.IntN(12) {
	case 0, 1, 2, 3, 4, 5:
		a.Include, a.Exclude = []string{g.cased("All")}, g.some(listed, 2)
	case 6, 7, 8:
		a.Include, a.Exclude = g.some(append(listed, "None"), 4), g.some(listed, 1)
		if g.chance(40) {
			a.Include = []string{"Office 365"}
		}
	case 9:
		a.UserActions = g.exact([]string{"urn:user:registersecurityinfo", "urn:user:registersecurityinfo", "urn:user:registerdevice"}, 2)
	case 10:
		a.AuthContexts = g.exact([]string{"c1", "c2", "c99", "C3"}, 3)
		if g.chance(20) {
			a.AuthContexts = []string{"c100"}
		}
	case 11:
		if g.chance(2) {
			return nil
		}
		a.GlobalSecureAccess = &policy.TrafficCondition{Profiles: g.exact([]string{"internet", "m365", "private"}, 2)}
	}
	a.Filter = g.attributeFilter()
	return a
}

func (g Generator) clientApplications() *policy.ClientApplicationCondition {
	return &policy.ClientApplicationCondition{
		Include: g.some(append(spIDs, "ServicePrincipalsInMyTenant"), 2), Exclude: g.some(spIDs, 1), Filter: g.attributeFilter(),
		IncludeAgents: g.some(append(append(spIDs, "All"), blueprintIDs...), 2), ExcludeAgents: g.some(append(spIDs, blueprintIDs...), 1), AgentFilter: g.attributeFilter(),
	}
}

func (g Generator) locationCondition() *policy.LocationCondition {
	l := &policy.LocationCondition{Include: []string{"All"}, Exclude: g.some(append(placeIDs, "AllTrusted", "AllTrusted"), 2)}
	if g.chance(2) {
		l.Include = g.some(append(placeIDs, "AllTrusted"), 3)
	}
	if g.chance(40) {
		l.Exclude = []string{pick(g, []string{"<PlaceholderLocation>", "bad"})}
	}
	return l
}

func (g Generator) devices() *policy.DeviceCondition {
	d := &policy.DeviceCondition{}
	if g.chance(5) {
		d.Include, d.Exclude = []string{"All"}, g.exact([]string{"Compliant", "DomainJoined"}, 2)
		return d
	}
	d.Filter = &policy.Filter{Mode: pick(g, []string{"include", "exclude"}), Rule: g.DeviceRule(2)}
	if g.chance(40) {
		d.Filter.Rule = `device.colour -eq "red"`
	}
	return d
}

func (g Generator) attributeFilter() *policy.Filter {
	if !g.chance(6) {
		return nil
	}
	if g.chance(30) {
		return &policy.Filter{Mode: "include", Rule: `device.model -eq "not an attribute"`}
	}
	return &policy.Filter{Mode: pick(g, []string{"include", "exclude"}), Rule: g.join(2, func() string {
		return "CustomSecurityAttribute." + pick(g, attribute) + " " + g.comparison([]string{"high", "low", "Hi"})
	})}
}

// DeviceRule makes a filter rule for devices, nested up to depth.
func (g Generator) DeviceRule(depth int) string {
	return g.join(depth, func() string {
		switch g.IntN(8) {
		case 0:
			return "device.isCompliant " + pick(g, []string{"-eq", "-ne", "ne"}) + " " + pick(g, []string{"True", "False", "null", `"true"`})
		case 1:
			return "device.trustType " + pick(g, []string{"-eq", "-ne"}) + " " + pick(g, []string{`"AzureAD"`, `"ServerAD"`, `"workplace"`, "null"})
		case 2:
			return pick(g, []string{"device.physicalIds", "device.systemLabels"}) + " " + pick(g, []string{"-contains", "-notContains"}) + " " + pick(g, []string{`"CloudPC"`, `"Cloud"`, `"[OrderId]:1"`})
		case 3:
			return "device.extensionAttribute" + pick(g, []string{"1", "15"}) + " " + g.comparison([]string{"SAW", "saw-1", "a"})
		}
		prop := pick(g, []string{"deviceId", "displayName", "DEVICEOWNERSHIP", "model", "operatingSystem", "manufacturer"})
		return "device." + prop + " " + g.comparison([]string{"Surface", "surface pro", "Pro", "a", "Company", "Ärger"})
	})
}

func (g Generator) join(depth int, leaf func() string) string {
	if depth == 0 || g.chance(2) {
		return leaf()
	}
	switch g.IntN(4) {
	case 0:
		return "-not (" + g.join(depth-1, leaf) + ")"
	case 1:
		return "(" + g.join(depth-1, leaf) + ") -and (" + g.join(depth-1, leaf) + ")"
	case 2:
		return g.join(depth-1, leaf) + " -or " + g.join(depth-1, leaf)
	}
	return leaf() + " and " + leaf() + " -or " + leaf()
}

func (g Generator) comparison(values []string) string {
	value := `"` + pick(g, values) + `"`
	switch g.IntN(6) {
	case 0:
		return pick(g, []string{"-in", "-notIn", "-NOTIN"}) + " [" + value + `, "` + pick(g, values) + `"]`
	case 1:
		return pick(g, []string{"-eq", "-ne"}) + " null"
	}
	return pick(g, []string{"-eq", "-ne", "-startsWith", "-notStartsWith", "-endsWith", "-notEndsWith", "-contains", "-notContains"}) + " " + value
}
