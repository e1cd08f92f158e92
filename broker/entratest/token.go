package entratest

import (
	"maps"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
)

// MintToken signs a token with arbitrary claims, using the key of the first tenant,
// for tests of programs that accept tokens: an app-only token, a guest's token, or one
// that lacks required claims. MintToken fills in iss (of v2.0), tid, ver, iat, nbf and
// exp (an hour later) if they are missing, and leaves out claims that are nil. It
// checks nothing else and logs no sign-in.
func (s *Server) MintToken(claims map[string]any) string {
	now := s.Now().Unix()
	all := map[string]any{
		"iss": directory.IssuerV2("", s.TenantID()), "tid": s.TenantID(), "ver": "2.0",
		"iat": now, "nbf": now, "exp": now + 3600,
	}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return s.world().mint.Keys.Sign(all)
}
