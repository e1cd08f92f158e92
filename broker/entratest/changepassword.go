package entratest

import (
	"crypto/subtle"
	"net/http"
	"time"
	"unicode/utf8"
)

// Length of a new password, in characters (Entra, "Password policies and
// account restrictions").
const (
	passwordMin = 8
	passwordMax = 256
)

// showChangePassword asks for a new password in place of an expired one.
func (s *Server) showChangePassword(w http.ResponseWriter, r *request, fl *flow, err error) {
	p := s.page(r, fl, "changepassword", "Update your password")
	p.Action = "/common/ChangePassword"
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedChangePassword", p.Action
	explain(&p, err)
	p.Write(w, http.StatusOK)
}

// changePassword takes the new password of the page, and goes on with the
// sign-in.
func (s *Server) changePassword(w http.ResponseWriter, r *request) {
	fl, err := s.openFlow(flowField(r))
	if err == nil && !fl.Expired {
		err = invalidRequest(90014, "The required field 'ctx' is missing from the credential.").because("nobody was asked for a new password")
	}
	if err != nil {
		s.errorPage(w, r, err)
		return
	}
	old, next := r.form.Get("oldpasswd"), r.form.Get("newpasswd")
	u, err := s.knowsPassword(s.flowTenant(fl), fl.Username, old)
	if err == nil {
		err = acceptablePassword(old, next, r.form.Get("confirmnewpasswd"))
	}
	if err == nil {
		u, err = s.dir.replacePassword(u.upn, old, next, s.Now())
	}
	if err != nil {
		s.mistake(r, "change of the password: %v", err)
		r.entry = s.flowEntry(r, fl)
		s.record(r, err)
		s.showChangePassword(w, r, fl, err)
		return
	}
	fl.Expired = false
	s.signedInByPassword(w, r, fl, u)
}

// acceptablePassword checks a new password. Entra publishes no code for what
// the page says; 50064 is that of a credential that does not pass.
func acceptablePassword(old, next, again string) error {
	refuse := func(text string) error { return invalidGrant(50064, "%s", text) }
	n := utf8.RuneCountInString(next)
	switch {
	case next != again:
		return refuse("The passwords you entered do not match. Please enter your new password again.")
	case next == old:
		return refuse("You have used this password before. Choose one that you have not used.")
	case n < passwordMin || n > passwordMax:
		return refuse("Passwords must have between 8 and 256 characters. Choose another one.")
	}
	return nil
}

// replacePassword changes a password unless it was changed meanwhile. It returns
// the user as of then: a look-up later may find a deleted one.
func (d *directory) replacePassword(upn, old, next string, now time.Time) (changed *user, err error) {
	err = d.changeUser(upn, func(u *user) error {
		if subtle.ConstantTimeCompare([]byte(u.password), []byte(old)) != 1 {
			return invalidGrant(50126, "Incorrect user ID or password. Type the correct user ID and password, and try again.")
		}
		u.setPassword(next, now)
		changed = u
		return nil
	})
	return changed, err
}

// setPassword ends what was born of the old password.
func (u *user) setPassword(password string, now time.Time) {
	u.password, u.passwordExpired = password, false
	u.passwordGen++
	u.passwordChangedAt = now
	u.failures, u.lockedUntil = 0, time.Time{}
}
