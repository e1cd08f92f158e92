package account

import "strings"

// An Identity is a user of a tenant, named as in MSAL, as it is stored in the
// record of the account.
type Identity struct {
	HomeAccountID     string `json:"homeAccountId"` // object id and home tenant: oid.tid
	Environment       string `json:"environment"`   // the cloud's token cache name
	Realm             string `json:"realm"`         // the tenant id
	LocalAccountID    string `json:"localAccountId"`
	PreferredUsername string `json:"username"`
	Name              string `json:"name,omitempty"`
}

// IsZero reports whether i names no account.
func (i Identity) IsZero() bool { return i == Identity{} }

// Key identifies the account among all accounts of all clouds.
func (i Identity) Key() string { return i.HomeAccountID + "-" + i.Environment }

// ByName reports whether i has only a user name.
func (i Identity) ByName() bool { return i.HomeAccountID == "" && i.PreferredUsername != "" }

// Means reports whether i refers to other: it is the same account, it has the
// same user name where i has only that, or i is zero, which refers to any
// account.
func (i Identity) Means(other Identity) bool {
	switch {
	case i.IsZero():
		return true
	case i.ByName():
		return strings.EqualFold(i.PreferredUsername, other.PreferredUsername)
	}
	return i.Key() == other.Key()
}
