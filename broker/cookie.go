package broker

import (
	"context"
	"errors"
	"net/http"

	"github.com/prtbroker/prtbroker/prt"
)

const cookieOptions = optAccount | optNonce | optInsecureNoNonce

// SSOCookies returns the cookies that sign the account and the device in at
// signInURL, an https address of a sign-in host of the cloud. It takes
// WithAccount, WithNonce and InsecureNoNonce.
//
// The nonce is the sso_nonce of signInURL, that of WithNonce, or a new one of
// the service. A cookie is a session of the user with MFA and device for as
// long as its nonce lives, some minutes: hand it to nobody but the page.
func (b *Broker) SSOCookies(ctx context.Context, signInURL string, opts ...CallOption) (_ []*http.Cookie, err error) {
	const op = "SSO cookie"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave(&err)
	c, err := b.call("SSOCookies", cookieOptions, opts)
	if err != nil {
		return nil, err
	}
	if _, err := b.devices.Load(ctx); err != nil {
		return nil, opError(op, err)
	}
	a, rec, err := b.find(ctx, c.account)
	if err != nil {
		return nil, opError(op, err)
	}
	var cookie prt.Cookie
	err = b.withPRT(ctx, op, a, func(t *prt.Token, s prt.Session) error {
		cookie, err = b.signCookie(ctx, op, signInURL, c, t, s)
		return err
	})
	if err != nil {
		return nil, b.about(opError(op, err), nil, Account(rec.Account))
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

func (b *Broker) signCookie(ctx context.Context, op, address string, c call, t *prt.Token, s prt.Session) (prt.Cookie, error) {
	if err := b.sts.Verify(ctx); err != nil {
		return prt.Cookie{}, opError(op, err) // whoever gets the cookie is signed in by it
	}
	req := prt.CookieRequest{
		PRT:             t.PRT,
		URL:             address,
		Nonce:           c.nonce,
		Hosts:           append([]string{b.cloud().LoginHost}, b.cloud().Aliases...),
		InsecureNoNonce: c.insecureNoNonce,
		Now:             b.cfg.Now(),
		Client:          prt.CookieClient{OSVersion: b.cfg.Device.OSVersion},
	}
	cookie, err := req.Sign(ctx, s)
	if err == nil || !errors.Is(err, prt.ErrRequest) || c.nonce != "" || c.insecureNoNonce {
		return cookie, cookieError(op, err)
	}
	// Either the address is not one that a cookie may go to, which a nonce
	// does not change, or it lacks a nonce.
	nonce, nerr := b.sts.Nonce(ctx)
	if nerr != nil {
		return prt.Cookie{}, opError(op, nerr)
	}
	req.Nonce = nonce
	cookie, err = req.Sign(ctx, s)
	return cookie, cookieError(op, err)
}

func cookieError(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, prt.ErrRequest):
		return &Error{Op: op, detail: "no cookie for that address", cause: err}
	}
	return keyError(op, err)
}
