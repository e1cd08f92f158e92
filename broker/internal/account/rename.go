package account

import "strings"

// renamed is the identity with the names of a newer reply; empty ones say nothing.
func (i Identity) renamed(username, name string) Identity {
	if username != "" {
		i.PreferredUsername = username
	}
	if name != "" {
		i.Name = name
	}
	return i
}

// Is reports whether an id_token of the tenant is about this user.
func (i Identity) Is(tenantID, objectID string) bool {
	return tenantID != "" && objectID != "" && strings.EqualFold(tenantID, i.Realm) && strings.EqualFold(objectID, i.LocalAccountID)
}

// Rename keeps the newest names of the user: the object id stays when an
// administrator renames somebody. The Hello key signs under the same name.
func (a *Record) Rename(username, name string) {
	old := a.Account.PreferredUsername
	a.Account = a.Account.renamed(username, name)
	for _, h := range []**Hello{&a.Hello, &a.NextHello} {
		if *h == nil || !strings.EqualFold((*h).Username, old) {
			continue
		}
		next := **h
		next.Username = a.Account.PreferredUsername
		*h = &next
	}
}

// Renames reports whether the names differ from those that are kept.
func (a *Record) Renames(username, name string) bool {
	return a.Account.renamed(username, name) != a.Account
}
