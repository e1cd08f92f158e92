package policy

import "slices"

// Sizes of the dimensions in which a sign-in has one value.
const (
	platformValues = int(PlatformLinux) + 1
	clientValues   = int(ClientOther) + 1
	riskValues     = int(RiskHidden) + 1
	insiderValues  = int(InsiderRiskElevated) + 1
	flowValues     = int(TransferAuthentication) + 1
	contextValues  = 2
)

// singles computes, for each value of each dimension of one value, the row of
// policies that it matches, and then the rows of their combinations.
func (c *compiler) singles() {
	c.dimension(dimPlatforms, platformValues, matchPlatform)
	c.dimension(dimClientApps, clientValues, matchClientApp)
	c.dimension(dimSignInRisk, riskValues, func(k *Conditions, v int) bool { return listed(k.SignInRiskLevels, riskNames, v) })
	c.dimension(dimUserRisk, riskValues, func(k *Conditions, v int) bool { return listed(k.UserRiskLevels, riskNames, v) })
	c.dimension(dimServiceRisk, riskValues, func(k *Conditions, v int) bool { return listed(k.ServicePrincipalRiskLevels, riskNames, v) })
	c.dimension(dimAgentRisk, riskValues, func(k *Conditions, v int) bool { return listed(k.AgentIDRiskLevels, riskNames, v) })
	c.dimension(dimInsiderRisk, insiderValues, func(k *Conditions, v int) bool { return listed(k.InsiderRiskLevels, insiderNames, v) })
	c.dimension(dimFlows, flowValues, func(k *Conditions, v int) bool {
		return k.AuthenticationFlows == nil || listed(k.AuthenticationFlows.TransferMethods, flowNames, v)
	})
	c.dimension(dimAgentContext, contextValues, matchAgentContext)
	c.form = c.product(dimPlatforms, dimClientApps)
	c.risk = c.product(dimSignInRisk, dimUserRisk, dimInsiderRisk)
	c.misc = c.product(dimServiceRisk, dimAgentRisk, dimFlows, dimAgentContext)
}

func (c *compiler) dimension(d dimension, values int, match func(k *Conditions, v int) bool) {
	m := newMatrix(values, c.blocks)
	for v := range values {
		r := m.row(v)
		for i := range c.policies {
			r.put(i, match(&c.policies[i].Conditions, v))
		}
		r.or(c.relaxed[d])
	}
	c.single[d] = m
}

// product has a row for each combination of values, numbered with the first
// dimension as the most significant.
func (c *compiler) product(dims ...dimension) matrix {
	total := 1
	for _, d := range dims {
		total *= len(c.single[d].cells) / c.blocks
	}
	m := newMatrix(total, c.blocks)
	for v := range total {
		r, rest := m.row(v), v
		for i := len(dims) - 1; i >= 0; i-- {
			s := &c.single[dims[i]]
			n := len(s.cells) / c.blocks
			if i == len(dims)-1 {
				copy(r, s.row(rest%n))
			} else {
				r.and(s.row(rest % n))
			}
			rest /= n
		}
	}
	return m
}

// listed is membership: an empty list is not configured and matches all.
func listed(list, names []string, v int) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(s string) bool { return equalASCII(s, names[v]) })
}

func matchPlatform(k *Conditions, v int) bool {
	l := k.Platforms
	if l == nil {
		return true
	}
	in := func(list []string) bool {
		return slices.ContainsFunc(list, isAll) || v != 0 && containsID(list, platformNames[v])
	}
	return (len(l.Include) == 0 || in(l.Include)) && !in(l.Exclude)
}

// clientTypes are the names that select a client application.
var clientTypes = [clientValues][]string{
	ClientBrowser:              {"browser", "modern"},
	ClientMobileOrDesktop:      {"mobileAppsAndDesktopClients", "modern"},
	ClientExchangeActiveSync:   {"exchangeActiveSync", "easUnsupported"},
	ClientExchangeActiveSyncOK: {"exchangeActiveSync", "easSupported"},
	ClientOther:                {"other"},
}

// allClientTypes are the boxes that together mean all.
var allClientTypes = []string{"browser", "mobileAppsAndDesktopClients", "exchangeActiveSync", "other"}

func matchClientApp(k *Conditions, v int) bool {
	list := k.ClientAppTypes
	if len(list) == 0 || slices.ContainsFunc(list, isAll) {
		return true
	}
	if !slices.ContainsFunc(allClientTypes, func(t string) bool { return !containsID(list, t) }) {
		return true
	}
	return slices.ContainsFunc(clientTypes[v], func(t string) bool { return containsID(list, t) })
}

func matchAgentContext(k *Conditions, v int) bool {
	a := k.AgentContext
	if a == nil {
		return true
	}
	in := func(list []string) bool { return v == 1 && containsID(list, agentEndpointContext) }
	return (len(a.Include) == 0 || in(a.Include)) && !in(a.Exclude)
}
