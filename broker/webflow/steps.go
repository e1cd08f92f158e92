package webflow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/webflow/internal/page"
)

// open does what a page wants, and returns the next page, or nil where the user is
// next.
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
	case page.ProofUp:
		return f.openProofUp(ctx, p)
	case page.Consent:
		e := failed("the app needs consent: give it in a browser, or "+deviceCode, ErrConsent)
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

// pass sends what a page that only informs is left by.
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

// openProofUp leaves the page that wants another method registered where that can be
// put off: the page has a link to do so, or says that there are days left.
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

// A credentials is the answer of GetCredentialType.
type credentials struct {
	IfExistsResult int
	ThrottleStatus int
	FlowToken      string
	Credentials    struct {
		PrefCredential                                    int
		HasPassword, HasFido, HasRemoteNGC, HasAccessPass bool
		FederationRedirectURL                             string `json:"FederationRedirectUrl"`
		RemoteNgcParams                                   *phoneParams
		FidoParams                                        *struct{ AllowList []string }
	}
}

// phoneParams is a passwordless phone sign-in that has begun.
type phoneParams struct {
	SessionIdentifier string
	Entropy           int
}

// Values of IfExistsResult and PrefCredential.
const (
	existsNot       = 1
	existsThrottled = 2

	prefersPhone = 2
	prefersKey   = 7
)

// types asks which credentials the user has. With ring, a phone that the user
// prefers is made to ask for approval.
func (f *Flow) types(ctx context.Context, ring bool) (*credentials, error) {
	in := map[string]any{
		"username": f.at.User, "isOtherIdpSupported": true, "checkPhones": true, "isRemoteNGCSupported": ring,
		"isCookieBannerShown": false, "isFidoSupported": true, "isAccessPassSupported": true,
		"originalRequest": f.at.View.Ctx, "flowToken": f.at.View.Token,
	}
	out := new(credentials)
	if err := f.ask(ctx, "urlGetCredentialType", f.at.View.Types, in, out); err != nil {
		return nil, err
	}
	switch {
	case out.IfExistsResult == existsThrottled || out.ThrottleStatus == 1:
		return nil, failed("the service was asked too often which credentials users have", broker.ErrThrottled)
	case out.IfExistsResult < 0 || out.IfExistsResult == 4:
		return nil, failed("the service cannot say which credentials the user has", broker.ErrTransient)
	}
	f.at.View.Token = cmp.Or(out.FlowToken, f.at.View.Token)
	return out, nil
}

// beginFirst asks for the first factor: the one that the service prefers for the
// user, of those that the user has.
func (f *Flow) beginFirst(ctx context.Context) error {
	t, err := f.types(ctx, !f.at.Quiet)
	if err != nil {
		return err
	}
	c := t.Credentials
	if c.FederationRedirectURL != "" {
		u, err := url.Parse(c.FederationRedirectURL)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			return failed("the federation server of the user's domain has no https address: "+deviceCode, ErrPage)
		}
		f.at.Federation, f.web.federation = c.FederationRedirectURL, strings.ToLower(u.Host)
		f.askFirst(MethodPassword)
		return nil
	}
	if t.IfExistsResult == existsNot && !f.at.Quiet {
		return failed("the directory has no such user", broker.ErrUserNotFound)
	}
	f.at.Have = nil
	for _, m := range []struct {
		id  string
		has bool
	}{{MethodPassword, c.HasPassword || f.at.Quiet}, {MethodAccessPass, c.HasAccessPass}, {MethodPhone, c.HasRemoteNGC}, {MethodKey, c.HasFido}} {
		if m.has {
			f.at.Have = append(f.at.Have, m.id)
		}
	}
	if c.FidoParams != nil {
		f.at.Allow = c.FidoParams.AllowList
	}
	switch {
	case f.at.Quiet:
		f.askFirst(MethodPassword)
	case c.RemoteNgcParams != nil:
		return f.ringing(*c.RemoteNgcParams)
	case c.HasAccessPass:
		f.askFirst(MethodAccessPass)
	case c.HasFido && (c.PrefCredential == prefersKey || !c.HasPassword):
		return f.beginFirstKey(ctx)
	case c.HasPassword:
		f.askFirst(MethodPassword)
	default:
		return failed("the user has no credential that can be used here: "+deviceCode, ErrNoMethod)
	}
	return nil
}

// askFirst makes the challenge of a first factor.
func (f *Flow) askFirst(id string) {
	m := firsts[id]
	f.at.Challenge = Challenge{Kind: m.kind, Method: id, Message: m.message}
	for _, other := range f.at.Have {
		if other != id {
			f.at.Challenge.Methods = append(f.at.Challenge.Methods, Method{other, firsts[other].label})
		}
	}
}

// sendPassword sends the password, once: to the service, or to the federation
// server of the user's domain, of which the service then does not see it.
func (f *Flow) sendPassword(ctx context.Context, password string) error {
	if f.at.Federation != "" {
		return f.sendFederated(ctx, password)
	}
	form := f.login()
	form.Set("passwd", password)
	form.Set("type", "11")
	form.Set("LoginOptions", "3")
	return f.send(ctx, form)
}

// login is a form of the sign-in page.
func (f *Flow) login() url.Values {
	form := f.form()
	form.Set("login", f.at.User)
	form.Set("loginfmt", f.at.User)
	form.Set("hpgrequestid", f.at.View.SessionID)
	return form
}

// sendAccessPass sends a temporary access pass, once.
func (f *Flow) sendAccessPass(ctx context.Context, pass string) error {
	form := f.login()
	form.Set("accesspass", pass)
	if strings.HasSuffix(f.at.View.Post, "/ProcessAuth") {
		form.Set("request", f.at.View.Ctx)
		form.Del("ctx")
	}
	return f.send(ctx, form)
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

// choose goes over to another method that the challenge names.
func (f *Flow) choose(ctx context.Context, id string) error {
	c := f.at.Challenge
	if !slices.ContainsFunc(c.Methods, func(m Method) bool { return m.ID == id }) && id != c.Method {
		return f.misused("Answer.Choice is none of the challenge's methods")
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

// Where the page does not say how often to poll.
const (
	defaultPollEvery = time.Second
	defaultPolls     = 60
)

// poll asks once, after as many as make sense no more.
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

// methods reads the first page for which credentials the user has.
func (f *Flow) methods(ctx context.Context, r *reply) (Methods, error) {
	if r.redirected != "" {
		return Methods{}, failed("the page signs in without a question")
	}
	p := page.Parse(r.body)
	f.read(r.at, p)
	if p.ID != page.SignIn || p.Code() != 0 {
		_, err := f.open(ctx, r, p)
		if err == nil {
			err = unknownPage(p)
		}
		return Methods{}, err
	}
	t, err := f.types(ctx, false)
	if err != nil {
		return Methods{}, err
	}
	c := t.Credentials
	return Methods{Exists: t.IfExistsResult != existsNot, Federated: c.FederationRedirectURL != "", Password: c.HasPassword,
		AccessPass: c.HasAccessPass, SecurityKey: c.HasFido, Phone: c.HasRemoteNGC}, nil
}
