package policytest

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

// unmet returns the first condition of a policy that the sign-in does not
// meet. A condition that is broken is taken as met.
func (n *naive) unmet(p *policy.Policy, broken map[string]bool) policy.AnalysisReasons {
	c, in := &p.Conditions, n.in
	who := [...]string{"users", "workloads", "agents", "agentUsers"}[n.user.Kind]
	outOfReach := n.user.Kind == policy.IdentityWorkload && n.user.MultiTenant
	if n.user.Kind == policy.IdentityAgentUser && broken["users"] {
		who = "users"
	}
	if outOfReach || !broken[who] && !n.includes(c) {
		if nobody(c) {
			return policy.ReasonEmptyPolicy
		}
		return [...]policy.AnalysisReasons{policy.ReasonUsers, policy.ReasonWorkloadIdentities, policy.ReasonAgentIdentities, policy.ReasonAgentIdentities}[n.user.Kind]
	}
	if n.exempt() || !broken["applications"] && !n.targets(c.Applications) {
		switch {
		case in.Action != policy.ActionNone:
			return policy.ReasonUserActions
		case in.AuthContext != 0:
			return policy.ReasonAuthenticationContext
		}
		return policy.ReasonApplication
	}
	context := "none"
	if in.AgentEndpointUser {
		context = "agentUserSessionsInitiatedFromEndpoints"
	}
	for _, q := range []struct {
		dim    string
		match  bool
		reason policy.AnalysisReasons
	}{
		{"platforms", n.platform(c.Platforms), policy.ReasonDevicePlatform},
		{"devices", broken["devices"] || n.deviceMatches(c), policy.ReasonDevices},
		{"clientApps", n.client(c.ClientAppTypes), policy.ReasonClientApps},
		{"locations", broken["locations"] || n.location(c.Locations), policy.ReasonLocation},
		{"signInRisk", oneOf(c.SignInRiskLevels, in.SignInRisk.String()), policy.ReasonSignInRisk},
		{"userRisk", oneOf(c.UserRiskLevels, in.UserRisk.String()), policy.ReasonUserRisk},
		{"serviceRisk", oneOf(c.ServicePrincipalRiskLevels, in.ServicePrincipalRisk.String()), policy.ReasonWorkloadIdentities},
		{"insiderRisk", oneOf(c.InsiderRiskLevels, in.InsiderRisk.String()), policy.ReasonInsiderRisk},
		{"flows", c.AuthenticationFlows == nil || oneOf(c.AuthenticationFlows.TransferMethods, in.Flow.String()), policy.ReasonAuthenticationFlow},
		{"agentRisk", oneOf(c.AgentIDRiskLevels, in.AgentRisk.String()), policy.ReasonAgentIDRisk},
		{"agentContext", c.AgentContext == nil || oneOf(c.AgentContext.Include, context) && !listed(c.AgentContext.Exclude, context), policy.ReasonAgentIdentities},
	} {
		if !broken[q.dim] && !q.match {
			return q.reason
		}
	}
	return 0
}

func oneOf(list []string, value string) bool { return len(list) == 0 || listed(list, value) }

func nobody(c *policy.Conditions) bool {
	if c.ClientApplications != nil || c.Agents != nil {
		return false
	}
	u := c.Users
	return u == nil || len(u.IncludeGroups)+len(u.IncludeRoles) == 0 && u.IncludeGuests == nil &&
		!slices.ContainsFunc(u.IncludeUsers, func(s string) bool { return !strings.EqualFold(s, "none") })
}

