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

// GroupMembers is a group with its direct members: user names and names of groups.
type GroupMembers struct {
	ID, Name string
	Members  []string
}

// GroupsWithMembers returns the groups of a tenant, by name.
func (d *Directory) GroupsWithMembers(t *Tenant) []GroupMembers {
	list := []GroupMembers{}
	for _, g := range d.Groups(t) {
		list = append(list, GroupMembers{ID: g.ID, Name: g.Name, Members: d.membersOf(t, g.ID)})
	}
	return list
}

func (d *Directory) membersOf(t *Tenant, group string) (names []string) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for member, of := range t.memberOf {
		if !slices.Contains(of, group) {
			continue
		}
		if u := d.byID[member]; u != nil {
			names = append(names, u.UPN)
		} else if g := t.groups[member]; g != nil {
			names = append(names, g.Name)
		}
	}
	slices.Sort(names)
	return names
}
