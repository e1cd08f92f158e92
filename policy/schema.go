package policy

import (
	"encoding/json"
	"strings"
)

// Policy is a conditionalAccessPolicy of Microsoft Graph (v1.0, with what beta
// adds and an engine needs). Its JSON form is Graph's. Load fills it from an
// export; a program can also construct it in Go. Enumerated values are the
// strings Graph uses, in Graph's casing; ids are opaque strings and compare
// without regard to case.
type Policy struct {
	ID               string           `json:"id,omitempty"`
	TemplateID       string           `json:"templateId,omitempty"`
	DisplayName      string           `json:"displayName,omitempty"`
	Description      string           `json:"description,omitempty"`
	CreatedDateTime  string           `json:"createdDateTime,omitempty"`
	ModifiedDateTime string           `json:"modifiedDateTime,omitempty"`
	State            State            `json:"state,omitempty"` // "" (a template): StateEnabled
	Conditions       Conditions       `json:"conditions"`
	GrantControls    *GrantControls   `json:"grantControls"`   // nil: nothing to grant
	SessionControls  *SessionControls `json:"sessionControls"` // nil: none

	// Unmodeled lists the JSON paths of what the export says but this package
	// cannot evaluate. A policy with any is unevaluable: see Set.Evaluate.
	Unmodeled []string `json:"-"`
	// Source is where Load found the policy; zero for one that a program wrote.
	Source Source `json:"-"`
}

// Source is a place in an export.
type Source struct {
	File string // as LoadFS names it; "" from Load
	Path string // JSON path, such as $.value[3]
}

// State says whether a policy is enforced.
type State string

// The states of a policy.
const (
	StateEnabled    State = "enabled"
	StateDisabled   State = "disabled"
	StateReportOnly State = "enabledForReportingButNotEnforced"
)

// Conditions select the sign-ins that a policy applies to. All configured ones
// must match; a nil or empty one matches everything, except Users, which then
// matches no one.
type Conditions struct {
	Users                      *UserCondition              `json:"users"`
	Applications               *ApplicationCondition       `json:"applications"`
	ClientApplications         *ClientApplicationCondition `json:"clientApplications,omitempty"`
	ClientAppTypes             []string                    `json:"clientAppTypes,omitempty"`
	Platforms                  *PlatformCondition          `json:"platforms,omitempty"`
	Locations                  *LocationCondition          `json:"locations,omitempty"`
	Devices                    *DeviceCondition            `json:"devices,omitempty"`
	DeviceStates               *DeviceStateCondition       `json:"deviceStates,omitempty"`
	SignInRiskLevels           []string                    `json:"signInRiskLevels,omitempty"`
	UserRiskLevels             []string                    `json:"userRiskLevels,omitempty"`
	ServicePrincipalRiskLevels []string                    `json:"servicePrincipalRiskLevels,omitempty"`
	InsiderRiskLevels          Flags                       `json:"insiderRiskLevels,omitempty"`
	AgentIDRiskLevels          Flags                       `json:"agentIdRiskLevels,omitempty"`
	AuthenticationFlows        *FlowCondition              `json:"authenticationFlows,omitempty"`
	Agents                     *AgentCondition             `json:"agents,omitempty"`
	AgentContext               *AgentContextCondition      `json:"agentContext,omitempty"`
}

// UserCondition selects users. Inclusion is the union of its lists; exclusion
// always wins.
type UserCondition struct {
	IncludeUsers  []string        `json:"includeUsers,omitempty"` // ids, All, None, GuestsOrExternalUsers, AllAgentIdUsers
	ExcludeUsers  []string        `json:"excludeUsers,omitempty"`
	IncludeGroups []string        `json:"includeGroups,omitempty"`
	ExcludeGroups []string        `json:"excludeGroups,omitempty"`
	IncludeRoles  []string        `json:"includeRoles,omitempty"` // role template ids
	ExcludeRoles  []string        `json:"excludeRoles,omitempty"`
	IncludeGuests *GuestCondition `json:"includeGuestsOrExternalUsers,omitempty"`
	ExcludeGuests *GuestCondition `json:"excludeGuestsOrExternalUsers,omitempty"`
}

// GuestCondition selects external users of some types from some tenants.
type GuestCondition struct {
	Types   Flags            `json:"guestOrExternalUserTypes"`
	Tenants *ExternalTenants `json:"externalTenants,omitempty"` // nil: all
}

// ExternalTenants is a list of home tenants, or all of them.
type ExternalTenants struct {
	MembershipKind string   `json:"membershipKind"` // all, enumerated
	Members        []string `json:"members,omitempty"`
}

// ApplicationCondition selects the resource, user action or authentication
// context.
type ApplicationCondition struct {
	Include      []string `json:"includeApplications,omitempty"` // app ids, All, None, Office365, MicrosoftAdminPortals, AllAgentIdResources
	Exclude      []string `json:"excludeApplications,omitempty"`
	UserActions  []string `json:"includeUserActions,omitempty"`
	AuthContexts []string `json:"includeAuthenticationContextClassReferences,omitempty"` // c1 … c99
	Filter       *Filter  `json:"applicationFilter,omitempty"`

	GlobalSecureAccess *TrafficCondition `json:"globalSecureAccess,omitempty"` // beta
}

