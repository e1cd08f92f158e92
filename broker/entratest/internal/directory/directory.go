// Package directory holds the data that an administrator sees: tenants, users,
// devices, applications and policies, and the log of sign-ins. It knows nothing of
// requests and tokens.
package directory

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/claims"
)

// Directory holds tenants, users, devices and applications. Records are
// immutable snapshots: an update replaces the pointer under the lock, so that
// a request works with the records it looked up without holding the lock.
type Directory struct {
	rand  *ids.Source
	quota int
	lag   lag

	mu      sync.RWMutex // guards all below and the fields of the tenants
	tenants []*Tenant    // the first is the home tenant
	domains map[string]*Tenant
	users   map[string]*User           // by lower-case UPN
	byID    map[string]*User           // by object id
	devices map[string]*Device         // by device id
	joined  []string                   // device ids in the order of joining
	owned   map[string]int             // live devices by object id of the owner
	byKey   map[string]string          // device id by owner and device key
	ngc     map[string]string          // Hello key id → object id of its user
	helloOn map[string]map[string]bool // device id → object ids of users who made Hello keys on it
	gone    []goneKey                  // Hello keys of deleted devices, oldest first
	deleted []deletedDevice            // can be restored, oldest first
	passkey map[string]string          // credential id → object id of its user
	guests  map[string]string          // object id by the name of an external user at home, also behind the id of a tenant and a space
	revoked map[string]bool            // serial numbers of user certificates, hex
}

// Tenant is a tenant. Its maps are guarded by the directory's lock; id, domain
// and the like never change.
type Tenant struct {
	ID, Domain, Name, Region string
	domains                  []string        // verified, besides Domain and the federated ones
	Federated                map[string]bool // domains, lower case
	FederatedMFA             string          // federatedIdpMfaBehavior; never ""
	groups                   map[string]*Group
	groupNames               map[string]string   // lower-case name → id
	memberOf                 map[string][]string // object or group id → ids of groups
	apps                     map[string]*App     // by client id
	resources                map[string]*App     // by lower-case identifier
	access                   *AccessRules        // Conditional Access, replaced as a whole
}

// Group is a security group.
type Group struct{ ID, Name string }

// User is one state of a user.
type User struct {
	Tenant            *Tenant
	ID, UPN, Name     string
	SID               string
	Mail              string
	Password          string
	PasswordExpired   bool
	PasswordChangedAt time.Time
	PasswordGen       int // counts changes of the password, each of which ends sessions from earlier ones
	Epoch             int // counts revocations
	RevokedAt         time.Time
	Critical          int // counts the critical events of continuous access evaluation
	CriticalAt        time.Time
	MFARequired       bool   // at every sign-in, whatever Conditional Access says
	TOTP              []byte // secret
	TOTPStep          uint64 // time step of the last code used
	Hardware          []byte // secret of a hardware token
	HardwareStep      uint64
	FederationTOTP    []byte // secret of the codes at the federation server
	NumberMatch       bool
	PhoneSignIn       bool
	Phone             string
	AccessPass        *AccessPass
	Hello             []*HelloKey
	Passkeys          []Passkey
	Certified         bool // a user certificate was issued
	Roles             []string
	Guest             bool
	Disabled          bool
	UserRisk          string
	SignInRisk        string
	Failures          int
	LockedUntil       time.Time
	Consents          map[string][]string // client id → resource scopes, see consentKey
	Terms             []string
	Visible           time.Time // when the sign-in service first knows the user
}

// HelloKey is a Windows Hello for Business key.
type HelloKey struct {
	ID       string // the server's GUID
	Kid      string // base64 of the SHA-256 of the key blob
	Key      *rsa.PublicKey
	Blob     []byte
	DeviceID string
	Created  time.Time
}

