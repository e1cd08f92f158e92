package entratest

import (
	"crypto/subtle"
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/claims"
)

// CreateAccessPass gives a user a temporary access pass, valid for TTL.TAP and
// for one sign-in when once is set. It is MFA. When it expires, whatever was born
// of it gives no token any more (AADSTS130504); access tokens live on until they
// expire, as in Entra ("Configure Temporary Access Pass").
func (s *Server) CreateAccessPass(username string, once bool) (string, error) {
	const letters = "ABCDEFGHJKMNPQRSTUVWXYZabcdefghjkmnpqrstuvwxyz23456789"
	value := make([]byte, 8)
	for i, b := range s.rand.Bytes(len(value)) {
		value[i] = letters[int(b)%len(letters)]
	}
	pass := &directory.AccessPass{Value: string(value), Once: once, Expires: s.Now().Add(s.opts.TTL.TAP)}
	return pass.Value, s.dir.ChangeUser(username, func(u *directory.User) error { u.AccessPass = pass; return nil })
}

// errPassExpired is what real tenants are reported to answer, on the page and to
// refresh tokens born of the pass.
var errPassExpired = invalidGrant(130504, "Your Temporary Access Pass has expired. Contact your administrator to obtain a new pass.")

// takeAccessPass checks a pass, and uses it up when it is for one sign-in. Of one
// that is used up Entra says that a policy blocks it ("Configure Temporary Access
// Pass", Troubleshooting).
func (s *Server) takeAccessPass(name, value string) (*directory.User, *session, error) {
	u := s.dir.User(name)
	if u == nil {
		return nil, nil, s.unknownUser(s.dir.TenantOf(name), name)
	}
	if u.Disabled {
		return nil, nil, invalidGrant(50057, "The user account is disabled.")
	}
	wrong := invalidGrant(130503, "Your Temporary Access Pass is incorrect. If you don't know your pass, contact your administrator.")
	var pass directory.AccessPass
	now := s.Now()
	err := s.dir.ChangeUser(u.UPN, func(u *directory.User) error {
		if u.AccessPass == nil || subtle.ConstantTimeCompare([]byte(u.AccessPass.Value), []byte(value)) != 1 {
			return wrong
		}
		if !now.Before(u.AccessPass.Expires) {
			return errPassExpired
		}
		if pass = *u.AccessPass; pass.Used {
			return invalidGrant(130502, "Temporary Access Pass sign in was blocked due to User Credential Policy.")
		}
		if pass.Once {
			used := pass
			used.Used = true
			u.AccessPass = &used
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	method := claims.TemporaryAccessPassMultiUse
	if pass.Once {
		method = claims.TemporaryAccessPassOneTime
	}
	ss := s.newSession(u, method)
	ss.mfa(method, now)
	ss.Ends = pass.Expires.Unix()
	return u, &ss, nil
}

func (s *Server) loginAccessPass(w http.ResponseWriter, r *request, fl *flow) {
	_, ss, err := s.takeAccessPass(fl.Username, r.form.Get("accesspass"))
	if err != nil {
		r.entry = s.flowEntry(r, fl)
		s.mistake(r, "sign-in page: %v", err)
		s.record(r, err)
		s.showAccessPass(w, r, fl, err)
		return
	}
	s.signedIn(w, r, fl, *ss)
}
