package seed

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/policy"
)

type redirects struct {
	URIs []string `json:"redirectUris"`
}

type value struct {
	ID    string `json:"id"`
	Value string `json:"value"`
}

type application struct {
	AppID    string    `json:"appId"`
	Name     string    `json:"displayName"`
	URIs     []string  `json:"identifierUris"`
	Web      redirects `json:"web"`
	Public   redirects `json:"publicClient"`
	SPA      redirects `json:"spa"`
	Fallback bool      `json:"isFallbackPublicClient"`
	API      struct {
		Scopes        []value `json:"oauth2PermissionScopes"`
		TokenVersion  *int    `json:"requestedAccessTokenVersion"`
		Preauthorised []struct {
			AppID       string   `json:"appId"`
			Permissions []string `json:"delegatedPermissionIds"`
		} `json:"preAuthorizedApplications"`
	} `json:"api"`
	Roles    []value           `json:"appRoles"`
	Secrets  []json.RawMessage `json:"passwordCredentials"`
	Keys     []credential      `json:"keyCredentials"`
	Groups   string            `json:"groupMembershipClaims"`
	Optional struct {
		Access []struct{ Name string } `json:"accessToken"`
		ID     []struct{ Name string } `json:"idToken"`
	} `json:"optionalClaims"`
}

type credential struct {
	Type string `json:"type"`
	Key  []byte `json:"key"`
}

type servicePrincipal struct {
	ID           string   `json:"id"`
	AppID        string   `json:"appId"`
	Name         string   `json:"displayName"`
	AppName      string   `json:"appDisplayName"`
	Owner        string   `json:"appOwnerOrganizationId"`
	Kind         string   `json:"servicePrincipalType"`
	Alternatives []string `json:"alternativeNames"`
	Enabled      *bool    `json:"accountEnabled"`
	Assignment   bool     `json:"appRoleAssignmentRequired"`
	Replies      []string `json:"replyUrls"`
	Names        []string `json:"servicePrincipalNames"`
	Roles        []value  `json:"appRoles"`
	Scopes       []value  `json:"oauth2PermissionScopes"`
}

type roleAssignment struct {
	Principal     string `json:"principalId"`
	PrincipalType string `json:"principalType"`
	Resource      string `json:"resourceId"`
	Role          string `json:"appRoleId"`
}

type permissionGrant struct {
	Client   string `json:"clientId"`
	Consent  string `json:"consentType"`
	Resource string `json:"resourceId"`
	Scope    string `json:"scope"`
}

// Microsoft's own tenant, which owns the applications that every tenant has.
const microsoftTenant = "f8cdef31-a31e-4b4a-93e4-5f571e91255a"

// noRole is the id of an assignment without a role ("default access").
const noRole = "00000000-0000-0000-0000-000000000000"

func (b *builder) apps() error {
	o := &b.tenant.Options
	if err := read(b, applications, b.application); err != nil {
		return err
	}
	principals, microsoft := map[string]servicePrincipal{}, 0
	err := read(b, servicePrincipals, func(file string, v servicePrincipal) error {
		principals[strings.ToLower(v.ID)] = v
		if strings.EqualFold(v.Owner, microsoftTenant) {
			microsoft++
			return nil
		}
		if !guid.MatchString(v.AppID) {
			b.remark(file, "servicePrincipal %s is not represented: it has no appId", v.Name)
			return nil
		}
		b.enterprise(v, file)
		return nil
	})
	if err != nil {
		return err
	}
	if microsoft > 0 {
		b.remark("", "servicePrincipals: %s Microsoft's own, which the emulator has itself", count(microsoft, "object"))
	}
	if err := read(b, roleAssignments, func(file string, v roleAssignment) error { b.assign(file, v, principals); return nil }); err != nil {
		return err
	}
	err = read(b, permissionGrants, func(file string, v permissionGrant) error {
		client, resource := b.app(principals[strings.ToLower(v.Client)].AppID), principals[strings.ToLower(v.Resource)].AppID
		if !strings.EqualFold(v.Consent, "AllPrincipals") || client == nil || resource == "" {
			b.remark(file, "the consent of one user to %s, or of an application that is not in the export, is not represented", strings.TrimSpace(v.Scope))
			return nil
		}
		if client.Preauthorised == nil {
			client.Preauthorised = map[string][]string{}
		}
		client.Preauthorised[resource] = append(client.Preauthorised[resource], strings.Fields(v.Scope)...)
		return nil
	})
	for i := range o.Apps {
		slices.Sort(o.Apps[i].URIs)
		o.Apps[i].URIs = slices.Compact(o.Apps[i].URIs)
	}
	return err
}

// app finds an application that was made.
func (b *builder) app(appID string) *entratest.App {
	list := b.tenant.Options.Apps
	i := slices.IndexFunc(list, func(a entratest.App) bool { return strings.EqualFold(a.ClientID, appID) })
	if i < 0 {
		return nil
	}
	return &list[i]
}

