package directory

import "github.com/prtbroker/prtbroker/internal/wire"

// App ids of first-party resources and clients that wire does not need.
const (
	appARM             = "797f4846-ba00-4fd7-ba43-dac1f8f63013"
	appExchange        = "00000002-0000-0ff1-ce00-000000000000"
	appSharePoint      = "00000003-0000-0ff1-ce00-000000000000"
	appKeyVault        = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"
	appIntune          = "0000000a-0000-0000-c000-000000000000"
	appEnrollment      = "d4ebce55-015a-49b5-a083-c84d1797ae8c"
	appPortal          = "c44b4083-3bb0-49c1-b47d-974e53cbdf3c"
	appAADPowerShell   = "1b730954-1685-4b74-9bfd-dac224a7b894"
	appAzureCLI        = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
	appAzurePowerShell = "1950a258-227b-4e31-a9cf-717495945fc2"
)

// family lists the public members of the family of client ids.
var family = map[string]string{
	"00b41c95-dab0-4487-9791-b9d2c32c80f2": "Office 365 Management",
	appAzureCLI:                            "Microsoft Azure CLI",
	appAzurePowerShell:                     "Microsoft Azure PowerShell",
	"1fec8e78-bce4-4aaf-ab1b-5451cc387264": "Microsoft Teams",
	"26a7ee05-5602-4d76-a7ba-eae8b7b67941": "Windows Search",
	"27922004-5251-4030-b22d-91ecd9a37ea4": "Outlook Mobile",
	"4813382a-8fa7-425e-ab75-3b753aab3abb": "Microsoft Authenticator App",
	"ab9b8c07-8f02-4f72-87fa-80105867a763": "OneDrive SyncEngine",
	"d3590ed6-52b3-4102-aeff-aad2292ab01c": "Microsoft Office",
	"872cd9fa-d31f-45e0-9eab-6e460a02d1f1": "Visual Studio",
	"af124e86-4e96-495a-b70a-90f90ab96707": "OneDrive iOS App",
	"2d7f3606-b07d-41d1-b9d2-0d0c9296a6e8": "Microsoft Bing Search for Microsoft Edge",
	"844cca35-0656-46ce-b636-13f48b0eecbd": "Microsoft Stream Mobile Native",
	"87749df4-7ccf-48f8-aa87-704bad0e0e16": "Microsoft Teams - Device Admin Agent",
	"cf36b471-5b44-428c-9ce7-313bf84528de": "Microsoft Bing Search",
	"0ec893e0-5785-4de6-99da-4ed124e5296c": "Office UWP PWA",
	"22098786-6e16-43cc-a27d-191a01a1e3b5": "Microsoft To-Do client",
	"4e291c71-d680-4d0e-9640-0a3358e31177": "PowerApps",
	"57336123-6e14-4acc-8dcf-287b6088aa28": "Microsoft Whiteboard Client",
	"57fcbcfa-7cee-4eb1-8b25-12d2030b4ee0": "Microsoft Flow",
	"66375f6b-983f-4c2c-9701-d680650f588f": "Microsoft Planner",
	"9ba1a5c7-f17a-4de9-a1f1-6178c8d51223": "Microsoft Intune Company Portal",
	"a40d7d7d-59aa-447e-a655-679a4107e548": "Accounts Control UI",
	"a569458c-7f2b-45cb-bab9-b7dee514d112": "Yammer iPhone",
	"b26aadf8-566f-4478-926f-589f601d9c74": "OneDrive",
	"c0d2a505-13b8-4ae0-aa9e-cddd5eab0b12": "Microsoft Power BI",
	"d326c1ce-6cc6-4de2-bebc-4591e5e13ef0": "SharePoint",
	"e9c51622-460d-4d3d-952d-966a5b1da34c": "Microsoft Edge",
	"ecd6b820-32c2-49b6-98a6-444530e5a77a": "Microsoft Edge",
	"f44b1140-bc5e-48c6-8dc0-5cf5a53c0e34": "Microsoft Edge",
	"eb539595-3fe1-474e-9c1d-feb3625d1be5": "Microsoft Tunnel",
	"f05ff7c9-f75a-4acd-a3b5-f4b6a870245d": "SharePoint Android",
	"be1918be-3fe3-4be9-b32b-b542fc27f02e": "M365 Compliance Drive Client",
	"cab96880-db5b-4e15-90a7-f3f1d62ffe39": "Microsoft Defender Platform",
	"dd47d17a-3194-4d86-bfd5-c6ae6f5651e3": "Microsoft Defender for Mobile",
	"d7b530a4-7680-4c23-a8bf-c52c121d2e87": "Microsoft Edge Enterprise New Tab Page",
	"e9b154d0-7658-433b-bb25-6b8e0a8a7c59": "Outlook Lite",
}

