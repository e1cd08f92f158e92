package entratest

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
)

// sasReply is the answer of the endpoints by which programs drive a second
// factor without reading pages.
type sasReply struct {
	Success      bool
	Retry        bool
	ResultValue  string
	Message      string `json:",omitempty"`
	ErrCode      int
	AuthMethodID string `json:"AuthMethodId"`
	SessionID    string `json:"SessionId"`
	FlowToken    string
	Ctx          string
	Entropy      int
}

type sasRequest struct {
	AuthMethodID, Method, SessionID, FlowToken, Ctx, AdditionalAuthData string
}

// beginAuth starts a second factor.
func (s *Server) beginAuth(w http.ResponseWriter, r *web.Request) {
	in, fl, u, ok := s.openSAS(w, r)
	if !ok {
		return
	}
	out := sasReply{AuthMethodID: in.AuthMethodID, SessionID: in.SessionID}
	f, ok := session.SecondFactor(u, fl, in.AuthMethodID)
	if !ok || f.ID == session.MethodKey {
		out.ErrCode, out.ResultValue, out.Message = 500121, "MethodNotSupported", "The user has no such method."
		s.web.Mistake(r, "BeginAuth: %s may not use the method %q here", u.UPN, web.Clip(in.AuthMethodID))
	} else {
		out.Success, out.ResultValue = true, "Success"
		if kind, sends := f.KindOf(); sends {
			out.Entropy = s.keeper.PromptFor(fl, u, kind).Number
		}
	}
	out.Ctx = s.keeper.SealFlow(fl)
	out.FlowToken = out.Ctx
	web.WriteJSON(w, http.StatusOK, out)
}

// endAuth takes a code, or polls for the answer of an authenticator app.
func (s *Server) endAuth(w http.ResponseWriter, r *web.Request) {
	in, fl, u, ok := s.openSAS(w, r)
	if !ok {
		return
	}
	out := sasReply{AuthMethodID: in.AuthMethodID, SessionID: in.SessionID}
	err := s.keeper.TakeFactor(fl, u, in.AuthMethodID, in.AdditionalAuthData)
	if err == nil {
		fl.Proved = true
		out.Success, out.ResultValue = true, "Success"
	} else {
		out.ErrCode, out.Message, out.ResultValue = 500121, web.AsSTSError(err).Text, "AuthenticationFailed"
		out.Retry = errors.Is(err, session.ErrPromptWaits) || errors.Is(err, session.ErrCallWaits)
		if out.Retry {
			out.ErrCode, out.ResultValue = 0, "AuthenticationPending"
		}
	}
	out.Ctx = s.keeper.SealFlow(fl)
	out.FlowToken = out.Ctx
	web.WriteJSON(w, http.StatusOK, out)
}

// openSAS reads a request: JSON in a POST, headers in a poll.
func (s *Server) openSAS(w http.ResponseWriter, r *web.Request) (in sasRequest, fl *session.Flow, u *directory.User, ok bool) {
	if r.Method == http.MethodGet {
		in = sasRequest{AuthMethodID: r.URL.Query().Get("authMethodId"), Ctx: r.Header.Get("x-ms-ctx"),
			FlowToken: r.Header.Get("x-ms-flowToken"), SessionID: r.Header.Get("x-ms-sessionId")}
	} else if err := json.Unmarshal(r.Data, &in); err != nil {
		s.web.Refuse(w, r, web.InvalidRequest(90023, "The request is not valid.").Because("body is not JSON: %v", err))
		return in, nil, nil, false
	}
	fl, u, err := s.openFactorFlow(in.Ctx)
	if err != nil {
		s.web.Refuse(w, r, err)
		return in, nil, nil, false
	}
	return in, fl, u, true
}

// oneTimeCode starts a passwordless phone sign-in: a number prompt as the first
// factor.
func (s *Server) oneTimeCode(w http.ResponseWriter, r *web.Request) {
	var in struct {
		Username        string `json:"username"`
		OriginalRequest string `json:"originalRequest"`
		FlowToken       string `json:"flowToken"`
		OldDeviceCode   string // the session that the one-time code replaces
	}
	if err := json.Unmarshal(r.Data, &in); err != nil {
		s.web.Refuse(w, r, web.InvalidRequest(90023, "The request is not valid."))
		return
	}
	u := s.dir.User(in.Username)
	if _, old := s.openPhoneSession(in.OldDeviceCode); u == nil {
		u = old // the one that GetCredentialType asked
	}
	if u == nil || !u.PhoneSignIn || u.Disabled {
		web.WriteJSON(w, http.StatusOK, map[string]any{"error": map[string]any{"code": 6001, "message": "No authenticator app is registered."}})
		return
	}
	p := s.keeper.NewPrompt(u, session.PromptSignIn, s.appOf(in.OriginalRequest))
	web.WriteJSON(w, http.StatusOK, map[string]any{"State": 201, "RemoteNgcParams": map[string]any{
		"SessionIdentifier": s.phoneSession(p), "Entropy": p.Number}})
}

