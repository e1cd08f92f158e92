package claims

import (
	"slices"
	"strings"
)

// Methods is a set of authentication methods. The low bits have the values of
// Graph's authenticationMethodModes, so that a combination of an authentication
// strength is one mask; the high bits are marks of an amr claim that do not
// name a method. The zero value is the empty set.
type Methods uint32

// Authentication methods (Microsoft Graph, authenticationMethodModes).
const (
	Password Methods = 1 << iota
	Voice
	HardwareOATH
	SoftwareOATH
	SMS
	FIDO2
	WindowsHello
	AuthenticatorPush
	DeviceBasedPush // passwordless phone sign-in
	TemporaryAccessPassOneTime
	TemporaryAccessPassMultiUse
	Email
	CertificateSingleFactor
	CertificateMultiFactor
	FederatedSingleFactor
	FederatedMultiFactor
	_ // unknownFutureValue
	QRCodePIN
)

// Marks of an amr claim that do not name a method.
const (
	MarkMFA         Methods = 1 << 24 << iota // amr mfa: MFA was done, it does not say how
	MarkFreshMFA                              // amr ngcmfa: MFA fresh enough to provision a credential
	MarkRSA                                   // amr rsa: proof of an RSA key, such as the device key
	MarkWindowsAuth                           // amr wia
)

// marks are the bits that do not name a method.
const marks = MarkMFA | MarkFreshMFA | MarkRSA | MarkWindowsAuth

// multiFactor are the methods that are MFA by themselves in the built-in
// authentication strength "Multifactor authentication" (Microsoft Graph,
// authenticationStrengthPolicy).
const multiFactor = WindowsHello | FIDO2 | CertificateMultiFactor | DeviceBasedPush |
	TemporaryAccessPassOneTime | TemporaryAccessPassMultiUse | FederatedMultiFactor

// secondFactor are the methods that are MFA in that strength beside a password
// or the first factor of a federated identity provider; a certificate counts as
// one beside a password only.
const secondFactor = AuthenticatorPush | SoftwareOATH | HardwareOATH | SMS | Voice

// modes are the names of authenticationMethodModes, by bit.
var modes = [...]struct {
	bit  Methods
	name string
}{
	{Password, "password"},
	{Voice, "voice"},
	{HardwareOATH, "hardwareOath"},
	{SoftwareOATH, "softwareOath"},
	{SMS, "sms"},
	{FIDO2, "fido2"},
	{WindowsHello, "windowsHelloForBusiness"},
	{AuthenticatorPush, "microsoftAuthenticatorPush"},
	{DeviceBasedPush, "deviceBasedPush"},
	{TemporaryAccessPassOneTime, "temporaryAccessPassOneTime"},
	{TemporaryAccessPassMultiUse, "temporaryAccessPassMultiUse"},
	{Email, "email"},
	{CertificateSingleFactor, "x509CertificateSingleFactor"},
	{CertificateMultiFactor, "x509CertificateMultiFactor"},
	{FederatedSingleFactor, "federatedSingleFactor"},
	{FederatedMultiFactor, "federatedMultiFactor"},
	{QRCodePIN, "qrCodePin"},
}

// amrValues are the values of the amr claim (RFC 8176 and the Entra access
// token claims reference) and what each of them says. A value that several
// methods share, such as otp, sets the most common one. The order is the one
// in which AMR writes them.
var amrValues = [...]struct {
	value string
	bits  Methods
}{
	{"pwd", Password},
	{"tel", Voice},
	{"hwk", HardwareOATH},
	{"otp", SoftwareOATH},
	{"sms", SMS},
	{"fido", FIDO2},
	{"swk", AuthenticatorPush},
	{"email", Email},
	{"x509", CertificateSingleFactor},
	{"x5c", CertificateSingleFactor},
	{"sc", CertificateMultiFactor},
	{"fed", FederatedSingleFactor},
	{"rsa", MarkRSA},
	{"wia", MarkWindowsAuth},
	{"mfa", MarkMFA},
	{"ngcmfa", MarkFreshMFA},
	{"http://schemas.microsoft.com/claims/multipleauthn", MarkMFA},
}

