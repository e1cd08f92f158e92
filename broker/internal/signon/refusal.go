package signon

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

// certain are the verdicts that are a definite refusal of the user, the device
// or the Hello key.
var certain = map[aadsts.Verdict]bool{
	aadsts.UserDisabled: true, aadsts.UserNotFound: true, aadsts.DeviceDisabled: true, aadsts.DeviceGone: true, aadsts.HelloKey: true,
}

// deviceRefused is the code that Entra returns for a device that is deleted or
// disabled (Microsoft, "Troubleshoot primary refresh token issues on Windows
// devices", 2026-02), and also for one that it does not know yet. One such
// reply is therefore not conclusive; two that are secondDoubt apart are.
const (
	deviceRefused = 50155
	secondDoubt   = 10 * time.Minute
)

// ofDevice reports whether a verdict is about the device, and so concerns every
// account on it.
func ofDevice(v aadsts.Verdict) bool {
	return v == aadsts.DeviceDisabled || v == aadsts.DeviceGone || v == aadsts.DeviceAuth
}

// weight orders verdicts by how much it takes to take them back.
func weight(v aadsts.Verdict) int {
	switch {
	case v == aadsts.HelloKey:
		return 2
	case ofDevice(v):
		return 0
	}
	return 1
}

// heard records a definite refusal by the service of the user, the device or
// the Hello key of the account, so that going offline does not undo it, and
// takes it back when the service serves the account again; a refusal of the key
// is taken back only by the key (by). It is for answers of the service only,
// and of those only answers of the account's own tenant count: another tenant
// does not know the user. It erases nothing.
func (e *Engine) heard(ctx context.Context, a *account.Account, tenant string, by prt.CredentialKind, err error) {
	rec := a.Record()
	if rec == nil || !e.isHome(rec.Account, tenant) {
		return
	}
	if err == nil {
		if h := rec.Hello; h != nil && h.Refused != nil && ofDevice(h.Refused.Verdict) {
			e.readAll(ctx) // including the accounts that it was recorded for
		}
		e.change(ctx, a, e.pardon(func(was aadsts.Verdict) bool { return was != aadsts.HelloKey || by == prt.ByHello }))
		e.changeOthers(ctx, a, e.pardon(ofDevice))
		return
	}
	note := e.judged(err)
	if note == nil {
		return
	}
	e.change(ctx, a, refuse(note))
	if !ofDevice(note.Verdict) {
		return
	}
	e.readAll(ctx) // including those that another process signed in
	e.changeOthers(ctx, a, refuse(note))
}

// readAll makes every account known here.
func (e *Engine) readAll(ctx context.Context) {
	if _, _, err := e.cfg.Book.All(ctx); err != nil {
		e.cfg.Logger.InfoContext(ctx, "reading the accounts failed", "error", err)
	}
}

// judged returns the refusal of the user, the device or the Hello key in an
// answer; nil when there is none that may outlast the answer. While the device
// is young, an answer that it is unknown does not count: the directory may not
// have it everywhere yet.
func (e *Engine) judged(err error) *account.Death {
	var said *sts.Error
	if !errors.As(err, &said) || !said.Said {
		return nil
	}
	unknown := said.Verdict == aadsts.DeviceGone || said.Verdict == aadsts.DeviceAuth && said.Code == deviceRefused
	if !unknown && !certain[said.Verdict] {
		return nil
	}
	if d := e.cfg.Devices.Open(); unknown && d != nil && e.isYoung(d) {
		return nil
	}
	return &account.Death{Verdict: said.Verdict, Code: said.Code, OAuth: said.OAuth, At: e.cfg.Now()}
}

// refuse records a refusal with a Hello key; a doubtful one only the second
// time.
func refuse(note *account.Death) func(*account.Hello) bool {
	return func(h *account.Hello) bool {
		if ofDevice(note.Verdict) && note.At.Sub(h.Restored).Abs() < youngDevice {
			return false // the directory may not have it back everywhere yet
		}
		if h.Refused != nil && weight(h.Refused.Verdict) > weight(note.Verdict) {
			return false
		}
		if note.Verdict == aadsts.DeviceAuth {
			switch {
			case h.Refused != nil && ofDevice(h.Refused.Verdict):
				return false
			case h.Doubt == nil, note.At.Before(h.Doubt.At): // or the clock was set back
				h.Doubt = note
				return true
			case note.At.Sub(h.Doubt.At) < secondDoubt:
				return false
			}
		}
		h.Refused, h.Doubt = note, nil
		return true
	}
}

// pardon takes back what may be taken back, now that the service serves the
// account or another one on the device.
func (e *Engine) pardon(takesBack func(aadsts.Verdict) bool) func(*account.Hello) bool {
	now := e.cfg.Now()
	return func(h *account.Hello) bool {
		changed := h.Doubt != nil
		h.Doubt = nil
		if h.Refused != nil && takesBack(h.Refused.Verdict) {
			if ofDevice(h.Refused.Verdict) {
				h.Restored = now
			}
			h.Refused, changed = nil, true
		}
		return changed
	}
}

// heardOf is heard for an account that may not be known here.
func (e *Engine) heardOf(ctx context.Context, id account.Identity, err error) {
	known := e.cfg.Book.Known()
	a := known[e.cfg.Book.Owner(id)]
	if a == nil && ofDevice(verdict(err)) {
		for _, any := range known { // it is about every account
			a = any
			break
		}
	}
	if a != nil {
		e.heard(ctx, a, e.cfg.Tenant, "", err)
	}
}

// isHome reports whether a tenant, by id or name, is the account's own.
func (e *Engine) isHome(id account.Identity, tenant string) bool {
	return strings.EqualFold(tenant, id.Realm) || strings.EqualFold(tenant, e.cfg.Tenant)
}

// changeOthers applies change to every other account that is known here.
func (e *Engine) changeOthers(ctx context.Context, a *account.Account, by func(*account.Hello) bool) {
	for _, other := range e.cfg.Book.Known() {
		if other != a {
			e.change(ctx, other, by)
		}
	}
}

// change changes what is kept with the account's Hello key, if by says that it
// changed something.
func (e *Engine) change(ctx context.Context, a *account.Account, by func(*account.Hello) bool) {
	changed := func(r *account.Record) bool {
		if r == nil || r.Hello == nil {
			return false
		}
		h := *r.Hello
		if !by(&h) {
			return false
		}
		r.Hello = &h
		return true
	}
	if rec := a.Record(); rec == nil || !changed(&account.Record{Hello: rec.Hello}) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, asideWait)
	defer cancel()
	err := e.cfg.Finish(ctx, func(ctx context.Context) error {
		_, err := a.Update(ctx, func(r *account.Record) error {
			if !changed(r) {
				return account.ErrDone
			}
			return nil
		})
		return err
	})
	if err != nil && !errors.Is(err, account.ErrDone) && ctx.Err() == nil {
		e.cfg.Logger.InfoContext(ctx, "noting what the service said failed", "error", err)
	}
}
