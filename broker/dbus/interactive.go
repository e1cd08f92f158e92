package dbus

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/prtbroker/prtbroker/broker"
)

// Limits of interactive calls, which may last for as long as the user takes.
const (
	maxPerCaller   = 8
	maxInteractive = 64
)

// errCanceled means that the caller canceled the call with
// cancelInteractiveFlow.
var errCanceled = broker.NewError(broker.ErrUserCanceled, "the app canceled the sign-in", nil, broker.Error{})

// cancelAhead is how long a cancel that found nothing to cancel stays in effect
// for the next interactive call of its connection. msalruntime 0.20.7 sends the
// cancel of a call that has just begun milliseconds before the call itself, and
// then waits for the reply to the call. It also sends a cancel after the reply
// to the call that it meant, so for the same time after a reply a cancel is
// ignored.
const cancelAhead = 500 * time.Millisecond

// maxAhead bounds how many such cancels are remembered.
const maxAhead = 1024

// pendingCalls are the interactive calls under way, by the connection that made
// them.
type pendingCalls struct {
	mu    sync.Mutex // guards what follows
	of    map[string]map[*context.CancelCauseFunc]bool
	count int
	ahead map[string]time.Time // cancels that found nothing to cancel
	ended map[string]time.Time // when a connection's last call was answered
}

// begin registers a call. The returned context ends when the caller cancels.
func (p *pendingCalls) begin(ctx context.Context, name string, clock func() time.Time) (context.Context, func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, canceled := p.ahead[name]
	delete(p.ahead, name)
	if since := clock().Sub(at); canceled && since >= 0 && since < cancelAhead {
		return nil, nil, errCanceled
	}
	if p.count >= maxInteractive || len(p.of[name]) >= maxPerCaller {
		return nil, nil, errTooMany
	}
	ctx, cancel := context.WithCancelCause(ctx)
	if p.of == nil {
		p.of = map[string]map[*context.CancelCauseFunc]bool{}
	}
	if p.of[name] == nil {
		p.of[name] = map[*context.CancelCauseFunc]bool{}
	}
	p.of[name][&cancel] = true
	p.count++
	return ctx, func() {
		cancel(nil)
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.of[name], &cancel)
		p.count--
		p.ended = noted(p.ended, name, clock())
		if len(p.of[name]) == 0 {
			delete(p.of, name)
		}
	}, nil
}

// cancel ends the calls of a connection at its own request, at the time now.
func (p *pendingCalls) cancel(name string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at, ok := p.ended[name]; len(p.of[name]) == 0 && (!ok || now.Sub(at) >= cancelAhead) {
		p.ahead = noted(p.ahead, name, now)
	}
	for cancel := range p.of[name] {
		(*cancel)(errCanceled)
	}
}

// noted adds a time to a map of bounded size.
func noted(m map[string]time.Time, name string, at time.Time) map[string]time.Time {
	if m == nil || len(m) >= maxAhead {
		m = map[string]time.Time{}
	}
	m[name] = at
	return m
}

// gone ends the calls of a connection that has left the bus.
func (p *pendingCalls) gone(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.ahead, name)
	delete(p.ended, name)
	for cancel := range p.of[name] {
		(*cancel)(context.Canceled)
	}
}

// interactive answers without a prompt if none is required, since Edge calls it
// even with a valid PRT, and otherwise prompts the user.
func (c *call) interactive(ctx context.Context) (string, error) {
	opts, err := c.options()
	if err != nil {
		return "", err
	}
	ctx, done, err := c.h.pending.begin(ctx, c.from.Name, c.h.now)
	if err != nil {
		return "", err
	}
	defer done()
	who, err := c.whoSignsIn(ctx)
	if err != nil {
		return "", err
	}
	opts = append(opts, who...)
	res, err := c.b.AcquireTokenInteractive(ctx, c.scopes(), opts...)
	if err == nil && c.r.Renew != "" && c.r.Renew == res.AccessToken {
		res, err = c.b.AcquireTokenInteractive(ctx, c.scopes(), append(opts, broker.WithForceRefresh())...)
	}
	c.h.known.put(c.from, nil) // somebody new may have signed in
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errCanceled) {
			return "", errCanceled
		}
		return "", err
	}
	return c.token(res), nil
}

// whoSignsIn returns the options that name the account and say whether a new
// sign-in is required.
func (c *call) whoSignsIn(ctx context.Context) ([]broker.CallOption, error) {
	acct, err := c.account(ctx)
	if err != nil && !errors.Is(err, broker.ErrNoAccount) {
		return nil, err
	}
	here := err == nil
	var opts []broker.CallOption
	switch strings.ToLower(c.r.Prompt) {
	case "select_account", "create":
		return append(hint(opts, c.username()), broker.WithNewSignIn()), nil
	case "login", "force_login":
		opts = append(opts, broker.WithNewSignIn())
	default:
		if !here {
			opts = append(opts, broker.WithNewSignIn())
		}
	}
	if here {
		return append(opts, broker.WithAccount(acct)), nil
	}
	return hint(opts, c.username()), nil
}

func hint(opts []broker.CallOption, user string) []broker.CallOption {
	if user == "" {
		return opts
	}
	return append(opts, broker.WithLoginHint(user))
}
