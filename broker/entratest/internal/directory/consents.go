package directory

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Consented is what a user allowed a client at one resource.
type Consented struct {
	User             *User
	Client, Resource string // client ids
	Scopes           []string
}

// Consents returns what users allowed clients, by user, client and resource.
func (d *Directory) Consents() []Consented {
	var list []Consented
	for _, u := range d.Users() {
		for _, client := range slices.Sorted(maps.Keys(u.Consents)) {
			of := map[string][]string{}
			for _, sc := range u.Consents[client] {
				resource, name, _ := strings.Cut(sc, "/")
				of[resource] = append(of[resource], name)
			}
			for _, resource := range slices.Sorted(maps.Keys(of)) {
				list = append(list, Consented{u, client, resource, of[resource]})
			}
		}
	}
	return list
}

// ConsentForTenant allows a client scopes of a resource for all users of a tenant, as an
// administrator does; with resource "", whatever it asks for.
func (d *Directory) ConsentForTenant(t *Tenant, a *App, resource string, scopes []string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	spec := a.AppSpec
	spec.ClientID = a.ID
	if resource == "" {
		spec.AdminConsent = true
		return d.addAppLater(t, spec)
	}
	spec.Preauthorised = maps.Clone(spec.Preauthorised)
	if spec.Preauthorised == nil {
		spec.Preauthorised = map[string][]string{}
	}
	merged := slices.Concat(spec.Preauthorised[resource], scopes)
	slices.Sort(merged)
	spec.Preauthorised[resource] = slices.Compact(merged)
	return d.addAppLater(t, spec)
}

// WithdrawConsent forgets what a user allowed a client. It reports whether there was
// anything to forget.
func (d *Directory) WithdrawConsent(name, client string) (had bool, err error) {
	err = d.ChangeUser(name, func(u *User) error {
		_, had = u.Consents[strings.ToLower(client)]
		u.Consents = maps.Clone(u.Consents)
		delete(u.Consents, strings.ToLower(client))
		return nil
	})
	return had, err
}

// OwnApps returns the applications that were added to a tenant, by name, with the ids
// that were derived.
func (d *Directory) OwnApps(t *Tenant) []AppSpec {
	list := []AppSpec{}
	for _, a := range d.Clients(t) {
		if a.own {
			spec := a.AppSpec
			spec.ClientID = a.ID
			list = append(list, spec)
		}
	}
	slices.SortFunc(list, func(a, b AppSpec) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ClientID, b.ClientID))
	})
	return list
}
