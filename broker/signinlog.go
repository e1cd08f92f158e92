package broker

import (
	"context"
	"errors"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/why"
	"github.com/prtbroker/prtbroker/prt"
)

// observation is what the service did with a token request.
func (c *Config) observation(q tokenRequest, t *prt.Token, rep *sts.Reply, err error) account.Observation {
	d := account.Observation{
		Time:       c.Now(),
		ClientID:   q.app.ClientID,
		Resource:   q.resource,
		Outcome:    string(why.OutcomeSilent),
		Credential: t.Credential,
		MFA:        t.Evidence.MFA,
		MFAOn:      t.Evidence.At,
	}
	if rep != nil {
		d.CorrelationID = rep.CorrelationID
	}
	var e *Error
	switch {
	case err == nil:
		return d
	case errors.Is(err, ErrInteractionRequired):
		d.Outcome = string(why.OutcomeAsked)
	case errors.Is(err, ErrTransient), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		d.Outcome = string(why.OutcomeFailed)
	default:
		d.Outcome = string(why.OutcomeRefused)
	}
	if errors.As(err, &e) {
		d.Code, d.Verdict, d.CorrelationID, d.Claims = e.Code, string(e.Verdict), e.CorrelationID, e.Claims
	}
	return d
}

// note adds an observation to the log, and from time to time writes the log in
// the background, so that a store that hangs does not hold up a token.
func (b *Broker) note(a *account.Account, o account.Observation) {
	if !a.Note(o) {
		return
	}
	b.background.Go(func() {
		ctx, cancel := context.WithTimeout(b.ctx, keepWait)
		defer cancel()
		if err := a.Flush(ctx); err != nil && b.ctx.Err() == nil {
			b.cfg.Logger.InfoContext(ctx, "writing the sign-in log failed", "error", err)
		}
	})
}

// flushTimeout bounds the writes at Close.
const flushTimeout = 5 * time.Second

// flush writes what has only been in memory so far: decisions, and the tokens
// that a start without a network opens with the PIN.
func (b *Broker) flush(accounts []*account.Account) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), flushTimeout)
	defer cancel()
	for _, a := range accounts {
		if err := a.Flush(ctx); err != nil {
			b.cfg.Logger.InfoContext(ctx, "writing the sign-in log failed", "error", err)
		}
		if err := b.tokens.saveOffline(ctx, a); err != nil {
			b.cfg.Logger.InfoContext(ctx, "writing the tokens for an offline unlock failed", "error", err)
		}
	}
}

// SignInLog returns the last 256 decisions of the service about the account's
// token requests, the oldest first; the zero Account means the only one. Tokens
// that came from memory are not in it.
func (b *Broker) SignInLog(ctx context.Context, acct Account) (_ []why.Observation, err error) {
	const op = "sign-in log"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave(&err)
	a, _, err := b.accountFor(ctx, acct)
	if err != nil {
		return nil, opError(op, err)
	}
	all, err := a.Log(ctx)
	if err != nil {
		return nil, opError(op, err)
	}
	return observations(all), nil
}
