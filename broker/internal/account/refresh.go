package account

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
)

const refreshSuffix = ".refresh"

// maxRefreshTokens bounds how many apps an account keeps a token of.
const maxRefreshTokens = 256

type refreshRecord struct {
	Version int            `json:"v"`
	Tokens  []RefreshToken `json:"tokens"`
}

// RefreshToken is a refresh token. It is marshalled in the clear: records are
// sealed.
type RefreshToken struct {
	Client string    `json:"client"`
	Family string    `json:"family,omitempty"` // empty: of no family
	Token  string    `json:"token"`
	At     time.Time `json:"at"`
}

func (e RefreshToken) String() string { return "refresh token of " + e.Client }

// pick returns the tokens to try for an app: its own, then its family's.
func (r *refreshRecord) pick(client string) []RefreshToken {
	var own, family []RefreshToken
	for _, e := range r.Tokens {
		switch {
		case e.Client == client:
			own = append(own, e)
		case e.Family != "":
			family = append(family, e)
		}
	}
	slices.SortFunc(family, func(x, y RefreshToken) int { return y.At.Compare(x.At) })
	return append(own, family[:min(1, len(family))]...)
}

// set keeps the newest token of an app, and of the family only one.
func (r *refreshRecord) set(e RefreshToken) {
	r.Tokens = slices.DeleteFunc(r.Tokens, func(o RefreshToken) bool {
		return o.Client == e.Client || e.Family != "" && o.Family == e.Family
	})
	r.Tokens = append(r.Tokens, e)
	if len(r.Tokens) > maxRefreshTokens {
		r.Tokens = r.Tokens[len(r.Tokens)-maxRefreshTokens:]
	}
}

func (a *Account) readRefresh(ctx context.Context) (*refreshRecord, vault.Record, error) {
	r, err := a.vault.Read(ctx, refreshSuffix)
	if errors.Is(err, store.ErrNotFound) {
		return &refreshRecord{Version: vault.StateVersion}, vault.Record{}, nil
	}
	if err != nil {
		return nil, r, err
	}
	defer clear(r.Plain)
	rec := new(refreshRecord)
	return rec, r, vault.Decode(a.owner+refreshSuffix, r.Plain, rec)
}

// RefreshTokens returns the refresh tokens to try for an app, the best first.
func (a *Account) RefreshTokens(ctx context.Context, client string) ([]RefreshToken, error) {
	rec, _, err := a.readRefresh(ctx)
	if err != nil {
		return nil, err
	}
	return rec.pick(client), nil
}

// KeepRefresh saves a refresh token.
func (a *Account) KeepRefresh(ctx context.Context, e RefreshToken) error {
	for range vault.MaxConflicts {
		rec, old, err := a.readRefresh(ctx)
		if err != nil {
			return err
		}
		rec.set(e)
		plain, err := vault.Encode(rec)
		if err != nil {
			return err
		}
		_, err = a.vault.Write(ctx, refreshSuffix, plain, old)
		clear(plain)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return store.ErrConflict
}