func (n *naive) includes(c *policy.Conditions) bool {
	switch n.user.Kind {
	case policy.IdentityWorkload:
		if c.ClientApplications == nil || n.user.MultiTenant {
			return false
		}
		a := c.ClientApplications
		in, out := n.principal(a.Include, a.Exclude, a.Filter)
		return in && !out
	case policy.IdentityAgent:
		if c.ClientApplications == nil {
			return false
		}
		a := c.ClientApplications
		in, out := n.principal(a.IncludeAgents, a.ExcludeAgents, a.AgentFilter)
		return in && !out
	case policy.IdentityAgentUser:
		return n.agentUser(c)
	}
	u := c.Users
	if u == nil {
		return false
	}
	in := n.person(u.IncludeUsers, u.IncludeGroups, u.IncludeRoles, u.IncludeGuests)
	if !in && n.inSharedChannel() {
		in = n.guest(u.IncludeGuests, n.otherGuest())
		if n.otherGuest() != policy.GuestNone && listed(u.IncludeUsers, "GuestsOrExternalUsers") {
			in = true
		}
	}
	return in && !n.person(u.ExcludeUsers, u.ExcludeGroups, u.ExcludeRoles, u.ExcludeGuests)
}

// agentUser says whether the user account of an agent is selected: among agents,
// or by the word for all of them among users.
func (n *naive) agentUser(c *policy.Conditions) bool {
	var in, out bool
	if c.Agents != nil {
		in, out = n.principal(c.Agents.IncludeUsers, c.Agents.ExcludeUsers, c.Agents.Filter)
	}
	if u := c.Users; u != nil {
		in = in || listed(u.IncludeUsers, "AllAgentIdUsers")
		out = out || listed(u.ExcludeUsers, "AllAgentIdUsers")
	}
	return in && !out
}

func (n *naive) inSharedChannel() bool {
	return n.otherGuest() != policy.GuestNone && n.forApp() &&
		listed([]string{"cc15fd57-2c6c-4117-a88c-83b1d56b4bbe", "00000003-0000-0ff1-ce00-000000000000"}, n.app())
}

// otherGuest is the type of guest that the user also counts as in shared
// channels.
func (n *naive) otherGuest() policy.GuestType {
	switch n.user.Guest {
	case policy.GuestB2BCollaboration, policy.GuestB2BMember:
		return policy.GuestB2BDirectConnect
	case policy.GuestB2BDirectConnect:
		if n.user.GuestAccount {
			return policy.GuestB2BCollaboration
		}
	}
	return policy.GuestNone
}

func (n *naive) person(users, groups, roles []string, guests *policy.GuestCondition) bool {
	u := n.user
	if listed(users, "All") || listed(users, u.ID) {
		return true
	}
	if listed(users, "GuestsOrExternalUsers") && u.Guest != policy.GuestNone {
		return true
	}
	for _, g := range u.Groups {
		if listed(groups, g) {
			return true
		}
	}
	for _, r := range u.Roles {
		if listed(roles, r) {
			return true
		}
	}
	return n.guest(guests, u.Guest)
}

func (n *naive) guest(g *policy.GuestCondition, t policy.GuestType) bool {
	if g == nil || t == policy.GuestNone || !listed(g.Types, t.String()) {
		return false
	}
	return g.Tenants == nil || g.Tenants.MembershipKind == "all" || listed(g.Tenants.Members, n.user.HomeTenant)
}

func (n *naive) principal(include, exclude []string, f *policy.Filter) (in, out bool) {
	u := n.user
	any := func(list []string) bool {
		return listed(list, "All") || listed(list, "ServicePrincipalsInMyTenant") || listed(list, u.ID) ||
			u.Kind == policy.IdentityAgent && listed(list, u.Blueprint)
	}
	in, out = any(include), any(exclude)
	if f != nil && rule(f.Rule, nil, u.Attributes) {
		if f.Mode == "include" {
			in = true
		} else {
			out = true
		}
	}
	return in, out
}

func (n *naive) forApp() bool { return n.in.Action == policy.ActionNone && n.in.AuthContext == 0 }

var profiles = map[policy.TrafficProfile]string{
	policy.TrafficInternet: "internet", policy.TrafficMicrosoft365: "m365", policy.TrafficPrivate: "private",
}

var profileApps = map[string]string{
	"internet": "5dc48733-b5df-475c-a49b-fa307ef00853",
	"m365":     "c08f52c9-8f03-4558-a0ea-9a4c878cf343",
	"private":  "e92b9b37-1b47-4c01-9fbc-91d84450870e",
}

