package broker

import (
	"bytes"
	"context"
	"errors"
	"net/url"

	"github.com/prtbroker/prtbroker/broker/internal/signon"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// Users sign in to the Microsoft Authentication Broker client: only its refresh
// tokens become PRTs, and MFA that was done for another client does not reach a
// PRT. Its redirects are not loopback addresses, so the app that embeds the
// broker brings them back (Prompter.Authorize).

// signIns signs users in: to the broker client, or to an app's own client where
// there is no device registration.
type signIns struct {
	cfg *Config
	sts *sts.Client
}

// byAuthCode signs in at the authorize page for the broker client.
func (s *signIns) byAuthCode(ctx context.Context, op, resource string, c AuthCode) (*prt.Reply, error) {
	return s.visit(ctx, op, c.pages, sts.Visit{
		Tenant:    s.cfg.Tenant,
		Path:      wire.PathAuthorize,
		TokenPath: wire.PathToken,
		ClientID:  wire.ClientBroker,
		Redirect:  wire.RedirectBrokerDRS,
		Resource:  resource,
		Scope:     wire.ScopeOpen,
		LoginHint: c.LoginHint,
		MFA:       c.MFA,
		Again:     c.again,
	})
}

// visit has the user sign in at the authorize page, through pages or, where
// that is nil, through the Prompter.
func (s *signIns) visit(ctx context.Context, op string, pages Pages, v sts.Visit) (*prt.Reply, error) {
	if pages == nil {
		pages = s.cfg.Prompter
	}
	if pages == nil {
		return nil, &Error{Op: op, kind: ErrInteractionRequired, detail: "user interaction is required, and Config.Prompter is nil"}
	}
	for {
		page, err := s.sts.Visit(ctx, v)
		if err != nil {
			return nil, opError(op, err)
		}
		redirected, err := prompt(ctx, func() (string, error) { return pages.Authorize(ctx, page.URL, v.Redirect) })
		if err != nil {
			return nil, opError(op, err)
		}
		t, err := page.Redeem(ctx, redirected)
		if !errors.Is(err, sts.ErrMoved) {
			return t, opError(op, err)
		}
	}
}

// refreshBroker redeems a refresh token of the broker client for a resource.
func (s *signIns) refreshBroker(ctx context.Context, op string, token prt.Secret, resource string) (*prt.Reply, error) {
	t, err := s.sts.Grant(ctx, s.cfg.Tenant, wire.PathToken, url.Values{
		"grant_type":    {wire.GrantRefreshToken},
		"client_id":     {wire.ClientBroker},
		"refresh_token": {token.Reveal()},
		"resource":      {resource},
		"scope":         {wire.ScopeOpen},
	})
	return t, opError(op, err)
}

// byDeviceCode signs in on another machine for the broker client.
func (s *signIns) byDeviceCode(ctx context.Context, op, resource string, mfa bool) (*prt.Reply, error) {
	f, err := s.startBrokerCode(ctx, resource, mfa)
	if err != nil {
		return nil, opError(op, err)
	}
	if err := s.showDeviceCode(ctx, op, shown(f)); err != nil {
		return nil, err
	}
	t, err := f.Tokens(ctx)
	return t, opError(op, err)
}

func (s *signIns) showDeviceCode(ctx context.Context, op string, dc DeviceCode) error {
	if s.cfg.Prompter == nil {
		return &Error{Op: op, kind: ErrInteractionRequired, detail: "user interaction is required, and Config.Prompter is nil"}
	}
	_, err := prompt(ctx, func() (struct{}, error) { return struct{}{}, s.cfg.Prompter.DeviceCode(ctx, dc) })
	return opError(op, err)
}

// startBrokerCode asks for a device code of the broker client, whose refresh
// token can become a PRT.
func (s *signIns) startBrokerCode(ctx context.Context, resource string, mfa bool) (*sts.DeviceCode, error) {
	v := url.Values{"client_id": {wire.ClientBroker}, "resource": {resource}}
	if mfa {
		v.Set("amr_values", "ngcmfa")
	}
	return s.sts.DeviceCode(ctx, s.cfg.Tenant, wire.PathDeviceCode, v, "")
}

func shown(d *sts.DeviceCode) DeviceCode {
	return DeviceCode{UserCode: d.UserCode, VerificationURL: d.VerificationURL, Message: d.Message, ExpiresOn: d.ExpiresOn}
}

// brokerClientToken gets the broker client's token for a resource with a
// credential. AuthCode and DeviceCodeFlow involve the user.
func (s *signIns) brokerClientToken(ctx context.Context, op string, cred Credential, resource string) (*prt.Reply, error) {
	switch c := cred.(type) {
	case AuthCode:
		return s.byAuthCode(ctx, op, resource, c)
	case DeviceCodeFlow:
		return s.byDeviceCode(ctx, op, resource, c.MFA)
	case RefreshToken:
		return s.refreshBroker(ctx, op, prt.NewSecret(c.Token), resource)
	case Password:
		t, err := s.sts.Grant(ctx, s.cfg.Tenant, wire.PathToken, url.Values{
			"grant_type": {wire.GrantPassword},
			"client_id":  {wire.ClientBroker},
			"resource":   {resource},
			"username":   {c.Username},
			"password":   {c.Password},
			"scope":      {wire.ScopeOpen},
		})
		return t, opError(op, err)
	case nil:
		return nil, &Error{Op: op, detail: "a credential is required"}
	}
	return nil, &Error{Op: op, detail: "this credential cannot obtain a refresh token for the broker client: use AuthCode, WebFlow, DeviceCodeFlow, RefreshToken or Password"}
}

// grantFor turns a credential into the grant that requests a PRT.
func (s *signIns) grantFor(ctx context.Context, op string, cred Credential, hint string) (prt.Grant, signon.Provenance, error) {
	var t *prt.Reply
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
		t, err = s.byAuthCode(ctx, op, wire.ResourceUpdatePRT, c)
	case DeviceCodeFlow:
		t, err = s.byDeviceCode(ctx, op, wire.ResourceRegistrationApp, c.MFA)
	case SAMLAssertion:
		grant = samlGrant(c.Assertion)
	case Federated:
		var assertion []byte
		assertion, err = s.sts.Assertion(ctx, c.Username, c.Password)
		grant, err = samlGrant(assertion), opError(op, err)
	case nil:
		err = &Error{Op: op, detail: "a credential is required"}
	default:
		err = &Error{Op: op, detail: "this credential cannot obtain a PRT here"}
	}
	if err != nil {
		return nil, signon.Provenance{}, err
	}
	if t != nil {
		grant = prt.RefreshTokenGrant{Token: t.RefreshToken}
	}
	return grant, provenanceOf(cred, t, s.cfg.Now()), nil
}

