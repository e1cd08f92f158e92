package broker

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/prtbroker/prtbroker/internal/aadsts"
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
}

const (
	minInterval     = time.Second
	defaultInterval = 5 * time.Second
	slowDown        = 5 * time.Second
	maxCodeLife     = time.Hour
	maxCodeReply    = 64 << 10
)

// byDeviceCode signs in on another machine for the broker client.
func (b *Broker) byDeviceCode(ctx context.Context, op, resource string, mfa bool) (*brokerToken, error) {
	if b.cfg.Prompter == nil {
		return nil, &Error{Op: op, kind: ErrInteractionRequired, detail: "the user is needed, and Config.Prompter is nil"}
	}
	v := url.Values{"client_id": {wire.ClientBroker}, "resource": {resource}}
	if mfa {
		v.Set("amr_values", "ngcmfa")
	}
	r, err := b.post(ctx, op, b.cfg.Tenant, prt.Form{Path: wire.PathDeviceCode, Values: v}, grantUser, "")
	if err != nil {
		return nil, err
	}
	dc, code, interval, err := b.parseDeviceCode(r)
	if err != nil {
		return nil, malformed(op, r, err)
	}
	if err := b.cfg.Prompter.DeviceCode(ctx, dc); err != nil {
		return nil, opError(op, promptError(ctx, err))
	}
	return b.poll(ctx, op, dc, interval, url.Values{
		"grant_type": {wire.GrantDeviceCode},
		"client_id":  {wire.ClientBroker},
		"resource":   {resource},
		"code":       {code},
	})
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
	if interval < minInterval || interval > time.Minute {
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
func (b *Broker) poll(ctx context.Context, op string, dc DeviceCode, interval time.Duration, v url.Values) (*prt.Reply, error) {
	for {
		r, err := b.grant(ctx, op, b.cfg.Tenant, wire.PathToken, v)
		switch a := action(err); {
		case err == nil:
			return r, nil
		case a == aadsts.Throttled, a == aadsts.Retry:
			interval += slowDown
		case a != aadsts.Pending:
			return nil, err
		case oauthError(err) == "slow_down":
			interval += slowDown
		}
		if !b.cfg.Now().Before(dc.ExpiresOn) {
			return nil, &Error{Op: op, kind: ErrInteractionRequired, detail: "the device code has expired"}
		}
		if err := b.sleep(ctx, interval); err != nil {
			return nil, opError(op, err)
		}
	}
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
