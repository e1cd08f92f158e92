package directory

import "github.com/prtbroker/prtbroker/internal/wire"

// App ids of first-party resources and clients that wire does not need.
const (
	appARM           = "797f4846-ba00-4fd7-ba43-dac1f8f63013"
	AppExchange      = "00000002-0000-0ff1-ce00-000000000000"
	AppSharePoint    = "00000003-0000-0ff1-ce00-000000000000"
	appKeyVault      = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"
	AppTokenExchange = "fb60f99c-7a34-4190-8149-302f77469936"
	appIntune        = "0000000a-0000-0000-c000-000000000000"
	appEnrollment    = "d4ebce55-015a-49b5-a083-c84d1797ae8c"
	appAADPowerShell = "1b730954-1685-4b74-9bfd-dac224a7b894"
)

// unlistedFamily holds members of the family of client ids that are missing from the
// published list.
var unlistedFamily = map[string]string{
	"2d7f3606-b07d-41d1-b9d2-0d0c9296a6e8": "Microsoft Bing Search for Microsoft Edge",
	"eb539595-3fe1-474e-9c1d-feb3625d1be5": "Microsoft Tunnel",
}

// graphScopeNames are the delegated scopes of Microsoft Graph that a client granted
// all scopes gets.
var graphScopeNames = []string{"User.Read", "User.ReadBasic.All", "User.Read.All", "User.RevokeSessions.All", "Device.Read.All", "Directory.Read.All", "Directory.AccessAsUser.All",
	"GroupMember.Read.All", "Policy.Read.All", "UserAuthenticationMethod.Read", "UserAuthenticationMethod.Read.All", "UserAuthenticationMethod.ReadWrite", "UserAuthenticationMethod.ReadWrite.All", "Mail.Read", "Files.Read"}

// builtinApps returns the first-party clients and resources that the published list
// lacks, or about which more is known than it says. The others are added from the
// list on first use (listedApp).
func builtinApps() []builtin {
	all := []string{"*"}
	plugin := func(id string) string { return wire.RedirectPluginPrefix + id }
	resource := func(id, name string, exposes []string, uris ...string) builtin {
		return builtin{AppSpec: AppSpec{ClientID: id, Name: name, URIs: uris, Exposes: exposes, FirstParty: true}, anyScope: true}
	}
	client := func(id, name string, has map[string][]string, redirects ...string) builtin {
		return builtin{AppSpec: AppSpec{ClientID: id, Name: name, Public: true, FirstParty: true, Redirects: redirects, Preauthorised: has}}
	}
	registration := resource(wire.ResourceRegistrationApp, "Device Registration Service", []string{"adrs_access", "self_service_device_delete"}, wire.ResourceRegistration)
	registration.noDevice = true
	update := resource(wire.ResourceUpdatePRT, "Update PRT", nil, wire.ResourceUpdatePRT)
	update.noDevice, update.policyID = true, wire.ResourceRegistrationApp
	enrollment := resource(appEnrollment, "Microsoft Intune Enrollment", []string{"mdm_delegation"}, wire.ResourceEnrollment)
	enrollment.noDevice = true

	exchange := resource(AppTokenExchange, "AAD Token Exchange Endpoint", nil, "api://AzureADTokenExchange")
	exchange.TokenVersion = 2

	setup := map[string][]string{
		wire.ResourceRegistration: all, wire.ResourceUpdatePRT: all, wire.ResourceEnrollment: all, appIntune: all,
	}
	updates := map[string][]string{wire.ResourceUpdatePRT: all}
	apps := []builtin{
		registration, update, enrollment,
		resource(appIntune, "Microsoft Intune", nil, "https://manage.microsoft.com"),
		resource(wire.ResourceGraphApp, "Microsoft Graph", graphScopeNames, wire.ResourceGraph),
		resource(wire.ResourceAADGraph, "Windows Azure Active Directory", nil, "https://graph.windows.net"),
		resource(appARM, "Windows Azure Service Management API", nil, "https://management.azure.com", "https://management.core.windows.net"),
		resource(AppExchange, "Office 365 Exchange Online", nil, "https://outlook.office.com", "https://outlook.office365.com"),
		resource(AppSharePoint, "Office 365 SharePoint Online", nil, "https://microsoft.sharepoint.com"),
		resource(appKeyVault, "Azure Key Vault", nil, "https://vault.azure.net"),
		exchange,

		client(wire.ClientBroker, "Microsoft Authentication Broker", updates),
		client(wire.ClientWindowsSignIn, "Windows Sign In", setup, plugin(wire.ClientWindowsSignIn)),
		client(wire.ClientDeviceRegistration, "Microsoft Device Registration Client", updates),
		client(wire.ClientCompanyPortalLinux, "Microsoft Intune Company Portal for Linux", updates),
		client(wire.ClientBulkJoin, "Windows Configuration Designer", setup, plugin(wire.ClientBulkJoin)),
		client(appAADPowerShell, "Azure Active Directory PowerShell", nil),
	}
	for id, name := range unlistedFamily {
		a := client(id, name, nil, wire.RedirectNativeClient, plugin(id), "http://localhost")
		a.FOCI = true
		apps = append(apps, a)
	}
	return apps
}
