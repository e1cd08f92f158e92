package signon

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

// Choices returns the PRTs of the account that may be used, as they are ranked,
// without those of a registration that is not there any more: another user of the
// machine may have made the new one.
func (e *Engine) Choices(rec *account.Record) []account.PRT {
	all := rec.Ranked(e.cfg.Now())
	d := e.cfg.Devices.Open()
	if d == nil {
		return all
	}
	return slices.DeleteFunc(all, func(p account.PRT) bool {
		return p.Token.DeviceID != "" && !strings.EqualFold(p.Token.DeviceID, d.Cert.DeviceID)
	})
}

// Use runs do with the strongest PRT, renewed before if that is due. When the
// service says that this PRT is over, the next one is tried: a password change
// ends the PRTs of passwords and no other. When a policy refuses it, one that may
// have what it lacks is tried before anybody is asked: the strongest PRT is not
// the strongest for every policy.
//
// do returns errors of package sts as they are. What goes wrong because the
// account is locked meanwhile is an account.ErrLocked.
func (e *Engine) Use(ctx context.Context, a *account.Account, do func(*prt.Token, prt.Session) error) error {
	err := e.useOne(ctx, a, do)
	if rec := a.Record(); err != nil && rec != nil && rec.Locked() {
		return rec.Over()
	}
	return err
}

func (e *Engine) useOne(ctx context.Context, a *account.Account, do func(*prt.Token, prt.Session) error) error {
	rec := a.Record()
	if rec == nil {
		return account.ErrUnknown
	}
	var refused []Refused
	var refusal, ended error
	for _, p := range e.Choices(rec) {
		if !MayHelp(p, refused, e.cfg.Now()) {
			continue
		}
		err := e.Try(ctx, a, p, do)
		if over(err) {
			ended = err
			continue
		}
		if !lacking(err) {
			return err
		}
		if refusal == nil || outweighs(err, p, refusal, refused) {
			refusal = err
		}
		refused = append(refused, Refused{p, verdict(err) == aadsts.StaleMFA})
	}
	switch {
	case refusal != nil:
		return unblocked(refusal, refused)
	case ended != nil:
		return ended
	}
	return rec.Over()
}

// outweighs reports whether the refusal of a PRT says better what would help than
// the one of those before it: that the user must be asked, where those are blocked,
// perhaps for how their session began; and that a new sign-in of the same kind is
// enough, where the other asks for more.
func outweighs(err error, p account.PRT, refusal error, before []Refused) bool {
	if blocks(refusal) && !blocks(err) {
		return !slices.ContainsFunc(before, func(r Refused) bool { return !p.Session().BeganOtherwise(r.Session()) })
	}
	return verdict(err) == aadsts.StaleMFA && verdict(refusal) == aadsts.StepUp
}

func blocks(err error) bool {
	var said *sts.Error
	return errors.As(err, &said) && said.Blocks()
}

// blockedByPolicy is the code of a policy that grants nothing, or not to what a
// sign-in began with.
const blockedByPolicy = 53003

// unblocked is a refusal by a policy that blocks or asks for a compliant device,
// where each PRT that it met began with a device code: policies may block those
// alone (the condition "authentication flows"), they carry no state of the device,
// and a sign-in on a page gives another one.
func unblocked(refusal error, refused []Refused) error {
	var said *sts.Error
	if !errors.As(refusal, &said) || said.Code != blockedByPolicy && said.Verdict != aadsts.DeviceNotCompliant ||
		slices.ContainsFunc(refused, func(r Refused) bool { return r.Origin != account.DeviceCode }) {
		return refusal
	}
	c := *said
	c.Verdict, c.Detail = aadsts.Interact, "a policy refuses what began with a device code; a sign-in on a page may be let in"
	return &c
}

// lacking reports whether a PRT was refused for what it lacks, so that another
// may be served.
func lacking(err error) bool {
	if errors.Is(err, account.ErrLocked) || errors.Is(err, account.ErrNoPRT) {
		return true
	}
	var said *sts.Error
	return errors.As(err, &said) && !said.Consent() && (said.WantsUser() || said.Blocks())
}

// MayHelp reports whether the service may serve the PRT where it refused
// others for the sake of a policy: it may have, beside each of them, another
// method, a later sign-in or MFA, or an origin that policies do not look at.
// One that looks expired is no way around a prompt.
func MayHelp(p account.PRT, refused []Refused, now time.Time) bool {
	if len(refused) > 0 && p.Token.State(now) == prt.Expired {
		return false
	}
	return !slices.ContainsFunc(refused, func(r Refused) bool { return !p.Session().MayAdd(r.Session(), r.Stale) })
}

// Refused is a PRT that a policy refused, for the age of its sign-in or MFA
// or for something else.
type Refused struct {
	account.PRT
	Stale bool
}

// Try runs do with one PRT, and with the one before it when a renewal gave
// a PRT that was never proven and is refused.
func (e *Engine) Try(ctx context.Context, a *account.Account, p account.PRT, do func(*prt.Token, prt.Session) error) error {
	t, err := e.fresh(ctx, a, p.Token)
	if err != nil {
		return err
	}
	err = e.run(ctx, a, t, do)
	if rec := a.Record(); rec != nil {
		if now := rec.PRT(t.Credential); now != nil {
			p = *now
		}
	}
	switch {
	case err == nil, !over(err):
		return err
	case p.Previous != nil && p.Token.PRT.Equal(t.PRT):
		perr := e.run(ctx, a, p.Previous, do)
		if perr == nil {
			return e.revert(ctx, a, t)
		}
		if !over(perr) {
			return perr // it was not judged: both stay
		}
	}
	e.bury(ctx, a, t, err)
	return err
}

func (e *Engine) run(ctx context.Context, a *account.Account, t *prt.Token, do func(*prt.Token, prt.Session) error) error {
	s, release, err := a.Session(ctx, t)
	if err != nil {
		return err
	}
	defer release()
	return do(t, s)
}

// fresh returns the PRT, renewed if that is due. One that is valid is used
// although its renewal failed for the moment.
func (e *Engine) fresh(ctx context.Context, a *account.Account, t *prt.Token) (*prt.Token, error) {
	state := t.State(e.cfg.Now())
	if state == prt.Fresh {
		return t, nil
	}
	renewed, err := e.Renew(ctx, a, t.Credential, false)
	if err == nil {
		return renewed, nil
	}
	if over(err) || errors.Is(err, account.ErrLocked) || state == prt.Expired || ctx.Err() != nil {
		return nil, err
	}
	e.cfg.Logger.InfoContext(ctx, "renewal failed, the PRT is still valid", "credential", string(t.Credential), "error", err)
	return t, nil
}
