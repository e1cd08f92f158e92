package broker

import (
	"bytes"
	"context"
	"errors"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/tpm"
)

// prepareOffline lets the PIN open the account without the service from now on,
// with the tokens that are in memory.
func (b *Broker) prepareOffline(ctx context.Context, a *account.Account, pin PIN, used []byte) error {
	if err := a.PrepareOffline(ctx, pin, used, b.cfg.Offline); err != nil {
		return err
	}
	return b.tokens.saveOffline(ctx, a)
}

// openOffline opens with the PIN what it opens without the service, and loads
// the tokens into memory.
func (b *Broker) openOffline(ctx context.Context, a *account.Account, pin PIN) error {
	if err := a.OpenOffline(ctx, pin); err != nil {
		return err
	}
	if err := b.tokens.bringBackTokens(ctx, a); err != nil {
		b.cfg.Logger.InfoContext(ctx, "the tokens for an offline unlock are not readable", "error", err)
	}
	return nil
}

// offlineLeft returns what is left of Config.Offline, for display.
func (c *Config) offlineLeft(ctx context.Context, a *account.Account) tpm.Limit {
	left, err := a.OfflineLeft(ctx)
	if err != nil {
		c.Logger.InfoContext(ctx, "what is left of the offline time could not be read", "error", err)
	}
	return left
}

// signedInByPIN does what a sign-in with the PIN means for the offline unlock:
// what was put away comes back, tokens included, and the limits start over.
// Only what the TPM says is over is given up: the service has just given a new
// PRT in its place.
//
// A process that does not have the offline key opens it here even where nothing
// was put away and the limits need no restart. Lock needs it later to put the
// PRTs away, and so does the saving of tokens, and only the PIN, which is not
// kept, opens it.
func (b *Broker) signedInByPIN(ctx context.Context, a *account.Account, pin PIN, used []byte) error {
	rec := a.Record()
	if rec == nil || rec.Hello == nil || !bytes.Equal(rec.Hello.Key, used) {
		return account.ErrReplaced
	}
	o := a.Offline()
	switch held := rec.SealedUnder(o); {
	case held && rec.Away != nil:
		if err := a.BringBack(ctx, o); err != nil {
			return err
		}
	case !held && rec.Hello.Offline != nil:
		err := b.openOffline(ctx, a, pin)
		if errors.Is(err, tpm.ErrExpired) {
			b.cfg.Logger.InfoContext(ctx, "what was put away stays shut", "error", err)
			err = a.GiveUpOffline(ctx, rec.Hello.Offline)
		}
		if err != nil {
			return err
		}
	}
	return b.prepareOffline(ctx, a, pin, used)
}
