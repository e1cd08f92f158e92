package broker

import (
	"context"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
)

// RemoveHello deletes the account's Hello key at the service and then here. If
// the service refuses, the key stays here too, so that none is left behind
// there. It is not an error if the service no longer has the key. PRTs obtained
// with the key end with it at the service, and what Lock put away is lost.
//
// The address at which the service deletes a key is not documented; this is the
// one that the protocol suggests, a DELETE below the address of the
// registration (MS-KPP).
func (b *Broker) RemoveHello(ctx context.Context, acct Account) error {
	const op = "remove Hello"
	return opError(op, b.removeHello(ctx, op, acct))
}

func (b *Broker) removeHello(ctx context.Context, op string, acct Account) (err error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return err
	}
	defer leave(&err)
	d, err := b.devices.Current(ctx)
	if err != nil {
		return err
	}
	a, rec, release, err := b.leaseHello(ctx, acct)
	if err != nil {
		return err
	}
	release, keep := vault.Shared(release)
	defer release()
	if rec.Hello == nil && rec.NextHello == nil {
		return &Error{kind: ErrNoHello, Account: Account(rec.Account)}
	}
	token, err := b.keyServiceToken(ctx, op, a, Account(rec.Account))
	if err != nil {
		return err
	}
	address := d.Record.Endpoints.Key
	if rec.NextHello == nil { // otherwise it is not known which of the two the service has
		address += rec.Hello.ID
	}
	if err := b.sts.DeleteKey(ctx, sts.WithVersion(address, d.Record.Endpoints.KeyVersion), token, rec.Account.HomeAccountID); err != nil {
		return opError(op, err)
	}
	done := keep()
	return b.finish(ctx, func(ctx context.Context) error {
		defer done()
		return forgetHello(ctx, a, rec)
	})
}

// forgetHello erases the Hello key of rec here, with everything that only its
// PIN opens and the PRT obtained with it.
func forgetHello(ctx context.Context, a *account.Account, rec *account.Record) error {
	_, err := a.Update(ctx, func(r *account.Record) error {
		if r.Hello != nil && rec.Hello != nil && r.Hello.ID != rec.Hello.ID {
			return account.ErrReplaced // replaced meanwhile, in a store without leases
		}
		r.DropHello()
		return nil
	})
	a.ReleaseUnused()
	if err != nil {
		return err
	}
	return a.EraseOffline(ctx)
}
