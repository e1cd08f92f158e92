package policytest

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

// Tenant is a realistic tenant for benchmarks: every policy excludes the
// break-glass group, two fifths are for all users and as many for some of 2,000
// groups, half are for all applications; platforms, client types, 60 IP
// locations of 20 ranges and 12 country locations, device filters, risks,
// guests, flows, strengths, terms of use and session controls occur about as
// often as in public exports.
type Tenant struct {
	Generator
	Bundle *policy.Bundle
}

const tenantGroups = 2000

var countryCodes = []string{"DE", "AT", "CH", "FR", "US", "GB", "NL", "CN", "RU", "KP", "IN", "BR"}

// NewTenant makes a tenant with n policies; the same n and seed make the same.
func NewTenant(n int, seed uint64) *Tenant {
	t := &Tenant{NewGenerator(seed), &policy.Bundle{Strengths: customStrengths()}}
	for i := range 60 {
		l := policy.NamedLocation{Kind: policy.IPLocation, ID: t.location(i), IsTrusted: i%3 == 0}
		for range 20 {
			l.Ranges = append(l.Ranges, fmt.Sprintf("%d.%d.%d.0/%d", 20+t.IntN(180), t.IntN(256), t.IntN(256), 16+t.IntN(9)))
		}
		t.Bundle.Locations = append(t.Bundle.Locations, l)
	}
	t.Bundle.Locations[3].Ranges[0] = "198.51.100.0/24"
	t.Bundle.Locations[7].Ranges[0] = "198.51.100.64/26"
	for i, code := range countryCodes {
		t.Bundle.Locations = append(t.Bundle.Locations, policy.NamedLocation{
			Kind: policy.CountryLocation, ID: "country-" + code, Countries: []string{code, countryCodes[(i+1)%len(countryCodes)]}, IncludeUnknown: i%2 == 0,
		})
	}
	for i := range n {
		t.Bundle.Policies = append(t.Bundle.Policies, t.policy(i))
	}
	return t
}

// Group returns the id of a group, such as a directory would give it.
func (t *Tenant) Group(i int) string { return guid(1, i) }

func guid(kind, i int) string {
	x := uint32(i)*2654435761 + uint32(kind)
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%08x%04x", x, x>>16, x>>3&0xfff, x>>7&0xfff, x*31, i)
}

func (t *Tenant) location(i int) string { return guid(3, i) }

func (t *Tenant) percent(p int) bool { return t.IntN(100) < p }

func (t *Tenant) policy(i int) policy.Policy {
	p := policy.Policy{
		ID: guid(9, i), DisplayName: fmt.Sprintf("CA%03d", i), State: policy.StateEnabled,
		Conditions: policy.Conditions{Users: t.users(), Applications: t.apps()},
	}
	if t.percent(15) {
		p.State = policy.StateReportOnly
	}
	t.environment(&p.Conditions)
	t.signals(&p.Conditions)
	p.GrantControls = t.grant()
	if p.GrantControls != nil && p.GrantControls.BuiltInControls != nil && p.GrantControls.BuiltInControls[0] == "block" {
		t.narrow(&p.Conditions)
	}
	if t.percent(15) {
		p.SessionControls = t.sessionControls()
	}
	return p
}

func (t *Tenant) users() *policy.UserCondition {
	u := &policy.UserCondition{ExcludeGroups: []string{t.Group(0)}}
	switch n := t.IntN(100); {
	case n < 40:
		u.IncludeUsers = []string{"All"}
	case n < 80:
		for range 1 + t.IntN(5) {
			u.IncludeGroups = append(u.IncludeGroups, t.Group(1+t.IntN(tenantGroups-1)))
		}
	case n < 90:
		u.IncludeRoles = roleIDs
	default:
		u.IncludeGuests = &policy.GuestCondition{Types: []string{"b2bCollaborationGuest", "b2bCollaborationMember"}}
	}
	if t.percent(30) {
		u.ExcludeGroups = append(u.ExcludeGroups, t.Group(1+t.IntN(tenantGroups-1)))
	}
	if t.percent(10) {
		u.ExcludeGuests = &policy.GuestCondition{Types: []string{"serviceProvider"}, Tenants: &policy.ExternalTenants{MembershipKind: "enumerated", Members: tenantIDs}}
	}
	return u
}

