package policy

import (
	"fmt"
	"slices"
)

// RuleMatch is a rule of a policy that a sign-in matches, in the words of the
// sign-in log (conditionalAccessRuleSatisfied).
type RuleMatch struct {
	Condition string // users, application, devicePlatform, location, deviceState, authenticationFlows, insiderRisk
	Satisfied string // allUsers, groupId, appId, office365, locationId …
	Value     string // the id, name or rule that matched; "" where Satisfied says it all
}

// A matcher finds the rules of one policy that a sign-in matches, in the
// tables that the policy was compiled into.
type matcher struct {
	*Set
	f      *facts
	policy int
	x      *PolicyExplanation
}

func (m *matcher) rules() {
	m.identity()
	m.target()
	m.platform()
	m.location()
	m.device()
	m.flags()
}

func (m *matcher) add(exclude bool, condition, satisfied, value string) {
	r := RuleMatch{condition, satisfied, value}
	if exclude {
		m.x.Exclude = append(m.x.Exclude, r)
	} else {
		m.x.Include = append(m.x.Include, r)
	}
}

func (m *matcher) user() *User {
	if sub := m.f.in.Subject; sub != nil {
		return &sub.user
	}
	return m.f.in.User
}

func (m *matcher) identity() {
	u := m.user()
	switch u.Kind {
	case IdentityPerson:
		m.person(u)
	case IdentityWorkload:
		m.principal(m.workloads, u, "servicePrincipals")
	case IdentityAgent:
		m.principal(m.agents, u, "servicePrincipals")
	default:
		m.principal(m.agentUsers, u, "users")
	}
}

func (m *matcher) person(u *User) {
	m.base(m.people.base, "users", "allUsers")
	m.id(m.people, m.ids.find(u.ID), "users", "userId")
	for _, id := range u.Groups {
		m.id(m.groups, m.ids.find(id), "users", "groupId")
	}
	for _, sym := range u.GroupSymbols {
		m.id(m.groups, uint32(sym), "users", "groupId")
	}
	for _, id := range u.Roles {
		m.id(m.roles, m.ids.find(id), "users", "roleId")
	}
	for _, sym := range u.RoleSymbols {
		m.id(m.roles, uint32(sym), "users", "roleId")
	}
	m.base(m.guests[u.Guest].base, "users", guestNames[u.Guest])
	m.id(m.guests[u.Guest], m.ids.find(u.HomeTenant), "users", guestNames[u.Guest])
	if other := u.alsoGuest(); m.sharedApp(m.f.app) {
		n := len(m.x.Exclude)
		m.base(m.guests[other].base, "users", guestNames[other])
		m.id(m.guests[other], m.ids.find(u.HomeTenant), "users", guestNames[other])
		m.x.Exclude = m.x.Exclude[:n] // only the inclusions reach another type
	}
}

func (m *matcher) principal(s *selector, u *User, condition string) {
	if u.MultiTenant && u.Kind == IdentityWorkload {
		return
	}
	m.base(s.base, condition, "allUsers")
	m.id(s, m.ids.find(u.ID), condition, "userId")
	if u.Kind == IdentityAgent {
		m.id(s, m.ids.find(u.Blueprint), condition, "userId")
	}
	m.filters(s, u.Attributes, condition, "appFilter")
}

func (m *matcher) base(p pair, condition, satisfied string) {
	if p.inc.has(m.policy) {
		m.add(false, condition, satisfied, "")
	}
	if p.exc.has(m.policy) {
		m.add(true, condition, satisfied, "")
	}
}

func (m *matcher) id(s *selector, sym uint32, condition, satisfied string) {
	for _, p := range s.posts[s.local(sym)] {
		if int(p.policy) == m.policy {
			m.add(p.exclude, condition, satisfied, m.ids.ids[sym])
		}
	}
}

func (m *matcher) filters(s *selector, attrs []Attribute, condition, satisfied string) {
	s.filters.of(m.policy, func(rule *FilterRule, exclude bool) {
		if rule.MatchAttributes(attrs) {
			m.add(exclude, condition, satisfied, rule.String())
		}
	})
}

func (m *matcher) target() {
	in := m.f.in
	switch {
	case in.Action != ActionNone:
		if m.actions.row(int(in.Action)).has(m.policy) {
			m.action(userActionNames[in.Action])
		}
	case in.AuthContext != 0:
		if m.contexts.row(in.AuthContext).has(m.policy) {
			m.add(false, "application", "acr", fmt.Sprintf("c%d", in.AuthContext))
		}
	case !m.f.exempt:
		m.app()
	}
}

func (m *matcher) action(name string) {
	a := m.policies[m.policy].Conditions.Applications
	if a != nil && containsID(a.UserActions, name) {
		m.add(false, "application", "appId", name)
		return
	}
	m.add(false, "application", "allApps", "")
}

