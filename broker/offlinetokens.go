package broker

import (
	"context"
	"slices"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/tokencache"
	"github.com/prtbroker/prtbroker/internal/clock"
)

// The tokens that apps got are kept for a start without a network, under the
// offline key. They are a cache: when they are lost, the service gives others.

// saveOffline brings the tokens that are kept up to date. It does nothing
// unless this process may use the offline key, and forgets the key where
// another process locked the account or made a new one.
func (b *Broker) saveOffline(ctx context.Context, a *account.Account) error {
	o := a.Offline()
	if o == nil {
		return nil
	}
	rec, err := a.Load(ctx)
	if err != nil {
		return err
	}
	if !rec.SealedUnder(o) || rec.Locked() {
		a.HoldOffline(nil)
		return nil
	}
	return o.Keep(ctx, b.offlineTokens(Account(rec.Account)))
}

// offlineTokens are the bearer tokens of the account in memory.
func (b *Broker) offlineTokens(acct Account) (out []account.KeptToken) {
	for _, k := range b.tokens.Account(acct.HomeAccountID, acct.Environment) {
		r := &k.Entry.Value.result
		if k.Key.Scheme != tokencache.Bearer || clock.Left(k.Entry.ExpiresOn, b.cfg.Now()) <= 0 {
			continue
		}
		q := tokenRequest{key: k.Key, set: k.Set}
		out = append(out, q.kept(*r))
	}
	slices.SortFunc(out, func(x, y account.KeptToken) int { return y.ExpiresOn.Compare(x.ExpiresOn) })
	return out[:min(len(out), account.MaxKept)]
}

// bringBackTokens puts the tokens that still live into memory. None is no
// error, and neither are those of another offline key.
func (b *Broker) bringBackTokens(ctx context.Context, a *account.Account) error {
	o := a.Offline()
	if o == nil {
		return nil
	}
	tokens, err := o.Kept(ctx)
	if err != nil {
		return err
	}
	rec := a.Record()
	if rec == nil {
		return ErrClosed
	}
	acct := Account(rec.Account)
	for _, t := range tokens {
		b.bringBackToken(acct, t)
	}
	if rec = a.Record(); rec == nil || rec.Locked() { // meanwhile
		b.tokens.DropAccount(acct.HomeAccountID, acct.Environment)
	}
	return nil
}

func (b *Broker) bringBackToken(acct Account, t account.KeptToken) {
	if clock.Left(t.ExpiresOn, b.cfg.Now()) <= 0 {
		return
	}
	q := tokenRequest{
		callOptions: callOptions{account: acct, app: App{ClientID: t.Client}, tenant: t.Tenant, cae: t.CAE},
		set:         tokencache.Set(t.Scopes),
	}
	q.belongsTo(acct)
	if _, have := b.tokens.Serve(&q.key, q.set, b.cfg.Now()); have == tokencache.Fresh || have == tokencache.Stale {
		return // what is in memory is newer
	}
	b.remember(q, AuthResult{
		Account: acct, AccessToken: t.AccessToken, IDToken: t.IDToken, TokenType: "Bearer", ExpiresOn: t.ExpiresOn, GrantedScopes: t.Granted,
		Metadata: ResultMetadata{RefreshOn: t.RefreshOn, DeviceID: t.DeviceID, CorrelationID: t.CorrelationID, MFA: t.MFA},
	})
}
