// Package graph emulates the part of Microsoft Graph that brokers and their tests
// use: users, groups, devices, Hello keys, and Conditional Access.
package graph

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// Service is the emulated Microsoft Graph.
type Service struct {
	Keeper *session.Keeper
	Mint   *mint.Mint
	Web    *web.Router
}

// Routes adds the endpoints to the router.
func (s *Service) Routes() {
	for _, v := range []string{"/v1.0", "/beta"} {
		on := func(methods, pattern string, h web.Handler) {
			s.Web.Handle(web.OnGraph, methods, v+pattern, web.EndpointGraph, h)
		}
		for _, who := range []string{"/me", "/users/{user}"} {
			const hello = "/authentication/windowsHelloForBusinessMethods"
			on("GET", who, s.about(readUser(), s.me))
			on("GET", who+"/memberOf", s.about(readGroups(), s.directMemberOf))
			on("GET", who+"/transitiveMemberOf", s.about(readGroups(), s.memberOf))
			on("GET", who+"/memberOf/{cast}", s.about(readGroups(), s.directMemberOf))
			on("GET", who+"/transitiveMemberOf/{cast}", s.about(readGroups(), s.memberOf))
			on("POST", who+"/getMemberObjects", s.about(readGroups(), s.memberIDs))
			on("POST", who+"/getMemberGroups", s.about(readGroups(), s.memberIDs))
			on("GET", who+"/photo/$value", s.about(readUser(), s.photo))
			on("POST", who+"/revokeSignInSessions", s.about(revokeSessions(), s.revoke))
			on("GET", who+hello, s.about(readMethods(), s.helloKeys))
			on("DELETE", who+hello+"/{key}", s.about(writeMethods(), s.deleteHelloKey))
		}
		on("GET", "/groups", s.groups)
		on("GET", "/servicePrincipals/{rest}", s.servicePrincipal)
		on("GET", "/devices", s.devices)
		on("GET", "/{device}", s.device) // devices(deviceId='…')
		on("DELETE", "/{device}", s.device)
		on("GET", "/identity/conditionalAccess/policies", s.policies)
		on("GET", "/identity/conditionalAccess/namedLocations", s.locations)
		on("GET", "/policies/authenticationStrengthPolicies", s.strengths)
		on("POST", "/identity/conditionalAccess/evaluate", s.evaluate)
	}
	s.Web.Handle(web.OnGraph, "GET POST", "/oidc/userinfo", web.EndpointGraph, s.userInfo)
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	web.WriteJSON(w, status, map[string]any{"error": map[string]any{"code": code, "message": message}})
}

// bearer checks the access token. If a critical event of the user came after it was
// issued, it gets a claims challenge, provided that the client announced that it
// handles them (cp1); other tokens are valid until they expire (Entra, "Continuous
// access evaluation").
func (s *Service) bearer(w http.ResponseWriter, r *web.Request, scopes ...string) (*mint.BearerClaims, *directory.User, bool) {
	c, u, err := s.caller(r)
	if c != nil && !c.AppOnly() && c.Overtaken(u) {
		s.challenge(w, u)
		return nil, nil, false
	}
	if err != nil {
		s.Web.Mistake(r, "Graph: %v", err)
		w.Header().Set("WWW-Authenticate", `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", client_id="`+wire.ResourceGraphApp+`"`)
		refuse(w, http.StatusUnauthorized, "InvalidAuthenticationToken", "Access token is missing, empty, expired or for another audience.")
		return nil, nil, false
	}
	if len(scopes) > 0 && !s.hasScope(w, r, c, scopes) {
		return nil, nil, false
	}
	return c, u, true
}

// challenge asks for a token issued after the last critical event of the user. A nil
// user was deleted.
func (s *Service) challenge(w http.ResponseWriter, u *directory.User) {
	since := s.Keeper.Now()
	if u != nil {
		since = u.CriticalAt
	}
	claims := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"access_token":{"nbf":{"essential":true,"value":"%d"}}}`, since.Unix()))
	w.Header().Set("WWW-Authenticate", `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", client_id="`+wire.ResourceGraphApp+`", error="insufficient_claims", claims="`+claims+`"`)
	refuse(w, http.StatusUnauthorized, "InvalidAuthenticationToken", "Continuous access evaluation resulted in challenge with result: InteractionRequired and code: TokenIssuedBeforeRevocationTimestamp.")
}

