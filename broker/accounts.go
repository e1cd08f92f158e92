package broker

import (
	"context"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/internal/account"
)

// Accounts returns who is signed in, by name. An account whose record is not
// readable is left out, as long as another one is; [Broker.Status] says so, and
// calls for it say why.
func (b *Broker) Accounts(ctx context.Context) (_ []Account, err error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave(&err)
	all, unreadable, err := b.book.All(ctx)
	if err == nil && len(all) == 0 {
		err = unreadable // to say nobody would be wrong
	}
	if err != nil {
		return nil, opError("accounts", err)
	}
	var out []Account
	for _, a := range all {
		if rec := a.Record(); rec != nil {
			out = append(out, Account(rec.Account))
		}
	}
	slices.SortFunc(out, func(x, y Account) int {
		if c := strings.Compare(x.PreferredUsername, y.PreferredUsername); c != 0 {
			return c
		}
		return strings.Compare(x.Key(), y.Key())
	})
	return out, nil
}

// accountFor returns the account that is meant: want, or the only one when want is
// zero.
func (b *Broker) accountFor(ctx context.Context, want Account) (*account.Account, *account.Record, error) {
	a, rec, err := b.book.Find(ctx, account.Identity(want))
	return a, rec, withAccount(verdict(err), want)
}

// RemoveAccount erases the account's PRTs, Hello key, tokens and log here. It
// revokes nothing at the service, where the Hello key stays unless RemoveHello
// came before. It succeeds when the account is not there, and also when its record
// is damaged or the key store no longer opens it.
func (b *Broker) RemoveAccount(ctx context.Context, acct Account) (err error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return err
	}
	defer leave(&err)
	if acct.IsZero() {
		return &Error{Op: "remove account", detail: "the zero Account is nobody"}
	}
	if err := b.book.Remove(ctx, account.Identity(acct)); err != nil {
		return opError("remove account", err)
	}
	b.cfg.Logger.InfoContext(ctx, "account removed", "account", acct.HomeAccountID)
	return nil
}
