package signon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/prt"
)

// A renewal is of one PRT of one account.
type renewal struct {
	account string
	by      prt.CredentialKind
}

// Renew exchanges a PRT for its successor, once at a time among all processes,
// and saves it beside the old one, which is dropped once the new one has been
// used. Unless forced, it takes a PRT that another process renewed meanwhile.
func (e *Engine) Renew(ctx context.Context, a *account.Account, by prt.CredentialKind, force bool) (*prt.Token, error) {
	t, _, err := e.renewals.Do(ctx, renewal{a.Name(), by}, func(ctx context.Context) (*prt.Token, error) {
		wait := vault.ShortWait
		if force {
			wait = vault.LongWait
		}
		release, err := vault.Lease(ctx, e.cfg.Store, a.Name(), wait)
		if errors.Is(err, vault.ErrHeld) && !force && e.isOver(a, by) {
			release, err = func() {}, nil // there is no valid PRT to use instead
		}
		if err != nil {
			return nil, err
		}
		release, keep := vault.Shared(release)
		defer release()
		rec, err := a.Load(ctx)
		if err != nil {
			return nil, err
		}
		p := rec.PRT(by)
		if p == nil {
			return nil, rec.Over()
		}
		if p.Dead != nil {
			return nil, p.Dead
		}
		if !force && p.Token.State(e.cfg.Now()) == prt.Fresh {
			return p.Token, nil
		}
		ctx, end := e.cfg.Span(ctx, "renew PRT")
		renewed, err := e.renewLeased(ctx, a, p.Token, keep)
		end(err)
		return renewed, err
	})
	return t, err
}

// isOver reports whether the PRT looks expired.
func (e *Engine) isOver(a *account.Account, by prt.CredentialKind) bool {
	rec := a.Record()
	if rec == nil {
		return false
	}
	p := rec.PRT(by)
	return p != nil && p.Token.State(e.cfg.Now()) == prt.Expired
}

func (e *Engine) renewLeased(ctx context.Context, a *account.Account, t *prt.Token, keep func() func()) (*prt.Token, error) {
	s, release, err := a.Session(ctx, t)
	if err != nil {
		return nil, err
	}
	defer release()
	renewed, err := e.requestRenewal(ctx, t, s)
	e.heard(ctx, a, e.cfg.Tenant, "", err)
	if err != nil {
		e.renewalFailed(ctx, a, t, err)
		if over(err) {
			e.bury(ctx, a, t, err)
		}
		return nil, err
	}
	done := keep()
	err = e.cfg.Finish(ctx, func(ctx context.Context) error { // the service has renewed it
		defer done()
		_, err := a.Update(ctx, func(r *account.Record) error {
			p := r.PRT(t.Credential)
			if p == nil || !p.Token.PRT.Equal(t.PRT) {
				return account.ErrReplaced
			}
			r.Set(account.PRT{Token: renewed, Previous: t, Origin: p.Origin})
			if renewed.Username != t.Username || renewed.Name != t.Name { // else it may be older than that of another PRT
				r.Rename(renewed.Username, renewed.Name)
			}
			r.Failed = nil
			return nil
		})
		return err
	})
	if errors.Is(err, account.ErrReplaced) {
		return successor(a, t)
	}
	if err != nil {
		return nil, err
	}
	e.cfg.Logger.InfoContext(ctx, "PRT renewed", "credential", string(t.Credential), "expires", renewed.ExpiresAt)
	return renewed, nil
}

// successor returns what another writer put in place of t.
func successor(a *account.Account, t *prt.Token) (*prt.Token, error) {
	rec := a.Record()
	if rec == nil {
		return nil, vault.ErrClosed
	}
	p := rec.PRT(t.Credential)
	switch {
	case p == nil: // locked, or its key was removed
		return nil, rec.Over()
	case p.Dead != nil:
		return nil, p.Dead
	}
	return p.Token, nil
}

