package benchpeers

import (
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/policy"
)

// demand is what one policy asks, in the terms of Facts: what the two
// translations share, so that they cannot differ in their reading.
type demand struct {
	ID            string
	All           bool     // users
	Include       []string // groups
	IncludeRoles  []string
	IncludeUsers  []string
	IncludeGuests []string
	Exclude       []string // groups
	Apps          []string // nil: all
	ExceptApps    []string
	Clients       []string // nil: all
	Platforms     []string // nil: all
	NotPlatforms  []string
	Locations     []string // nil: all
	NotLocations  []string
	SignInRisks   []string
	UserRisks     []string
	Flows         []string
	NotDeviceTag  string
	Controls      []string // nil: block
	AllControls   bool
}

// demands reads the enforced policies of a tenant.
func demands(b *policy.Bundle) (out []demand) {
	for i := range b.Policies {
		if p := &b.Policies[i]; p.State == policy.StateEnabled {
			out = append(out, demandOf(p))
		}
	}
	return out
}

func demandOf(p *policy.Policy) demand {
	c := &p.Conditions
	d := demand{
		ID: p.ID, Include: c.Users.IncludeGroups, IncludeRoles: c.Users.IncludeRoles, Exclude: c.Users.ExcludeGroups,
		ExceptApps: c.Applications.Exclude, Clients: c.ClientAppTypes,
		SignInRisks: c.SignInRiskLevels, UserRisks: c.UserRiskLevels,
	}
	d.All = slices.Equal(c.Users.IncludeUsers, []string{"All"})
	if !d.All {
		d.IncludeUsers = c.Users.IncludeUsers
	}
	if g := c.Users.IncludeGuests; g != nil {
		d.IncludeGuests = g.Types
	}
	if !slices.Equal(c.Applications.Include, []string{"All"}) {
		d.Apps = c.Applications.Include
	}
	if pl := c.Platforms; pl != nil {
		d.NotPlatforms = pl.Exclude
		if !slices.Equal(pl.Include, []string{"all"}) {
			d.Platforms = pl.Include
		}
	}
	if l := c.Locations; l != nil {
		d.NotLocations = l.Exclude
		if !slices.Equal(l.Include, []string{"All"}) {
			d.Locations = l.Include
		}
	}
	if f := c.AuthenticationFlows; f != nil {
		d.Flows = f.TransferMethods
	}
	if dev := c.Devices; dev != nil {
		d.NotDeviceTag = strings.Split(dev.Filter.Rule, `"`)[1]
	}
	if g := p.GrantControls; !slices.Contains(g.BuiltInControls, "block") {
		d.Controls = slices.Concat(g.BuiltInControls, g.TermsOfUse)
		if g.AuthenticationStrength != nil {
			d.Controls = append(d.Controls, g.AuthenticationStrength.ID)
		}
		d.AllControls = g.All()
	}
	return d
}
