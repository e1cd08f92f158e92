package directory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/prtbroker/prtbroker/policy"
)

// AccessRules holds the compiled Conditional Access policies of a tenant in two
// forms: as they are, and without device grants, for the resources that a device
// needs before it can be compliant.
type AccessRules struct {
	Raw                  json.RawMessage // as it was given
	Bundle, ExemptBundle *policy.Bundle
	Full, Exempt         *policy.Set
}

// newAccessRules compiles a Graph export; nil JSON gives nil rules.
func newAccessRules(graphJSON json.RawMessage) (*AccessRules, error) {
	if len(bytes.TrimSpace(graphJSON)) == 0 {
		return nil, nil
	}
	b, _, err := policy.Load(bytes.NewReader(graphJSON))
	if err != nil {
		return nil, fmt.Errorf("entratest: policies: %w", err)
	}
	full, err := policy.Compile(b)
	if err != nil {
		return nil, fmt.Errorf("entratest: policies: %w", err)
	}
	eb := withoutDeviceGrants(b)
	exempt, err := policy.Compile(eb)
	if err != nil {
		return nil, fmt.Errorf("entratest: policies: %w", err)
	}
	return &AccessRules{Raw: slices.Clone(graphJSON), Bundle: b, ExemptBundle: eb, Full: full, Exempt: exempt}, nil
}

func withoutDeviceGrants(b *policy.Bundle) *policy.Bundle {
	out := *b
	out.Policies = slices.Clone(b.Policies)
	deviceGrant := func(c string) bool { return c == "compliantDevice" || c == "domainJoinedDevice" }
	for i := range out.Policies {
		g := out.Policies[i].GrantControls
		if g == nil || !slices.ContainsFunc(g.BuiltInControls, deviceGrant) {
			continue
		}
		rest := *g
		rest.BuiltInControls = slices.DeleteFunc(slices.Clone(g.BuiltInControls), deviceGrant)
		empty := len(rest.BuiltInControls)+len(rest.CustomFactors)+len(rest.TermsOfUse) == 0 && rest.AuthenticationStrength == nil
		if empty || !g.All() { // a satisfied member satisfies OR
			out.Policies[i].GrantControls = nil
			continue
		}
		out.Policies[i].GrantControls = &rest
	}
	return &out
}

// RiskLevel parses a risk level: none, low, medium or high; "" means none.
func RiskLevel(s string) (policy.RiskLevel, error) {
	switch s {
	case "", "none":
		return policy.RiskNone, nil
	case "low":
		return policy.RiskLow, nil
	case "medium":
		return policy.RiskMedium, nil
	case "high":
		return policy.RiskHigh, nil
	}
	return 0, fmt.Errorf("entratest: risk %q is not none, low, medium or high", s)
}

// PolicyNames returns the names of the policies of a tenant, followed by the state of
// a policy unless it is enabled.
func (d *Directory) PolicyNames(t *Tenant) (names []string) {
	rules := d.AccessRules(t)
	if rules == nil {
		return nil
	}
	for _, p := range rules.Bundle.Policies {
		name := p.DisplayName
		if name == "" {
			name = p.ID
		}
		switch p.State {
		case "enabled":
		case "enabledForReportingButNotEnforced":
			name += " (report-only)"
		default:
			name += " (" + string(p.State) + ")"
		}
		names = append(names, name)
	}
	return names
}
