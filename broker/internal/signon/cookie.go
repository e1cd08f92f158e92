package signon

import (
	"context"
	"errors"

	"github.com/prtbroker/prtbroker/prt"
)

// An AddressError reports an address that no cookie may go to.
type AddressError struct{ Err error }

// Error says what is wrong with the address.
func (e *AddressError) Error() string { return "broker: no cookie for that address: " + e.Err.Error() }

// Unwrap returns what is wrong with the address.
func (e *AddressError) Unwrap() error { return e.Err }

// A CookieRequest is where a cookie goes.
type CookieRequest struct {
	URL             string
	Nonce           string // empty: that of the address, or a new one
	InsecureNoNonce bool
}

// Cookie signs the account and the device in at an address of a sign-in host.
func (e *Engine) Cookie(ctx context.Context, t *prt.Token, s prt.Session, q CookieRequest) (prt.Cookie, error) {
	if err := e.cfg.Services.Verify(ctx); err != nil {
		return prt.Cookie{}, err // whoever gets the cookie is signed in by it
	}
	req := prt.CookieRequest{
		PRT:             t.PRT,
		URL:             q.URL,
		Nonce:           q.Nonce,
		Hosts:           append([]string{e.cfg.Services.Cloud().LoginHost}, e.cfg.Services.Cloud().Aliases...),
		InsecureNoNonce: q.InsecureNoNonce,
		Now:             e.cfg.Services.Now(),
		Client:          prt.CookieClient{OSVersion: e.cfg.OSVersion},
	}
	cookie, err := req.Sign(ctx, s)
	if err == nil || !errors.Is(err, prt.ErrRequest) || q.Nonce != "" || q.InsecureNoNonce {
		return cookie, cookieError(err)
	}
	// Either the address may not have a cookie, which a nonce does not change, or
	// it lacks a nonce.
	nonce, nerr := e.cfg.Services.Nonce(ctx)
	if nerr != nil {
		return prt.Cookie{}, nerr
	}
	req.Nonce = nonce
	cookie, err = req.Sign(ctx, s)
	return cookie, cookieError(err)
}

func cookieError(err error) error {
	if errors.Is(err, prt.ErrRequest) {
		return &AddressError{err}
	}
	return err
}
