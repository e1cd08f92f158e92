package access

import (
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/quirks"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/policy"
)

// Target is what a token request asks for.
type Target struct {
	Resource  *directory.App // nil: the request is for no access token (v1 without resource)
	Audience  string         // as the client named the resource
	Scopes    []string       // of the resource, granted; without the OIDC ones
	Missing   []string       // requested but not granted
	oidc      []string       // openid, profile, email, offline_access
	isDefault bool           // .default, or v1
	bare      bool           // Graph scopes were requested without its URI
	Asked     string         // the scope parameter of the v2.0 endpoint
	Guessed   bool           // nothing is known about this pair of Microsoft client and resource
}

// OpenID reports whether the request asks for an id_token.
func (t *Target) OpenID() bool { return slices.Contains(t.oidc, "openid") }

// Email reports whether the request asks for the user's e-mail address.
func (t *Target) Email() bool { return slices.Contains(t.oidc, "email") }

// Default reports whether the request asks for all that the client has (/.default).
func (t *Target) Default() bool { return t.isDefault }

// Offline reports whether the request asks for a refresh token.
func (t *Target) Offline() bool { return slices.Contains(t.oidc, "offline_access") }

// ID returns the app id of the resource, or "".
func (t *Target) ID() string {
	if t.Resource == nil {
		return ""
	}
	return t.Resource.ID
}

// Quoted returns the resource as an error names it. Without a resource that is the
// directory, for the user's own entry.
func (t *Target) Quoted() string {
	if t == nil || t.Resource == nil {
		return "'" + wire.ResourceAADGraph + "'"
	}
	return "'" + t.Resource.ID + "'"
}

// ScopeString returns the scope of the reply. The v2.0 endpoint names scopes as they
// were requested, and clients compare them: MSAL treats a missing one as declined.
func (e *Engine) ScopeString(t *Target, v2 bool) string {
	if !v2 {
		return strings.Join(t.Scopes, " ")
	}
	out := slices.Clone(t.oidc)
	if e.Keeper.Quirks.On(quirks.OfflineNotEchoed) {
		out = slices.DeleteFunc(out, func(sc string) bool { return sc == "offline_access" })
	}
	for _, sc := range t.Scopes {
		if t.bare || slices.Contains(oidcScopes, sc) {
			if !slices.Contains(out, sc) {
				out = append(out, sc)
			}
			continue
		}
		out = append(out, strings.TrimRight(t.Audience, "/")+"/"+sc)
	}
	if t.isDefault && t.Resource != nil && !t.bare {
		out = append(out, strings.TrimRight(t.Audience, "/")+"/.default")
	}
	return strings.Join(out, " ")
}

var oidcScopes = []string{"openid", "profile", "email", "offline_access"}

// OpenIDScope reports whether a scope belongs to OpenID Connect and not to a resource.
func OpenIDScope(scope string) bool { return slices.Contains(oidcScopes, scope) }

// ResolveV1 resolves the resource parameter of the v1 endpoint. Scopes of the
// protocol itself (aza, ugs) are ignored here.
func (e *Engine) ResolveV1(t *directory.Tenant, client *directory.App, u *directory.User, resource, scope string) (*Target, error) {
	out := &Target{isDefault: true}
	for _, sc := range strings.Fields(scope) {
		if slices.Contains(oidcScopes, sc) {
			out.oidc = append(out.oidc, sc)
		}
	}
	if resource == "" {
		return out, nil
	}
	out.Audience = resource
	var err error
	if out.Resource, err = e.FindResource(t, resource); err != nil {
		return nil, err
	}
	return out, e.grantScopes(t, client, u, out, nil)
}

// FindResource finds an enabled resource by any of its identifiers.
func (e *Engine) FindResource(t *directory.Tenant, uri string) (*directory.App, error) {
	a := e.Keeper.Directory.Resource(t, uri)
	switch {
	case a == nil:
		return nil, UnknownResource(uri, t)
	case a.Disabled:
		return nil, web.Fail("invalid_resource", 500014, "The service principal for resource '%s' is disabled. This indicate that a subscription within the tenant has lapsed, or that the administrator for this tenant has disabled the application, preventing tokens from being issued for it.", web.Clip(uri))
	}
	return a, nil
}

// UnknownResource refuses a resource that the tenant does not have.
func UnknownResource(resource string, t *directory.Tenant) error {
	return web.Fail("invalid_resource", 500011, "The resource principal named %s was not found in the tenant named %s.", web.Clip(resource), t.Name)
}

