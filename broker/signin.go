package broker

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// SignIn gets a PRT for a user on the registered device and keeps it beside
// those that other credentials gave the same user. It returns the account and
// the PRT's expiry, and no token; AcquireTokenSilent is next. It takes
// WithAccount, which then must be the user who signs in, and WithLoginHint.
//
// It returns ErrDeviceNotRegistered on a device that is not, ErrBadCredential,
// ErrUserNotFound, ErrAccountLocked or ErrUserDisabled when the service refuses
// the credential, and ErrInteractionRequired when it wants more than it.
func (b *Broker) SignIn(ctx context.Context, cred Credential, opts ...CallOption) (_ AuthResult, err error) {
	const op = "sign in"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return AuthResult{}, err
	}
	defer leave(&err)
	c, err := b.call("SignIn", optAccount|optLoginHint, opts)
	if err != nil {
		return AuthResult{}, err
	}
	if b.unregistered(ctx) {
		res, err := b.signInApp(ctx, op, cred, c)
		return res, opError(op, err)
	}
	if _, err := b.devices.Current(ctx); err != nil { // before the user is asked
		return AuthResult{}, opError(op, err)
	}
	if h, ok := cred.(HelloPIN); ok {
		res, err := b.signInHello(ctx, op, c.account, h.PIN, 0)
		return res, opError(op, err)
	}
	grant, from, err := b.grantFor(ctx, op, cred, c.loginHint)
	if err != nil {
		return AuthResult{}, opError(op, err)
	}
	res, err := b.issue(ctx, op, grant, from, c.account)
	return res, opError(op, err)
}

// grantFor turns a credential into what buys a PRT.
func (b *Broker) grantFor(ctx context.Context, op string, cred Credential, hint string) (prt.Grant, provenance, error) {
	var t *brokerToken
	var grant prt.Grant
	var err error
	switch c := cred.(type) {
	case Password:
		grant = prt.PasswordGrant{Username: c.Username, Password: prt.NewSecret(c.Password)}
	case RefreshToken:
		grant = prt.RefreshTokenGrant{Token: prt.NewSecret(c.Token)}
	case AuthCode:
		if c.LoginHint == "" {
			c.LoginHint = hint
		}
		t, err = b.byAuthCode(ctx, op, wire.ResourceUpdatePRT, c)
	case DeviceCodeFlow:
		t, err = b.byDeviceCode(ctx, op, b.registrationResource(), c.MFA)
	case SAMLAssertion:
		grant = samlGrant(c.Assertion)
	case Federated:
		var assertion []byte
		assertion, err = b.sts.Assertion(ctx, c.Username, c.Password)
		grant, err = samlGrant(assertion), opError(op, err)
	case nil:
		err = &Error{Op: op, detail: "a credential is required"}
	default:
		err = &Error{Op: op, detail: "this credential gives no PRT here"}
	}
	if err != nil {
		return nil, provenance{}, err
	}
	if t != nil {
		grant = prt.RefreshTokenGrant{Token: t.RefreshToken}
	}
	return grant, provenanceOf(cred, t, b.cfg.Now()), nil
}

func samlGrant(assertion []byte) prt.Grant {
	saml2 := bytes.Contains(assertion, []byte("urn:oasis:names:tc:SAML:2.0:assertion"))
	return prt.SAMLGrant{Assertion: prt.NewSecret(string(assertion)), SAML2: saml2}
}

// issue buys a PRT and saves it with its session key. want, if not zero, is
// who must have signed in.
func (b *Broker) issue(ctx context.Context, op string, grant prt.Grant, from provenance, want Account) (res AuthResult, err error) {
	ctx, end := b.cfg.span(ctx, "sign in")
	defer func() { end(err) }()
	d, err := b.devices.Current(ctx) // what another process erased gets no PRT
	if err != nil {
		return AuthResult{}, err
	}
	issued, rep, err := b.requestPRT(ctx, op, d, grant)
	if err != nil {
		b.heardOf(ctx, want, err)
		return AuthResult{}, err
	}
	t := issued.Token
	t.DeviceID = d.Cert.DeviceID
	from.complete(t)
	acct := b.accountOf(t)
	if acct.HomeAccountID == "" {
		return AuthResult{}, &Error{Op: op, detail: "the reply does not say whose PRT it is", CorrelationID: rep.CorrelationID}
	}
	if !want.IsZero() && want.Key() != acct.Key() {
		return AuthResult{}, &Error{Op: op, kind: ErrInteractionRequired, Account: want, detail: "another user signed in than the one who was asked for"}
	}
	key, err := b.cfg.Keys.UnwrapSession(ctx, d.Transport, issued.WrappedSessionKey)
	if err != nil {
		return AuthResult{}, keyError("unwrapping the session key", err)
	}
	t.SessionKey = key.Blob()
	a, err := b.saveIssued(ctx, acct, account.PRT{Token: t, Origin: from.origin}, key)
	if err != nil {
		return AuthResult{}, err
	}
	b.heard(ctx, a, b.cfg.Tenant, t.Credential, nil)
	b.cfg.Logger.InfoContext(ctx, "signed in", "account", acct.HomeAccountID, "credential", string(t.Credential), "mfa", t.Evidence.MFA.String(), "correlation_id", rep.CorrelationID)
	return AuthResult{
		Account:   acct,
		ExpiresOn: t.ExpiresAt,
		Metadata:  ResultMetadata{Source: SourceInteractive, DeviceID: t.DeviceID, CorrelationID: rep.CorrelationID, MFA: t.Evidence},
	}, nil
}

