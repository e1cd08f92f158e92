package policytest

import (
	"slices"
	"strconv"
	"strings"

	"github.com/prtbroker/prtbroker/policy"
)

// broken returns the dimensions of a policy that cannot be evaluated, and
// "policy" for what lies outside its conditions.
func (n *naive) broken(p *policy.Policy) map[string]bool {
	bad := map[string]bool{}
	known := func(dim string, values []string, names ...string) {
		for _, v := range values {
			if !listed(names, v) {
				bad[dim] = true
			}
		}
	}
	if len(p.Unmodeled) > 0 {
		bad["policy"] = true
	}
	if p.State != "" {
		known("policy", []string{string(p.State)}, "enabled", "disabled", "enabledForReportingButNotEnforced")
	}
	c := &p.Conditions
	if u := c.Users; u != nil {
		for _, id := range slices.Concat(u.IncludeUsers, u.ExcludeUsers) {
			if strings.HasPrefix(strings.ToLower(id), "all") && !listed([]string{"All", "AllAgentIdUsers"}, id) {
				bad["users"] = true
			}
		}
		for _, g := range []*policy.GuestCondition{u.IncludeGuests, u.ExcludeGuests} {
			if g != nil {
				known("users", g.Types, "none", "internalGuest", "b2bCollaborationGuest", "b2bCollaborationMember", "b2bDirectConnectUser", "otherExternalUser", "serviceProvider")
			}
		}
	}
	if a := c.Applications; a != nil {
		n.brokenApps(a, bad)
		known("applications", a.UserActions, "urn:user:registersecurityinfo", "urn:user:registerdevice")
	}
	if a := c.ClientApplications; a != nil {
		brokenRule("workloads", a.Filter, false, bad)
		brokenRule("agents", a.AgentFilter, false, bad)
	}
	if a := c.Agents; a != nil {
		brokenRule("agentUsers", a.Filter, false, bad)
	}
	known("clientApps", c.ClientAppTypes, "all", "browser", "mobileAppsAndDesktopClients", "exchangeActiveSync", "easSupported", "other", "modern", "easUnsupported")
	if l := c.Platforms; l != nil {
		known("platforms", slices.Concat(l.Include, l.Exclude), "all", "android", "iOS", "windows", "windowsPhone", "macOS", "linux")
	}
	risks := []string{"none", "low", "medium", "high", "hidden"}
	known("signInRisk", c.SignInRiskLevels, risks...)
	known("userRisk", c.UserRiskLevels, risks...)
	known("serviceRisk", c.ServicePrincipalRiskLevels, risks...)
	known("agentRisk", c.AgentIDRiskLevels, risks...)
	known("insiderRisk", c.InsiderRiskLevels, "none", "minor", "moderate", "elevated")
	if f := c.AuthenticationFlows; f != nil {
		known("flows", f.TransferMethods, "none", "deviceCodeFlow", "authenticationTransfer")
	}
	if d := c.Devices; d != nil {
		brokenRule("devices", d.Filter, true, bad)
	}
	if l := c.Locations; l != nil {
		for _, id := range slices.Concat(l.Include, l.Exclude) {
			if !n.knownLocation(id) {
				bad["locations"] = true
			}
		}
	}
	if g := p.GrantControls; g != nil {
		n.brokenGrant(g, bad)
	}
	return bad
}

func (n *naive) brokenApps(a *policy.ApplicationCondition, bad map[string]bool) {
	for _, id := range slices.Concat(a.Include, a.Exclude) {
		if strings.Contains(id, " ") {
			bad["applications"] = true
		}
	}
	for _, s := range a.AuthContexts {
		v, err := strconv.Atoi(strings.TrimLeft(s, "cC"))
		if err != nil || v < 1 || v > 99 || !strings.EqualFold(s, "c"+strconv.Itoa(v)) {
			bad["applications"] = true
		}
	}
	brokenRule("applications", a.Filter, false, bad)
}

func (n *naive) brokenGrant(g *policy.GrantControls, bad map[string]bool) {
	for _, c := range g.BuiltInControls {
		if !listed([]string{"block", "mfa", "compliantDevice", "domainJoinedDevice", "approvedApplication", "compliantApplication", "passwordChange", "riskRemediation"}, c) {
			bad["policy"] = true
		}
	}
	if g.Operator != "" && !listed([]string{"AND", "OR"}, g.Operator) {
		bad["policy"] = true
	}
	if ref := g.AuthenticationStrength; ref != nil {
		s := n.strength(ref.ID)
		if s == nil {
			bad["policy"] = true
			return
		}
		for _, text := range s.AllowedCombinations {
			if _, ok := combination(text); !ok {
				bad["policy"] = true
			}
		}
	}
}

func brokenRule(dim string, f *policy.Filter, device bool, bad map[string]bool) {
	if f == nil {
		return
	}
	if _, err := evalRule(f.Rule, device, nil, nil); err != nil || f.Mode != "include" && f.Mode != "exclude" {
		bad[dim] = true
	}
}

func (n *naive) knownLocation(id string) bool {
	if listed([]string{"All", "AllTrusted"}, id) {
		return true
	}
	for _, l := range n.b.Locations {
		if strings.EqualFold(l.ID, id) {
			return !slices.ContainsFunc(l.Ranges, func(r string) bool { return strings.Contains(r, "x") })
		}
	}
	return listed([]string{"00000000-0000-0000-0000-000000000000", "3d46dbda-8382-466a-856d-eb00cbc6b910"}, id)
}
