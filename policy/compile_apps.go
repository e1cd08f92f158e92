package policy

import "slices"

// maxAppCells bounds the memory of precomputed application rows: 8 MiB.
const maxAppCells = 1 << 18

// Applications that the engine itself asks about.
const (
	appDirectory = iota
	appTeams
	appSharePoint
)

func (c *compiler) collectApps() {
	c.actions = newMatrix(int(RegisterDevice)+1, c.blocks)
	c.contexts = newMatrix(maxAuthContext+1, c.blocks)
	c.traffic = newMatrix(int(PrivateTraffic)+1, c.blocks)
	c.agentApps = pair{newRow(c.blocks), newRow(c.blocks)}
	c.escape, c.ownStrength = newRow(c.blocks), newRow(c.blocks)
	c.wellKnown = [...]uint32{
		appDirectory:  c.ids.intern(windowsAzureAD),
		appTeams:      c.ids.intern(teamsID),
		appSharePoint: c.ids.intern(sharePointID),
	}
}

// applications fills the selector of applications and the rows of user
// actions and authentication contexts. A policy that configures nothing here
// targets all applications.
func (c *compiler) applications(i int) {
	a := c.policies[i].Conditions.Applications
	if c.relaxed[dimApplications].has(i) {
		c.apps.base.inc.set(i)
		for t := range RegisterDevice + 1 {
			c.actions.row(int(t)).set(i)
		}
		for t := range PrivateTraffic + 1 {
			c.traffic.row(int(t)).set(i)
		}
		for n := range maxAuthContext + 1 {
			c.contexts.row(n).set(i)
		}
		return
	}
	all := a.everything()
	if all {
		c.apps.base.inc.set(i)
		c.actions.row(int(RegisterSecurityInfo)).set(i)
		for t := range PrivateTraffic + 1 {
			c.traffic.row(int(t)).set(i)
		}
	}
	if a == nil {
		return
	}
	c.appIDs(i, a.Include, false)
	c.appIDs(i, a.Exclude, true)
	if f := a.Filter; f != nil {
		c.apps.filter(c.rule(f), i, equalASCII(f.Mode, "exclude"))
	}
	c.escape.put(i, all && (len(a.Exclude) > 0 || a.Filter != nil))
	for _, s := range a.UserActions {
		t := member(userActionNames, s)
		c.actions.row(t).set(i)
		g := c.policies[i].GrantControls
		if t == int(RegisterSecurityInfo) && g != nil && g.AuthenticationStrength != nil {
			c.ownStrength.set(i)
			c.hasOwnStrength = true
		}
	}
	if t := a.GlobalSecureAccess; t != nil {
		for _, s := range t.Profiles {
			c.traffic.row(member(trafficNames, s)).set(i)
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
