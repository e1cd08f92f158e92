package signon

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/prt"
)

// boundType is the token_type of tokens that are bound to a key.
const boundType = "PoP"

// A Request is the token that a PRT is exchanged for.
type Request struct {
	Tenant, ClientID, RedirectURI, Resource string
	Claims                                  string   // a claims request; may be empty
	Confirmation                            string   // req_cnf of the key that the token is to be bound to; empty: a bearer token
	CorrelationID                           string   // empty: a new one
	Scopes                                  []string // as the caller wrote them
}

func (q *Request) from(t *prt.Token) sts.From {
	return sts.From{
		Client:        q.ClientID,
		Scopes:        strings.Join(append(slices.Sorted(slices.Values(q.Scopes)), q.Resource), " "),
		Account:       t.HomeAccountID(),
		CorrelationID: q.CorrelationID,
	}
}

// Exchange exchanges the PRT for a token, and records what follows from the
// answer.
func (e *Engine) Exchange(ctx context.Context, a *account.Account, t *prt.Token, s prt.Session, q Request) (tokens *prt.Reply, rep *sts.Reply, err error) {
	want := q
	if q.isTwoStep() {
		want = q.firstStep()
	}
	err = e.cfg.Services.WithNonce(ctx, func(nonce string) error {
		f, err := want.signed(t, nonce, e.cfg.OSVersion, e.cfg.Services.Now()).Sign(ctx, s)
		if err != nil {
			return err
		}
		if rep, err = e.cfg.Services.Post(ctx, q.Tenant, f, sts.ByPRT, want.from(t)); err != nil {
			return err
		}
		tokens, err = e.read(ctx, want, s, rep)
		return err
	})
	if err == nil && q.isTwoStep() {
		tokens, err = e.secondStep(ctx, q, tokens, rep)
	}
	var said *sts.Error
	if rec := a.Record(); errors.As(err, &said) && said.Over() && (rec == nil || !e.isHome(rec.Account, q.Tenant)) {
		c := *said
		c.Abroad = true // the user signs in for that tenant; the PRT is still good for its own
		err = &c
	}
	e.Answered(ctx, a, t, q.Tenant, err)
	return tokens, rep, err
}

// signed is the request that the session key signs.
func (q *Request) signed(t *prt.Token, nonce, osVersion string, now time.Time) prt.ExchangeRequest {
	return prt.ExchangeRequest{
		PRT:         t.PRT,
		Nonce:       nonce,
		ClientID:    q.ClientID,
		RedirectURI: q.RedirectURI,
		Resource:    q.Resource,
		Claims:      q.Claims,
		OSVersion:   osVersion,
		ReqCnf:      q.Confirmation,
		Now:         now,
	}
}

// read opens the answer, and refuses one that is not what was asked for.
func (e *Engine) read(ctx context.Context, q Request, s prt.Session, rep *sts.Reply) (*prt.Reply, error) {
	tokens, err := prt.ParseReply(ctx, rep.Body, s)
	if err != nil {
		return nil, sts.Unreadable(rep, err, sts.ByPRT)
	}
	if err := e.checkEncrypted(ctx, tokens, rep); err != nil {
		return nil, err
	}
	if q.Resource == "" {
		return tokens, nil // for the refresh token alone
	}
	return tokens, e.checkToken(q, tokens, rep)
}

// errInClear reports a reply that should be encrypted to the session key and is
// not.
func errInClear(rep *sts.Reply) error {
	return &sts.Error{Detail: "the reply is not encrypted, although the request was signed with the session key", CorrelationID: rep.CorrelationID}
}

// checkEncrypted refuses unencrypted tokens where encrypted ones are required,
// and otherwise logs them once: libhimmelblau and ROADtools accept both, and no
// capture settles which Entra sends.
func (e *Engine) checkEncrypted(ctx context.Context, tokens *prt.Reply, rep *sts.Reply) error {
	switch {
	case tokens.Encrypted:
	case e.cfg.RequireEncrypted:
		tokens.AccessToken.Clear()
		tokens.RefreshToken.Clear()
		return errInClear(rep)
	default:
		e.inClear.Do(func() {
			e.cfg.Logger.WarnContext(ctx, "the reply with a token is not encrypted, although the request was signed with the session key", "correlation_id", rep.CorrelationID)
		})
	}
	return nil
}

