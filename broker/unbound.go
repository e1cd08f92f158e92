package broker

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// On a machine without a device registration an account has plain refresh
// tokens in place of a PRT: one per app, or one for all apps of the family of
// client ids (foci), to which Microsoft's own apps belong.

// keepRefresh saves a refresh token.
func (c *Config) keepRefresh(ctx context.Context, a *account.Account, client string, r *prt.Reply) error {
	if r.RefreshToken.IsZero() {
		return nil
	}
	return a.KeepRefresh(ctx, account.RefreshToken{Client: client, Family: r.FamilyID, Token: r.RefreshToken.Reveal(), At: c.Now()})
}

// redeem gets a token with a refresh token of the app or of its family.
func (b *Broker) redeem(ctx context.Context, op string, a *account.Account, q tokenRequest) (AuthResult, error) {
	tokens, err := a.RefreshTokens(ctx, q.app.ClientID)
	if err != nil {
		return AuthResult{}, err
	}
	var last error = &Error{Op: op, kind: ErrNoAccount, detail: "the user has not signed in for this app"}
	for _, e := range tokens {
		v, err := q.unboundForm()
		if err != nil {
			return AuthResult{}, err
		}
		v.Set("grant_type", wire.GrantRefreshToken)
		v.Set("refresh_token", e.Token)
		sts.Bind(v, q.confirmation())
		r, err := b.sts.Grant(ctx, q.tenant, wire.PathTokenV2, v)
		err = opError(op, err)
		if err == nil {
			b.engine.Name(ctx, a, r.ID)
			if rec := a.Record(); rec != nil {
				q.account = Account(rec.Account)
			}
			return b.unbound(ctx, op, a, q, r, SourceRefreshToken)
		}
		if e.Client != q.app.ClientID && subError(err) == "client_mismatch" {
			// That the app is not in the family says nothing about its configuration.
			err = &Error{Op: op, kind: ErrInteractionRequired, detail: "the user has not signed in for this app"}
		}
		last = err
		if a := action(err); a != aadsts.SignInAgain && a != aadsts.Expired {
			break
		}
	}
	return AuthResult{}, last
}

// unboundForm returns what every request of the app's own client sends.
func (q *tokenRequest) unboundForm() (url.Values, error) {
	wanted, err := q.claimsRequest()
	if err != nil {
		return nil, err
	}
	v := url.Values{
		"client_id": {q.app.ClientID},
		"scope":     {appScope(q.scopes)},
	}
	if wanted != "" {
		v.Set("claims", wanted)
	}
	return v, nil
}

// appScope is the scope parameter of an app's own sign-in: a refresh token and
// an id_token come with the token.
func appScope(scopes []string) string {
	all := slices.Clone(scopes)
	for _, s := range []string{"openid", "profile", "offline_access"} {
		if !slices.ContainsFunc(all, func(have string) bool { return strings.EqualFold(have, s) }) {
			all = append(all, s)
		}
	}
	return strings.Join(all, " ")
}

func subError(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.SubError
	}
	return ""
}

// unbound builds the result of a grant of the app's own client, and keeps its
// refresh token.
func (b *Broker) unbound(ctx context.Context, op string, a *account.Account, q tokenRequest, r *prt.Reply, source TokenSource) (AuthResult, error) {
	if r.AccessToken.IsZero() {
		return AuthResult{}, &Error{Op: op, detail: "the reply has no access token"}
	}
	if err := q.checkBound(op, r); err != nil {
		return AuthResult{}, err
	}
	err := b.cfg.keepRefresh(ctx, a, q.app.ClientID, r)
	if err != nil && !b.book.Holds(a) {
		err = &Error{Op: op, kind: ErrNoAccount, Account: q.account} // removed meanwhile
	}
	if err != nil {
		return AuthResult{}, err
	}
	res := b.cfg.result(q, &prt.Token{}, r, &sts.Reply{})
	res.Metadata.Source = source
	return res, nil
}

