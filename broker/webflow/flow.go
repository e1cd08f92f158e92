package webflow

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/webflow/internal/page"
)

// A Flow is a sign-in under way. It is safe for concurrent use; one step runs at a
// time.
type Flow struct {
	turn   chan struct{} // holds one token: whoever has it steps
	ctx    context.Context
	cancel context.CancelCauseFunc
	closed atomic.Bool

	// Below: of whoever has the turn.
	web    *visitor
	wait   func(context.Context, time.Duration) error
	now    func() time.Time
	at     place
	tokens *Tokens
	end    string // the redirect that the sign-in ended at
}

// A place is how far a sign-in is: all that the next step needs.
type place struct {
	Login      string   // host
	Hosts      []string // of the cloud
	Federation string   // address of the federation server's page; "": none
	Agent      string
	Prefix     string // of the redirect that ends the sign-in
	Start      string // address of the first page
	User       string
	Quiet      bool     // the phone is not to ring by itself
	Request    *request // nil: whoever began it redeems the code

	Challenge Challenge
	Polls     int      // so far
	Have      []string // first factors of the user
	Allow     []string // credential ids of the user's security keys
	Phone     string   // session of a passwordless phone sign-in
	Entropy   int      // its number
	Proofs    []page.Proof
	PollEvery time.Duration
	MaxPolls  int
	View      view // the present page
	Back      view // the page of second factors, beside that of security keys
}

// A view is what later steps need of a page: its endpoints, and what goes back to
// them. Fields that the page lacks are empty.
type view struct {
	Page, Base                        string // id and address
	Post, Types, OneTime, Session     string
	BeginAuth, EndAuth, KeyLogin      string
	SSPRBegin, SSPRPoll, Resume       string
	Ctx, Token, Canary, Cross         string // the newest
	SessionID, Correlation            string
	Identities, KeyList, KeyChallenge string
}

// Begin opens the sign-in page and continues until the user must answer. The
// challenge is of kind Done where nobody is; then, and after the last answer,
// [Flow.Tokens] has the result. The caller closes the flow, which is nil with an
// error that ends it: with ErrTryAgain it is not, and the challenge is to be
// answered.
func Begin(ctx context.Context, o Options) (*Flow, Challenge, error) {
	if err := o.check(); err != nil {
		return nil, Challenge{}, err
	}
	o = o.withDefaults()
	q := newRequest(o)
	f := newFlow(o, q.Redirect)
	f.at.Request = q
	f.at.Quiet = o.Password != ""
	return f.begin(ctx, q.url(o.Cloud), o.Password)
}

func newFlow(o Options, prefix string) *Flow {
	f := &Flow{turn: make(chan struct{}, 1), wait: o.Wait, now: o.Now}
	f.ctx, f.cancel = context.WithCancelCause(context.Background())
	f.turn <- struct{}{}
	f.at = place{Login: o.Cloud.LoginHost, Hosts: hosts(o.Cloud), Agent: o.UserAgent, Prefix: prefix, User: o.Username}
	f.web = f.visitor(o)
	return f
}

func (f *Flow) visitor(o Options) *visitor {
	return &visitor{transport: notRedirecting(o.Transport), agent: f.at.Agent, hosts: f.at.Hosts, prefix: f.at.Prefix,
		jar: newJar(), credentials: o.Credentials, recorder: newRecorder(o.Record)}
}

func (f *Flow) begin(ctx context.Context, start *url.URL, password string) (*Flow, Challenge, error) {
	f.at.Start = start.String()
	c, err := f.step(ctx, func(ctx context.Context) error {
		r, err := f.web.get(ctx, start)
		if err != nil {
			return err
		}
		if err := f.arrive(ctx, r); err != nil {
			return err
		}
		if password != "" && f.at.Challenge.Kind == Password {
			return f.sendPassword(ctx, password)
		}
		return nil
	})
	if err != nil && !errors.Is(err, ErrTryAgain) {
		f.Close()
		return nil, Challenge{}, err
	}
	return f, c, err
}

// Challenge is what the flow waits for.
func (f *Flow) Challenge(ctx context.Context) (Challenge, error) {
	return f.step(ctx, func(context.Context) error { return nil })
}

// Continue answers the challenge and returns the next one, of kind Done at the
// end. With an error of ErrTryAgain or of a poll whose network failed
// (broker.ErrTransient) the flow goes on with the returned challenge; every other
// error ends it.
func (f *Flow) Continue(ctx context.Context, a Answer) (Challenge, error) {
	return f.step(ctx, func(ctx context.Context) error { return f.answer(ctx, a) })
}

