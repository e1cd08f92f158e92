package broker

import (
	"context"
	"errors"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/prt"
)

// A Decision is what the service did with one token request: an entry of the
// local sign-in log, which explains after the fact why the user was, or was
// not, asked. It holds no secret.
type Decision struct {
	Time          time.Time          `json:"time"`
	ClientID      string             `json:"clientId"`
	Resource      string             `json:"resource,omitempty"`
	Outcome       Outcome            `json:"outcome"`
	Code          int                `json:"code,omitempty"` // AADSTS
	Verdict       Verdict            `json:"verdict,omitempty"`
	Claims        string             `json:"claims,omitempty"` // what the service asked for
	Credential    prt.CredentialKind `json:"credential,omitempty"`
	MFA           claims.Answer      `json:"mfa"` // what the PRT carried
	MFAOn         time.Time          `json:"mfaOn,omitzero"`
	CorrelationID string             `json:"correlationId,omitempty"`
}

// An Outcome is how a token request ended.
type Outcome string

// Outcomes of a token request.
const (
	OutcomeSilent  Outcome = "silent"  // a token, and nobody was asked
	OutcomeAsked   Outcome = "asked"   // the service wants the user
	OutcomeRefused Outcome = "refused" // an error that the user cannot change
	OutcomeFailed  Outcome = "failed"  // the network or passing trouble
)

// observation is what the service did with a token request.
func (b *Broker) observation(q tokenRequest, t *prt.Token, rep *sts.Reply, err error) account.Observation {
	d := account.Observation{
		Time:       b.cfg.Now(),
		ClientID:   q.app.ClientID,
		Resource:   q.resource,
		Outcome:    string(OutcomeSilent),
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
		d.Outcome = string(OutcomeAsked)
	case errors.Is(err, ErrTransient), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		d.Outcome = string(OutcomeFailed)
	default:
		d.Outcome = string(OutcomeRefused)
	}
	if errors.As(err, &e) {
		d.Code, d.Verdict, d.CorrelationID, d.Claims = e.Code, string(e.Verdict), e.CorrelationID, e.Claims
	}
	return d
}

// note adds an observation to the log, and writes the log from time to time: in
// the background, so that a store that hangs withholds no token.
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

// flushTimeout bounds what Close writes.
const flushTimeout = 5 * time.Second

// flush writes what is kept in memory for a while: decisions, and the tokens
// that a start without a network opens by the PIN.
func (b *Broker) flush(accounts []*account.Account) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), flushTimeout)
	defer cancel()
	for _, a := range accounts {
		if a.Record() == nil {
			continue
		}
		if err := a.Flush(ctx); err != nil {
			b.cfg.Logger.InfoContext(ctx, "writing the sign-in log failed", "error", err)
		}
		if err := b.saveOffline(ctx, a); err != nil {
			b.cfg.Logger.InfoContext(ctx, "writing the tokens for an offline unlock failed", "error", err)
		}
	}
}

// SignInLog returns the last 256 decisions of the service about the account's
// token requests, the oldest first; the zero Account is the only one. Tokens
// that came from memory are not in it.
func (b *Broker) SignInLog(ctx context.Context, acct Account) (_ []Decision, err error) {
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
	return decisions(all), nil
}
