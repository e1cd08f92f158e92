package entratest

import (
	"encoding/json"
	"net/http"

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
	switch {
	case in.AuthMethodID == methodNumber && u.numberMatch:
		fl.Prompt = s.newPrompt(u)
		fl.Prompts++
		p, _ := s.flow.prompt(fl.Prompt)
		out.Success, out.Entropy, out.ResultValue = true, p.number, "Success"
	case in.AuthMethodID == methodCode && u.totp != nil:
		fl.Prompts++
		out.Success, out.ResultValue = true, "Success"
	default:
		out.ErrCode, out.ResultValue, out.Message = 500121, "MethodNotSupported", "The user has no such method."
		s.mistake(r, "BeginAuth: %s has no method %q", u.upn, clip(in.AuthMethodID))
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
	var err error
	switch in.AuthMethodID {
	case methodNumber:
		err = s.takeNumber(fl, u)
	case methodCode:
		err = s.takeCode(fl, u, in.AdditionalAuthData)
	default:
		err = invalidGrant(500121, "The user has no such method.")
	}
	if err == nil {
		fl.Proved = true
		out.Success, out.ResultValue = true, "Success"
	} else {
		out.ErrCode, out.Message, out.ResultValue = 500121, asSTSError(err).text, "AuthenticationFailed"
		out.Retry = err == errPromptWaits
		if out.Retry {
			out.ErrCode, out.ResultValue = 0, "AuthenticationPending"
		}
	}
	out.Ctx = s.sealFlow(fl)
	out.FlowToken = out.Ctx
	writeJSON(w, http.StatusOK, out)
}

// openSAS reads a request: JSON in a POST, headers in a poll.
func (s *Server) openSAS(w http.ResponseWriter, r *request) (in sasRequest, fl *flow, u *user, ok bool) {
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
	u := s.dir.user(in.Username)
	if u == nil || !u.numberMatch || u.disabled {
		writeJSON(w, http.StatusOK, map[string]any{"error": map[string]any{"code": 6001, "message": "No authenticator app is registered."}})
		return
	}
	id := s.newPrompt(u)
	p, _ := s.flow.prompt(id)
	writeJSON(w, http.StatusOK, map[string]any{"State": 201, "RemoteNgcParams": map[string]any{
		"SessionIdentifier": s.box.Seal(kindFlow, map[string]string{"prompt": id, "user": u.id}), "Entropy": p.number}})
}

// deviceCodeStatus polls a passwordless phone sign-in.
func (s *Server) deviceCodeStatus(w http.ResponseWriter, r *request) {
	var in struct{ DeviceCode string }
	ref := map[string]string{}
	if err := json.Unmarshal(r.body, &in); err != nil || s.box.Open(kindFlow, in.DeviceCode, &ref) != nil {
		s.refuse(w, r, invalidRequest(90023, "The request is not valid."))
		return
	}
	p, _ := s.flow.prompt(ref["prompt"])
	state := map[loginState]int{loginPending: 0, loginDeclined: 1, loginApproved: 2}[p.state]
	writeJSON(w, http.StatusOK, map[string]any{"SessionLookupKey": in.DeviceCode, "AuthorizationState": state})
}

// loginPhone finishes a passwordless phone sign-in.
func (s *Server) loginPhone(w http.ResponseWriter, r *request, fl *flow, code string) {
	ref := map[string]string{}
	err := error(invalidGrant(500121, "Authentication failed during strong authentication request."))
	if s.box.Open(kindFlow, code, &ref) == nil {
		u := s.dir.userByID(ref["user"])
		if u != nil && !u.disabled && s.flow.usePrompt(ref["prompt"]) == loginApproved {
			ss := s.newSession(u, claims.DeviceBasedPush)
			ss.mfa(claims.DeviceBasedPush, s.Now())
			s.signedIn(w, r, fl, ss)
			return
		}
	}
	r.entry = s.flowEntry(r, fl)
	s.record(r, err)
	s.showSignIn(w, r, fl, err)
}
