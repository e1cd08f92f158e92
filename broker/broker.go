package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/broker/internal/signon"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/internal/tokencache"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
)

// A Broker works for the accounts of one tenant on one device. It is safe for
// concurrent use. Make one with [New].
type Broker struct {
	cfg   Config
	sts   *sts.Client
	sleep func(context.Context, time.Duration) error

	onlineWait time.Duration // of Unlock, before it goes offline

	tokens   heldTokens
	flights  flights
	refusals refusals

	ring *vault.Keyring
	book *account.Book

	devices *device.Keeper
	engine  *signon.Engine
	signIns signIns

	pop atomic.Pointer[proofKey] // nil until it was asked for

	mu     sync.Mutex // guards all below; not held over I/O
	closed bool

	calls      sync.WaitGroup  // Add under mu, before closed
	background sync.WaitGroup  // Add by calls and flights, or under mu before closed
	ctx        context.Context // ends at Close
	cancel     context.CancelFunc
}

// Format prints the type's name and the tenant: fmt would otherwise show what
// is in memory, keys included.
func (b *Broker) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "Broker{%s}", b.cfg.Tenant) }

// New returns a broker over the state in cfg.Store. It makes no request.
//
// It returns ErrKeyUnusable when the registration in the store was made with
// keys other than those in cfg.Keys, for example after the TPM was cleared, and
// ErrStateDamaged when it cannot be read. Nothing is wiped. If the keys will
// not come back, use another, empty store or delete the directory of the
// [store.File], and register again; an administrator deletes the old device
// object.
//
// An account whose record cannot be read is not an error here: the others are
// served, Status describes it, calls for it fail, and RemoveAccount removes it.
func New(ctx context.Context, cfg Config) (*Broker, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	anywhere := cfg.Cloud.LoginHost == "" // otherwise Check wants the other hosts too
	cloud := sts.Cloud(cfg.Cloud).WithDefaults()
	if err := cloud.Check(); err != nil {
		return nil, fmt.Errorf("broker: Config.Cloud: %w", err)
	}
	cfg.Cloud = Cloud(cloud)
	cfg.fill()
	b := &Broker{
		cfg:        cfg,
		sleep:      sleep,
		onlineWait: onlineWait,
		sts: sts.New(sts.Config{
			Transport: cfg.Transport,
			UserAgent: cfg.UserAgent,
			Cloud:     cloud,
			Movable:   anywhere,
			Logger:    cfg.Logger,
			Now:       cfg.Now,
			Rand:      cfg.Rand,
			Span:      cfg.span,
		}),
	}
	b.ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
	b.signIns = signIns{cfg: &b.cfg, sts: b.sts}
	b.tokens = heldTokens{Cache: tokencache.New[*cachedToken](cfg.Cloud.graph(), 0), cfg: &b.cfg}
	b.ring = vault.NewKeyring(cfg.Keys, cfg.Store, cfg.Rand)
	b.book = account.NewBook(account.Config{Keys: cfg.Keys, Ring: b.ring, Store: cfg.Store, Rand: cfg.Rand, Logger: cfg.Logger, UserID: cfg.UserID, Now: cfg.Now, Finish: b.finish, Renamed: b.tokens.rename, Gone: b.tokens.drop})
	b.tokens.book = b.book
	b.devices = device.New(device.Config{Keys: cfg.Keys, Ring: b.ring, Store: cfg.Store, Rand: cfg.Rand, Logger: cfg.Logger, Now: cfg.Now, Sleep: b.rest,
		Services: b.sts, Tenant: cfg.Tenant, Type: cfg.Device.Type, DisplayName: cfg.Device.DisplayName, OSVersion: cfg.Device.OSVersion,
		Finish: b.finish, Gone: b.tokens.Clear,
	})
	b.engine = signon.New(signon.Config{
		Book: b.book, Devices: b.devices, Services: b.sts, Keys: cfg.Keys, Store: cfg.Store, Logger: cfg.Logger, Now: cfg.Now, Sleep: b.rest,
		Tenant: cfg.Tenant, OSVersion: cfg.Device.OSVersion, RequireEncrypted: cfg.RequireEncryptedReplies, Finish: b.finish, Span: cfg.span,
	})
	d, err := b.devices.Load(ctx)
	if err != nil && !errors.Is(err, device.ErrNone) {
		b.cancel()
		return nil, opError("open", err)
	}
	if d != nil {
		b.sts.Return(d.Record.Endpoints.Token)
	}
	unreadable, err := b.book.Refresh(ctx)
	if err != nil {
		_ = b.Close()
		return nil, opError("open", err)
	}
	if unreadable != nil {
		cfg.Logger.InfoContext(ctx, "an account is not readable", "error", unreadable)
	}
	return b, nil
}

func (c *Config) fill() {
	c.Tenant = strings.ToLower(c.Tenant)
	if c.Store == nil {
		c.Store = &store.Memory{}
	}
	if c.Transport == nil {
		c.Transport = sts.NewTransport()
	}
	if h, ok := c.Transport.(*http.Client); ok {
		stay := *h
		stay.CheckRedirect, stay.Jar = sts.NoRedirect, nil
		c.Transport = &stay
	}
	if c.UserAgent == "" {
		c.UserAgent = sts.DefaultUserAgent()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	c.Device.fill()
}

// Close ends calls that are under way, which return ErrClosed, and releases
// what the broker holds in the key store. It leaves Config.Keys and
// Config.Store open: they belong to the caller. A second call does nothing. A
// callback that a call waits for, such as RegisterRequest.Progress, must not
// call Close.
func (b *Broker) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	b.mu.Unlock()

	b.cancel()
	b.calls.Wait()
	b.flights.group.Close()
	b.engine.Close()
	b.devices.Stop()
	b.sts.Close()
	b.background.Wait()
	accounts := b.book.Close()
	b.flush(accounts)
	var errs []error
	for _, a := range accounts {
		errs = append(errs, a.Close())
	}
	errs = append(errs, b.devices.Close())
	if k := b.pop.Swap(nil); k != nil {
		errs = append(errs, k.signer.Close())
	}
	b.ring.Close()
	b.tokens.Clear()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("broker: close: %w", err)
	}
	return nil
}

// enter begins a call: its context also ends at Close, and Close waits for
// leave, which turns that cancellation into ErrClosed. A temporary failure that
// the call was about to report then becomes ErrClosed as well: this broker will
// not try again.
func (b *Broker) enter(ctx context.Context) (context.Context, func(*error), error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, nil, ErrClosed
	}
	b.calls.Add(1)
	inner, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(b.ctx, cancel)
	return inner, func(err *error) {
		closing := b.ctx.Err() != nil && ctx.Err() == nil
		if closing && (errors.Is(*err, context.Canceled) || errors.Is(*err, ErrTransient)) {
			*err = ErrClosed
		}
		stop()
		cancel()
		b.calls.Done()
	}, nil
}

// finishTime bounds work that goes on after its caller has gone away.
const finishTime = 10 * time.Second

// finish runs the part of a call that must not be lost, such as recording what
// the service has done. When ctx ends, finish returns and the work goes on, for
// finishTime at most. It is for calls between enter and leave, and for flights.
func (b *Broker) finish(ctx context.Context, work func(context.Context) error) error {
	done := make(chan error, 1)
	b.background.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
		defer cancel()
		done <- work(ctx)
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// rest waits for d, in a way that tests may replace.
func (b *Broker) rest(ctx context.Context, d time.Duration) error { return b.sleep(ctx, d) }

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