// appOf is the name of the app that a page was shown for; "": not known.
func (s *Server) appOf(context string) string {
	fl, err := s.keeper.OpenFlow(context)
	if err != nil {
		return ""
	}
	return s.AppName(fl.Request.Client)
}

// phoneSession names the prompt of a passwordless phone sign-in.
func (s *Server) phoneSession(p *session.Prompt) string {
	return s.keeper.Box.Seal(session.KindFlow, map[string]string{"prompt": p.ID, "user": p.User})
}

// openPhoneSession finds the prompt and its user.
func (s *Server) openPhoneSession(code string) (*session.Prompt, *directory.User) {
	ref := map[string]string{}
	if s.keeper.Box.Open(session.KindFlow, code, &ref) != nil {
		return nil, nil
	}
	p, u := s.keeper.Pending.Prompt(ref["prompt"]), s.dir.UserByID(ref["user"])
	if p == nil || u == nil || p.Kind != session.PromptSignIn {
		return nil, nil
	}
	return p, u
}

// deviceCodeStatus polls a passwordless phone sign-in.
func (s *Server) deviceCodeStatus(w http.ResponseWriter, r *web.Request) {
	var in struct{ DeviceCode string }
	if err := json.Unmarshal(r.Data, &in); err != nil {
		s.web.Refuse(w, r, web.InvalidRequest(90023, "The request is not valid."))
		return
	}
	p, _ := s.openPhoneSession(in.DeviceCode)
	if p == nil {
		s.web.Refuse(w, r, web.InvalidRequest(90023, "The request is not valid.").Because("DeviceCode names no phone sign-in"))
		return
	}
	state := 1 // denied, or not answered in time
	switch {
	case p.Waits(s.Now()):
		state = 0
	case p.State == session.LoginApproved:
		state = 2
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{"SessionLookupKey": in.DeviceCode, "AuthorizationState": state})
}

// showPhone asks the authenticator app of a user for a sign-in without a
// password. A nil prompt is a new one.
func (s *Server) showPhone(w http.ResponseWriter, r *web.Request, fl *session.Flow, waiting *session.Prompt, err error) {
	u := s.dir.User(fl.Username)
	if u == nil || !u.PhoneSignIn || u.Disabled {
		err := web.InvalidGrant(130500, "Phone sign in was blocked due to User Credential Policy.").Because("%s has no authenticator app that signs in", web.Clip(fl.Username))
		r.Entry = s.flowEntry(r, fl)
		s.web.Mistake(r, "sign-in page: %v", err.Why)
		s.web.Record(r, err)
		s.showSignIn(w, r, fl, err)
		return
	}
	if waiting == nil {
		waiting = s.keeper.NewPrompt(u, session.PromptSignIn, s.AppName(fl.Request.Client))
	}
	p := s.page(r, fl, "number", "Check your authenticator app")
	p.Action, p.Number, p.OtherWay = pathOf(fl, "login"), waiting.Number, true
	code := s.phoneSession(waiting)
	p.Hidden = append(p.Hidden, pages.Field{Name: "login", Value: fl.Username}, pages.Field{Name: "code", Value: code}, pages.Field{Name: "psRNGCSLK", Value: code})
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedSignIn", p.Action
	web.Explain(&p, err)
	p.Write(w, http.StatusOK)
}

// loginPhone finishes a passwordless phone sign-in.
func (s *Server) loginPhone(w http.ResponseWriter, r *web.Request, fl *session.Flow, code string) {
	p, u := s.openPhoneSession(code)
	err := error(web.InvalidGrant(500121, "Authentication failed during strong authentication request."))
	if p != nil && u.PhoneSignIn && !u.Disabled {
		switch s.keeper.Pending.UsePrompt(p.ID, s.Now()) {
		case session.LoginApproved:
			ss := s.keeper.NewSession(u, claims.DeviceBasedPush)
			ss.ProveMFA(claims.DeviceBasedPush, s.Now())
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
	s.web.Record(r, err)
	s.showSignIn(w, r, fl, err)
}
