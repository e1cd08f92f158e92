package policy

import "strings"

// Names that stand for sets of applications in includeApplications and
// excludeApplications. Microsoft edits the sets without publishing them by id,
// so what ships here is the part that is known; WithAppGroup replaces it.
const (
	Office365             = "Office365"
	MicrosoftAdminPortals = "MicrosoftAdminPortals"
	allAgentResources     = "AllAgentIdResources"
)

const (
	azureManagement = "797f4846-ba00-4fd7-ba43-dac1f8f63013" // Windows Azure Service Management API, a group by the id of a member

	windowsAzureAD = "00000002-0000-0000-c000-000000000000"
	teamsID        = "cc15fd57-2c6c-4117-a88c-83b1d56b4bbe"
	sharePointID   = "00000003-0000-0ff1-ce00-000000000000"
	exchangeID     = "00000002-0000-0ff1-ce00-000000000000"

	intuneEnrolment = "d4ebce55-015a-49b5-a083-c84d1797ae8c"
	tokenExchange   = "fb60f99c-7a34-4190-8149-302f77469936"
)

// trafficIDs are the applications that stand for the traffic profiles of
// Global Secure Access: all internet resources, Microsoft apps, all private
// resources.
//
// Source: Microsoft Graph, "Tutorial: configure Microsoft Entra Internet
// Access", and Global Secure Access documentation.
var trafficIDs = [...]string{
	TrafficInternet:     "5dc48733-b5df-475c-a49b-fa307ef00853",
	TrafficMicrosoft365: "c08f52c9-8f03-4558-a0ea-9a4c878cf343",
	TrafficPrivate:      "e92b9b37-1b47-4c01-9fbc-91d84450870e",
}

// DefaultAppGroups returns what Office365, MicrosoftAdminPortals and Windows
// Azure Service Management API (by its id) stand for unless WithAppGroup says
// otherwise: the application ids of first-party services that the Microsoft
// Entra documentation names ("Apps included in Conditional Access
// Office 365 app suite", "Targeting resources in Conditional Access policies",
// "Verify first-party Microsoft applications in sign-in reports"; 2026-01-26).
// Portals whose ids are not published, such as that of the Teams admin center,
// are missing.
func DefaultAppGroups() map[string][]string {
	return map[string][]string{
		lower(Office365): {
			exchangeID,
			sharePointID,
			teamsID,
			"00000004-0000-0ff1-ce00-000000000000", // Skype for Business Online
			"00000005-0000-0ff1-ce00-000000000000", // Viva Engage (Yammer)
			"00000006-0000-0ff1-ce00-000000000000", // Microsoft 365 portal
			"c5393580-f805-4401-95e8-94b7a6ef2fc2", // Office 365 Management APIs
			"09abbdfd-ed23-44ee-a2d9-a627aa1c90f3", // Project and Planner
			"2634dd23-5e5a-431c-81ca-11710d9079f4", // Microsoft Stream
			"c9a559d2-7aab-4f13-a6ed-e7e9c52aec87", // Microsoft Forms
			"7df0a125-d3be-4c96-aa54-591f83ff541c", // Power Automate
			"475226c6-020e-4fb2-8a90-7a972cbfc1d4", // Power Apps
			"57fb890c-0dab-4253-a5e0-7188c88b2bb4", // SharePoint Online client
			"5e3ce6c0-2b1f-4285-8d4b-75ee78787346", // Teams web
			"1fec8e78-bce4-4aaf-ab1b-5451cc387264", // Teams
			"94c63fef-13a3-47bc-8074-75af8c65887a", // Delve
			"22098786-6e16-43cc-a27d-191a01a1e3b5", // To Do
			"66375f6b-983f-4c2c-9701-d680650f588f", // Planner
			"2d4d3d8e-2be3-4bef-9f87-7875a61c29de", // OneNote
			"4345a7b9-9a63-4910-a426-35363201d503", // Office home
			"89bee1f7-5e6e-4d8a-9f3d-ecd601259da7", // Microsoft 365 shell
			"ab9b8c07-8f02-4f72-87fa-80105867a763", // OneDrive sync
			"b26aadf8-566f-4478-926f-589f601d9c74", // OneDrive
		},
		lower(MicrosoftAdminPortals): {
			"c44b4083-3bb0-49c1-b47d-974e53cbdf3c", // Azure portal and Entra admin center
			"618dd325-23f6-4b6f-8380-4df78026e39b", // Microsoft 365 Defender portal
			"80ccca67-54bd-44ab-8625-4b79c4dc7775", // Microsoft Purview portal (Security and Compliance Center)
			"00000006-0000-0ff1-ce00-000000000000", // Microsoft 365 admin center
			"497effe9-df71-4043-a8bb-14cf78c4b63b", // Exchange admin center
			"5926fc8e-304e-4f59-8bed-58ca97cc39a4", // Intune admin center
		},
		azureManagement: {
			azureManagement,
			"c44b4083-3bb0-49c1-b47d-974e53cbdf3c", // Azure portal and Entra admin center
			"ca7f3f0b-7d91-482c-8e09-c5d840d0eac5", // Log Analytics API
			"f5c26e74-f226-4ae8-85f0-b4af0080ac9e", // Application Insights API
			"e9f49c6b-5ce5-44c8-925d-015017e9f7ad", // Azure Data Lake
		},
	}
}

// ScopeKind says how much a request asks for.
type ScopeKind uint8

// Kinds of scopes. Each includes those before it, except AnyScopes, which is
// everything else.
const (
	AnyScopes       ScopeKind = iota // something beyond the baseline scopes, or not known
	OpenIDScopes                     // openid, profile, email and offline_access only
	UserScopes                       // and User.Read, People.Read
	DirectoryScopes                  // and User.Read.All, User.ReadBasic.All, People.Read.All, GroupMember.Read.All, Member.Read.Hidden
)

// ScopesOf returns the kind of the scopes of a request, with or without the
// address of Microsoft Graph before them; an empty list is AnyScopes.
//
// Source: Microsoft Entra documentation, "Enforcement for baseline scopes in
// Conditional Access", 2026-05-27: one list for public and confidential
// clients.
func ScopesOf(scopes []string) ScopeKind {
	kind := AnyScopes
	for _, s := range scopes {
		k := scopeKind(strings.TrimPrefix(lower(s), "https://graph.microsoft.com/"))
		if k == AnyScopes {
			return AnyScopes
		}
		kind = max(kind, k)
	}
	return kind
}

func scopeKind(scope string) ScopeKind {
	switch scope {
	case "openid", "profile", "email", "offline_access":
		return OpenIDScopes
	case "user.read", "people.read":
		return UserScopes
	case "user.read.all", "user.readbasic.all", "people.read.all", "groupmember.read.all", "member.read.hidden":
		return DirectoryScopes
	}
	return AnyScopes
}
