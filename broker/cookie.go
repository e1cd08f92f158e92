package broker

import (
	"context"
	"net/http"

	"github.com/prtbroker/prtbroker/broker/internal/signon"
	"github.com/prtbroker/prtbroker/prt"
)

const cookieOptions = optAccount | optNonce | optInsecureNoNonce

// SSOCookies returns the cookies that sign the account and the device in at
// signInURL, an https address of a sign-in host of the cloud. It takes
// WithAccount, WithNonce and WithInsecureNoNonce.
//
// The nonce is the sso_nonce of signInURL, that of WithNonce, or a new one from
// the service. A cookie is a session of the user, with MFA and device, for as
// long as its nonce lives, some minutes: give it to the page and to nothing
// else.
func (b *Broker) SSOCookies(ctx context.Context, signInURL string, opts ...CallOption) (_ []*http.Cookie, err error) {
	const op = "SSO cookie"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave(&err)
	c, err := b.cfg.options("SSOCookies", cookieOptions, opts)
	if err != nil {
		return nil, err
	}
	if _, err := b.devices.Load(ctx); err != nil {
		return nil, opError(op, err)
	}
	a, rec, err := b.accountFor(ctx, c.account)
	if err != nil {
		return nil, opError(op, err)
	}
	var cookie prt.Cookie
	err = b.engine.Use(ctx, a, func(t *prt.Token, s prt.Session) error {
		cookie, err = b.engine.Cookie(ctx, t, s, signon.CookieRequest{URL: signInURL, Nonce: c.nonce, InsecureNoNonce: c.insecureNoNonce})
		return err
	})
	if err != nil {
		return nil, about(opError(op, err), nil, Account(rec.Account))
	}
	return []*http.Cookie{{
		Name:     cookie.Name,
		Value:    cookie.Value.Reveal(),
		Path:     "/",
		Secure:   true,
		HttpOnly: true,
		SameSite: http.SameSiteNoneMode,
	}}, nil
}