func (b *builder) application(file string, v application) error {
	if !guid.MatchString(v.AppID) || b.app(v.AppID) != nil {
		b.remark(file, "application %s is not represented: it has no appId of its own", v.Name)
		return nil
	}
	a := entratest.App{ClientID: v.AppID, Name: v.Name, URIs: v.URIs, Exposes: valuesOf(v.API.Scopes), Roles: valuesOf(v.Roles),
		GroupClaims: v.Groups != "" && !strings.EqualFold(v.Groups, "None")}
	if v.API.TokenVersion != nil {
		a.TokenVersion = *v.API.TokenVersion
	}
	b.platforms(file, &a, v)
	for _, c := range append(v.Optional.Access, v.Optional.ID...) {
		if !slices.Contains(a.OptionalClaims, c.Name) {
			a.OptionalClaims = append(a.OptionalClaims, c.Name)
		}
	}
	for _, p := range v.API.Preauthorised {
		if a.PreauthorisedClients == nil {
			a.PreauthorisedClients = map[string][]string{}
		}
		for _, s := range v.API.Scopes {
			if slices.Contains(p.Permissions, s.ID) {
				a.PreauthorisedClients[p.AppID] = append(a.PreauthorisedClients[p.AppID], s.Value)
			}
		}
	}
	if len(v.Secrets) > 0 {
		if a.Secret = b.config.Secret; a.Secret == "" {
			b.remark(file, "application %s: its secret is not exported: it has none", v.Name)
		}
	}
	for _, k := range v.Keys {
		if len(k.Key) > 0 {
			a.Certificates = append(a.Certificates, k.Key)
		} else {
			b.remark(file, "application %s: a certificate is not in the export: $select=keyCredentials returns it", v.Name)
		}
	}
	b.tenant.Options.Apps = append(b.tenant.Options.Apps, a)
	return nil
}

// platforms puts together the redirect URIs, which an application of the emulator has for
// one platform.
func (b *builder) platforms(file string, a *entratest.App, v application) {
	a.SPA = len(v.SPA.URIs) > 0 && len(v.Web.URIs) == 0
	a.Public = !a.SPA && len(v.Web.URIs) == 0 && (v.Fallback || len(v.Public.URIs) > 0)
	several := 0
	for _, r := range []redirects{v.Web, v.SPA, v.Public} {
		a.Redirects = append(a.Redirects, b.absolute(file, v.Name, r.URIs)...)
		if len(r.URIs) > 0 {
			several++
		}
	}
	if several > 1 {
		as := map[bool]string{true: "a single-page app", false: "a web server"}[a.SPA]
		b.remark(file, "application %s has redirect URIs of several platforms: all are those of %s", v.Name, as)
	}
}

// absolute leaves out what is not a URI.
func (b *builder) absolute(file, app string, uris []string) (out []string) {
	for _, raw := range uris {
		if u, err := url.Parse(raw); err != nil || u.Scheme == "" {
			b.remark(file, "application %s: the redirect %q is not represented", app, raw)
			continue
		}
		out = append(out, raw)
	}
	return out
}

func valuesOf(list []value) (out []string) {
	for _, v := range list {
		if v.Value != "" {
			out = append(out, v.Value)
		}
	}
	return out
}

// enterprise adds what a service principal says to its application, or makes one.
func (b *builder) enterprise(v servicePrincipal, file string) {
	a := b.app(v.AppID)
	if a == nil {
		name := v.AppName
		if name == "" {
			name = v.Name
		}
		b.tenant.Options.Apps = append(b.tenant.Options.Apps, entratest.App{ClientID: v.AppID, Name: name,
			Redirects: b.absolute(file, name, v.Replies), Roles: valuesOf(v.Roles), Exposes: valuesOf(v.Scopes)})
		a = b.app(v.AppID)
	}
	a.ServicePrincipalID = v.ID
	a.Disabled = v.Enabled != nil && !*v.Enabled
	for _, name := range v.Names {
		if !strings.EqualFold(name, v.AppID) && strings.Contains(name, ":") {
			a.URIs = append(a.URIs, name)
		}
	}
	if v.Assignment {
		a.AssignmentRequired, a.AssignTo = true, []string{}
	}
	if strings.EqualFold(v.Kind, "ManagedIdentity") {
		for _, name := range v.Alternatives {
			if strings.HasPrefix(name, "/subscriptions/") {
				a.ManagedIdentity = name
			}
		}
	}
}

// assign carries out an assignment of a role, or of access without one.
func (b *builder) assign(file string, v roleAssignment, principals map[string]servicePrincipal) {
	resource := principals[strings.ToLower(v.Resource)]
	role := ""
	for _, r := range resource.Roles {
		if strings.EqualFold(r.ID, v.Role) {
			role = r.Value
		}
	}
	a, client := b.app(resource.AppID), b.app(principals[strings.ToLower(v.Principal)].AppID)
	person := b.principal(v.Principal)
	switch {
	case role == "" && v.Role != noRole, !person && client == nil, person && a == nil, !person && role == "":
		b.remark(file, "the assignment of role %s of %s to %s is not represented: one of them is not in the export", v.Role, v.Resource, v.Principal)
	case person:
		if a.AssignTo != nil {
			a.AssignTo = append(a.AssignTo, v.Principal)
		}
		if role != "" {
			if a.RoleAssignments == nil {
				a.RoleAssignments = map[string][]string{}
			}
			a.RoleAssignments[role] = append(a.RoleAssignments[role], v.Principal)
		}
	default:
		if client.Permissions == nil {
			client.Permissions = map[string][]string{}
		}
		client.Permissions[resource.AppID] = append(client.Permissions[resource.AppID], role)
	}
}

// policies hands the objects of Conditional Access on as they are: package policy reads
// them, and says what it cannot model.
func (b *builder) policies() error {
	var all []json.RawMessage
	for _, k := range []kind{policies, namedLocations, strengths} {
		for _, o := range b.found[k] {
			all = append(all, o.raw)
		}
	}
	if len(all) == 0 {
		return nil
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	b.tenant.Options.Policies = text
	_, diagnostics, err := policy.Load(bytes.NewReader(text))
	for _, d := range diagnostics {
		b.remark("", "%s", d)
	}
	return err
}
