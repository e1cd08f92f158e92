package webflow

import (
	"context"
	"slices"
	"time"
)

// answer is one step of Continue.
func (f *Flow) answer(ctx context.Context, a Answer) error {
	c := f.at.Challenge
	if c.Kind == "" {
		return failed("the flow has ended with an error: start another")
	}
	if a.Choice != "" {
		return f.choose(ctx, a.Choice)
	}
	if a.Poll {
		if !c.Kind.Polls() {
			return f.misused("Answer.Poll answers no challenge of kind " + string(c.Kind))
		}
		return f.poll(ctx)
	}
	switch {
	case c.Kind == Password && a.Password != "":
		return f.sendPassword(ctx, a.Password)
	case c.Kind == NewPassword && a.Password != "" && a.NewPassword != "":
		return f.changePassword(ctx, a.Password, a.NewPassword)
	case c.Kind == AccessPass && a.Code != "":
		return f.sendAccessPass(ctx, a.Code)
	case c.Kind == Code && a.Code != "":
		return f.sendCode(ctx, a.Code)
	case c.Kind == SecurityKey && a.Assertion != nil:
		return f.sendAssertion(ctx, a.Assertion)
	}
	return f.misused("the answer does not fit a challenge of kind " + string(c.Kind))
}

// misused returns the error for a mistake of the calling program, after which
// the flow goes on.
func (f *Flow) misused(detail string) error { return failed(detail, ErrTryAgain) }

// choose switches to another method that the challenge offers.
func (f *Flow) choose(ctx context.Context, id string) error {
	c := f.at.Challenge
	if !slices.ContainsFunc(c.Methods, func(m Method) bool { return m.ID == id }) && id != c.Method {
		return f.misused("Answer.Choice is not one of the challenge's methods")
	}
	if f.at.Back.Page != "" { // from the page of security keys
		f.at.View, f.at.Back = f.at.Back, view{}
	}
	if f.at.Proofs != nil {
		return f.beginFactor(ctx, id)
	}
	switch id {
	case MethodPhone:
		return f.ring(ctx)
	case MethodKey:
		return f.beginFirstKey(ctx)
	}
	f.askFirst(id)
	return nil
}

// Defaults for pages that do not say how often to poll.
const (
	defaultPollEvery = time.Second
	defaultPolls     = 60
)

// poll asks once whether the user has answered, and fails after MaxPolls
// polls.
func (f *Flow) poll(ctx context.Context) error {
	c := f.at.Challenge
	if f.at.Polls++; f.at.Polls > c.MaxPolls {
		return failed("nobody answered the request on the phone", ErrTimeout)
	}
	if c.Method == MethodPhone {
		return f.pollPhone(ctx)
	}
	return f.pollFactor(ctx)
}