// caller returns the user who presents the access token. An application is
// represented as a user without a name whose scopes are its roles.
func (s *Service) caller(r *web.Request) (*mint.BearerClaims, *directory.User, error) {
	audiences := []string{wire.ResourceGraph, wire.ResourceGraphApp}
	c, err := s.Mint.BearerToken(r.Header.Get("Authorization"), audiences...)
	if err != nil || !c.AppOnly() {
		return s.Mint.Bearer(r.Header.Get("Authorization"), audiences...)
	}
	t := s.Keeper.Directory.Tenant(c.Tenant)
	if t == nil {
		return nil, nil, errors.New("the tenant of the access token is unknown")
	}
	if a := s.Keeper.Directory.App(t, c.AppID); a == nil || a.Disabled {
		return nil, nil, errors.New("the application of the access token is deleted or disabled")
	}
	c.Scopes = strings.Join(c.Roles, " ")
	return c, &directory.User{ID: c.User, UPN: c.AppID, Tenant: t}, nil
}

func (s *Service) named(w http.ResponseWriter, r *web.Request, self *directory.User) *directory.User {
	name, named := r.Vars["user"]
	if !named {
		return self
	}
	u := s.Keeper.Directory.User(name)
	if u == nil {
		u = s.Keeper.Directory.UserByID(name)
	}
	if u == nil || u.Tenant != self.Tenant {
		refuse(w, http.StatusNotFound, "Request_ResourceNotFound", "Resource '"+web.Clip(name)+"' does not exist or one of its queried reference-property objects are not present.")
		return nil
	}
	return u
}

// memberIDs lists the ids of the groups of a user, including nested ones.
func (s *Service) memberIDs(w http.ResponseWriter, _ *web.Request, u *directory.User) {
	web.WriteJSON(w, http.StatusOK, map[string]any{
		"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#Collection(Edm.String)", "value": s.Keeper.Directory.GroupsOf(u)})
}

func (s *Service) me(w http.ResponseWriter, _ *web.Request, u *directory.User) {
	given, surname, _ := strings.Cut(u.Name, " ")
	userType := "Member"
	if u.Guest {
		userType = "Guest"
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{
		"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#users/$entity",
		"id":             u.ID, "userPrincipalName": u.UPN, "displayName": u.Name, "givenName": given, "surname": surname,
		"mail": mailOf(u), "accountEnabled": !u.Disabled, "userType": userType,
	})
}

func (s *Service) memberOf(w http.ResponseWriter, r *web.Request, u *directory.User) {
	s.writeMemberships(w, r, u, s.Keeper.Directory.Memberships(u))
}

func (s *Service) directMemberOf(w http.ResponseWriter, r *web.Request, u *directory.User) {
	s.writeMemberships(w, r, u, s.Keeper.Directory.DirectMemberships(u))
}

// writeMemberships lists groups and roles, or only those of the type that the path
// casts to (Microsoft Graph, "List a user's memberships": /transitiveMemberOf/
// microsoft.graph.group). The provider of authd asks for graph.group.
func (s *Service) writeMemberships(w http.ResponseWriter, r *web.Request, u *directory.User, groups []directory.Group) {
	cast := strings.TrimPrefix(r.Vars["cast"], "microsoft.")
	roles := u.Roles
	switch cast {
	case "":
	case "graph.group":
		roles = nil
	case "graph.directoryRole":
		groups = nil
	default:
		refuse(w, http.StatusBadRequest, "BadRequest", "The type '"+web.Clip(cast)+"' is not one of a membership.")
		return
	}
	list := []map[string]any{}
	for _, g := range groups {
		list = append(list, map[string]any{"@odata.type": "#microsoft.graph.group", "id": g.ID, "displayName": g.Name, "securityEnabled": true})
	}
	for _, role := range roles {
		list = append(list, map[string]any{"@odata.type": "#microsoft.graph.directoryRole", "id": s.Keeper.Rand.Derived("role", role), "roleTemplateId": role})
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{"value": list})
}

func (s *Service) revoke(w http.ResponseWriter, _ *web.Request, u *directory.User) {
	if err := s.Keeper.Directory.Revoke(u.UPN, s.Keeper.Now()); err != nil {
		refuse(w, http.StatusNotFound, "Request_ResourceNotFound", err.Error())
		return
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{"value": true})
}

func (s *Service) helloKeys(w http.ResponseWriter, _ *web.Request, u *directory.User) {
	list := []map[string]any{}
	for _, k := range u.Hello {
		name := ""
		if dev := s.Keeper.Directory.Device(k.DeviceID); dev != nil {
			name = dev.Name
		}
		list = append(list, map[string]any{"id": k.ID, "displayName": name, "createdDateTime": k.Created.UTC(), "keyStrength": "normal"})
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{"value": list})
}