// checkToken refuses a reply that is not the token that was asked for.
func (e *Engine) checkToken(q Request, tokens *prt.Reply, rep *sts.Reply) error {
	if tokens.AccessToken.IsZero() || tokens.Expiry(e.cfg.Now()).IsZero() {
		return sts.Malformed(rep, prt.ErrReply)
	}
	if q.Confirmation != "" && !strings.EqualFold(tokens.TokenType, boundType) {
		return &sts.Error{Detail: "the service gave a token that is not bound to the key", CorrelationID: rep.CorrelationID}
	}
	if !sameResource(q.Resource, tokens.Resource) {
		tokens.AccessToken.Clear()
		tokens.RefreshToken.Clear()
		return &sts.Error{Detail: "the reply holds a token for another resource than the one requested", CorrelationID: rep.CorrelationID}
	}
	return nil
}

// sameResource reports whether a reply may be the one to a request for a resource.
// A reply is encrypted to the session key but says nothing of its request, so that
// a proxy can answer one with the reply to another. A reply without a resource, and
// one that names the resource by its id or instead of its id, cannot be compared.
func sameResource(asked, got string) bool {
	if asked == "" || got == "" || isGUID(asked) != isGUID(got) {
		return true
	}
	return strings.EqualFold(strings.TrimRight(asked, "/"), strings.TrimRight(got, "/"))
}

func isGUID(s string) bool {
	_, err := prt.ParseGUID(s)
	return err == nil
}

// Answered records what follows from an answer of the service to a PRT.
func (e *Engine) Answered(ctx context.Context, a *account.Account, t *prt.Token, tenant string, err error) {
	e.heard(ctx, a, tenant, "", err)
	if err == nil {
		e.prove(ctx, a, t)
	}
}

// Name keeps the newest names of the user, if the id_token of a reply is about
// the account in its own tenant. If they are unchanged it costs nothing.
func (e *Engine) Name(ctx context.Context, a *account.Account, id *claims.Token) {
	rec := a.Record()
	if rec == nil || id == nil || !rec.Account.Is(id.TenantID, id.ObjectID) || !rec.Renames(id.Username, id.Name) {
		return
	}
	e.aside(ctx, a, "saving the new name of the user failed", func(r *account.Record) { r.Rename(id.Username, id.Name) })
}

// Renamed returns the name with which the account's Hello key signs the user in
// by now; empty when it is still the old one. The service is asked: a request
// to renew a PRT names no user, and its answer does.
func (e *Engine) Renamed(ctx context.Context, a *account.Account, old string) string {
	rec := a.Record()
	if rec == nil {
		return ""
	}
	for _, p := range e.Choices(rec) {
		if _, err := e.Renew(ctx, a, p.Token.Credential, true); err == nil {
			break
		}
	}
	if rec = a.Record(); rec == nil || rec.Hello == nil || rec.Hello.Username == old {
		return ""
	}
	return rec.Hello.Username
}

// Learn keeps the newest names of the user, and what the token says about MFA
// if the PRT's own reply said nothing.
func (e *Engine) Learn(ctx context.Context, a *account.Account, t *prt.Token, r *prt.Reply) {
	e.Name(ctx, a, r.ID)
	if t.Evidence.MFA != claims.Unknown {
		return
	}
	tok, err := claims.Parse(r.AccessToken.Reveal())
	if err != nil || !tok.HasAMR {
		return
	}
	e.aside(ctx, a, "saving what a token says about MFA failed", func(rec *account.Record) {
		p := rec.PRT(t.Credential)
		if p == nil || !p.Token.PRT.Equal(t.PRT) {
			return
		}
		n := *p.Token
		n.Evidence = n.Evidence.Merge(tok.Evidence(claims.SourceAccessToken))
		p.Token = &n
	})
}
