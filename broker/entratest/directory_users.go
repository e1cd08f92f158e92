package entratest

import (
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

func (d *directory) addUser(u userSpec) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := d.qualify(u.Username)
	_, domain, _ := strings.Cut(name, "@")
	t := d.domains[domain]
	if t == nil {
		return fmt.Errorf("entratest: user %s: no tenant has this domain", u.Username)
	}
	return d.addUserTo(t, u)
}

func (d *directory) addUserTo(t *tenant, o userSpec) error {
	upn := o.Username
	if upn == "" {
		return fmt.Errorf("entratest: a user needs a Username")
	}
	if !strings.Contains(upn, "@") {
		upn += "@" + t.domain
	}
	key := strings.ToLower(upn)
	if d.users[key] != nil {
		return fmt.Errorf("entratest: two users are named %s", upn)
	}
	u := &user{
		tenant: t, id: strings.ToLower(o.ID), upn: upn, name: o.Name, sid: o.SID, password: o.Password,
		numberMatch: o.NumberMatch || o.PhoneSignIn, phoneSignIn: o.PhoneSignIn, phone: o.Phone, roles: slices.Clone(o.Roles), guest: o.Guest, disabled: o.Disabled,
	}
	if u.id == "" {
		u.id = d.rand.Derived("user", key)
	}
	if !ids.IsGUID(u.id) {
		return fmt.Errorf("entratest: user %s: id %q is not a GUID", upn, o.ID)
	}
	if d.byID[u.id] != nil {
		return fmt.Errorf("entratest: two users have the id %s", u.id)
	}
	if u.name == "" {
		local, _, _ := strings.Cut(upn, "@")
		u.name = strings.ToUpper(local[:1]) + local[1:]
	}
	for _, d := range []struct {
		text string
		to   *[]byte
	}{{o.TOTPSecret, &u.totp}, {o.HardwareTOTP, &u.hardware}, {o.FederationTOTP, &u.federationTOTP}} {
		if d.text == "" {
			continue
		}
		secret, err := totp.Secret(d.text)
		if err != nil {
			return fmt.Errorf("entratest: user %s: %w", upn, err)
		}
		*d.to = secret
	}
	var keys []passkeyRecord
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
	d.users[key], d.byID[u.id] = u, u
	return nil
}

func (d *directory) addGroup(g groupSpec) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.addGroupTo(d.home(), g)
}

func (d *directory) addGroupTo(t *tenant, g groupSpec) error {
	if g.Name == "" {
		return fmt.Errorf("entratest: a group needs a Name")
	}
	id := strings.ToLower(g.ID)
	if id == "" {
		id = d.rand.Derived("group", t.domain+"/"+g.Name)
	}
	t.groups[id] = &group{id, g.Name}
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
func (d *directory) objectID(t *tenant, name string) string {
	key := strings.ToLower(name)
	if id, ok := t.groupNames[key]; ok {
		return id
	}
	if t.groups[key] != nil || d.byID[key] != nil {
		return key
	}
	if !strings.Contains(key, "@") {
		key += "@" + t.domain
	}
	if u := d.users[key]; u != nil {
		return u.id
	}
	return ""
}

func (d *directory) addApp(a appSpec) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.home().addApp(d.rand, a)
}

func (d *directory) setPolicies(t *tenant, graphJSON json.RawMessage) error {
	rules, err := newAccessRules(graphJSON)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	t.access = rules
	return nil
}

func (d *directory) accessRules(t *tenant) *accessRules {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return t.access
}

func (d *directory) changePassword(name, password string, now time.Time) error {
	return d.changeUser(name, func(u *user) error { u.setPassword(password, now); return nil })
}

func (d *directory) resetPassword(name, password string, now time.Time) error {
	return d.changeUser(name, func(u *user) error {
		u.setPassword(password, now)
		u.epoch++
		u.revokedAt = now
		return nil
	})
}

func (d *directory) expirePassword(name string) error {
	return d.changeUser(name, func(u *user) error { u.passwordExpired = true; return nil })
}

func (d *directory) setUserEnabled(name string, on bool) error {
	return d.changeUser(name, func(u *user) error { u.disabled = !on; return nil })
}

func (d *directory) revoke(name string, now time.Time) error {
	return d.changeUser(name, func(u *user) error {
		u.epoch++
		u.revokedAt = now
		return nil
	})
}

func (d *directory) setRisk(name, userRisk, signInRisk string) error {
	for _, level := range []string{userRisk, signInRisk} {
		if _, err := riskLevel(level); err != nil {
			return err
		}
	}
	return d.changeUser(name, func(u *user) error {
		u.userRisk, u.signInRisk = userRisk, signInRisk
		return nil
	})
}

func (d *directory) setTOTP(name, secret string) error {
	var raw []byte
	if secret != "" {
		var err error
		if raw, err = totp.Secret(secret); err != nil {
			return fmt.Errorf("entratest: %w", err)
		}
	}
	return d.changeUser(name, func(u *user) error { u.totp, u.totpStep = raw, 0; return nil })
}

func (d *directory) deleteUser(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.users[d.qualify(name)]
	if u == nil {
		return fmt.Errorf("%w: %s", errNoUser, name)
	}
	delete(d.users, strings.ToLower(u.upn))
	delete(d.byID, u.id)
	delete(u.tenant.memberOf, u.id)
	for _, k := range u.hello {
		delete(d.ngc, k.kid)
	}
	for _, k := range u.passkeys {
		delete(d.passkey, k.id)
	}
	return nil
}

// grantConsent remembers what a user allowed a client.
func (d *directory) grantConsent(u *user, client string, scopes []string) error {
	return d.changeUser(u.upn, func(u *user) error {
		u.consents = maps.Clone(u.consents)
		if u.consents == nil {
			u.consents = map[string][]string{}
		}
		merged := slices.Concat(u.consents[client], scopes)
		slices.Sort(merged)
		u.consents[client] = slices.Compact(merged)
		return nil
	})
}

// hasAccessPass reports whether the user has a pass to sign in by.
func (u *user) hasAccessPass() bool { return u.accessPass != nil && !u.accessPass.used }

var errPassword = errors.New("entratest: the password is not that of the user")

// replacePassword changes a password unless it was changed meanwhile. It returns
// the user as of then: a look-up later may find a deleted one.
func (d *directory) replacePassword(upn, old, next string, now time.Time) (changed *user, err error) {
	err = d.changeUser(upn, func(u *user) error {
		if subtle.ConstantTimeCompare([]byte(u.password), []byte(old)) != 1 {
			return errPassword
		}
		u.setPassword(next, now)
		changed = u
		return nil
	})
	return changed, err
}

// setPassword ends what was born of the old password.
func (u *user) setPassword(password string, now time.Time) {
	u.password, u.passwordExpired = password, false
	u.passwordGen++
	u.passwordChangedAt = now
	u.failures, u.lockedUntil = 0, time.Time{}
}

type accessPass struct {
	value   string
	once    bool
	used    bool // one for one sign-in
	expires time.Time
}

// assigned reports whether the user is one of those in a list of users and groups.
func (d *directory) assigned(list []string, u *user) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	groups := u.tenant.transitiveGroups(u.id)
	return slices.ContainsFunc(list, func(who string) bool {
		id := d.objectID(u.tenant, who)
		return id == u.id || slices.Contains(groups, id)
	})
}

// revokeCertificate puts a user certificate on the revocation list.
func (d *directory) revokeCertificate(serial *big.Int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.revoked[serial.Text(16)] = true
}

func (d *directory) certificateRevoked(serial *big.Int) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.revoked[serial.Text(16)]
}
