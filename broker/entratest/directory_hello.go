package entratest

import (
	"errors"
	"maps"
	"slices"
	"strings"
)

// helloUser finds the user of a Hello key.
func (d *directory) helloUser(kid string) (*user, *helloKey) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	u := d.byID[d.ngc[kid]]
	if u == nil {
		return nil, nil
	}
	for _, k := range u.hello {
		if k.kid == kid {
			return u, k
		}
	}
	return nil, nil
}

var errKeyTaken = errors.New("entratest: the key is another user's")

// setHelloKey stores a key; a user has one per device, and a key is of one
// device.
func (d *directory) setHelloKey(upn string, key *helloKey) error {
	return d.changeUser(upn, func(u *user) error {
		if of, taken := d.ngc[key.kid]; taken && of != u.id {
			return errKeyTaken
		}
		kept := make([]*helloKey, 0, len(u.hello)+1)
		d.gone = slices.DeleteFunc(slices.Clone(d.gone), func(g goneKey) bool { return g.Kid == key.kid })
		for _, k := range u.hello {
			if k.deviceID == key.deviceID || k.kid == key.kid {
				delete(d.ngc, k.kid)
				continue
			}
			kept = append(kept, k)
		}
		u.hello = append(kept, key)
		d.ngc[key.kid] = u.id
		return nil
	})
}

// removeHelloKey removes the keys for which drop says so and returns how many.
func (d *directory) removeHelloKey(upn string, drop func(*helloKey) bool) (n int, err error) {
	err = d.changeUser(upn, func(u *user) error {
		kept := make([]*helloKey, 0, len(u.hello))
		for _, k := range u.hello {
			if drop(k) {
				delete(d.ngc, k.kid)
				n++
				continue
			}
			kept = append(kept, k)
		}
		u.hello = kept
		return nil
	})
	return n, err
}

// goneKey is a Hello key that went with its device.
type goneKey struct {
	Kid  string
	User string // object id
}

// goneKeys is how many of them are remembered.
const goneKeys = 1024

// dropHelloKeys removes the keys made on a device. The caller holds the lock.
func (d *directory) dropHelloKeys(deviceID string) {
	for _, id := range slices.Compact(slices.Sorted(maps.Values(d.ngc))) {
		u := d.byID[id]
		if u == nil || !slices.ContainsFunc(u.hello, func(k *helloKey) bool { return k.deviceID == deviceID }) {
			continue
		}
		next := *u
		next.hello = nil
		for _, k := range u.hello {
			if k.deviceID != deviceID {
				next.hello = append(next.hello, k)
				continue
			}
			delete(d.ngc, k.kid)
			d.gone = append(slices.Clone(d.gone[max(len(d.gone)+1-goneKeys, 0):]), goneKey{k.kid, u.id})
		}
		d.users[strings.ToLower(u.upn)], d.byID[u.id] = &next, &next
	}
}

// wentWithDevice reports whether a user's Hello key went with its device.
func (d *directory) wentWithDevice(kid, upn string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	u := d.users[strings.ToLower(upn)]
	return u != nil && slices.Contains(d.gone, goneKey{kid, u.id})
}
