package entratest

import (
	"encoding/json"
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
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
func (s *Server) beginAuth(w http.ResponseWriter, r *request) {
	in, fl, u, ok := s.openSAS(w, r)
	if !ok {
		return
	}
	out := sasReply{AuthMethodID: in.AuthMethodID, SessionID: in.SessionID}
	f, ok := secondFactor(u, fl, in.AuthMethodID)
	if !ok || f.id == methodKey {
		out.ErrCode, out.ResultValue, out.Message = 500121, "MethodNotSupported", "The user has no such method."
		s.mistake(r, "BeginAuth: %s may not use the method %q here", u.UPN, clip(in.AuthMethodID))
	} else {
		out.Success, out.ResultValue = true, "Success"
		if kind, sends := f.kindOf(); sends {
			out.Entropy = s.promptFor(fl, u, kind).number
		}
	}
	out.Ctx = s.sealFlow(fl)
	out.FlowToken = out.Ctx
	writeJSON(w, http.StatusOK, out)
}

// endAuth takes a code, or polls for the answer of an authenticator app.
func (s *Server) endAuth(w http.ResponseWriter, r *request) {
	in, fl, u, ok := s.openSAS(w, r)
	if !ok {
		return
	}
	out := sasReply{AuthMethodID: in.AuthMethodID, SessionID: in.SessionID}
	err := s.takeFactor(fl, u, in.AuthMethodID, in.AdditionalAuthData)
	if err == nil {
		fl.Proved = true
		out.Success, out.ResultValue = true, "Success"
	} else {
		out.ErrCode, out.Message, out.ResultValue = 500121, asSTSError(err).text, "AuthenticationFailed"
		out.Retry = err == errPromptWaits || err == errCallWaits
		if out.Retry {
			out.ErrCode, out.ResultValue = 0, "AuthenticationPending"
		}
	}
	out.Ctx = s.sealFlow(fl)
	out.FlowToken = out.Ctx
	writeJSON(w, http.StatusOK, out)
}

// openSAS reads a request: JSON in a POST, headers in a poll.
func (s *Server) openSAS(w http.ResponseWriter, r *request) (in sasRequest, fl *flow, u *directory.User, ok bool) {
	if r.Method == http.MethodGet {
		in = sasRequest{AuthMethodID: r.URL.Query().Get("authMethodId"), Ctx: r.Header.Get("x-ms-ctx"),
			FlowToken: r.Header.Get("x-ms-flowToken"), SessionID: r.Header.Get("x-ms-sessionId")}
	} else if err := json.Unmarshal(r.body, &in); err != nil {
		s.refuse(w, r, invalidRequest(90023, "The request is not valid.").because("body is not JSON: %v", err))
		return in, nil, nil, false
	}
	fl, u, err := s.openFactorFlow(in.Ctx)
	if err != nil {
		s.refuse(w, r, err)
		return in, nil, nil, false
	}
	return in, fl, u, true
}

// oneTimeCode starts a passwordless phone sign-in: a number prompt as the first
// factor.
func (s *Server) oneTimeCode(w http.ResponseWriter, r *request) {
	var in struct {
		Username        string `json:"username"`
		OriginalRequest string `json:"originalRequest"`
		FlowToken       string `json:"flowToken"`
	}
	if err := json.Unmarshal(r.body, &in); err != nil {
		s.refuse(w, r, invalidRequest(90023, "The request is not valid."))
		return
	}
	u := s.dir.User(in.Username)
	if u == nil || !u.PhoneSignIn || u.Disabled {
		writeJSON(w, http.StatusOK, map[string]any{"error": map[string]any{"code": 6001, "message": "No authenticator app is registered."}})
		return
	}
	app := ""
	if fl, err := s.openFlow(in.OriginalRequest); err == nil {
		app = s.AppName(fl.Request.Client)
	}
	p := s.newPrompt(u, promptSignIn, app)
	writeJSON(w, http.StatusOK, map[string]any{"State": 201, "RemoteNgcParams": map[string]any{
		"SessionIdentifier": s.phoneSession(p), "Entropy": p.number}})
}

// phoneSession names the prompt of a passwordless phone sign-in.
func (s *Server) phoneSession(p *prompt) string {
	return s.box.Seal(kindFlow, map[string]string{"prompt": p.id, "user": p.user})
}

// openPhoneSession finds the prompt and its user.
func (s *Server) openPhoneSession(code string) (*prompt, *directory.User) {
	ref := map[string]string{}
	if s.box.Open(kindFlow, code, &ref) != nil {
		return nil, nil
	}
	p, u := s.flow.prompt(ref["prompt"]), s.dir.UserByID(ref["user"])
	if p == nil || u == nil || p.kind != promptSignIn {
		return nil, nil
	}
	return p, u
}

// deviceCodeStatus polls a passwordless phone sign-in.
func (s *Server) deviceCodeStatus(w http.ResponseWriter, r *request) {
	var in struct{ DeviceCode string }
	if err := json.Unmarshal(r.body, &in); err != nil {
		s.refuse(w, r, invalidRequest(90023, "The request is not valid."))
		return
	}
	p, _ := s.openPhoneSession(in.DeviceCode)
	if p == nil {
		s.refuse(w, r, invalidRequest(90023, "The request is not valid.").because("DeviceCode names no phone sign-in"))
		return
	}
	state := 1 // denied, or not answered in time
	switch {
	case p.waits(s.Now()):
		state = 0
	case p.state == loginApproved:
		state = 2
	}
	writeJSON(w, http.StatusOK, map[string]any{"SessionLookupKey": in.DeviceCode, "AuthorizationState": state})
}

// showPhone asks the authenticator app of a user for a sign-in without a
// password. A nil prompt is a new one.
func (s *Server) showPhone(w http.ResponseWriter, r *request, fl *flow, waiting *prompt, err error) {
	u := s.dir.User(fl.Username)
	if u == nil || !u.PhoneSignIn || u.Disabled {
		err := invalidGrant(130500, "Phone sign in was blocked due to User Credential Policy.").because("%s has no authenticator app that signs in", clip(fl.Username))
		r.entry = s.flowEntry(r, fl)
		s.mistake(r, "sign-in page: %v", err.why)
		s.record(r, err)
		s.showSignIn(w, r, fl, err)
		return
	}
	if waiting == nil {
		waiting = s.newPrompt(u, promptSignIn, s.AppName(fl.Request.Client))
	}
	p := s.page(r, fl, "number", "Check your authenticator app")
	p.Action, p.Number, p.OtherWay = pathOf(fl, "login"), waiting.number, true
	code := s.phoneSession(waiting)
	p.Hidden = append(p.Hidden, pages.Field{Name: "login", Value: fl.Username}, pages.Field{Name: "code", Value: code}, pages.Field{Name: "psRNGCSLK", Value: code})
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedSignIn", p.Action
	explain(&p, err)
	p.Write(w, http.StatusOK)
}

// loginPhone finishes a passwordless phone sign-in.
func (s *Server) loginPhone(w http.ResponseWriter, r *request, fl *flow, code string) {
	p, u := s.openPhoneSession(code)
	err := error(invalidGrant(500121, "Authentication failed during strong authentication request."))
	if p != nil && u.PhoneSignIn && !u.Disabled {
		switch s.flow.usePrompt(p.id, s.Now()) {
		case loginApproved:
			ss := s.newSession(u, claims.DeviceBasedPush)
			ss.mfa(claims.DeviceBasedPush, s.Now())
			s.signedIn(w, r, fl, ss)
			return
		case loginPending:
			s.showPhone(w, r, fl, p, errPromptWaits)
			return
		case loginExpired:
			err = invalidGrant(500121, "Authentication failed during strong authentication request: it was not answered in time. Please try again.")
		}
	}
	r.entry = s.flowEntry(r, fl)
	s.record(r, err)
	s.showSignIn(w, r, fl, err)
}
