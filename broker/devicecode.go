package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// A DeviceCode says what the user types, and where, to sign in from another
// machine.
type DeviceCode struct {
	UserCode        string
	VerificationURL string
	Message         string    // the service's sentence with the code and the address
	ExpiresOn       time.Time // the end of the code, as the service says and at most an hour from now

	result func(context.Context) (AuthResult, error)
}

// AuthenticationResult waits until the user is done on the other machine and
// returns the token. It asks as often as the service says, every 1 to 60 s (5 s if
// it does not say), until the code expires. It is for a code of
// AcquireTokenByDeviceCode.
func (d DeviceCode) AuthenticationResult(ctx context.Context) (AuthResult, error) {
	if d.result == nil {
		return AuthResult{}, errors.New("broker: this DeviceCode was not made by AcquireTokenByDeviceCode")
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
	c, err := b.cfg.options("AcquireTokenByDeviceCode", deviceCodeOptions, opts)
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
	if _, err := b.devices.Load(ctx); err != nil {
		return DeviceCode{}, opError(op, err)
	}
	mfa := c.claims != ""
	f, err := b.signIns.startBrokerCode(ctx, wire.ResourceRegistrationApp, mfa)
	if err != nil {
		return DeviceCode{}, opError(op, err)
	}
	show := shown(f)
	show.result = func(ctx context.Context) (_ AuthResult, err error) {
		ctx, leave, err := b.enter(ctx)
		if err != nil {
			return AuthResult{}, err
		}
		defer leave(&err)
		t, err := f.Tokens(ctx)
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
	return show, nil
}

func (b *Broker) unboundCode(ctx context.Context, op string, q tokenRequest) (DeviceCode, error) {
	v, err := q.unboundForm()
	if err != nil {
		return DeviceCode{}, err
	}
	f, err := b.sts.DeviceCode(ctx, q.tenant, wire.PathDeviceCodeV2, v, q.confirmation())
	if err != nil {
		return DeviceCode{}, err
	}
	show := shown(f)
	show.result = func(ctx context.Context) (_ AuthResult, err error) {
		ctx, leave, err := b.enter(ctx)
		if err != nil {
			return AuthResult{}, err
		}
		defer leave(&err)
		r, err := f.Tokens(ctx)
		if err != nil {
			return AuthResult{}, opError(op, err)
		}
		res, err := b.keepUnbound(ctx, op, q, r)
		return res, opError(op, err)
	}
	return show, nil
}

// interactive marks a result as obtained with the user present.
func interactive(r AuthResult, err error) (AuthResult, error) {
	if err == nil {
		r.Metadata.Source = SourceInteractive
	}
	return r, err
}
