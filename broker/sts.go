package broker

import (
	"bytes"
	"context"
	"errors"
	"net/url"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// nonce returns a fresh nonce, from memory or from the service.
func (b *Broker) nonce(ctx context.Context) (string, error) {
	n, err := b.nonces.Get(ctx, b.cloud().LoginHost, b.cfg.Now, func(ctx context.Context) (string, error) {
		body, err := b.post(ctx, "nonce", "common", prt.NonceRequest(), grantUser, "")
		if err != nil {
			return "", err
		}
		n, err := prt.ParseNonce(body.body)
		if err != nil {
			return "", malformed("nonce", body, err)
		}
		return n, nil
	})
	return n, closedError(err)
}

// withNonce runs send with a nonce, and once more with a new one when the
// service wants that.
func (b *Broker) withNonce(ctx context.Context, send func(nonce string) error) error {
	for try := 0; ; try++ {
		nonce, err := b.nonce(ctx)
		if err != nil {
			return err
		}
		err = send(nonce)
		if action(err) != aadsts.NewNonce || try > 0 {
			return err
		}
		b.nonces.Refuse(b.cloud().LoginHost, nonce)
	}
}

// post sends a form to the token endpoint. An error reply, with whatever
// status, is an Error; a redirect is one too.
func (b *Broker) post(ctx context.Context, op, tenant string, f prt.Form, g grantKind, correlationID string) (*reply, error) {
	if err := b.verifyCloud(ctx); err != nil {
		return nil, opError(op, err)
	}
	for {
		at := b.place.Load()
		q := form(at.login(tenant, f.Path), f.Values)
		q.correlationID, q.once = correlationID, usedUp(f.Values, g)
		r, err := b.client.do(ctx, q)
		if err != nil {
			return nil, opError(op, err)
		}
		if r.ok() {
			return r, nil
		}
		reply := prt.ParseError(r.status, r.body)
		e := serviceError(op, reply, r, g, b.cfg.Now())
		if e.action != aadsts.SwitchCloud || !b.moveTo(at, reply.Description) {
			return nil, e
		}
	}
}

// usedUp reports whether a request presents what must not be handled twice: a
// code is good for one use, and a wrong password counts each time.
func usedUp(v url.Values, g grantKind) bool {
	switch v.Get("grant_type") {
	case wire.GrantPassword, wire.GrantAuthCode, wire.GrantSAML11, wire.GrantSAML20:
		return true
	case wire.GrantJWTBearer:
		return g != grantPRT
	}
	return false
}

// grant sends an ordinary OAuth grant and reads its plain reply.
func (b *Broker) grant(ctx context.Context, op, tenant, path string, values url.Values) (*prt.Reply, error) {
	values.Set("client_info", "1")
	r, err := b.post(ctx, op, tenant, prt.Form{Path: path, Values: values}, grantUser, "")
	if err != nil {
		return nil, err
	}
	tokens, err := prt.ParseTokens(r.body)
	if err != nil {
		return nil, b.readError(op, r, err, grantUser)
	}
	return tokens, nil
}

// readError is an error of reading a reply whose status was 2xx.
func (b *Broker) readError(op string, r *reply, err error, g grantKind) error {
	var e *prt.ErrorReply
	if errors.As(err, &e) {
		return serviceError(op, e, r, g, b.cfg.Now())
	}
	return malformed(op, r, err)
}

// malformed is a reply that is not what the protocol says, such as a captive
// portal's page.
func malformed(op string, r *reply, err error) error {
	e := &Error{Op: op, StatusCode: r.status, CorrelationID: r.correlationID, cause: err}
	if errors.Is(err, prt.ErrReply) {
		e.detail = "the reply is not one of the sign-in service"
		if bytes.HasPrefix(bytes.TrimSpace(r.body), []byte("<")) {
			e.detail, e.kind = "the reply is a web page: a proxy or a portal is in the way", ErrTransient
		}
		return e
	}
	e.detail = "the reply could not be read"
	return e
}

// brokerToken is what the broker client got for a user: a token for resource,
// if one was asked for, and a refresh token that can become a PRT.
type brokerToken = prt.Reply

// refreshBroker redeems a refresh token of the broker client for a resource.
func (b *Broker) refreshBroker(ctx context.Context, op string, token prt.Secret, resource string) (*brokerToken, error) {
	return b.grant(ctx, op, b.cfg.Tenant, wire.PathToken, url.Values{
		"grant_type":    {wire.GrantRefreshToken},
		"client_id":     {wire.ClientBroker},
		"refresh_token": {token.Reveal()},
		"resource":      {resource},
		"scope":         {wire.ScopeOpen},
	})
}
