package signon

import (
	"context"
	"errors"
	"net/http"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// Failed returns the last sign-in of a user who has no account here, if it
// failed and none has succeeded since; otherwise nil.
func (e *Engine) Failed() *account.Attempt { return e.stranger.Load() }

// tried describes a failed attempt to get or to renew a PRT; nil when the
// caller went away, or nothing was sent because of the keys.
func (e *Engine) tried(err error) *account.Attempt {
	var said *sts.Error
	at := &account.Attempt{At: e.cfg.Now(), Method: http.MethodPost, Endpoint: e.cfg.Services.Cloud().Login(e.cfg.Tenant, wire.PathToken)}
	switch {
	case errors.As(err, &said):
		at.CorrelationID, at.HTTPStatus, at.Code, at.OAuth = said.CorrelationID, said.StatusCode, said.Code, said.OAuth
		if said.StatusCode == 0 {
			at.HTTPError = aadsts.Clean(said.Error())
		}
	case errors.Is(err, context.DeadlineExceeded):
		at.HTTPError = "the service did not answer in time"
	default:
		return nil
	}
	return at
}

// issueFailed records a sign-in that failed.
func (e *Engine) issueFailed(ctx context.Context, grant prt.Grant, want account.Identity, err error) {
	at := e.tried(err)
	if at == nil {
		return
	}
	switch g := grant.(type) {
	case prt.PasswordGrant:
		at.Credential, at.Username = prt.ByPassword, g.Username
	case prt.HelloGrant:
		at.Credential, at.Username = prt.ByHello, g.Username
	case prt.RefreshTokenGrant:
		at.Credential = prt.ByRefreshToken
	case prt.SAMLGrant:
		at.Credential = prt.BySAML
	}
	if want.IsZero() {
		want.PreferredUsername = at.Username
	}
	var a *account.Account
	for _, known := range e.cfg.Book.Known() {
		if rec := known.Record(); rec != nil && !want.IsZero() && want.Means(rec.Account) {
			a = known
		}
	}
	if a == nil {
		e.stranger.Store(at)
		return
	}
	if rec := a.Record(); at.Username == "" && rec != nil {
		at.Username = rec.Account.PreferredUsername
	}
	e.keepFailed(ctx, a, at)
}

// renewalFailed records a renewal that failed.
func (e *Engine) renewalFailed(ctx context.Context, a *account.Account, t *prt.Token, err error) {
	if at := e.tried(err); at != nil {
		at.Renewal, at.Credential, at.Username = true, t.Credential, t.Username
		if rec := a.Record(); rec != nil && rec.Account.PreferredUsername != "" {
			at.Username = rec.Account.PreferredUsername // another PRT may have brought a newer name
		}
		e.keepFailed(ctx, a, at)
	}
}

func (e *Engine) keepFailed(ctx context.Context, a *account.Account, at *account.Attempt) {
	_ = e.cfg.Finish(ctx, func(ctx context.Context) error { // also when ctx has ended
		e.aside(ctx, a, "noting a failed attempt failed", func(r *account.Record) { r.Failed = at })
		return nil
	})
}
