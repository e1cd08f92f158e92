package policy

import "slices"

// authoring finds settings that can be evaluated but that Entra would refuse to
// save, or that the author probably did not mean.
//
// Sources: Microsoft Entra documentation, "Conditional Access: Grant",
// 2026-03-24; "Conditional Access: Target resources", 2026-01-26, user actions;
// Microsoft Graph, conditionalAccessUsers.
func (c *checker) authoring(p *Policy) {
	k, g := &p.Conditions, p.GrantControls
	if g == nil {
		g = &GrantControls{}
	}
	c.combinations(g)
	blocks := g.has("block")
	if a := k.ClientApplications; a != nil && !blocks && g.count() > 0 {
		c.warn("grantControls", "workload identities and agents can only be blocked: they answer no other control")
	}
	s := p.SessionControls
	if s != nil && s.PersistentBrowser != nil && s.PersistentBrowser.IsEnabled && !k.Applications.everything() {
		c.warn("sessionControls.persistentBrowser", "persistentBrowser needs all resources")
	}
	if len(p.Unmodeled) == 0 && g.count() == 0 && !newSession(s).any {
		c.warn("grantControls", "the policy has neither a grant control nor a session control: it demands nothing")
	}
	if g.has("passwordChange") {
		c.passwordChange(k, g)
	}
	if a := k.Applications; a != nil && containsID(a.UserActions, userActionNames[ActionRegisterDevice]) {
		c.registerDevice(k, g)
	}
	if u := k.Users; u != nil {
		c.guestsTwice("conditions.users.includeUsers", u.IncludeUsers, u.IncludeGuests)
		c.guestsTwice("conditions.users.excludeUsers", u.ExcludeUsers, u.ExcludeGuests)
	}
}

func (c *checker) warn(path, message string) {
	c.add(path, SeverityWarning, CodeAuthoring, dimNone, "%s", message)
}

func (g *GrantControls) has(control string) bool { return containsID(g.BuiltInControls, control) }

// count is how many controls a grant holds.
func (g *GrantControls) count() int {
	n := len(g.BuiltInControls) + len(g.TermsOfUse) + len(g.CustomFactors)
	if g.AuthenticationStrength != nil {
		n++
	}
	return n
}

func (c *checker) combinations(g *GrantControls) {
	if g.AuthenticationStrength != nil && g.has("mfa") {
		c.warn("grantControls", "mfa beside an authentication strength")
	}
	if g.has("block") && g.count() > 1 {
		c.warn("grantControls", "block beside other controls")
	}
}

// passwordChange checks the limits of that control: all resources, conditions
// on users and user risk only, and no other control but MFA, which comes first.
func (c *checker) passwordChange(k *Conditions, g *GrantControls) {
	const path = "grantControls.builtInControls"
	if !k.Applications.everything() || k.Applications != nil && len(k.Applications.Exclude) > 0 {
		c.warn(path, "passwordChange needs all resources, without exclusions")
	}
	if k.beyondUserRisk() {
		c.warn(path, "passwordChange can be used with conditions on users, groups and user risk only")
	}
	others := g.count() - 1
	if g.has("mfa") {
		others--
	}
	if g.AuthenticationStrength != nil {
		others--
	}
	if others > 0 {
		c.warn(path, "passwordChange cannot be used with other controls than MFA")
	}
	if others < g.count()-1 && !g.All() {
		c.warn(path, "passwordChange as an alternative to MFA: users would change the password without it; require all controls")
	}
}

// beyondUserRisk says whether anything other than users, applications and user
// risk is configured.
func (k *Conditions) beyondUserRisk() bool {
	allClients := len(k.ClientAppTypes) == 0 || slices.ContainsFunc(k.ClientAppTypes, isAll)
	return !allClients || k.Platforms != nil || k.Locations != nil || k.Devices != nil || k.DeviceStates != nil ||
		len(k.SignInRiskLevels)+len(k.ServicePrincipalRiskLevels)+len(k.InsiderRiskLevels)+len(k.AgentIDRiskLevels) > 0 ||
		k.AuthenticationFlows != nil
}

// registerDevice checks the limits of that user action: MFA or a strength, and
// no condition that needs a registered device.
func (c *checker) registerDevice(k *Conditions, g *GrantControls) {
	for _, name := range g.BuiltInControls {
		if !equalASCII(name, "mfa") {
			c.warn("grantControls.builtInControls", name+" is not available for registering devices: only MFA and authentication strengths are")
		}
	}
	if k.Devices != nil || k.DeviceStates != nil {
		c.warn("conditions.devices", "conditions on devices are not available for registering devices: there is none yet")
	}
	if len(k.ClientAppTypes) > 0 && !slices.ContainsFunc(k.ClientAppTypes, isAll) {
		c.warn("conditions.clientAppTypes", "client apps are not available for registering devices")
	}
}

// guestsTwice finds the older word for all guests beside types of them, which
// Graph refuses.
func (c *checker) guestsTwice(path string, users []string, g *GuestCondition) {
	if g != nil && containsID(users, legacyGuests) {
		c.warn(path, legacyGuests+" beside types of guests: Graph takes one or the other")
	}
}
