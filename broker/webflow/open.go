package webflow

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/webflow/internal/page"
)

// open handles a page and returns the next one, or nil if the user has to answer.
func (f *Flow) open(ctx context.Context, r *reply, p *page.Page) (*reply, error) {
	switch p.ID {
	case page.SignIn:
		return nil, f.openSignIn(ctx, p)
	case page.SecondFactor:
		return nil, f.openSecondFactor(ctx, p)
	case page.SecurityKey:
		return nil, f.openKey(r.at, p)
	case page.ChangePassword:
		return nil, f.openChangePassword(p)
	case page.StaySignedIn:
		return f.pass(ctx, "urlPost", f.at.View.Post, url.Values{"LoginOptions": {"1"}})
	case page.ConfirmApp:
		// This page guards against an app that opens the browser on behalf of
		// another one. Here the program that began the sign-in is the one that gets
		// the tokens (AADSTS50199; the field is what public programs send).
		return f.pass(ctx, "urlPost", f.at.View.Post, url.Values{"ContinueAuth": {"true"}})
	case page.Terms:
		return nil, termsOfUse(p.ID)
	case page.ProofUp:
		return f.openProofUp(ctx, p)
	case page.Consent:
		e := failed("the app needs consent: grant it in a browser, or "+deviceCode, ErrConsent)
		e.Page = p.ID
		return nil, e
	}
	if f.isPasswordForm(r, p) {
		f.at.Federation = r.at.String()
		f.askFirst(MethodPassword)
		return nil, nil
	}
	if p.Code() != 0 {
		return nil, refused(p)
	}
	if r.status >= 400 && !p.HasConfig() {
		return nil, failed(fmt.Sprintf("the service refuses the page (HTTP %d): %s", r.status, deviceCode), ErrPage)
	}
	return nil, unknownPage(p)
}

// pass sends the form that leads on from a page that only informs.
func (f *Flow) pass(ctx context.Context, field, to string, more url.Values) (*reply, error) {
	u, err := f.endpoint(field, to)
	if err != nil {
		return nil, err
	}
	form := f.form()
	for name, v := range more {
		form[name] = v
	}
	return f.web.post(ctx, u, form)
}

// openProofUp skips the page that asks the user to register another method, if that
// can be postponed: the page has a link to do so, or says that there are days left.
func (f *Flow) openProofUp(ctx context.Context, p *page.Page) (*reply, error) {
	if skip := p.Text("urlSkipMfaRegistration"); skip != "" {
		return f.pass(ctx, "urlSkipMfaRegistration", skip, url.Values{"flowtoken": {f.at.View.Token}, "LoginOptions": {"1"}})
	}
	if p.Int("iRemainingDaysToSkipMfaRegistration") > 0 {
		return f.pass(ctx, "urlPost", f.at.View.Post, url.Values{"LoginOptions": {"1"}})
	}
	e := failed("the user has to register a method first: do so in a browser, or "+deviceCode, ErrNoMethod, broker.ErrInteractionRequired)
	e.Page = p.ID
	return nil, e
}

// openSignIn says what was wrong with the credential, or asks for one.
func (f *Flow) openSignIn(ctx context.Context, p *page.Page) error {
	sent := f.at.Challenge
	f.at.Proofs, f.at.Back = nil, view{}
	code := p.Code()
	if code == 0 {
		return f.beginFirst(ctx)
	}
	err := broker.ErrorOf(op, code)
	switch {
	case code == codeDenied && sent.Method == MethodPhone:
		return failed("the sign-in was declined, or not answered in time", ErrDenied, err)
	case errors.Is(err, broker.ErrBadCredential) && (sent.Kind == Password || sent.Kind == AccessPass):
		return wrong("the "+string(sent.Kind)+" is wrong", code) // the challenge stays
	}
	return err
}

// codeDenied is AADSTS500121: MFA was refused or not answered.
const codeDenied = 500121
