package entratest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
)

// passkeyRecord is what the directory holds of a passkey.
type passkeyRecord struct {
	id     string // base64url
	pub    crypto.PublicKey
	aaguid string
	handle []byte
	count  uint32 // of the last assertion
}

// putPasskeys adds passkeys to a user, all or none. The caller holds the lock.
func (d *directory) putPasskeys(u *user, list ...passkeyRecord) error {
	all := slices.Clone(u.passkeys)
	for _, k := range list {
		if d.passkey[k.id] != "" || slices.ContainsFunc(all, func(other passkeyRecord) bool { return other.id == k.id }) {
			return fmt.Errorf("entratest: user %s: a passkey with the id %s is registered already", u.upn, k.id)
		}
		all = append(all, k.of(u))
	}
	u.passkeys = all
	for _, k := range list {
		d.passkey[k.id] = u.id
	}
	return nil
}

// of gives a record the handle that it has unless the passkey names another.
func (k passkeyRecord) of(u *user) passkeyRecord {
	if k.handle == nil {
		k.handle = []byte(u.id)
	}
	return k
}

// countPasskey records the counter of an assertion. Without a rise the
// authenticator may have been cloned (WebAuthn Level 2, 7.2, step 21).
func (d *directory) countPasskey(upn, id string, count uint32) error {
	return d.changeUser(upn, func(u *user) error {
		u.passkeys = slices.Clone(u.passkeys)
		for i := range u.passkeys {
			k := &u.passkeys[i]
			if k.id != id {
				continue
			}
			if (count != 0 || k.count != 0) && count <= k.count {
				return fmt.Errorf("cloned authenticator: signature counter %d does not rise above %d", count, k.count)
			}
			k.count = count
		}
		return nil
	})
}

func (u *user) passkeyIDs() []string {
	ids := []string{}
	for _, k := range u.passkeys {
		ids = append(ids, k.id)
	}
	return ids
}

func (k passkeySpec) record() (passkeyRecord, error) {
	pub := k.Public
	if pub == nil && k.Key != nil {
		pub = &k.Key.PublicKey
	}
	switch pub.(type) {
	case *ecdsa.PublicKey, *rsa.PublicKey:
	default:
		return passkeyRecord{}, errors.New("a passkey needs a P-256 or RSA key")
	}
	if len(k.ID) == 0 {
		return passkeyRecord{}, errors.New("a passkey needs an ID")
	}
	return passkeyRecord{id: base64.RawURLEncoding.EncodeToString(k.ID), pub: pub, aaguid: k.AAGUID, handle: k.UserHandle, count: k.Count}, nil
}

// addPasskey registers a passkey of a user.
func (d *directory) addPasskey(username string, k passkeySpec) error {
	rec, err := k.record()
	if err != nil {
		return fmt.Errorf("entratest: %w", err)
	}
	return d.changeUser(username, func(u *user) error { return d.putPasskeys(u, rec) })
}

// passkeyUser finds the user of a passkey.
func (d *directory) passkeyUser(id string) *user {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.byID[d.passkey[id]]
}
