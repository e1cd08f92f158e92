package directory

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// TrustType returns the kind of join, as Microsoft Graph names it.
func (dev *Device) TrustType() string {
	switch dev.JoinType {
	case wire.JoinTypeRegister:
		return "Workplace"
	case wire.JoinTypeHybrid:
		return "ServerAd"
	}
	return "AzureAd"
}

var ErrQuota = errors.New("entratest: the owner of the device has reached the device limit")

// trustTypes are the kinds of join by their names; "": joined.
var trustTypes = map[string]int{"": wire.JoinTypeJoin, "azuread": wire.JoinTypeJoin, "workplace": wire.JoinTypeRegister, "serverad": wire.JoinTypeHybrid}

// addDeviceTo adds a device without keys, with which nobody can sign in.
func (d *Directory) addDeviceTo(t *Tenant, o DeviceSpec) error {
	kind, ok := trustTypes[strings.ToLower(o.TrustType)]
	if !ok {
		return fmt.Errorf("entratest: device %s: %q is not a trustType: AzureAd, Workplace or ServerAd", o.Name, o.TrustType)
	}
	dev := &Device{
		Tenant: t, ID: strings.ToLower(o.ID), ObjectID: strings.ToLower(o.ObjectID), Name: o.Name, Kind: o.OS, OSVersion: o.OSVersion,
		JoinType: kind, Managed: o.Managed || o.Compliant, Compliant: o.Compliant, Enabled: !o.Disabled,
	}
	if dev.ID == "" {
		dev.ID = d.rand.Derived("device", t.Domain+"/"+o.Name)
	}
	if !ids.IsGUID(dev.ID) {
		return fmt.Errorf("entratest: device %s: id %q is not a GUID", o.Name, o.ID)
	}
	if dev.ObjectID == "" {
		dev.ObjectID = d.rand.Derived("device object", dev.ID)
	}
	if d.devices[dev.ID] != nil {
		return fmt.Errorf("entratest: two devices have the id %s", dev.ID)
	}
	if o.Owner != "" {
		if dev.Owner = d.objectID(t, o.Owner); dev.Owner == "" {
			return fmt.Errorf("entratest: device %s: no user is named %s", o.Name, o.Owner)
		}
	}
	return d.AddDevice(dev)
}

// AddDevice stores a new device, or the new keys of one that joins again.
func (d *Directory) AddDevice(dev *Device) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, again := d.devices[dev.ID]; !again {
		if dev.Owner != "" && d.owned[dev.Owner] >= d.quota {
			return ErrQuota
		}
		d.joined = append(d.joined, dev.ID)
		d.owned[dev.Owner]++
	}
	d.putDevice(dev)
	return nil
}

// putDevice stores a device under its id and its key. The caller holds the
// lock.
func (d *Directory) putDevice(dev *Device) {
	d.devices[dev.ID] = dev
	if dev.Key != nil {
		d.byKey[keyOf(dev.Owner, dev.Key)] = dev.ID
	}
}

func keyOf(owner string, pub *rsa.PublicKey) string { return owner + string(pub.N.Bytes()) }

// DeviceByKey returns the owner's device with that device key, or nil if the owner
// has no such device.
func (d *Directory) DeviceByKey(owner string, key *rsa.PublicKey) *Device {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.devices[d.byKey[keyOf(owner, key)]]
}

// Works reports whether the device may still be used: disabling it may take a while
// to have an effect.
func (dev *Device) Works(now time.Time) bool { return dev.Enabled || now.Before(dev.WorksUntil) }

// SetDeviceEnabled enables or disables a device. A disabled device still works until
// the time until.
func (d *Directory) SetDeviceEnabled(id string, on bool, until time.Time) error {
	return d.changeDevice(id, func(dev *Device) error {
		if dev.Enabled && !on {
			dev.WorksUntil = until
		}
		dev.Enabled = on
		return nil
	})
}

// SetCompliant sets whether device management reports a device as compliant. The
// device is managed from then on.
func (d *Directory) SetCompliant(id string, on bool) error {
	return d.changeDevice(id, func(dev *Device) error { dev.Compliant, dev.Managed = on, true; return nil })
}

// DeleteDevice removes a device and the Hello keys made on it. The keys' ids
// stay known for a while, so that an attempt to use one gets the error that its
// device is missing (AADSTS130008).
func (d *Directory) DeleteDevice(id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	dev := d.devices[strings.ToLower(id)]
	if dev == nil {
		return fmt.Errorf("%w: %s", errNoDevice, id)
	}
	delete(d.devices, dev.ID)
	if dev.Key != nil && d.byKey[keyOf(dev.Owner, dev.Key)] == dev.ID {
		delete(d.byKey, keyOf(dev.Owner, dev.Key))
	}
	if i := slices.Index(d.joined, dev.ID); i >= 0 {
		d.joined = slices.Delete(d.joined, i, i+1)
	}
	if d.owned[dev.Owner]--; d.owned[dev.Owner] <= 0 {
		delete(d.owned, dev.Owner)
	}
	d.deleted = append(slices.Clone(d.deleted[max(len(d.deleted)+1-deletedDevices, 0):]), deletedDevice{dev, d.dropHelloKeys(dev.ID)})
	return nil
}

// deletedDevice is a deleted device and the Hello keys made on it, by the object id
// of their user.
type deletedDevice struct {
	*Device
	keys map[string]*HelloKey
}

// deletedDevices is how many deleted devices are kept for restoring.
const deletedDevices = 1024

// RestoreDevice brings back a deleted device and the Hello keys made on it. It
// is not compliant until device management says so (Microsoft, "Soft delete
// devices", 2026-04).
func (d *Directory) RestoreDevice(id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.deleted, func(g deletedDevice) bool { return strings.EqualFold(g.ID, id) })
	if i < 0 || d.devices[d.deleted[i].ID] != nil {
		return fmt.Errorf("%w among the deleted devices: %s", errNoDevice, id)
	}
	back := d.deleted[i]
	d.deleted = slices.Delete(slices.Clone(d.deleted), i, i+1)
	dev := *back.Device
	dev.Compliant = false
	d.putDevice(&dev)
	d.joined = append(d.joined, dev.ID)
	d.owned[dev.Owner]++
	for id, k := range back.keys {
		u := d.byID[id]
		if u == nil {
			continue
		}
		next := *u
		next.Hello = append(slices.Clone(u.Hello), k)
		d.users[strings.ToLower(u.UPN)], d.byID[u.ID] = &next, &next
		d.putHelloKey(k, u.ID)
		d.gone = slices.DeleteFunc(slices.Clone(d.gone), func(g goneKey) bool { return g.Kid == k.Kid })
	}
	return nil
}

// Replicated reports whether the sign-in service knows the device yet, and counts
// this attempt if not.
func (d *Directory) Replicated(id string, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	dev := d.devices[id]
	if dev == nil || !now.Before(dev.Visible) || dev.TriesLeft == 0 {
		return true
	}
	if dev.TriesLeft > 0 {
		next := *dev
		next.TriesLeft--
		d.devices[id] = &next
	}
	return false
}
