package broker

import (
	"context"
	"errors"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/tpm"
)

// Unlocked says how Unlock proved the user.
type Unlocked struct {
	Account Account
	// Offline says that the TPM alone confirmed the PIN, since the service could
	// not be asked. False: the service signed the user in, and there is a new PRT
	// whose MFA time is now.
	Offline bool
	// Left is what is left of Config.Offline, when Offline.
	Left tpm.Limit
	// MFA is what the account's PRT carries; zero when it has none.
	MFA claims.Evidence
}

// Unlock proves the user by the PIN of the Hello key, as at the lock screen of
// a computer. If the service answers, that is a sign-in with the Hello key: there
// is a new PRT whose MFA time is now, as Windows renews it at an unlock, and what
// the service refuses stays refused.
//
// If the service does not answer, and within Config.Offline, the TPM alone
// checks the PIN, which opens what the account has cached: tokens that apps got
// before are served again, and a PRT that [Broker.Lock] put away is restored. A
// wrong PIN is an ErrWrongPIN, too many are an ErrPINLocked, and the end of
// Config.Offline is an ErrOfflineExpired. A different TPM, or one that was
// cleared, is an ErrKeyUnusable that is also [tpm.ErrTPMChanged] or
// [tpm.ErrCleared]. An earlier definite refusal by the service (user or device
// disabled or deleted, key unknown) refuses offline too, until the service
// serves the account again. An ErrDeviceAuth by AADSTS50155, which has many
// causes, does so only if it came twice, ten minutes apart or more.
func (b *Broker) Unlock(ctx context.Context, acct Account, pin PIN) (Unlocked, error) {
	const op = "unlock"
	u, err := b.unlock(ctx, op, acct, pin)
	return u, opError(op, err)
}

func (b *Broker) unlock(ctx context.Context, op string, acct Account, pin PIN) (_ Unlocked, err error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return Unlocked{}, err
	}
	defer leave(&err)
	a, rec, err := b.accountFor(ctx, acct)
	if err != nil {
		return Unlocked{}, err
	}
	if rec.Hello == nil {
		return Unlocked{}, &Error{kind: ErrNoHello, Account: Account(rec.Account)}
	}
	if err := pin.possible(); err != nil {
		return Unlocked{}, err
	}
	var wait time.Duration
	if rec.Hello.Offline != nil && b.cfg.Offline.Time != 0 {
		wait = b.onlineWait
	}
	res, err := b.signInHello(ctx, op, Account(rec.Account), pin, wait)
	if err == nil {
		return Unlocked{Account: res.Account, MFA: res.Metadata.MFA}, nil
	}
	err = verdict(err)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = &Error{kind: ErrTransient, detail: "the service did not answer in time", cause: err}
	}
	if ctx.Err() != nil || !errors.Is(err, ErrTransient) {
		return Unlocked{}, orCleared(ctx, a, err)
	}
	return b.unlockOffline(ctx, op, a, pin, err)
}

// orCleared tells a cleared TPM from a different one. The Hello key's blob does
// not show which it is; that of the data key does.
func orCleared(ctx context.Context, a *account.Account, err error) error {
	if !errors.Is(err, tpm.ErrTPMChanged) {
		return err
	}
	if perr := a.Probe(ctx); errors.Is(perr, tpm.ErrCleared) {
		return keyError("opening the Hello key", perr)
	}
	return err
}

// onlineWait is how long Unlock waits for the service where the PIN can open
// the account without it.
const onlineWait = 10 * time.Second

func (b *Broker) unlockOffline(ctx context.Context, op string, a *account.Account, pin PIN, why error) (Unlocked, error) {
	rec := a.Record()
	if rec == nil || rec.Hello == nil || b.cfg.Offline.Time == 0 {
		return Unlocked{}, why
	}
	if n := rec.Hello.Refused; n != nil {
		return Unlocked{}, refusal(n, op)
	}
	err := b.openOffline(ctx, a, pin)
	if errors.Is(err, account.ErrNotPrepared) {
		return Unlocked{}, why // nothing can be opened here: report the network error
	}
	if err != nil {
		return Unlocked{}, err
	}
	u := Unlocked{Account: Account(rec.Account), Offline: true, Left: b.cfg.offlineLeft(ctx, a)}
	switch rec = a.Record(); {
	case rec == nil:
		return Unlocked{}, ErrClosed
	case rec.Locked(): // locked meanwhile
		return Unlocked{}, obituary(op, rec)
	}
	if now := b.engine.Choices(rec); len(now) > 0 {
		u.MFA = now[0].Token.Evidence
	}
	b.cfg.Logger.InfoContext(ctx, "unlocked offline", "account", rec.Account.HomeAccountID)
	return u, nil
}

// Lock locks the account, as at the lock screen or the end of a session: its
// tokens leave memory, and its PRTs move to where only the PIN opens them.
// Until [Broker.Unlock] nothing is silent: calls fail with ErrLocked, which is
// also an ErrInteractionRequired, in every process that shares the store.
// Tokens that other processes have in memory are served there until they
// expire.
//
// It needs a Hello key, Config.Offline, and an earlier sign-in with the PIN in
// this process; otherwise it is [errors.ErrUnsupported] and nothing is changed.
// If Config.Offline is over before the Unlock, what was put away is lost: the
// Unlock then needs the service, and brings only the PRT of the Hello key.
func (b *Broker) Lock(ctx context.Context, acct Account) (err error) {
	const op = "lock"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return err
	}
	defer leave(&err)
	a, rec, err := b.accountFor(ctx, acct)
	if err != nil {
		return opError(op, err)
	}
	release, err := vault.TryLease(ctx, b.cfg.Store, a.Name())
	if err != nil {
		return opError(op, err)
	}
	defer release()
	if err := b.tokens.saveOffline(ctx, a); err != nil {
		return opError(op, err)
	}
	if err := a.PutAway(ctx); err != nil {
		return withAccount(opError(op, err), Account(rec.Account))
	}
	b.tokens.drop(rec.Account)
	b.cfg.Logger.InfoContext(ctx, "locked", "account", rec.Account.HomeAccountID)
	return nil
}
