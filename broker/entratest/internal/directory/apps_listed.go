package directory

import (
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/firstparty"
)

// listedApp makes the application of Microsoft that the published list has under
// an app id: a client, a resource or both.
func listedApp(id string) (builtin, bool) {
	c := firstparty.Lookup(id)
	if rid, ok := firstparty.Resource(id); c == nil && (!ok || rid != strings.ToLower(id)) {
		return builtin{}, false
	}
	b := builtin{AppSpec: AppSpec{ClientID: id, FirstParty: true}, anyScope: true}
	return b.withList(c), true
}

// withList takes what the list says about a client; its word rules.
func (b builtin) withList(c *firstparty.Client) builtin {
	if b.listed = c; c == nil {
		return b
	}
	b.Name, b.Public, b.FOCI = c.Name, c.Public, c.Family
	b.Redirects = slices.Clone(c.Redirects)
	return b
}

// ListedScopes returns what the list says the client has of a resource. Where it
// is silent about a pair of Microsoft's, nobody outside knows: the client has all
// of it, which the log says.
func (a *App) ListedScopes(resource *App) (scopes []string, known bool) {
	if a.listed == nil || !resource.FirstParty {
		return nil, true
	}
	return a.listed.Scopes(resource.ID)
}

// Unlisted reports that nothing is known about a client of Microsoft: neither
// the list nor this package says what it has.
func (a *App) Unlisted() bool {
	return a.FirstParty && !a.own && a.listed == nil && a.Preauthorised == nil
}

// addListed gives the tenant an application of the published list when it is
// asked for the first time, or returns nil.
func (d *Directory) addListed(t *Tenant, id string) *App {
	b, ok := listedApp(id)
	if !ok {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if id = strings.ToLower(id); t.apps[id] == nil && t.addApp(d.rand, b) != nil {
		return nil
	}
	return t.apps[id]
}
