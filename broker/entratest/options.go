package entratest

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"time"

	"github.com/prtbroker/prtbroker/policy"
)

// Options describes the tenant, or tenants, that a [Server] serves. The zero
// value is a usable empty tenant, contoso.example; the comment on each field
// says what its zero value means.
type Options struct {
	Domain      string // verified domain of the tenant; "": contoso.example
	TenantID    string // "": derived from Seed
	DisplayName string // "": Contoso for contoso.example, else the domain

	// Domains are further verified domains of the tenant, whose users sign in as those
	// of Domain do, such as contoso.onmicrosoft.com.
	Domains []string

	Users   []User
	Groups  []Group
	Devices []Device // known to the directory, without keys
	Apps    []App    // in addition to the first-party clients and resources, which are always there

	// Policies is a Conditional Access export from Microsoft Graph: a policy, a
	// collection ({"value": […]}) or an array of them, together with the named
	// locations and authentication strengths that the policies refer to. Nil: no
	// policies.
	Policies json.RawMessage

	// Federated lists domains of the tenant whose users sign in at a
	// federation server (WS-Trust), which the emulator plays too.
	Federated []string
	// FederatedMFA is the federatedIdpMfaBehavior of these domains, one of the
	// values of Microsoft Graph's internalDomainFederation:
	// acceptIfMfaDoneByFederatedIdp, enforceMfaByFederatedIdp, which sends the user
	// to the federation server for MFA, or rejectMfaByFederatedIdp. "": the first.
	// The federation server asks for a code if the user has FederationTOTP.
	FederatedMFA string

	// OtherTenants are served in addition to the first one.
	OtherTenants []Tenant

	Clock *Clock                           // nil: the real time
	Seed  uint64                           // for identifiers, nonces and tokens; equal seeds and calls give equal answers
	Logf  func(format string, args ...any) // receives client mistakes and events; nil: discarded
	TTL   TTL

	// ReplicationLag is how long after a join the sign-in service refuses the
	// new device with AADSTS50155, as the real one does. Zero: one minute;
	// negative: no lag.
	ReplicationLag time.Duration

	// DirectoryLag is how long the sign-in service does not know a user from AddUser or
	// an application from AddApp, a new secret or permission included: until then it
	// refuses the new one and accepts the former one, as Entra may for seconds to
	// minutes. [Server.SetDirectoryLag] changes it. Zero: no lag.
	DirectoryLag time.Duration

	// DisabledDevice50155 answers a disabled device that asks for a PRT with
	// AADSTS50155, as Microsoft's page "Troubleshoot primary refresh token
	// issues" says (2026-02), instead of AADSTS135011, which clients report.
	DisabledDevice50155 bool
	// RefuseKDFv1 refuses requests signed with a key from version 1 of the key
	// derivation (AADSTS5000611), as Entra does for Windows builds that support no
	// other ("Update on KDFv1 removal"). Whether Entra does so for protocol 3.0 is
	// not published.
	RefuseKDFv1 bool
	// RollDropsMFA drops the MFA claim from a password-based PRT when its session
	// key rolls, so that MFA may be required again ("Understanding Primary Refresh
	// Token (PRT)").
	RollDropsMFA bool
	// BindBrowserSessions ignores the session cookie from a sign-in with a PRT unless
	// the browser presents the PRT again: the cookie is bound to the session key of
	// the PRT (same page).
	BindBrowserSessions bool
	// ReplicationTries ends the lag early after this many refused requests from
	// the device, for clients whose clock stands still while they back off.
	// Zero: two; negative: only the clock ends the lag.
	ReplicationTries int

	// RequireMFAToJoin is the device setting "Require multifactor
	// authentication to register or join devices".
	RequireMFAToJoin bool
	// DeviceQuota is how many devices a user may own; zero: 50.
	DeviceQuota int
	// InheritDeviceMFA carries the MFA done while registering a device over to
	// the first PRT of its owner, as Entra did until August 2021.
	InheritDeviceMFA bool
	// RefuseTOTPReuse refuses the second use of a one-time code (RFC 6238,
	// 5.2). The default allows it, since a virtual clock stands still.
	RefuseTOTPReuse bool
	// NoUserConsent is the setting "Do not allow user consent": the pages refuse users
	// who are not administrators with AADSTS90094 in place of asking for consent.
	NoUserConsent bool
	// AskToStaySignedIn shows the "Stay signed in?" page (KMSI) after a sign-in.
	AskToStaySignedIn bool
	// Pages says how the sign-in pages differ from what most tenants see.
	Pages Pages
	// GCMReplies encrypts replies with AES-256-GCM. The default is what the
	// v1 endpoint of Entra does: AES-256-CBC labelled as A256GCM.
	GCMReplies bool
	// PlainReplies answers requests signed with a session key in plain JSON
	// instead of a JWE, which clients have to accept.
	PlainReplies bool
	// RollSessionKey sends a new session key with every renewal of a PRT.
	// False: only when the key is older than TTL.SessionKey.
	RollSessionKey bool

	// Judge decides in place of package policy's engine, for tests that compare
	// the engine with another implementation of the same policies. Nil: the engine.
	Judge func(*policy.Bundle, *policy.SignIn) Judgement

	// ClientAddress is where a request comes from as Conditional Access sees
	// it: the public address and its country (ISO 3166-1 alpha-2, "" unknown).
	// Nil: the address of the connection, in no known country.
	ClientAddress func(*http.Request) (netip.Addr, string)

	// WithoutQuirks switches off behaviours in which Entra differs from OpenID Connect, to
	// find out which of them breaks a program; see [Quirk]. Nil: the server has them all.
	WithoutQuirks []Quirk

	// SignInLog is how many sign-ins are kept, and how many PRTs [Server.PRTs] lists;
	// zero: 10,000.
	SignInLog int
	// Faults are installed from the start; see [Server.AddFault].
	Faults []Fault

	// State continues an earlier server; see [Server.State]. It replaces the seed
	// and the fields above that describe tenants and their users, groups and apps.
	// Policies, if not nil, replaces the policies of its first tenant. Nil: a new
	// server.
	State []byte
}

