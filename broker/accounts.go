package broker

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/internal/account"
)

// An Account is a user of a tenant, named as in MSAL. The zero value names no
// account.
type Account struct {
	// HomeAccountID is the user's object id and home tenant, "oid.tid". With
	// Environment it is the key of an account.
	HomeAccountID string `json:"homeAccountId"`
	// Environment is the cloud's token cache name, "login.windows.net" in the
	// public cloud.
	Environment string `json:"environment"`
	// Realm is the tenant id.
	Realm string `json:"realm"`
	// LocalAccountID is the user's object id in Realm.
	LocalAccountID string `json:"localAccountId"`
	// PreferredUsername is the user principal name.
	PreferredUsername string `json:"username"`
	// Name is the display name. It may be empty.
	Name string `json:"name,omitempty"`
}

// IsZero reports whether a names no account.
func (a Account) IsZero() bool { return a == Account{} }

// Key identifies the account among all accounts of all clouds.
func (a Account) Key() string { return a.HomeAccountID + "-" + a.Environment }

// Accounts returns the accounts that are signed in, sorted by name. An account
// whose record cannot be read is left out, as long as another can be read;
// [Broker.Status] reports it, and calls for it say why.
func (b *Broker) Accounts(ctx context.Context) (_ []Account, err error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave(&err)
	all, unreadable, err := b.book.All(ctx)
	if err == nil && len(all) == 0 {
		err = unreadable // an empty list would be wrong
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

// accountFor returns the account that want refers to: that account, the one of
// its user name when want says no more, or the only one when want is zero.
func (b *Broker) accountFor(ctx context.Context, want Account) (*account.Account, *account.Record, error) {
	a, rec, err := b.book.Find(ctx, account.Identity(want))
	return a, rec, withAccount(verdict(err), want)
}

// RemoveAccount erases the account's PRTs, Hello key, tokens and log here. It
// revokes nothing at the service, where the Hello key stays unless RemoveHello
// was called first. It also succeeds when there is no such account, when its
// record is damaged, and when the key store no longer opens it.
func (b *Broker) RemoveAccount(ctx context.Context, acct Account) (err error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return err
	}
	defer leave(&err)
	if acct.IsZero() {
		return &Error{Op: "remove account", detail: "the Account is empty"}
	}
	if account.Identity(acct).ByName() {
		_, rec, err := b.accountFor(ctx, acct)
		if errors.Is(err, ErrNoAccount) {
			return nil
		}
		if err != nil {
			return opError("remove account", err)
		}
		acct = Account(rec.Account)
	}
	if err := b.book.Remove(ctx, account.Identity(acct)); err != nil {
		return opError("remove account", err)
	}
	b.cfg.Logger.InfoContext(ctx, "account removed", "account", acct.HomeAccountID)
	return nil
}
