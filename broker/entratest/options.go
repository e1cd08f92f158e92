package entratest

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"time"

	"github.com/prtbroker/prtbroker/policy"
)

// Options describe the tenant, or tenants, that a [Server] serves. The zero
// value is a usable empty tenant, contoso.example; every field says what its
// zero value means.
type Options struct {
	Domain      string // verified domain of the tenant; "": contoso.example
	TenantID    string // "": derived from Seed
	DisplayName string // "": Contoso

	Users  []User
	Groups []Group
	Apps   []App // beside the first-party clients and resources, which are always there

	// Policies is a Conditional Access export as Microsoft Graph gives it: a
	// policy, a collection ({"value": […]}) or an array of them, with named
	// locations and authentication strengths if the policies name any. Nil: no
	// policies.
	Policies json.RawMessage

	// Federated lists domains of the tenant whose users sign in at a
	// federation server (WS-Trust), which the emulator plays too.
	Federated []string
	// FederatedMFA is the federatedIdpMfaBehavior of these domains, in the
	// words of Microsoft Graph's internalDomainFederation:
	// acceptIfMfaDoneByFederatedIdp, enforceMfaByFederatedIdp, which sends a
	// demand for MFA to the federation server, or rejectMfaByFederatedIdp.
	// "": the first. The federation server asks for a code where a user has
	// FederationTOTP.
	FederatedMFA string

	// OtherTenants are served beside the first one.
	OtherTenants []Tenant

	Clock *Clock                           // nil: the real time
	Seed  uint64                           // of identifiers, nonces and tokens; equal seeds and calls give equal answers
	Logf  func(format string, args ...any) // gets client mistakes and events; nil: discarded
	TTL   TTL

	// ReplicationLag is how long after a join the token service refuses the
	// new device with AADSTS50155, as the real one does. Zero: one minute;
	// negative: no lag.
	ReplicationLag time.Duration

	// DisabledDevice50155 tells a disabled device that asks for a PRT
	// AADSTS50155, as Microsoft's page "Troubleshoot primary refresh token
	// issues" says (2026-02), and not AADSTS135011, which clients report.
	DisabledDevice50155 bool
	// RefuseKDFv1 refuses requests signed by a key of the first derivation
	// (AADSTS5000611), as Entra does to Windows builds that know no other
	// ("Update on KDFv1 removal"); whether it does to protocol 3.0 is not
	// published.
	RefuseKDFv1 bool
	// RollDropsMFA takes the MFA from a PRT born of a password when its session key
	// rolls, after which it may be asked for again ("Understanding Primary Refresh
	// Token (PRT)").
	RollDropsMFA bool
	// BindBrowserSessions ignores the session cookie of a sign-in by a PRT unless
	// the PRT is shown again: its cookie is bound to the session key of the PRT
	// (the same page).
	BindBrowserSessions bool
	// ReplicationTries ends the lag early after so many refused requests of
	// the device, for clients whose clock stands still while they back off.
	// Zero: two; negative: only the clock ends the lag.
	ReplicationTries int

	// RequireMFAToJoin is the device setting "Require multifactor
	// authentication to register or join devices".
	RequireMFAToJoin bool
	// DeviceQuota is how many devices a user may own; zero: 50.
	DeviceQuota int
	// InheritDeviceMFA lets the MFA done while a device was registered seep
	// into the first PRT of its owner, as Entra did until August 2021.
	InheritDeviceMFA bool
	// RefuseTOTPReuse refuses the second use of a one-time code (RFC 6238,
	// 5.2). The default allows it, since a virtual clock stands still.
	RefuseTOTPReuse bool
	// AskToStaySignedIn shows the page of that name (KMSI) after a sign-in.
	AskToStaySignedIn bool
	// Pages says how the sign-in pages differ from what most tenants see.
	Pages Pages
	// GCMReplies encrypts replies with AES-256-GCM. The default is what the
	// v1 endpoint of Entra does: AES-256-CBC that calls itself A256GCM.
	GCMReplies bool
	// PlainReplies answers requests that a session key signed with plain JSON
	// instead of a JWE, which clients have to accept.
	PlainReplies bool
	// RollSessionKey sends a new session key with every renewal of a PRT.
	// Zero: only when the key is older than 30 days.
	RollSessionKey bool

	// Judge decides in place of package policy's engine, for tests that hold
	// the engine against another reading of the same policies. Nil: the engine.
	Judge func(*policy.Bundle, *policy.SignIn) Judgement

	// ClientAddress is where a request comes from as Conditional Access sees
	// it: the public address and its country (ISO 3166-1 alpha-2, "" unknown).
	// Nil: the address of the connection, in no known country.
	ClientAddress func(*http.Request) (netip.Addr, string)

	// SignInLog is how many sign-ins are kept; zero: 10,000.
	SignInLog int
	// Faults are installed from the start; see [Server.AddFault].
	Faults []Fault

	// State continues an earlier server; see [Server.State]. It replaces what
	// above describes tenants and their users, groups and apps, and the seed.
	// Policies replace those of its first tenant unless they are nil. Nil: a
	// new server.
	State []byte
}