func (t *Tenant) apps() *policy.ApplicationCondition {
	switch n := t.IntN(100); {
	case n < 55:
		return &policy.ApplicationCondition{Include: []string{"All"}, Exclude: t.some([]string{guid(5, 1), guid(5, 2), guid(5, 3)}, 1)}
	case n < 75:
		return &policy.ApplicationCondition{Include: []string{"Office365"}}
	case n < 80:
		return &policy.ApplicationCondition{Include: []string{"MicrosoftAdminPortals"}}
	case n < 84:
		return &policy.ApplicationCondition{UserActions: []string{"urn:user:registersecurityinfo"}}
	case n < 87:
		return &policy.ApplicationCondition{AuthContexts: []string{"c1", "c2"}}
	case n < 89:
		return &policy.ApplicationCondition{Filter: &policy.Filter{Mode: "include", Rule: `CustomSecurityAttribute.Finance_Level -eq "high"`}}
	}
	return &policy.ApplicationCondition{Include: []string{guid(5, t.IntN(40)), guid(5, t.IntN(40))}}
}

func (t *Tenant) environment(c *policy.Conditions) {
	if t.percent(50) {
		c.ClientAppTypes = pick(t.Generator, [][]string{{"browser"}, {"mobileAppsAndDesktopClients"}, {"browser", "mobileAppsAndDesktopClients"}, {"exchangeActiveSync", "other"}})
	}
	if t.percent(35) {
		c.Platforms = pick(t.Generator, []*policy.PlatformCondition{
			{Include: []string{"all"}, Exclude: []string{"iOS", "android"}}, {Include: []string{"iOS", "android"}}, {Include: []string{"windows"}},
			{Include: []string{"all"}, Exclude: []string{"linux"}}, {Include: []string{"macOS", "linux"}},
		})
	}
	if t.percent(40) {
		c.Locations = &policy.LocationCondition{Include: []string{"All"}}
		switch t.IntN(4) {
		case 0:
			c.Locations.Exclude = []string{"AllTrusted"}
		case 1:
			c.Locations.Exclude = []string{t.location(t.IntN(60)), t.location(t.IntN(60))}
		case 2:
			c.Locations.Include = []string{"country-" + pick(t.Generator, countryCodes)}
		case 3:
			c.Locations.Include = []string{t.location(t.IntN(60)), t.location(t.IntN(60)), t.location(t.IntN(60))}
		}
	}
	if t.percent(12) {
		c.Devices = &policy.DeviceCondition{Filter: &policy.Filter{Mode: pick(t.Generator, []string{"exclude", "exclude", "exclude", "include"}), Rule: pick(t.Generator, tenantRules)}}
	}
}

var tenantRules = []string{
	`device.trustType -eq "ServerAD"`,
	`device.isCompliant -eq True -or device.trustType -eq "ServerAD"`,
	`device.isCompliant -ne True -and device.trustType -ne "ServerAD"`,
	`device.deviceOwnership -eq "Company"`,
	`device.extensionAttribute1 -eq "SAW"`,
	`device.extensionAttribute1 -ne "SAW" -and device.extensionAttribute2 -ne "PAW"`,
	`device.systemLabels -contains "CloudPC"`,
	`device.model -startsWith "Surface" -or device.model -startsWith "Latitude" -or device.model -startsWith "ThinkPad"`,
	`device.displayName -startsWith "KIOSK-"`,
	`device.operatingSystem -eq "Linux" -and device.isCompliant -eq True`,
}

func (t *Tenant) signals(c *policy.Conditions) {
	if t.percent(8) {
		c.SignInRiskLevels = []string{"high", "medium"}
	}
	if t.percent(5) {
		c.UserRiskLevels = []string{"high"}
	}
	if t.percent(2) {
		c.InsiderRiskLevels = []string{"elevated"}
	}
	if t.percent(3) {
		c.AuthenticationFlows = &policy.FlowCondition{TransferMethods: []string{"deviceCodeFlow", "authenticationTransfer"}}
	}
}