// saveIssued keeps a new PRT in the account's record, which it makes for a new
// account, and its session key open.
func (b *Broker) saveIssued(ctx context.Context, acct Account, e account.PRT, key tpm.SessionKey) (*account.Account, error) {
	a, err := b.book.Put(ctx, account.Identity(acct), func(r *account.Record) error {
		r.Account = account.Identity(acct)
		r.Set(e)
		return nil
	})
	if err != nil {
		_ = key.Close()
		return nil, err
	}
	a.HoldSession(string(e.Token.SessionKey), key)
	a.ReleaseUnused()
	// Who signs in anew may want tokens that say so; an unlock is no reason to
	// fetch those of every app again.
	if e.Token.Credential != prt.ByHello {
		b.tokens.DropAccount(acct.HomeAccountID, acct.Environment)
	}
	_, _, err = b.book.All(ctx)
	return a, err
}

// heardOf is heard about an account that may not be known here.
func (b *Broker) heardOf(ctx context.Context, acct Account, err error) {
	known := b.book.Known()
	a := known[b.book.Owner(account.Identity(acct))]
	if a == nil && ofDevice(action(err)) {
		for _, any := range known { // it is about every account
			a = any
			break
		}
	}
	if a != nil {
		b.heard(ctx, a, b.cfg.Tenant, "", err)
	}
}

func (b *Broker) accountOf(t *prt.Token) Account {
	return Account{
		HomeAccountID:     t.HomeAccountID(),
		Environment:       b.cloud().Environment,
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

// requestPRT asks for a PRT. While the device is young, its refusal is tried
// again for about a minute.
func (b *Broker) requestPRT(ctx context.Context, op string, d *device.Device, grant prt.Grant) (*prt.Issuance, *sts.Reply, error) {
	wait := firstBackOff
	for try := 0; ; try++ {
		issued, rep, err := b.requestPRTOnce(ctx, op, d, grant)
		v := action(err)
		refused := v == aadsts.DeviceAuth || v == aadsts.DeviceGone
		if !refused || try == maxYoungTries || b.cfg.Now().Sub(d.Record.Registered) > youngDevice {
			return issued, rep, err
		}
		b.cfg.Logger.InfoContext(ctx, "the service does not know the new device yet", "wait", wait)
		if err := b.sleep(ctx, wait); err != nil {
			return nil, nil, err
		}
		wait *= 2
	}
}

func (b *Broker) requestPRTOnce(ctx context.Context, op string, d *device.Device, grant prt.Grant) (issued *prt.Issuance, rep *sts.Reply, err error) {
	err = b.sts.WithNonce(ctx, func(nonce string) error {
		req := prt.PRTRequest{Grant: grant, Nonce: nonce, OSVersion: b.cfg.Device.OSVersion}
		f, err := req.Sign(ctx, d.Proof())
		if err != nil {
			return signError(op, err)
		}
		rep, err = b.sts.Post(ctx, b.cfg.Tenant, f, sts.ByUser, "")
		if err != nil {
			return err
		}
		issued, err = prt.ParseIssuance(rep.Body, req, b.cfg.Now())
		if err != nil {
			return sts.Unreadable(rep, err, sts.ByUser)
		}
		return nil
	})
	return issued, rep, opError(op, err)
}

// signError is an error of building a signed request: of the key store, or of
// what the caller gave.
func signError(op string, err error) error {
	if e := pinError(err); e != nil {
		return e
	}
	if errors.Is(err, prt.ErrRequest) {
		return &Error{Op: op, detail: "the request is incomplete", cause: err}
	}
	return keyError(op, err)
}
