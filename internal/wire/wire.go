// Package wire holds the constants of the Entra protocols that client and
// service must spell alike: client ids, paths, field names, header names,
// grant types and sizes. It holds no behaviour, so that the broker and the
// emulator cannot share a mistake through it.
package wire

// Hosts of the public cloud.
const (
	LoginHost        = "login.microsoftonline.com"
	RegistrationHost = "enterpriseregistration.windows.net"
	GraphHost        = "graph.microsoft.com"
	STSHost          = "sts.windows.net"
)

// Client ids of first-party public clients.
const (
	// ClientWindowsSignIn signs in users with a password, SAML or a Hello key
	// and renews PRTs (MS-OAPXBC 3.2.5.1.2).
	ClientWindowsSignIn = "38aa3b87-a06d-4817-b275-7a316988d93b"
	// ClientBroker is the Microsoft Authentication Broker, the only normal
	// client whose plain refresh token becomes a PRT.
	ClientBroker = "29d9ed98-a469-4536-ade2-f981bc1d605e"
	// ClientDeviceRegistration asks for the Hello key provisioning token.
	ClientDeviceRegistration = "dd762716-544d-4aeb-a526-687b73838a22"
	// ClientCompanyPortalLinux is the Intune portal and broker on Linux.
	ClientCompanyPortalLinux = "b743a22d-6705-4147-8670-d92fa515ee2b"
	// ClientBulkJoin redeems bulk enrolment tokens.
	ClientBulkJoin = "b90d5b8f-5503-4153-b545-b31cecfaece2"
)

// Resources.
const (
	ResourceRegistration    = "urn:ms-drs:enterpriseregistration.windows.net"
	ResourceRegistrationApp = "01cb2876-7ebd-4aa4-9cc9-d28bd4d359a9"
	// ResourceUpdatePRT asks for a refresh token fit to become a PRT with the
	// MFA claim of this sign-in.
	ResourceUpdatePRT  = "urn:aad:tb:update:prt"
	ResourceEnrollment = "https://enrollment.manage.microsoft.com/"
	ResourceGraph      = "https://graph.microsoft.com"
	ResourceGraphApp   = "00000003-0000-0000-c000-000000000000"
	ResourceAADGraph   = "00000002-0000-0000-c000-000000000000"
)

// Redirect URIs.
const (
	RedirectBrokerDRS    = "ms-appx-web://Microsoft.AAD.BrokerPlugin/DRS"
	RedirectBroker       = "msauth://Microsoft.AAD.BrokerPlugin"
	RedirectPluginPrefix = "ms-appx-web://Microsoft.AAD.BrokerPlugin/" // followed by a client id
	RedirectNativeClient = "https://login.microsoftonline.com/common/oauth2/nativeclient"
)

// Paths below /{tenant} on the login host.
const (
	PathToken         = "/oauth2/token"
	PathTokenV2       = "/oauth2/v2.0/token"
	PathAuthorize     = "/oauth2/authorize"
	PathAuthorizeV2   = "/oauth2/v2.0/authorize"
	PathDeviceCode    = "/oauth2/devicecode"
	PathDeviceCodeV2  = "/oauth2/v2.0/devicecode"
	PathDiscovery     = "/.well-known/openid-configuration"
	PathInstance      = "/common/discovery/instance"
	PathUserRealm     = "/common/UserRealm/" // followed by the user name
	PathGetCredential = "/GetCredentialType"
)

// Paths on the registration host.
const (
	PathDevice         = "/EnrollmentServer/device/"
	PathKey            = "/EnrollmentServer/key/"
	PathDRSNonce       = "/EnrollmentServer/nonce/"
	PathDRSDiscover    = "/Discover" // after the tenant
	DRSVersionDevice   = "2.0"
	DRSVersionKey      = "1.0"
	DRSVersionNonce    = "1.0"
	DRSVersionDiscover = "1.9"
)

// Grant types.
const (
	GrantJWTBearer    = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	GrantPassword     = "password"
	GrantRefreshToken = "refresh_token"
	GrantAuthCode     = "authorization_code"
	GrantDeviceCode   = "urn:ietf:params:oauth:grant-type:device_code"
	GrantSAML11       = "urn:ietf:params:oauth:grant-type:saml1_1-bearer"
	GrantSAML20       = "urn:ietf:params:oauth:grant-type:saml2-bearer"
	GrantNonce        = "srv_challenge"
	GrantDeviceToken  = "device_token"
	GrantDeviceAuth   = "device_auth"
)

// Names of headers and cookies that carry a PRT or a device proof.
const (
	CookieRefreshToken = "x-ms-RefreshTokenCredential"
	CookieDevice       = "x-ms-DeviceCredential"
)

// Scopes of PRT requests (MS-OAPXBC 3.2.5.1.2.1). The scope aza is what asks
// for a PRT; ugs asks for the SIDs of the user and of its groups.
const (
	ScopePRT  = "openid aza ugs"
	ScopeAZA  = "aza"
	ScopeOpen = "openid"
)

// Join types of a registration request (the public join specification, 2.2)
// and what extension 1.2.840.113556.1.5.284.7 of the certificate then says.
const (
	JoinTypeJoin     = 0
	JoinTypeRegister = 4
	JoinTypeHybrid   = 6
)

// CSRCommonName is the constant subject of every join CSR.
const CSRCommonName = "7E980AD9-B86D-4306-9425-9AC066FB014A"

// Extensions of a device certificate.
const (
	OIDDeviceID = "1.2.840.113556.1.5.284.2"
	OIDUserID   = "1.2.840.113556.1.5.284.3"
	OIDTenantID = "1.2.840.113556.1.5.284.5"
	OIDJoinType = "1.2.840.113556.1.5.284.7"
	OIDRegion   = "1.2.840.113556.1.5.284.8"
)

// Sizes, in bytes.
const (
	SessionKeySize = 32
	ContextSize    = 24 // the random ctx of a request; any size is accepted in replies
)