// Pages are traits of the sign-in pages that vary between tenants, or that the
// real service shows at times. Programs that drive the pages must bear each.
type Pages struct {
	// Intermediate puts a page that posts itself ("Working...") behind a first
	// factor.
	Intermediate bool
	// ScriptRedirect ends a sign-in by a page whose script goes to the redirect
	// URI (document.location.replace) instead of by a redirect. It concerns
	// response_mode query.
	ScriptRedirect bool
	// SecurityKeysOnly is a tenant whose policy for passkeys allows those of
	// security keys alone: fIsPasskeySupportEnabled is false in $Config.
	SecurityKeysOnly bool
	// RegistrationDays is how many days are left to users without a second
	// factor before they have to register one (Microsoft Entra ID Protection,
	// "Configure the multifactor authentication registration policy": 14 days).
	// The page that asks for it can be skipped. Zero: nobody is asked before a
	// policy demands MFA.
	RegistrationDays int
	// RegistrationCampaign asks users who did MFA without an authenticator app to
	// register one (AADSTS50203), which they can put off ("How to run a
	// registration campaign to set up Microsoft Authenticator").
	RegistrationCampaign bool
	// ConfirmApp asks the user of an app whose redirect URI is not http or https
	// whether that is the app that they meant to sign in to (AADSTS50199,
	// CmsiInterrupt), as the service does where it takes the browser for that of
	// the system.
	ConfirmApp bool
}

// Judgement is what [Options].Judge says of a sign-in. Deciding and Results
// refer to the policies of the bundle by their indices.
type Judgement struct {
	Outcome  policy.Outcome
	Reason   policy.Reason
	Controls []policy.Control // to prompt for, or what cannot be fulfilled
	Deciding []int
	Results  []policy.Result // of each policy; may be nil
}

// Tenant describes one more tenant. Its fields mean what those of the same
// name of [Options] mean.
type Tenant struct {
	Domain      string // required
	TenantID    string
	DisplayName string
	Users       []User
	Groups      []Group
	Apps        []App
	Policies    json.RawMessage
	Federated   []string

	FederatedMFA string
}

// User is a user of a tenant.
type User struct {
	Username string // the UPN; without a domain, that of the tenant is added
	ID       string // object id; "": derived from Seed
	Name     string // display name; "": made of Username
	Password string // "": the user has none and can only sign in with a key or a pass

	TOTPSecret string // base32, as authenticator apps show it; "": no authenticator app with codes
	// FederationTOTP is the secret, base32, of a code that the federation server
	// of a federated user asks for beside the password; "": it does not.
	FederationTOTP string
	// NumberMatch registers an authenticator app that asks for the number the
	// page shows. The test answers with [Server.AnswerNumberMatch], or
	// [Person] does when it is linked to the server.
	NumberMatch bool
	// PhoneSignIn lets that app sign in without a password too, by a number
	// match that is MFA by itself. It implies NumberMatch.
	PhoneSignIn bool
	// Phone is a telephone number for text messages and calls as second
	// factors; "": none. [Server.SMSCode] reads the messages and
	// [Server.AnswerCall] answers the calls.
	Phone        string
	HardwareTOTP string    // base32 secret of a hardware token (OATH); "": none
	Passkeys     []Passkey // FIDO2 credentials already registered

	Roles    []string // template ids of directory roles
	Guest    bool     // userType Guest
	Disabled bool
	SID      string // on-premises SID; "": a cloud-only user
}

// Group is a security group. Groups nest.
type Group struct {
	ID      string   // "": derived from Seed
	Name    string   // required
	Members []string // user names, and names or ids of groups
}

