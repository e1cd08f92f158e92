package broker

import (
	"context"
	"errors"
	"net/url"

	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// The Microsoft Authentication Broker client signs the user in: only its
// refresh tokens become PRTs, and MFA that was done for another client does
// not reach one. Its redirects are none of this machine's own, so the app that
// embeds the broker brings them back (Prompter.Authorize).

// byAuthCode signs in at the authorize page for the broker client.
func (b *Broker) byAuthCode(ctx context.Context, op, resource string, c AuthCode) (*prt.Reply, error) {
	return b.visit(ctx, op, c.pages, sts.Visit{
		Tenant:    b.cfg.Tenant,
		Path:      wire.PathAuthorize,
		TokenPath: wire.PathToken,
		ClientID:  wire.ClientBroker,
		Redirect:  wire.RedirectBrokerDRS,
		Resource:  resource,
		Scope:     wire.ScopeOpen,
		LoginHint: c.LoginHint,
		MFA:       c.MFA,
		Again:     c.again,
	})
}

// visit has the user sign in at the authorize page, by pages or, where that is nil,
// by the Prompter.
func (b *Broker) visit(ctx context.Context, op string, pages Pages, v sts.Visit) (*prt.Reply, error) {
	if pages == nil {
		pages = b.cfg.Prompter
	}
	if pages == nil {
		return nil, &Error{Op: op, kind: ErrInteractionRequired, detail: "the user is needed, and Config.Prompter is nil"}
	}
	for {
		page, err := b.sts.Visit(ctx, v)
		if err != nil {
			return nil, opError(op, err)
		}
		redirected, err := prompt(ctx, func() (string, error) { return pages.Authorize(ctx, page.URL, v.Redirect) })
		if err != nil {
			return nil, opError(op, err)
		}
		t, err := page.Redeem(ctx, redirected)
		if !errors.Is(err, sts.ErrMoved) {
			return t, opError(op, err)
		}
	}
}

// refreshBroker redeems a refresh token of the broker client for a resource.
func (b *Broker) refreshBroker(ctx context.Context, op string, token prt.Secret, resource string) (*prt.Reply, error) {
	t, err := b.sts.Grant(ctx, b.cfg.Tenant, wire.PathToken, url.Values{
		"grant_type":    {wire.GrantRefreshToken},
		"client_id":     {wire.ClientBroker},
		"refresh_token": {token.Reveal()},
		"resource":      {resource},
		"scope":         {wire.ScopeOpen},
	})
	return t, opError(op, err)
}
