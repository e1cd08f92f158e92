package entratest

import (
	"maps"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
)

// MintToken signs a token with any claims, by the key of the first tenant, for tests of
// programs that take tokens: an app-only token, one of a guest, one that lacks what
// it should have. iss (of v2.0), tid, ver, iat, nbf and exp (an hour later) are filled
// in where they are missing; a claim of nil is left out. Nothing else is checked, and
// no sign-in is logged.
func (s *Server) MintToken(claims map[string]any) string {
	now := s.Now().Unix()
	all := map[string]any{
		"iss": directory.IssuerV2("", s.TenantID()), "tid": s.TenantID(), "ver": "2.0",
		"iat": now, "nbf": now, "exp": now + 3600,
	}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return s.mint.Keys.Sign(all)
}
