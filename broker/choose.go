package broker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

// candidates returns the PRTs of the account that may be used, as candidates of
// the record does, without those of a registration that is not there any more:
// in Scope System another user of the machine may have made the new one.
func (b *Broker) candidates(rec *account.Record) []account.PRT {
	all := rec.Ranked(b.cfg.Now())
	d := b.devices.Open()
	if d == nil {
		return all
	}
	return slices.DeleteFunc(all, func(e account.PRT) bool {
		return e.Token.DeviceID != "" && !strings.EqualFold(e.Token.DeviceID, d.Cert.DeviceID)
	})
}

// withPRT runs use with the strongest PRT, made usable before. When the
// service says that this PRT is over, the next one is tried: a password change
// ends the PRTs of passwords and no other. When a policy refuses it, one that
// may have what it lacks is tried before anybody is asked: the strongest PRT
// is not the strongest for every policy.
//
// What goes wrong because the account is locked meanwhile is an ErrLocked.
func (b *Broker) withPRT(ctx context.Context, op string, a *account.Account, use func(*prt.Token, prt.Session) error) error {
	err := b.withPRTs(ctx, op, a, use)
	if rec := a.Record(); err != nil && rec != nil && rec.Locked() {
		return obituary(rec, op)
	}
	return err
}

func (b *Broker) withPRTs(ctx context.Context, op string, a *account.Account, use func(*prt.Token, prt.Session) error) error {
	rec := a.Record()
	if rec == nil {
		return &Error{Op: op, kind: ErrNoAccount}
	}
	var refused []refusedPRT
	var refusal, over error
	for _, e := range b.candidates(rec) {
		if !mayHelp(e, refused, b.cfg.Now()) {
			continue
		}
		err := b.tryPRT(ctx, a, e, use)
		if isOver(err) {
			over = err
			continue
		}
		if !isPolicy(err) {
			return err
		}
		if refusal == nil || action(err) == aadsts.StaleMFA && action(refusal) == aadsts.StepUp { // which a new sign-in of the same kind mends
			refusal = err
		}
		refused = append(refused, refusedPRT{e, action(err) == aadsts.StaleMFA})
	}
	switch {
	case refusal != nil:
		return refusal
	case over != nil:
		return over
	}
	return obituary(rec, op)
}

// isPolicy reports whether a PRT was refused for what it lacks, so that another
// may be served.
func isPolicy(err error) bool {
	return !isConsent(err) && (errors.Is(err, ErrInteractionRequired) || errors.Is(err, ErrBlocked))
}

// mayHelp reports whether the service may serve the PRT where it refused
// others for the sake of a policy: it may have, beside each of them, another
// method, a later sign-in or MFA, or an origin that policies do not look at.
// One that looks expired is no way around a prompt.
func mayHelp(e account.PRT, refused []refusedPRT, now time.Time) bool {
	if len(refused) > 0 && e.Token.State(now) == prt.Expired {
		return false
	}
	return !slices.ContainsFunc(refused, func(r refusedPRT) bool { return !mayAdd(e, r) })
}

// refusedPRT is a PRT that a policy refused, for the age of its sign-in or MFA
// or for something else.
type refusedPRT struct {
	account.PRT
	stale bool
}

func mayAdd(e account.PRT, to refusedPRT) bool {
	x, y := e.Token.Evidence, to.Token.Evidence
	later := func(x, y time.Time) bool { return x.IsZero() || x.After(y) }
	methods := (x.Methods | otherMethods(x)).Modes() &^ claims.Password
	switch {
	case x.MFA != claims.No && (methods&^y.Methods != 0 || later(x.At, y.At)):
		return true
	case to.stale && later(x.AuthTime, y.AuthTime):
		return true
	}
	return e.Origin != account.DeviceCode && (to.Origin == account.DeviceCode || to.Origin == account.Unknown)
}

// tryPRT runs use with one PRT, and with the one before it when a renewal gave
// a PRT that was never proven and is refused.
func (b *Broker) tryPRT(ctx context.Context, a *account.Account, e account.PRT, use func(*prt.Token, prt.Session) error) error {
	t, err := b.usable(ctx, a, e.Token)
	if err != nil {
		return err
	}
	err = b.runWith(ctx, a, t, use)
	if rec := a.Record(); rec != nil {
		if now := rec.PRT(t.Credential); now != nil {
			e = *now
		}
	}
	switch {
	case err == nil, !isOver(err):
		return err
	case e.Previous != nil && e.Token.PRT.Equal(t.PRT):
		perr := b.runWith(ctx, a, e.Previous, use)
		if perr == nil {
			return b.revert(ctx, a, t)
		}
		if !isOver(perr) {
			return perr // it was not judged: both stay
		}
	}
	b.bury(ctx, a, t, err)
	return err
}

func (b *Broker) runWith(ctx context.Context, a *account.Account, t *prt.Token, use func(*prt.Token, prt.Session) error) error {
	s, release, err := a.Session(ctx, t)
	if err != nil {
		return verdict(err)
	}
	defer release()
	return use(t, s)
}

// usable returns the PRT, renewed if that is due. One that is valid is used
// although its renewal failed for the moment.
func (b *Broker) usable(ctx context.Context, a *account.Account, t *prt.Token) (*prt.Token, error) {
	state := t.State(b.cfg.Now())
	if state == prt.Fresh {
		return t, nil
	}
	renewed, err := b.renew(ctx, a, t.Credential, false)
	if err == nil {
		return renewed, nil
	}
	if isOver(err) || errors.Is(err, ErrLocked) || state == prt.Expired || ctx.Err() != nil {
		return nil, err
	}
	b.cfg.Logger.InfoContext(ctx, "renewal failed, the PRT is still valid", "credential", string(t.Credential), "error", err)
	return t, nil
}

// isOver reports whether the service said that a PRT is revoked or expired.
func isOver(err error) bool { return errors.Is(err, ErrPRTRevoked) || errors.Is(err, ErrPRTExpired) }