// ResolveV2 resolves the scope parameter of the v2 endpoint.
func (e *Engine) ResolveV2(t *directory.Tenant, client *directory.App, u *directory.User, scope string) (*Target, error) {
	out := &Target{Asked: scope}
	var asked []string
	for _, sc := range strings.Fields(scope) {
		if slices.Contains(oidcScopes, sc) {
			out.oidc = append(out.oidc, sc)
			continue
		}
		if sc == wire.ScopeAZA || sc == "ugs" {
			continue
		}
		uri, name := wire.ResourceGraph, sc
		if i := strings.LastIndex(sc, "/"); i >= 0 {
			uri, name = sc[:i], sc[i+1:]
		} else {
			out.bare = true
		}
		res, err := e.FindResource(t, uri)
		if err != nil {
			return nil, err
		}
		if out.Resource != nil && out.Resource != res {
			return nil, web.Fail("invalid_scope", 28000, "Provided value for the input parameter scope is not valid because it contains more than one resource. Scope %s is not valid.", web.Clip(scope))
		}
		if name == "" {
			return nil, web.Fail("invalid_scope", 70011, "The provided value for the input parameter 'scope' is not valid. The scope '%s' is empty.", web.Clip(sc))
		}
		out.Resource, out.Audience = res, uri
		if name == ".default" {
			out.isDefault = true
			continue
		}
		asked = append(asked, name)
	}
	if out.Resource == nil {
		if len(out.oidc) == 0 {
			return nil, web.InvalidRequest(900144, "The request body must contain the following parameter: 'scope'.")
		}
		// A request with sign-in scopes alone gets a token for the user's own profile.
		out.Audience, out.bare = wire.ResourceGraph, true
		out.Resource = e.Keeper.Directory.Resource(t, wire.ResourceGraph)
		return out, nil
	}
	if out.isDefault && len(asked) > 0 {
		return nil, web.Fail("invalid_scope", 70011, "The provided value for the input parameter 'scope' is not valid. .default scope can't be combined with resource-specific scopes.")
	}
	return out, e.grantScopes(t, client, u, out, asked)
}

// grantScopes fills in the scopes of the resource that the client gets; if asked is
// nil, all that it has.
func (e *Engine) grantScopes(t *directory.Tenant, client *directory.App, u *directory.User, out *Target, asked []string) error {
	has, all := e.granted(client, u, out.Resource)
	if listed, known := client.ListedScopes(out.Resource); !known || client.Unlisted() && out.Resource.FirstParty {
		out.Guessed, all = true, true
	} else {
		has = slices.Compact(slices.Sorted(slices.Values(append(has, listed...))))
	}
	if asked == nil {
		out.Scopes = has
		if all {
			out.Scopes = out.Resource.Exposes
		}
		if len(out.Scopes) == 0 {
			out.Missing = []string{".default"}
		}
		return nil
	}
	for _, sc := range asked {
		if e.Keeper.Quirks.On(quirks.ScopesInAnyCase) {
			sc = spelled(sc, append(slices.Clone(has), out.Resource.Exposes...))
		}
		if !out.Resource.AnyScope && !slices.Contains(out.Resource.Exposes, sc) {
			return web.Fail("invalid_scope", 70011, "The provided request must include a 'scope' input parameter. The scope '%s' does not exist on %s.", web.Clip(sc), out.Resource.Name)
		}
		if all || slices.Contains(has, sc) {
			out.Scopes = append(out.Scopes, sc)
			continue
		}
		out.Missing = append(out.Missing, sc)
	}
	return nil
}

// spelled returns a scope as the resource spells it: Entra ignores the case of names.
func spelled(scope string, known []string) string {
	for _, k := range known {
		if strings.EqualFold(k, scope) {
			return k
		}
	}
	return scope
}

// granted returns the scopes of resource that the client has for the user.
func (e *Engine) granted(client *directory.App, u *directory.User, resource *directory.App) (scopes []string, all bool) {
	if client == resource || client.AdminConsent {
		return nil, true
	}
	for _, id := range []string{client.ID, client.ClientID} {
		list := resource.PreauthorisedClients[id]
		if slices.Contains(list, "*") {
			return nil, true
		}
		scopes = append(scopes, list...)
	}
	for uri, list := range client.Preauthorised {
		if e.Keeper.Directory.Resource(u.Tenant, uri) != resource {
			continue
		}
		if slices.Contains(list, "*") {
			return nil, true
		}
		scopes = append(scopes, list...)
	}
	for _, sc := range u.Consents[client.ID] {
		if name, ok := strings.CutPrefix(sc, resource.ID+"/"); ok {
			if name == ".default" {
				return nil, true
			}
			scopes = append(scopes, name)
		}
	}
	slices.Sort(scopes)
	return slices.Compact(scopes), false
}

// Consent refuses a target with scopes that the client does not have.
func Consent(client *directory.App, tg *Target) error {
	if len(tg.Missing) == 0 {
		return nil
	}
	if client.FirstParty && tg.Resource.FirstParty {
		return web.InvalidRequest(65002, "Consent between first party application '%s' and first party resource '%s' must be configured via preauthorization.", client.ID, tg.Resource.ID).
			Because("client %s is not preauthorised for %v of %s", client.ID, tg.Missing, tg.Resource.Name)
	}
	return web.InvalidGrant(65001, "The user or administrator has not consented to use the application with ID '%s' named '%s'. Send an interactive authorization request for this user and resource.", client.ID, client.Name).
		Sub("consent_required").Because("client %s lacks consent for %v of %s", client.ID, tg.Missing, tg.Resource.Name)
}

// FlowTarget resolves the target of a sign-in.
func (e *Engine) FlowTarget(fl *session.Flow, client *directory.App, u *directory.User) (*Target, error) {
	if fl.Request.V2 {
		return e.ResolveV2(u.Tenant, client, u, fl.Request.Scope)
	}
	return e.ResolveV1(u.Tenant, client, u, fl.Request.Resource, fl.Request.Scope)
}

// scopeKind classifies the scopes of a target for Conditional Access: only the
// directory and Graph have baseline scopes.
func (t *Target) scopeKind() policy.ScopeKind {
	switch {
	case t.Resource == nil:
		return policy.OpenIDScopes
	case t.Resource.ID != wire.ResourceGraphApp && t.Resource.ID != wire.ResourceAADGraph, t.isDefault:
		return policy.AnyScopes
	}
	return policy.ScopesOf(append(slices.Clone(t.oidc), t.Scopes...))
}
