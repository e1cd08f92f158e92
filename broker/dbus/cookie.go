package dbus

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
)

var errNoCookie = errors.New("dbus: the broker returned no cookie")

// cookie signs a cookie for a sign-in page. The broker refuses addresses
// outside its cloud.
func (c *call) cookie(ctx context.Context) (string, error) {
	acct, err := c.account(ctx)
	if err != nil {
		return "", err
	}
	opts := []broker.CallOption{broker.WithAccount(acct)}
	address := c.r.SSOURL
	if address == "" {
		address = "https://" + c.h.cloud().LoginHost + "/"
	}
	if keptForLater(address) {
		opts = append(opts, broker.WithInsecureNoNonce())
	}
	cookies, err := c.b.SSOCookies(ctx, address, opts...)
	if err != nil {
		c.forgetOn(err)
		return "", err
	}
	if len(cookies) == 0 {
		return "", errNoCookie
	}
	out := wire.Cookie{Account: wireAccount(acct), Name: cookies[0].Name, Content: cookies[0].Value}
	for _, k := range cookies {
		out.Items = append(out.Items, wire.CookieItem{Name: k.Name, Content: k.Value})
	}
	return wire.CookieReply(out), nil
}

// keptForLater reports whether the cookie is for no particular page. In
// Chrome, linux-entra-sso fetches a cookie every half hour and sends it to
// any page of the host. The nonce of that page cannot be known in advance,
// and a nonce from the service would expire after a few minutes. The address
// of a page that is being visited has a path, and its cookie carries the
// page's own nonce or a new one.
func keptForLater(address string) bool {
	u, err := url.Parse(address)
	return err == nil && strings.Trim(u.Path, "/") == "" && !u.Query().Has("sso_nonce")
}
