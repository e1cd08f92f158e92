package entratest

import (
	"crypto/subtle"
	"net/url"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// clientApp finds a client that is allowed to be one.
func (s *Server) clientApp(t *directory.Tenant, id string) (*directory.App, error) {
	if id == "" {
		return nil, web.InvalidRequest(900144, "The request body must contain the following parameter: 'client_id'.")
	}
	a := s.dir.App(t, id)
	if a == nil {
		return nil, web.Fail("unauthorized_client", 700016, "Application with identifier '%s' was not found in the directory '%s'.", web.Clip(id), t.Name)
	}
	if a.Disabled {
		return nil, web.Fail("unauthorized_client", 7000112, "Application '%s'(%s) is disabled.", a.ID, a.Name)
	}
	return a, nil
}

// authenticateClient checks the client's own authentication: none for a public
// client, a secret for any other.
func authenticateClient(a *directory.App, secret string, asserted bool) error {
	if a.Public {
		if secret != "" || asserted {
			return web.Fail("invalid_client", 700025, "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.")
		}
		return nil
	}
	if secret == "" {
		return web.Fail("invalid_client", 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.").
			Because("client %s is not registered as public (mobile and desktop)", a.ID)
	}
	if a.Secret == "" || subtle.ConstantTimeCompare([]byte(secret), []byte(a.Secret)) != 1 {
		return web.Fail("invalid_client", 7000215, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value.")
	}
	return nil
}

// checkRedirect checks a redirect URI. Registered ones match exactly, but for the
// port of http://localhost (RFC 8252, 7.3).
func checkRedirect(a *directory.App, uri string) error {
	if strings.HasPrefix(uri, "urn:") {
		return web.InvalidRequest(500119, "The redirect URI '%s' is not supported: urn: redirects are retired.", web.Clip(uri))
	}
	for _, r := range a.Redirects {
		if r == uri || loopback(r) && sameButPort(r, uri) {
			return nil
		}
	}
	return web.InvalidRequest(50011, "The redirect URI '%s' specified in the request does not match the redirect URIs configured for the application '%s'.", web.Clip(uri), a.ID).
		Because("client %s may redirect to %q, not to %q", a.ID, a.Redirects, web.Clip(uri))
}

func loopback(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && u.Scheme == "http" && (u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1")
}

func sameButPort(registered, uri string) bool {
	a, err := url.Parse(registered)
	if err != nil {
		return false
	}
	b, err := url.Parse(uri)
	return err == nil && a.Scheme == b.Scheme && a.Hostname() == b.Hostname() &&
		strings.TrimRight(a.Path, "/") == strings.TrimRight(b.Path, "/") && b.RawQuery == a.RawQuery && b.Fragment == "" && b.User == nil
}

// target is what a token request asks for.
type target struct {
	resource  *directory.App // nil: no access token is asked for (v1 without resource)
	audience  string         // as the client named the resource
	scopes    []string       // of the resource, granted; without the OIDC ones
	missing   []string       // asked for and not granted
	oidc      []string       // openid, profile, email, offline_access
	isDefault bool           // .default, or v1
	bare      bool           // scopes of Graph were asked for without its URI
	asked     string         // the scope parameter of the v2.0 endpoint
}

func (t *target) openid() bool  { return slices.Contains(t.oidc, "openid") }
func (t *target) offline() bool { return slices.Contains(t.oidc, "offline_access") }

// id returns the app id of the resource, or "".
func (t *target) id() string {
	if t.resource == nil {
		return ""
	}
	return t.resource.ID
}

// scopeString is the scope of the reply. The v2.0 endpoint names scopes as they
// were asked for, which clients compare: MSAL counts a missing one as declined.
func (t *target) scopeString(v2 bool) string {
	if !v2 {
		return strings.Join(t.scopes, " ")
	}
	out := slices.Clone(t.oidc)
	for _, sc := range t.scopes {
		if t.bare {
			out = append(out, sc)
			continue
		}
		out = append(out, strings.TrimRight(t.audience, "/")+"/"+sc)
	}
	if t.isDefault && t.resource != nil && !t.bare {
		out = append(out, strings.TrimRight(t.audience, "/")+"/.default")
	}
	return strings.Join(out, " ")
}

var oidcScopes = []string{"openid", "profile", "email", "offline_access"}

// resolveV1 resolves the resource parameter of the v1 endpoint. Scopes of the
// protocol itself (aza, ugs) are ignored here.
func (s *Server) resolveV1(t *directory.Tenant, client *directory.App, u *directory.User, resource, scope string) (*target, error) {
	out := &target{isDefault: true}
	for _, sc := range strings.Fields(scope) {
		if slices.Contains(oidcScopes, sc) {
			out.oidc = append(out.oidc, sc)
		}
	}
	if resource == "" {
		return out, nil
	}
	out.audience = resource
	if out.resource = s.dir.Resource(t, resource); out.resource == nil {
		return nil, unknownResource(resource, t)
	}
	return out, s.grantScopes(t, client, u, out, nil)
}

func unknownResource(resource string, t *directory.Tenant) error {
	return web.Fail("invalid_resource", 500011, "The resource principal named %s was not found in the tenant named %s.", web.Clip(resource), t.Name)
}

// resolveV2 resolves the scope parameter of the v2 endpoint.
func (s *Server) resolveV2(t *directory.Tenant, client *directory.App, u *directory.User, scope string) (*target, error) {
	out := &target{asked: scope}
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
		res := s.dir.Resource(t, uri)
		if res == nil {
			return nil, unknownResource(uri, t)
		}
		if out.resource != nil && out.resource != res {
			return nil, web.Fail("invalid_scope", 28000, "Provided value for the input parameter scope is not valid because it contains more than one resource. Scope %s is not valid.", web.Clip(scope))
		}
		if name == "" {
			return nil, web.Fail("invalid_scope", 70011, "The provided value for the input parameter 'scope' is not valid. The scope '%s' is empty.", web.Clip(sc))
		}
		out.resource, out.audience = res, uri
		if name == ".default" {
			out.isDefault = true
			continue
		}
		asked = append(asked, name)
	}
	if out.resource == nil {
		if len(out.oidc) == 0 {
			return nil, web.InvalidRequest(900144, "The request body must contain the following parameter: 'scope'.")
		}
		// Sign-in scopes alone bring a token for the user's own profile.
		out.audience, out.bare = wire.ResourceGraph, true
		out.resource = s.dir.Resource(t, wire.ResourceGraph)
		return out, nil
	}
	if out.isDefault && len(asked) > 0 {
		return nil, web.Fail("invalid_scope", 70011, "The provided value for the input parameter 'scope' is not valid. .default scope can't be combined with resource-specific scopes.")
	}
	return out, s.grantScopes(t, client, u, out, asked)
}

// grantScopes fills in what the client has of the resource; asked nil means
// all of it.
func (s *Server) grantScopes(t *directory.Tenant, client *directory.App, u *directory.User, out *target, asked []string) error {
	has, all := s.granted(client, u, out.resource)
	if asked == nil {
		out.scopes = has
		if all {
			out.scopes = out.resource.Exposes
		}
		if len(out.scopes) == 0 {
			out.missing = []string{".default"}
		}
		return nil
	}
	for _, sc := range asked {
		if !out.resource.AnyScope && !slices.Contains(out.resource.Exposes, sc) {
			return web.Fail("invalid_scope", 70011, "The provided request must include a 'scope' input parameter. The scope '%s' does not exist on %s.", web.Clip(sc), out.resource.Name)
		}
		if all || slices.Contains(has, sc) {
			out.scopes = append(out.scopes, sc)
			continue
		}
		out.missing = append(out.missing, sc)
	}
	return nil
}

// granted returns the scopes of resource that the client has for the user.
func (s *Server) granted(client *directory.App, u *directory.User, resource *directory.App) (scopes []string, all bool) {
	if client == resource || client.AdminConsent {
		return nil, true
	}
	for uri, list := range client.Preauthorised {
		if s.dir.Resource(u.Tenant, uri) != resource {
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

// consent refuses a target of which the client lacks scopes.
func consent(client *directory.App, tg *target) error {
	if len(tg.missing) == 0 {
		return nil
	}
	if client.FirstParty {
		return web.InvalidRequest(65002, "Consent between first party application '%s' and first party resource '%s' must be configured via preauthorization.", client.ID, tg.resource.ID).
			Because("client %s is not preauthorised for %v of %s", client.ID, tg.missing, tg.resource.Name)
	}
	return web.InvalidGrant(65001, "The user or administrator has not consented to use the application with ID '%s' named '%s'. Send an interactive authorization request for this user and resource.", client.ID, client.Name).
		Sub("consent_required").Because("client %s lacks consent for %v of %s", client.ID, tg.missing, tg.resource.Name)
}

// assigned checks that the user may use the app.
func (s *Server) assigned(a *directory.App, u *directory.User) error {
	if a == nil || a.AssignTo == nil {
		return nil
	}
	if s.dir.Assigned(a.AssignTo, u) {
		return nil
	}
	return web.Fail("access_denied", 50105, "Your administrator has configured the application %s ('%s') to block users unless they are specifically granted ('assigned') access to the application.", a.Name, a.ID)
}
