package directory

import (
	"strings"
)

// extMark is in the user principal name of everybody who was invited from another
// directory (Microsoft, "Properties of a Microsoft Entra B2B collaboration user";
// Microsoft Graph, "List users", example 8): gus@partner.example is
// gus_partner.example#EXT#@contoso.onmicrosoft.com.
const extMark = "#EXT#"

// invited returns the user principal name that a name of another directory gets here.
func (t *Tenant) invited(name string) string {
	return strings.Replace(name, "@", "_", 1) + extMark + "@" + t.Domain
}

// External reports whether the user was invited from another directory.
func (u *User) External() bool { return strings.Contains(strings.ToUpper(u.UPN), extMark) }

// SignInName returns the name by which the user signs in: for a user of another
// directory, that of the user there.
func (u *User) SignInName() string {
	if u.External() && u.Mail != "" {
		return u.Mail
	}
	return u.UPN
}

// homeDomain is the domain of an external user in the user's own directory.
func (u *User) homeDomain() string {
	if _, domain, ok := strings.Cut(u.Mail, "@"); ok {
		return strings.ToLower(domain)
	}
	local, _, _ := strings.Cut(strings.ToUpper(u.UPN), extMark)
	return strings.ToLower(local[strings.LastIndex(local, "_")+1:])
}

// HomeTenantID returns the id of an external user's own tenant: of the one that is served
// here, or one that depends on the domain alone.
func (d *Directory) HomeTenantID(u *User) string {
	domain := u.homeDomain()
	d.mu.RLock()
	defer d.mu.RUnlock()
	if t := d.domains[domain]; t != nil {
		return t.ID
	}
	return d.rand.Derived("tenant", domain)
}

// putGuest lets an external user be found by the name in the user's own directory. The
// caller holds the lock.
func (d *Directory) putGuest(u *User) {
	if name := strings.ToLower(u.SignInName()); u.External() && name != strings.ToLower(u.UPN) {
		d.guests[u.Tenant.ID+" "+name] = u.ID
		if d.guests[name] == "" {
			d.guests[name] = u.ID
		}
	}
}

// guest finds an external user by that name, in a tenant or, with nil, in the first one
// that invited the user. The caller holds the lock.
func (d *Directory) guest(t *Tenant, name string) *User {
	name = strings.ToLower(name)
	key := name
	if t != nil {
		key = t.ID + " " + name
	}
	u := d.byID[d.guests[key]]
	if u == nil || !strings.EqualFold(u.SignInName(), name) { // renamed meanwhile
		return nil
	}
	return u
}

// Invited returns the user principal name, in a tenant, of the external user who has the
// name in another directory; the name itself if the tenant invited nobody of that name.
func (d *Directory) Invited(t *Tenant, name string) string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if t == nil {
		return name
	}
	if u := d.guest(t, name); u != nil {
		return u.UPN
	}
	return name
}
