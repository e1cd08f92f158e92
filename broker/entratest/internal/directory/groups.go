package directory

import (
	"cmp"
	"slices"
)

// Groups returns the groups of a tenant, by name.
func (d *Directory) Groups(t *Tenant) []Group {
	d.mu.RLock()
	defer d.mu.RUnlock()
	list := []Group{}
	for id, g := range t.groups {
		list = append(list, Group{ID: id, Name: g.Name})
	}
	slices.SortFunc(list, func(a, b Group) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return list
}

// DirectMemberships returns the groups of which a user is a direct member.
func (d *Directory) DirectMemberships(u *User) []Group {
	d.mu.RLock()
	defer d.mu.RUnlock()
	list := []Group{}
	for _, id := range u.Tenant.memberOf[u.ID] {
		if g := u.Tenant.groups[id]; g != nil {
			list = append(list, Group{ID: id, Name: g.Name})
		}
	}
	return list
}
