package broker

import (
	"slices"
	"strings"
)

// oidcScopes ask for no resource: what they stand for comes anyway.
var oidcScopes = []string{"openid", "profile", "email", "offline_access"}

// normalise returns the scopes in one spelling: lower case, sorted, each once,
// without those of OpenID Connect.
func normalise(scopes []string) []string {
	out := make([]string, 0, len(scopes))
	for _, s := range scopes {
		s = strings.ToLower(strings.TrimSpace(s))
		if s != "" && !slices.Contains(oidcScopes, s) {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// resource returns the one resource that the scopes belong to: what stands
// before the last slash, or Graph for a scope without one. "…//.default" names
// a resource that ends in a slash.
func (b *Broker) resource(scopes []string) (string, error) {
	var resource string
	for _, s := range scopes {
		s = strings.TrimSpace(s)
		if s == "" || slices.Contains(oidcScopes, strings.ToLower(s)) {
			continue
		}
		r := b.resourceOf(s)
		if resource != "" && !strings.EqualFold(resource, r) {
			return "", &Error{kind: ErrAppConfig, detail: "the scopes belong to several resources (" + clean(resource) + ", " + clean(r) + "): ask for one at a time"}
		}
		resource = r
	}
	if resource == "" {
		resource = "https://" + b.login.GraphHost
	}
	return resource, nil
}

func (b *Broker) resourceOf(scope string) string {
	i := strings.LastIndexByte(scope, '/')
	if i < 0 {
		return "https://" + b.login.GraphHost
	}
	return scope[:i]
}