// TrafficCondition selects traffic that Global Secure Access forwards:
// internet, m365, private. An older export calls it networkAccess; newer ones
// name the applications that stand for the profiles in Include.
type TrafficCondition struct {
	Profiles Flags `json:"includeTrafficProfiles"`
}

// Filter is a rule in the filter language; Mode is include or exclude.
type Filter struct {
	Mode string `json:"mode"`
	Rule string `json:"rule"`
}

// ClientApplicationCondition selects workload identities and agents by the
// object ids of their service principals.
type ClientApplicationCondition struct {
	Include       []string `json:"includeServicePrincipals,omitempty"` // object ids, ServicePrincipalsInMyTenant
	Exclude       []string `json:"excludeServicePrincipals,omitempty"`
	Filter        *Filter  `json:"servicePrincipalFilter,omitempty"`
	IncludeAgents []string `json:"includeAgentIdServicePrincipals,omitempty"` // object ids of agents or of their blueprints, All
	ExcludeAgents []string `json:"excludeAgentIdServicePrincipals,omitempty"`
	AgentFilter   *Filter  `json:"agentIdServicePrincipalFilter,omitempty"`
}

// PlatformCondition selects device platforms; a list of names never matches
// an unknown platform, all does.
type PlatformCondition struct {
	Include []string `json:"includePlatforms,omitempty"`
	Exclude []string `json:"excludePlatforms,omitempty"`
}

// LocationCondition selects named locations by id, or All, or AllTrusted.
type LocationCondition struct {
	Include []string `json:"includeLocations,omitempty"`
	Exclude []string `json:"excludeLocations,omitempty"`
}

// DeviceCondition selects devices by a filter, and by the older lists of
// device states (All, Compliant, DomainJoined).
type DeviceCondition struct {
	Include       []string `json:"includeDevices,omitempty"`
	Exclude       []string `json:"excludeDevices,omitempty"`
	IncludeStates []string `json:"includeDeviceStates,omitempty"`
	ExcludeStates []string `json:"excludeDeviceStates,omitempty"`
	Filter        *Filter  `json:"deviceFilter,omitempty"`
}

// DeviceStateCondition is the oldest form of DeviceCondition (beta).
type DeviceStateCondition struct {
	Include []string `json:"includeStates,omitempty"`
	Exclude []string `json:"excludeStates,omitempty"`
}

// FlowCondition selects sessions that began by a transfer method:
// deviceCodeFlow, authenticationTransfer.
type FlowCondition struct {
	TransferMethods Flags `json:"transferMethods"`
}

// AgentCondition selects the user accounts of agents (preview).
type AgentCondition struct {
	IncludeUsers []string `json:"includeAgentUsers,omitempty"` // ids, All
	ExcludeUsers []string `json:"excludeAgentUsers,omitempty"`
	Filter       *Filter  `json:"agentFilter,omitempty"`
}

// AgentContextCondition selects sessions by what an agent does in them
// (preview); the one known value is agentUserSessionsInitiatedFromEndpoints.
type AgentContextCondition struct {
	Include []string `json:"includeAgentContexts,omitempty"`
	Exclude []string `json:"excludeAgentContexts,omitempty"`
}

// GrantControls is what a policy demands. The members of all its lists rank
// equally: with AND all of them are needed, with OR any one.
type GrantControls struct {
	Operator               string    `json:"operator"` // AND, OR; "" is AND, see All
	BuiltInControls        []string  `json:"builtInControls,omitempty"`
	CustomFactors          []string  `json:"customAuthenticationFactors,omitempty"`
	TermsOfUse             []string  `json:"termsOfUse,omitempty"`
	AuthenticationStrength *Strength `json:"authenticationStrength,omitempty"` // an id alone refers to the Bundle
}

// All says whether all of the controls are needed, which is the default, rather
// than any one of them.
//
// Source: Microsoft Entra documentation, "Conditional Access: Grant",
// 2026-03-24.
func (g *GrantControls) All() bool { return !equalASCII(g.Operator, "OR") }

// Strength is an authenticationStrengthPolicy: the combinations of methods it
// accepts.
type Strength struct {
	ID                    string              `json:"id"`
	DisplayName           string              `json:"displayName,omitempty"`
	Description           string              `json:"description,omitempty"`
	PolicyType            string              `json:"policyType,omitempty"`            // builtIn, custom
	RequirementsSatisfied string              `json:"requirementsSatisfied,omitempty"` // none, mfa
	AllowedCombinations   []string            `json:"allowedCombinations,omitempty"`   // "fido2", "password,sms"
	Configurations        []CombinationConfig `json:"combinationConfigurations,omitempty"`
	Source                Source              `json:"-"` // where Load found it
}

