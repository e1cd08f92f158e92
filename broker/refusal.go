package broker

import (
	"context"
	"errors"
	"strings"

	"github.com/prtbroker/prtbroker/broker/internal/account"
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
func (b *Broker) heard(ctx context.Context, a *account.Account, tenant string, by prt.Credential, err error) {
	rec := a.Record()
	if rec == nil || !b.isHome(Account(rec.Account), tenant) {
		return
	}
	var e *Error
	var note *account.Death
	switch {
	case err == nil:
	case errors.As(err, &e) && certain[e.action]:
		note = &account.Death{Verdict: e.action, Code: e.Code, OAuth: e.OAuth, At: b.cfg.Now()}
	default:
		return
	}
	b.noteRefusal(ctx, a, note, func(was aadsts.Verdict) bool { return was != aadsts.HelloKey || by == prt.ByHello })
	if note != nil && !ofDevice(note.Verdict) {
		return
	}
	if note != nil { // those, too, that another process signed in
		if _, _, err := b.book.All(ctx); err != nil {
			b.cfg.Logger.InfoContext(ctx, "reading the accounts failed", "error", err)
		}
	}
	for _, other := range b.book.Known() {
		if other != a {
			b.noteRefusal(ctx, other, note, ofDevice)
		}
	}
}

// isHome reports whether a tenant, by id or name, is the account's own.
func (b *Broker) isHome(acct Account, tenant string) bool {
	return strings.EqualFold(tenant, acct.Realm) || strings.EqualFold(tenant, b.cfg.Tenant)
}

// noteRefusal writes a note into the account's Hello key, or takes the note
// back that is there, if its verdict may be.
func (b *Broker) noteRefusal(ctx context.Context, a *account.Account, note *account.Death, takesBack func(aadsts.Verdict) bool) {
	stays := func(r *account.Record) bool {
		return r == nil || r.Hello == nil || note == nil && (r.Hello.Refused == nil || !takesBack(r.Hello.Refused.Verdict))
	}
	if stays(a.Record()) {
		return
	}
	err := b.finish(ctx, func(ctx context.Context) error {
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
		b.cfg.Logger.InfoContext(ctx, "noting what the service said failed", "error", err)
	}
}

// refusal is what the service said before, again.
func refusal(n *account.Death, op string) *Error {
	e := &Error{Op: op, Code: n.Code, OAuth: n.OAuth, action: n.Verdict, Verdict: Verdict(n.Verdict.String()), kind: sentinels[n.Verdict]}
	e.detail = "the service refused this before, and cannot be asked now"
	return e
}
