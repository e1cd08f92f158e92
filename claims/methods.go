package claims

// Methods is a set of authentication methods. The low bits have the values of
// Graph's authenticationMethodModes, so that a combination of an
// authentication strength is one mask; the high bits are marks that an amr
// claim carries and that name no method.
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

// Marks of an amr claim that name no method.
const (
	MarkMFA         Methods = 1 << (24 + iota) // amr mfa: MFA was done, it does not say how
	MarkFreshMFA                               // amr ngcmfa: MFA fresh enough to provision a credential
	MarkRSA                                    // amr rsa: proof of an RSA key, such as the device key
	MarkWindowsAuth                            // amr wia
)
