package sts

import (
	"context"
	"net/url"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// noTenant stands for the tenant in requests that do not depend on one.
const noTenant = "common"

// Nonce returns a fresh nonce, from memory or from the service.
func (c *Client) Nonce(ctx context.Context) (string, error) {
	return c.nonces.Get(ctx, c.Cloud().LoginHost, c.cfg.Now, func(ctx context.Context) (string, error) {
		r, err := c.Post(ctx, noTenant, prt.NonceRequest(), ByUser, From{})
		if err != nil {
			return "", err
		}
		n, err := prt.ParseNonce(r.Body)
		if err != nil {
			return "", Malformed(r, err)
		}
		return n, nil
	})
}

// WithNonce runs send with a nonce, and once more with a new one when the
// service wants that. send returns the errors of this package as they are.
func (c *Client) WithNonce(ctx context.Context, send func(nonce string) error) error {
	for try := 0; ; try++ {
		nonce, err := c.Nonce(ctx)
		if err != nil {
			return err
		}
		err = send(nonce)
		if said(err) != aadsts.NewNonce || try > 0 {
			return err
		}
		c.nonces.Refuse(c.Cloud().LoginHost, nonce)
	}
}

// Post sends a form to the token endpoint. An error reply, whatever its status,
// is an [*Error]; so is a redirect.
func (c *Client) Post(ctx context.Context, tenant string, f prt.Form, by By, from From) (*Reply, error) {
	if err := c.Verify(ctx); err != nil {
		return nil, err
	}
	for {
		at := c.place.Load()
		q := form(at.Login(tenant, f.Path), f.Values)
		q.CorrelationID, q.From, q.Once = from.CorrelationID, from, usedUp(f.Values, by)
		r, err := c.Do(ctx, q)
		if err != nil {
			return nil, err
		}
		if r.OK() {
			if tenant != noTenant {
				c.found.Store(true)
			}
			return r, nil
		}
		e := Refusal(r, by)
		if e.Verdict != aadsts.SwitchCloud || !c.moveTo(at, e.description) {
			return nil, e
		}
	}
}

// usedUp reports whether a request presents something that must not be handled
// twice: a code is good for one use, and a wrong password counts each time.
func usedUp(v url.Values, by By) bool {
	switch v.Get("grant_type") {
	case wire.GrantPassword, wire.GrantAuthCode, wire.GrantSAML11, wire.GrantSAML20:
		return true
	case wire.GrantJWTBearer:
		return by != ByPRT
	}
	return false
}

// Grant sends an ordinary OAuth grant and reads its plain reply.
func (c *Client) Grant(ctx context.Context, tenant, path string, values url.Values) (*prt.Reply, error) {
	values.Set("client_info", "1")
	r, err := c.Post(ctx, tenant, prt.Form{Path: path, Values: values}, ByUser, From{})
	if err != nil {
		return nil, err
	}
	tokens, err := prt.ParseTokens(r.Body)
	if err != nil {
		return nil, Unreadable(r, err, ByUser)
	}
	return tokens, nil
}
