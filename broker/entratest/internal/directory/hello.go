package directory

import (
	"errors"
	"maps"
	"slices"
	"strings"
)

// HelloUser finds the user of a Hello key.
func (d *Directory) HelloUser(kid string) (*User, *HelloKey) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	u := d.byID[d.ngc[kid]]
	if u == nil {
		return nil, nil
	}
	for _, k := range u.Hello {
		if k.Kid == kid {
			return u, k
		}
	}
	return nil, nil
}

var ErrKeyTaken = errors.New("entratest: the key belongs to another user")

// SetHelloKey stores a key. A user has one key per device, and a key belongs to one
// device.
func (d *Directory) SetHelloKey(upn string, key *HelloKey) error {
	return d.ChangeUser(upn, func(u *User) error {
		if of, taken := d.ngc[key.Kid]; taken && of != u.ID {
			return ErrKeyTaken
		}
		kept := make([]*HelloKey, 0, len(u.Hello)+1)
		d.gone = slices.DeleteFunc(slices.Clone(d.gone), func(g goneKey) bool { return g.Kid == key.Kid })
		for _, k := range u.Hello {
			if k.DeviceID == key.DeviceID || k.Kid == key.Kid {
				delete(d.ngc, k.Kid)
				continue
			}
			kept = append(kept, k)
		}
		u.Hello = append(kept, key)
		d.putHelloKey(key, u.ID)
		return nil
	})
}

// putHelloKey records which user a Hello key belongs to, and that the user has a key
// on the device. The latter entry may outlive the key. The caller holds the lock.
func (d *Directory) putHelloKey(k *HelloKey, user string) {
	d.ngc[k.Kid] = user
	users := d.helloOn[k.DeviceID]
	if users == nil {
		users = map[string]bool{}
		d.helloOn[k.DeviceID] = users
	}
	users[user] = true
}

// RemoveHelloKey removes the keys for which drop returns true and returns their number.
func (d *Directory) RemoveHelloKey(upn string, drop func(*HelloKey) bool) (n int, err error) {
	err = d.ChangeUser(upn, func(u *User) error {
		kept := make([]*HelloKey, 0, len(u.Hello))
		for _, k := range u.Hello {
			if drop(k) {
				delete(d.ngc, k.Kid)
				n++
				continue
			}
			kept = append(kept, k)
		}
		u.Hello = kept
		return nil
	})
	return n, err
}

// goneKey is a Hello key that was removed with its device.
type goneKey struct {
	Kid  string
	User string // object id
}

// goneKeys is how many removed keys are remembered.
const goneKeys = 1024

// dropHelloKeys removes the keys made on a device and returns them by the object
// id of their user. The caller holds the lock.
func (d *Directory) dropHelloKeys(deviceID string) map[string]*HelloKey {
	dropped := map[string]*HelloKey{}
	for _, id := range slices.Sorted(maps.Keys(d.helloOn[deviceID])) {
		u := d.byID[id]
		if u == nil || !slices.ContainsFunc(u.Hello, func(k *HelloKey) bool { return k.DeviceID == deviceID }) {
			continue
		}
		next := *u
		next.Hello = nil
		for _, k := range u.Hello {
			if k.DeviceID != deviceID {
				next.Hello = append(next.Hello, k)
				continue
			}
			delete(d.ngc, k.Kid)
			dropped[u.ID] = k
			d.gone = append(slices.Clone(d.gone[max(len(d.gone)+1-goneKeys, 0):]), goneKey{k.Kid, u.ID})
		}
		d.users[strings.ToLower(u.UPN)], d.byID[u.ID] = &next, &next
	}
	delete(d.helloOn, deviceID)
	return dropped
}

// WentWithDevice reports whether a user's Hello key was removed with its device.
func (d *Directory) WentWithDevice(kid, upn string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	u := d.users[strings.ToLower(upn)]
	return u != nil && slices.Contains(d.gone, goneKey{kid, u.ID})
}
