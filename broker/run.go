package broker

import (
	"context"
	"encoding/binary"
	"io"
	"sync"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/internal/clock"
	"github.com/prtbroker/prtbroker/prt"
)

const (
	// runInterval is how often Run looks at the PRTs, at most.
	runInterval = 15 * time.Minute
	// runJitter spreads the renewals of many machines.
	runJitter = 10 * time.Minute
	// watchInterval is how often Run checks what other processes did.
	watchInterval = time.Second
	// runRetry is how long Run waits after a failure, at least.
	runRetry = time.Minute
)

// Run renews PRTs in the background when they are due, until ctx ends or the
// broker is closed, and then returns why. It is optional: every call that uses
// a PRT renews it by itself. With Run a PRT stays alive even if no app asks for
// a token. Renewals are spread over up to ten minutes, so that many machines do
// not ask at once. A failed renewal is tried again, after a minute at the
// earliest, and does not end Run.
//
// Run also checks the store once a second: tokens of an account that another
// process removed, and those of a device that it unregistered, are no longer
// served. Without Run this is noticed at the next call that memory does not
// answer.
func (b *Broker) Run(ctx context.Context) (err error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return err
	}
	defer leave(&err)
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer stop()
	watch.Go(func() { b.watch(watching) })
	for {
		wait, err := b.renewDue(ctx)
		if err != nil {
			return err
		}
		if err := b.sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// watch looks into the store until ctx ends.
func (b *Broker) watch(ctx context.Context) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// An error here shows, and is reported, where the store is needed.
		_ = b.devices.Notice(ctx)
		_, _ = b.book.Refresh(ctx)
	}
}

// renewDue renews what is due and returns when to check again. It returns an
// error only when the context has ended.
func (b *Broker) renewDue(ctx context.Context) (time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	next := runInterval
	all, _, err := b.book.All(ctx)
	if err != nil {
		b.cfg.Logger.InfoContext(ctx, "reading the accounts failed", "error", err)
		return runRetry + b.cfg.jitter(runJitter), ctx.Err()
	}
	if _, err := b.devices.Load(ctx); err != nil {
		return next + b.cfg.jitter(runJitter), ctx.Err()
	}
	for _, a := range all {
		next = min(next, b.renewAccount(ctx, a))
		if err := b.tokens.saveOffline(ctx, a); err != nil {
			b.cfg.Logger.InfoContext(ctx, "writing the tokens for an offline unlock failed", "error", err)
		}
	}
	return next + b.cfg.jitter(runJitter), ctx.Err()
}

func (b *Broker) renewAccount(ctx context.Context, a *account.Account) time.Duration {
	next := runInterval
	rec := a.Record()
	if rec == nil {
		return next
	}
	for _, e := range b.engine.Choices(rec) {
		due := clock.Left(e.Token.RenewedAt.Add(prt.RenewAfter), b.cfg.Now())
		if due > 0 {
			next = min(next, due)
			continue
		}
		if _, err := b.engine.Renew(ctx, a, e.Token.Credential, false); err != nil && !isOver(opError("renew PRT", err)) {
			b.cfg.Logger.InfoContext(ctx, "renewal in the background failed", "account", rec.Account.HomeAccountID, "error", err)
			next = min(next, runRetry)
		}
	}
	return next
}

// jitter returns a random duration below limit.
func (c *Config) jitter(limit time.Duration) time.Duration {
	var r [8]byte
	if _, err := io.ReadFull(c.Rand, r[:]); err != nil {
		return 0
	}
	return time.Duration(binary.BigEndian.Uint64(r[:]) % uint64(limit))
}

// RenewPRT renews the account's PRTs now, whatever their age; the zero Account
// means the only one. Renewal moves the expiry and nothing else.
func (b *Broker) RenewPRT(ctx context.Context, acct Account) (err error) {
	const op = "renew PRT"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return err
	}
	defer leave(&err)
	if _, err := b.devices.Load(ctx); err != nil {
		return opError(op, err)
	}
	a, rec, err := b.accountFor(ctx, acct)
	if err != nil {
		return opError(op, err)
	}
	alive := b.engine.Choices(rec)
	if len(alive) == 0 {
		return about(obituary(op, rec), nil, Account(rec.Account))
	}
	var errs []error
	for _, e := range alive {
		if _, err := b.engine.Renew(ctx, a, e.Token.Credential, true); err != nil {
			errs = append(errs, about(opError(op, err), nil, Account(rec.Account)))
		}
	}
	if len(errs) > 0 {
		return errs[0]
	}
	return nil
}
