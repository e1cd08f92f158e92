package session

import (
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// Smart lockout: this many wrong passwords lock the account for a while.
const (
	lockoutThreshold = 10
	lockoutTime      = time.Minute
)

// CheckPassword checks a password and counts wrong ones. A nil tenant means that of
// the user name.
func (k *Keeper) CheckPassword(t *directory.Tenant, name, password string) (*directory.User, error) {
	u, err := k.KnowsPassword(t, name, password)
	if err != nil {
		return nil, err
	}
	if u.PasswordExpired {
		return nil, ErrPasswordExpired
	}
	return u, nil
}

var ErrPasswordExpired = web.InvalidGrant(50055, "The password is expired.").Sub("user_password_expired")

// KnowsPassword is like CheckPassword but accepts an expired password.
func (k *Keeper) KnowsPassword(t *directory.Tenant, name, password string) (*directory.User, error) {
	name = k.Directory.Invited(t, name)
	home := k.Directory.TenantOf(name)
	if home == nil || t != nil && home != t {
		return nil, k.UnknownUser(t, name)
	}
	if home.IsFederated(name) {
		return nil, web.InvalidGrant(50126, "Error validating credentials due to invalid username or password.").
			Because("%s is federated and signs in at its federation server", name)
	}
	u := k.Directory.User(name)
	if u == nil {
		return nil, k.UnknownUser(home, name)
	}
	if k.Now().Before(u.LockedUntil) {
		return nil, web.InvalidGrant(50053, "The account is locked, you've tried to sign in too many times with an incorrect user ID or password.")
	}
	if u.Password == "" || u.Password != password {
		now := k.Now()
		_ = k.Directory.ChangeUser(u.UPN, func(u *directory.User) error { // the user may have been deleted meanwhile
			if u.Failures++; u.Failures >= lockoutThreshold {
				u.Failures, u.LockedUntil = 0, now.Add(lockoutTime)
			}
			return nil
		})
		return nil, web.InvalidGrant(50126, "Error validating credentials due to invalid username or password.")
	}
	if u.Disabled {
		return nil, web.InvalidGrant(50057, "The user account is disabled.")
	}
	if u.Failures > 0 {
		_ = k.Directory.ChangeUser(u.UPN, func(u *directory.User) error { u.Failures = 0; return nil })
	}
	return u, nil
}

// UnknownUser returns the error for a user name that is not in the tenant; a nil
// tenant stands for all tenants.
func (k *Keeper) UnknownUser(t *directory.Tenant, name string) error {
	where := "any directory here"
	if t != nil {
		where = "the " + t.Name + " directory"
	}
	return web.InvalidGrant(50034, "The user account %s does not exist in %s. To sign into this application, the account must be added to the directory.", web.Clip(name), where)
}
