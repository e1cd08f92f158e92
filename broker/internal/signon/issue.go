package signon

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// Provenance is what this broker saw of the sign-in that a PRT came from. The
// PRT's own id_token says whether MFA was done; only the sign-in tells when.
type Provenance struct {
	Origin account.Origin
	Seen   claims.Evidence // zero when the sign-in was not made here
}

// complete adds to the evidence of a new PRT what only its sign-in tells.
// Whether MFA was done is for the PRT itself to say, if it does.
func (p Provenance) complete(t *prt.Token) {
	switch {
	case t.Evidence.MFA == claims.Unknown && p.Seen.MFA != claims.Unknown:
		t.Evidence = p.Seen
		t.Evidence.Source = claims.SourceRefresh
	case t.Evidence.MFA == claims.Yes && p.Seen.MFA == claims.Yes && t.Evidence.At.IsZero():
		t.Evidence.At = p.Seen.At
	}
	if t.Evidence.AuthTime.IsZero() {
		t.Evidence.AuthTime = p.Seen.AuthTime
	}
}

// An Issuance is a PRT that a sign-in gave.
type Issuance struct {
	Account       account.Identity
	Token         *prt.Token
	CorrelationID string
}

// Issue gets a PRT and saves it with its session key. want, if not zero, is the
// user who must have signed in.
func (e *Engine) Issue(ctx context.Context, grant prt.Grant, from Provenance, want account.Identity) (Issuance, error) {
	d, err := e.cfg.Devices.Current(ctx) // a registration that another process erased gets no PRT
	if err != nil {
		return Issuance{}, err
	}
	issued, rep, err := e.requestPRT(ctx, d, grant)
	if err != nil {
		e.heardOf(ctx, want, err)
		e.issueFailed(ctx, grant, want, err)
		return Issuance{}, err
	}
	t := issued.Token
	t.DeviceID = d.Cert.DeviceID
	from.complete(t)
	id := e.identity(t)
	if id.HomeAccountID == "" {
		return Issuance{}, &sts.Error{Detail: "the reply does not say whose PRT it is", CorrelationID: rep.CorrelationID}
	}
	if !want.Means(id) {
		return Issuance{}, ErrOtherUser
	}
	key, err := e.cfg.Keys.UnwrapSession(ctx, d.Transport, issued.WrappedSessionKey)
	if err != nil {
		return Issuance{}, fmt.Errorf("unwrapping the session key: %w", err)
	}
	t.SessionKey = key.Blob()
	a, err := e.saveIssued(ctx, id, account.PRT{Token: t, Origin: from.Origin}, key)
	if err != nil {
		return Issuance{}, err
	}
	if rec := a.Record(); rec != nil {
		id = rec.Account
	}
	e.heard(ctx, a, e.cfg.Tenant, t.Credential, nil)
	e.cfg.Logger.InfoContext(ctx, "signed in", "account", id.HomeAccountID, "credential", string(t.Credential), "mfa", t.Evidence.MFA.String(), "correlation_id", rep.CorrelationID)
	return Issuance{Account: id, Token: t, CorrelationID: rep.CorrelationID}, nil
}

// saveIssued keeps a new PRT in the account's record, which it makes for a new
// account, and its session key open.
func (e *Engine) saveIssued(ctx context.Context, id account.Identity, p account.PRT, key tpm.SessionKey) (*account.Account, error) {
	a, err := e.cfg.Book.Put(ctx, id, func(r *account.Record) error {
		r.Rename(id.PreferredUsername, id.Name) // a reply may leave them out
		r.Account.Realm, r.Account.LocalAccountID, r.Failed = id.Realm, id.LocalAccountID, nil
		r.Set(p)
		return nil
	})
	if err != nil {
		_ = key.Close()
		return nil, err
	}
	e.stranger.Store(nil)
	a.HoldSession(string(p.Token.SessionKey), key)
	a.ReleaseUnused()
	_, err = e.cfg.Book.Refresh(ctx)
	return a, err
}

func (e *Engine) identity(t *prt.Token) account.Identity {
	return account.Identity{
		HomeAccountID:     t.HomeAccountID(),
		Environment:       e.cfg.Services.Cloud().Environment,
		Realm:             t.TenantID,
		LocalAccountID:    t.UserID,
		PreferredUsername: t.Username,
		Name:              t.Name,
	}
}

// A device that was just registered is not known everywhere at once.
const (
	youngDevice   = 10 * time.Minute
	maxYoungTries = 6
	firstBackOff  = time.Second
)

func (e *Engine) isYoung(d *device.Device) bool {
	return e.cfg.Now().Sub(d.Record.Registered).Abs() <= youngDevice
}

// requestPRT asks for a PRT. While the device is young, a refusal of the device
// is retried for about a minute.
func (e *Engine) requestPRT(ctx context.Context, d *device.Device, grant prt.Grant) (*prt.Issuance, *sts.Reply, error) {
	wait := firstBackOff
	for try := 0; ; try++ {
		issued, rep, err := e.requestPRTOnce(ctx, d, grant)
		v := verdict(err)
		refused := v == aadsts.DeviceAuth || v == aadsts.DeviceGone
		if !refused || try == maxYoungTries || !e.isYoung(d) {
			return issued, rep, err
		}
		e.cfg.Logger.InfoContext(ctx, "the service does not know the new device yet", "wait", wait)
		if err := e.cfg.Sleep(ctx, wait); err != nil {
			return nil, nil, err
		}
		wait *= 2
	}
}

// from returns who signs in, as far as the credential shows it.
func from(g prt.Grant) sts.From {
	switch g := g.(type) {
	case prt.PasswordGrant:
		return sts.From{Scopes: "password", Account: strings.ToLower(g.Username)}
	case prt.HelloGrant:
		return sts.From{Scopes: "hello", Account: strings.ToLower(g.Username)}
	case prt.RefreshTokenGrant:
		return sts.From{Scopes: "refresh_token", Account: g.Token.Reveal()} // only its hash is kept
	case prt.SAMLGrant:
		return sts.From{Scopes: "saml", Account: g.Assertion.Reveal()}
	}
	return sts.From{}
}

func (e *Engine) requestPRTOnce(ctx context.Context, d *device.Device, grant prt.Grant) (issued *prt.Issuance, rep *sts.Reply, err error) {
	err = e.cfg.Services.WithNonce(ctx, func(nonce string) error {
		if h, ok := grant.(prt.HelloGrant); ok {
			h.Now = e.cfg.Services.Now() // which the reply with the nonce has corrected
			grant = h
		}
		req := prt.PRTRequest{Grant: grant, Nonce: nonce, OSVersion: e.cfg.OSVersion}
		f, err := req.Sign(ctx, d.Proof())
		if err != nil {
			return err
		}
		rep, err = e.cfg.Services.Post(ctx, e.cfg.Tenant, f, sts.ByUser, from(grant))
		if err != nil {
			return err
		}
		issued, err = prt.ParseIssuance(rep.Body, req, e.cfg.Now())
		if err != nil {
			return sts.Unreadable(rep, err, sts.ByUser)
		}
		return nil
	})
	return issued, rep, err
}
