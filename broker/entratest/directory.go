package entratest

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

// directory holds tenants, users, devices and applications. Records are
// immutable snapshots: an update replaces the pointer under the lock, so that
// a request works with what it looked up and no lock is held while it does.
type directory struct {
	rand  *ids.Source
	quota int

	mu      sync.RWMutex // guards all below, the tenants' fields too
	tenants []*tenant    // the first is the home tenant
	domains map[string]*tenant
	users   map[string]*user   // by lower-case UPN
	byID    map[string]*user   // by object id
	devices map[string]*device // by device id
	joined  []string           // device ids in the order of joining
	owned   map[string]int     // live devices by object id of the owner
	byKey   map[string]string  // device id by owner and device key
	ngc     map[string]string  // Hello key id → object id of its user
	gone    []goneKey          // Hello keys of deleted devices, oldest first
	passkey map[string]string  // credential id → object id of its user
	revoked map[string]bool    // serial numbers of user certificates, hex
}

// tenant is a tenant. Its maps are guarded by the directory's lock; id, domain
// and the like never change.
type tenant struct {
	id, domain, name, region string
	federated                map[string]bool // domains, lower case
	federatedMFA             string          // federatedIdpMfaBehavior; never ""
	groups                   map[string]*group
	groupNames               map[string]string   // lower-case name → id
	memberOf                 map[string][]string // object or group id → ids of groups
	apps                     map[string]*app     // by client id
	resources                map[string]*app     // by lower-case identifier
	access                   *accessRules        // Conditional Access, replaced as a whole
}

type group struct{ id, name string }

// user is one state of a user.
type user struct {
	tenant            *tenant
	id, upn, name     string
	sid               string
	password          string
	passwordExpired   bool
	passwordChangedAt time.Time
	passwordGen       int // counts changes of the password: what was born of an older one is dead
	epoch             int // counts revocations
	revokedAt         time.Time
	totp              []byte // secret
	totpStep          uint64 // last time step whose code was used
	hardware          []byte // secret of a hardware token
	hardwareStep      uint64
	federationTOTP    []byte // secret that the federation server knows
	numberMatch       bool
	phoneSignIn       bool
	phone             string
	accessPass        *accessPass
	hello             []*helloKey
	passkeys          []passkeyRecord
	certified         bool // a user certificate was issued
	roles             []string
	guest             bool
	disabled          bool
	userRisk          string
	signInRisk        string
	failures          int
	lockedUntil       time.Time
	consents          map[string][]string // client id → resource scopes, see consentKey
	terms             []string
}

type helloKey struct {
	id       string // the server's GUID
	kid      string // base64 of the SHA-256 of the key blob
	pub      *rsa.PublicKey
	blob     []byte
	deviceID string
	created  time.Time
}

// device is one state of a device object.
type device struct {
	tenant        *tenant
	id, objectID  string
	name, kind    string
	osVersion     string
	joinType      int
	owner         string // object id; "" for a hybrid device before its user
	pub           *rsa.PublicKey
	transport     *rsa.PublicKey
	certSHA1      string
	certSHA256    [32]byte
	keyMaterial   string // base64 of the transport key as sent
	enabled       bool
	compliant     bool
	managed       bool
	registered    time.Time
	visible       time.Time // when the token service knows it
	triesLeft     int       // refused tries that end the lag early; negative: only the clock does
	methods       claims.Methods
	mfaTime       time.Time // of the registration
	pending       bool      // a synchronised hybrid device that has not joined yet
	computerKey   *rsa.PublicKey
	computerSID   string
	attestationID string
}

var (
	errNoUser   = errors.New("entratest: no such user")
	errNoDevice = errors.New("entratest: no such device")
)

