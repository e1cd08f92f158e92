package broker

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/clock"
	"github.com/prtbroker/prtbroker/internal/strictjson"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// A DeviceCode is what the user types where to sign in from another machine.
type DeviceCode struct {
	UserCode        string
	VerificationURL string
	Message         string // the service's sentence with both
	ExpiresOn       time.Time

	result func(context.Context) (AuthResult, error)
}

// AuthenticationResult waits until the user is done on the other machine and
// returns the token, for a code of AcquireTokenByDeviceCode.
func (d DeviceCode) AuthenticationResult(ctx context.Context) (AuthResult, error) {
	if d.result == nil {
		return AuthResult{}, errors.New("broker: this device code is not one of AcquireTokenByDeviceCode")
	}
	return d.result(ctx)
}

const deviceCodeOptions = optAccount | optApp | optTenant | optClaims | optCAE | optPoP

// AcquireTokenByDeviceCode returns a code with which the user signs in on
// another machine; after it has been shown, its AuthenticationResult waits for
// the user and returns the token. It takes WithAccount, which then must be the
// user who signs in, WithApp, WithTenantID, WithClaims, WithCAE and WithPoP.
//
// On a registered device the user signs in for the broker client and gets a
// new PRT, which serves all apps silently afterwards. The sign-in itself
// carries no device, and the tenant's policies may block it for that.
func (b *Broker) AcquireTokenByDeviceCode(ctx context.Context, scopes []string, opts ...CallOption) (_ DeviceCode, err error) {
	const op = "acquire token by device code"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return DeviceCode{}, err
	}
	defer leave(&err)
	c, err := b.call("AcquireTokenByDeviceCode", deviceCodeOptions, opts)
	if err != nil {
		return DeviceCode{}, err
	}
	scopes = slices.Clone(scopes)
	q, err := b.resolveApp(ctx, c, scopes)
	if err != nil {
		return DeviceCode{}, opError(op, err)
	}
	if b.unregistered(ctx) {
		dc, err := b.unboundCode(ctx, op, q)
		return dc, opError(op, err)
	}
	if _, err := b.loadDevice(ctx); err != nil {
		return DeviceCode{}, opError(op, err)
	}
	mfa := c.claims != ""
	f, err := b.startBrokerCode(ctx, op, b.registrationResource(), mfa)
	if err != nil {
		return DeviceCode{}, opError(op, err)
	}
	f.show.result = func(ctx context.Context) (_ AuthResult, err error) {
		ctx, leave, err := b.enter(ctx)
		if err != nil {
			return AuthResult{}, err
		}
		defer leave(&err)
		t, err := f.poll(ctx)
		if err != nil {
			return AuthResult{}, opError(op, err)
		}
		from := provenanceOf(DeviceCodeFlow{MFA: mfa}, t, b.cfg.Now())
		in, err := b.issue(ctx, op, prt.RefreshTokenGrant{Token: t.RefreshToken}, from, c.account)
		if err != nil {
			return AuthResult{}, opError(op, err)
		}
		c := c
		c.account, c.forceRefresh = in.Account, true
		return interactive(b.acquire(ctx, c, scopes))
	}
	return f.show, nil
}

func (b *Broker) unboundCode(ctx context.Context, op string, q tokenRequest) (DeviceCode, error) {
	v, err := b.unboundForm(q)
	if err != nil {
		return DeviceCode{}, err
	}
	f, err := b.startDeviceCode(ctx, op, q.tenant, wire.PathDeviceCodeV2, v)
	if err != nil {
		return DeviceCode{}, err
	}
	f.show.result = func(ctx context.Context) (_ AuthResult, err error) {
		ctx, leave, err := b.enter(ctx)
		if err != nil {
			return AuthResult{}, err
		}
		defer leave(&err)
		r, err := f.poll(ctx)
		if err != nil {
			return AuthResult{}, opError(op, err)
		}
		res, err := b.keepUnbound(ctx, op, q, r)
		return res, opError(op, err)
	}
	return f.show, nil
}

// interactive marks a result that the user was present for.
func interactive(r AuthResult, err error) (AuthResult, error) {
	if err == nil {
		r.Metadata.Source = SourceInteractive
	}
	return r, err
}

const (
	minInterval     = time.Second
	maxInterval     = time.Minute
	defaultInterval = 5 * time.Second
	slowDown        = 5 * time.Second
	maxCodeLife     = time.Hour
	maxCodeReply    = 64 << 10
)

// deviceFlow is a device code that was asked for: what to show, and how to wait
// for the user.
type deviceFlow struct {
	show DeviceCode
	poll func(context.Context) (*prt.Reply, error)
}

// byDeviceCode signs in on another machine for the broker client.
func (b *Broker) byDeviceCode(ctx context.Context, op, resource string, mfa bool) (*brokerToken, error) {
	f, err := b.startBrokerCode(ctx, op, resource, mfa)
	if err != nil {
		return nil, err
	}
	if err := b.showDeviceCode(ctx, op, f.show); err != nil {
		return nil, err
	}
	return f.poll(ctx)
}