// CombinationConfig narrows combinations of a Strength to FIDO2 authenticators
// of some models, or to certificates of some issuers and policies.
type CombinationConfig struct {
	ODataType         string   `json:"@odata.type,omitempty"`
	ID                string   `json:"id,omitempty"`
	AppliesTo         []string `json:"appliesToCombinations,omitempty"`
	AllowedAAGUIDs    []string `json:"allowedAAGUIDs,omitempty"`
	AllowedIssuerSKIs []string `json:"allowedIssuerSkis,omitempty"`
	AllowedPolicyOIDs []string `json:"allowedPolicyOIDs,omitempty"`
}

// SessionControls limit the session that a policy lets begin. A nil control
// is not configured.
type SessionControls struct {
	ApplicationEnforcedRestrictions *Switch            `json:"applicationEnforcedRestrictions,omitempty"`
	CloudAppSecurity                *CloudAppSecurity  `json:"cloudAppSecurity,omitempty"`
	PersistentBrowser               *PersistentBrowser `json:"persistentBrowser,omitempty"`
	SignInFrequency                 *SignInFrequency   `json:"signInFrequency,omitempty"`
	DisableResilienceDefaults       *bool              `json:"disableResilienceDefaults,omitempty"`
	SecureSignInSession             *Switch            `json:"secureSignInSession,omitempty"`
	ContinuousAccessEvaluation      *ContinuousAccess  `json:"continuousAccessEvaluation,omitempty"`
	GlobalSecureAccessProfile       *SecureAccess      `json:"globalSecureAccessFilteringProfile,omitempty"`
}

// Switch is a session control that is on or off.
type Switch struct {
	IsEnabled bool `json:"isEnabled"`
}

// CloudAppSecurity routes the session through Defender for Cloud Apps; Type
// is mcasConfigured, monitorOnly or blockDownloads.
type CloudAppSecurity struct {
	IsEnabled bool   `json:"isEnabled"`
	Type      string `json:"cloudAppSecurityType"`
}

// PersistentBrowser says whether the browser session outlives the browser;
// Mode is always or never.
type PersistentBrowser struct {
	IsEnabled bool   `json:"isEnabled"`
	Mode      string `json:"mode"`
}

// SignInFrequency demands that an authentication is not older than Value
// hours or days, or was just made (Interval everyTime).
type SignInFrequency struct {
	IsEnabled          bool   `json:"isEnabled"`
	Type               string `json:"type,omitempty"` // hours, days
	Value              *int   `json:"value,omitempty"`
	AuthenticationType string `json:"authenticationType,omitempty"` // primaryAndSecondaryAuthentication (also ""), secondaryAuthentication
	Interval           string `json:"frequencyInterval,omitempty"`  // timeBased (also ""), everyTime
}

// ContinuousAccess tunes continuous access evaluation; Mode is
// strictEnforcement, disabled or strictLocation.
type ContinuousAccess struct {
	Mode string `json:"mode"`
}

// SecureAccess names a Global Secure Access filtering profile.
type SecureAccess struct {
	IsEnabled bool   `json:"isEnabled"`
	ProfileID string `json:"profileId"`
}

// NamedLocation is a namedLocation of Microsoft Graph; which fields count
// depends on Kind.
type NamedLocation struct {
	Kind           LocationKind `json:"@odata.type"`
	ID             string       `json:"id"`
	DisplayName    string       `json:"displayName,omitempty"`
	IsTrusted      bool         `json:"isTrusted,omitempty"`                         // never of a country
	Ranges         []string     `json:"-"`                                           // CIDR, or "lower-upper"
	Countries      []string     `json:"countriesAndRegions,omitempty"`               // ISO 3166-1 alpha-2
	IncludeUnknown bool         `json:"includeUnknownCountriesAndRegions,omitempty"` // also match an address without a country
	LookupMethod   string       `json:"countryLookupMethod,omitempty"`               // clientIpAddress (also ""), authenticatorAppGps
	ServiceTags    []string     `json:"serviceTags,omitempty"`
	Source         Source       `json:"-"` // where Load found it
}

// LocationKind is the OData type of a NamedLocation.
type LocationKind string

// The kinds of named locations.
const (
	IPLocation               LocationKind = "#microsoft.graph.ipNamedLocation"
	CountryLocation          LocationKind = "#microsoft.graph.countryNamedLocation"
	CompliantNetworkLocation LocationKind = "#microsoft.graph.compliantNetworkNamedLocation"
	ServiceTagLocation       LocationKind = "#microsoft.graph.serviceTagNamedLocation"
	PrivateLinkLocation      LocationKind = "#microsoft.graph.privateLinkNamedLocation"
)

// Flags is a set of enumeration members that Graph writes as one string,
// "medium,high". It reads an array as well.
type Flags []string

// MarshalJSON writes the members joined by commas.
func (f Flags) MarshalJSON() ([]byte, error) { return json.Marshal(strings.Join(f, ",")) }
