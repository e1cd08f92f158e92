package account

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

const (
	// maxObservations is how many decisions an account keeps.
	maxObservations = 256
	// flushEvery is how many decisions are written together.
	flushEvery = 16
	logSuffix  = ".log"
	maxClaims  = 4 << 10
)

// An Observation is what the service did with one token request. It holds no
// secret.
type Observation struct {
	Time          time.Time          `json:"time"`
	ClientID      string             `json:"clientId"`
	Resource      string             `json:"resource,omitempty"`
	Outcome       string             `json:"outcome"`
	Code          int                `json:"code,omitempty"` // AADSTS
	Verdict       string             `json:"verdict,omitempty"`
	Claims        string             `json:"claims,omitempty"` // what the service asked for
	Credential    prt.CredentialKind `json:"credential,omitempty"`
	MFA           claims.Answer      `json:"mfa"` // what the PRT carried
	MFAOn         time.Time          `json:"mfaOn,omitzero"`
	CorrelationID string             `json:"correlationId,omitempty"`
}

// signInLog holds the decisions that are not yet in the store.
type signInLog struct {
	mu      sync.Mutex // guards all below
	pending []Observation
}

func (l *signInLog) note(d Observation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = append(l.pending, d)
	if len(l.pending) > maxObservations {
		l.pending = l.pending[len(l.pending)-maxObservations:]
	}
}

// take empties the log if it holds at least n decisions.
func (l *signInLog) take(n int) []Observation {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) < n {
		return nil
	}
	out := l.pending
	l.pending = nil
	return out
}

func (l *signInLog) peek() []Observation {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Observation(nil), l.pending...)
}

type logRecord struct {
	Version  int           `json:"v"`
	Observed []Observation `json:"decisions"`
}

// readLog returns what is in the store.
func (a *Account) readLog(ctx context.Context) (*logRecord, vault.Record, error) {
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
func (a *Account) flushLog(ctx context.Context, n int) error {
	taken := a.log.take(n)
	if len(taken) == 0 {
		return nil
	}
	for range vault.MaxConflicts {
		rec, old, err := a.readLog(ctx)
		if errors.Is(err, store.ErrDamaged) {
			rec = &logRecord{Version: vault.StateVersion} // a log is not worth a failure
		} else if err != nil {
			return err
		}
		rec.Observed = append(rec.Observed, taken...)
		if len(rec.Observed) > maxObservations {
			rec.Observed = rec.Observed[len(rec.Observed)-maxObservations:]
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

// Note adds to the log, and writes the log from time to time.
func (a *Account) Note(ctx context.Context, o Observation) error {
	if len(o.Claims) > maxClaims {
		o.Claims = ""
	}
	a.log.note(o)
	return a.flushLog(ctx, flushEvery)
}

// Log returns the log, the oldest entry first. What is not in the store yet
// comes also with an error of reading the store.
func (a *Account) Log(ctx context.Context) ([]Observation, error) {
	rec, _, err := a.readLog(ctx)
	all := a.log.peek()
	if err == nil {
		all = append(rec.Observed, all...)
	}
	return all[max(0, len(all)-maxObservations):], err
}

// Flush writes what is not in the store yet.
func (a *Account) Flush(ctx context.Context) error { return a.flushLog(ctx, 1) }
