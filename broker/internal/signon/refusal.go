package signon

import (
	"context"
	"errors"
	"strings"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

// certain are the verdicts that say something for certain against the user,
// the device or the Hello key.
var certain = map[aadsts.Verdict]bool{
	aadsts.UserDisabled: true, aadsts.UserNotFound: true, aadsts.DeviceDisabled: true, aadsts.DeviceGone: true, aadsts.HelloKey: true,
}

// ofDevice reports whether a verdict is about the device, and so about every
// account on it.
func ofDevice(v aadsts.Verdict) bool { return v == aadsts.DeviceDisabled || v == aadsts.DeviceGone }

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

// heard keeps what the service said for certain against the user, the device or
// the Hello key of the account, so that going offline does not undo it, and
// takes it back when the service serves the account again; what it said against
// the key only the key takes back (by). It is for answers of the service alone,
// and only those of the account's own tenant count: another tenant does not
// know the user. It erases nothing.
func (e *Engine) heard(ctx context.Context, a *account.Account, tenant string, by prt.Credential, err error) {
	rec := a.Record()
	if rec == nil || !e.isHome(rec.Account, tenant) {
		return
	}
	var said *sts.Error
	var note *account.Death
	switch {
	case err == nil:
	case errors.As(err, &said) && said.Said && certain[said.Verdict]:
		note = &account.Death{Verdict: said.Verdict, Code: said.Code, OAuth: said.OAuth, At: e.cfg.Now()}
	default:
		return
	}
	e.noteRefusal(ctx, a, note, func(was aadsts.Verdict) bool { return was != aadsts.HelloKey || by == prt.ByHello })
	if note != nil && !ofDevice(note.Verdict) {
		return
	}
	if note != nil { // those, too, that another process signed in
		if _, _, err := e.cfg.Book.All(ctx); err != nil {
			e.cfg.Logger.InfoContext(ctx, "reading the accounts failed", "error", err)
		}
	}
	for _, other := range e.cfg.Book.Known() {
		if other != a {
			e.noteRefusal(ctx, other, note, ofDevice)
		}
	}
}

// heardOf is heard about an account that may not be known here.
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

// noteRefusal writes a note into the account's Hello key, or takes the note
// back that is there, if its verdict may be.
func (e *Engine) noteRefusal(ctx context.Context, a *account.Account, note *account.Death, takesBack func(aadsts.Verdict) bool) {
	stays := func(r *account.Record) bool {
		return r == nil || r.Hello == nil || note == nil && (r.Hello.Refused == nil || !takesBack(r.Hello.Refused.Verdict))
	}
	if stays(a.Record()) {
		return
	}
	err := e.cfg.Finish(ctx, func(ctx context.Context) error {
		_, err := a.Update(ctx, func(r *account.Record) error {
			if stays(r) || note != nil && r.Hello.Refused != nil && weight(r.Hello.Refused.Verdict) > weight(note.Verdict) {
				return account.ErrDone
			}
			h := *r.Hello
			h.Refused = note
			r.Hello = &h
			return nil
		})
		return err
	})
	if err != nil && !errors.Is(err, account.ErrDone) && ctx.Err() == nil {
		e.cfg.Logger.InfoContext(ctx, "noting what the service said failed", "error", err)
	}
}
