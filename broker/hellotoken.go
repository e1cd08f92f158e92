package broker

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/signon"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// The service registers a key only for a token that says, in its amr, that the
// user did MFA moments ago (ngcmfa) and, in its deviceid, on which device.
// Only a sign-in at the authorize page by the PRT's cookie gives both.

// freshToken returns such a token: silently if the MFA is fresh, otherwise
// after the user has done MFA again.
func (b *Broker) freshToken(ctx context.Context, op string, a *account.Account, acct Account) (prt.Secret, error) {
	token, err := b.freshByPRT(ctx, op, a)
	if !errors.Is(err, ErrInteractionRequired) || b.cfg.Prompter == nil {
		return token, err
	}
	if _, err := b.stepUpByPage(ctx, op, AuthCode{LoginHint: acct.PreferredUsername, MFA: true}, acct); err != nil {
		return prt.Secret{}, err
	}
	return b.freshByPRT(ctx, op, a)
}

// freshByPRT tries each PRT: that of a Hello key is strong, but its MFA is not
// one that the user was prompted for (MS-OAPX 2.2.2.10).
func (b *Broker) freshByPRT(ctx context.Context, op string, a *account.Account) (token prt.Secret, err error) {
	rec := a.Record()
	if rec == nil {
		return token, &Error{Op: op, kind: ErrNoAccount}
	}
	err = obituary(op, rec)
	for _, p := range b.engine.Choices(rec) {
		err = opError(op, b.engine.Try(ctx, a, p, func(t *prt.Token, s prt.Session) error {
			token, err = b.visitByPRT(ctx, op, t, s)
			b.engine.Answered(ctx, a, t, b.cfg.Tenant, err)
			return err
		}))
		if !errors.Is(err, ErrInteractionRequired) {
			return token, err
		}
	}
	return token, err
}

// visitByPRT signs in at the authorize page with the PRT's cookie, in place of
// a browser, and redeems the code. A page in place of a redirect means that the
// user is needed; prompt=none asks for no page, since some pages push a prompt
// to the user's phone.
func (b *Broker) visitByPRT(ctx context.Context, op string, t *prt.Token, s prt.Session) (prt.Secret, error) {
	visit := sts.Visit{
		Tenant:    b.cfg.Tenant,
		Path:      wire.PathAuthorize,
		TokenPath: wire.PathToken,
		ClientID:  wire.ClientDeviceRegistration,
		Redirect:  wire.RedirectPluginPrefix + wire.ClientDeviceRegistration,
		Resource:  wire.ResourceRegistrationApp,
		Scope:     wire.ScopeOpen,
		MFA:       true,
		Silent:    true,
	}
	page, err := b.sts.Visit(ctx, visit)
	if err != nil {
		return prt.Secret{}, err
	}
	redirected, err := b.follow(ctx, op, page.URL, visit.Redirect, t, s)
	if err != nil {
		return prt.Secret{}, err
	}
	r, err := page.Redeem(ctx, redirected)
	if err != nil {
		return prt.Secret{}, err
	}
	return r.AccessToken, checkFresh(op, r)
}

// checkFresh reports a token that the service would not accept for a key, where
// the user can do something about it.
func checkFresh(op string, r *prt.Reply) error {
	if r.AccessToken.IsZero() {
		return &Error{Op: op, detail: "the reply has no access token"}
	}
	tok, err := claims.Parse(r.AccessToken.Reveal())
	if err != nil || !tok.HasAMR {
		return nil // opaque to us; the service judges
	}
	if methods, _ := claims.FromAMR(tok.AMR); !methods.Fresh() {
		return &Error{Op: op, kind: ErrInteractionRequired, detail: "the MFA is not recent enough to register a key"}
	}
	return nil
}

// maxVisits bounds the redirects of a sign-in without a browser: one for a
// stale nonce, and the way back to the app.
const maxVisits = 3

// follow visits the page with the cookie and returns the address that the
// service redirects to, which begins with prefix.
func (b *Broker) follow(ctx context.Context, op, page, prefix string, t *prt.Token, s prt.Session) (string, error) {
	for range maxVisits {
		cookie, err := b.engine.Cookie(ctx, t, s, signon.CookieRequest{URL: page})
		if err != nil {
			return "", err
		}
		rep, err := b.sts.Open(ctx, page, prefix, cookie, t.HomeAccountID())
		if err != nil {
			return "", err
		}
		to := rep.Header.Get("Location")
		switch {
		case rep.Status/100 == 3 && len(to) >= len(prefix) && strings.EqualFold(to[:len(prefix)], prefix):
			return to, nil
		case rep.Status/100 == 3:
			if page, err = nextPage(page, to); err != nil {
				return "", &Error{Op: op, detail: "the sign-in page redirects to another host", CorrelationID: rep.CorrelationID, cause: err}
			}
		case rep.OK():
			return "", &Error{Op: op, kind: ErrInteractionRequired, StatusCode: rep.Status, CorrelationID: rep.CorrelationID, detail: "the sign-in page needs the user"}
		default:
			return "", sts.Refusal(rep, sts.ByPRT)
		}
	}
	return "", &Error{Op: op, kind: ErrInteractionRequired, detail: "the sign-in page redirects too many times"}
}

// nextPage resolves a redirect of the sign-in page, such as the one that
// brings a new nonce. The cookie goes to no other host.
func nextPage(page, to string) (string, error) {
	at, err := url.Parse(page)
	if err != nil {
		return "", errMalformedAddress
	}
	next, err := at.Parse(to)
	if err != nil {
		return "", errMalformedAddress
	}
	if next.Scheme != "https" || !strings.EqualFold(next.Host, at.Host) {
		return "", errors.New("the address is on another host")
	}
	return next.String(), nil
}

var errMalformedAddress = errors.New("broker: an address is malformed")

// keyServiceToken returns a token for the key service by the PRT, with the
// device and without fresh MFA: enough to delete a key.
func (b *Broker) keyServiceToken(ctx context.Context, op string, a *account.Account, acct Account) (token prt.Secret, err error) {
	q := tokenRequest{
		callOptions: callOptions{account: acct, app: App{
			ClientID:    wire.ClientDeviceRegistration,
			RedirectURI: wire.RedirectPluginPrefix + wire.ClientDeviceRegistration,
		}},
		resource: wire.ResourceRegistrationApp,
		tenant:   b.cfg.Tenant,
	}
	x, err := b.exchangeRequest(q)
	if err != nil {
		return token, err
	}
	err = b.engine.Use(ctx, a, func(t *prt.Token, s prt.Session) error {
		r, _, err := b.engine.Exchange(ctx, a, t, s, x)
		if err != nil {
			return err
		}
		r.RefreshToken.Clear()
		token = r.AccessToken
		return nil
	})
	return token, err
}
