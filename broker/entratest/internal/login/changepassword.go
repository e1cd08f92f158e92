package login

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// Length of a new password, in characters (Entra, "Password policies and
// account restrictions").
const (
	passwordMin = 8
	passwordMax = 256
)

// showChangePassword asks for a new password in place of one that expired or may be
// compromised.
func (s *Pages) showChangePassword(w http.ResponseWriter, r *web.Request, fl *session.Flow, err error) {
	p := s.newPage(r, fl, "changepassword", "Update your password")
	p.Action = "/common/ChangePassword"
	if fl.Session != nil {
		p.Text = "Someone else may know your password. Choose a new one to go on."
	}
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedChangePassword", p.Action
	p.Config["urlAsyncSsprBegin"], p.Config["urlAsyncSsprPoll"] = absolute(r, ssprBeginPath), absolute(r, ssprPollPath)
	web.Explain(&p, err)
	p.Write(w, http.StatusOK)
}

// changePassword accepts the new password from the page and continues the sign-in.
func (s *Pages) changePassword(w http.ResponseWriter, r *web.Request) {
	var done struct{ Ctx string } // programs report in JSON that the job is done
	_ = json.Unmarshal(r.Data, &done)
	fl, err := s.Keeper.OpenFlow(cmp.Or(flowField(r), done.Ctx))
	if err == nil && !fl.Expired && !fl.Changed {
		err = web.InvalidRequest(90014, "The required field 'ctx' is missing from the credential.").Because("no new password was asked for")
	}
	if err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	if fl.Changed && done.Ctx != "" { // sent by a program, not by a form that follows a redirect
		s.showMessage(w, r, "Your password was changed", "Sign in with the new one.")
		return
	}
	u := s.Keeper.Directory.User(fl.Username)
	if !fl.Changed {
		u, err = s.renewPassword(fl, r.Values.Get("oldpasswd"), r.Values.Get("newpasswd"), r.Values.Get("confirmnewpasswd"))
	} else if u == nil {
		err = s.Keeper.UnknownUser(nil, fl.Username)
	}
	if err != nil {
		s.Web.Mistake(r, "change of the password: %v", err)
		r.Entry = s.flowEntry(r, fl)
		s.Web.Record(r, err)
		s.showChangePassword(w, r, fl, err)
		return
	}
	fl.Expired, fl.Changed = false, false
	if fl.Session == nil {
		s.signedInByPassword(w, r, fl, u)
		return
	}
	// The session lives on: the change was required because of the risk of the
	// account, which it resolves.
	if err := s.Keeper.Directory.SetRisk(u.UPN, "none", u.SignInRisk, s.Keeper.Now()); err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	fl.Session.Gen, fl.Session.Auth, fl.Session.Remediated = u.PasswordGen, s.Keeper.Now().Unix(), true
	s.next(w, r, fl)
}

// Refusals of a new password ("Microsoft Entra authentication and authorization
// error codes").
var (
	errCurrentPassword = web.Fail("interaction_required", 120000, "The current password is incorrect. Type the correct password, and try again.")
	errSamePassword    = web.Fail("interaction_required", 120002, "You have used this password before. Choose one that you have not used.")
	errPasswordLength  = web.Fail("interaction_required", 120002, "Passwords must have between 8 and 256 characters. Choose another one.")
	errPasswordName    = web.Fail("interaction_required", 120003, "Choose a password that does not contain your name.")
	// The real page compares the two fields itself, so there is no code for that;
	// 50064 is the code for a credential that fails validation.
	errPasswordsDiffer = web.InvalidGrant(50064, "The passwords you entered do not match. Please enter your new password again.")
)

// acceptPassword checks a new password of the user.
func acceptPassword(u *directory.User, old, next, again string) error {
	n := utf8.RuneCountInString(next)
	switch {
	case next != again:
		return errPasswordsDiffer
	case next == old:
		return errSamePassword
	case n < passwordMin || n > passwordMax:
		return errPasswordLength
	case namedIn(u, next):
		return errPasswordName
	}
	return nil
}

// passwordTermMin is the length of a name that a password must not contain
// (Entra, "Eliminate bad passwords using Microsoft Entra Password Protection").
const passwordTermMin = 4

// namedIn reports whether a text contains a name of the user.
func namedIn(u *directory.User, text string) bool {
	local, _, _ := strings.Cut(u.UPN, "@")
	terms := strings.FieldsFunc(strings.ToLower(u.Name+" "+local), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	text = strings.ToLower(text)
	return slices.ContainsFunc(terms, func(term string) bool {
		return utf8.RuneCountInString(term) >= passwordTermMin && strings.Contains(text, term)
	})
}
