package entratest

import (
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
)

// CreateAccessPass gives a user a temporary access pass, valid for TTL.TAP and
// for a single sign-in if once is set. It counts as MFA. Tokens obtained with it,
// access tokens included, expire no later than the pass, and no session or token
// that came from it yields new ones after that (AADSTS130504).
func (s *Server) CreateAccessPass(username string, once bool) (string, error) {
	return s.world().keeper.CreateAccessPass(username, once)
}

// DeleteAccessPass removes the user's temporary access pass. Sessions that it
// signed in live on until the pass would have expired.
func (s *Server) DeleteAccessPass(username string) error {
	return s.world().dir.ChangeUser(username, func(u *directory.User) error { u.AccessPass = nil; return nil })
}
