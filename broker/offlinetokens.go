package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/tokencache"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/clock"
)

// The tokens that apps got are kept for a start without a network, under the
// offline key. They are a cache: when they are lost, the service gives others.

const (
	offlineSuffix = ".offline"

	// maxOfflineTokens bounds how many tokens an account keeps; those that live
	// longest are kept.
	maxOfflineTokens = 256
)

// offlineRecord is what is kept.
type offlineRecord struct {
	Version int            `json:"v"`
	Tokens  []offlineToken `json:"tokens"`
}

// offlineToken is a token in memory. It is marshalled in the clear: records
// are sealed.
type offlineToken struct {
	Tenant        string          `json:"tenant"`
	Client        string          `json:"client"`
	CAE           bool            `json:"cae,omitempty"`
	Scopes        []string        `json:"scopes"`
	AccessToken   string          `json:"access_token"`
	IDToken       string          `json:"id_token,omitempty"`
	ExpiresOn     time.Time       `json:"expires_on"`
	RefreshOn     time.Time       `json:"refresh_on,omitzero"`
	Granted       []string        `json:"granted,omitempty"`
	DeviceID      string          `json:"device_id,omitempty"`
	CorrelationID string          `json:"correlation_id,omitempty"`
	MFA           claims.Evidence `json:"mfa"`
}

func (t offlineToken) String() string { return "token of " + t.Client }

// saveOffline brings the tokens that are kept up to date. It does nothing
// unless this process may use the offline key, and forgets the key where
// another process locked the account or made a new one.
func (b *Broker) saveOffline(ctx context.Context, a *account) error {
	o := a.offlineKey()
	if o == nil {
		return nil
	}
	rec, err := a.load(ctx)
	if err != nil {
		return err
	}
	if !rec.sealedUnder(o) || rec.locked() {
		a.holdOffline(nil)
		return nil
	}
	plain, err := vault.Encode(offlineRecord{Version: vault.StateVersion, Tokens: b.offlineTokens(rec.Account)})
	if err != nil {
		return err
	}
	defer clear(plain)
	for range vault.MaxConflicts {
		old, err := o.vault.Get(ctx, offlineSuffix)
		clear(old.Plain)
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, ErrStateDamaged) { // of another key
			return err
		}
		if _, err = o.vault.Put(ctx, offlineSuffix, plain, old); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return store.ErrConflict
}

// offlineTokens are the bearer tokens of the account in memory.
func (b *Broker) offlineTokens(acct Account) (out []offlineToken) {
	for _, k := range b.tokens.Account(acct.HomeAccountID, acct.Environment) {
		r := &k.Entry.Value.result
		if k.Key.Scheme != tokencache.Bearer || clock.Left(k.Entry.ExpiresOn, b.cfg.Now()) <= 0 {
			continue
		}
		out = append(out, offlineToken{
			Tenant: k.Key.Tenant, Client: k.Key.Client, CAE: k.Key.CAE, Scopes: k.Set,
			AccessToken: r.AccessToken, IDToken: r.IDToken, ExpiresOn: r.ExpiresOn, RefreshOn: r.Metadata.RefreshOn, Granted: r.GrantedScopes,
			DeviceID: r.Metadata.DeviceID, CorrelationID: r.Metadata.CorrelationID, MFA: r.Metadata.MFA,
		})
	}
	slices.SortFunc(out, func(x, y offlineToken) int { return y.ExpiresOn.Compare(x.ExpiresOn) })
	return out[:min(len(out), maxOfflineTokens)]
}

// bringBackTokens puts the tokens that still live into memory. None is no
// error, and neither are those of another offline key.
func (b *Broker) bringBackTokens(ctx context.Context, a *account, o *offline) error {
	r, err := o.vault.Get(ctx, offlineSuffix)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, ErrStateDamaged) {
		return nil
	}
	if err != nil {
		return err
	}
	defer clear(r.Plain)
	var kept offlineRecord
	if err := vault.Decode(a.owner+offlineSuffix, r.Plain, &kept); err != nil {
		return err
	}
	rec := a.snapshot()
	if rec == nil {
		return ErrClosed
	}
	acct := rec.Account
	for _, t := range kept.Tokens {
		b.bringBackToken(acct, t)
	}
	if rec = a.snapshot(); rec == nil || rec.locked() { // meanwhile
		b.tokens.DropAccount(acct.HomeAccountID, acct.Environment)
	}
	return nil
}

func (b *Broker) bringBackToken(acct Account, t offlineToken) {
	if clock.Left(t.ExpiresOn, b.cfg.Now()) <= 0 {
		return
	}
	q := tokenRequest{
		call: call{account: acct, app: App{ClientID: t.Client}, tenant: t.Tenant, cae: t.CAE},
		set:  tokencache.Set(t.Scopes),
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

// eraseOffline erases the tokens that are kept, and forgets the offline key.
func (b *Broker) eraseOffline(ctx context.Context, a *account) error {
	a.holdOffline(nil)
	return a.vault.Erase(ctx, offlineSuffix)
}
