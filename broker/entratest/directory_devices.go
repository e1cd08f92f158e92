package entratest

import (
	"crypto/rsa"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/internal/wire"
)

func (dev *device) trustType() string {
	switch dev.joinType {
	case wire.JoinTypeRegister:
		return "Workplace"
	case wire.JoinTypeHybrid:
		return "ServerAd"
	}
	return "AzureAd"
}

// addDevice stores a new device, or the new keys of one that joins again.
func (d *directory) addDevice(dev *device) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, again := d.devices[dev.id]; !again {
		if dev.owner != "" && d.owned[dev.owner] >= d.quota {
			return errQuota
		}
		d.joined = append(d.joined, dev.id)
		d.owned[dev.owner]++
	}
	d.putDevice(dev)
	return nil
}

// putDevice stores a device under its id and its key. The caller holds the
// lock.
func (d *directory) putDevice(dev *device) {
	d.devices[dev.id] = dev
	if dev.pub != nil {
		d.byKey[keyOf(dev.owner, dev.pub)] = dev.id
	}
}

func keyOf(owner string, pub *rsa.PublicKey) string { return owner + string(pub.N.Bytes()) }

// deviceByKey returns the owner's device with that device key; nil when there
// is none.
func (d *directory) deviceByKey(owner string, key *rsa.PublicKey) *device {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.devices[d.byKey[keyOf(owner, key)]]
}

func (d *directory) setDeviceEnabled(id string, on bool) error {
	return d.changeDevice(id, func(dev *device) error { dev.enabled = on; return nil })
}

func (d *directory) setCompliant(id string, on bool) error {
	return d.changeDevice(id, func(dev *device) error { dev.compliant, dev.managed = on, true; return nil })
}

// deleteDevice removes a device and the Hello keys made on it. The keys' ids
// stay known, so that their use names the missing device (AADSTS130008).
func (d *directory) deleteDevice(id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	dev := d.devices[strings.ToLower(id)]
	if dev == nil {
		return fmt.Errorf("%w: %s", errNoDevice, id)
	}
	delete(d.devices, dev.id)
	if dev.pub != nil && d.byKey[keyOf(dev.owner, dev.pub)] == dev.id {
		delete(d.byKey, keyOf(dev.owner, dev.pub))
	}
	if i := slices.Index(d.joined, dev.id); i >= 0 {
		d.joined = slices.Delete(d.joined, i, i+1)
	}
	if d.owned[dev.owner]--; d.owned[dev.owner] <= 0 {
		delete(d.owned, dev.owner)
	}
	return nil
}

// replicated reports whether the token service knows the device yet, and
// counts a refused try.
func (d *directory) replicated(id string, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	dev := d.devices[id]
	if dev == nil || !now.Before(dev.visible) || dev.triesLeft == 0 {
		return true
	}
	if dev.triesLeft > 0 {
		next := *dev
		next.triesLeft--
		d.devices[id] = &next
	}
	return false
}

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

var errKeyTaken = drsFail(http.StatusBadRequest, "InvalidRequest", "The request is not valid.").because("the key is another user's")

// setHelloKey stores a key; a user has one per device, and a key is of one
// device.
func (d *directory) setHelloKey(upn string, key *helloKey) error {
	return d.changeUser(upn, func(u *user) error {
		if of, taken := d.ngc[key.kid]; taken && of != u.id {
			return errKeyTaken
		}
		kept := make([]*helloKey, 0, len(u.hello)+1)
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