// Pages holds traits of the sign-in pages that vary between tenants, or that the
// real service shows only at times. Programs that drive the pages must cope with
// each of them.
type Pages struct {
	// Intermediate puts a page that posts itself ("Working...") behind a first
	// factor.
	Intermediate bool
	// ScriptRedirect ends a sign-in with a page whose script goes to the redirect
	// URI (document.location.replace) instead of with an HTTP redirect. It applies
	// to response_mode query.
	ScriptRedirect bool
	// SecurityKeysOnly makes the passkey policy of the tenant allow security keys
	// alone: fIsPasskeySupportEnabled is false in $Config.
	SecurityKeysOnly bool
	// RegistrationDays is how many days users without a second factor have left
	// before they must register one (Microsoft Entra ID Protection, "Configure
	// the multifactor authentication registration policy": 14 days). Users can
	// skip the page that asks for it. Zero: users are not asked before a policy
	// demands MFA.
	RegistrationDays int
	// RegistrationCampaign asks users who did MFA without an authenticator app to
	// register one (AADSTS50203), which they can postpone ("How to run a
	// registration campaign to set up Microsoft Authenticator").
	RegistrationCampaign bool
	// ConfirmApp asks the user of an app whose redirect URI is neither http nor
	// https whether they meant to sign in to that app (AADSTS50199,
	// CmsiInterrupt), as the service does when it takes the browser for the system
	// browser.
	ConfirmApp bool
}

// Judgement is the decision of [Options].Judge about a sign-in. Deciding and Results
// refer to the policies of the bundle by their indices.
type Judgement struct {
	Outcome  policy.Outcome
	Reason   policy.Reason    // of a block; else zero
	Controls []policy.Control // to prompt for, or what cannot be fulfilled
	Deciding []int            // the policies that decided
	Results  []policy.Result  // of each policy; may be nil
}

// Tenant describes an additional tenant. Its fields mean the same as those of
// the same name in [Options].
type Tenant struct {
	Domain      string // required
	TenantID    string
	DisplayName string
	Users       []User
	Groups      []Group
	Apps        []App
	Policies    json.RawMessage
	Federated   []string
	Domains     []string
	Devices     []Device

	FederatedMFA string
}

