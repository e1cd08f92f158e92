package broker

// An Account is a user of a tenant as MSAL names it. Its zero value is no
// account.
type Account struct {
	// HomeAccountID is the user's object id and home tenant, "oid.tid". With
	// Environment it is the key of an account.
	HomeAccountID string `json:"homeAccountId"`
	// Environment is the cloud's token cache name, "login.windows.net" in the
	// public cloud.
	Environment string `json:"environment"`
	// Realm is the tenant id.
	Realm string `json:"realm"`
	// LocalAccountID is the user's object id in Realm.
	LocalAccountID string `json:"localAccountId"`
	// PreferredUsername is the user principal name.
	PreferredUsername string `json:"username"`
	// Name is the display name. It may be empty.
	Name string `json:"name,omitempty"`
}

// IsZero reports whether a is no account.
func (a Account) IsZero() bool { return a == Account{} }

// Key identifies the account among all accounts of all clouds.
func (a Account) Key() string { return a.HomeAccountID + "-" + a.Environment }