// Wait polls until the user has answered elsewhere, and returns the next
// challenge. It is for challenges whose Kind.Polls is true, and returns
// [ErrTimeout] after MaxPolls.
func (f *Flow) Wait(ctx context.Context) (Challenge, error) {
	for {
		c, err := f.Challenge(ctx)
		if err != nil || !c.Kind.Polls() {
			return c, err
		}
		if err := f.pause(ctx, c.PollEvery); err != nil {
			return Challenge{}, err
		}
		next, err := f.Continue(ctx, Answer{Poll: true})
		if err != nil || next.Kind != c.Kind || next.Method != c.Method || next.Number != c.Number {
			return next, err
		}
	}
}

// pause waits between two polls, until the flow is closed at most. It does not
// hold the turn.
func (f *Flow) pause(ctx context.Context, d time.Duration) error {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.ctx, cancel)()
	err := f.wait(waiting, d)
	if err != nil && f.closed.Load() {
		return ErrClosed
	}
	return err
}

// Tokens is the result of a flow that is done.
func (f *Flow) Tokens() (Tokens, error) {
	select {
	case <-f.turn:
	case <-f.ctx.Done():
		return Tokens{}, ErrClosed
	}
	defer f.leave()
	if f.tokens == nil {
		return Tokens{}, failed("the sign-in is not done")
	}
	return *f.tokens, nil
}

// Close ends the flow, and a step that runs, and forgets what it holds. It may be
// called several times.
func (f *Flow) Close() {
	f.closed.Store(true)
	f.cancel(ErrClosed)
	select {
	case <-f.turn:
		f.leave()
	default: // whoever steps forgets
	}
}

// step runs one step at a time, within ctx, and ends it when the flow is closed.
func (f *Flow) step(ctx context.Context, do func(context.Context) error) (Challenge, error) {
	if err := ctx.Err(); err != nil {
		return Challenge{}, err
	}
	if f.closed.Load() {
		return Challenge{}, ErrClosed
	}
	select {
	case <-f.turn:
	case <-ctx.Done():
		return Challenge{}, ctx.Err()
	case <-f.ctx.Done():
		return Challenge{}, ErrClosed
	}
	defer f.leave()
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.ctx, cancel)()
	err := do(inner)
	switch {
	case err != nil && f.closed.Load():
		return Challenge{}, ErrClosed
	case err != nil && ctx.Err() != nil:
		return Challenge{}, ctx.Err()
	case err == nil, errors.Is(err, ErrTryAgain), f.at.Challenge.Kind.Polls() && errors.Is(err, broker.ErrTransient):
		return f.at.Challenge, err
	}
	f.at.Challenge = Challenge{}
	return Challenge{}, err
}

// leave gives the turn back and forgets everything where the flow was closed.
func (f *Flow) leave() {
	if f.closed.Load() {
		f.at, f.tokens, f.end = place{}, nil, ""
		f.web = nil
		return // nobody has the turn again
	}
	f.turn <- struct{}{}
	if f.closed.Load() { // meanwhile
		f.Close()
	}
}

