package entratest

import (
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// The types below are converted to those of package directory. Structs with equal
// fields convert directly, which the compiler checks.

func (t Tenant) spec() directory.TenantSpec {
	out := directory.TenantSpec{Domain: t.Domain, TenantID: t.TenantID, DisplayName: t.DisplayName,
		Domains: t.Domains, Policies: t.Policies, Federated: t.Federated, FederatedMFA: t.FederatedMFA}
	for _, u := range t.Users {
		out.Users = append(out.Users, u.spec())
	}
	for _, g := range t.Groups {
		out.Groups = append(out.Groups, directory.GroupSpec(g))
	}
	for _, d := range t.Devices {
		out.Devices = append(out.Devices, directory.DeviceSpec(d))
	}
	for _, a := range t.Apps {
		out.Apps = append(out.Apps, a.spec())
	}
	return out
}

func (a App) spec() directory.AppSpec {
	out := directory.AppSpec{
		ClientID: a.ClientID, Name: a.Name, Redirects: a.Redirects, Public: a.Public, Secret: a.Secret, SecretExpires: a.SecretExpires, SPA: a.SPA,
		Certificates: a.Certificates, ServicePrincipalID: a.ServicePrincipalID, ManagedIdentity: a.ManagedIdentity,
		Roles: a.Roles, RoleAssignments: a.RoleAssignments, Permissions: a.Permissions, AssignmentRequired: a.AssignmentRequired, GroupClaims: a.GroupClaims,
		URIs: a.URIs, Exposes: a.Exposes, TokenVersion: a.TokenVersion, OptionalClaims: a.OptionalClaims,
		Preauthorised: a.Preauthorised, PreauthorisedClients: a.PreauthorisedClients, AdminConsent: a.AdminConsent,
		FirstParty: a.FirstParty, FOCI: a.FOCI, DeviceTokens: a.DeviceTokens, AssignTo: a.AssignTo, Disabled: a.Disabled,
	}
	for _, c := range a.Federated {
		out.Federated = append(out.Federated, directory.FederatedCredential(c))
	}
	return out
}

func appOf(a directory.AppSpec) App {
	out := App{
		ClientID: a.ClientID, Name: a.Name, Redirects: a.Redirects, Public: a.Public, Secret: a.Secret, SecretExpires: a.SecretExpires, SPA: a.SPA,
		Certificates: a.Certificates, ServicePrincipalID: a.ServicePrincipalID, ManagedIdentity: a.ManagedIdentity,
		Roles: a.Roles, RoleAssignments: a.RoleAssignments, Permissions: a.Permissions, AssignmentRequired: a.AssignmentRequired, GroupClaims: a.GroupClaims,
		URIs: a.URIs, Exposes: a.Exposes, TokenVersion: a.TokenVersion, OptionalClaims: a.OptionalClaims,
		Preauthorised: a.Preauthorised, PreauthorisedClients: a.PreauthorisedClients, AdminConsent: a.AdminConsent,
		FirstParty: a.FirstParty, FOCI: a.FOCI, DeviceTokens: a.DeviceTokens, AssignTo: a.AssignTo, Disabled: a.Disabled,
	}
	for _, c := range a.Federated {
		out.Federated = append(out.Federated, FederatedCredential(c))
	}
	return out
}

func (u User) spec() directory.UserSpec {
	out := directory.UserSpec{
		Username: u.Username, ID: u.ID, Name: u.Name, Password: u.Password,
		TOTPSecret: u.TOTPSecret, FederationTOTP: u.FederationTOTP, HardwareTOTP: u.HardwareTOTP,
		NumberMatch: u.NumberMatch, PhoneSignIn: u.PhoneSignIn, Phone: u.Phone,
		Roles: u.Roles, Guest: u.Guest, Disabled: u.Disabled, SID: u.SID, Mail: u.Mail,
	}
	for _, k := range u.Passkeys {
		out.Passkeys = append(out.Passkeys, directory.PasskeySpec(k))
	}
	return out
}

func (o *Options) tenants() []directory.TenantSpec {
	first := Tenant{Domain: o.Domain, TenantID: o.TenantID, DisplayName: o.DisplayName, Users: o.Users,
		Domains: o.Domains, Groups: o.Groups, Devices: o.Devices, Apps: o.Apps, Policies: o.Policies, Federated: o.Federated, FederatedMFA: o.FederatedMFA}
	out := []directory.TenantSpec{first.spec()}
	for _, t := range o.OtherTenants {
		out = append(out, t.spec())
	}
	return out
}

func signInOf(e directory.LogEntry) SignIn {
	out := SignIn{
		Seq: e.Seq, Time: e.Time, CorrelationID: e.CorrelationID, Endpoint: Endpoint(e.Endpoint), Grant: e.Grant, Interactive: e.Interactive,
		Username: e.Username, UserID: e.UserID, ClientID: e.ClientID, ServicePrincipalID: e.ServicePrincipal, Resource: e.Resource, DeviceID: e.DeviceID,
		Platform: e.Platform, IPAddress: e.Address, Country: e.Country, UniqueTokenID: e.Unique, DeviceCode: e.DeviceCode, AMR: e.AMR, MFAPrompts: e.MFAPrompts,
		ErrorCode: e.ErrorCode, Error: e.Error, Suberror: e.Suberror,
	}
	for _, p := range e.Policies {
		out.Policies = append(out.Policies, PolicyResult(p))
	}
	return out
}

func (f Fault) fault() web.Fault {
	return web.Fault{
		Endpoint: web.Endpoint(f.Endpoint), Kind: web.FaultKind(f.Kind), Nth: f.Nth, Times: f.Times, Match: f.Match,
		Delay: f.Delay, RetryAfter: f.RetryAfter, Status: f.Status, Code: f.Code, Error: f.Error, Suberror: f.Suberror,
	}
}