func newDirectory(tenants []tenantSpec, quota int, r *ids.Source) (*directory, error) {
	d := &directory{
		rand: r, quota: quota,
		domains: map[string]*tenant{}, users: map[string]*user{}, byID: map[string]*user{},
		devices: map[string]*device{}, owned: map[string]int{}, byKey: map[string]string{},
		ngc: map[string]string{}, passkey: map[string]string{}, revoked: map[string]bool{},
	}
	for _, t := range tenants {
		if err := d.addTenant(t); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *directory) addTenant(o tenantSpec) error {
	if o.Domain == "" {
		return errors.New("entratest: a tenant needs a domain")
	}
	t := &tenant{
		id: strings.ToLower(o.TenantID), domain: strings.ToLower(o.Domain), name: o.DisplayName, region: "EU",
		federated: map[string]bool{}, groups: map[string]*group{}, groupNames: map[string]string{},
		memberOf: map[string][]string{}, apps: map[string]*app{}, resources: map[string]*app{},
	}
	if t.id == "" {
		t.id = d.rand.Derived("tenant", t.domain)
	}
	if !ids.IsGUID(t.id) {
		return fmt.Errorf("entratest: tenant id %q is not a GUID", o.TenantID)
	}
	if t.name == "" {
		t.name = t.domain
	}
	switch t.federatedMFA = o.FederatedMFA; t.federatedMFA {
	case "":
		t.federatedMFA = acceptFederatedMFA
	case acceptFederatedMFA, enforceFederatedMFA, rejectFederatedMFA:
	default:
		return fmt.Errorf("entratest: tenant %s: FederatedMFA %q is no federatedIdpMfaBehavior", t.domain, o.FederatedMFA)
	}
	if d.domains[t.domain] != nil {
		return fmt.Errorf("entratest: two tenants have the domain %s", t.domain)
	}
	d.tenants = append(d.tenants, t)
	d.domains[t.domain] = t
	for _, f := range o.Federated {
		t.federated[strings.ToLower(f)] = true
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
	return d.setPolicies(t, o.Policies)
}

// home is the first tenant. The slice never changes after the start.
func (d *directory) home() *tenant { return d.tenants[0] }

func (d *directory) allTenants() []*tenant { return d.tenants }

// tenant finds a tenant by id or verified domain.
func (d *directory) tenant(name string) *tenant {
	name = strings.ToLower(name)
	d.mu.RLock()
	defer d.mu.RUnlock()
	if t := d.domains[name]; t != nil {
		return t
	}
	for _, t := range d.tenants {
		if t.id == name {
			return t
		}
	}
	return nil
}

// tenantOf finds the tenant of a user name by its domain.
func (d *directory) tenantOf(upn string) *tenant {
	_, domain, ok := strings.Cut(upn, "@")
	if !ok {
		return nil
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.domains[strings.ToLower(domain)]
}

func (d *directory) user(upn string) *user {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.users[strings.ToLower(upn)]
}

func (d *directory) userByID(id string) *user {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.byID[strings.ToLower(id)]
}

func (d *directory) device(id string) *device {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.devices[strings.ToLower(id)]
}

// qualify adds the domain of the home tenant to a bare name.
func (d *directory) qualify(name string) string {
	if !strings.Contains(name, "@") {
		name += "@" + d.home().domain
	}
	return strings.ToLower(name)
}

// changeUser replaces the snapshot of a user by a changed copy. The function
// must replace slices and maps that it changes.
func (d *directory) changeUser(upn string, change func(*user) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.users[d.qualify(upn)]
	if old == nil {
		return fmt.Errorf("%w: %s", errNoUser, upn)
	}
	u := *old
	if err := change(&u); err != nil {
		return err
	}
	d.users[strings.ToLower(u.upn)] = &u
	d.byID[u.id] = &u
	return nil
}

func (d *directory) changeDevice(id string, change func(*device) error) error {
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
	d.devices[dev.id] = &dev
	return nil
}

// deviceList returns the devices in the order of their joining.
func (d *directory) deviceList() []*device {
	d.mu.RLock()
	defer d.mu.RUnlock()
	list := make([]*device, 0, len(d.devices))
	for _, id := range d.joined {
		if dev := d.devices[id]; dev != nil {
			list = append(list, dev)
		}
	}
	return list
}

// userList returns the users of all tenants, by name.
func (d *directory) userList() []*user {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.SortedFunc(maps.Values(d.users), func(a, b *user) int { return strings.Compare(a.upn, b.upn) })
}

// transitiveGroups returns the ids of all groups that hold the object.
// The caller holds the lock.
func (t *tenant) transitiveGroups(id string) []string {
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

// groupsOf returns the transitive groups of a user.
func (d *directory) groupsOf(u *user) []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return u.tenant.transitiveGroups(u.id)
}

// memberships returns the transitive groups of a user with their names.
func (d *directory) memberships(u *user) []group {
	d.mu.RLock()
	defer d.mu.RUnlock()
	list := []group{}
	for _, id := range u.tenant.transitiveGroups(u.id) {
		g := group{id: id}
		if known := u.tenant.groups[id]; known != nil {
			g.name = known.name
		}
		list = append(list, g)
	}
	return list
}
