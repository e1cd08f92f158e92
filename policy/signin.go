package policy

import (
	"net/netip"
	"time"

	"github.com/prtbroker/prtbroker/claims"
)

// Symbol stands for an id in one Set: a group, role, user, application, service
// principal, tenant or named location. The zero Symbol means that no id was
// given. A Symbol belongs to its Set: with another Set that numbers its ids
// differently, Evaluate answers OutcomeInvalid.
type Symbol uint64

// SignIn is what Evaluate judges: who signs in to what, from where, with
// which device, and what was proved so far. The caller keeps it; Evaluate
// neither changes nor retains it.
type SignIn struct {
	// Who. One of the two is needed; Subject wins.
	Subject *Subject // a principal's precompiled row, see Set.Subject
	User    *User    // the same facts, looked up at each call

	// To what: exactly one of App or AppID, Action, AuthContext, Traffic.
	App           Symbol
	AppID         string      // looked up when App is zero
	AppAttributes []Attribute // custom security attributes of the resource; nil: none assigned
	AgentResource bool        // the resource is an agent's: AllAgentIdResources includes it
	Action        UserAction
	AuthContext   int            // 1 … 99 for c1 … c99; 0: none
	Traffic       TrafficProfile // traffic forwarded by Global Secure Access

	// Scopes says what the request asks for, see ScopesOf. A request for nothing
	// but baseline scopes is judged as one for the directory, or as the options
	// WithBaselineApp and LegacyBaselineScopes say. A confidential client that
	// asks only for OpenID Connect scopes is judged as itself: App is the client.
	Scopes       ScopeKind
	Confidential bool // the client is confidential: it has a secret or a certificate

	// How.
	ClientApp         ClientApp    // required of users
	Platform          Platform     // zero: unknown, as of a ChromeOS user agent
	Flow              TransferFlow // how the session began, however long ago: it stays with every token derived from it
	Background        bool         // made without the user by a browser or a confidential client: a sign-in frequency waits for the next interaction
	Bound             bool         // signed with the session key of a PRT, as token protection requires; false: a bearer token, a cookie or a password
	AgentEndpointUser bool         // an agent's user session that began on an endpoint (agentContext, preview)

	// From where.
	IP               netip.Addr // the public address the service sees; zero: unknown
	Country          string     // ISO 3166-1 alpha-2 of IP; "": unknown
	GPSCountry       string     // proved by Authenticator: "" no proof, UnknownCountry a proof that names no country
	CompliantNetwork bool       // through Global Secure Access of the tenant
	Locations        []Symbol   // named locations known to hold by other means (service tags, private link)

	// On which device. Endpoint wins; both nil: an unregistered device.
	Endpoint *Endpoint // precompiled row of a device, see Set.Endpoint
	Device   *Device   // the same facts, every filter rule judged at each call

	// At which risk. Zero: none.
	SignInRisk           RiskLevel
	UserRisk             RiskLevel
	ServicePrincipalRisk RiskLevel
	AgentRisk            RiskLevel
	InsiderRisk          InsiderRisk

	// What was proved.
	Methods         claims.Methods // methods of this session, or of the PRT behind it
	AAGUID          string         // model of the FIDO2 authenticator among Methods; "": unknown, which fits no restricted strength
	CertIssuerSKI   string         // subject key identifier of the certificate's issuer, hex
	CertPolicyOIDs  []string       // policy OIDs of the certificate; the first five count
	ApprovedApp     bool           // the client is an approved app behind a broker; ignored once Entra has retired the control, see ApprovedAppUntil
	ProtectedApp    bool           // the client is under an app protection policy
	PasswordChanged bool           // in this session, after MFA
	RiskRemediated  bool           // in this session
	AcceptedTerms   []string       // ids of accepted terms of use
	CustomFactors   []string       // names of custom controls done
	Available       claims.Methods // methods the user could still use; 0: not known, so any

	// When. A sign-in updates the times of what it proves. So does an unlock of
	// a joined device: by Hello both, by password AuthTime. A plain renewal of
	// a PRT updates neither, nor does the unlock of a device that is only
	// registered.
	Now      time.Time // zero: unknown, and a sign-in frequency is then due
	AuthTime time.Time // last proof of the first factor; zero: unknown, and a sign-in frequency is then due
	MFATime  time.Time // last proof of MFA; zero: AuthTime
}

// UnknownCountry is a GPSCountry that is proved and lies in no country.
const UnknownCountry = "??"

