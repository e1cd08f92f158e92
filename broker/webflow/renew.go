package webflow

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/webflow/internal/page"
)

// openChangePassword asks for a new password in place of an expired one.
func (f *Flow) openChangePassword(p *page.Page) error {
	for _, need := range []struct{ field, value string }{
		{"urlAsyncSsprBegin", f.at.View.SSPRBegin}, {"urlAsyncSsprPoll", f.at.View.SSPRPoll}, {"urlPost", f.at.View.Post},
	} {
		if _, err := f.endpoint(need.field, need.value); err != nil {
			return err // before the user thinks of a password
		}
	}
	f.at.Challenge = Challenge{Kind: NewPassword, Method: MethodPassword, Message: "Your password has expired. Enter it once more, and a new one."}
	return nil
}

// A passwordJob is the state of a change of the password.
type passwordJob struct {
	IsJobPending      bool
	Ctx               string
	FlowToken         string
	CoupledDataCenter string
	CoupledScaleUnit  string
	ErrorMessage      *string
}

// maxJobPolls bounds how long a change may take, in polls of a second.
const maxJobPolls = 60

// changePassword changes an expired password and goes on with the sign-in. Both
// passwords are sent once. If the service refuses the new one, another may be
// tried.
func (f *Flow) changePassword(ctx context.Context, old, next string) error {
	var job passwordJob
	in := map[string]string{"Ctx": f.at.View.Ctx, "FlowToken": f.at.View.Token, "OldPassword": old, "NewPassword": next}
	if err := f.ask(ctx, "urlAsyncSsprBegin", f.at.View.SSPRBegin, in, &job); err != nil {
		return err
	}
	for polls := 0; job.IsJobPending; polls++ {
		if polls >= maxJobPolls {
			return failed("the service does not say whether the password was changed: sign in with the new one, or else with the old one", broker.ErrTransient)
		}
		if err := f.wait(ctx, defaultPollEvery); err != nil {
			return err
		}
		in := map[string]string{"Ctx": job.Ctx, "FlowToken": job.FlowToken, "CoupledDataCenter": job.CoupledDataCenter, "CoupledScaleUnit": job.CoupledScaleUnit}
		job.ErrorMessage = nil
		if err := f.ask(ctx, "urlAsyncSsprPoll", f.at.View.SSPRPoll, in, &job); err != nil {
			return err
		}
	}
	if job.Ctx != "" {
		f.at.View.Ctx, f.at.View.Token = job.Ctx, job.FlowToken
	}
	if job.ErrorMessage != nil {
		return failed("the service refuses the change of the password: the old one is wrong, or the new one is not allowed", ErrTryAgain, broker.ErrBadCredential)
	}
	return f.afterChange(ctx, old, next)
}

// afterChange tells the page that the password was changed, and signs in with
// it.
func (f *Flow) afterChange(ctx context.Context, old, next string) error {
	u, err := f.endpoint("urlPost", f.at.View.Post)
	if err != nil {
		return err
	}
	r, _, err := f.web.send(ctx, http.MethodPost, u, http.Header{"Content-Type": {"application/json; charset=UTF-8"}},
		jsonOf(map[string]string{"Ctx": f.at.View.Ctx, "FlowToken": f.at.View.Token, "currentpasswd": old, "confirmnewpasswd": next, "canary": f.at.View.Canary}))
	if err != nil {
		return err
	}
	p := page.Parse(r.body)
	if p.Code() != 0 {
		return refused(p)
	}
	return f.again(ctx, next)
}

// again restarts the sign-in with the new password.
func (f *Flow) again(ctx context.Context, password string) error {
	start, err := url.Parse(f.at.Start)
	if err != nil {
		return err
	}
	f.at.Quiet = true
	r, err := f.web.get(ctx, start)
	if err != nil {
		return err
	}
	if err := f.arrive(ctx, r); err != nil || f.at.Challenge.Kind != Password {
		return err
	}
	return f.sendPassword(ctx, password)
}

func jsonOf(v map[string]string) []byte {
	b, _ := json.Marshal(v) // strings alone do not fail
	return b
}
