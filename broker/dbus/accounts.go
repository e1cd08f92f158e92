package dbus

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
)

// knownAccounts caches the signed-in accounts for each user of the machine, so that
// serving a cached token does not need to read the store. It may be stale: the broker
// itself refuses a token for an account that has signed out.
type knownAccounts struct {
	mu sync.Mutex // guards of
	of map[uint32][]broker.Account
}

func (k *knownAccounts) get(from Caller) []broker.Account {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.of[from.UID]
}

func (k *knownAccounts) put(from Caller, list []broker.Account) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.of == nil {
		k.of = map[uint32][]broker.Account{}
	}
	k.of[from.UID] = list
}

// list asks the broker who is signed in.
func (c *call) list(ctx context.Context) ([]broker.Account, error) {
	all, err := c.b.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	c.h.known.put(c.from, all)
	return all, nil
}

func (c *call) accounts(ctx context.Context) (string, error) {
	all, err := c.list(ctx)
	if err != nil {
		return "", err
	}
	out := make([]wire.Account, len(all))
	for i, a := range all {
		out[i] = wireAccount(a)
	}
	return wire.AccountsReply(out), nil
}

func (c *call) remove(ctx context.Context) (string, error) {
	acct, err := c.account(ctx)
	if err != nil {
		return "", err
	}
	if err := c.b.RemoveAccount(ctx, acct); err != nil {
		return "", err
	}
	c.h.known.put(c.from, nil)
	return wire.Empty, nil
}

// errNoSuchAccount means that the request names an account that is not signed in here.
var errNoSuchAccount = broker.NewError(broker.ErrNoAccount, "the account of the request is not signed in with this broker", nil, broker.Error{})

// errWhichAccount means that several accounts are signed in and the request names none
// of them.
var errWhichAccount = broker.NewError(broker.ErrNoAccount, "several accounts are signed in, and the request names none", nil, broker.Error{})

// account returns the account that a request names by its id or, without one, by its
// user name. If the request names none, it returns the only signed-in account.
func (c *call) account(ctx context.Context) (broker.Account, error) {
	if a, err := c.find(c.h.known.get(c.from)); err == nil {
		return a, nil
	}
	all, err := c.list(ctx)
	if err != nil {
		return broker.Account{}, err
	}
	return c.find(all)
}

func (c *call) find(all []broker.Account) (broker.Account, error) {
	want := c.r.Account
	home := want.HomeAccountID
	if home == "" && c.r.PoP != nil {
		home = c.r.PoP.HomeAccountID
	}
	var is func(broker.Account) bool
	switch {
	case home != "":
		is = func(a broker.Account) bool { return strings.EqualFold(a.HomeAccountID, home) }
	case want.LocalAccountID != "":
		is = func(a broker.Account) bool { return strings.EqualFold(a.LocalAccountID, want.LocalAccountID) }
	case c.username() != "":
		is = func(a broker.Account) bool { return strings.EqualFold(a.PreferredUsername, c.username()) }
	case len(all) == 1:
		return all[0], nil
	case len(all) > 1:
		return broker.Account{}, errWhichAccount
	default:
		return broker.Account{}, errNoSuchAccount
	}
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i], nil
	}
	return broker.Account{}, errNoSuchAccount
}

func (c *call) username() string {
	if c.r.Account.Username != "" {
		return c.r.Account.Username
	}
	return c.r.Username
}

// forgetOn drops the cached accounts when the broker reports that one of them is gone.
func (c *call) forgetOn(err error) {
	if errors.Is(err, broker.ErrNoAccount) {
		c.h.known.put(c.from, nil)
	}
}

// wireAccount describes an account with every member that some client needs. The given
// name and family name in the directory are not known here, and not guessed.
func wireAccount(a broker.Account) wire.Account {
	name := a.Name
	if name == "" {
		name = a.PreferredUsername
	}
	return wire.Account{
		ClientInfo:     wire.ClientInfo(a.HomeAccountID),
		Environment:    a.Environment,
		HomeAccountID:  a.HomeAccountID,
		LocalAccountID: a.LocalAccountID,
		Name:           name,
		Realm:          a.Realm,
		Username:       a.PreferredUsername,
	}
}