// app is the application that the request is judged as.
func (n *naive) app() string {
	switch {
	case n.in.Traffic != policy.TrafficNone:
		return profileApps[profiles[n.in.Traffic]]
	case !n.baseline() || n.o.LegacyBaselineScopes:
		return n.in.AppID
	case n.o.BaselineApp != "":
		return n.o.BaselineApp
	}
	return "00000002-0000-0000-c000-000000000000"
}

// exempt says whether an agent exchanges tokens on the way to another one, to
// which no policy applies.
func (n *naive) exempt() bool {
	return n.user.Kind == policy.IdentityAgent && n.forApp() && strings.EqualFold(n.app(), "fb60f99c-7a34-4190-8149-302f77469936")
}

// baseline says whether nothing but baseline scopes are asked for; a
// confidential client that signs a user in is a resource itself.
func (n *naive) baseline() bool {
	return n.in.Scopes != policy.AnyScopes && !(n.in.Confidential && n.in.Scopes == policy.OpenIDScopes)
}

func (n *naive) targets(a *policy.ApplicationCondition) bool {
	in := n.in
	empty := a == nil || len(a.Include)+len(a.UserActions)+len(a.AuthContexts) == 0 && a.GlobalSecureAccess == nil &&
		(a.Filter == nil || a.Filter.Mode == "exclude")
	all := empty || listed(a.Include, "All")
	switch {
	case in.Action == policy.ActionRegisterSecurityInfo:
		return all || listed(a.UserActions, "urn:user:registersecurityinfo")
	case in.Action == policy.ActionRegisterDevice:
		return a != nil && listed(a.UserActions, "urn:user:registerdevice")
	case in.AuthContext != 0:
		return a != nil && listed(a.AuthContexts, "c"+strconv.Itoa(in.AuthContext))
	case a == nil:
		return true
	}
	shortList := in.Scopes == policy.OpenIDScopes || in.Scopes == policy.UserScopes
	if n.o.LegacyBaselineScopes && shortList && !in.Confidential && all && (len(a.Exclude) > 0 || a.Filter != nil) {
		return false
	}
	include, exclude := all || n.appOn(a.Include), n.appOn(a.Exclude) || listed(a.Exclude, "All")
	if g := a.GlobalSecureAccess; g != nil {
		for _, p := range g.Profiles {
			include = include || strings.EqualFold(profileApps[strings.ToLower(p)], n.app())
		}
	}
	if a.Filter != nil && rule(a.Filter.Rule, nil, in.AppAttributes) {
		if a.Filter.Mode == "include" {
			include = true
		} else {
			exclude = true
		}
	}
	return include && !exclude
}

func (n *naive) appOn(list []string) bool {
	if n.in.AgentResource && listed(list, "AllAgentIdResources") {
		return true
	}
	for name, ids := range n.o.AppGroups {
		if listed(list, name) && listed(ids, n.app()) {
			return true
		}
	}
	_, group := n.o.AppGroups[strings.ToLower(n.app())]
	return listed(list, n.app()) && !group
}

func (n *naive) platform(l *policy.PlatformCondition) bool {
	if l == nil {
		return true
	}
	name := n.in.Platform.String()
	on := func(list []string) bool { return listed(list, "all") || name != "unknown" && listed(list, name) }
	return (len(l.Include) == 0 || on(l.Include)) && !on(l.Exclude)
}

func (n *naive) client(list []string) bool {
	four := listed(list, "browser") && listed(list, "mobileAppsAndDesktopClients") && listed(list, "exchangeActiveSync") && listed(list, "other")
	if len(list) == 0 || listed(list, "all") || four {
		return true
	}
	switch n.in.ClientApp {
	case policy.ClientBrowser:
		return listed(list, "browser") || listed(list, "modern")
	case policy.ClientMobileOrDesktop:
		return listed(list, "mobileAppsAndDesktopClients") || listed(list, "modern")
	case policy.ClientExchangeActiveSync:
		return listed(list, "exchangeActiveSync") || listed(list, "easUnsupported")
	case policy.ClientExchangeActiveSyncOK:
		return listed(list, "exchangeActiveSync") || listed(list, "easSupported")
	case policy.ClientOther:
		return listed(list, "other")
	}
	return false
}

