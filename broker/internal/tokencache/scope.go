package tokencache

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Limits of a scope set. Entra's own are lower; these bound what a hit reads.
const (
	MaxScopes      = 64
	maxScopeLength = 512 // with the resource
)

// ErrScopes is wrapped by the errors of [Normalize].
var ErrScopes = errors.New("invalid scopes")

// OpenID is the scope that stands for those of OpenID Connect when nothing else
// is asked for.
const OpenID = "openid"

// reserved reports whether a scope is one of OpenID Connect, which say what
// comes beside the access token and ask for nothing of its resource. They are
// not part of a token's key.
func reserved(s string) bool {
	return strings.EqualFold(s, OpenID) || strings.EqualFold(s, "profile") || strings.EqualFold(s, "email") || strings.EqualFold(s, "offline_access")
}

// reservedOf is reserved for a scope with or without the default resource, which is
// Microsoft Graph: it lists them among its permissions.
func reservedOf(s, defaultResource string) bool {
	if r := ResourceOf(s); r != "" {
		return strings.EqualFold(r, defaultResource) && reserved(s[len(r)+1:])
	}
	return reserved(s)
}

// Default is the permission that stands for all that the app has consent for.
const Default = ".default"

// A Set is a normalised set of scopes: lower case, sorted, without duplicates
// and without openid, profile, email and offline_access, each with its resource. It
// belongs to one resource, as a token does. Where only those four are asked for, in
// any mix, the set is [OpenID] of the default resource, as MSAL takes them for
// Microsoft Graph.
//
// The resource is what stands before the last slash. A resource that itself
// ends in a slash therefore gives two:
// https://management.core.windows.net//.default is for the audience
// "https://management.core.windows.net/", and not the same as the one with a
// single slash, whose audience lacks the slash.
type Set []string

// Normalize reads the scopes of a request. A scope without a resource, such as
// User.Read, belongs to defaultResource, such as https://graph.microsoft.com.
// It is an error if there is no scope, if the scopes name several resources, or
// if .default is combined with other scopes (AADSTS70011).
func Normalize(scopes []string, defaultResource string) (Set, error) {
	if len(scopes) > MaxScopes {
		return nil, fmt.Errorf("%w: %d scopes; at most %d are allowed", ErrScopes, len(scopes), MaxScopes)
	}
	set, signIn := make(Set, 0, len(scopes)), false
	for _, s := range scopes {
		if err := checkScope(s); err != nil {
			return nil, err
		}
		if reservedOf(s, defaultResource) {
			signIn = true
			continue
		}
		c := canonical(s, defaultResource)
		if err := checkScope(c); err != nil {
			return nil, err
		}
		set = append(set, c)
	}
	if len(set) == 0 && signIn {
		set = Set{canonical(OpenID, defaultResource)}
	}
	slices.Sort(set)
	set = slices.Compact(set)
	return set, set.check()
}

func checkScope(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%w: a scope is empty", ErrScopes)
	case len(s) > maxScopeLength:
		return fmt.Errorf("%w: a scope has %d bytes; at most %d are allowed", ErrScopes, len(s), maxScopeLength)
	case strings.HasSuffix(s, "/"):
		return fmt.Errorf("%w: %q does not name a permission: add %s", ErrScopes, s, Default)
	}
	for _, c := range []byte(s) {
		// RFC 6749 3.3: %x21 / %x23-5B / %x5D-7E
		if c <= ' ' || c == '"' || c == '\\' || c >= 0x7f {
			return fmt.Errorf("%w: %q: RFC 6749 does not allow that character in a scope", ErrScopes, s)
		}
	}
	return nil
}

func (s Set) check() error {
	if len(s) == 0 {
		return fmt.Errorf("%w: none is given", ErrScopes)
	}
	for _, scope := range s {
		if r := ResourceOf(scope); r != s.Resource() {
			return fmt.Errorf("%w: they belong to several resources (%s, %s), and a token is for one resource", ErrScopes, s.Resource(), r)
		}
		if len(s) > 1 && strings.HasSuffix(scope, "/"+Default) {
			return fmt.Errorf("%w: %s cannot be combined with other scopes", ErrScopes, scope)
		}
	}
	return nil
}

// canonical returns a scope in lower case, with its resource.
func canonical(s, defaultResource string) string {
	if strings.Contains(s, "/") {
		return strings.ToLower(s)
	}
	return strings.ToLower(defaultResource) + "/" + strings.ToLower(s)
}

// ResourceOf returns the resource of a scope that has one.
func ResourceOf(scope string) string {
	i := strings.LastIndexByte(scope, '/')
	return scope[:max(i, 0)]
}

// Resource returns the resource of all scopes; empty for the empty set.
func (s Set) Resource() string {
	if len(s) == 0 {
		return ""
	}
	return ResourceOf(s[0])
}

// IsDefault reports whether the set asks for .default.
func (s Set) IsDefault() bool { return len(s) == 1 && strings.HasSuffix(s[0], "/"+Default) }

// Within reports whether the set is a subset of other.
func (s Set) Within(other Set) bool {
	for _, scope := range s {
		if _, ok := slices.BinarySearch(other, scope); !ok {
			return false
		}
	}
	return true
}

// Missing returns the scopes of the set that are not among those that the
// service granted.
func (s Set) Missing(grantedScopes []string, defaultResource string) []string {
	have := granted(grantedScopes, s.Resource(), defaultResource)
	var missing []string
	for _, scope := range s {
		if _, ok := slices.BinarySearch(have, scope); !ok {
			missing = append(missing, scope)
		}
	}
	return missing
}

// granted normalises the scopes that the service said it granted. It leaves out
// anything that is not a scope of the resource, where [Normalize] would refuse.
// A token of the default resource is also one for [OpenID].
func granted(scopes []string, resource, defaultResource string) Set {
	set := make(Set, 0, len(scopes)+1)
	if strings.EqualFold(resource, defaultResource) {
		set = append(set, canonical(OpenID, defaultResource))
	}
	for _, s := range scopes {
		if checkScope(s) != nil || reservedOf(s, defaultResource) || len(set) == maxGranted {
			continue
		}
		c := canonical(s, defaultResource)
		if !strings.Contains(s, "/") {
			// The v1 endpoint names permissions without their resource.
			c = resource + "/" + strings.ToLower(s)
		}
		if ResourceOf(c) == resource {
			set = append(set, c)
		}
	}
	slices.Sort(set)
	return slices.Compact(set)
}

// maxGranted bounds what a reply makes the cache keep: .default of a large app
// grants some hundred permissions.
const maxGranted = 1024
