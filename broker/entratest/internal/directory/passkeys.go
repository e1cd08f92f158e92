package directory

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
)

// Passkey is the record of a passkey in the directory.
type Passkey struct {
	ID     string // base64url
	Key    crypto.PublicKey
	AAGUID string
	Handle []byte
	count  uint32 // of the last assertion
}

// putPasskeys adds passkeys to a user, either all of them or none. The caller holds
// the lock.
func (d *Directory) putPasskeys(u *User, list ...Passkey) error {
	all := slices.Clone(u.Passkeys)
	for _, k := range list {
		if d.passkey[k.ID] != "" || slices.ContainsFunc(all, func(other Passkey) bool { return other.ID == k.ID }) {
			return fmt.Errorf("entratest: user %s: a passkey with the id %s is registered already", u.UPN, k.ID)
		}
		all = append(all, k.of(u))
	}
	u.Passkeys = all
	for _, k := range list {
		d.passkey[k.ID] = u.ID
	}
	return nil
}

// of returns the record with the user's id as the handle, unless it names another.
func (k Passkey) of(u *User) Passkey {
	if k.Handle == nil {
		k.Handle = []byte(u.ID)
	}
	return k
}

// CountPasskey records the counter of an assertion. If it does not increase, the
// authenticator may have been cloned (WebAuthn Level 2, 7.2, step 21).
func (d *Directory) CountPasskey(upn, id string, count uint32) error {
	return d.ChangeUser(upn, func(u *User) error {
		u.Passkeys = slices.Clone(u.Passkeys)
		for i := range u.Passkeys {
			k := &u.Passkeys[i]
			if k.ID != id {
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

// PasskeyIDs lists the credential ids of the user's passkeys in standard base64, as
// the pages and GetCredentialType name them (libhimmelblau, examples of the FIDO
// flow).
func (u *User) PasskeyIDs() []string {
	ids := []string{}
	for _, k := range u.Passkeys {
		if raw, err := base64.RawURLEncoding.DecodeString(k.ID); err == nil {
			ids = append(ids, base64.StdEncoding.EncodeToString(raw))
		}
	}
	return ids
}

func (k PasskeySpec) record() (Passkey, error) {
	pub := k.Public
	if pub == nil && k.Key != nil {
		pub = &k.Key.PublicKey
	}
	switch pub.(type) {
	case *ecdsa.PublicKey, *rsa.PublicKey:
	default:
		return Passkey{}, errors.New("a passkey needs a P-256 or RSA key")
	}
	if len(k.ID) == 0 {
		return Passkey{}, errors.New("a passkey needs an ID")
	}
	return Passkey{ID: base64.RawURLEncoding.EncodeToString(k.ID), Key: pub, AAGUID: k.AAGUID, Handle: k.UserHandle, count: k.Count}, nil
}

// AddPasskey registers a passkey of a user.
func (d *Directory) AddPasskey(username string, k PasskeySpec) error {
	rec, err := k.record()
	if err != nil {
		return fmt.Errorf("entratest: %w", err)
	}
	return d.ChangeUser(username, func(u *User) error { return d.putPasskeys(u, rec) })
}

// PasskeyUser finds the user of a passkey.
func (d *Directory) PasskeyUser(id string) *User {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.byID[d.passkey[id]]
}
