package benchpeers

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/prtbroker/prtbroker/policy"
)

// Sizes of the directory that tenants are drawn from.
const (
	manyGroups    = 2000
	manyApps      = 300
	manyUsers     = 500
	manyLocations = 60
	manyRoles     = 40
	bundleSize    = 60 // applications of a suite, named one by one by a policy
)

const breakGlass = "group-break-glass"

// phishingResistant is a strength that every tenant has; onboarding is this
// tenant's own.
const (
	phishingResistant = "00000000-0000-0000-0000-000000000004"
	onboarding        = "strength-onboarding"
)

func groupID(i int) string    { return fmt.Sprintf("5b0c%04x-1d1e-4f6e-9a53-%012x", i, i) }
func appID(i int) string      { return fmt.Sprintf("a9d7%04x-6c55-4c0b-8b0e-%012x", i, i) }
func userID(i int) string     { return fmt.Sprintf("c3e1%04x-02aa-4d0f-8c4d-%012x", i, i) }
func locationID(i int) string { return fmt.Sprintf("10ca%04x-77b1-4d2a-9d53-%012x", i, i) }
func roleID(i int) string     { return fmt.Sprintf("401e%04x-8e0f-4b0a-bb1d-%012x", i, i) }

var bundles = [2][]string{suite(0), suite(1)}

func suite(n int) []string {
	ids := make([]string, bundleSize)
	for i := range ids {
		ids[i] = appID(n*bundleSize + i)
	}
	return ids
}

// Tenant is a set of policies in the proportions of public exports, the same
// for the same size.
func Tenant(policies int) *policy.Bundle {
	r := rand.New(rand.NewPCG(240, uint64(policies)))
	b := &policy.Bundle{Strengths: []policy.Strength{{
		ID: onboarding, DisplayName: "Onboarding", PolicyType: "custom", RequirementsSatisfied: "mfa",
		AllowedCombinations: []string{"windowsHelloForBusiness", "fido2", "password,microsoftAuthenticatorPush"},
	}}}
	for i := range manyLocations {
		b.Locations = append(b.Locations, policy.NamedLocation{
			Kind: policy.IPLocation, ID: locationID(i), DisplayName: fmt.Sprint("site ", i),
			IsTrusted: trusted(i), Ranges: ranges(i),
		})
	}
	for i := range policies {
		b.Policies = append(b.Policies, draw(r, i))
	}
	return b
}

func trusted(location int) bool { return location%4 == 0 }

// ranges gives a location 20 networks; neighbours overlap, as sites and their
// countries do.
func ranges(location int) []string {
	out := make([]string, 20)
	for i := range out {
		out[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(location/2 + i), byte(location), 0}), 23).Masked().String()
	}
	return out
}

func draw(r *rand.Rand, i int) policy.Policy {
	p := policy.Policy{
		ID: fmt.Sprintf("policy-%04d", i), DisplayName: fmt.Sprintf("CA%04d", i), State: policy.StateEnabled,
		Conditions: policy.Conditions{Users: users(r), Applications: applications(r)},
	}
	if chance(r, 5) {
		p.State = policy.StateReportOnly
	} else if chance(r, 3) {
		p.State = policy.StateDisabled
	}
	c := &p.Conditions
	if chance(r, 50) {
		c.ClientAppTypes = pick(r, [][]string{{"browser"}, {"mobileAppsAndDesktopClients"}, {"browser", "mobileAppsAndDesktopClients"}, {"exchangeActiveSync", "other"}})
	}
	if chance(r, 35) {
		c.Platforms = pick(r, []*policy.PlatformCondition{
			{Include: []string{"windows"}}, {Include: []string{"android", "iOS"}}, {Include: []string{"macOS", "linux"}},
			{Include: []string{"all"}, Exclude: []string{"android", "iOS"}}, {Include: []string{"all"}, Exclude: []string{"windows", "macOS", "android", "iOS"}},
		})
	}
	if chance(r, 40) {
		c.Locations = pick(r, []*policy.LocationCondition{
			{Include: []string{"All"}, Exclude: []string{"AllTrusted"}},
			{Include: some(r, 3, manyLocations, locationID)},
			{Include: []string{"All"}, Exclude: some(r, 3, manyLocations, locationID)},
		})
	}
	if chance(r, 8) {
		c.SignInRiskLevels = pick(r, [][]string{{"high"}, {"medium", "high"}})
	}
	if chance(r, 4) {
		c.UserRiskLevels = []string{"high"}
	}
	if chance(r, 3) {
		c.AuthenticationFlows = &policy.FlowCondition{TransferMethods: policy.Flags{"deviceCodeFlow"}}
	}
	if chance(r, 8) {
		c.Devices = &policy.DeviceCondition{Filter: &policy.Filter{Mode: "exclude", Rule: `device.extensionAttribute1 -eq "` + privileged + `"`}}
	}
	p.GrantControls = grant(r, c)
	return p
}

