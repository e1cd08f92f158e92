package sts

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/clock"
	"github.com/prtbroker/prtbroker/internal/strictjson"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// A DeviceCode says what the user types, and where, to sign in from another
// machine (RFC 8628), and how to wait for that.
type DeviceCode struct {
	UserCode        string
	VerificationURL string
	Message         string // the service's sentence with the code and the address
	ExpiresOn       time.Time

	c            *Client
	code         string
	interval     time.Duration
	tenant, path string // of the token endpoint
	redeem       url.Values
}

const (
	minInterval     = time.Second
	maxInterval     = time.Minute
	defaultInterval = 5 * time.Second
	slowDown        = 5 * time.Second
	maxCodeLife     = time.Hour
	maxCodeReply    = 64 << 10
)

// DeviceCode asks a tenant for a device code, v1 or v2. boundTo names the key that the
// token is bound to, as for [Bind]; empty: a bearer token.
func (c *Client) DeviceCode(ctx context.Context, tenant, path string, v url.Values, boundTo string) (*DeviceCode, error) {
	r, err := c.Post(ctx, tenant, prt.Form{Path: path, Values: v}, ByUser, From{})
	if err != nil {
		return nil, err
	}
	d, err := c.parseDeviceCode(r.Body)
	if err != nil {
		return nil, Malformed(r, err)
	}
	redeem := url.Values{"grant_type": {wire.GrantDeviceCode}, "client_id": v["client_id"]}
	token := wire.PathTokenV2
	if path == wire.PathDeviceCode {
		token = wire.PathToken
		redeem.Set("resource", v.Get("resource"))
		redeem.Set("code", d.code)
	} else {
		redeem.Set("device_code", d.code)
	}
	if v.Has("claims") { // at both endpoints, like the claims of a [Visit]
		redeem["claims"] = v["claims"]
	}
	Bind(redeem, boundTo)
	d.tenant, d.path, d.redeem = tenant, token, redeem
	return d, nil
}

func (c *Client) parseDeviceCode(body []byte) (*DeviceCode, error) {
	o, err := strictjson.Parse(body, maxCodeReply)
	if err != nil {
		return nil, prt.ErrReply
	}
	life := min(time.Duration(o.Int("expires_in"))*time.Second, maxCodeLife)
	if life <= 0 {
		life = maxCodeLife
	}
	d := &DeviceCode{
		UserCode:        o.String("user_code"),
		VerificationURL: o.String("verification_url"),
		Message:         o.String("message"),
		ExpiresOn:       c.cfg.Now().Add(life),
		c:               c,
		code:            o.String("device_code"),
		interval:        time.Duration(o.Int("interval")) * time.Second,
	}
	if d.interval < minInterval || d.interval > maxInterval {
		d.interval = defaultInterval
	}
	if d.VerificationURL == "" {
		d.VerificationURL = o.String("verification_uri")
	}
	if o.Err() != nil || d.code == "" || d.UserCode == "" {
		return nil, prt.ErrReply
	}
	return d, nil
}

// Tokens polls until the user is done (RFC 8628 3.5).
func (d *DeviceCode) Tokens(ctx context.Context) (*prt.Reply, error) {
	interval := d.interval
	for {
		r, err := d.c.Grant(ctx, d.tenant, d.path, d.redeem)
		var e *Error
		if err == nil || !errors.As(err, &e) {
			return r, err
		}
		next, again := nextPoll(e, interval)
		if !again {
			return nil, err
		}
		left := clock.Left(d.ExpiresOn, d.c.cfg.Now())
		if left <= 0 {
			return nil, &Error{Verdict: aadsts.Interact, Detail: "the device code has expired"}
		}
		interval = next
		if err := d.c.sleep(ctx, min(max(interval, e.RetryAfter), left)); err != nil {
			return nil, err
		}
	}
}

func (c *Client) sleep(ctx context.Context, d time.Duration) error {
	if c.Wait != nil {
		return c.Wait(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// nextPoll returns the interval after a poll that ended in e; false when it was
// the last one. The user takes minutes, so a temporary failure, of the network
// too, slows polling down (RFC 8628 3.5) and does not end it.
func nextPoll(e *Error, interval time.Duration) (time.Duration, bool) {
	switch {
	case e.Said && e.Verdict == aadsts.Pending:
		if e.OAuth == "slow_down" {
			interval += slowDown
		}
		return interval, true
	case e.Transient():
		if interval < maxInterval {
			interval += slowDown
		}
		return interval, true
	}
	return 0, false
}