func samlGrant(assertion []byte) prt.Grant {
	saml2 := bytes.Contains(assertion, []byte("urn:oasis:names:tc:SAML:2.0:assertion"))
	return prt.SAMLGrant{Assertion: prt.NewSecret(string(assertion)), SAML2: saml2}
}

// grantForApp has the user sign in to the app's own client; v holds what the
// grant sends besides the credential.
func (s *signIns) grantForApp(ctx context.Context, op string, cred Credential, q tokenRequest, v url.Values) (*prt.Reply, error) {
	switch c := cred.(type) {
	case AuthCode:
		if c.LoginHint == "" {
			c.LoginHint = q.loginHint
		}
		return s.visit(ctx, op, c.pages, q.visit(s.sts.Cloud(), c.LoginHint, v.Get("claims")))
	case DeviceCodeFlow:
		f, err := s.sts.DeviceCode(ctx, q.tenant, wire.PathDeviceCodeV2, v, q.confirmation())
		if err != nil {
			return nil, opError(op, err)
		}
		if err := s.showDeviceCode(ctx, op, shown(f)); err != nil {
			return nil, err
		}
		t, err := f.Tokens(ctx)
		return t, opError(op, err)
	case RefreshToken:
		v.Set("grant_type", wire.GrantRefreshToken)
		v.Set("refresh_token", c.Token)
	case Password:
		v.Set("grant_type", wire.GrantPassword)
		v.Set("username", c.Username)
		v.Set("password", c.Password)
	case nil:
		return nil, &Error{Op: op, detail: "a credential is required"}
	default:
		return nil, &Error{Op: op, kind: ErrDeviceNotRegistered, detail: "this credential needs a registered device"}
	}
	sts.Bind(v, q.confirmation())
	t, err := s.sts.Grant(ctx, q.tenant, wire.PathTokenV2, v)
	return t, opError(op, err)
}

// promptPIN asks for the PIN.
func (s *signIns) promptPIN(ctx context.Context, acct Account) (PIN, error) {
	pin, err := prompt(ctx, func() (PIN, error) { return s.cfg.Prompter.PIN(ctx, acct) })
	return bytes.Clone(pin), err
}

// prompt asks the user by a method of the Prompter and returns within ctx, even
// if the Prompter does not.
func prompt[T any](ctx context.Context, ask func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := ask()
		done <- result{v, err}
	}()
	var zero T
	select {
	case r := <-done:
		if r.err != nil {
			return zero, promptError(ctx, r.err)
		}
		return r.v, nil
	case <-ctx.Done():
		return zero, ctx.Err()
	}
}

func promptError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, ErrUserCanceled), errors.Is(err, errors.ErrUnsupported):
		return err
	}
	return &Error{detail: "the sign-in page was not completed", cause: err}
}
