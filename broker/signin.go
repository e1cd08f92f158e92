package broker

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// SignIn gets a PRT for a user on the registered device and keeps it beside
// those that other credentials gave the same user. It returns the account and
// the PRT's expiry, and no token; AcquireTokenSilent is next. It takes
// WithAccount, which then must be the user who signs in, and WithLoginHint.
//
// It returns ErrDeviceNotRegistered on a device that is not, ErrBadCredential,
// ErrUserNotFound, ErrAccountLocked or ErrUserDisabled when the service refuses
// the credential, and ErrInteractionRequired when it wants more than it.
func (b *Broker) SignIn(ctx context.Context, cred Credential, opts ...CallOption) (AuthResult, error) {
	const op = "sign in"
	if err := b.check(); err != nil {
		return AuthResult{}, err
	}
	c, err := b.call("SignIn", optAccount|optLoginHint, opts)
	if err != nil {
		return AuthResult{}, err
	}
	if b.unregistered(ctx) {
		res, err := b.signInApp(ctx, op, cred, c)
		return res, opError(op, err)
	}
	if _, err := b.loadDevice(ctx); err != nil {
		return AuthResult{}, opError(op, err)
	}
	p, err := b.proofFor(ctx, op, cred, c.loginHint)
	if err != nil {
		return AuthResult{}, opError(op, err)
	}
	res, err := b.issue(ctx, op, p, c.account)
	return res, opError(op, err)
}

// A proof is what buys a PRT, and what is known about it.
type proof struct {
	grant  prt.Grant
	origin origin
	// fresh is when the user did MFA, where the broker asked for a fresh one;
	// zero where it did not. The service takes one of the last ten minutes.
	fresh time.Time
}

// proofFor turns a credential into what buys a PRT.
func (b *Broker) proofFor(ctx context.Context, op string, cred Credential, hint string) (proof, error) {
	switch c := cred.(type) {
	case Password:
		return proof{grant: prt.PasswordGrant{Username: c.Username, Password: prt.NewSecret(c.Password)}, origin: originDirect}, nil
	case RefreshToken:
		return proof{grant: prt.RefreshTokenGrant{Token: prt.NewSecret(c.Token)}}, nil
	case AuthCode:
		if c.LoginHint == "" {
			c.LoginHint = hint
		}
		t, err := b.byAuthCode(ctx, op, wire.ResourceUpdatePRT, c.LoginHint, "", c.MFA)
		return b.tokenProof(t, cred, err)
	case DeviceCodeFlow:
		t, err := b.byDeviceCode(ctx, op, b.registrationResource(), c.MFA)
		return b.tokenProof(t, cred, err)
	case SAMLAssertion:
		return proof{grant: samlGrant(c.Assertion), origin: originDirect}, nil
	case Federated:
		grant, err := b.federatedGrant(ctx, op, c)
		return proof{grant: grant, origin: originDirect}, err
	case nil:
		return proof{}, &Error{Op: op, detail: "a credential is required"}
	}
	return proof{}, &Error{Op: op, detail: "this credential gives no PRT here"}
}

// tokenProof is the proof of a refresh token that the broker client got by a
// credential just now.
func (b *Broker) tokenProof(t *brokerToken, cred Credential, err error) (proof, error) {
	if err != nil {
		return proof{}, err
	}
	if t.RefreshToken.IsZero() {
		return proof{}, &Error{detail: "the reply has no refresh token"}
	}
	p := proof{grant: prt.RefreshTokenGrant{Token: t.RefreshToken}}
	mfa := false
	switch c := cred.(type) {
	case AuthCode:
		p.origin, mfa = originPage, c.MFA
	case DeviceCodeFlow:
		p.origin, mfa = originDeviceCode, c.MFA
	}
	if mfa {
		p.fresh = b.cfg.Now()
	}
	return p, nil
}

// apply completes the evidence of a PRT by when the user was there.
func (p proof) apply(t *prt.Token) {
	if p.fresh.IsZero() || t.Evidence.MFA != claims.Yes {
		return
	}
	if t.Evidence.At.IsZero() {
		t.Evidence.At = p.fresh
	}
	if t.Evidence.AuthTime.IsZero() {
		t.Evidence.AuthTime = p.fresh
	}
}

func samlGrant(assertion []byte) prt.Grant {
	saml2 := bytes.Contains(assertion, []byte("urn:oasis:names:tc:SAML:2.0:assertion"))
	return prt.SAMLGrant{Assertion: prt.NewSecret(string(assertion)), SAML2: saml2}
}

