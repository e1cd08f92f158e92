package broker

import (
	"context"
	"errors"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

// RenewAfter is the age at which a PRT in use is renewed, as Windows and
// Microsoft's broker for Linux do.
const RenewAfter = prt.RenewAfter

// renew exchanges a PRT for its successor, once at a time among all processes,
// and saves it beside the old one, which is dropped when the new one has been
// used. Unless forced, a PRT that another process renewed meanwhile is taken.
func (b *Broker) renew(ctx context.Context, a *account.Account, by prt.Credential, force bool) (*prt.Token, error) {
	const op = "renew PRT"
	t, err := do(ctx, &b.flights, "renew\x00"+a.Name()+"\x00"+string(by), func(ctx context.Context) (*prt.Token, error) {
		release, err := vault.Lease(ctx, b.cfg.Store, a.Name())
		if err != nil {
			return nil, err
		}
		release, keep := vault.Shared(release)
		defer release()
		rec, err := a.Load(ctx)
		if err != nil {
			return nil, err
		}
		e := rec.PRT(by)
		if e == nil {
			return nil, obituary(rec, op)
		}
		if e.Dead != nil {
			return nil, deathError(e.Dead, op)
		}
		if !force && e.Token.State(b.cfg.Now()) == prt.Fresh {
			return e.Token, nil
		}
		ctx, end := b.cfg.span(ctx, op)
		renewed, err := b.renewLeased(ctx, op, a, e.Token, keep)
		end(err)
		return renewed, err
	})
	return t, opError(op, err)
}

func (b *Broker) renewLeased(ctx context.Context, op string, a *account.Account, t *prt.Token, keep func() func()) (*prt.Token, error) {
	s, release, err := a.Session(ctx, t)
	if err != nil {
		return nil, verdict(err)
	}
	defer release()
	renewed, err := b.requestRenewal(ctx, op, t, s)
	b.heard(ctx, a, b.cfg.Tenant, "", err)
	if err != nil {
		if isOver(err) {
			b.bury(ctx, a, t, err)
		}
		return nil, err
	}
	done := keep()
	err = b.finish(ctx, func(ctx context.Context) error { // the service has renewed it
		defer done()
		_, err := a.Update(ctx, func(r *account.Record) error {
			e := r.PRT(t.Credential)
			if e == nil || !e.Token.PRT.Equal(t.PRT) {
				return account.ErrReplaced
			}
			r.Set(account.PRT{Token: renewed, Previous: t, Origin: e.Origin})
			return nil
		})
		return err
	})
	if errors.Is(err, account.ErrReplaced) {
		return successor(a, op, t)
	}
	if err != nil {
		return nil, err
	}
	b.cfg.Logger.InfoContext(ctx, "PRT renewed", "credential", string(t.Credential), "expires", renewed.ExpiresAt)
	return renewed, nil
}

// successor returns what another writer put in the place of t.
func successor(a *account.Account, op string, t *prt.Token) (*prt.Token, error) {
	rec := a.Record()
	if rec == nil {
		return nil, ErrClosed
	}
	e := rec.PRT(t.Credential)
	switch {
	case e == nil: // locked, or the key of it removed
		return nil, obituary(rec, op)
	case e.Dead != nil:
		return nil, deathError(e.Dead, op)
	}
	return e.Token, nil
}

func (b *Broker) requestRenewal(ctx context.Context, op string, t *prt.Token, s prt.Session) (renewed *prt.Token, err error) {
	err = b.sts.WithNonce(ctx, func(nonce string) error {
		f, err := prt.RenewRequest{
			PRT:       t.PRT,
			Nonce:     nonce,
			Protocol:  t.Protocol,
			OSVersion: b.cfg.Device.OSVersion,
			Now:       b.cfg.Now(),
		}.Sign(ctx, s)
		if err != nil {
			return signError(op, err)
		}
		rep, err := b.sts.Post(ctx, b.cfg.Tenant, f, sts.ByPRT, "")
		if err != nil {
			return err
		}
		r, err := prt.ParseReply(ctx, rep.Body, s)
		if err != nil {
			return sts.Unreadable(rep, err, sts.ByPRT)
		}
		if renewed, err = t.Renewed(r, b.cfg.Now()); err != nil {
			return sts.Malformed(rep, err)
		}
		return b.rolled(ctx, renewed, r.WrappedSessionKey)
	})
	return renewed, opError(op, err)
}

// rolled takes the new session key of a renewal, if it has one.
func (b *Broker) rolled(ctx context.Context, t *prt.Token, wrapped []byte) error {
	if wrapped == nil {
		return nil
	}
	d, err := b.devices.Load(ctx)
	if err != nil {
		return err
	}
	key, err := b.cfg.Keys.UnwrapSession(ctx, d.Transport, wrapped)
	if err != nil {
		return keyError("unwrapping the session key", err)
	}
	defer key.Close()
	t.SessionKey = key.Blob()
	return nil
}

// prove drops what a PRT replaced, now that it has been used.
func (b *Broker) prove(ctx context.Context, a *account.Account, t *prt.Token) {
	rec := a.Record()
	if rec == nil {
		return
	}
	if e := rec.PRT(t.Credential); e == nil || e.Previous == nil || !e.Token.PRT.Equal(t.PRT) {
		return
	}
	_, err := a.Update(ctx, func(r *account.Record) error {
		if e := r.PRT(t.Credential); e != nil && e.Token.PRT.Equal(t.PRT) {
			e.Previous = nil
		}
		return nil
	})
	if err != nil {
		b.cfg.Logger.InfoContext(ctx, "dropping the previous PRT failed", "error", err)
		return // what was asked for is there
	}
	a.ReleaseUnused()
}

// revert goes back to the PRT before t, which works where t does not.
func (b *Broker) revert(ctx context.Context, a *account.Account, t *prt.Token) error {
	_, err := a.Update(ctx, func(r *account.Record) error {
		if e := r.PRT(t.Credential); e != nil && e.Previous != nil && e.Token.PRT.Equal(t.PRT) {
			e.Token, e.Previous = e.Previous, nil
		}
		return nil
	})
	if err == nil {
		a.ReleaseUnused()
	}
	return err
}

// bury notes that the service said a PRT is over, and drops the one before it.
// The PRT itself stays, so that Status can tell: nothing is wiped by an error.
func (b *Broker) bury(ctx context.Context, a *account.Account, t *prt.Token, cause error) {
	note := &account.Death{At: b.cfg.Now(), Verdict: action(cause)}
	var e *Error
	if errors.As(cause, &e) {
		note.Code, note.OAuth = e.Code, e.OAuth
	}
	err := b.finish(ctx, func(ctx context.Context) error {
		_, err := a.Update(ctx, func(r *account.Record) error {
			if e := r.PRT(t.Credential); e != nil && e.Token.PRT.Equal(t.PRT) {
				e.Dead, e.Previous = note, nil
			}
			return nil
		})
		return err
	})
	if err != nil && ctx.Err() == nil {
		b.cfg.Logger.InfoContext(ctx, "noting the end of a PRT failed", "error", err)
	}
}

func deathError(n *account.Death, op string) *Error {
	e := &Error{Op: op, Code: n.Code, OAuth: n.OAuth, action: n.Verdict, Verdict: Verdict(n.Verdict.String()), kind: ErrPRTRevoked}
	if n.Verdict == aadsts.Expired {
		e.kind = ErrPRTExpired
	}
	if row, ok := aadsts.Lookup(n.Code); ok {
		e.detail = row.Meaning
	}
	return e
}

// obituary is why no PRT of the account can be used.
func obituary(r *account.Record, op string) error {
	last := r.LastDeath()
	if last == nil && r.Locked() {
		return &Error{Op: op, kind: ErrLocked, Account: Account(r.Account), detail: "the account is locked: Unlock opens it by the PIN"}
	}
	if last == nil {
		return &Error{Op: op, kind: ErrNoAccount, Account: Account(r.Account), detail: "the account has no PRT"}
	}
	return deathError(last, op)
}

// RenewPRT renews the account's PRTs now, whatever their age; the zero Account
// is the only one. Renewal moves the expiry and nothing else.
func (b *Broker) RenewPRT(ctx context.Context, acct Account) (err error) {
	const op = "renew PRT"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return err
	}
	defer leave(&err)
	if _, err := b.devices.Load(ctx); err != nil {
		return opError(op, err)
	}
	a, rec, err := b.find(ctx, acct)
	if err != nil {
		return opError(op, err)
	}
	alive := b.candidates(rec)
	if len(alive) == 0 {
		return b.about(obituary(rec, op), nil, Account(rec.Account))
	}
	var errs []error
	for _, e := range alive {
		if _, err := b.renew(ctx, a, e.Token.Credential, true); err != nil {
			errs = append(errs, b.about(err, nil, Account(rec.Account)))
		}
	}
	if len(errs) > 0 {
		return errs[0]
	}
	return nil
}
