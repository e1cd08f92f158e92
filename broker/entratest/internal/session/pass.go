package session

import (
	"crypto/subtle"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
)

// errPassExpired is the error that real tenants are reported to give, on the page and
// for refresh tokens that came from the pass.
var errPassExpired = web.InvalidGrant(130504, "Your Temporary Access Pass has expired. Contact your administrator to obtain a new pass.")

// TakeAccessPass checks a pass, and uses it up if it is for one sign-in. For a pass
// that is used up, Entra says that a policy blocks it ("Configure Temporary Access
// Pass", Troubleshooting).
func (k *Keeper) TakeAccessPass(name, value string) (*directory.User, *Session, error) {
	u := k.Directory.User(name)
	if u == nil {
		return nil, nil, k.UnknownUser(k.Directory.TenantOf(name), name)
	}
	if u.Disabled {
		return nil, nil, web.InvalidGrant(50057, "The user account is disabled.")
	}
	wrong := web.InvalidGrant(130503, "Your Temporary Access Pass is incorrect. If you don't know your pass, contact your administrator.")
	var pass directory.AccessPass
	now := k.Now()
	err := k.Directory.ChangeUser(u.UPN, func(u *directory.User) error {
		if u.AccessPass == nil || subtle.ConstantTimeCompare([]byte(u.AccessPass.Value), []byte(value)) != 1 {
			return wrong
		}
		if !now.Before(u.AccessPass.Expires) {
			return errPassExpired
		}
		if pass = *u.AccessPass; pass.Used {
			return web.InvalidGrant(130502, "Temporary Access Pass sign in was blocked due to User Credential Policy.")
		}
		if pass.Once {
			used := pass
			used.Used = true
			u.AccessPass = &used
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	method := claims.TemporaryAccessPassMultiUse
	if pass.Once {
		method = claims.TemporaryAccessPassOneTime
	}
	ss := k.NewSession(u, method)
	ss.ProveMFA(method, now)
	ss.Ends = pass.Expires.Unix()
	return u, &ss, nil
}

// CreateAccessPass gives a user a pass, for one sign-in or for any number while it is
// valid.
func (k *Keeper) CreateAccessPass(username string, once bool) (string, error) {
	const letters = "ABCDEFGHJKMNPQRSTUVWXYZabcdefghjkmnpqrstuvwxyz23456789"
	value := make([]byte, 8)
	for i, b := range k.Rand.Bytes(len(value)) {
		value[i] = letters[int(b)%len(letters)]
	}
	pass := &directory.AccessPass{Value: string(value), Once: once, Expires: k.Now().Add(k.TTL.TAP)}
	return pass.Value, k.Directory.ChangeUser(username, func(u *directory.User) error { u.AccessPass = pass; return nil })
}
