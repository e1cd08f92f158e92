package account

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/internal/clock"
)

// tokensSuffix names the access tokens that later processes of this machine may
// use, under the data key. Those under the offline key are another record: Lock
// erases these and keeps the others.
const tokensSuffix = ".tokens"

// maxTokens bounds the record of tokens, in bytes of JSON, since each save
// writes all of it.
const maxTokens = 1 << 20

// Tokens returns the tokens kept for later processes. The list is empty if
// there are none or the record is damaged: tokens are a cache.
func (a *Account) Tokens(ctx context.Context) ([]KeptToken, error) {
	rec, _, err := a.readTokens(ctx)
	return rec.Tokens, err
}

func (a *Account) readTokens(ctx context.Context) (keptRecord, vault.Record, error) {
	rec := keptRecord{Version: vault.StateVersion}
	r, err := a.vault.Get(ctx, tokensSuffix)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrDamaged):
		return rec, r, nil
	case err != nil:
		return rec, r, err
	}
	defer clear(r.Plain)
	if err := vault.Decode(a.owner+tokensSuffix, r.Plain, &rec); err != nil {
		return keptRecord{Version: vault.StateVersion}, r, err
	}
	return rec, r, nil
}

// KeepToken keeps a token for later processes, replacing the one for the same
// request, unless another process kept a newer one. Expired tokens are dropped.
// It needs no command of the key store.
func (a *Account) KeepToken(ctx context.Context, t KeptToken, now time.Time) error {
	err := a.changeTokens(ctx, func(all []KeptToken) ([]KeptToken, bool) {
		i := slices.IndexFunc(all, t.same)
		if i >= 0 && all[i].At.After(t.At) {
			return nil, false
		}
		if i >= 0 {
			all = slices.Delete(all, i, i+1)
		}
		all = append([]KeptToken{t}, all...)
		return slices.DeleteFunc(all, func(k KeptToken) bool { return clock.Left(k.ExpiresOn, now) <= 0 }), true
	})
	if err != nil {
		return err
	}
	// Another process may have locked the account meanwhile, and found nothing
	// to erase.
	if rec, err := a.Load(ctx); err != nil || rec.Locked() {
		return errors.Join(err, a.EraseTokens(ctx))
	}
	return nil
}

// DropTokens removes the kept tokens that match.
func (a *Account) DropTokens(ctx context.Context, match func(KeptToken) bool) error {
	return a.changeTokens(ctx, func(all []KeptToken) ([]KeptToken, bool) {
		left := slices.DeleteFunc(slices.Clone(all), match)
		return left, len(left) < len(all)
	})
}

// EraseTokens removes all kept tokens.
func (a *Account) EraseTokens(ctx context.Context) error { return a.vault.Erase(ctx, tokensSuffix) }

// changeTokens writes the kept tokens as changed by change, the newest first,
// and tries again when another process wrote meanwhile. Nothing is written if
// change says so.
func (a *Account) changeTokens(ctx context.Context, change func([]KeptToken) ([]KeptToken, bool)) error {
	for range vault.MaxConflicts {
		rec, old, err := a.readTokens(ctx)
		if err != nil {
			return err
		}
		var changed bool
		if rec.Tokens, changed = change(rec.Tokens); !changed {
			return nil
		}
		plain, err := encodeTokens(rec)
		if err != nil {
			return err
		}
		_, err = a.vault.Put(ctx, tokensSuffix, plain, old)
		clear(plain)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return store.ErrConflict
}

// encodeTokens writes as many tokens as the bounds allow, the newest first.
func encodeTokens(rec keptRecord) ([]byte, error) {
	rec.Tokens = rec.Tokens[:min(len(rec.Tokens), MaxKept)]
	for {
		plain, err := vault.Encode(rec)
		if err != nil || len(plain) <= maxTokens || len(rec.Tokens) == 0 {
			return plain, err
		}
		clear(plain)
		rec.Tokens = rec.Tokens[:len(rec.Tokens)/2]
	}
}

// same says whether both tokens answer the same request.
func (t KeptToken) same(o KeptToken) bool {
	return t.Tenant == o.Tenant && t.Client == o.Client && t.CAE == o.CAE && slices.Equal(t.Scopes, o.Scopes)
}