func (e *Engine) requestRenewal(ctx context.Context, t *prt.Token, s prt.Session) (renewed *prt.Token, err error) {
	err = e.cfg.Services.WithNonce(ctx, func(nonce string) error {
		f, err := prt.RenewRequest{
			PRT:       t.PRT,
			Nonce:     nonce,
			Protocol:  t.Protocol,
			OSVersion: e.cfg.OSVersion,
			Now:       e.cfg.Services.Now(),
		}.Sign(ctx, s)
		if err != nil {
			return err
		}
		rep, err := e.cfg.Services.Post(ctx, e.cfg.Tenant, f, sts.ByPRT, sts.From{Client: t.ClientID, Account: t.HomeAccountID(), Scopes: string(t.Credential)})
		if err != nil {
			return err
		}
		r, err := prt.ParseReply(ctx, rep.Body, s)
		if err != nil {
			return sts.Unreadable(rep, err, sts.ByPRT)
		}
		if !r.Encrypted {
			r.RefreshToken.Clear()
			return errInClear(rep)
		}
		if renewed, err = t.Renewed(r, e.cfg.Now()); err != nil {
			return sts.Malformed(rep, err)
		}
		return e.rolled(ctx, renewed, r.WrappedSessionKey)
	})
	return renewed, err
}

// rolled takes the new session key of a renewal, if it has one.
func (e *Engine) rolled(ctx context.Context, t *prt.Token, wrapped []byte) error {
	if wrapped == nil {
		return nil
	}
	d, err := e.cfg.Devices.Load(ctx)
	if err != nil {
		return err
	}
	key, err := e.cfg.Keys.UnwrapSession(ctx, d.Transport, wrapped)
	if err != nil {
		return fmt.Errorf("unwrapping the session key: %w", err)
	}
	defer key.Close()
	t.SessionKey = key.Blob()
	return nil
}

// asideWait bounds how long a write on the side may hold up a call, and
// asidePause is how long no such write is tried after that.
const (
	asideWait  = 2 * time.Second
	asidePause = time.Minute
)

// prove drops the PRT that this one replaced, now that it has been used.
func (e *Engine) prove(ctx context.Context, a *account.Account, t *prt.Token) {
	rec := a.Record()
	if rec == nil {
		return
	}
	if p := rec.PRT(t.Credential); p == nil || p.Previous == nil || !p.Token.PRT.Equal(t.PRT) {
		return
	}
	e.aside(ctx, a, "dropping the previous PRT failed", func(r *account.Record) {
		if p := r.PRT(t.Credential); p != nil && p.Token.PRT.Equal(t.PRT) {
			p.Previous = nil
		}
	})
	a.ReleaseUnused()
}

// aside changes the record on the side of a call that has its result already: a
// store that hangs holds it up for a moment, and is then left alone for a
// while.
func (e *Engine) aside(ctx context.Context, a *account.Account, failed string, change func(*account.Record)) {
	if now := e.cfg.Now(); now.Before(time.Unix(0, e.hangs.Load())) {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, asideWait)
	defer cancel()
	_, err := a.Update(bounded, func(r *account.Record) error { change(r); return nil })
	if err == nil {
		return
	}
	if bounded.Err() != nil && ctx.Err() == nil {
		e.hangs.Store(e.cfg.Now().Add(asidePause).UnixNano())
	}
	e.cfg.Logger.InfoContext(ctx, failed, "error", err)
}

// revert goes back to the PRT before t, which works where t does not.
func (e *Engine) revert(ctx context.Context, a *account.Account, t *prt.Token) error {
	_, err := a.Update(ctx, func(r *account.Record) error {
		if p := r.PRT(t.Credential); p != nil && p.Previous != nil && p.Token.PRT.Equal(t.PRT) {
			p.Token, p.Previous = p.Previous, nil
		}
		return nil
	})
	if err == nil {
		a.ReleaseUnused()
	}
	return err
}

// bury records that the service said a PRT is over, and drops its predecessor.
// The PRT itself stays, so that Status can report it: an error wipes nothing.
func (e *Engine) bury(ctx context.Context, a *account.Account, t *prt.Token, cause error) {
	note := &account.Death{At: e.cfg.Now(), Verdict: verdict(cause)}
	var said *sts.Error
	if errors.As(cause, &said) {
		note.Code, note.OAuth = said.Code, said.OAuth
	}
	err := e.cfg.Finish(ctx, func(ctx context.Context) error {
		_, err := a.Update(ctx, func(r *account.Record) error {
			if p := r.PRT(t.Credential); p != nil && p.Token.PRT.Equal(t.PRT) {
				p.Dead, p.Previous = note, nil
			}
			return nil
		})
		return err
	})
	if err != nil && ctx.Err() == nil {
		e.cfg.Logger.InfoContext(ctx, "noting the end of a PRT failed", "error", err)
	}
}