// App is an application: a client, a resource, or both.
type App struct {
	ClientID string // "": derived from Seed
	Name     string // "": the client id

	// Redirects are matched exactly; anything else is AADSTS50011.
	Redirects []string
	// Public marks an app registered as "mobile and desktop". An app that is
	// not needs a secret or certificate: AADSTS7000218 without one.
	Public bool
	Secret string // of a confidential client
	// Certificates, DER, are those of a confidential client whose keys (RSA) sign
	// its assertions, with PS256 or RS256.
	Certificates [][]byte
	// Federated are tokens of other issuers that prove the client in place of an
	// assertion of its own (workload identity federation);
	// [Server.FederatedToken] makes them.
	Federated []FederatedCredential
	// ServicePrincipalID is the object id of the client itself, which its app-only
	// tokens name and policies for workload identities list. "": derived from Seed.
	ServicePrincipalID string
	// ManagedIdentity is the resource id of a user-assigned managed identity, such
	// as /subscriptions/…/userAssignedIdentities/shop: [Server.ManagedIdentity] hands
	// out its tokens. "": the app is none.
	ManagedIdentity string
	// SPA marks the redirects as those of single-page apps: codes and refresh tokens
	// are redeemed without a secret, from a page of that origin (AADSTS9002326,
	// AADSTS9002327), and refresh tokens live 24 hours.
	SPA bool

	// URIs identify the app as a resource, such as api://payroll. The client
	// id and api://<client id> always do.
	URIs []string
	// Exposes are the delegated scopes of the resource; nil: user_impersonation.
	Exposes []string
	// TokenVersion of access tokens for the resource: 1 or 2; zero: 1.
	TokenVersion int
	// OptionalClaims of v2 tokens, such as amr, auth_time, acct, ipaddr.
	OptionalClaims []string

	// Roles are the app roles that the resource defines.
	Roles []string
	// RoleAssignments are the users and groups that have a role of this resource,
	// by role: the claim roles of their tokens.
	RoleAssignments map[string][]string
	// Permissions are the app roles of resources, by URI or id, that the client
	// itself was granted ("application permissions"): the claim roles of its
	// app-only tokens.
	Permissions map[string][]string
	// AssignmentRequired refuses app-only tokens for the resource to clients with
	// none of its roles (AADSTS501051).
	AssignmentRequired bool
	// GroupClaims puts the groups of a user, nested ones too, into tokens of the
	// app: as the claim groups, or where they are more than 200 as a reference to
	// Microsoft Graph (_claim_names).
	GroupClaims bool

	// Preauthorised are the scopes, by resource URI or id, that the client
	// has without asking; "*" stands for all. Others need consent
	// (AADSTS65001), or are refused outright when both client and resource are
	// FirstParty (AADSTS65002).
	Preauthorised map[string][]string
	// PreauthorisedClients are the scopes of this resource, by client id, that
	// clients have without asking; "*" stands for all. It is what a tenant
	// configures to let a client of Microsoft, such as the Azure CLI, use an
	// API of its own ("Authorized client applications").
	PreauthorisedClients map[string][]string
	// AdminConsent grants the client every scope of every resource.
	AdminConsent bool
	FirstParty   bool
	// FOCI makes the client a member of the family whose refresh tokens work
	// for each other.
	FOCI bool

	// DeviceTokens lets devices without a user have tokens for the resource
	// (else AADSTS221000).
	DeviceTokens bool

	AssignTo []string // users and groups that may use the app; nil: everyone (else AADSTS50105)
	Disabled bool     // AADSTS7000112
}

// FederatedCredential names the tokens of another issuer that stand for an
// application, compared letter by letter.
type FederatedCredential struct {
	Issuer   string
	Subject  string
	Audience string // "": api://AzureADTokenExchange
}

// TTL holds lifetimes. Zero fields mean the values that Entra uses.
type TTL struct {
	Nonce        time.Duration // 5 minutes
	Code         time.Duration // authorization code: 10 minutes
	DeviceCode   time.Duration // 15 minutes
	AccessToken  time.Duration // 70 minutes; 24 hours for clients that announce cp1
	RefreshToken time.Duration // unused: 90 days
	PRT          time.Duration // unused: 14 days
	PRTMax       time.Duration // in use, from the sign-in that it was born of: 90 days
	SessionKey   time.Duration // age at which a renewal brings a new one: 30 days
	FreshMFA     time.Duration // how long MFA counts as ngcmfa: 10 minutes
	TAP          time.Duration // temporary access pass: 1 hour
	Prompt       time.Duration // a number in the authenticator app, or a call, waits for the user: 1 minute
	Disable      time.Duration // a disabled device works on: at once; Entra takes up to an hour ("Microsoft Entra device management FAQ")
	Message      time.Duration // code of a text message, for which Entra publishes no figure: 3 minutes
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
	if o.DisplayName == "" {
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
