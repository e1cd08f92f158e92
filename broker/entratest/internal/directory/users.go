package directory

import (
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/totp"
)

// AddUser adds a user to the tenant of the user's domain.
func (d *Directory) AddUser(u UserSpec) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := d.Qualify(u.Username)
	_, domain, _ := strings.Cut(name, "@")
	t := d.domains[domain]
	if u.Guest && t == nil {
		t = d.tenants[0]
	}
	if t == nil {
		return fmt.Errorf("entratest: user %s: no tenant has this domain", u.Username)
	}
	return d.addUserTo(t, u)
}

func (d *Directory) addUserTo(t *Tenant, o UserSpec) error {
	upn := o.Username
	if upn == "" {
		return fmt.Errorf("entratest: a user needs a Username")
	}
	if !strings.Contains(upn, "@") {
		upn += "@" + t.Domain
	}
	if _, domain, _ := strings.Cut(strings.ToLower(upn), "@"); o.Guest && d.domains[domain] != t {
		o.Mail, upn = cmp.Or(o.Mail, upn), t.invited(upn)
	}
	key := strings.ToLower(upn)
	if d.users[key] != nil {
		return fmt.Errorf("entratest: two users are named %s", upn)
	}
	u := &User{
		Tenant: t, ID: strings.ToLower(o.ID), UPN: upn, Name: o.Name, SID: o.SID, Mail: o.Mail, Password: o.Password, Visible: d.lag.until(),
		NumberMatch: o.NumberMatch || o.PhoneSignIn, PhoneSignIn: o.PhoneSignIn, Phone: o.Phone, Roles: slices.Clone(o.Roles), Guest: o.Guest, Disabled: o.Disabled,
	}
	if u.ID == "" {
		u.ID = d.rand.Derived("user", key)
	}
	if !ids.IsGUID(u.ID) {
		return fmt.Errorf("entratest: user %s: id %q is not a GUID", upn, o.ID)
	}
	if d.byID[u.ID] != nil {
		return fmt.Errorf("entratest: two users have the id %s", u.ID)
	}
	if u.Name == "" {
		local, _, _ := strings.Cut(u.SignInName(), "@")
		u.Name = strings.ToUpper(local[:1]) + local[1:]
	}
	for _, d := range []struct {
		text string
		to   *[]byte
	}{{o.TOTPSecret, &u.TOTP}, {o.HardwareTOTP, &u.Hardware}, {o.FederationTOTP, &u.FederationTOTP}} {
		if d.text == "" {
			continue
		}
		secret, err := totp.Secret(d.text)
		if err != nil {
			return fmt.Errorf("entratest: user %s: %w", upn, err)
		}
		*d.to = secret
	}
	var keys []Passkey
	for _, k := range o.Passkeys {
		r, err := k.record()
		if err != nil {
			return fmt.Errorf("entratest: user %s: %w", upn, err)
		}
		keys = append(keys, r)
	}
	if err := d.putPasskeys(u, keys...); err != nil {
		return err
	}
	d.users[key], d.byID[u.ID] = u, u
	d.putGuest(u)
	return nil
}

// AddGroup adds a group to the home tenant.
func (d *Directory) AddGroup(g GroupSpec) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.addGroupTo(d.Home(), g)
}

func (d *Directory) addGroupTo(t *Tenant, g GroupSpec) error {
	if g.Name == "" {
		return fmt.Errorf("entratest: a group needs a Name")
	}
	id := strings.ToLower(g.ID)
	if id == "" {
		id = d.rand.Derived("group", t.Domain+"/"+g.Name)
	}
	t.groups[id] = &Group{id, g.Name}
	t.groupNames[strings.ToLower(g.Name)] = id
	for _, m := range g.Members {
		member := d.objectID(t, m)
		if member == "" {
			return fmt.Errorf("entratest: group %s: no user or group is named %s", g.Name, m)
		}
		t.memberOf[member] = append(slices.Clip(t.memberOf[member]), id)
	}
	return nil
}

