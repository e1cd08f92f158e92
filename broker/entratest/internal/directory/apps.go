package directory

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/firstparty"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
)

// App is a registered application: a client, a resource, or both.
type App struct {
	AppSpec
	ID       string             // lower-case client id
	own      bool               // added by the tenant, not built in
	PolicyID string             // id in Conditional Access policies
	AnyScope bool               // a resource with scopes beyond Exposes
	NoDevice bool               // exempt from device grants, since a device needs it before it can satisfy them
	listed   *firstparty.Client // what is published about it, if anything
	visible  time.Time          // when the sign-in service first knows this state of it
	former   *App               // the state that it knows until then; nil: none
}

// builtin is a Microsoft application, with traits that an AppSpec cannot express.
type builtin struct {
	AppSpec
	policyID string
	anyScope bool
	noDevice bool
	listed   *firstparty.Client
}

func (t *Tenant) addApp(r *ids.Source, o any) error {
	a, err := t.newApp(r, o)
	if err == nil {
		t.putApp(a)
	}
	return err
}

// newApp makes an application from an AppSpec or a builtin.
func (t *Tenant) newApp(r *ids.Source, o any) (*App, error) {
	a := &App{}
	switch o := o.(type) {
	case AppSpec:
		a.AppSpec, a.own = o, true
	case builtin:
		if o.listed == nil {
			o = o.withList(firstparty.Lookup(o.ClientID))
		}
		a.AppSpec, a.PolicyID, a.AnyScope, a.NoDevice, a.listed = o.AppSpec, o.policyID, o.anyScope, o.noDevice, o.listed
	}
	a.ID = strings.ToLower(a.ClientID)
	if a.ID == "" {
		a.ID = r.Derived("app", t.Domain+"/"+a.Name+strings.Join(a.URIs, " "))
	}
	if a.Name == "" {
		a.Name = a.ID
	}
	if a.PolicyID == "" {
		a.PolicyID = a.ID
	}
	if a.ServicePrincipalID == "" {
		a.ServicePrincipalID = r.Derived("service principal", t.Domain+"/"+a.ID)
	}
	if a.Exposes == nil {
		a.Exposes = []string{"user_impersonation"}
	}
	if a.TokenVersion == 0 {
		a.TokenVersion = 1
	}
	for _, raw := range a.Redirects {
		if u, err := url.Parse(raw); err != nil || u.Scheme == "" {
			return nil, fmt.Errorf("entratest: app %s: redirect %q is not a URI", a.Name, raw)
		}
	}
	return a, nil
}

func (t *Tenant) putApp(a *App) {
	t.apps[a.ID] = a
	for _, uri := range a.identifiers() {
		t.resources[ResourceKey(uri)] = a
	}
}

// identifiers are the names of the application as a resource.
func (a *App) identifiers() []string { return append([]string{a.ID, "api://" + a.ID}, a.URIs...) }

func (a *App) identifiedBy(key string) bool {
	return slices.ContainsFunc(a.identifiers(), func(uri string) bool { return ResourceKey(uri) == key })
}

// Proves reports whether the application has a credential of its own, so that it can
// be a confidential client.
func (a *App) Proves() bool {
	return a.Secret != "" || len(a.Certificates) > 0 || len(a.Federated) > 0
}

// Granted returns the application permissions that a client has for a resource,
// and whether it is assigned to the resource at all.
func (d *Directory) Granted(t *Tenant, client, resource *App) (roles []string, assigned bool) {
	for uri, list := range client.Permissions {
		if d.Resource(t, uri) == resource {
			roles, assigned = append(roles, list...), true
		}
	}
	slices.Sort(roles)
	return slices.Compact(roles), assigned || client == resource
}

// RolesOf returns the app roles of a resource that a user has, directly or through a
// group.
func (d *Directory) RolesOf(a *App, u *User) (roles []string) {
	for role, who := range a.RoleAssignments {
		if d.Assigned(who, u) {
			roles = append(roles, role)
		}
	}
	slices.Sort(roles)
	return roles
}

// ResourceKey returns the key of a resource in the tenant's index: in lower case and
// without a trailing slash.
func ResourceKey(uri string) string { return strings.ToLower(strings.TrimRight(uri, "/")) }

// App finds an application by its client id; nil if the tenant has none.
func (d *Directory) App(t *Tenant, id string) *App {
	d.mu.RLock()
	a := d.replicatedApp(t.apps[strings.ToLower(id)])
	d.mu.RUnlock()
	if a != nil {
		return a
	}
	return d.addListed(t, id)
}

// Resource finds a resource by any of its identifiers; nil if the tenant has none.
func (d *Directory) Resource(t *Tenant, uri string) *App {
	d.mu.RLock()
	newest := t.resources[ResourceKey(uri)]
	a := d.replicatedApp(newest)
	if a != nil && a != newest && !a.identifiedBy(ResourceKey(uri)) {
		a = nil
	}
	d.mu.RUnlock()
	if a != nil {
		return a
	}
	id, ok := firstparty.Resource(strings.TrimPrefix(uri, "api://"))
	if !ok {
		return nil
	}
	return d.App(t, id)
}

// Clients returns the applications of a tenant.
func (d *Directory) Clients(t *Tenant) []*App {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.Collect(maps.Values(t.apps))
}

// AppName returns the name of the application with a client id, in any tenant, or
// the id itself if the application is unknown.
func (d *Directory) AppName(id string) string {
	for _, t := range d.tenants {
		if a := d.App(t, id); a != nil {
			return a.Name
		}
	}
	return id
}
