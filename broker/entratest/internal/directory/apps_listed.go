package directory

import (
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/firstparty"
)

// listedApp returns the Microsoft application, a client, a resource or both, that the
// published list has under an app id.
func listedApp(id string) (builtin, bool) {
	c := firstparty.Lookup(id)
	if rid, ok := firstparty.Resource(id); c == nil && (!ok || rid != strings.ToLower(id)) {
		return builtin{}, false
	}
	b := builtin{AppSpec: AppSpec{ClientID: id, FirstParty: true}, anyScope: true}
	return b.withList(c), true
}

// withList fills in what the list says about a client, which takes precedence.
func (b builtin) withList(c *firstparty.Client) builtin {
	if b.listed = c; c == nil {
		return b
	}
	b.Name, b.Public, b.FOCI = c.Name, c.Public, c.Family
	b.Redirects = slices.Clone(c.Redirects)
	return b
}

// ListedScopes returns the scopes of a resource that the client has according to the
// list. If the list does not cover a pair of Microsoft applications, nothing is known
// publicly: the client gets all scopes, and the log says so.
func (a *App) ListedScopes(resource *App) (scopes []string, known bool) {
	if a.listed == nil || !resource.FirstParty {
		return nil, true
	}
	return a.listed.Scopes(resource.ID)
}

// Unlisted reports whether this is a Microsoft client about which nothing is known:
// neither the list nor this package says which scopes it has.
func (a *App) Unlisted() bool {
	return a.FirstParty && !a.own && a.listed == nil && a.Preauthorised == nil
}

// addListed adds an application from the published list to the tenant on its first
// use. It returns nil if the list does not have it.
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
