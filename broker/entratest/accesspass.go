package entratest

import (
	"crypto/subtle"
	"net/http"

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
	pass := &accessPass{value: string(value), once: once, expires: s.Now().Add(s.opts.TTL.TAP)}
	return pass.value, s.dir.changeUser(username, func(u *user) error { u.accessPass = pass; return nil })
}

// errPassExpired is what real tenants are reported to answer, on the page and to
// refresh tokens born of the pass.
var errPassExpired = invalidGrant(130504, "Your Temporary Access Pass has expired. Contact your administrator to obtain a new pass.")

// takeAccessPass checks a pass, and uses it up when it is for one sign-in. Of one
// that is used up Entra says that a policy blocks it ("Configure Temporary Access
// Pass", Troubleshooting).
func (s *Server) takeAccessPass(name, value string) (*user, *session, error) {
	u := s.dir.user(name)
	if u == nil {
		return nil, nil, s.unknownUser(s.dir.tenantOf(name), name)
	}
	if u.disabled {
		return nil, nil, invalidGrant(50057, "The user account is disabled.")
	}
	wrong := invalidGrant(130503, "Your Temporary Access Pass is incorrect. If you don't know your pass, contact your administrator.")
	var pass accessPass
	now := s.Now()
	err := s.dir.changeUser(u.upn, func(u *user) error {
		if u.accessPass == nil || subtle.ConstantTimeCompare([]byte(u.accessPass.value), []byte(value)) != 1 {
			return wrong
		}
		if !now.Before(u.accessPass.expires) {
			return errPassExpired
		}
		if pass = *u.accessPass; pass.used {
			return invalidGrant(130502, "Temporary Access Pass sign in was blocked due to User Credential Policy.")
		}
		if pass.once {
			used := pass
			used.used = true
			u.accessPass = &used
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	method := claims.TemporaryAccessPassMultiUse
	if pass.once {
		method = claims.TemporaryAccessPassOneTime
	}
	ss := s.newSession(u, method)
	ss.mfa(method, now)
	ss.Ends = pass.expires.Unix()
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