// unregistered reports whether this machine has no registration and the
// configuration allows that.
func (b *Broker) unregistered(ctx context.Context) bool {
	if !b.cfg.AllowUnbound {
		return false
	}
	_, err := b.devices.Current(ctx)
	return errors.Is(err, device.ErrNone)
}

// signInUnbound signs a user in to the app and keeps the refresh token. A new
// account is added.
func (b *Broker) signInUnbound(ctx context.Context, op string, cred Credential, q tokenRequest) (AuthResult, error) {
	v, err := q.unboundForm()
	if err != nil {
		return AuthResult{}, err
	}
	r, err := b.signIns.grantForApp(ctx, op, cred, q, v)
	if err != nil {
		return AuthResult{}, err
	}
	return b.keepUnbound(ctx, op, q, r)
}

// signInApp signs in to Config.App, asking only for a token for Graph, which
// every app may ask for the user's own name.
func (b *Broker) signInApp(ctx context.Context, op string, cred Credential, c callOptions) (AuthResult, error) {
	q, err := b.resolveApp(ctx, c, []string{b.cloud().Graph() + "/User.Read"})
	if err != nil {
		return AuthResult{}, err
	}
	return b.signInUnbound(ctx, op, cred, q)
}

// keepUnbound takes the reply of a sign-in for the app's own client.
func (b *Broker) keepUnbound(ctx context.Context, op string, q tokenRequest, r *prt.Reply) (AuthResult, error) {
	a, acct, err := b.adopt(ctx, op, r, q)
	if err != nil {
		return AuthResult{}, err
	}
	q.belongsTo(acct)
	res, err := b.unbound(ctx, op, a, q, r, SourceInteractive)
	if err != nil {
		return AuthResult{}, err
	}
	if err := b.tokens.keep(op, a, q, res); err != nil {
		return AuthResult{}, err
	}
	return q.present(ctx, b.sts.Now, res)
}

// visit is a visit to the authorize page for the app's own client.
func (q *tokenRequest) visit(c sts.Cloud, hint, wanted string) sts.Visit {
	return sts.Visit{
		Tenant:    q.tenant,
		Path:      wire.PathAuthorizeV2,
		TokenPath: wire.PathTokenV2,
		ClientID:  q.app.ClientID,
		Redirect:  q.app.redirect(c),
		Scope:     appScope(q.scopes),
		LoginHint: hint,
		Claims:    wanted,
		BoundTo:   q.confirmation(),
	}
}

// adopt returns the account that a reply of an app's own client is about, and
// creates it if it is new. If the account of q is not zero, the reply must be
// about that one.
func (b *Broker) adopt(ctx context.Context, op string, r *prt.Reply, q tokenRequest) (*account.Account, Account, error) {
	want := q.account
	acct := Account{HomeAccountID: r.HomeAccountID(), Environment: b.cloud().Environment}
	if r.ID != nil {
		acct.Realm, acct.LocalAccountID = strings.ToLower(r.ID.TenantID), strings.ToLower(r.ID.ObjectID)
		acct.PreferredUsername, acct.Name = r.ID.Username, r.ID.Name
	}
	if q.callOptions.tenant != "" && !strings.EqualFold(q.callOptions.tenant, b.cfg.Tenant) {
		// A guest's id_token is about the tenant of this one request.
		acct.Realm, acct.LocalAccountID = strings.ToLower(r.ClientInfo.UTID), strings.ToLower(r.ClientInfo.UID)
	}
	switch {
	case acct.HomeAccountID == "" || acct.Realm == "":
		return nil, acct, &Error{Op: op, detail: "the reply does not say who signed in"}
	case !account.Identity(want).Means(account.Identity(acct)):
		return nil, acct, &Error{Op: op, kind: ErrInteractionRequired, Account: want, detail: "another user signed in than the one who was asked for"}
	}
	a, err := b.book.Put(ctx, account.Identity(acct), nil)
	if err != nil {
		return nil, acct, err
	}
	b.engine.Name(ctx, a, r.ID)
	if rec := a.Record(); rec != nil {
		acct = Account(rec.Account)
	}
	_, err = b.book.Refresh(ctx)
	return a, acct, err
}
