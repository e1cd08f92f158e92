package benchpeers

import "slices"

// Naive is a tenant as a loop over its policies that compares strings: the
// obvious first implementation.
type Naive struct {
	demands []demand
	asked   []Question
}

// NewNaive takes a tenant as it is.
func NewNaive(ds []demand, qs []Question) *Naive { return &Naive{ds, qs} }

// Granted decides question i.
func (n *Naive) Granted(i int) bool {
	f := &n.asked[i].Facts
	for j := range n.demands {
		if d := &n.demands[j]; d.applies(f) && !d.satisfied(f) {
			return false
		}
	}
	return true
}

// Unsatisfied names the policies that deny question i, sorted. Like the other
// engines it asks all of them.
func (n *Naive) Unsatisfied(i int) (ids []string) {
	f := &n.asked[i].Facts
	for j := range n.demands {
		if d := &n.demands[j]; d.applies(f) && !d.satisfied(f) {
			ids = append(ids, d.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func (d *demand) applies(f *Facts) bool {
	return allOr(d.Clients, f.Client) && allOr(d.SignInRisks, f.SignInRisk) && allOr(d.UserRisks, f.UserRisk) &&
		allOr(d.Flows, f.Flow) && allOr(d.Platforms, f.Platform) && !slices.Contains(d.NotPlatforms, f.Platform) &&
		(d.NotDeviceTag == "" || d.NotDeviceTag != f.DeviceTag) &&
		allOr(d.Apps, f.App) && !slices.Contains(d.ExceptApps, f.App) &&
		(len(d.Locations) == 0 || meets(d.Locations, f.Locations)) && !meets(d.NotLocations, f.Locations) &&
		d.means(f) && !meets(d.Exclude, f.Groups)
}

func (d *demand) means(f *Facts) bool {
	return d.All || meets(d.Include, f.Groups) || meets(d.IncludeRoles, f.Roles) ||
		slices.Contains(d.IncludeUsers, f.User) || slices.Contains(d.IncludeGuests, f.Guest)
}

func (d *demand) satisfied(f *Facts) bool {
	if !d.AllControls {
		return meets(d.Controls, f.Satisfied)
	}
	for _, c := range d.Controls {
		if !slices.Contains(f.Satisfied, c) {
			return false
		}
	}
	return true
}

func allOr(values []string, value string) bool {
	return len(values) == 0 || slices.Contains(values, value)
}

func meets(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}
