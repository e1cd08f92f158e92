package webflow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/webflow/internal/page"
)

// A Flow is a sign-in in progress. It is safe for concurrent use; one step runs at
// a time.
type Flow struct {
	turn   chan struct{} // holds one token: the step that takes it may run
	ctx    context.Context
	cancel context.CancelCauseFunc
	closed atomic.Bool

	// The fields below belong to the step that has the turn.
	web    *visitor
	wait   func(context.Context, time.Duration) error
	now    func() time.Time
	at     place
	tokens *Tokens
	end    string // the redirect that the sign-in ended at
}

// Format prints the type's name: the tokens, cookies and page are not for a log.
func (f *Flow) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "Flow{}") }

// A place is how far a sign-in has come: everything that the next step needs.
type place struct {
	Login      string   // host
	Hosts      []string // of the cloud
	Federation string   // address of the federation server's page; "": none
	Agent      string
	Prefix     string // of the redirect that ends the sign-in
	Start      string // address of the first page
	User       string
	Quiet      bool     // the phone is not to ring by itself
	Request    *request // nil: the caller that began the sign-in redeems the code

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
	Back      view // the page of second factors, while View is that of security keys
}

// Begin opens the sign-in page and continues until the user must answer. If no
// answer is needed, the challenge is of kind Done; then, and after the last
// answer, [Flow.Tokens] has the result. The caller closes the flow. If Begin
// fails, the flow is nil, unless the error is ErrTryAgain: then the flow goes on,
// and the challenge is to be answered.
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

// Challenge returns what the flow is waiting for.
func (f *Flow) Challenge(ctx context.Context) (Challenge, error) {
	return f.step(ctx, func(context.Context) error { return nil })
}

// Continue answers the challenge and returns the next one, which is of kind Done
// at the end. After an ErrTryAgain, or a poll that failed on the network
// (broker.ErrTransient), the flow goes on with the returned challenge. Every other
// error ends it.
func (f *Flow) Continue(ctx context.Context, a Answer) (Challenge, error) {
	return f.step(ctx, func(ctx context.Context) error { return f.answer(ctx, a) })
}

// Wait polls until the user has answered on the other device, and returns the next
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

// pause waits between two polls, or until the flow is closed. It does not hold the
// turn.
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

// Tokens returns the result of a flow that is done.
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

// Close ends the flow and any step in progress, and discards all that the flow
// holds. It may be called several times.
func (f *Flow) Close() {
	f.closed.Store(true)
	f.cancel(ErrClosed)
	select {
	case <-f.turn:
		f.leave()
	default: // the step in progress discards it
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

// leave gives the turn back, and discards everything if the flow was closed.
func (f *Flow) leave() {
	if f.closed.Load() {
		f.at, f.tokens, f.end = place{}, nil, ""
		f.web = nil
		return // no step gets the turn again
	}
	f.turn <- struct{}{}
	if f.closed.Load() { // meanwhile
		f.Close()
	}
}