func (m *matcher) app() {
	m.base(m.apps.base, "application", "allApps")
	a := m.policies[m.policy].Conditions.Applications
	for _, p := range m.apps.posts[m.apps.local(m.f.app)] {
		if int(p.policy) != m.policy || a == nil {
			continue
		}
		list := a.Include
		if p.exclude {
			list = a.Exclude
		}
		satisfied, value := m.appRule(list, m.ids.ids[m.f.app])
		m.add(p.exclude, "application", satisfied, value)
	}
	if m.f.escape && m.escape.has(m.policy) {
		m.add(true, "application", "allApps", "baseline scopes")
	}
	if m.f.in.AgentResource {
		m.base(m.agentApps, "application", "appId")
	}
	m.filters(m.apps, m.f.in.AppAttributes, "application", "appFilter")
}

// appRule says how an application is on a list: by its own id or by the name of
// a group.
func (m *matcher) appRule(list []string, id string) (satisfied, value string) {
	switch {
	case containsID(list, id):
		return "appId", id
	case containsID(list, Office365):
		return "office365", ""
	case containsID(list, MicrosoftAdminPortals):
		return "microsoftAdminPortals", ""
	}
	return "appId", id
}

func (m *matcher) platform() {
	l := m.policies[m.policy].Conditions.Platforms
	if l == nil {
		return
	}
	name := platformNames[m.f.in.Platform]
	for i, list := range [...][]string{l.Include, l.Exclude} {
		exclude := i == 1
		switch {
		case slices.ContainsFunc(list, isAll):
			m.add(exclude, "devicePlatform", "allDevicePlatforms", "")
		case containsID(list, name):
			m.add(exclude, "devicePlatform", "devicePlatform", name)
		}
	}
}

func (m *matcher) location() {
	l := m.policies[m.policy].Conditions.Locations
	if l == nil {
		return
	}
	for i, list := range [...][]string{l.Include, l.Exclude} {
		exclude := i == 1
		for _, id := range list {
			switch {
			case isAll(id):
				m.add(exclude, "location", "allLocations", "")
			case isAllTrusted(id):
				if slices.ContainsFunc(m.places(), func(n int) bool { return m.locations.places[n].trusted }) {
					m.add(exclude, "location", "allTrustedLocations", "")
				}
			default:
				n, ok := m.locations.bySymbol[m.ids.find(id)]
				if ok && slices.Contains(m.places(), n) {
					m.add(exclude, "location", "locationId", id)
				}
			}
		}
	}
}

// places returns the named locations that the sign-in lies in.
func (m *matcher) places() []int {
	in, t := m.f.in, &m.locations
	set, _ := t.regions.find(in.IP)
	places := slices.Concat(t.members[set], t.members[t.country(in.Country)])
	if in.GPSCountry != "" {
		places = append(places, t.members[t.gps(in.GPSCountry)]...)
	}
	if in.CompliantNetwork {
		places = append(places, t.members[t.network]...)
	}
	for _, sym := range in.Locations {
		if n, ok := t.bySymbol[uint32(sym)]; ok {
			places = append(places, n)
		}
	}
	return places
}

func (m *matcher) device() {
	k := &m.policies[m.policy].Conditions
	d := m.f.in.Device
	if e := m.f.in.Endpoint; e != nil {
		d = e.device
	}
	if !m.f.carriesDevice() {
		d = nil
	}
	if k.Devices != nil && k.Devices.Filter != nil && m.Evaluable(m.policy) {
		f := k.Devices.Filter
		r, err := ParseFilterRule(f.Rule)
		exclude := equalASCII(f.Mode, "exclude")
		switch {
		case err != nil:
		case r.MatchDevice(d):
			m.add(exclude, "deviceState", "deviceFilter", f.Rule)
		case !exclude:
			m.add(true, "deviceState", "deviceFilterIncludeRuleNotMatched", f.Rule)
		}
	}
	if k.Devices != nil && len(k.Devices.Include)+len(k.Devices.Exclude)+len(k.Devices.IncludeStates)+len(k.Devices.ExcludeStates) > 0 || k.DeviceStates != nil {
		m.add(!k.deviceState(deviceState(d)), "deviceState", "deviceState", "")
	}
}

// flags are the conditions that are lists of one value's names.
func (m *matcher) flags() {
	k, in := &m.policies[m.policy].Conditions, m.f.in
	if f := k.AuthenticationFlows; f != nil && containsID(f.TransferMethods, flowNames[in.Flow]) {
		m.add(false, "authenticationFlows", flowNames[in.Flow], "")
	}
	if containsID(k.InsiderRiskLevels, insiderNames[in.InsiderRisk]) {
		m.add(false, "insiderRisk", "insiderRisk", insiderNames[in.InsiderRisk])
	}
}
