package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/prtbroker/prtbroker/prt"
)

// A Credential is what a user signs in with. The kind of credential is kept
// with the PRT: a password change revokes only the PRTs that passwords
// obtained. Every credential prints as its kind, without its secret.
type Credential interface {
	kind() prt.CredentialKind
}

// Password is a user name and a password. It yields a PRT without the MFA
// claim. The broker sends it once, stores it nowhere and never sends it again
// by itself, since the service locks accounts ([ErrAccountLocked]).
type Password struct {
	Username string
	Password string
}

// RefreshToken is a plain refresh token that was issued to the Microsoft
// Authentication Broker client without a device, the only kind that becomes a
// PRT. The PRT inherits what the token says about MFA.
type RefreshToken struct {
	Token string
}

// AuthCode is a sign-in on the service's page through [Prompter.Authorize],
// with whatever methods the user has there.
type AuthCode struct {
	// LoginHint fills in the user name. It may be empty.
	LoginHint string
	// MFA asks for a fresh MFA, which the PRT then carries.
	MFA bool

	again bool  // the first factor too, not the browser's session
	only  bool  // on a page or not at all
	pages Pages // in place of Config.Prompter; nil: Config.Prompter
}

// DeviceCodeFlow is a sign-in on another machine through [Prompter.DeviceCode].
// The service marks the tokens that result: a policy on authentication flows
// may refuse them, and they never show a device's compliance by themselves.
type DeviceCodeFlow struct {
	// MFA asks for a fresh MFA, which the PRT then carries.
	MFA bool
}

// WebFlow is a sign-in on the service's pages without a browser: Pages goes
// through them and asks the user for what they need. It is like AuthCode, with
// Pages in place of Config.Prompter.
type WebFlow struct {
	// Pages goes through the pages, such as a *webflow.Pages. It is required.
	Pages Pages
	// LoginHint is the user's name. Empty: that of WithLoginHint.
	LoginHint string
	// MFA asks for a fresh MFA, which the PRT then carries.
	MFA bool
}

// Pages goes through sign-in pages.
type Pages interface {
	// Authorize is [Prompter].Authorize.
	Authorize(ctx context.Context, url, redirectPrefix string) (redirected string, err error)
}

// asPage returns a WebFlow as the AuthCode that it is, and any other credential
// unchanged.
func asPage(cred Credential) Credential {
	w, ok := cred.(WebFlow)
	if !ok {
		return cred
	}
	if w.Pages == nil {
		w.Pages = noPages{}
	}
	return AuthCode{LoginHint: w.LoginHint, MFA: w.MFA, pages: w.Pages}
}

type noPages struct{}

func (noPages) Authorize(context.Context, string, string) (string, error) {
	return "", errors.New("broker: WebFlow.Pages is required")
}

// SAMLAssertion is what a federation server issued for the user.
type SAMLAssertion struct {
	// Assertion is the assertion element, as XML.
	Assertion []byte
}

// Federated is a password for the organization's own federation server
// (WS-Trust), which is found through the user's realm and answers with an
// assertion. Entra does not see the password. It is sent once, like that of
// Password: the directory behind the server locks accounts too.
type Federated struct {
	Username string
	Password string
}

// PIN is the PIN of a Hello key. It prints as [redacted].
type PIN []byte

func (Password) kind() prt.CredentialKind       { return prt.ByPassword }
func (RefreshToken) kind() prt.CredentialKind   { return prt.ByRefreshToken }
func (AuthCode) kind() prt.CredentialKind       { return prt.ByRefreshToken }
func (DeviceCodeFlow) kind() prt.CredentialKind { return prt.ByRefreshToken }
func (WebFlow) kind() prt.CredentialKind        { return prt.ByRefreshToken }
func (SAMLAssertion) kind() prt.CredentialKind  { return prt.BySAML }
func (Federated) kind() prt.CredentialKind      { return prt.BySAML }

func formatSecret(f fmt.State, name string) { _, _ = io.WriteString(f, name+"{"+redacted+"}") }

// Format implements [fmt.Formatter] without the password.
func (Password) Format(f fmt.State, _ rune) { formatSecret(f, "Password") }

// LogValue implements [slog.LogValuer] without the password.
func (Password) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler] without the password.
func (Password) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Format implements [fmt.Formatter] without the token.
func (RefreshToken) Format(f fmt.State, _ rune) { formatSecret(f, "RefreshToken") }

// LogValue implements [slog.LogValuer] without the token.
func (RefreshToken) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler] without the token.
func (RefreshToken) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Format implements [fmt.Formatter] without the assertion.
func (SAMLAssertion) Format(f fmt.State, _ rune) { formatSecret(f, "SAMLAssertion") }

// LogValue implements [slog.LogValuer] without the assertion.
func (SAMLAssertion) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler] without the assertion.
func (SAMLAssertion) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Format implements [fmt.Formatter] without the password.
func (Federated) Format(f fmt.State, _ rune) { formatSecret(f, "Federated") }

// LogValue implements [slog.LogValuer] without the password.
func (Federated) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler] without the password.
func (Federated) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Format implements [fmt.Formatter] without the PIN.
func (HelloPIN) Format(f fmt.State, _ rune) { formatSecret(f, "HelloPIN") }

// Format implements [fmt.Formatter] without the PIN.
func (PIN) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements [slog.LogValuer] without the PIN.
func (PIN) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler] without the PIN.
func (PIN) MarshalText() ([]byte, error) { return []byte(redacted), nil }
