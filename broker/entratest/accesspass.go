package entratest

import (
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
)

// CreateAccessPass gives a user a temporary access pass, valid for TTL.TAP and
// for one sign-in when once is set. It is MFA. Tokens that it brings, access
// tokens included, end with the pass, and nothing born of it gives one after that
// (AADSTS130504).
func (s *Server) CreateAccessPass(username string, once bool) (string, error) {
	return s.keeper.CreateAccessPass(username, once)
}

// DeleteAccessPass takes the user's temporary access pass away. What it signed in
// lives on until the pass would have ended.
func (s *Server) DeleteAccessPass(username string) error {
	return s.dir.ChangeUser(username, func(u *directory.User) error { u.AccessPass = nil; return nil })
}