// objectID finds the id behind a user name, a group name or an id.
func (d *Directory) objectID(t *Tenant, name string) string {
	key := strings.ToLower(name)
	if id, ok := t.groupNames[key]; ok {
		return id
	}
	if t.groups[key] != nil || d.byID[key] != nil {
		return key
	}
	if !strings.Contains(key, "@") {
		key += "@" + t.Domain
	}
	if u := d.users[key]; u != nil {
		return u.ID
	}
	return ""
}

// AddApp adds an application to the home tenant.
func (d *Directory) AddApp(a AppSpec) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.addAppLater(d.Home(), a)
}

// SetPolicies replaces the Conditional Access policies of a tenant.
func (d *Directory) SetPolicies(t *Tenant, graphJSON json.RawMessage) error {
	rules, err := newAccessRules(graphJSON)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	t.access = rules
	return nil
}

// AccessRules returns the compiled policies of a tenant, or nil if it has no policies.
func (d *Directory) AccessRules(t *Tenant) *AccessRules {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return t.access
}

// ChangePassword changes the password as the user would.
func (d *Directory) ChangePassword(name, password string, now time.Time) error {
	return d.ChangeUser(name, func(u *User) error { u.setPassword(password, now); return nil })
}

// ResetPassword resets the password as an administrator would, and ends every session.
func (d *Directory) ResetPassword(name, password string, now time.Time) error {
	return d.ChangeUser(name, func(u *User) error {
		u.setPassword(password, now)
		u.Epoch++
		u.RevokedAt = now
		return nil
	})
}

// ExpirePassword makes the user change the password at the next sign-in.
func (d *Directory) ExpirePassword(name string) error {
	return d.ChangeUser(name, func(u *User) error { u.PasswordExpired = true; return nil })
}

// SetUserEnabled enables or disables a user.
func (d *Directory) SetUserEnabled(name string, on bool, now time.Time) error {
	return d.ChangeUser(name, func(u *User) error {
		if !on && !u.Disabled {
			u.critical(now)
		}
		u.Disabled = !on
		return nil
	})
}

// critical records an event after which resources that evaluate access continuously
// refuse all tokens issued earlier (Microsoft, "Continuous access evaluation",
// critical event evaluation).
func (u *User) critical(now time.Time) { u.Critical, u.CriticalAt = u.Critical+1, now }

// RequireMFA enables or disables per-user multifactor authentication.
func (d *Directory) RequireMFA(name string, on bool, now time.Time) error {
	return d.ChangeUser(name, func(u *User) error {
		if on && !u.MFARequired {
			u.critical(now)
		}
		u.MFARequired = on
		return nil
	})
}

// Revoke ends all sessions of a user.
func (d *Directory) Revoke(name string, now time.Time) error {
	return d.ChangeUser(name, func(u *User) error {
		u.Epoch++
		u.RevokedAt = now
		u.critical(now)
		return nil
	})
}

// SetRisk sets the user risk and the risk of the next sign-ins.
func (d *Directory) SetRisk(name, userRisk, signInRisk string, now time.Time) error {
	for _, level := range []string{userRisk, signInRisk} {
		if _, err := RiskLevel(level); err != nil {
			return err
		}
	}
	return d.ChangeUser(name, func(u *User) error {
		if userRisk == "high" && u.UserRisk != "high" {
			u.critical(now)
		}
		u.UserRisk, u.SignInRisk = userRisk, signInRisk
		return nil
	})
}

// SetTOTP replaces the secret of the user's authenticator app; "" removes it.
func (d *Directory) SetTOTP(name, secret string) error {
	var raw []byte
	if secret != "" {
		var err error
		if raw, err = totp.Secret(secret); err != nil {
			return fmt.Errorf("entratest: %w", err)
		}
	}
	return d.ChangeUser(name, func(u *User) error { u.TOTP, u.TOTPStep = raw, 0; return nil })
}