// answer is one step of Continue.
func (f *Flow) answer(ctx context.Context, a Answer) error {
	c := f.at.Challenge
	if c.Kind == "" {
		return failed("the flow has ended with an error: begin another")
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

// misused is a mistake of the program, after which the flow goes on.
func (f *Flow) misused(detail string) error { return failed(detail, ErrTryAgain) }

// limits of a sign-in.
const (
	maxPages   = 24 // without the user
	maxSubmits = 10 // pages that a script sends on
)

// arrive looks at a page and continues until the user must answer.
func (f *Flow) arrive(ctx context.Context, r *reply) error {
	submits := 0
	for range maxPages {
		if r.redirected != "" {
			return f.finish(ctx, r.redirected)
		}
		p := page.Parse(r.body)
		var err error
		switch {
		case p.Redirect != "" && f.web.ends(p.Redirect):
			return f.finish(ctx, p.Redirect)
		case p.Redirect != "" && p.ID == "":
			r, err = f.follow(ctx, r.at, p.Redirect)
		case p.AutoSubmit && !f.isPasswordForm(r, p):
			if submits++; submits > maxSubmits {
				return failed("the pages send each other on without an end: "+deviceCode, ErrPage)
			}
			r, err = f.submit(ctx, r.at, p.Forms[0])
		default:
			f.read(r.at, p)
			if r, err = f.open(ctx, r, p); r == nil && err == nil {
				return nil // the user is next
			}
		}
		if err != nil {
			return err
		}
	}
	return failed("the sign-in does not come to an end: "+deviceCode, ErrPage)
}

// follow goes where a script leads.
func (f *Flow) follow(ctx context.Context, at *url.URL, to string) (*reply, error) {
	u, err := at.Parse(to)
	if err != nil {
		return nil, failed("the page leads to a malformed address", ErrPage)
	}
	return f.web.get(ctx, u)
}

// submit sends a form as it is.
func (f *Flow) submit(ctx context.Context, at *url.URL, form page.Form) (*reply, error) {
	u, err := at.Parse(form.Action)
	if err != nil {
		return nil, failed("the form of the page leads to a malformed address", ErrPage)
	}
	if f.web.ends(u.String()) { // response_mode form_post
		sep := "?"
		if strings.Contains(u.String(), "?") {
			sep = "&"
		}
		return &reply{at: at, redirected: u.String() + sep + form.Fields.Encode()}, nil
	}
	if !form.Post {
		u.RawQuery = form.Fields.Encode()
		return f.web.get(ctx, u)
	}
	return f.web.post(ctx, u, form.Fields)
}

// read takes what later steps need from a page.
func (f *Flow) read(at *url.URL, p *page.Page) {
	if !p.HasConfig() {
		return
	}
	v := view{
		Page: p.ID, Base: at.String(), Post: p.Text("urlPost"), Types: p.Text("urlGetCredentialType"),
		OneTime: p.Text("urlGetOneTimeCode"), Session: p.Text("urlSessionState"), BeginAuth: p.Text("urlBeginAuth"),
		EndAuth: p.Text("urlEndAuth"), KeyLogin: p.Text("urlFidoLogin"), SSPRBegin: p.Text("urlAsyncSsprBegin"),
		SSPRPoll: p.Text("urlAsyncSsprPoll"), Resume: p.Text("urlResume"), Ctx: p.Text("sCtx"), Token: p.Text("sFT"),
		Canary: p.Text("canary"), Cross: p.Text("sCrossDomainCanary"), SessionID: p.Text("sessionId"),
		Correlation: p.Text("correlationId"), Identities: p.Text("iAllowedIdentities"), KeyChallenge: p.Text("sFidoChallenge"),
	}
	if list := p.Strings("arrFidoAllowList"); len(list) > 0 {
		v.KeyList = list[0]
	}
	f.at.View, f.at.Polls = v, 0
}

// endpoint is the address of one of the page's endpoints.
func (f *Flow) endpoint(field, value string) (*url.URL, error) {
	if value == "" {
		return nil, lacking(&page.MissingError{Page: f.at.View.Page, Field: field})
	}
	base, err := url.Parse(f.at.View.Base)
	if err != nil {
		return nil, err
	}
	u, err := base.Parse(value)
	if err != nil {
		return nil, failed("the page's "+field+" is a malformed address", ErrPage)
	}
	return u, nil
}

// form is what every form of the pages carries.
func (f *Flow) form() url.Values {
	return url.Values{"ctx": {f.at.View.Ctx}, "flowToken": {f.at.View.Token}, "canary": {f.at.View.Canary}, "client-request-id": {f.at.View.Correlation}}
}

// send sends a form to the page's urlPost and goes on from what it answers.
func (f *Flow) send(ctx context.Context, form url.Values) error {
	u, err := f.endpoint("urlPost", f.at.View.Post)
	if err != nil {
		return err
	}
	r, err := f.web.post(ctx, u, form)
	if err != nil {
		return err
	}
	return f.arrive(ctx, r)
}

// ask calls an endpoint of the page's scripts.
func (f *Flow) ask(ctx context.Context, field, value string, in, out any) error {
	u, err := f.endpoint(field, value)
	if err != nil {
		return err
	}
	return f.web.call(ctx, http.MethodPost, u, http.Header{
		"canary": {f.at.View.Canary}, "client-request-id": {f.at.View.Correlation}, "hpgrequestid": {f.at.View.SessionID},
	}, in, out)
}

// finish ends the sign-in well.
func (f *Flow) finish(ctx context.Context, redirected string) error {
	f.end = redirected
	if f.at.Request != nil {
		t, err := f.redeem(ctx, redirected)
		if err != nil {
			return err
		}
		f.tokens = t
	}
	f.at.Challenge = Challenge{Kind: Done, Message: "Signed in."}
	return nil
}

// redirected is where the sign-in ended.
func (f *Flow) redirected() (string, error) {
	select {
	case <-f.turn:
	case <-f.ctx.Done():
		return "", ErrClosed
	}
	defer f.leave()
	return f.end, nil
}

// parse reads an address that must not be empty.
func parse(address string) (*url.URL, error) {
	if address == "" {
		return nil, failed("there is no address")
	}
	return url.Parse(address)
}
