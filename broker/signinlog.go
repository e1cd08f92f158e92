package broker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/prt"
)

// A Decision is what the service did with one token request: an entry of the
// local sign-in log, which explains after the fact why the user was, or was
// not, asked. It holds no secret.
type Decision struct {
	Time          time.Time      `json:"time"`
	ClientID      string         `json:"clientId"`
	Resource      string         `json:"resource,omitempty"`
	Outcome       Outcome        `json:"outcome"`
	Code          int            `json:"code,omitempty"` // AADSTS
	Verdict       Verdict        `json:"verdict,omitempty"`
	Claims        string         `json:"claims,omitempty"` // what the service asked for
	Credential    CredentialKind `json:"credential,omitempty"`
	MFA           claims.Answer  `json:"mfa"` // what the PRT carried
	MFAOn         time.Time      `json:"mfaOn,omitzero"`
	CorrelationID string         `json:"correlationId,omitempty"`
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

const (
	// maxDecisions is how many decisions an account keeps.
	maxDecisions = 256
	// flushEvery is how many decisions are written together.
	flushEvery = 16
	logSuffix  = ".log"
	maxClaims  = 4 << 10
)

// signInLog holds the decisions that are not yet in the store.
type signInLog struct {
	mu      sync.Mutex // guards all below
	pending []Decision
}

func (l *signInLog) note(d Decision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = append(l.pending, d)
	if len(l.pending) > maxDecisions {
		l.pending = l.pending[len(l.pending)-maxDecisions:]
	}
}

// take empties the log if it holds at least n decisions.
func (l *signInLog) take(n int) []Decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) < n {
		return nil
	}
	out := l.pending
	l.pending = nil
	return out
}

func (l *signInLog) peek() []Decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Decision(nil), l.pending...)
}

type logRecord struct {
	Version   int        `json:"v"`
	Decisions []Decision `json:"decisions"`
}

func (b *Broker) decision(q tokenRequest, t *prt.Token, rep *reply, err error) Decision {
	d := Decision{
		Time:       b.cfg.Now(),
		ClientID:   q.app.ClientID,
		Resource:   q.resource,
		Outcome:    OutcomeSilent,
		Credential: CredentialKind(t.Credential),
		MFA:        t.Evidence.MFA,
		MFAOn:      t.Evidence.At,
	}
	if rep != nil {
		d.CorrelationID = rep.correlationID
	}
	var e *Error
	switch {
	case err == nil:
		return d
	case errors.Is(err, ErrInteractionRequired):
		d.Outcome = OutcomeAsked
	case errors.Is(err, ErrTransient), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		d.Outcome = OutcomeFailed
	default:
		d.Outcome = OutcomeRefused
	}
	if errors.As(err, &e) {
		d.Code, d.Verdict, d.CorrelationID = e.Code, e.Verdict, e.CorrelationID
		if len(e.Claims) <= maxClaims {
			d.Claims = e.Claims
		}
	}
	return d
}

// note adds a decision to the log, and writes the log from time to time.
func (b *Broker) note(ctx context.Context, a *account, d Decision) {
	a.log.note(d)
	if err := a.flushLog(context.WithoutCancel(ctx), flushEvery); err != nil {
		b.cfg.Logger.InfoContext(ctx, "writing the sign-in log failed", "error", err)
	}
}

// readLog returns what is in the store.
func (a *account) readLog(ctx context.Context) (*logRecord, vault.Record, error) {
	r, err := a.vault.Read(ctx, logSuffix)
	if errors.Is(err, store.ErrNotFound) {
		return &logRecord{Version: vault.StateVersion}, vault.Record{}, nil
	}
	if err != nil {
		return nil, r, err
	}
	rec := new(logRecord)
	return rec, r, vault.Decode(a.owner+logSuffix, r.Plain, rec)
}

// flushLog writes the decisions if there are at least n.
func (a *account) flushLog(ctx context.Context, n int) error {
	taken := a.log.take(n)
	if len(taken) == 0 {
		return nil
	}
	for range vault.MaxConflicts {
		rec, old, err := a.readLog(ctx)
		if errors.Is(err, ErrStateDamaged) {
			rec = &logRecord{Version: vault.StateVersion} // a log is not worth a failure
		} else if err != nil {
			return err
		}
		rec.Decisions = append(rec.Decisions, taken...)
		if len(rec.Decisions) > maxDecisions {
			rec.Decisions = rec.Decisions[len(rec.Decisions)-maxDecisions:]
		}
		plain, err := vault.Encode(rec)
		if err != nil {
			return err
		}
		if _, err = a.vault.Write(ctx, logSuffix, plain, old); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return store.ErrConflict
}

// flushTimeout bounds what Close writes.
const flushTimeout = 5 * time.Second

// flush writes what is kept in memory for a while: decisions, and the tokens
// that a start without a network opens by the PIN.
func (b *Broker) flush(accounts map[string]*account) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), flushTimeout)
	defer cancel()
	for _, a := range accounts {
		if a.snapshot() == nil {
			continue
		}
		if err := a.flushLog(ctx, 1); err != nil {
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
	a, _, err := b.find(ctx, acct)
	if err != nil {
		return nil, opError(op, err)
	}
	rec, _, err := a.readLog(ctx)
	if err != nil {
		return nil, opError(op, err)
	}
	all := append(rec.Decisions, a.log.peek()...)
	return all[max(0, len(all)-maxDecisions):], nil
}