// graphScopeNames are the delegated scopes of Microsoft Graph that a client with
// all of them has.
var graphScopeNames = []string{"User.Read", "User.ReadBasic.All", "User.Read.All", "User.RevokeSessions.All", "Device.Read.All", "Directory.Read.All", "Directory.AccessAsUser.All",
	"GroupMember.Read.All", "Policy.Read.All", "UserAuthenticationMethod.Read", "UserAuthenticationMethod.Read.All", "UserAuthenticationMethod.ReadWrite", "UserAuthenticationMethod.ReadWrite.All", "Mail.Read", "Files.Read"}

// builtinApps are the first-party clients and resources of every tenant. What
// the broker client may have of Graph is little beyond the user's profile.
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

	setup := map[string][]string{
		wire.ResourceRegistration: all, wire.ResourceUpdatePRT: all, wire.ResourceEnrollment: all, appIntune: all,
	}
	broker := map[string][]string{wire.ResourceGraph: {"User.Read"}, appPortal: all}
	for k, v := range setup {
		broker[k] = v
	}
	everything := map[string][]string{
		wire.ResourceGraph: all, wire.ResourceAADGraph: all, appARM: all, appExchange: all,
		appSharePoint: all, appKeyVault: all,
	}
	powershell := map[string][]string{wire.ResourceRegistration: all}
	for k, v := range everything {
		powershell[k] = v
	}
	apps := []builtin{
		registration, update, enrollment,
		resource(appIntune, "Microsoft Intune", nil, "https://manage.microsoft.com"),
		resource(wire.ResourceGraphApp, "Microsoft Graph", graphScopeNames, wire.ResourceGraph),
		resource(wire.ResourceAADGraph, "Windows Azure Active Directory", nil, "https://graph.windows.net"),
		resource(appARM, "Windows Azure Service Management API", nil, "https://management.azure.com", "https://management.core.windows.net"),
		resource(appExchange, "Office 365 Exchange Online", nil, "https://outlook.office.com", "https://outlook.office365.com"),
		resource(appSharePoint, "Office 365 SharePoint Online", nil, "https://microsoft.sharepoint.com"),
		resource(appKeyVault, "Azure Key Vault", nil, "https://vault.azure.net"),
		resource(appPortal, "Azure Portal", nil, "https://portal.azure.com"),

		client(wire.ClientBroker, "Microsoft Authentication Broker", broker,
			wire.RedirectBrokerDRS, wire.RedirectBroker, "ms-aadj-redir://auth/drs", plugin(wire.ClientBroker)),
		client(wire.ClientWindowsSignIn, "Windows Sign In", setup, plugin(wire.ClientWindowsSignIn)),
		client(wire.ClientDeviceRegistration, "Microsoft Device Registration Client", setup, plugin(wire.ClientDeviceRegistration)),
		client(wire.ClientCompanyPortalLinux, "Microsoft Intune Company Portal for Linux", broker,
			"companyportal://com.microsoft.CompanyPortal", wire.RedirectNativeClient),
		client(wire.ClientBulkJoin, "Windows Configuration Designer", setup, plugin(wire.ClientBulkJoin)),
		client(appAADPowerShell, "Azure Active Directory PowerShell", powershell,
			wire.RedirectNativeClient, plugin(appAADPowerShell), "http://localhost"),
	}
	for id, name := range family {
		a := client(id, name, everything, wire.RedirectNativeClient, plugin(id), "http://localhost")
		a.FOCI = true
		apps = append(apps, a)
	}
	return apps
}