// FromAMR reads the values of an amr claim. The second result holds the values
// that it does not know, which are never evidence of anything.
//
// The mapping loses detail because amr does: a Hello sign-in says rsa and mfa,
// of which only MarkRSA and MarkMFA are set.
func FromAMR(values []string) (m Methods, unknown []string) {
	for _, v := range values {
		i := slices.IndexFunc(amrValues[:], func(a struct {
			value string
			bits  Methods
		}) bool {
			return a.value == v
		})
		if i < 0 {
			unknown = append(unknown, v)
			continue
		}
		m |= amrValues[i].bits
	}
	return m, unknown
}

// AMR returns the amr values that Entra writes for the set. A method that is
// multi-factor by itself adds mfa; Windows Hello, phone sign-in and
// certificates, which have no value of their own, are rsa; a temporary access
// pass is otp.
func (m Methods) AMR() []string {
	if m&(WindowsHello|DeviceBasedPush|CertificateMultiFactor|CertificateSingleFactor|FIDO2) != 0 {
		m |= MarkRSA
	}
	if m&(TemporaryAccessPassOneTime|TemporaryAccessPassMultiUse) != 0 {
		m |= SoftwareOATH
	}
	if m&FederatedMultiFactor != 0 {
		m |= FederatedSingleFactor
	}
	if m.MFA() {
		m |= MarkMFA
	}
	// Entra writes rsa alone for certificates.
	m &^= CertificateSingleFactor | CertificateMultiFactor
	values := []string{}
	for _, a := range amrValues {
		if m&a.bits != 0 {
			values = append(values, a.value)
			m &^= a.bits
		}
	}
	return values
}

// MFA reports whether the set is multi-factor authentication: it has a mark
// that says so or a combination of the built-in authentication strength of that
// name. The RSA mark, which a device key sets too, is not a factor.
func (m Methods) MFA() bool {
	return m&(MarkMFA|MarkFreshMFA|multiFactor) != 0 ||
		m&(Password|FederatedSingleFactor) != 0 && m&secondFactor != 0 ||
		m.Has(Password|CertificateSingleFactor)
}

// Fresh reports whether the MFA was done for this very request (amr ngcmfa),
// which Entra wants when a credential is registered.
func (m Methods) Fresh() bool { return m&MarkFreshMFA != 0 }

// Modes returns only the methods that Graph's authenticationMethodModes name,
// without the marks.
func (m Methods) Modes() Methods { return m &^ marks }

// Has reports whether all of want is in the set.
func (m Methods) Has(want Methods) bool { return m&want == want }

// ParseMode reads one name of authenticationMethodModes, such as
// "windowsHelloForBusiness", without regard to case.
func ParseMode(name string) (Methods, bool) {
	for _, x := range modes {
		if strings.EqualFold(x.name, name) {
			return x.bit, true
		}
	}
	return 0, false
}

// ParseModes reads a combination as Graph writes it in allowedCombinations,
// names separated by commas: "password,sms".
func ParseModes(combination string) (m Methods, ok bool) {
	for name := range strings.SplitSeq(combination, ",") {
		bit, ok := ParseMode(strings.TrimSpace(name))
		if !ok {
			return 0, false
		}
		m |= bit
	}
	return m, true
}

// String returns the names of the methods and the amr values of the marks,
// separated by commas.
func (m Methods) String() string {
	var names []string
	for _, x := range modes {
		if m&x.bit != 0 {
			names = append(names, x.name)
		}
	}
	for _, a := range amrValues {
		if m&marks&a.bits != 0 {
			names = append(names, a.value)
			m &^= a.bits
		}
	}
	return strings.Join(names, ",")
}

// MarshalText returns what String returns.
func (m Methods) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText wrote. Names it does not know are
// skipped: a newer version may have written them.
func (m *Methods) UnmarshalText(text []byte) error {
	*m = 0
	for name := range strings.SplitSeq(string(text), ",") {
		if bit, ok := ParseMode(name); ok {
			*m |= bit
			continue
		}
		bit, _ := FromAMR([]string{name})
		*m |= bit & marks
	}
	return nil
}