// User is a principal: a person, a workload or an agent. Ids are opaque and
// compare without regard to case.
type User struct {
	Kind   IdentityKind
	ID     string   // object id
	Groups []string // transitive: the caller resolves nesting and dynamic rules; Entra may refuse users of more than 2,048
	Roles  []string // template ids of active, tenant-scoped, built-in roles

	GroupSymbols []Symbol // more groups, already as symbols
	RoleSymbols  []Symbol // more roles

	Guest      GuestType // zero: a member of this tenant; note that a b2bCollaborationMember is external too
	HomeTenant string    // tenant id of an external user
	// GuestAccount says that a B2BDirectConnectUser has a guest account here as
	// well: policies for B2B collaboration guests then reach the user in shared
	// channels.
	GuestAccount bool
	MFATrust     bool // inbound trust: an external user's home MFA counts
	DeviceTrust  bool // inbound trust: an external user's home device counts

	MultiTenant bool        // a workload of another tenant's app, or a managed identity: out of the reach of policies
	Attributes  []Attribute // custom security attributes of a workload or agent
	Blueprint   string      // of an agent: the id of its parent blueprint, by which policies may select it; "": none
}

// Attribute is a custom security attribute: "Set_Name" and its values.
type Attribute struct {
	Name     string
	Values   []string // none: as if not assigned
	Multiple bool     // defined as multi-valued: -contains then compares whole values
}

// IdentityKind says which condition of a policy selects a principal.
type IdentityKind uint8

// The kinds of identities.
const (
	IdentityPerson    IdentityKind = iota // conditions.users
	IdentityWorkload                      // conditions.clientApplications: a service principal
	IdentityAgent                         // conditions.clientApplications: the service principal of an agent
	IdentityAgentUser                     // conditions.agents: an agent's user account
)

// GuestType is one type of external user.
type GuestType uint8

// The types of guests and external users; GuestNone is everyone else.
const (
	GuestNone GuestType = iota
	GuestInternal
	GuestB2BCollaboration
	GuestB2BMember
	GuestB2BDirectConnect
	GuestOtherExternal
	GuestServiceProvider
)

// UserAction is an action that stands in place of an application.
type UserAction uint8

// User actions.
const (
	ActionNone                 UserAction = iota
	ActionRegisterSecurityInfo            // urn:user:registersecurityinfo
	ActionRegisterDevice                  // urn:user:registerdevice
)

// TrafficProfile is a traffic forwarding profile of Global Secure Access.
type TrafficProfile uint8

// Traffic profiles.
const (
	TrafficNone TrafficProfile = iota
	TrafficInternet
	TrafficMicrosoft365
	TrafficPrivate
)

// ClientApp is the type of the client application.
type ClientApp uint8

// Client application types. Legacy protocols are ExchangeActiveSync and
// OtherClients: they carry no device and answer no prompt.
const (
	ClientUnknown ClientApp = iota
	ClientBrowser
	ClientMobileOrDesktop
	ClientExchangeActiveSync   // on a platform that policies do not support
	ClientExchangeActiveSyncOK // on a supported platform: easSupported
	ClientOther
)

// Platform is a device platform, as the user agent tells.
type Platform uint8

// Platforms.
const (
	PlatformUnknown Platform = iota
	PlatformAndroid
	PlatformIOS
	PlatformWindows
	PlatformWindowsPhone
	PlatformMacOS
	PlatformLinux
)

// TransferFlow is the authentication flow that a session began with.
type TransferFlow uint8

// Flows.
const (
	TransferNone TransferFlow = iota
	TransferDeviceCode
	TransferAuthentication
)

// RiskLevel is a level of sign-in, user, service principal or agent risk.
// Policies list levels; there is no threshold.
type RiskLevel uint8

// Risk levels.
const (
	RiskNone RiskLevel = iota
	RiskLow
	RiskMedium
	RiskHigh
	RiskHidden
)

// InsiderRisk is a level of insider risk (Purview adaptive protection).
type InsiderRisk uint8

// Insider risk levels.
const (
	InsiderRiskNone InsiderRisk = iota
	InsiderRiskMinor
	InsiderRiskModerate
	InsiderRiskElevated
)

// Device is what the directory knows of a registered device. Only a registered
// device has facts: without one leave SignIn.Device nil, and every property of
// it is null to a filter rule. A private browser window shows no device either.
// An empty string in a Device is null too.
type Device struct {
	ID                     string
	DisplayName            string
	EnrollmentProfileName  string
	Manufacturer           string
	MDMAppID               string
	Model                  string
	OperatingSystem        string
	OperatingSystemVersion string
	Ownership              string // Company, Personal
	ProfileType            string // RegisteredDevice, SecureVM, Printer, Shared, IoT
	TrustType              TrustType
	Compliant              claims.Answer // Unknown: never reported; grants treat it as No, rules as null
	Managed                bool          // by Intune: isManaged
	// ExtensionAttributes 1 to 15. Entra knows them at the time of a sign-in
	// only if the device is managed, compliant or hybrid joined; of any other
	// device they are null here too.
	ExtensionAttributes [15]string
	PhysicalIDs         []string
	SystemLabels        []string
}

// TrustType says how a device is known to the directory.
type TrustType uint8

// Trust types, with the words that filter rules use.
const (
	TrustNone       TrustType = iota // null
	TrustRegistered                  // Workplace
	TrustJoined                      // AzureAD
	TrustHybrid                      // ServerAD
)
