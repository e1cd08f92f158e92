package entratest

import (
	"crypto/rsa"
	"errors"
	"fmt"
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

var errQuota = errors.New("entratest: the owner of the device has as many as one may have")

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
// stay known for a while, so that their use names the missing device
// (AADSTS130008).
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
	d.dropHelloKeys(dev.id)
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
