package broker

import (
	"context"
)

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
	a, rec, err := b.accountFor(ctx, acct)
	if err != nil {
		return opError(op, err)
	}
	alive := b.engine.Choices(rec)
	if len(alive) == 0 {
		return about(obituary(op, rec), nil, Account(rec.Account))
	}
	var errs []error
	for _, e := range alive {
		if _, err := b.engine.Renew(ctx, a, e.Token.Credential, true); err != nil {
			errs = append(errs, about(opError(op, err), nil, Account(rec.Account)))
		}
	}
	if len(errs) > 0 {
		return errs[0]
	}
	return nil
}
