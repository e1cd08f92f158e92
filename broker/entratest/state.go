package entratest

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// stateFormat is the version of the saved state.
const stateFormat = 1

// savedState is what a server needs to go on where another one stopped.
type savedState struct {
	Format   int
	Seed     uint64
	Random   []byte // state of the source of identifiers, so that none is made twice
	Ahead    int64  // seconds that a running clock is ahead of the real time
	CA       []byte // DER of the TLS authority
	CAKey    []byte // its key, PKCS #8
	Tenants  []savedTenant
	Users    []savedUser   // by object id
	Devices  []savedDevice // in the order of joining
	Revoked  []string      `json:",omitempty"` // serial numbers of user certificates
	GoneKeys []goneKey     `json:",omitempty"` // Hello keys of deleted devices
	Redeemed map[string]int64
	PRTs     []trackedPRT
	SignIns  []SignIn
}

type savedTenant struct {
	ID, Domain, Name string
	Federated        []string
	FederatedMFA     string            `json:",omitempty"`
	Apps             []App             // without the built-in ones
	Groups           map[string]string // id → name
	MemberOf         map[string][]string
	Policies         json.RawMessage `json:",omitempty"`
}

// State returns the state of the server, for the State of the [Options] of a
// later one: users and devices, applications, groups, policies, the log, the
// list of PRTs, and the keys of the service, so that tokens and certificates
// stay good. Sign-ins that are under way and faults are not part of it. Equal
// states give equal bytes.
//
// It holds passwords and keys in the clear. They open nothing but this tenant,
// and whoever has them can speak for it; keep the file to its owner.
func (s *Server) State() ([]byte, error) {
	random, err := s.rand.State()
	if err != nil {
		return nil, fmt.Errorf("entratest: state: %w", err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(s.tlsCA.key)
	if err != nil {
		return nil, fmt.Errorf("entratest: state: %w", err)
	}
	st := savedState{
		Format: stateFormat, Seed: s.rand.Seed, Random: random, Ahead: s.clock.ahead(), CA: s.tlsCA.der, CAKey: key,
		Redeemed: s.flow.redeemedCodes(), PRTs: s.prts.all(), SignIns: s.log.all(),
	}
	if err := s.dir.save(&st); err != nil {
		return nil, fmt.Errorf("entratest: state: %w", err)
	}
	return json.Marshal(st)
}

func readState(data []byte) (*savedState, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var st savedState
	if err := json.Unmarshal(data, &st); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	if st.Format != stateFormat || len(st.Tenants) == 0 {
		return nil, fmt.Errorf("state: format %d is not known", st.Format)
	}
	return &st, nil
}

// options returns options whose tenants are those of the state.
func (st *savedState) options(o Options) Options {
	o.Seed, o.Users, o.Groups, o.Apps, o.OtherTenants = st.Seed, nil, nil, nil, nil
	for i, t := range st.Tenants {
		policies := t.Policies
		if i > 0 {
			o.OtherTenants = append(o.OtherTenants, Tenant{Domain: t.Domain, TenantID: t.ID, DisplayName: t.Name,
				Federated: t.Federated, FederatedMFA: t.FederatedMFA, Apps: t.Apps, Policies: policies})
			continue
		}
		o.Domain, o.TenantID, o.DisplayName, o.Federated, o.Apps = t.Domain, t.ID, t.Name, t.Federated, t.Apps
		o.FederatedMFA = t.FederatedMFA
		if o.Policies == nil {
			o.Policies = policies
		}
	}
	return o
}

// restore fills a server that was started with st.options.
func (s *Server) restore(st *savedState) error {
	if err := s.dir.load(st); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if err := s.rand.Restore(st.Random); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	s.clock.setAhead(st.Ahead)
	s.flow.restoreRedeemed(st.Redeemed)
	s.prts.restore(st.PRTs)
	s.log.restore(st.SignIns, s.opts.SignInLog)
	return nil
}

// authority is the TLS authority of the state.
func (st *savedState) authority(hosts []string) (*tlsAuthority, error) {
	key, err := x509.ParsePKCS8PrivateKey(st.CAKey)
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	return tlsAuthorityFrom(st.CA, key, hosts)
}

func (d *directory) save(st *savedState) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, t := range d.tenants {
		st.Tenants = append(st.Tenants, t.save())
	}
	for _, id := range slices.Sorted(maps.Keys(d.byID)) {
		u, err := d.byID[id].save()
		if err != nil {
			return err
		}
		st.Users = append(st.Users, u)
	}
	st.Revoked = slices.Sorted(maps.Keys(d.revoked))
	st.GoneKeys = d.gone
	for _, id := range d.joined {
		if dev := d.devices[id]; dev != nil {
			saved, err := dev.save()
			if err != nil {
				return err
			}
			st.Devices = append(st.Devices, saved)
		}
	}
	return nil
}

// save is called with the lock held.
func (t *tenant) save() savedTenant {
	st := savedTenant{ID: t.id, Domain: t.domain, Name: t.name, Federated: slices.Sorted(maps.Keys(t.federated)), FederatedMFA: t.federatedMFA,
		Groups: map[string]string{}, MemberOf: t.memberOf}
	for _, id := range slices.Sorted(maps.Keys(t.apps)) {
		if a := t.apps[id]; a.own {
			own := a.App
			own.ClientID = a.id
			st.Apps = append(st.Apps, own)
		}
	}
	for id, g := range t.groups {
		st.Groups[id] = g.name
	}
	if t.access != nil {
		st.Policies = t.access.raw
	}
	return st
}

func (d *directory) load(st *savedState) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, t := range st.Tenants {
		to := d.tenants[i]
		for id, name := range t.Groups {
			to.groups[id] = &group{id, name}
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
		d.users[strings.ToLower(u.upn)], d.byID[u.id] = u, u
		for _, k := range u.hello {
			d.ngc[k.kid] = u.id
		}
		for _, k := range u.passkeys {
			d.passkey[k.id] = u.id
		}
	}
	for _, saved := range st.Devices {
		dev, err := saved.device(d)
		if err != nil {
			return err
		}
		d.putDevice(dev)
		d.joined = append(d.joined, dev.id)
		d.owned[dev.owner]++
	}
	return nil
}

// tenantByID is called with the lock held.
func (d *directory) tenantByID(id string) (*tenant, error) {
	for _, t := range d.tenants {
		if t.id == id {
			return t, nil
		}
	}
	return nil, errors.New("a user or device of no tenant")
}

// savedKey is a public key, PKIX DER; empty: none.
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
