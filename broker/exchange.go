package broker

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

// request gets a token from the service: by the PRT, or by a plain refresh
// token on a machine that has no device registration.
func (b *Broker) request(ctx context.Context, op string, a *account.Account, q tokenRequest) (AuthResult, error) {
	_, err := b.devices.Current(ctx)
	if b.cfg.AllowUnbound && errors.Is(err, device.ErrNone) {
		return b.redeem(ctx, op, a, q)
	}
	if err != nil {
		return AuthResult{}, err
	}
	var res AuthResult
	err = b.withPRT(ctx, op, a, func(t *prt.Token, s prt.Session) error {
		tokens, rep, err := b.exchange(ctx, op, t, s, q)
		b.note(ctx, a, b.observation(q, t, rep, err))
		b.answered(ctx, a, t, q.tenant, err)
		if err != nil {
			return err
		}
		res = b.result(q, t, tokens, rep)
		b.learn(ctx, a, t, tokens)
		return q.checkGranted(op, b.cfg.Cloud.graph(), &res)
	})
	if err != nil {
		return AuthResult{}, err
	}
	return res, nil
}

// exchange sends the PRT for a token.
func (b *Broker) exchange(ctx context.Context, op string, t *prt.Token, s prt.Session, q tokenRequest) (*prt.Reply, *sts.Reply, error) {
	if q.isTwoStep() {
		return b.exchangeTwice(ctx, op, t, s, q)
	}
	return b.exchangeOnce(ctx, op, t, s, q)
}

func (b *Broker) exchangeOnce(ctx context.Context, op string, t *prt.Token, s prt.Session, q tokenRequest) (tokens *prt.Reply, rep *sts.Reply, err error) {
	wanted, err := q.claimsRequest()
	if err != nil {
		return nil, nil, err
	}
	err = b.sts.WithNonce(ctx, func(nonce string) error {
		x := prt.ExchangeRequest{
			PRT:         t.PRT,
			Nonce:       nonce,
			ClientID:    q.app.ClientID,
			RedirectURI: b.redirectURI(q.app),
			Resource:    q.resource,
			Claims:      wanted,
			OSVersion:   b.cfg.Device.OSVersion,
			Now:         b.cfg.Now(),
		}
		if q.pop != nil {
			x.ReqCnf = q.pop.confirmation
		}
		f, err := x.Sign(ctx, s)
		if err != nil {
			return signError(op, err)
		}
		if rep, err = b.sts.Post(ctx, q.tenant, f, sts.ByPRT, q.correlationID); err != nil {
			return err
		}
		if tokens, err = prt.ParseReply(ctx, rep.Body, s); err != nil {
			return sts.Unreadable(rep, err, sts.ByPRT)
		}
		if q.resource == "" {
			return nil // for the refresh token alone
		}
		return b.checkToken(op, q, tokens, rep)
	})
	err = opError(op, err)
	if isOver(err) && !b.isHome(q.account, q.tenant) {
		err = abroad(err)
	}
	return tokens, rep, err
}

// checkToken refuses a reply that is not the token that was asked for.
func (b *Broker) checkToken(op string, q tokenRequest, tokens *prt.Reply, rep *sts.Reply) error {
	if tokens.AccessToken.IsZero() || tokens.Expiry(b.cfg.Now()).IsZero() {
		return sts.Malformed(rep, prt.ErrReply)
	}
	if q.pop != nil && !strings.EqualFold(tokens.TokenType, popType) {
		return &Error{Op: op, detail: "the service gave a token that is not bound to the key", CorrelationID: rep.CorrelationID}
	}
	return nil
}

// abroad is what another tenant says of a PRT: the user has to sign in for that
// tenant, and the PRT is not over for its own.
func abroad(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	c := *e
	c.kind, c.action = ErrInteractionRequired, aadsts.Interact
	return &c
}

// answered is what follows from an answer of the service to a PRT.
func (b *Broker) answered(ctx context.Context, a *account.Account, t *prt.Token, tenant string, err error) {
	b.heard(ctx, a, tenant, "", err)
	if err == nil {
		b.prove(ctx, a, t)
	}
}

func (b *Broker) redirectURI(app App) string {
	if app.RedirectURI != "" {
		return app.RedirectURI
	}
	return "https://" + b.cloud().LoginHost + "/common/oauth2/nativeclient"
}

func (c *call) checkClaims() error {
	_, err := c.claimsRequest()
	return err
}

// capability is the client capability of continuous access evaluation.
const capability = "cp1"

// claimsRequest returns what the caller asks for, with its capabilities.
func (c *call) claimsRequest() (string, error) {
	r, err := claims.ParseRequest(c.claims)
	if err != nil {
		return "", &Error{detail: "WithClaims needs the decoded JSON of a claims request", cause: err}
	}
	if c.cae {
		r = r.WithCapabilities(capability)
	}
	return r.String(), nil
}

// result makes what the caller gets. A refresh token that came with the token
// is dropped: the PRT replaces it.
func (b *Broker) result(q tokenRequest, t *prt.Token, r *prt.Reply, rep *sts.Reply) AuthResult {
	r.RefreshToken.Clear()
	// The caller gets the wall clock alone: by the other one the times would be
	// wrong after a suspend.
	now := b.cfg.Now().Round(0)
	res := AuthResult{
		Account:       q.account,
		AccessToken:   r.AccessToken.Reveal(),
		IDToken:       r.IDToken.Reveal(),
		TokenType:     "Bearer",
		ExpiresOn:     r.Expiry(now),
		GrantedScopes: slices.Clip(r.Scopes),
		Metadata: ResultMetadata{
			Source:        SourcePRT,
			DeviceID:      t.DeviceID,
			CorrelationID: rep.CorrelationID,
			MFA:           t.Evidence,
		},
	}
	if q.pop != nil {
		res.TokenType = popType
	}
	if r.RefreshIn > 0 {
		res.Metadata.RefreshOn = now.Add(r.RefreshIn)
	}
	return res
}

// checkGranted reports scopes that were asked for by name and not granted. A
// PRT is exchanged for all that the app has consent for, so what is missing
// lacks consent, which only the user or an administrator can give.
func (q *tokenRequest) checkGranted(op, graph string, res *AuthResult) error {
	if q.set.IsDefault() || len(res.GrantedScopes) == 0 {
		return nil
	}
	missing := q.set.Missing(res.GrantedScopes, graph)
	if len(missing) == 0 {
		return nil
	}
	return &Error{
		Op:       op,
		OAuth:    "consent_required",
		SubError: "consent_required",
		kind:     ErrInteractionRequired,
		detail:   "the app has no consent for " + aadsts.Clean(strings.Join(missing, " ")),
	}
}

// learn keeps what the token says about MFA where the PRT's own reply said
// nothing.
func (b *Broker) learn(ctx context.Context, a *account.Account, t *prt.Token, r *prt.Reply) {
	if t.Evidence.MFA != claims.Unknown {
		return
	}
	tok, err := claims.Parse(r.AccessToken.Reveal())
	if err != nil || !tok.HasAMR {
		return
	}
	_, err = a.Update(ctx, func(rec *account.Record) error {
		e := rec.PRT(t.Credential)
		if e == nil || !e.Token.PRT.Equal(t.PRT) {
			return nil
		}
		n := *e.Token
		n.Evidence = n.Evidence.Merge(tok.Evidence(claims.SourceAccessToken))
		e.Token = &n
		return nil
	})
	if err != nil {
		b.cfg.Logger.InfoContext(ctx, "saving what a token says about MFA failed", "error", err)
	}
}
