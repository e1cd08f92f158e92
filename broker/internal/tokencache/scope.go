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

// reserved reports whether a scope asks for no permission of a resource. Every
// token request carries these three, so they are no part of a token's key.
// (email is a permission of Microsoft Graph.)
func reserved(s string) bool {
	return strings.EqualFold(s, "openid") || strings.EqualFold(s, "profile") || strings.EqualFold(s, "offline_access")
}

// Default is the permission that stands for all that the app has consent for.
const Default = ".default"

// A Set is a normalised set of scopes: lower case, sorted, without duplicates
// and without openid, profile and offline_access, each with its resource. It
// belongs to one resource, as a token does.
//
// The resource is what stands before the last slash. A resource that itself
// ends in a slash therefore gives two:
// https://management.core.windows.net//.default is for the audience
// "https://management.core.windows.net/", and not the same as the one with a
// single slash, whose audience lacks the slash.
type Set []string

// Normalize reads the scopes of a request. A scope without a resource, such as
// User.Read, belongs to defaultResource, such as https://graph.microsoft.com.
// It is an error when no scope of a resource is left, when they name several
// resources, or when .default stands beside other scopes (AADSTS70011).
func Normalize(scopes []string, defaultResource string) (Set, error) {
	if len(scopes) > MaxScopes {
		return nil, fmt.Errorf("%w: %d of them; at most %d are allowed", ErrScopes, len(scopes), MaxScopes)
	}
	set := make(Set, 0, len(scopes))
	for _, s := range scopes {
		if err := checkScope(s); err != nil {
			return nil, err
		}
		if reserved(s) {
			continue
		}
		c := canonical(s, defaultResource)
		if err := checkScope(c); err != nil {
			return nil, err
		}
		set = append(set, c)
	}
	slices.Sort(set)
	set = slices.Compact(set)
	return set, set.check()
}

func checkScope(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%w: an empty one", ErrScopes)
	case len(s) > maxScopeLength:
		return fmt.Errorf("%w: one of %d bytes; at most %d are allowed", ErrScopes, len(s), maxScopeLength)
	case strings.HasSuffix(s, "/"):
		return fmt.Errorf("%w: %q names no permission: add %s", ErrScopes, s, Default)
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
		return fmt.Errorf("%w: none names a resource", ErrScopes)
	}
	for _, scope := range s {
		if r := ResourceOf(scope); r != s.Resource() {
			return fmt.Errorf("%w: they belong to several resources (%s, %s), and a token is for one resource", ErrScopes, s.Resource(), r)
		}
		if len(s) > 1 && strings.HasSuffix(scope, "/"+Default) {
			return fmt.Errorf("%w: %s stands alone", ErrScopes, scope)
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

// Missing returns what of the set is not among the scopes that the service
// granted.
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

// granted normalises the scopes that the service said it granted. It leaves
// out what is not a scope of the resource, where [Normalize] would refuse.
func granted(scopes []string, resource, defaultResource string) Set {
	set := make(Set, 0, len(scopes))
	for _, s := range scopes {
		if checkScope(s) != nil || reserved(s) || len(set) == maxGranted {
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
