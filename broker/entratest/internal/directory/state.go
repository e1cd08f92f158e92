package directory

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
)

// Saved is the state of a directory.
type Saved struct {
	Tenants  []savedTenant
	Users    []savedUser    // by object id
	Devices  []savedDevice  // in the order of joining
	Revoked  []string       `json:",omitempty"` // serial numbers of user certificates
	GoneKeys []goneKey      `json:",omitempty"` // Hello keys of deleted devices
	Deleted  []savedDeleted `json:",omitempty"` // devices that can be restored
}

// savedDeleted is a deleted device with the Hello keys made on it.
type savedDeleted struct {
	savedDevice
	Keys map[string]savedHello // by object id of the user
}

// savedTenant is a tenant without its users and devices.
type savedTenant struct {
	ID, Domain, Name string
	Domains          []string `json:",omitempty"`
	Federated        []string
	FederatedMFA     string            `json:",omitempty"`
	Apps             []AppSpec         // without the built-in ones
	Groups           map[string]string // id → name
	MemberOf         map[string][]string
	Policies         json.RawMessage `json:",omitempty"`
}

// Save returns the state. Equal directories have equal states.
func (d *Directory) Save() (st Saved, err error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, t := range d.tenants {
		st.Tenants = append(st.Tenants, t.save())
	}
	for _, id := range slices.Sorted(maps.Keys(d.byID)) {
		u, err := d.byID[id].save()
		if err != nil {
			return st, err
		}
		st.Users = append(st.Users, u)
	}
	st.Revoked = slices.Sorted(maps.Keys(d.revoked))
	st.GoneKeys = d.gone
	for _, id := range d.joined {
		if dev := d.devices[id]; dev != nil {
			saved, err := dev.save()
			if err != nil {
				return st, err
			}
			st.Devices = append(st.Devices, saved)
		}
	}
	for _, g := range d.deleted {
		dev, err := g.save()
		if err != nil {
			return st, err
		}
		saved := savedDeleted{dev, map[string]savedHello{}}
		for id, k := range g.keys {
			if saved.Keys[id], err = k.save(); err != nil {
				return st, err
			}
		}
		st.Deleted = append(st.Deleted, saved)
	}
	return st, nil
}

// save is called with the lock held.
func (t *Tenant) save() savedTenant {
	st := savedTenant{Domains: t.domains, ID: t.ID, Domain: t.Domain, Name: t.Name, Federated: slices.Sorted(maps.Keys(t.Federated)), FederatedMFA: t.FederatedMFA,
		Groups: map[string]string{}, MemberOf: maps.Clone(t.memberOf)}
	for _, id := range slices.Sorted(maps.Keys(t.apps)) {
		if a := t.apps[id]; a.own {
			own := a.AppSpec
			own.ClientID = a.ID
			st.Apps = append(st.Apps, own)
		}
	}
	for id, g := range t.groups {
		st.Groups[id] = g.Name
	}
	if t.access != nil {
		st.Policies = t.access.Raw
	}
	return st
}

// Load fills a directory that was created with the tenants of the state.
func (d *Directory) Load(st *Saved) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, t := range st.Tenants {
		to := d.tenants[i]
		for id, name := range t.Groups {
			to.groups[id] = &Group{id, name}
			to.groupNames[strings.ToLower(name)] = id
		}
		maps.Copy(to.memberOf, t.MemberOf)
	}
	for _, serial := range st.Revoked {
		d.revoked[serial] = true
	}
	d.gone = st.GoneKeys
	for _, saved := range st.Users {
		u, err := saved.user(d)
		if err != nil {
			return err
		}
		d.users[strings.ToLower(u.UPN)], d.byID[u.ID] = u, u
		d.putGuest(u)
		for _, k := range u.Hello {
			d.putHelloKey(k, u.ID)
		}
		for _, k := range u.Passkeys {
			d.passkey[k.ID] = u.ID
		}
	}
	for _, saved := range st.Devices {
		dev, err := saved.device(d)
		if err != nil {
			return err
		}
		d.putDevice(dev)
		d.joined = append(d.joined, dev.ID)
		d.owned[dev.Owner]++
	}
	for _, saved := range st.Deleted {
		dev, err := saved.device(d)
		if err != nil {
			return err
		}
		g := deletedDevice{dev, map[string]*HelloKey{}}
		for id, k := range saved.Keys {
			if g.keys[id], err = k.key(); err != nil {
				return err
			}
		}
		d.deleted = append(d.deleted, g)
	}
	return nil
}

// tenantByID is called with the lock held.
func (d *Directory) tenantByID(id string) (*Tenant, error) {
	for _, t := range d.tenants {
		if t.ID == id {
			return t, nil
		}
	}
	return nil, errors.New("a user or device without a tenant")
}

// savedKey is a public key, PKIX DER; empty if there is no key.
type savedKey []byte

func saveKey(pub any) (savedKey, error) {
	if k, ok := pub.(*rsa.PublicKey); pub == nil || ok && k == nil {
		return nil, nil
	}
	return x509.MarshalPKIXPublicKey(pub)
}

func (k savedKey) rsa() (*rsa.PublicKey, error) {
	if len(k) == 0 {
		return nil, nil
	}
	pub, err := x509.ParsePKIXPublicKey(k)
	if err != nil {
		return nil, err
	}
	if r, ok := pub.(*rsa.PublicKey); ok {
		return r, nil
	}
	return nil, errors.New("a key that is not RSA")
}
