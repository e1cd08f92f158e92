package webflow

import (
	"context"
	"fmt"

	"github.com/prtbroker/prtbroker/broker/webflow/internal/page"
)

// phoneParams is a passwordless phone sign-in that has begun.
type phoneParams struct {
	SessionIdentifier string
	Entropy           int
}

// ringing waits for a phone that the service asked in place of a password.
func (f *Flow) ringing(p phoneParams) error {
	if p.SessionIdentifier == "" {
		return lacking(&page.MissingError{Page: f.at.View.Page, Field: "RemoteNgcParams.SessionIdentifier"})
	}
	f.at.Phone, f.at.Entropy, f.at.Polls = p.SessionIdentifier, p.Entropy, 0
	f.askFirst(MethodPhone)
	c := &f.at.Challenge
	c.Number, c.Message = p.Entropy, numberMessage(p.Entropy)
	if p.Entropy == 0 {
		c.Kind, c.Message = Push, factors["PhoneAppNotification"].message
	}
	c.PollEvery, c.MaxPolls = defaultPollEvery, defaultPolls
	return nil
}

// ring asks the phone on the user's choice.
func (f *Flow) ring(ctx context.Context) error {
	in := map[string]any{"username": f.at.User, "originalRequest": f.at.View.Ctx, "flowToken": f.at.View.Token, "OldDeviceCode": f.at.Phone}
	var out struct {
		RemoteNgcParams *phoneParams
		Error           *struct{} `json:"error"`
	}
	if err := f.ask(ctx, "urlGetOneTimeCode", f.at.View.OneTime, in, &out); err != nil {
		return err
	}
	if out.RemoteNgcParams == nil {
		return failed("the user's authenticator app cannot be asked: "+deviceCode, ErrNoMethod)
	}
	return f.ringing(*out.RemoteNgcParams)
}

// Values of AuthorizationState.
const (
	phonePending  = 0
	phoneApproved = 2
)

// pollPhone asks once whether the phone approved, and then signs in.
func (f *Flow) pollPhone(ctx context.Context) error {
	u, err := f.endpoint("urlSessionState", f.at.View.Session)
	if err != nil {
		return err
	}
	q := u.Query()
	q.Set("code", f.at.Phone)
	u.RawQuery = q.Encode()
	var out struct{ AuthorizationState *int }
	if err := f.ask(ctx, "urlSessionState", u.String(), map[string]string{"DeviceCode": f.at.Phone}, &out); err != nil {
		return err
	}
	switch {
	case out.AuthorizationState == nil:
		return failed("the phone's state has no AuthorizationState: "+deviceCode, ErrPage)
	case *out.AuthorizationState == phonePending:
		return nil
	case *out.AuthorizationState != phoneApproved:
		return failed("the sign-in was declined, or not answered in time", ErrDenied)
	}
	form := f.login()
	form.Set("code", f.at.Phone)
	form.Set("psRNGCSLK", f.at.Phone)
	form.Set("psRNGCEntropy", fmt.Sprint(f.at.Entropy))
	return f.send(ctx, form)
}