func (n *naive) deviceMatches(c *policy.Conditions) bool {
	d := n.device()
	on := func(list []string) bool {
		return listed(list, "All") || compliant(d) && listed(list, "Compliant") || hybrid(d) && listed(list, "DomainJoined")
	}
	match := func(include, exclude []string) bool { return (len(include) == 0 || on(include)) && !on(exclude) }
	if s := c.DeviceStates; s != nil && !match(s.Include, s.Exclude) {
		return false
	}
	k := c.Devices
	if k == nil {
		return true
	}
	if !match(k.Include, k.Exclude) || !match(k.IncludeStates, k.ExcludeStates) {
		return false
	}
	return k.Filter == nil || n.filterUndecided(k.Filter) || rule(k.Filter.Rule, d, nil) == (k.Filter.Mode == "include")
}

// undecided says whether a device filter compares an extension attribute that
// the directory does not hand out, in a way for which the documentation
// contradicts itself.
func (n *naive) undecided(p *policy.Policy) bool {
	k := p.Conditions.Devices
	return k != nil && k.Filter != nil && n.filterUndecided(k.Filter)
}

func (n *naive) filterUndecided(f *policy.Filter) bool {
	d := n.device()
	if d == nil || d.Managed || d.Compliant == claims.Yes || hybrid(d) {
		return false
	}
	return ruleByTable(f.Rule, d) != rule(f.Rule, d, nil)
}

func (n *naive) location(l *policy.LocationCondition) bool {
	if l == nil {
		return true
	}
	on := func(list []string) bool { return slices.ContainsFunc(list, n.inside) }
	return (len(l.Include) == 0 || on(l.Include)) && !on(l.Exclude)
}

// inside says whether the sign-in lies in a named location.
func (n *naive) inside(id string) bool {
	const trustedIPs, compliantNetworks = "00000000-0000-0000-0000-000000000000", "3d46dbda-8382-466a-856d-eb00cbc6b910"
	if strings.EqualFold(id, "All") {
		return true
	}
	trusted := slices.ContainsFunc(n.o.TrustedIPs, func(p netip.Prefix) bool { return p.Contains(n.in.IP.Unmap()) }) || listed(n.locations, trustedIPs)
	if strings.EqualFold(id, "AllTrusted") {
		return trusted || slices.ContainsFunc(n.b.Locations, func(l policy.NamedLocation) bool {
			return l.IsTrusted && l.Kind != policy.CountryLocation && n.within(&l)
		})
	}
	for i := range n.b.Locations {
		if strings.EqualFold(n.b.Locations[i].ID, id) {
			return n.within(&n.b.Locations[i])
		}
	}
	return strings.EqualFold(id, trustedIPs) && trusted || strings.EqualFold(id, compliantNetworks) && (n.in.CompliantNetwork || listed(n.locations, id))
}

func (n *naive) within(l *policy.NamedLocation) bool {
	if listed(n.locations, l.ID) {
		return true
	}
	switch l.Kind {
	case policy.IPLocation:
		return slices.ContainsFunc(l.Ranges, func(r string) bool { return inRange(n.in.IP, r) })
	case policy.CountryLocation:
		country := n.in.Country
		if l.LookupMethod == "authenticatorAppGps" {
			if n.in.GPSCountry == "" {
				return false
			}
			country = n.in.GPSCountry
		}
		if len(country) != 2 || country == policy.UnknownCountry {
			return l.IncludeUnknown
		}
		return listed(l.Countries, country)
	case policy.CompliantNetworkLocation:
		return n.in.CompliantNetwork
	}
	return false
}

func inRange(a netip.Addr, r string) bool {
	if p, err := netip.ParsePrefix(r); err == nil {
		if p.Addr().Is4In6() {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		return a.IsValid() && p.Masked().Contains(a.Unmap())
	}
	lo, up, _ := strings.Cut(r, "-")
	first, err1 := netip.ParseAddr(lo)
	last, err2 := netip.ParseAddr(up)
	a = a.Unmap()
	return err1 == nil && err2 == nil && a.BitLen() == first.BitLen() && !a.Less(first) && !last.Less(a)
}
