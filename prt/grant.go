package prt

import (
	"context"
	"encoding/base64"
	"time"

	"github.com/prtbroker/prtbroker/internal/wire"
)

// CredentialKind is the kind of credential that a PRT was obtained with. One
// PRT per kind is kept: a password change ends only those obtained with
// passwords.
type CredentialKind string

// Kinds of credentials; a [Grant] of each is named in brackets.
const (
	ByPassword     CredentialKind = "password"      // [PasswordGrant]
	ByRefreshToken CredentialKind = "refresh_token" // [RefreshTokenGrant]: a sign-in of the broker client on pages or by device code
	BySAML         CredentialKind = "saml"          // [SAMLGrant]: a federation server's assertion
	ByHello        CredentialKind = "hello"         // [HelloGrant]
	ByCertificate  CredentialKind = "certificate"   // [CertificateGrant]: a certificate of the user
)

// A Grant is how the user proves who they are in a [PRTRequest]:
// [PasswordGrant], [RefreshTokenGrant], [SAMLGrant], [HelloGrant] or
// [CertificateGrant].
type Grant interface {
	credential() CredentialKind
	client() string
	fill(ctx context.Context, p *payload, nonce string) error
}

// PasswordGrant proves the user's identity by user name and password (MS-OAPXBC
// 3.2.5.1.2.1.1).
type PasswordGrant struct {
	Username string
	Password Secret
}

func (PasswordGrant) credential() CredentialKind { return ByPassword }
func (PasswordGrant) client() string             { return wire.ClientWindowsSignIn }

func (g PasswordGrant) fill(_ context.Context, p *payload, _ string) error {
	if g.Username == "" || g.Password.IsZero() {
		return badRequest("no user name or no password")
	}
	p.GrantType, p.Username, p.Password = wire.GrantPassword, g.Username, g.Password.Reveal()
	return nil
}

// RefreshTokenGrant proves the user's identity by a refresh token that the
// broker client 29d9ed98-a469-4536-ade2-f981bc1d605e was issued without a
// device. The PRT inherits its authentication methods.
type RefreshTokenGrant struct{ Token Secret }

func (RefreshTokenGrant) credential() CredentialKind { return ByRefreshToken }
func (RefreshTokenGrant) client() string             { return wire.ClientBroker }

func (g RefreshTokenGrant) fill(_ context.Context, p *payload, _ string) error {
	if g.Token.IsZero() {
		return badRequest("no refresh token")
	}
	p.GrantType, p.RefreshToken = wire.GrantRefreshToken, g.Token.Reveal()
	return nil
}

// SAMLGrant proves the user's identity by the assertion of a federated identity
// provider (MS-OAPXBC 3.2.5.1.2.1.2).
type SAMLGrant struct {
	Assertion Secret // the Assertion element, UTF-8 XML
	SAML2     bool   // false: SAML 1.1
}

func (SAMLGrant) credential() CredentialKind { return BySAML }
func (SAMLGrant) client() string             { return wire.ClientWindowsSignIn }

func (g SAMLGrant) fill(_ context.Context, p *payload, _ string) error {
	if g.Assertion.IsZero() {
		return badRequest("no SAML assertion")
	}
	p.GrantType = wire.GrantSAML11
	if g.SAML2 {
		p.GrantType = wire.GrantSAML20
	}
	p.Assertion = base64.StdEncoding.EncodeToString(g.Assertion.Bytes())
	return nil
}

// assertionLife is how long before and after their time the assertions of Hello
// keys and user certificates are valid.
const assertionLife = 5 * time.Minute

// HelloGrant proves the user's identity by a Windows Hello for Business key
// (MS-OAPX 3.1.5.1.2): possession of the key and the PIN that releases it are
// two factors, so the PRT carries MFA from the start.
type HelloGrant struct {
	Key      Signer    // RSA, registered for the user
	Username string    // the user's UPN
	Audience string    // empty: "common", which Entra does not check; AD FS wants its issuer id
	Now      time.Time // required: when the assertion is made
}

func (HelloGrant) credential() CredentialKind { return ByHello }
func (HelloGrant) client() string             { return wire.ClientWindowsSignIn }

func (g HelloGrant) fill(ctx context.Context, p *payload, nonce string) error {
	if g.Key == nil {
		return badRequest("no Hello key")
	}
	kid, err := helloKeyID(g.Key.Public())
	if err != nil {
		return err
	}
	return assert(ctx, p, g.Key, header{Kid: kid, Use: "ngc"}, assertion{
		Issuer: g.Username, Audience: g.Audience, Scope: wire.ScopePRT, Nonce: nonce,
	}, g.Now)
}

// CertificateGrant proves the user's identity by the key of a user certificate
// (MS-OAPXBC 3.2.5.1.2.1.4).
type CertificateGrant struct {
	Key         Signer
	Certificate []byte // DER
	Username    string
	Audience    string    // empty: "common"
	Now         time.Time // required: when the assertion is made
}

func (CertificateGrant) credential() CredentialKind { return ByCertificate }
func (CertificateGrant) client() string             { return wire.ClientWindowsSignIn }

func (g CertificateGrant) fill(ctx context.Context, p *payload, nonce string) error {
	if g.Key == nil || len(g.Certificate) == 0 {
		return badRequest("no user certificate or no key for it")
	}
	return assert(ctx, p, g.Key, header{X5C: certs{g.Certificate}}, assertion{
		Issuer: g.Username, Audience: g.Audience, Nonce: nonce,
	}, g.Now)
}

// assertion is the payload of a JWT signed by a key of the user. The nonce is
// that of the request around it, as AD FS demands and Entra accepts.
type assertion struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	Scope    string `json:"scope,omitempty"`
	Nonce    string `json:"request_nonce"`
}

func assert(ctx context.Context, p *payload, key Signer, h header, a assertion, now time.Time) error {
	if a.Issuer == "" || now.IsZero() {
		return badRequest("an assertion without a user name or a time")
	}
	if a.Audience == "" {
		a.Audience = "common"
	}
	a.IssuedAt, a.Expires = now.Add(-assertionLife).Unix(), now.Add(assertionLife).Unix()
	body, err := marshal(a)
	if err != nil {
		return err
	}
	p.GrantType, p.Username = wire.GrantJWTBearer, a.Issuer
	p.Assertion, err = signRS256(ctx, key, h, body)
	return err
}
