// Package quirks names the behaviours in which Entra differs from OpenID Connect, and
// remembers which of them a server has switched off.
package quirks

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// A Quirk is a behaviour of Entra that a server can leave out. The names are documented
// with the emulator's own.
type Quirk string

const (
	GraphNonce        Quirk = "graph-nonce"
	KeysWithoutAlg    Quirk = "keys-without-alg"
	OfflineNotEchoed  Quirk = "offline-access-not-echoed"
	RefreshTokenReuse Quirk = "refresh-token-reuse"
	PairwiseSubject   Quirk = "pairwise-sub"
	TenantIDInIssuer  Quirk = "tenantid-in-issuer"
	UnsignedV1IDToken Quirk = "unsigned-v1-id-token"
	NumbersAsText     Quirk = "v1-numbers-as-text"
	ScopesInAnyCase   Quirk = "scopes-in-any-case"
	GroupOverage      Quirk = "group-overage"
)

// All lists the quirks in a fixed order.
var All = []Quirk{GraphNonce, GroupOverage, KeysWithoutAlg, OfflineNotEchoed, PairwiseSubject, RefreshTokenReuse,
	ScopesInAnyCase, TenantIDInIssuer, UnsignedV1IDToken, NumbersAsText}

// A Set remembers which quirks are left out. The zero value and a nil Set leave out
// none. It is safe for concurrent use.
type Set struct{ out atomic.Uint32 }

// On reports whether the server has the quirk.
func (s *Set) On(q Quirk) bool {
	return s == nil || s.out.Load()&(1<<slices.Index(All, q)) == 0
}

// Put leaves the quirk out, or no longer.
func (s *Set) Put(q Quirk, on bool) error {
	i := slices.Index(All, q)
	if i < 0 {
		return fmt.Errorf("%q is not the name of a quirk", string(q))
	}
	if on {
		s.out.And(^(uint32(1) << i))
	} else {
		s.out.Or(1 << i)
	}
	return nil
}