// issue buys a PRT and saves it with its session key. want, if not zero, is
// who must have signed in.
func (b *Broker) issue(ctx context.Context, op string, p proof, want Account) (AuthResult, error) {
	d, err := b.loadDevice(ctx)
	if err != nil {
		return AuthResult{}, err
	}
	issued, rep, err := b.requestPRT(ctx, op, d, p.grant)
	if err != nil {
		return AuthResult{}, err
	}
	t := issued.Token
	p.apply(t)
	t.DeviceID = d.cert.DeviceID
	acct := b.accountOf(t)
	if acct.HomeAccountID == "" {
		return AuthResult{}, &Error{Op: op, detail: "the reply does not say whose PRT it is", CorrelationID: rep.correlationID}
	}
	if !want.IsZero() && want.Key() != acct.Key() {
		return AuthResult{}, &Error{Op: op, kind: ErrInteractionRequired, Account: want, detail: "another user signed in than the one who was asked for"}
	}
	key, err := b.cfg.Keys.UnwrapSession(ctx, d.transport, issued.WrappedSessionKey)
	if err != nil {
		return AuthResult{}, keyError("unwrapping the session key", err)
	}
	t.SessionKey = key.Blob()
	a, err := b.hold(b.cfg.accountOwner(acct.Key()))
	if err != nil {
		_ = key.Close()
		return AuthResult{}, err
	}
	a.holdSession(string(t.SessionKey), key)
	if err := b.saveIssued(ctx, a, acct, prtEntry{token: t, origin: p.origin}); err != nil {
		return AuthResult{}, err
	}
	b.cfg.Logger.InfoContext(ctx, "signed in", "account", acct.HomeAccountID, "credential", string(t.Credential), "mfa", t.Evidence.MFA.String(), "correlation_id", rep.correlationID)
	return AuthResult{
		Account:   acct,
		ExpiresOn: t.ExpiresAt,
		Metadata:  ResultMetadata{Source: SourceInteractive, DeviceID: t.DeviceID, CorrelationID: rep.correlationID, MFA: t.Evidence},
	}, nil
}

// saveIssued keeps a new PRT in the account's record, which it makes for a new
// account.
func (b *Broker) saveIssued(ctx context.Context, a *account, acct Account, e prtEntry) error {
	if err := a.vault.create(ctx); err != nil {
		return err
	}
	_, err := a.load(ctx)
	switch {
	case err == nil:
		_, err = a.update(ctx, func(r *accountRecord) error {
			r.Account = acct
			r.set(e)
			return nil
		})
	case isNotFound(err):
		rec := &accountRecord{Version: stateVersion, Account: acct, PRTs: []prtEntry{e}}
		_, err = a.write(ctx, rec, sealedRecord{})
	}
	if err != nil {
		return err
	}
	a.releaseUnused()
	b.tokens.DropAccount(acct.HomeAccountID, acct.Environment)
	_, err = b.loadAccounts(ctx)
	return err
}

func (b *Broker) accountOf(t *prt.Token) Account {
	return Account{
		HomeAccountID:     t.HomeAccountID(),
		Environment:       b.login.Environment,
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
func (b *Broker) requestPRT(ctx context.Context, op string, d *device, grant prt.Grant) (*prt.Issuance, *reply, error) {
	wait := firstBackOff
	for try := 0; ; try++ {
		issued, rep, err := b.requestPRTOnce(ctx, op, d, grant)
		v := action(err)
		refused := v == aadsts.DeviceAuth || v == aadsts.DeviceGone
		if !refused || try == maxYoungTries || b.cfg.Now().Sub(d.record.Registered) > youngDevice {
			return issued, rep, err
		}
		b.cfg.Logger.InfoContext(ctx, "the service does not know the new device yet", "wait", wait)
		if err := b.sleep(ctx, wait); err != nil {
			return nil, nil, err
		}
		wait *= 2
	}
}

func (b *Broker) requestPRTOnce(ctx context.Context, op string, d *device, grant prt.Grant) (issued *prt.Issuance, rep *reply, err error) {
	err = b.withNonce(ctx, func(nonce string) error {
		req := prt.PRTRequest{Grant: grant, Nonce: nonce, OSVersion: b.cfg.Device.OSVersion}
		f, err := req.Sign(ctx, d.proof())
		if err != nil {
			return signError(op, err)
		}
		rep, err = b.post(ctx, op, b.cfg.Tenant, f, grantUser, "")
		if err != nil {
			return err
		}
		issued, err = prt.ParseIssuance(rep.body, req, b.cfg.Now())
		if err != nil {
			return b.readError(op, rep, err, grantUser)
		}
		return nil
	})
	return issued, rep, err
}

// signError is an error of building a signed request: of the key store, or of
// what the caller gave.
func signError(op string, err error) error {
	if errors.Is(err, prt.ErrRequest) {
		return &Error{Op: op, detail: "the request is incomplete", cause: err}
	}
	return keyError(op, err)
}
