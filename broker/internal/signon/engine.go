// Package signon uses Primary Refresh Tokens: it gets one by a sign-in, picks
// the strongest, renews it when that is due, exchanges it for tokens, and
// records what follows from the answers of the service.
package signon

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/broker/internal/flight"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// ErrOtherUser: a user other than the one asked for signed in.
var ErrOtherUser = errors.New("broker: another user signed in than the one who was asked for")

// A Config says what an engine works with. No field is optional.
type Config struct {
	Book     *account.Book
	Devices  *device.Keeper
	Services *sts.Client
	Keys     tpm.KeyStore
	Store    store.Store
	Logger   *slog.Logger
	Now      func() time.Time
	Sleep    func(context.Context, time.Duration) error

	Tenant    string // an id or a verified domain, in lower case
	OSVersion string

	// RequireEncrypted refuses an unencrypted answer to a request that the
	// session key signed.
	RequireEncrypted bool

	// Finish runs work that must be written even if the caller's context ends,
	// and returns within that context.
	Finish func(ctx context.Context, work func(context.Context) error) error
	// Span begins a span of a trace and returns what ends it.
	Span func(ctx context.Context, operation string) (context.Context, func(error))
}

// An Engine uses the PRTs of the accounts.
type Engine struct {
	cfg      Config
	renewals flight.Group[renewal, *prt.Token]
	inClear  sync.Once                       // a token in the clear is logged once
	stranger atomic.Pointer[account.Attempt] // the last failed sign-in of a user without an account here
	hangs    atomic.Int64                    // until when the store is left alone (aside), in nanoseconds of the Unix time
}

// New returns an engine. It makes no request.
func New(cfg Config) *Engine { return &Engine{cfg: cfg} }

// Close ends the renewals that calls share.
func (e *Engine) Close() { e.renewals.Close() }

// over reports whether the service said that a PRT is revoked or expired.
func over(err error) bool {
	var said *sts.Error
	var dead *account.Death
	return errors.As(err, &said) && said.Over() || errors.As(err, &dead)
}

// verdict returns the service's verdict; None when err is not from the service.
func verdict(err error) aadsts.Verdict {
	var said *sts.Error
	if errors.As(err, &said) && said.Said {
		return said.Verdict
	}
	return aadsts.None
}
