package broker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/tokencache"
)

// SetSleep replaces how b waits between tries.
func SetSleep(b *Broker, f func(context.Context, time.Duration) error) { b.sleep, b.sts.Wait = f, f }

// WaitBackground waits for the work in the background that b has begun.
func WaitBackground(b *Broker) { b.background.Wait() }

// Multiply keeps the token of the only account for Graph for so many apps.
func Multiply(b *Broker, apps int) {
	c := callOptions{account: Account(*b.book.Only()), app: b.cfg.App}
	res, ok := b.tokens.inMemory(&c, []string{b.cfg.Cloud.graph() + "/.default"}, b.cfg.Now())
	if !ok {
		panic("no token to multiply")
	}
	for i := 1; i < apps; i++ {
		c.app.ClientID = fmt.Sprintf("22222222-aaaa-4bbb-8ccc-%012d", i)
		q := tokenRequest{callOptions: c, set: tokencache.Set{b.cfg.Cloud.graph() + "/.default"}}
		q.belongsTo(c.account)
		b.tokens.remember(q, res)
	}
}

// CachedTokens is how many tokens are in memory.
func CachedTokens(b *Broker) int { return b.tokens.Len() }

// SetOnlineWait replaces how long Unlock waits for the service.
func SetOnlineWait(b *Broker, d time.Duration) { b.onlineWait = d }

// NoticeDevice looks for what other processes did to the registration, as Run
// does.
func NoticeDevice(ctx context.Context, b *Broker) { _ = b.devices.Notice(ctx) }

// HeldAccounts is how many accounts b holds.
func HeldAccounts(b *Broker) int { return b.book.Len() }

// Canceled is closed when Close has cancelled what was under way.
func Canceled(b *Broker) <-chan struct{} { return b.ctx.Done() }

// Watch is what Run does each second.
func Watch(ctx context.Context, b *Broker) error {
	if err := b.devices.Notice(ctx); err != nil {
		return err
	}
	_, err := b.book.Refresh(ctx)
	return err
}

// SteppingUp is how many calls wait for a step-up that they may share.
func SteppingUp(b *Broker) int {
	return b.flights.group.Waiters(func(key string) bool { return strings.HasPrefix(key, "step up ") })
}

// Refresh refreshes a token in the background, as a call does that finds it due.
func Refresh(b *Broker) { b.goBackground(callOptions{}, nil, &cachedToken{}) }

// HelloUsername is the name under which the Hello key of the only account signs.
func HelloUsername(ctx context.Context, b *Broker) string {
	_, rec, err := b.accountFor(ctx, Account{})
	if err != nil {
		panic(err)
	}
	return rec.Hello.Username
}
