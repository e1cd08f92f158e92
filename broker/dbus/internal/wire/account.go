package wire

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// An Account is a user as the interface describes one. MSAL drops an account
// without environment, homeAccountId, localAccountId, realm or username, and
// sso-mib drops one without name, givenName or passwordExpiry, so all ten
// members are always sent.
type Account struct {
	ClientInfo     string `json:"clientInfo"`
	Environment    string `json:"environment"`
	FamilyName     string `json:"familyName"`
	GivenName      string `json:"givenName"`
	HomeAccountID  string `json:"homeAccountId"`
	LocalAccountID string `json:"localAccountId"`
	Name           string `json:"name"`
	PasswordExpiry int64  `json:"passwordExpiry"`
	Realm          string `json:"realm"`
	Username       string `json:"username"`
}

// IsZero reports whether a identifies no user.
func (a Account) IsZero() bool {
	return a.HomeAccountID == "" && a.LocalAccountID == "" && a.Username == ""
}

func account(o *object) Account {
	expiry, _ := o.number("passwordExpiry")
	return Account{
		ClientInfo:     o.text("clientInfo"),
		Environment:    o.text("environment"),
		FamilyName:     o.text("familyName"),
		GivenName:      o.text("givenName"),
		HomeAccountID:  o.text("homeAccountId"),
		LocalAccountID: o.text("localAccountId"),
		Name:           o.text("name"),
		PasswordExpiry: expiry,
		Realm:          o.text("realm"),
		Username:       o.text("username"),
	}
}

// ClientInfo returns the client_info of a home account id, "oid.tid": its two
// parts as JSON in base64url. MSAL builds an account from it and the
// id_token.
func ClientInfo(homeAccountID string) string {
	uid, utid, ok := strings.Cut(homeAccountID, ".")
	if !ok {
		return ""
	}
	text, err := json.Marshal(struct {
		UID  string `json:"uid"`
		UTID string `json:"utid"`
	}{uid, utid})
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(text)
}