// User is a user of a tenant.
type User struct {
	Username string // UPN; the domain of the tenant is added if it has none
	ID       string // object id; "": derived from Seed
	Name     string // display name; "": derived from Username
	Password string // "": no password; the user can only sign in with a key or a pass

	TOTPSecret string // base32, as authenticator apps show it; "": no authenticator app with codes
	// FederationTOTP is the base32 secret of the codes that the federation server
	// of a federated user asks for in addition to the password; "": it asks for
	// none.
	FederationTOTP string
	// NumberMatch registers an authenticator app that asks for the number shown
	// on the page. The test answers with [Server.AnswerNumberMatch], or
	// [Person] does if it is linked to the server.
	NumberMatch bool
	// PhoneSignIn also lets that app sign in without a password, with a number
	// match that counts as MFA by itself. It implies NumberMatch.
	PhoneSignIn bool
	// Phone is a telephone number for text messages and calls as second
	// factors; "": none. [Server.SMSCode] reads the messages and
	// [Server.AnswerCall] answers the calls.
	Phone        string
	HardwareTOTP string    // base32 secret of a hardware token (OATH); "": none
	Passkeys     []Passkey // FIDO2 credentials already registered

	Roles []string // template ids of directory roles
	// Guest is the userType Guest. A guest whose Username has a domain that is not of
	// the tenant is invited from there (B2B collaboration): gus@partner.example is named
	// gus_partner.example#EXT#@ and the tenant's domain, has the Username as Mail unless
	// that is set, and signs in with either name. Conditional Access sees an external
	// user of that domain's tenant, and tokens have the claims idp and email.
	Guest    bool
	Disabled bool
	SID      string // on-premises SID; "": a cloud-only user
	Mail     string // e-mail address; "": none, as users without a mailbox have, whose tokens lack the email claim
}

// Group is a security group. Groups nest.
type Group struct {
	ID      string   // "": derived from Seed
	Name    string   // required
	Members []string // user names, and names or ids of groups
}

// Device is a device that the directory knows from the start, as from an export. It has
// no keys here and cannot sign in: it is listed, disabled, deleted and made compliant like
// others, and a program that joins becomes another device.
type Device struct {
	ID       string // device id; "": derived from Seed
	ObjectID string // "": derived from Seed
	Name     string
	OS       string // such as Windows
	// OSVersion is free text.
	OSVersion string
	TrustType string // AzureAd, Workplace or ServerAd, as Microsoft Graph names them; "": AzureAd
	Owner     string // user name or object id; "": none
	Managed   bool
	Compliant bool
	Disabled  bool
}

// App is an application: a client, a resource, or both.
type App struct {
	ClientID string // "": derived from Seed
	Name     string // "": the client id

	// Redirects are matched exactly; any other redirect URI is refused with
	// AADSTS50011.
	Redirects []string
	// Public marks an app registered as "mobile and desktop". Any other app needs
	// a secret or certificate and gets AADSTS7000218 without one.
	Public bool
	Secret string // of a confidential client
	// SecretExpires is when the secret ends (AADSTS7000222); zero: never.
	SecretExpires time.Time
	// Certificates are the DER certificates of a confidential client, whose RSA
	// keys sign its assertions with PS256 or RS256.
	Certificates [][]byte
	// Federated lists tokens from other issuers that authenticate the client in
	// place of an assertion of its own (workload identity federation);
	// [Server.FederatedToken] makes them.
	Federated []FederatedCredential
	// ServicePrincipalID is the object id of the client's service principal, which
	// its app-only tokens name and policies for workload identities list. "":
	// derived from Seed.
	ServicePrincipalID string
	// ManagedIdentity is the resource id of a user-assigned managed identity, such
	// as /subscriptions/…/userAssignedIdentities/shop: [Server.ManagedIdentity] hands
	// out its tokens. "": the app is not a managed identity.
	ManagedIdentity string
	// SPA marks the redirects as those of a single-page app: a page of that origin
	// redeems codes and refresh tokens without a secret (AADSTS9002326,
	// AADSTS9002327), and refresh tokens live 24 hours.
	SPA bool

	// URIs identify the app as a resource, such as api://payroll. The client
	// id and api://<client id> always identify it too.
	URIs []string
	// Exposes lists the delegated scopes of the resource; nil: user_impersonation.
	Exposes []string
	// TokenVersion is the version of access tokens for the resource: 1 or 2; zero: 1.
	TokenVersion int
	// OptionalClaims are optional claims of v2 tokens, such as amr, auth_time,
	// acct, ipaddr.
	OptionalClaims []string

	// Roles are the app roles that the resource defines.
	Roles []string
	// RoleAssignments maps each role of this resource to the users and groups that
	// have it. Their tokens list it in the roles claim.
	RoleAssignments map[string][]string
	// Permissions maps resources, by URI or id, to the app roles that the client
	// itself was granted ("application permissions"). Its app-only tokens list them
	// in the roles claim.
	Permissions map[string][]string
	// AssignmentRequired refuses app-only tokens for the resource to clients that
	// have none of its roles (AADSTS501051).
	AssignmentRequired bool
	// GroupClaims puts the groups of a user, including nested ones, into tokens of
	// the app: in the groups claim or, if there are more than 200, as a reference to
	// Microsoft Graph (_claim_names).
	GroupClaims bool

	// Preauthorised maps resources, by URI or id, to the scopes that the client
	// has without consent; "*" stands for all. Other scopes need consent
	// (AADSTS65001), or are refused outright if both client and resource are
	// FirstParty (AADSTS65002).
	Preauthorised map[string][]string
	// PreauthorisedClients maps client ids to the scopes of this resource that the
	// clients have without consent; "*" stands for all. A tenant configures this
	// ("Authorized client applications") to let a Microsoft client, such as the
	// Azure CLI, use its own API.
	PreauthorisedClients map[string][]string
	// AdminConsent grants the client every scope of every resource.
	AdminConsent bool
	FirstParty   bool
	// FOCI makes the client a member of the family whose refresh tokens work
	// for each other.
	FOCI bool

	// DeviceTokens lets devices get tokens for the resource without a user
	// (otherwise AADSTS221000).
	DeviceTokens bool

	AssignTo []string // users and groups that may use the app, others get AADSTS50105; nil: everyone
	Disabled bool     // AADSTS7000112
}

