package entratest

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
)

// app is a registered application: a client, a resource, or both.
type app struct {
	appSpec
	id       string // lower-case client id
	own      bool   // of the tenant, not built in
	policyID string // what Conditional Access knows it as
	anyScope bool   // a resource that knows scopes beyond Exposes
	noDevice bool   // exempt from device grants: what a device needs before it is one
}

// builtin is an application of Microsoft, with what an appSpec cannot say.
type builtin struct {
	appSpec
	policyID string
	anyScope bool
	noDevice bool
}

func (t *tenant) addApp(r *ids.Source, o any) error {
	a := &app{}
	switch o := o.(type) {
	case appSpec:
		a.appSpec, a.own = o, true
	case builtin:
		a.appSpec, a.policyID, a.anyScope, a.noDevice = o.appSpec, o.policyID, o.anyScope, o.noDevice
	}
	a.id = strings.ToLower(a.ClientID)
	if a.id == "" {
		a.id = r.Derived("app", t.domain+"/"+a.Name+strings.Join(a.URIs, " "))
	}
	if a.Name == "" {
		a.Name = a.id
	}
	if a.policyID == "" {
		a.policyID = a.id
	}
	if a.Exposes == nil {
		a.Exposes = []string{"user_impersonation"}
	}
	if a.TokenVersion == 0 {
		a.TokenVersion = 1
	}
	for _, raw := range a.Redirects {
		if u, err := url.Parse(raw); err != nil || u.Scheme == "" {
			return fmt.Errorf("entratest: app %s: redirect %q is not a URI", a.Name, raw)
		}
	}
	t.apps[a.id] = a
	for _, uri := range append([]string{a.id, "api://" + a.id}, a.URIs...) {
		t.resources[resourceKey(uri)] = a
	}
	return nil
}

func resourceKey(uri string) string { return strings.ToLower(strings.TrimRight(uri, "/")) }

func (d *directory) app(t *tenant, id string) *app {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return t.apps[strings.ToLower(id)]
}

func (d *directory) resource(t *tenant, uri string) *app {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return t.resources[resourceKey(uri)]
}

// clients returns the applications of a tenant.
func (d *directory) clients(t *tenant) []*app {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.Collect(maps.Values(t.apps))
}
