// Package nonce keeps the nonces of the sign-in service, which sign requests
// and SSO cookies, for as long as they may be used again.
package nonce

import (
	"context"
	"sync"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/flight"
	"github.com/prtbroker/prtbroker/internal/clock"
)

// Life is how long a nonce is used, counted from before it was asked for. The
// service accepts one for five minutes, for any number of requests; Microsoft
// does not document either, and its own Apple library keeps one for three.
const Life = 3 * time.Minute

// A Cache keeps one nonce per environment. Its zero value is empty and ready.
// It is safe for concurrent use.
type Cache struct {
	flights flight.Group[string, string]

	mu   sync.Mutex // guards held
	held map[string]held
}

type held struct {
	nonce string
	until time.Time
}

// Get returns a nonce of the environment, such as a login host, that is
// usable at the time that now returns. When it holds none it fetches one;
// callers who need one at the same time share the request.
func (c *Cache) Get(ctx context.Context, environment string, now func() time.Time, fetch func(context.Context) (string, error)) (string, error) {
	if n := c.fresh(environment, now()); n != "" {
		return n, nil
	}
	n, _, err := c.flights.Do(ctx, environment, func(ctx context.Context) (string, error) {
		asked := now()
		if n := c.fresh(environment, asked); n != "" {
			return n, nil // another call brought it in the meantime
		}
		n, err := fetch(ctx)
		if err != nil {
			return "", err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.held == nil {
			c.held = map[string]held{}
		}
		c.held[environment] = held{n, asked.Add(Life)}
		return n, nil
	})
	return n, err
}

func (c *Cache) fresh(environment string, now time.Time) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.held[environment]
	// Neither a suspend nor a clock that was set back keeps a nonce alive.
	if left := clock.Left(h.until, now); left <= 0 || left > Life {
		return ""
	}
	return h.nonce
}

// Refuse forgets a nonce that the service did not accept, unless another one
// has taken its place already.
func (c *Cache) Refuse(environment, nonce string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[environment].nonce == nonce {
		delete(c.held, environment)
	}
}

// Close cancels what is being fetched and waits for it.
func (c *Cache) Close() { c.flights.Close() }
