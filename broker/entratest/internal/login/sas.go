package login

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// sasReply is the reply of the endpoints with which programs perform a second
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
func (s *Pages) beginAuth(w http.ResponseWriter, r *web.Request) {
	in, fl, u, ok := s.openSAS(w, r)
	if !ok {
		return
	}
	out := sasReply{AuthMethodID: in.AuthMethodID, SessionID: in.SessionID}
	f, ok := session.SecondFactor(u, fl, in.AuthMethodID)
	if !ok || f.ID == session.MethodKey {
		out.ErrCode, out.ResultValue, out.Message = 500121, "MethodNotSupported", "The user has no such method."
		s.Web.Mistake(r, "BeginAuth: %s may not use the method %q here", u.UPN, web.Clip(in.AuthMethodID))
	} else {
		out.Success, out.ResultValue = true, "Success"
		if kind, sends := f.KindOf(); sends {
			out.Entropy = s.Keeper.PromptFor(fl, u, kind).Number
		}
	}
	out.Ctx = s.Keeper.SealFlow(fl)
	out.FlowToken = out.Ctx
	web.WriteJSON(w, http.StatusOK, out)
}

// endAuth checks a code, or polls for the answer of an authenticator app.
func (s *Pages) endAuth(w http.ResponseWriter, r *web.Request) {
	in, fl, u, ok := s.openSAS(w, r)
	if !ok {
		return
	}
	out := sasReply{AuthMethodID: in.AuthMethodID, SessionID: in.SessionID}
	err := s.Keeper.TakeFactor(fl, u, in.AuthMethodID, in.AdditionalAuthData)
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
	out.Ctx = s.Keeper.SealFlow(fl)
	out.FlowToken = out.Ctx
	web.WriteJSON(w, http.StatusOK, out)
}

// openSAS reads a request: JSON in a POST, headers in a poll.
func (s *Pages) openSAS(w http.ResponseWriter, r *web.Request) (in sasRequest, fl *session.Flow, u *directory.User, ok bool) {
	if r.Method == http.MethodGet {
		in = sasRequest{AuthMethodID: r.URL.Query().Get("authMethodId"), Ctx: r.Header.Get("x-ms-ctx"),
			FlowToken: r.Header.Get("x-ms-flowToken"), SessionID: r.Header.Get("x-ms-sessionId")}
	} else if err := json.Unmarshal(r.Data, &in); err != nil {
		s.Web.Refuse(w, r, web.InvalidRequest(90023, "The request is not valid.").Because("body is not JSON: %v", err))
		return in, nil, nil, false
	}
	fl, u, err := s.openFactorFlow(in.Ctx)
	if err != nil {
		s.Web.Refuse(w, r, err)
		return in, nil, nil, false
	}
	return in, fl, u, true
}