func (s *Service) deleteHelloKey(w http.ResponseWriter, r *web.Request, u *directory.User) {
	n, err := s.Keeper.Directory.RemoveHelloKey(u.UPN, func(k *directory.HelloKey) bool { return strings.EqualFold(k.ID, r.Vars["key"]) })
	if err != nil || n == 0 {
		refuse(w, http.StatusNotFound, "resourceNotFound", "Method not found.")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Service) deviceJSON(dev *directory.Device) map[string]any {
	var compliant any
	if dev.Managed {
		compliant = dev.Compliant
	}
	return map[string]any{
		"id": dev.ObjectID, "deviceId": dev.ID, "displayName": dev.Name, "accountEnabled": dev.Enabled,
		"isCompliant": compliant, "isManaged": dev.Managed, "operatingSystem": dev.Kind, "operatingSystemVersion": dev.OSVersion,
		"trustType": dev.TrustType(), "registrationDateTime": dev.Registered.UTC(), "profileType": "RegisteredDevice",
		"alternativeSecurityIds": []map[string]any{{"type": 2, "key": alternativeSecurityID(dev)}},
	}
}

func (s *Service) devices(w http.ResponseWriter, r *web.Request) {
	_, self, ok := s.bearer(w, r, "Device.Read.All", scopeDirectoryRead, scopeDirectoryWrite, scopeDirectoryAsUser)
	if !ok {
		return
	}
	candidates := s.Keeper.Directory.Devices
	if f := r.URL.Query().Get("$filter"); f != "" {
		rest, ok := strings.CutPrefix(f, "deviceId eq '")
		if !ok {
			refuse(w, http.StatusBadRequest, "Request_UnsupportedQuery", "Unsupported or invalid query filter clause.")
			return
		}
		candidates = func() []*directory.Device {
			return []*directory.Device{s.Keeper.Directory.Device(strings.TrimSuffix(rest, "'"))}
		}
	}
	list := []map[string]any{}
	for _, dev := range candidates() {
		if dev != nil && dev.Tenant == self.Tenant {
			list = append(list, s.deviceJSON(dev))
		}
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{"value": list})
}

// device is devices(deviceId='…').
func (s *Service) device(w http.ResponseWriter, r *web.Request) {
	scopes := []string{"Device.Read.All", scopeDirectoryRead, scopeDirectoryWrite, scopeDirectoryAsUser}
	if r.Method == http.MethodDelete {
		scopes = []string{scopeDirectoryAsUser}
	}
	_, self, ok := s.bearer(w, r, scopes...)
	if !ok || r.Method == http.MethodDelete && !s.hasRole(w, r, self, deviceDeleters) {
		return
	}
	id, isDevice := strings.CutPrefix(strings.ToLower(r.Vars["device"]), "devices(deviceid='")
	dev := s.Keeper.Directory.Device(strings.TrimSuffix(id, "')"))
	if !isDevice || dev == nil || dev.Tenant != self.Tenant {
		refuse(w, http.StatusNotFound, "Request_ResourceNotFound", "Resource '"+web.Clip(r.Vars["device"])+"' does not exist.")
		return
	}
	if r.Method == http.MethodDelete {
		if err := s.Keeper.Directory.DeleteDevice(dev.ID); err != nil {
			refuse(w, http.StatusNotFound, "Request_ResourceNotFound", err.Error())
			return
		}
		w.WriteHeader(http.StatusNoContent)
		return
	}
	out := s.deviceJSON(dev)
	if sel := r.URL.Query().Get("$select"); sel != "" {
		picked := map[string]any{}
		for _, name := range strings.Split(sel, ",") {
			if v, ok := out[strings.TrimSpace(name)]; ok {
				picked[strings.TrimSpace(name)] = v
			}
		}
		out = picked
	}
	out["@odata.context"] = "https://graph.microsoft.com/v1.0/$metadata#devices/$entity"
	web.WriteJSON(w, http.StatusOK, out)
}

func (s *Service) userInfo(w http.ResponseWriter, r *web.Request) {
	c, u, ok := s.bearer(w, r)
	if !ok {
		return
	}
	given, familyName, _ := strings.Cut(u.Name, " ")
	out := map[string]any{"sub": s.Mint.Subject(u, c.AppID), "name": u.Name, "given_name": given, "family_name": familyName}
	if u.Mail != "" {
		out["email"] = u.Mail
	}
	web.WriteJSON(w, http.StatusOK, out)
}

// mailOf is null for a user without an address.
func mailOf(u *directory.User) any {
	if u.Mail == "" {
		return nil
	}
	return u.Mail
}
