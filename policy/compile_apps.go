package policy

import "slices"

// maxAppCells bounds the memory of precomputed application rows: 8 MiB.
const maxAppCells = 1 << 18

// Applications that the engine itself asks about.
const (
	appBaseline = iota // what requests for baseline scopes are judged as
	appTeams
	appSharePoint
	appEnrolment     // Microsoft Intune Enrollment
	appTokenExchange // AAD Token Exchange Endpoint: Public
	appTraffic       // and one for each other TrafficProfile
	wellKnownApps    = appTraffic + int(TrafficPrivate)
)

// trafficApp is the symbol of the application that stands for a profile.
func (s *Set) trafficApp(t TrafficProfile) uint32 { return s.wellKnown[appTraffic+int(t)-1] }

func (c *compiler) collectApps() {
	c.actions = newMatrix(int(ActionRegisterDevice)+1, c.blocks)
	c.contexts = newMatrix(maxAuthContext+1, c.blocks)
	c.agentApps = pair{newRow(c.blocks), newRow(c.blocks)}
	c.escape, c.ownStrength = newRow(c.blocks), newRow(c.blocks)
	baseline := c.opt.baselineApp
	if baseline == "" {
		baseline = windowsAzureAD
	}
	if !c.legacy {
		c.baseline = baseline
	}
	for i, id := range [wellKnownApps]string{
		appBaseline: baseline, appTeams: teamsID, appSharePoint: sharePointID, appEnrolment: intuneEnrolment, appTokenExchange: tokenExchange,
		appTraffic: trafficIDs[TrafficInternet], appTraffic + 1: trafficIDs[TrafficMicrosoft365], appTraffic + 2: trafficIDs[TrafficPrivate],
	} {
		c.wellKnown[i] = c.ids.intern(id)
	}
}

// applications fills the selector of applications, including the traffic
// profiles, and the rows of user actions and authentication contexts. A policy
// that configures nothing here targets all applications.
func (c *compiler) applications(i int) {
	a := c.policies[i].Conditions.Applications
	if c.relaxed[dimApplications].has(i) {
		c.apps.base.inc.set(i)
		for t := range ActionRegisterDevice + 1 {
			c.actions.row(int(t)).set(i)
		}
		for n := range maxAuthContext + 1 {
			c.contexts.row(n).set(i)
		}
		return
	}
	all := a.everything()
	if all {
		c.apps.base.inc.set(i)
		c.actions.row(int(ActionRegisterSecurityInfo)).set(i)
	}
	if a == nil {
		return
	}
	c.appIDs(i, a.Include, false)
	c.appIDs(i, a.Exclude, true)
	if f := a.Filter; f != nil {
		c.apps.filters.add(c.rule(f), i, equalASCII(f.Mode, "exclude"))
	}
	c.escape.put(i, all && (len(a.Exclude) > 0 || a.Filter != nil))
	for _, s := range a.UserActions {
		t := member(userActionNames, s)
		c.actions.row(t).set(i)
		g := c.policies[i].GrantControls
		if t == int(ActionRegisterSecurityInfo) && g != nil && g.AuthenticationStrength != nil {
			c.ownStrength.set(i)
			c.hasOwnStrength = true
		}
	}
	if t := a.GlobalSecureAccess; t != nil {
		for _, s := range t.Profiles {
			c.apps.mention(c.trafficApp(TrafficProfile(member(trafficNames, s))), i, false)
		}
	}
	for _, s := range a.AuthContexts {
		c.contexts.row(authContext(s)).set(i)
	}
}

// everything says whether the condition includes all applications: it says so,
// or it includes nothing by name and so is not configured.
func (a *ApplicationCondition) everything() bool {
	if a == nil {
		return true
	}
	if slices.ContainsFunc(a.Include, isAll) {
		return true
	}
	return len(a.Include) == 0 && len(a.UserActions) == 0 && len(a.AuthContexts) == 0 && a.GlobalSecureAccess == nil &&
		(a.Filter == nil || equalASCII(a.Filter.Mode, "exclude"))
}

func (c *compiler) appIDs(i int, ids []string, exclude bool) {
	for _, id := range ids {
		group, isGroup := c.opt.groups[lower(id)]
		switch {
		case isAll(id):
			if exclude {
				c.apps.base.exc.set(i)
			}
		case isNone(id), id == "":
		case isGroup:
			c.mentions(c.apps, i, group, exclude)
		case equalASCII(id, allAgentResources):
			c.agentApps.put(i, exclude)
		default:
			c.apps.mention(c.ids.intern(id), i, exclude)
		}
	}
}

func (c *compiler) sealApps() {
	if values := len(c.apps.posts); values*c.blocks <= maxAppCells {
		c.appRows = newMatrix(values, c.blocks)
		for n, posts := range c.apps.posts {
			inc, exc := c.apps.null.inc.clone(), c.apps.null.exc.clone()
			for _, p := range posts {
				pair{inc, exc}.put(int(p.policy), p.exclude)
			}
			inc.andNot(exc)
			copy(c.appRows.row(n), inc)
		}
	}
}
