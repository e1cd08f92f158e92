package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/tokencache"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/tpm"
)

// What only the PIN opens is sealed under a key of its own, the offline key.
// The key store seals that key under the PIN and under limits that the TPM
// enforces; while this process may use it, it is held like a data key.

const (
	pinSuffix      = ".pin"     // the sealed offline key
	offlineSuffix  = ".offline" // what it opens
	offlinePurpose = "prtbroker offline key 1 "

	// maxOfflineTokens bounds how many tokens an account keeps for a start
	// without a network; those that live longest are kept.
	maxOfflineTokens = 256
)

// offlineRecord is what only the PIN opens.
type offlineRecord struct {
	Version int            `json:"v"`
	PRTs    []prtEntry     `json:"prts,omitempty"` // put away by Lock
	Tokens  []offlineToken `json:"tokens,omitempty"`
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

// offline is the open offline key of an account.
type offline struct {
	vault *vault  // seals under the offline key
	from  Version // of the record that the key is sealed in
}

func (a *account) offlineKey() *offline {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.offline
}

// holdOffline keeps the open offline key, in place of the one before, which is
// forgotten; nil keeps none.
func (a *account) holdOffline(o *offline) {
	a.mu.Lock()
	drop := []*offline{a.offline}
	a.offline = o
	if a.sessions == nil { // closed meanwhile
		drop, a.offline = append(drop, o), nil
	}
	a.mu.Unlock()
	for _, old := range drop {
		if old != nil {
			old.vault.close()
		}
	}
}

func (b *Broker) newOffline(a *account, key []byte, from Version) *offline {
	v := newVault(b.cfg.Keys, b.cfg.Store, b.cfg.Rand, a.owner)
	v.setKey(key, from)
	return &offline{vault: v, from: from}
}

func (a *account) offlineAAD() []byte { return []byte(offlinePurpose + a.owner) }

// sealer returns what seals under a PIN; nil where nothing does, or where
// nothing is to be opened offline.
func (b *Broker) sealer() tpm.PINSealer {
	s, ok := b.cfg.Keys.(tpm.PINSealer)
	if !ok || b.cfg.Offline.Time == 0 {
		return nil
	}
	return s
}

// prepareOffline makes a new offline key, now that the service has confirmed
// the user by the PIN, and saves under it what the account has cached. The
// limits of Config.Offline begin anew.
func (b *Broker) prepareOffline(ctx context.Context, a *account, pin PIN) error {
	s := b.sealer()
	if s == nil {
		return nil
	}
	key := make([]byte, dataKeySize)
	if _, err := io.ReadFull(b.cfg.Rand, key); err != nil {
		return fmt.Errorf("broker: reading randomness: %w", err)
	}
	sealed, err := s.SealPIN(ctx, key, a.offlineAAD(), pin, b.cfg.Offline)
	if err != nil {
		clear(key)
		return keyError("sealing under the PIN", err)
	}
	release, err := b.lease(ctx, a.owner)
	if err != nil {
		clear(key)
		return err
	}
	defer release()
	from, err := b.putWhatever(ctx, a.owner+pinSuffix, sealed)
	if err != nil {
		clear(key)
		return err
	}
	a.holdOffline(b.newOffline(a, key, from))
	return b.writeOffline(ctx, a, nil)
}

// putWhatever writes a record in place of whatever version there is.
func (b *Broker) putWhatever(ctx context.Context, name string, data []byte) (Version, error) {
	for {
		_, old, err := b.cfg.Store.Get(ctx, name)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return 0, err
		}
		v, err := b.cfg.Store.Put(ctx, name, data, old)
		if !errors.Is(err, ErrConflict) {
			return v, err
		}
	}
}

// saveOffline brings what only the PIN opens up to date. It does nothing
// unless this process may use the offline key.
func (b *Broker) saveOffline(ctx context.Context, a *account) error {
	if a.offlineKey() == nil {
		return nil
	}
	release, err := b.lease(ctx, a.owner)
	if err != nil {
		return err
	}
	defer release()
	return b.writeOffline(ctx, a, nil)
}

