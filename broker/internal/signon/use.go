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

// Choices returns the PRTs of the account that may be used, in order of rank,
// without those of a registration that no longer exists: another user of the
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

// Use runs do with the strongest PRT, renewed first if that is due. If the
// service says that this PRT is over, the next one is tried: a password change
// revokes only the PRTs of passwords. If a policy refuses it, one that may have
// what it lacks is tried before the user is asked: the strongest PRT is not the
// strongest for every policy.
//
// do returns errors of package sts unchanged. A failure because the account was
// locked meanwhile is an account.ErrLocked.
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

// outweighs reports whether the refusal of a PRT says better than the earlier
// refusal what would help: that the user must be asked, if the earlier PRTs are
// blocked, perhaps because of how their session began; or that a new sign-in of
// the same kind is enough, if the earlier refusal asks for more.
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

// blockedByPolicy is the code of a policy that blocks access, or blocks it for
// the way in which a sign-in began.
const blockedByPolicy = 53003

// unblocked turns a refusal by a policy that blocks or asks for a compliant
// device into one that asks the user, if each PRT that it met began with a
// device code: policies may block only those (the condition "authentication
// flows"), they carry no state of the device, and a sign-in on a page gives a
// different session.
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

// MayHelp reports whether the service may serve the PRT where a policy refused
// others: compared with each of them, it may have another method, a later
// sign-in or MFA, or an origin that policies do not look at. A PRT that looks
// expired does not spare the user a prompt.
func MayHelp(p account.PRT, refused []Refused, now time.Time) bool {
	if len(refused) > 0 && p.Token.State(now) == prt.Expired {
		return false
	}
	return !slices.ContainsFunc(refused, func(r Refused) bool { return !p.Session().MayAdd(r.Session(), r.Stale) })
}

// Refused is a PRT that a policy refused, because of the age of its sign-in or
// MFA (Stale) or for another reason.
type Refused struct {
	account.PRT
	Stale bool
}

// Try runs do with one PRT, and with its predecessor if a renewed PRT that was
// never used successfully is refused.
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

// fresh returns the PRT, renewed if that is due. A valid PRT is used even if
// its renewal failed temporarily.
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