func (b *Broker) showDeviceCode(ctx context.Context, op string, dc DeviceCode) error {
	if b.cfg.Prompter == nil {
		return &Error{Op: op, kind: ErrInteractionRequired, detail: "the user is needed, and Config.Prompter is nil"}
	}
	_, err := prompt(ctx, func() (struct{}, error) { return struct{}{}, b.cfg.Prompter.DeviceCode(ctx, dc) })
	return opError(op, err)
}

// startBrokerCode asks for a device code of the broker client, whose refresh
// token can become a PRT.
func (b *Broker) startBrokerCode(ctx context.Context, op, resource string, mfa bool) (*deviceFlow, error) {
	v := url.Values{"client_id": {wire.ClientBroker}, "resource": {resource}}
	if mfa {
		v.Set("amr_values", "ngcmfa")
	}
	return b.startDeviceCode(ctx, op, b.cfg.Tenant, wire.PathDeviceCode, v)
}

// startDeviceCode asks a tenant for a device code, v1 or v2.
func (b *Broker) startDeviceCode(ctx context.Context, op, tenant, path string, v url.Values) (*deviceFlow, error) {
	r, err := b.post(ctx, op, tenant, prt.Form{Path: path, Values: v}, grantUser, "")
	if err != nil {
		return nil, err
	}
	dc, code, interval, err := b.parseDeviceCode(r)
	if err != nil {
		return nil, malformed(op, r, err)
	}
	redeem := url.Values{"grant_type": {wire.GrantDeviceCode}, "client_id": v["client_id"]}
	token := wire.PathTokenV2
	if path == wire.PathDeviceCode {
		token = wire.PathToken
		redeem.Set("resource", v.Get("resource"))
		redeem.Set("code", code)
	} else {
		redeem.Set("device_code", code)
	}
	return &deviceFlow{show: dc, poll: func(ctx context.Context) (*prt.Reply, error) {
		return b.poll(ctx, op, dc, interval, tenant, token, redeem)
	}}, nil
}

func (b *Broker) parseDeviceCode(r *reply) (dc DeviceCode, code string, interval time.Duration, err error) {
	o, err := strictjson.Parse(r.body, maxCodeReply)
	if err != nil {
		return dc, "", 0, prt.ErrReply
	}
	life := time.Duration(o.Int("expires_in")) * time.Second
	if life <= 0 || life > maxCodeLife {
		life = maxCodeLife
	}
	interval = time.Duration(o.Int("interval")) * time.Second
	if interval < minInterval || interval > maxInterval {
		interval = defaultInterval
	}
	code = o.String("device_code")
	dc = DeviceCode{
		UserCode:        o.String("user_code"),
		VerificationURL: o.String("verification_url"),
		Message:         o.String("message"),
		ExpiresOn:       b.cfg.Now().Add(life),
	}
	if dc.VerificationURL == "" {
		dc.VerificationURL = o.String("verification_uri")
	}
	if o.Err() != nil || code == "" || dc.UserCode == "" {
		return dc, "", 0, prt.ErrReply
	}
	return dc, code, interval, nil
}

// poll asks until the user is done (RFC 8628 3.5).
func (b *Broker) poll(ctx context.Context, op string, dc DeviceCode, interval time.Duration, tenant, path string, v url.Values) (*prt.Reply, error) {
	for {
		r, err := b.grant(ctx, op, tenant, path, v)
		if err == nil {
			return r, nil
		}
		next, again := nextPoll(err, interval)
		if !again {
			return nil, err
		}
		left := clock.Left(dc.ExpiresOn, b.cfg.Now())
		if left <= 0 {
			return nil, &Error{Op: op, kind: ErrInteractionRequired, detail: "the device code has expired"}
		}
		interval = next
		if err := b.sleep(ctx, min(max(interval, retryAfter(err)), left)); err != nil {
			return nil, opError(op, err)
		}
	}
}

// nextPoll returns the interval after a poll that ended in err; false when it
// was the last one. The user takes minutes, so that passing trouble, also of
// the network, slows it down (RFC 8628 3.5) and does not end it.
func nextPoll(err error, interval time.Duration) (time.Duration, bool) {
	switch {
	case action(err) == aadsts.Pending:
		if oauthError(err) == "slow_down" {
			interval += slowDown
		}
		return interval, true
	case errors.Is(err, ErrTransient):
		if interval < maxInterval {
			interval += slowDown
		}
		return interval, true
	}
	return 0, false
}

// retryAfter returns how long an error asks to wait.
func retryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

var aadstsPattern = regexp.MustCompile(`^AADSTS(\d{1,9})\b`)

func oauthError(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.OAuth
	}
	return ""
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
