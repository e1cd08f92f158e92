package login

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// Endpoints with which programs change an expired password without its page: they
// start a job, poll it, and then tell the page that it is done.
const (
	ssprBeginPath = "/common/SSPR/Begin"
	ssprPollPath  = "/common/SSPR/Poll"
)

// ssprReply is the reply of both endpoints. A job is never done immediately, so that
// clients have to poll.
type ssprReply struct {
	IsJobPending      bool
	Ctx               string
	FlowToken         string
	CoupledDataCenter string
	CoupledScaleUnit  string
	ErrorMessage      *string
}

func (s *Pages) ssprBegin(w http.ResponseWriter, r *web.Request) {
	var in struct{ Ctx, FlowToken, OldPassword, NewPassword string }
	fl, err := s.openSSPR(r, &in, func() string { return in.Ctx })
	if err == nil && !fl.Expired {
		err = web.InvalidRequest(90014, "The required field 'ctx' is missing from the credential.").Because("no new password was asked for")
	}
	if err != nil {
		s.Web.Refuse(w, r, err)
		return
	}
	switch u, err := s.renewPassword(fl, in.OldPassword, in.NewPassword, in.NewPassword); {
	case err != nil:
		s.Web.Mistake(r, "change of the password: %v", err)
		e := web.AsSTSError(err)
		fl.Failed = &session.Failure{Code: e.Code, Text: e.Text}
	default:
		fl.Username, fl.Expired, fl.Changed, fl.Failed = u.UPN, false, true, nil
	}
	s.writeSSPR(w, fl, true)
}

func (s *Pages) ssprPoll(w http.ResponseWriter, r *web.Request) {
	var in struct{ Ctx, FlowToken string }
	fl, err := s.openSSPR(r, &in, func() string { return in.Ctx })
	if err == nil && fl.Failed == nil && !fl.Changed {
		err = web.InvalidRequest(90014, "The required field 'ctx' is missing from the credential.").Because("no password change was started")
	}
	if err != nil {
		s.Web.Refuse(w, r, err)
		return
	}
	s.writeSSPR(w, fl, false)
}

func (s *Pages) openSSPR(r *web.Request, in any, ctx func() string) (*session.Flow, error) {
	if err := json.Unmarshal(r.Data, in); err != nil {
		return nil, web.InvalidRequest(90023, "The request is not valid.").Because("body is not JSON: %v", err)
	}
	return s.Keeper.OpenFlow(ctx())
}

func (s *Pages) writeSSPR(w http.ResponseWriter, fl *session.Flow, pending bool) {
	out := ssprReply{IsJobPending: pending, CoupledDataCenter: "WEU", CoupledScaleUnit: "a"}
	if !pending && fl.Failed != nil {
		out.ErrorMessage = &fl.Failed.Text
	}
	out.Ctx = s.Keeper.SealFlow(fl)
	out.FlowToken = out.Ctx
	web.WriteJSON(w, http.StatusOK, out)
}

// renewPassword replaces the password of the user of a flow.
func (s *Pages) renewPassword(fl *session.Flow, old, next, again string) (*directory.User, error) {
	u, err := s.Keeper.KnowsPassword(s.Keeper.FlowTenant(fl), fl.Username, old)
	if err != nil && web.AsSTSError(err).Code == 50126 {
		err = errCurrentPassword
	}
	if err == nil {
		err = acceptPassword(u, old, next, again)
	}
	if err != nil {
		return nil, err
	}
	u, err = s.Keeper.Directory.ReplacePassword(u.UPN, old, next, s.Keeper.Now())
	if errors.Is(err, directory.ErrPassword) {
		err = errCurrentPassword
	}
	return u, err
}
