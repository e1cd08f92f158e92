package login

import (
	"encoding/json"
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
)

// getOneTimeCode starts a passwordless phone sign-in: a number prompt as the first
// factor.
func (s *Pages) getOneTimeCode(w http.ResponseWriter, r *web.Request) {
	var in struct {
		Username        string `json:"username"`
		OriginalRequest string `json:"originalRequest"`
		FlowToken       string `json:"flowToken"`
		OldDeviceCode   string // the session that the one-time code replaces
	}
	if err := json.Unmarshal(r.Data, &in); err != nil {
		s.Web.Refuse(w, r, web.InvalidRequest(90023, "The request is not valid."))
		return
	}
	u := s.Keeper.Directory.User(in.Username)
	if _, old := s.openPhoneSession(in.OldDeviceCode); u == nil {
		u = old // the user whom GetCredentialType prompted
	}
	if u == nil || !u.PhoneSignIn || u.Disabled {
		web.WriteJSON(w, http.StatusOK, map[string]any{"error": map[string]any{"code": 6001, "message": "No authenticator app is registered."}})
		return
	}
	p := s.Keeper.NewPrompt(u, session.PromptSignIn, s.appName(in.OriginalRequest))
	web.WriteJSON(w, http.StatusOK, map[string]any{"State": 201, "RemoteNgcParams": map[string]any{
		"SessionIdentifier": s.phoneSession(p), "Entropy": p.Number}})
}

// appName returns the name of the app that a page was shown for; "" if unknown.
func (s *Pages) appName(context string) string {
	fl, err := s.Keeper.OpenFlow(context)
	if err != nil {
		return ""
	}
	return s.Keeper.Directory.AppName(fl.Request.Client)
}

// phoneSession returns the sealed name of the prompt of a passwordless phone sign-in.
func (s *Pages) phoneSession(p *session.Prompt) string {
	return s.Keeper.Box.Seal(session.KindFlow, map[string]string{"prompt": p.ID, "user": p.User})
}

// openPhoneSession finds the prompt and its user.
func (s *Pages) openPhoneSession(code string) (*session.Prompt, *directory.User) {
	ref := map[string]string{}
	if s.Keeper.Box.Open(session.KindFlow, code, &ref) != nil {
		return nil, nil
	}
	p, u := s.Keeper.Pending.Prompt(ref["prompt"]), s.Keeper.Directory.UserByID(ref["user"])
	if p == nil || u == nil || p.Kind != session.PromptSignIn {
		return nil, nil
	}
	return p, u
}

// deviceCodeStatus polls a passwordless phone sign-in.
func (s *Pages) deviceCodeStatus(w http.ResponseWriter, r *web.Request) {
	var in struct{ DeviceCode string }
	if err := json.Unmarshal(r.Data, &in); err != nil {
		s.Web.Refuse(w, r, web.InvalidRequest(90023, "The request is not valid."))
		return
	}
	p, _ := s.openPhoneSession(in.DeviceCode)
	if p == nil {
		s.Web.Refuse(w, r, web.InvalidRequest(90023, "The request is not valid.").Because("DeviceCode does not name a phone sign-in"))
		return
	}
	state := 1 // denied, or not answered in time
	switch {
	case p.Waits(s.Keeper.Now()):
		state = 0
	case p.State == session.LoginApproved:
		state = 2
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{"SessionLookupKey": in.DeviceCode, "AuthorizationState": state})
}

// showPhone asks the authenticator app of a user for a sign-in without a
// password. If waiting is nil, it sends a new prompt.
func (s *Pages) showPhone(w http.ResponseWriter, r *web.Request, fl *session.Flow, waiting *session.Prompt, err error) {
	u := s.Keeper.Directory.User(fl.Username)
	if u == nil || !u.PhoneSignIn || u.Disabled {
		err := web.InvalidGrant(130500, "Phone sign in was blocked due to User Credential Policy.").Because("%s has no authenticator app that is enabled for sign-in", web.Clip(fl.Username))
		r.Entry = s.flowEntry(r, fl)
		s.Web.Mistake(r, "sign-in page: %v", err.Why)
		s.Web.Record(r, err)
		s.showSignIn(w, r, fl, err)
		return
	}
	if waiting == nil {
		waiting = s.Keeper.NewPrompt(u, session.PromptSignIn, s.Keeper.Directory.AppName(fl.Request.Client))
	}
	p := s.newPage(r, fl, "number", "Check your authenticator app")
	p.Action, p.Number, p.OtherWay = pathOf(fl, "login"), waiting.Number, true
	code := s.phoneSession(waiting)
	p.Hidden = append(p.Hidden, pages.Field{Name: "login", Value: fl.Username}, pages.Field{Name: "code", Value: code}, pages.Field{Name: "psRNGCSLK", Value: code})
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedSignIn", p.Action
	web.Explain(&p, err)
	p.Write(w, http.StatusOK)
}

// loginPhone finishes a passwordless phone sign-in.
func (s *Pages) loginPhone(w http.ResponseWriter, r *web.Request, fl *session.Flow, code string) {
	p, u := s.openPhoneSession(code)
	err := error(web.InvalidGrant(500121, "Authentication failed during strong authentication request."))
	if p != nil && u.PhoneSignIn && !u.Disabled {
		switch s.Keeper.Pending.UsePrompt(p.ID, s.Keeper.Now()) {
		case session.LoginApproved:
			ss := s.Keeper.NewSession(u, claims.DeviceBasedPush)
			ss.ProveMFA(claims.DeviceBasedPush, s.Keeper.Now())
			s.signedIn(w, r, fl, ss)
			return
		case session.LoginPending:
			s.showPhone(w, r, fl, p, session.ErrPromptWaits)
			return
		case session.LoginExpired:
			err = web.InvalidGrant(500121, "Authentication failed during strong authentication request: it was not answered in time. Please try again.")
		}
	}
	r.Entry = s.flowEntry(r, fl)
	s.Web.Record(r, err)
	s.showSignIn(w, r, fl, err)
}