func (t *Tenant) grant() *policy.GrantControls {
	switch n := t.IntN(100); {
	case n < 25:
		return &policy.GrantControls{Operator: "OR", BuiltInControls: []string{"mfa"}}
	case n < 40:
		return &policy.GrantControls{Operator: "OR", BuiltInControls: []string{"compliantDevice", "domainJoinedDevice", "mfa"}}
	case n < 50:
		return &policy.GrantControls{Operator: "AND", BuiltInControls: []string{"mfa", "compliantDevice"}}
	case n < 60:
		return &policy.GrantControls{Operator: "OR", AuthenticationStrength: &policy.Strength{ID: pick(t.Generator, []string{policy.StrengthMFA, policy.StrengthPhishingResistant, "keys"})}}
	case n < 64:
		return &policy.GrantControls{Operator: "AND", BuiltInControls: []string{"mfa"}, TermsOfUse: []string{pick(t.Generator, termIDs)}}
	case n < 70:
		return nil
	}
	return &policy.GrantControls{Operator: "OR", BuiltInControls: []string{"block"}}
}

// narrow gives a blocking policy the conditions that such policies have: legacy
// clients, device code, some countries, platforms or risk.
func (t *Tenant) narrow(c *policy.Conditions) {
	switch t.IntN(5) {
	case 0:
		c.ClientAppTypes = []string{"exchangeActiveSync", "other"}
	case 1:
		c.AuthenticationFlows = &policy.FlowCondition{TransferMethods: []string{"deviceCodeFlow"}}
	case 2:
		c.Locations = &policy.LocationCondition{Include: []string{"country-RU", "country-KP"}}
	case 3:
		c.Platforms = &policy.PlatformCondition{Include: []string{"windowsPhone", "macOS"}}
	default:
		c.SignInRiskLevels = []string{"high"}
	}
}

func (t *Tenant) sessionControls() *policy.SessionControls {
	hours := pick(t.Generator, []int{12, 24, 72})
	return pick(t.Generator, []*policy.SessionControls{
		{SignInFrequency: &policy.SignInFrequency{IsEnabled: true, Type: "hours", Value: &hours, Interval: "timeBased"}},
		{PersistentBrowser: &policy.PersistentBrowser{IsEnabled: true, Mode: "never"}},
		{ApplicationEnforcedRestrictions: &policy.Switch{IsEnabled: true}},
		{CloudAppSecurity: &policy.CloudAppSecurity{IsEnabled: true, Type: "monitorOnly"}},
	})
}

// Employee is a user in some of the groups and one role.
func (t *Tenant) Employee(groups int) *policy.User {
	u := &policy.User{ID: guid(2, 1)}
	for i := range groups {
		u.Groups = append(u.Groups, t.Group(1+i*(tenantGroups-1)/max(groups, 1)))
	}
	return u
}

// Laptop is a company's compliant Linux laptop.
func (t *Tenant) Laptop() *policy.Device {
	return &policy.Device{
		ID: guid(4, 1), DisplayName: "LT-0815", Manufacturer: "LENOVO", Model: "ThinkPad X1", OperatingSystem: "Linux",
		OperatingSystemVersion: "24.04", Ownership: "Company", TrustType: policy.TrustJoined, Compliant: claims.Yes,
	}
}

// Office is a sign-in to Exchange Online from the office, with Windows Hello.
func (t *Tenant) Office() policy.SignIn {
	return policy.SignIn{
		AppID: "00000002-0000-0ff1-ce00-000000000000", ClientApp: policy.ClientMobileOrDesktop, Platform: policy.PlatformLinux,
		IP: netip.MustParseAddr("198.51.100.70"), Country: "DE", Methods: claims.WindowsHello,
		AcceptedTerms: termIDs, Now: now, AuthTime: now.Add(-time.Hour),
	}
}
