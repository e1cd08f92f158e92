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
	// last answer was not accepted ([ErrTryAgain]). If the user answers on another
	// device (Kind.Polls), Ask shows the message and immediately returns Answer{Poll:
	// true} or the choice of another method. If Run has an Authenticator, Ask is
	// called for a security key only after the Authenticator has failed, with its
	// error as wrong. The answer is then another method, or Challenge.Method to try
	// the key again.
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

// answerTo has the security key sign, or the user answer. A key that fails does not
// end the sign-in, since the user may have another method.
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

// Pages goes through the pages of a sign-in that another component began. It can be
// the Pages of a [broker.WebFlow], or be called by a Prompter's Authorize.
type Pages struct {
	// Options say who signs in and how requests are sent. The tenant, client and
	// resource are those of the sign-in that was begun. Username is required. If
	// Password is set, the user is not asked for the first password.
	Options Options
	// Asker asks the user. It is required.
	Asker Asker
	// Key is the user's security key, such as a *fido.Key of broker/webflow/fido.
	// Nil: the Asker is asked.
	Key Authenticator
}

// Format implements [fmt.Formatter] without revealing the password.
func (p Pages) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "Pages{%v}", p.Options) }

// Authorize goes through the pages from address to the redirect that begins with
// redirectPrefix, and returns that redirect in full.
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
