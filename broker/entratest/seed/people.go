package seed

import (
	"maps"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

type organization struct {
	ID      string `json:"id"`
	Name    string `json:"displayName"`
	Domains []struct {
		Name      string
		IsDefault bool
		Type      string // Managed, Federated
	} `json:"verifiedDomains"`
}

type user struct {
	ID       string `json:"id"`
	UPN      string `json:"userPrincipalName"`
	Name     string `json:"displayName"`
	Mail     string `json:"mail"`
	UserType string `json:"userType"`
	Enabled  *bool  `json:"accountEnabled"`
	SID      string `json:"onPremisesSecurityIdentifier"`
}

type group struct {
	ID      string      `json:"id"`
	Name    string      `json:"displayName"`
	Members []reference `json:"members"`
}

type directoryRole struct {
	ID       string      `json:"id"`
	Name     string      `json:"displayName"`
	Template string      `json:"roleTemplateId"`
	Members  []reference `json:"members"`
}

// reference is a member of a collection.
type reference struct {
	ID string `json:"id"`
}

type device struct {
	ID        string      `json:"deviceId"`
	ObjectID  string      `json:"id"`
	Name      string      `json:"displayName"`
	OS        string      `json:"operatingSystem"`
	OSVersion string      `json:"operatingSystemVersion"`
	TrustType string      `json:"trustType"`
	Enabled   *bool       `json:"accountEnabled"`
	Compliant bool        `json:"isCompliant"`
	Managed   bool        `json:"isManaged"`
	Owners    []reference `json:"registeredOwners"`
}

func (b *builder) organization() error {
	o := &b.tenant.Options
	return read(b, organizations, func(file string, v organization) error {
		if o.TenantID != "" {
			b.remark(file, "a second organization, %s, is not represented", v.Name)
			return nil
		}
		o.TenantID, o.DisplayName = v.ID, v.Name
		for _, d := range v.Domains {
			switch name := strings.ToLower(d.Name); {
			case d.IsDefault:
				o.Domain = name
			case strings.EqualFold(d.Type, "Federated"):
				o.Federated = append(o.Federated, name)
			default:
				o.Domains = append(o.Domains, name)
			}
		}
		return nil
	})
}

func domainOf(upn string) string { return strings.ToLower(upn[strings.LastIndex(upn, "@")+1:]) }

// people makes users, with their roles, and groups.
func (b *builder) people() error {
	o := &b.tenant.Options
	seen := map[string]bool{}
	err := read(b, users, func(file string, v user) error {
		if !strings.Contains(v.UPN, "@") || seen[strings.ToLower(v.UPN)] {
			b.remark(file, "user %s %s is not represented: it has no userPrincipalName of its own", v.ID, v.Name)
			return nil
		}
		seen[strings.ToLower(v.UPN)] = true
		if !guid.MatchString(v.ID) { // the id was not selected
			v.ID = ""
		}
		o.Users = append(o.Users, entratest.User{Username: v.UPN, ID: v.ID, Name: v.Name, Mail: v.Mail, Password: b.config.Password,
			Guest: strings.EqualFold(v.UserType, "Guest"), Disabled: v.Enabled != nil && !*v.Enabled, SID: v.SID})
		return nil
	})
	if err != nil {
		return err
	}
	if len(o.Users) > 0 && b.config.Password == "" {
		b.remark("", "users: passwords are not exported: nobody can sign in with one")
	}
	b.domains()
	if err := b.groups(); err != nil {
		return err
	}
	err = read(b, directoryRoles, func(file string, v directoryRole) error {
		for _, m := range b.membersOf(file, "role "+v.Name, "directoryRoles", v.ID, v.Members) {
			if i := b.user(m.ID); i >= 0 {
				o.Users[i].Roles = append(o.Users[i].Roles, v.Template)
			} else {
				b.remark(file, "role %s: its member %s is not a user of the export", v.Name, m.ID)
			}
		}
		return nil
	})
	for _, id := range slices.Sorted(maps.Keys(b.members)) {
		b.remark("", "groups: %s is not in the export, but its members are", id)
	}
	return err
}

// expandMost are the numbers of members at which $expand has been seen to stop without
// saying that there are more: 20 (techmikael.com, 2018-05-11; blog.rufer.be, 2022-07-22)
// and 100, the figure of Microsoft Graph's known issue 13635 (2023).
var expandMost = []int{20, 100}

// membersOf adds the members that the export lists separately to those of $expand.
func (b *builder) membersOf(file, what, collection, id string, expanded []reference) []reference {
	own, ok := b.members[strings.ToLower(id)]
	if !ok {
		if slices.Contains(expandMost, len(expanded)) {
			b.remark(file, "%s: %d members, as many as $expand returns: others may be missing without %s/%s/members", what, len(expanded), collection, id)
		}
		return expanded
	}
	delete(b.members, strings.ToLower(id))
	all := expanded
	for _, m := range own {
		if !slices.Contains(expanded, m) {
			all = append(all, m)
		}
	}
	return all
}

// domains finds the domains of the users where no organization names them.
func (b *builder) domains() {
	o := &b.tenant.Options
	found := map[string]int{}
	for _, u := range o.Users {
		if !u.Guest {
			found[domainOf(u.Username)]++
		}
	}
	if o.Domain == "" {
		for d, n := range found {
			if best := found[o.Domain]; n > best || n == best && d < o.Domain {
				o.Domain = d
			}
		}
		if o.Domain != "" {
			b.remark("", "organization: not exported: the tenant's domain is taken to be %s, that of most users", o.Domain)
		}
	}
	for _, u := range o.Users {
		if d := domainOf(u.Username); d != o.Domain && !slices.Contains(o.Domains, d) && !slices.Contains(o.Federated, d) {
			o.Domains = append(o.Domains, d)
		}
	}
}

// user returns the index of a user, or -1.
func (b *builder) user(id string) int {
	return slices.IndexFunc(b.tenant.Options.Users, func(u entratest.User) bool { return u.ID != "" && strings.EqualFold(u.ID, id) })
}

// principal reports whether an id is that of a user or a group.
func (b *builder) principal(id string) bool {
	return b.user(id) >= 0 || slices.ContainsFunc(b.tenant.Options.Groups, func(g entratest.Group) bool { return strings.EqualFold(g.ID, id) })
}

// groups makes groups, those without groups among their members first: a group can only
// have members that exist.
func (b *builder) groups() error {
	o := &b.tenant.Options
	waiting := map[string]group{}
	var order []string
	err := read(b, groups, func(file string, v group) error {
		id := strings.ToLower(v.ID)
		if _, again := waiting[id]; again || v.Name == "" {
			b.remark(file, "group %s %s is not represented: it has no id and name of its own", v.ID, v.Name)
			return nil
		}
		v.Members = b.membersOf(file, "group "+v.Name, "groups", v.ID, v.Members)
		waiting[id] = v
		order = append(order, id)
		return nil
	})
	var put func(id string)
	put = func(id string) {
		g, ok := waiting[id]
		if !ok {
			return
		}
		delete(waiting, id)
		out := entratest.Group{ID: g.ID, Name: g.Name}
		missing := 0
		for _, m := range g.Members {
			put(strings.ToLower(m.ID))
			if b.principal(m.ID) {
				out.Members = append(out.Members, m.ID)
			} else {
				missing++
			}
		}
		if missing > 0 {
			b.remark("", "groups: %s: %s neither a user nor a group of the export", g.Name, count(missing, "member"))
		}
		o.Groups = append(o.Groups, out)
	}
	for _, id := range order {
		put(id)
	}
	return err
}

func (b *builder) devices() error {
	o := &b.tenant.Options
	err := read(b, devices, func(file string, v device) error {
		if !guid.MatchString(v.ID) {
			b.remark(file, "device %s is not represented: it has no deviceId", v.Name)
			return nil
		}
		d := entratest.Device{ID: v.ID, ObjectID: v.ObjectID, Name: v.Name, OS: v.OS, OSVersion: v.OSVersion, TrustType: v.TrustType,
			Managed: v.Managed, Compliant: v.Compliant, Disabled: v.Enabled != nil && !*v.Enabled}
		for _, owner := range v.Owners {
			if d.Owner == "" && b.user(owner.ID) >= 0 {
				d.Owner = owner.ID
			}
		}
		o.Devices = append(o.Devices, d)
		return nil
	})
	if len(o.Devices) > 0 {
		b.remark("", "devices: keys are not exported: the devices are listed and cannot sign in")
	}
	return err
}