// RenameUser changes the names of a user; an empty argument leaves a name unchanged.
func (d *Directory) RenameUser(name, newUPN, newName string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.users[d.Qualify(name)]
	if old == nil {
		return fmt.Errorf("%w: %s", ErrNoUser, name)
	}
	u := *old
	if newUPN != "" {
		u.UPN = d.Qualify(newUPN)
	}
	_, domain, _ := strings.Cut(u.UPN, "@")
	if other := d.users[strings.ToLower(u.UPN)]; other != nil && other.ID != u.ID {
		return fmt.Errorf("entratest: two users are named %s", u.UPN)
	} else if d.domains[strings.ToLower(domain)] != u.Tenant {
		return fmt.Errorf("entratest: %s is not a domain of the user's tenant", domain)
	}
	if newName != "" {
		u.Name = newName
	}
	delete(d.users, strings.ToLower(old.UPN))
	d.users[strings.ToLower(u.UPN)], d.byID[u.ID] = &u, &u
	return nil
}

// DeleteUser removes a user with the keys registered for them.
func (d *Directory) DeleteUser(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.users[d.Qualify(name)]
	if u == nil {
		return fmt.Errorf("%w: %s", ErrNoUser, name)
	}
	delete(d.users, strings.ToLower(u.UPN))
	delete(d.byID, u.ID)
	delete(u.Tenant.memberOf, u.ID)
	for _, k := range u.Hello {
		delete(d.ngc, k.Kid)
	}
	for _, k := range u.Passkeys {
		delete(d.passkey, k.ID)
	}
	return nil
}

// GrantConsent remembers what a user allowed a client.
func (d *Directory) GrantConsent(u *User, client string, scopes []string) error {
	return d.ChangeUser(u.UPN, func(u *User) error {
		u.Consents = maps.Clone(u.Consents)
		if u.Consents == nil {
			u.Consents = map[string][]string{}
		}
		merged := slices.Concat(u.Consents[client], scopes)
		slices.Sort(merged)
		u.Consents[client] = slices.Compact(merged)
		return nil
	})
}

// HasAccessPass reports whether the user has an access pass to sign in with.
func (u *User) HasAccessPass() bool { return u.AccessPass != nil && !u.AccessPass.Used }

var ErrPassword = errors.New("entratest: not the user's password")

// ReplacePassword changes a password unless it was changed in the meantime. It returns
// the user as of that change, since a later look-up may find the user deleted.
func (d *Directory) ReplacePassword(upn, old, next string, now time.Time) (changed *User, err error) {
	err = d.ChangeUser(upn, func(u *User) error {
		if subtle.ConstantTimeCompare([]byte(u.Password), []byte(old)) != 1 {
			return ErrPassword
		}
		u.setPassword(next, now)
		changed = u
		return nil
	})
	return changed, err
}

// setPassword sets the password and ends the sessions that began with the old one.
func (u *User) setPassword(password string, now time.Time) {
	u.Password, u.PasswordExpired = password, false
	u.PasswordGen++
	u.PasswordChangedAt = now
	u.critical(now)
	u.Failures, u.LockedUntil = 0, time.Time{}
}

// AccessPass is a temporary access pass.
type AccessPass struct {
	Value   string
	Once    bool
	Used    bool // used up, which only happens to a pass with Once
	Expires time.Time
}

// Assigned reports whether the user is one of those in a list of users and groups.
func (d *Directory) Assigned(list []string, u *User) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	groups := u.Tenant.transitiveGroups(u.ID)
	return slices.ContainsFunc(list, func(who string) bool {
		id := d.objectID(u.Tenant, who)
		return id == u.ID || slices.Contains(groups, id)
	})
}

// RevokeCertificate puts a user certificate on the revocation list.
func (d *Directory) RevokeCertificate(serial *big.Int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.revoked[serial.Text(16)] = true
}

// CertificateRevoked reports whether a user certificate is on the revocation
// list.
func (d *Directory) CertificateRevoked(serial *big.Int) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.revoked[serial.Text(16)]
}
