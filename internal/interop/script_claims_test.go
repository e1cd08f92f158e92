package interop

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// runFederatedScript signs dave in, whose domain is federated.
func runFederatedScript(t *testing.T, client string, s *script) {
	s.open(t, appID, nil)
	as := func(password, claims string) map[string]any {
		args := map[string]any{"scopes": []string{userRead}, "user": dave, "password": password}
		if claims != "" {
			args["claims"] = claims
		}
		return args
	}
	// MSAL Node has no WS-Trust: the sign-in service sees the password, and the
	// user is none of its own.
	trust := client == "MSAL Python"
	flow(t, client, "federated user (WS-Trust)", func(t *testing.T) string {
		sessions.Lock()
		defer sessions.Unlock()
		r := s.do(t, "ropc", as(davePwd, ""))
		if !trust {
			require.Equal(t, 50126, r.code(), "%+v", r)
			return r.saw() + ": it has no WS-Trust"
		}
		require.Equal(t, []any{"fed"}, claimsOf(t, r.ok(t).AccessToken)["amr"])
		return "token"
	})
	flow(t, client, "federated user, wrong password", func(t *testing.T) string {
		r := s.do(t, "ropc", as("wrong", ""))
		if !trust {
			require.Equal(t, 50126, r.code(), "%+v", r)
			return r.saw()
		}
		require.Contains(t, r.Description, "ID3242", "%+v", r)
		return "refused: " + r.Exception + ", SOAP fault ID3242"
	})
	flow(t, client, "claims challenge (CAE, cp1)", func(t *testing.T) string {
		s.open(t, appID, map[string]any{"capabilities": []string{"CP1"}})
		return challenged(t, func(claims string) string {
			if trust {
				return s.do(t, "ropc", as(davePwd, claims)).ok(t).AccessToken
			}
			return s.pages(t, dave, davePwd, claims).ok(t).AccessToken
		}, func(claims string) string {
			r := s.do(t, "silent", map[string]any{"scopes": []string{userRead}, "user": dave, "claims": claims})
			require.Equal(t, 50173, r.code(), "%+v", r)
			return r.saw()
		})
	})
}
