package account

import "strings"

// An Identity is a user of a tenant as MSAL names it, as it stands in the
// record of the account.
type Identity struct {
	HomeAccountID     string `json:"homeAccountId"` // object id and home tenant: oid.tid
	Environment       string `json:"environment"`   // the cloud's token cache name
	Realm             string `json:"realm"`         // the tenant id
	LocalAccountID    string `json:"localAccountId"`
	PreferredUsername string `json:"username"`
	Name              string `json:"name,omitempty"`
}

// IsZero reports whether i is nobody.
func (i Identity) IsZero() bool { return i == Identity{} }

// Key tells the account from all accounts of all clouds.
func (i Identity) Key() string { return i.HomeAccountID + "-" + i.Environment }

// ByName reports whether i says no more than a user name.
func (i Identity) ByName() bool { return i.HomeAccountID == "" && i.PreferredUsername != "" }

// Means reports whether other is whom i means: the same account, the same user
// name where i says no more, and anybody when i is zero.
func (i Identity) Means(other Identity) bool {
	switch {
	case i.IsZero():
		return true
	case i.ByName():
		return strings.EqualFold(i.PreferredUsername, other.PreferredUsername)
	}
	return i.Key() == other.Key()
}