// privileged marks a workstation for administrators.
const privileged = "PAW"

func users(r *rand.Rand) *policy.UserCondition {
	u := &policy.UserCondition{ExcludeGroups: []string{breakGlass}}
	if chance(r, 20) {
		u.ExcludeGroups = append(u.ExcludeGroups, some(r, 3, manyGroups, groupID)...)
	}
	switch n := r.IntN(100); {
	case n < 25:
		u.IncludeUsers = []string{"All"}
	case n < 33:
		u.IncludeRoles = some(r, 6, manyRoles, roleID)
	case n < 38:
		u.IncludeUsers = some(r, 4, manyUsers, userID)
	case n < 45:
		u.IncludeGuests = &policy.GuestCondition{Types: policy.Flags{"b2bCollaborationGuest", "b2bCollaborationMember"}}
	default:
		u.IncludeGroups = some(r, 5, manyGroups, groupID)
	}
	return u
}

func applications(r *rand.Rand) *policy.ApplicationCondition {
	a := &policy.ApplicationCondition{}
	switch n := r.IntN(100); {
	case n < 55:
		a.Include = []string{"All"}
		if chance(r, 20) {
			a.Exclude = some(r, 2, manyApps, appID)
		}
	case n < 75:
		a.Include = bundles[r.IntN(len(bundles))]
	default:
		a.Include = some(r, 4, manyApps, appID)
	}
	return a
}

// grant draws controls; a policy that blocks does so under conditions, or
// nobody could work in this tenant.
func grant(r *rand.Rand, c *policy.Conditions) *policy.GrantControls {
	narrow := c.Locations != nil || len(c.SignInRiskLevels) > 0 || c.AuthenticationFlows != nil || len(c.UserRiskLevels) > 0
	if narrow && c.Platforms != nil && chance(r, 40) {
		return &policy.GrantControls{Operator: "OR", BuiltInControls: []string{"block"}}
	}
	switch n := r.IntN(100); {
	case n < 55:
		return &policy.GrantControls{Operator: "OR", BuiltInControls: []string{"mfa"}}
	case n < 65:
		return &policy.GrantControls{Operator: "OR", BuiltInControls: []string{"compliantDevice"}}
	case n < 75:
		return &policy.GrantControls{Operator: "OR", BuiltInControls: []string{"mfa", "compliantDevice"}}
	case n < 83:
		return &policy.GrantControls{Operator: "OR", BuiltInControls: []string{"compliantDevice", "domainJoinedDevice"}}
	case n < 88:
		return &policy.GrantControls{Operator: "AND", BuiltInControls: []string{"mfa", "compliantDevice"}}
	case n < 92:
		return &policy.GrantControls{Operator: "AND", BuiltInControls: []string{"mfa"}, TermsOfUse: []string{"terms-1"}}
	case n < 96:
		return &policy.GrantControls{Operator: "OR", AuthenticationStrength: &policy.Strength{ID: onboarding}}
	}
	return &policy.GrantControls{Operator: "OR", AuthenticationStrength: &policy.Strength{ID: phishingResistant}}
}

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

// some draws 1 to most distinct ids.
func some(r *rand.Rand, most, of int, id func(int) string) []string {
	var out []string
	seen := map[int]bool{}
	for range 1 + r.IntN(most) {
		if i := r.IntN(of); !seen[i] {
			seen[i] = true
			out = append(out, id(i))
		}
	}
	return out
}
