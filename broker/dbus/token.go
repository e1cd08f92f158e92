package dbus

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
)

func (c *call) silent(ctx context.Context) (string, error) {
	opts, err := c.options()
	if err != nil {
		return "", err
	}
	acct, err := c.account(ctx)
	if err != nil {
		return "", err
	}
	opts = append(opts, broker.WithAccount(acct))
	res, err := c.b.AcquireTokenSilent(ctx, c.scopes(), opts...)
	if err == nil && c.r.Renew != "" && c.r.Renew == res.AccessToken {
		// The client already has the cached token and wants another one.
		res, err = c.b.AcquireTokenSilent(ctx, c.scopes(), append(opts, broker.WithForceRefresh())...)
	}
	if err != nil {
		c.forgetOn(err)
		return "", err
	}
	return c.token(res), nil
}

// options returns the options of a request for a token, except for the account.
func (c *call) options() ([]broker.CallOption, error) {
	if err := c.permitted(); err != nil {
		return nil, err
	}
	opts := []broker.CallOption{broker.WithApp(broker.App{ClientID: c.r.ClientID, RedirectURI: redirectURI(c.r.RedirectURI)})}
	tenant, err := c.h.tenant(c.r.Authority)
	if err != nil {
		return nil, err
	}
	if tenant != "" {
		opts = append(opts, broker.WithTenantID(tenant))
	}
	switch {
	case isCapability(c.r.Claims):
		opts = append(opts, broker.WithCAE())
	case c.r.Claims != "":
		opts = append(opts, broker.WithClaims(c.r.Claims))
	}
	if guidPattern.MatchString(c.correlation) {
		opts = append(opts, broker.WithCorrelationID(c.correlation))
	}
	if c.r.PoP != nil {
		opts = append(opts, broker.WithPoP(proof(c.r.PoP)))
	}
	return opts, nil
}

// redirectURI returns s if it is a redirect URI as apps register them, and ""
// otherwise: some clients send a client id, a random GUID or urn:ietf:oob.
func redirectURI(s string) string {
	if strings.Contains(s, "://") {
		return s
	}
	return ""
}

// scopes returns the requested scopes. A request without scopes is a plain sign-in,
// as at the service.
func (c *call) scopes() []string {
	if len(c.r.Scopes) == 0 {
		return []string{"openid"}
	}
	return c.r.Scopes
}

// token writes a result. It repeats the scopes in the form in which they were
// requested, since MSAL compares them literally and treats a missing one as declined.
// A request that was granted fewer scopes has already failed by then.
func (c *call) token(res broker.AuthResult) string {
	granted := make([]string, 0, len(c.r.Scopes)+len(res.GrantedScopes))
	for _, s := range slices.Concat(c.r.Scopes, res.GrantedScopes) {
		if !slices.ContainsFunc(granted, func(have string) bool { return strings.EqualFold(have, s) }) {
			granted = append(granted, s)
		}
	}
	t := &wire.Token{
		AccessToken:       res.AccessToken,
		Account:           wireAccount(res.Account),
		ClientInfo:        wire.ClientInfo(res.Account.HomeAccountID),
		ExpiresOn:         res.ExpiresOn.UnixMilli(),
		ExtendedExpiresOn: res.ExpiresOn.UnixMilli(),
		GrantedScopes:     strings.Join(granted, " "),
		IDToken:           c.h.ids.of(res),
	}
	if c.r.PoP != nil {
		t.AccessTokenType = wire.TypePoP
	}
	return wire.TokenReply(t)
}

// proof returns the request that a bound token is for. If it has a key id, the key is
// the client's own, and the client signs the request.
func proof(p *wire.PoPParams) broker.PoP {
	if p.KeyID != "" {
		return broker.PoP{KeyID: p.KeyID}
	}
	out := broker.PoP{Method: p.Method, Nonce: p.Nonce}
	if p.Host != "" {
		out.URL = "https://" + p.Host + "/" + strings.TrimPrefix(p.Path, "/")
	}
	if p.ClientClaims != "" {
		out.Claims = []byte(p.ClientClaims)
	}
	return out
}

// sign signs a request without an access token: sso-mib calls it for requests whose
// token the caller already has, and passes none.
func (c *call) sign(ctx context.Context) (string, error) {
	if c.r.PoP == nil {
		return "", &contractError{"generateSignedHttpRequest needs popParams"}
	}
	if _, err := c.account(ctx); err != nil {
		return "", err
	}
	s, err := c.b.SignedHTTPRequest(ctx, "", proof(c.r.PoP))
	if err != nil {
		return "", err
	}
	return wire.SignedReply(s), nil
}

var errTooMany = errors.New("dbus: too many interactive calls are under way")