// writeOffline writes the cached tokens, and the PRTs that are put away. It
// needs the lease of the account: another process may have made a new offline
// key, or locked the account, and then this one has nothing to write.
func (b *Broker) writeOffline(ctx context.Context, a *account, prts []prtEntry) error {
	o := a.offlineKey()
	if o == nil {
		return nil
	}
	rec, err := a.load(ctx)
	if err != nil {
		return err
	}
	_, version, err := b.cfg.Store.Get(ctx, a.owner+pinSuffix)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if version != o.from || rec.Locked {
		a.holdOffline(nil)
		return nil
	}
	plain, err := encode(offlineRecord{Version: stateVersion, PRTs: prts, Tokens: b.offlineTokens(rec.Account)})
	if err != nil {
		return err
	}
	defer clear(plain)
	for {
		old, err := o.vault.get(ctx, offlineSuffix)
		if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrStateDamaged) { // of the key before
			return err
		}
		if _, err = o.vault.put(ctx, offlineSuffix, plain, old.version, old.generation+1); !errors.Is(err, ErrConflict) {
			return err
		}
	}
}

// offlineTokens are the bearer tokens of the account in memory.
func (b *Broker) offlineTokens(acct Account) (out []offlineToken) {
	for _, k := range b.tokens.Account(acct.HomeAccountID, acct.Environment) {
		r := &k.Entry.Value.result
		if k.Key.Scheme != tokencache.Bearer || !k.Entry.ExpiresOn.After(b.cfg.Now()) {
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

// errNotPrepared: there is nothing that the PIN could open offline.
var errNotPrepared = errors.New("broker: no offline unlock was prepared")

// openOffline opens the offline key by the PIN and brings back what it seals.
func (b *Broker) openOffline(ctx context.Context, a *account, pin PIN) (left tpm.Limit, err error) {
	s := b.sealer()
	if s == nil {
		return left, errNotPrepared
	}
	sealed, from, err := b.cfg.Store.Get(ctx, a.owner+pinSuffix)
	if errors.Is(err, ErrNotFound) {
		return left, errNotPrepared
	}
	if err != nil {
		return left, err
	}
	var key []byte
	err = b.tryPIN(ctx, a, func() (err error) {
		key, left, err = s.UnsealPIN(ctx, sealed, a.offlineAAD(), pin)
		return err
	})
	if err != nil {
		return left, err
	}
	if len(key) != dataKeySize {
		return left, fmt.Errorf("%w: offline key of %s has %d bytes", ErrStateDamaged, a.owner, len(key))
	}
	o := b.newOffline(a, key, from)
	return left, b.bringBack(ctx, a, o)
}

// bringBack restores the PRTs that were put away and the tokens that still
// live.
func (b *Broker) bringBack(ctx context.Context, a *account, o *offline) error {
	var rec offlineRecord
	r, err := o.vault.get(ctx, offlineSuffix)
	switch {
	case err == nil:
		defer clear(r.plain)
		if err := decode(a.owner+offlineSuffix, r.plain, &rec); err != nil {
			return err
		}
	case errors.Is(err, ErrNotFound):
	case errors.Is(err, ErrStateDamaged) && !a.snapshot().Locked: // a crash came between the key and the record: only tokens are missing
	default:
		return err
	}
	now, err := a.update(ctx, func(s *accountRecord) error {
		for _, e := range rec.PRTs {
			if s.find(e.token.Credential) == nil {
				s.PRTs = append(s.PRTs, e)
			}
		}
		s.Locked = false
		return nil
	})
	if err != nil {
		return err
	}
	a.holdOffline(o)
	for _, t := range rec.Tokens {
		b.bringBackToken(now.Account, t)
	}
	return nil
}

func (b *Broker) bringBackToken(acct Account, t offlineToken) {
	if !t.ExpiresOn.After(b.cfg.Now()) {
		return
	}
	q := tokenRequest{
		call: call{account: acct, app: App{ClientID: t.Client}, tenant: t.Tenant, cae: t.CAE},
		set:  tokencache.Set(t.Scopes),
	}
	q.belongsTo(acct)
	b.remember(q, AuthResult{
		Account: acct, AccessToken: t.AccessToken, IDToken: t.IDToken, TokenType: "Bearer", ExpiresOn: t.ExpiresOn, GrantedScopes: t.Granted,
		Metadata: ResultMetadata{RefreshOn: t.RefreshOn, DeviceID: t.DeviceID, CorrelationID: t.CorrelationID, MFA: t.MFA},
	})
}

// reopen is what a sign-in by the PIN does for the offline unlock: what was
// put away comes back, and the limits begin anew. What the old limits keep
// shut is given up: the service has just given a new PRT in its place.
func (b *Broker) reopen(ctx context.Context, a *account, pin PIN) error {
	if rec := a.snapshot(); rec != nil && rec.Locked {
		if _, err := b.openOffline(ctx, a, pin); err != nil {
			b.cfg.Logger.InfoContext(ctx, "what was put away stays shut", "error", err)
			if _, err := a.update(ctx, func(r *accountRecord) error { r.Locked = false; return nil }); err != nil {
				return err
			}
		}
	}
	return b.prepareOffline(ctx, a, pin)
}

// putAway moves PRTs and tokens behind the PIN: first there, then away from
// where they were, so that a crash loses none. It needs the lease.
func (b *Broker) putAway(ctx context.Context, a *account, rec *accountRecord) error {
	for range maxConflicts {
		if rec.Locked && len(rec.PRTs) == 0 {
			return b.leave(a, rec)
		}
		if err := b.writeOffline(ctx, a, rec.PRTs); err != nil {
			return err
		}
		if a.offlineKey() == nil { // nobody signed in here by the PIN, or another process did since
			return &Error{Account: rec.Account, cause: errors.ErrUnsupported, detail: "Lock needs a Hello key, Config.Offline and a sign-in by the PIN in this process"}
		}
		now, err := a.update(ctx, func(r *accountRecord) error {
			if !samePRTs(r.PRTs, rec.PRTs) {
				return errReplaced
			}
			r.PRTs, r.Locked = []prtEntry{}, true
			return nil
		})
		if err == nil {
			return b.leave(a, now)
		}
		if !errors.Is(err, errReplaced) {
			return err
		}
		rec = a.snapshot()
	}
	return ErrConflict
}

// leave forgets what this process has of a locked account.
func (b *Broker) leave(a *account, rec *accountRecord) error {
	b.tokens.DropAccount(rec.Account.HomeAccountID, rec.Account.Environment)
	a.holdOffline(nil)
	a.releaseUnused()
	return nil
}

func samePRTs(x, y []prtEntry) bool {
	return slices.EqualFunc(x, y, func(x, y prtEntry) bool { return x.token.PRT.Equal(y.token.PRT) })
}

// changeOfflinePIN gives the sealed offline key the new PIN. Its limits stay.
func (b *Broker) changeOfflinePIN(ctx context.Context, a *account, old, pin PIN) error {
	s, ok := b.cfg.Keys.(tpm.PINSealer)
	if !ok {
		return nil
	}
	sealed, from, err := b.cfg.Store.Get(ctx, a.owner+pinSuffix)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	changed, err := s.ChangeSealPIN(ctx, sealed, a.offlineAAD(), old, pin)
	if errors.Is(err, tpm.ErrExpired) {
		return nil // neither PIN opens it any more; the next sign-in makes a new one
	}
	if err != nil {
		return pinError(err)
	}
	v, err := b.cfg.Store.Put(context.WithoutCancel(ctx), a.owner+pinSuffix, changed, from)
	if err != nil {
		return err
	}
	if o := a.offlineKey(); o != nil && o.from == from {
		a.mu.Lock()
		a.offline = &offline{vault: o.vault, from: v}
		a.mu.Unlock()
	}
	return nil
}

// eraseOffline erases what only the PIN opens: the key first, without which
// the rest means nothing.
func (b *Broker) eraseOffline(ctx context.Context, a *account) error {
	a.holdOffline(nil)
	for _, suffix := range []string{pinSuffix, offlineSuffix} {
		if err := deleteRecord(ctx, b.cfg.Store, a.owner+suffix); err != nil {
			return err
		}
	}
	return nil
}
