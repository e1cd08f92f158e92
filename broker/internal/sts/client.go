// Package sts talks to the services: the token endpoint and its pages, the
// device registration service, and the federation server of a domain. It knows
// which national cloud they are in, when a request may be sent again, and how
// to get a nonce.
//
// Failures are an [*Error]. It tells what the service said from what this side
// concludes, since only the former changes state.
package sts

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/flight"
	"github.com/prtbroker/prtbroker/broker/internal/sts/internal/nonce"
	"github.com/prtbroker/prtbroker/broker/internal/sts/internal/retry"
)

// A Transport sends requests. It follows no redirect.
type Transport interface {
	Do(*http.Request) (*http.Response, error)
}

// A Config says what a client works with. Every field is required.
type Config struct {
	Transport Transport
	UserAgent string
	Cloud     Cloud
	Movable   bool // a reply may name another cloud as the tenant's
	Logger    *slog.Logger
	Now       func() time.Time
	Rand      io.Reader
	// Span begins a span of a trace and returns what ends it.
	Span func(ctx context.Context, operation string) (context.Context, func(error))
}

// A Client talks to the services of one tenant's cloud. It is safe for
// concurrent use.
type Client struct {
	// Wait replaces how the client waits between requests. Nil: by a timer. It
	// is set before the client is used.
	Wait func(context.Context, time.Duration) error

	cfg       Config
	place     atomic.Pointer[place]
	policy    retry.Policy
	circuits  retry.Breaker
	throttled retry.Throttle
	found     atomic.Bool  // the tenant answered in this cloud
	offset    atomic.Int64 // nanoseconds by which the service's clock is ahead
	nonces    nonce.Cache
	instances flight.Group[string, struct{}]
}

// New returns a client. It makes no request.
func New(cfg Config) *Client {
	c := &Client{cfg: cfg}
	c.place.Store(&place{Cloud: cfg.Cloud, movable: cfg.Movable, known: cfg.Cloud.known()})
	return c
}

// Close ends the requests that calls share, which then return
// [flight.ErrClosed].
func (c *Client) Close() {
	c.instances.Close()
	c.nonces.Close()
}