// FederatedCredential identifies the tokens from another issuer that authenticate
// an application. Comparison is exact and case-sensitive.
type FederatedCredential struct {
	Issuer   string // claim iss, a URL
	Subject  string // claim sub
	Audience string // claim aud; "": api://AzureADTokenExchange
}

// TTL holds lifetimes. Zero fields mean the values that Entra uses.
type TTL struct {
	Nonce        time.Duration // 5 minutes
	Code         time.Duration // authorization code: 10 minutes
	DeviceCode   time.Duration // 15 minutes
	AccessToken  time.Duration // 70 minutes; 24 hours for clients that announce cp1
	RefreshToken time.Duration // while unused: 90 days
	PRT          time.Duration // while unused: 14 days
	PRTMax       time.Duration // in use, counted from the sign-in it came from: 90 days
	SessionKey   time.Duration // age at which a renewal replaces it: 30 days
	FreshMFA     time.Duration // how long MFA counts as ngcmfa: 10 minutes
	TAP          time.Duration // temporary access pass: 1 hour
	Prompt       time.Duration // how long a number prompt or a call waits for the user: 1 minute
	Disable      time.Duration // how long a disabled device still works: not at all; Entra takes up to an hour ("Microsoft Entra device management FAQ")
	Message      time.Duration // code in a text message: 3 minutes; Entra publishes no figure
}

func (t TTL) withDefaults() TTL {
	or := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	or(&t.Nonce, 5*time.Minute)
	or(&t.Code, 10*time.Minute)
	or(&t.DeviceCode, 15*time.Minute)
	or(&t.AccessToken, 70*time.Minute)
	or(&t.RefreshToken, 90*24*time.Hour)
	or(&t.PRT, 14*24*time.Hour)
	or(&t.PRTMax, 90*24*time.Hour)
	or(&t.SessionKey, 30*24*time.Hour)
	or(&t.FreshMFA, 10*time.Minute)
	or(&t.TAP, time.Hour)
	or(&t.Prompt, time.Minute)
	or(&t.Message, 3*time.Minute)
	return t
}

func (o Options) withDefaults() Options {
	if o.Domain == "" {
		o.Domain = "contoso.example"
	}
	if o.DisplayName == "" && o.Domain == "contoso.example" {
		o.DisplayName = "Contoso"
	}
	switch {
	case o.ReplicationLag == 0:
		o.ReplicationLag = time.Minute
	case o.ReplicationLag < 0:
		o.ReplicationLag = 0
	}
	if o.ReplicationTries == 0 {
		o.ReplicationTries = 2
	}
	if o.DeviceQuota == 0 {
		o.DeviceQuota = 50
	}
	if o.SignInLog == 0 {
		o.SignInLog = 10_000
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	o.TTL = o.TTL.withDefaults()
	return o
}
