package account

import (
	"context"
	"errors"
	"slices"
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
	turn chan struct{} // one slot, for whoever writes or reads all of it

	mu      sync.Mutex // guards all below
	pending []Observation
	first   int // how many were noted before the first of them
}

// note adds a decision and returns how many are not in the store.
func (l *signInLog) note(d Observation) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = append(l.pending, d)
	over := max(0, len(l.pending)-maxObservations)
	l.pending, l.first = l.pending[over:], l.first+over
	return len(l.pending)
}

// take waits for the turn. It is a channel so that waiting ends with the context.
func (l *signInLog) take(ctx context.Context) (give func(), err error) {
	select {
	case l.turn <- struct{}{}:
		return func() { <-l.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// peek returns the pending decisions, and the position to give to written.
func (l *signInLog) peek() (pending []Observation, upTo int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.pending), l.first + len(l.pending)
}

// written removes decisions that are now in the store.
func (l *signInLog) written(upTo int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := max(0, upTo-l.first)
	l.pending, l.first = slices.Clone(l.pending[n:]), l.first+n
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

// Note adds to the log, in memory, and reports whether it is time to write it.
func (a *Account) Note(o Observation) (due bool) {
	if len(o.Claims) > maxClaims {
		o.Claims = ""
	}
	return a.log.note(o) >= flushEvery
}

// Log returns the log, the oldest entry first. What is not in the store yet is
// returned even if reading the store fails.
func (a *Account) Log(ctx context.Context) ([]Observation, error) {
	give, err := a.log.take(ctx)
	if err != nil {
		return nil, err
	}
	defer give()
	rec, _, err := a.readLog(ctx)
	all, _ := a.log.peek()
	if err == nil {
		all = append(rec.Observed, all...)
	}
	return all[max(0, len(all)-maxObservations):], err
}

// Flush writes what is not in the store yet. What could not be written stays for
// the next time.
func (a *Account) Flush(ctx context.Context) error {
	give, err := a.log.take(ctx)
	if err != nil {
		return err
	}
	defer give()
	pending, upTo := a.log.peek()
	if len(pending) == 0 {
		return nil
	}
	for range vault.MaxConflicts {
		rec, old, err := a.readLog(ctx)
		if errors.Is(err, store.ErrDamaged) {
			rec = &logRecord{Version: vault.StateVersion} // a log is not worth a failure
		} else if err != nil {
			return err
		}
		rec.Observed = append(rec.Observed, pending...)
		rec.Observed = rec.Observed[max(0, len(rec.Observed)-maxObservations):]
		plain, err := vault.Encode(rec)
		if err != nil {
			return err
		}
		_, err = a.vault.Write(ctx, logSuffix, plain, old)
		if err == nil {
			a.log.written(upTo)
		}
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return store.ErrConflict
}
