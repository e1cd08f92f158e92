package policy

func isAll(s string) bool  { return equalASCII(s, "All") }
func isNone(s string) bool { return equalASCII(s, "None") }

const (
	legacyGuests  = "GuestsOrExternalUsers"
	allAgentUsers = "AllAgentIdUsers"
)

// users fills the selectors of people. A policy whose users are empty or None
// includes no people; policies for workloads or agents look like that.
func (c *compiler) users(i int) {
	u := c.policies[i].Conditions.Users
	if c.relaxed[dimUsers].has(i) {
		c.people.base.inc.set(i)
		c.agentUsers.base.inc.set(i)
		return
	}
	if u == nil {
		return
	}
	c.userIDs(i, u.IncludeUsers, false)
	c.userIDs(i, u.ExcludeUsers, true)
	c.mentions(c.groups, i, u.IncludeGroups, false)
	c.mentions(c.groups, i, u.ExcludeGroups, true)
	c.mentions(c.roles, i, u.IncludeRoles, false)
	c.mentions(c.roles, i, u.ExcludeRoles, true)
	c.guestTypes(i, u.IncludeGuests, false)
	c.guestTypes(i, u.ExcludeGuests, true)
}

func (c *compiler) userIDs(i int, ids []string, exclude bool) {
	for _, id := range ids {
		switch {
		case isAll(id):
			c.people.base.put(i, exclude)
		case isNone(id), id == "":
		case equalASCII(id, legacyGuests):
			for _, g := range c.guests[GuestInternal:] {
				g.base.put(i, exclude)
			}
		case equalASCII(id, allAgentUsers):
			if !c.relaxed[dimAgentUsers].has(i) { // else all of them may be selected
				c.agentUsers.base.put(i, exclude)
			}
		default:
			c.people.mention(c.ids.intern(id), i, exclude)
		}
	}
}

func (c *compiler) mentions(s *selector, i int, ids []string, exclude bool) {
	for _, id := range ids {
		if id != "" {
			s.mention(c.ids.intern(id), i, exclude)
		}
	}
}

func (c *compiler) guestTypes(i int, g *GuestCondition, exclude bool) {
	if g == nil {
		return
	}
	for _, name := range g.Types {
		t := member(guestNames, name)
		if t <= 0 {
			continue
		}
		if g.Tenants == nil || isAll(g.Tenants.MembershipKind) {
			c.guests[t].base.put(i, exclude)
			continue
		}
		c.mentions(c.guests[t], i, g.Tenants.Members, exclude)
	}
}

// clientApplications fills the selectors of workloads, agents and agents'
// user accounts.
func (c *compiler) clientApplications(i int) {
	if a := c.policies[i].Conditions.ClientApplications; a != nil {
		c.principals(c.workloads, i, dimWorkloads, a.Include, a.Exclude, a.Filter)
		c.principals(c.agents, i, dimAgents, a.IncludeAgents, a.ExcludeAgents, a.AgentFilter)
	}
	if a := c.policies[i].Conditions.Agents; a != nil && !c.relaxed[dimUsers].has(i) {
		c.principals(c.agentUsers, i, dimAgentUsers, a.IncludeUsers, a.ExcludeUsers, a.Filter)
	}
}

const allWorkloads = "ServicePrincipalsInMyTenant"

func (c *compiler) principals(s *selector, i int, dim dimension, include, exclude []string, f *Filter) {
	if c.relaxed[dim].has(i) {
		s.base.inc.set(i)
		return
	}
	for _, list := range [...]struct {
		ids     []string
		exclude bool
	}{{include, false}, {exclude, true}} {
		for _, id := range list.ids {
			switch {
			case isAll(id), equalASCII(id, allWorkloads):
				s.base.put(i, list.exclude)
			case isNone(id), id == "":
			default:
				s.mention(c.ids.intern(id), i, list.exclude)
			}
		}
	}
	if f != nil {
		s.filters.add(c.rule(f), i, equalASCII(f.Mode, "exclude"))
	}
}