// Device is one state of a device object.
type Device struct {
	Tenant        *Tenant
	ID, ObjectID  string
	Name, Kind    string
	OSVersion     string
	JoinType      int
	Owner         string // object id; "" for a hybrid device without a user yet
	Key           *rsa.PublicKey
	Transport     *rsa.PublicKey
	CertSHA1      string
	CertSHA256    [32]byte
	KeyMaterial   string // base64 of the transport key as sent
	Enabled       bool
	WorksUntil    time.Time // even though it is not enabled
	Compliant     bool
	Managed       bool
	Registered    time.Time
	Visible       time.Time // when the sign-in service first knows it
	TriesLeft     int       // refused attempts left before the lag ends early; negative: only the clock ends it
	Methods       claims.Methods
	MFATime       time.Time // of the registration
	Pending       bool      // a synchronised hybrid device that has not joined yet
	ComputerKey   *rsa.PublicKey
	ComputerSID   string
	AttestationID string
}

var (
	ErrNoUser   = errors.New("entratest: no such user")
	errNoDevice = errors.New("entratest: no such device")
)

// New returns a directory with the tenants; quota is how many devices a user may own.
func New(tenants []TenantSpec, quota int, r *ids.Source) (*Directory, error) {
	d := &Directory{
		rand: r, quota: quota,
		domains: map[string]*Tenant{}, users: map[string]*User{}, byID: map[string]*User{},
		devices: map[string]*Device{}, owned: map[string]int{}, byKey: map[string]string{},
		ngc: map[string]string{}, helloOn: map[string]map[string]bool{}, passkey: map[string]string{}, guests: map[string]string{}, revoked: map[string]bool{},
	}
	for _, t := range tenants {
		if err := d.addTenant(t); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *Directory) addTenant(o TenantSpec) error {
	if o.Domain == "" {
		return errors.New("entratest: a tenant needs a domain")
	}
	t := &Tenant{
		domains: o.Domains, ID: strings.ToLower(o.TenantID), Domain: strings.ToLower(o.Domain), Name: o.DisplayName, Region: "EU",
		Federated: map[string]bool{}, groups: map[string]*Group{}, groupNames: map[string]string{},
		memberOf: map[string][]string{}, apps: map[string]*App{}, resources: map[string]*App{},
	}
	if t.ID == "" {
		t.ID = d.rand.Derived("tenant", t.Domain)
	}
	if !ids.IsGUID(t.ID) {
		return fmt.Errorf("entratest: tenant id %q is not a GUID", o.TenantID)
	}
	if t.Name == "" {
		t.Name = t.Domain
	}
	switch t.FederatedMFA = o.FederatedMFA; t.FederatedMFA {
	case "":
		t.FederatedMFA = acceptFederatedMFA
	case acceptFederatedMFA, enforceFederatedMFA, RejectFederatedMFA:
	default:
		return fmt.Errorf("entratest: tenant %s: FederatedMFA %q is not a federatedIdpMfaBehavior", t.Domain, o.FederatedMFA)
	}
	if d.domains[t.Domain] != nil {
		return fmt.Errorf("entratest: two tenants have the domain %s", t.Domain)
	}
	d.tenants = append(d.tenants, t)
	d.domains[t.Domain] = t
	for _, name := range o.Domains {
		name = strings.ToLower(name)
		if other := d.domains[name]; other != nil && other != t {
			return fmt.Errorf("entratest: two tenants have the domain %s", name)
		}
		d.domains[name] = t
	}
	for _, f := range o.Federated {
		t.Federated[strings.ToLower(f)] = true
		d.domains[strings.ToLower(f)] = t
	}
	for _, a := range builtinApps() {
		if err := t.addApp(d.rand, a); err != nil {
			return err
		}
	}
	for _, a := range o.Apps {
		if err := t.addApp(d.rand, a); err != nil {
			return err
		}
	}
	for _, u := range o.Users {
		if err := d.addUserTo(t, u); err != nil {
			return err
		}
	}
	for _, g := range o.Groups {
		if err := d.addGroupTo(t, g); err != nil {
			return err
		}
	}
	for _, dev := range o.Devices {
		if err := d.addDeviceTo(t, dev); err != nil {
			return err
		}
	}
	return d.SetPolicies(t, o.Policies)
}

// Home returns the first tenant. The list of tenants never changes after the start.
func (d *Directory) Home() *Tenant { return d.tenants[0] }

// Tenants returns all tenants, the home tenant first.
func (d *Directory) Tenants() []*Tenant { return d.tenants }

// Tenant finds a tenant by id or verified domain.
func (d *Directory) Tenant(name string) *Tenant {
	name = strings.ToLower(name)
	d.mu.RLock()
	defer d.mu.RUnlock()
	if t := d.domains[name]; t != nil {
		return t
	}
	for _, t := range d.tenants {
		if t.ID == name {
			return t
		}
	}
	return nil
}

// TenantOf finds the tenant of a user name by its domain, or the one that invited the
// user of another domain.
func (d *Directory) TenantOf(upn string) *Tenant {
	_, domain, ok := strings.Cut(upn, "@")
	if !ok {
		return nil
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if t := d.domains[strings.ToLower(domain)]; t != nil {
		return t
	}
	if u := d.guest(nil, upn); u != nil {
		return u.Tenant
	}
	return nil
}

// User finds a user by the UPN, in any case, or an external user of a domain that is not
// served by the name there. It returns nil if there is no such user.
func (d *Directory) User(upn string) *User {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.replicated(d.users[strings.ToLower(upn)])
}

// UserByID finds a user by the object id. It returns nil if there is no such user.
func (d *Directory) UserByID(id string) *User {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.replicated(d.byID[strings.ToLower(id)])
}

// Device finds a device by the device id. It returns nil if there is no such device.
func (d *Directory) Device(id string) *Device {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.devices[strings.ToLower(id)]
}

// Qualify adds the domain of the home tenant to a bare name.
func (d *Directory) Qualify(name string) string {
	if !strings.Contains(name, "@") {
		name += "@" + d.Home().Domain
	}
	return strings.ToLower(name)
}

// ChangeUser replaces the snapshot of a user with a changed copy. The function
// must replace, not modify, slices and maps that it changes.
func (d *Directory) ChangeUser(upn string, change func(*User) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.users[d.Qualify(upn)]
	if old == nil {
		return fmt.Errorf("%w: %s", ErrNoUser, upn)
	}
	u := *old
	if err := change(&u); err != nil {
		return err
	}
	d.users[strings.ToLower(u.UPN)] = &u
	d.byID[u.ID] = &u
	return nil
}

func (d *Directory) changeDevice(id string, change func(*Device) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.devices[strings.ToLower(id)]
	if old == nil {
		return fmt.Errorf("%w: %s", errNoDevice, id)
	}
	dev := *old
	if err := change(&dev); err != nil {
		return err
	}
	d.devices[dev.ID] = &dev
	return nil
}

// Devices returns the devices in the order in which they joined.
func (d *Directory) Devices() []*Device {
	d.mu.RLock()
	defer d.mu.RUnlock()
	list := make([]*Device, 0, len(d.devices))
	for _, id := range d.joined {
		if dev := d.devices[id]; dev != nil {
			list = append(list, dev)
		}
	}
	return list
}

// Users returns the users of all tenants, by name.
func (d *Directory) Users() []*User {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.SortedFunc(maps.Values(d.users), func(a, b *User) int { return strings.Compare(a.UPN, b.UPN) })
}

// transitiveGroups returns the ids of all groups that contain the object.
// The caller holds the lock.
func (t *Tenant) transitiveGroups(id string) []string {
	var found []string
	queue := t.memberOf[id]
	seen := map[string]bool{}
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		if seen[next] {
			continue
		}
		seen[next] = true
		found = append(found, next)
		queue = append(slices.Clip(queue), t.memberOf[next]...)
	}
	slices.Sort(found)
	return found
}

// GroupsOf returns the transitive groups of a user.
func (d *Directory) GroupsOf(u *User) []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return u.Tenant.transitiveGroups(u.ID)
}

// Memberships returns the transitive groups of a user with their names.
func (d *Directory) Memberships(u *User) []Group {
	d.mu.RLock()
	defer d.mu.RUnlock()
	list := []Group{}
	for _, id := range u.Tenant.transitiveGroups(u.ID) {
		g := Group{ID: id}
		if known := u.Tenant.groups[id]; known != nil {
			g.Name = known.Name
		}
		list = append(list, g)
	}
	return list
}
