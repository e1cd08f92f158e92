package sts

import (
	"context"
	"errors"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/sts/internal/retry"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// Do sends a request, repeats it where the policy allows that, and keeps away
// from an endpoint that asked for it or that keeps failing. It returns within
// ctx.
func (c *Client) Do(ctx context.Context, q Request) (*Reply, error) {
	if q.CorrelationID == "" {
		id, err := newGUID(c.cfg.Rand)
		if err != nil {
			return nil, err
		}
		q.CorrelationID = id
	}
	key := q.key()
	if err := c.throttled.Enter(key, endpointOf(q.URL), c.cfg.Now()); err != nil {
		return nil, circuitError(err)
	}
	report, err := c.circuits.Enter(endpointOf(q.URL), c.cfg.Now())
	if err != nil {
		return nil, circuitError(err)
	}
	for n := 1; ; n++ {
		span, end := c.cfg.Span(ctx, "request")
		began := c.cfg.Now()
		rep, sent, err := c.attempt(span, q)
		r := c.judge(ctx, q, rep, sent, err)
		if err == nil && !r.Stranger && q.Endpoint == TokenEndpoint {
			c.learnTime(rep, began)
		}
		rest := r.Rest()
		if rest > 0 {
			r.RetryAfter, rep.RetryAfter = rest, rest
		}
		c.throttled.Report(key, r, rest, c.cfg.Now())
		if r.Stranger {
			rep, err = nil, stranger(q, rep)
		}
		end(err)
		report(r, c.cfg.Now())
		wait, again := c.policy.Next(n, r, q.Once)
		if !again {
			return rep, err
		}
		if c.pause(ctx, wait) != nil {
			if ctx.Err() != nil {
				return nil, networkError(ctx, ctx.Err(), q.CorrelationID)
			}
			return rep, err // the wait would outlast the caller
		}
	}
}

func (c *Client) pause(ctx context.Context, d time.Duration) error {
	if c.Wait != nil {
		return c.Wait(ctx, d)
	}
	return retry.Wait(ctx, d)
}

// judge says what an attempt means for the next one.
func (c *Client) judge(ctx context.Context, q Request, rep *Reply, sent bool, err error) retry.Result {
	switch {
	case err != nil:
		return retry.Result{Err: err, Sent: sent, Stopped: ctx.Err() != nil}
	case !c.isServices(q, rep):
		return retry.Result{Status: rep.Status, RetryAfter: rep.RetryAfter, Stranger: true}
	case q.Endpoint == FederationServer: // a fault comes with 500, whatever it says (SOAP 1.2 Part 2, 7.5.2.2)
		return retry.Result{Status: rep.Status, Verdict: aadsts.Fail}
	}
	r := retry.Result{Status: rep.Status, RetryAfter: rep.RetryAfter}
	if !rep.OK() {
		e := prt.ParseError(rep.Status, rep.Body)
		entry := aadsts.Classify(e.Codes, e.Code, e.Suberror)
		r.Verdict, r.Loop = entry.Verdict, entry.Code == loop
	}
	return r
}

// loop is the code of a request that came again and again.
const loop = 50196

// endpointOf returns the host and the path of an address, for which there is
// one circuit. It appears in errors, so the user's name, in which the path of a
// realm ends, is cut off; the realms of all users are one endpoint.
func endpointOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	path := u.Path
	if strings.HasPrefix(path, wire.PathUserRealm) {
		path = wire.PathUserRealm
	}
	return u.Host + path
}

// circuitError converts the error of a request that was not sent.
func circuitError(err error) error {
	e := &Error{Verdict: aadsts.Retry, Cause: err, Detail: "the request was held back"}
	var open *retry.OpenError
	if errors.As(err, &open) {
		e.RetryAfter = open.Wait
		if open.Throttled {
			e.Verdict = aadsts.Throttled
		}
	}
	return e
}

// traffic observes what a transport reports of a request. Not every Transport
// reports.
type traffic struct {
	reports, wrote atomic.Bool
}

func (t *traffic) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn:      func(string) { t.reports.Store(true) },
		WroteHeaders: func() { t.wrote.Store(true) },
	}
}

// sent reports whether the service may have seen something of a request that
// ended in err.
func (t *traffic) sent(err error) bool {
	if t.reports.Load() {
		return t.wrote.Load()
	}
	return !retry.Unreachable(err)
}
