package webflow

import (
	"context"
	"errors"
	"fmt"
	"net/url"
)

// An Asker asks the user.
type Asker interface {
	// Ask shows a challenge and returns the answer. wrong, if not nil, says why the
	// last answer was not taken ([ErrTryAgain]). Where the user answers elsewhere
	// (Kind.Polls) Ask shows the message and returns at once: Answer{Poll: true},
	// or a choice of another method. Where Run has an Authenticator, Ask is asked
	// about a security key only after that failed, with its error as wrong: the
	// answer is another method, or Challenge.Method to try the key again.
	Ask(ctx context.Context, c Challenge, wrong error) (Answer, error)
}

// Run answers the challenges of a flow until it is done, and closes it.
func Run(ctx context.Context, f *Flow, ask Asker, key Authenticator) (Tokens, error) {
	defer f.Close()
	if err := run(ctx, f, nil, ask, key); err != nil {
		return Tokens{}, err
	}
	return f.Tokens()
}

func run(ctx context.Context, f *Flow, wrong error, ask Asker, key Authenticator) error {
	c, err := f.Challenge(ctx)
	if err != nil {
		return err
	}
	for c.Kind != Done {
		a, err := answerTo(ctx, c, wrong, ask, key)
		if err != nil {
			return err
		}
		if a.Poll {
			c, err = f.Wait(ctx)
		} else {
			c, err = f.Continue(ctx, a)
		}
		if wrong = err; err != nil && !errors.Is(err, ErrTryAgain) {
			return err
		}
	}
	return nil
}

// answerTo has the security key sign, or the user answer. A key that fails is not the
// end, since the user may have another way.
func answerTo(ctx context.Context, c Challenge, wrong error, ask Asker, key Authenticator) (Answer, error) {
	if c.Kind != SecurityKey || key == nil {
		return ask.Ask(ctx, c, wrong)
	}
	s, err := key.Assert(ctx, *c.Fido)
	switch {
	case err == nil:
		return Answer{Assertion: s}, nil
	case ctx.Err() != nil:
		return Answer{}, err
	}
	return ask.Ask(ctx, c, fmt.Errorf("webflow: the security key: %w", err))
}

// Pages goes through the pages of a sign-in that somebody else began: the Pages of
// a [broker.WebFlow], or what a Prompter's Authorize calls.
type Pages struct {
	// Options say who signs in and how requests are sent; Tenant, client and
	// resource are those of whoever began. Username is required. With a Password
	// the first password is not asked for.
	Options Options
	// Asker asks the user. It is required.
	Asker Asker
	// Key is the user's security key, such as a *fido.Key of broker/webflow/fido.
	// Nil: the Asker is asked.
	Key Authenticator
}

// Authorize goes through the pages from address to the redirect that begins with
// redirectPrefix, and returns that, whole.
func (p *Pages) Authorize(ctx context.Context, address, redirectPrefix string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", failed("the address of the page is malformed")
	}
	o := p.Options
	o.Tenant = "of the page"
	if hint := u.Query().Get("login_hint"); o.Username == "" {
		o.Username = hint
	}
	if err := o.check(); err != nil {
		return "", err
	}
	o = o.withDefaults()
	f := newFlow(o, redirectPrefix)
	defer f.Close()
	f.at.Quiet = o.Password != ""
	_, _, wrong := f.begin(ctx, u, o.Password)
	if wrong != nil && !errors.Is(wrong, ErrTryAgain) {
		return "", wrong
	}
	if err := run(ctx, f, wrong, p.Asker, p.Key); err != nil {
		return "", err
	}
	return f.redirected()
}
