package account

import (
	"context"
	"errors"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/claims"
)

const (
	offlineSuffix = ".offline"

	// MaxKept bounds how many tokens an account keeps; those that live
	// longest are kept.
	MaxKept = 256
)

// keptRecord is what is kept.
type keptRecord struct {
	Version int         `json:"v"`
	Tokens  []KeptToken `json:"tokens"`
}

// KeptToken is a token in memory. It is marshalled in the clear: records
// are sealed.
type KeptToken struct {
	Tenant        string          `json:"tenant"`
	Client        string          `json:"client"`
	CAE           bool            `json:"cae,omitempty"`
	Scopes        []string        `json:"scopes"`
	AccessToken   string          `json:"access_token"`
	IDToken       string          `json:"id_token,omitempty"`
	At            time.Time       `json:"at,omitzero"` // when the service issued it
	ExpiresOn     time.Time       `json:"expires_on"`
	RefreshOn     time.Time       `json:"refresh_on,omitzero"`
	Granted       []string        `json:"granted,omitempty"`
	DeviceID      string          `json:"device_id,omitempty"`
	CorrelationID string          `json:"correlation_id,omitempty"`
	MFA           claims.Evidence `json:"mfa"`
}

func (t KeptToken) String() string { return "token of " + t.Client }

// Keep replaces the tokens kept under the offline key.
func (o *Offline) Keep(ctx context.Context, tokens []KeptToken) error {
	plain, err := vault.Encode(keptRecord{Version: vault.StateVersion, Tokens: tokens})
	if err != nil {
		return err
	}
	defer clear(plain)
	for range vault.MaxConflicts {
		old, err := o.vault.Get(ctx, offlineSuffix)
		clear(old.Plain)
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDamaged) { // of another key
			return err
		}
		if _, err = o.vault.Put(ctx, offlineSuffix, plain, old); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return store.ErrConflict
}

// Kept returns the kept tokens. The list is empty if there are none or they
// were sealed under another offline key.
func (o *Offline) Kept(ctx context.Context) ([]KeptToken, error) {
	r, err := o.vault.Get(ctx, offlineSuffix)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrDamaged) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer clear(r.Plain)
	var rec keptRecord
	if err := vault.Decode(o.vault.Owner()+offlineSuffix, r.Plain, &rec); err != nil {
		return nil, err
	}
	return rec.Tokens, nil
}

// EraseOffline erases the tokens that are kept, and forgets the offline key.
func (a *Account) EraseOffline(ctx context.Context) error {
	a.HoldOffline(nil)
	return a.vault.Erase(ctx, offlineSuffix)
}
