package graph

import (
	"net/http"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// permission says what a request about a user requires (Microsoft Graph, the
// permissions on the page of each request). Acting on the token's own user may need
// fewer permissions than acting on another.
type permission struct {
	own    []string // scopes, of which the token needs one for its own user
	others []string // scopes, of which it needs one for another user
	roles  []string // template ids of roles, of which another user requires one too; nil: no role
}

// Template ids of roles (Entra, "Microsoft Entra built-in roles").
const (
	roleGlobalAdmin         = "62e90394-69f5-4237-9190-012177145e10"
	roleGlobalReader        = "f2ef992c-3afb-46b9-b7cf-a126ee74c451"
	roleAuthentication      = "c4e39bd9-1100-46d3-8c65-fb160da0071f"
	rolePrivilegedAuth      = "7be44c8a-adaf-4e2a-84d6-ab2649e08a13"
	roleUserAdmin           = "fe930be7-5e62-47db-91af-98c3a49a38b1"
	roleHelpdesk            = "729827e3-9c14-49f7-bb1b-9608f156bbb8"
	roleIntuneAdmin         = "3a2c62db-5318-420d-8d74-23affee5d9d5"
	roleCloudDeviceAdmin    = "7698a772-787b-4ac8-901f-60d6b08affd2"
	scopeUserReadAll        = "User.Read.All"
	scopeUserWriteAll       = "User.ReadWrite.All"
	scopeDirectoryRead      = "Directory.Read.All"
	scopeDirectoryWrite     = "Directory.ReadWrite.All"
	scopeDirectoryAsUser    = "Directory.AccessAsUser.All"
	scopeMethodsRead        = "UserAuthenticationMethod.Read"
	scopeMethodsReadAll     = "UserAuthenticationMethod.Read.All"
	scopeMethodsWrite       = "UserAuthenticationMethod.ReadWrite"
	scopeMethodsWriteAll    = "UserAuthenticationMethod.ReadWrite.All"
	scopeRevokeSessions     = "User.RevokeSessions.All"
	scopeGroupMemberReadAll = "GroupMember.Read.All"
)

func readUser() permission {
	all := []string{scopeUserReadAll, scopeUserWriteAll, scopeDirectoryRead, scopeDirectoryWrite, scopeDirectoryAsUser}
	return permission{own: append([]string{"User.Read", "User.ReadWrite", "User.ReadBasic.All"}, all...), others: append([]string{"User.ReadBasic.All"}, all...)}
}

func readGroups() permission {
	all := []string{scopeUserReadAll, scopeUserWriteAll, scopeDirectoryRead, scopeDirectoryWrite, scopeDirectoryAsUser, scopeGroupMemberReadAll}
	return permission{own: append([]string{"User.Read"}, all...), others: all}
}

func revokeSessions() permission {
	scopes := []string{scopeRevokeSessions, scopeUserWriteAll, scopeDirectoryWrite, scopeDirectoryAsUser}
	return permission{own: append([]string{"User.ReadWrite"}, scopes...), others: scopes,
		roles: []string{roleGlobalAdmin, rolePrivilegedAuth, roleAuthentication, roleUserAdmin, roleHelpdesk}}
}

// readMethods is the permission to see authentication methods. For another user the
// role decides: any of the scopes will do.
func readMethods() permission {
	scopes := []string{scopeMethodsRead, scopeMethodsReadAll, scopeMethodsWrite, scopeMethodsWriteAll}
	return permission{own: scopes, others: scopes,
		roles: []string{roleGlobalAdmin, roleGlobalReader, rolePrivilegedAuth, roleAuthentication}}
}

func writeMethods() permission {
	scopes := []string{scopeMethodsWrite, scopeMethodsWriteAll}
	return permission{own: scopes, others: scopes, roles: []string{roleGlobalAdmin, rolePrivilegedAuth, roleAuthentication}}
}

// deviceDeleters are the roles that may delete a device.
var deviceDeleters = []string{roleGlobalAdmin, roleIntuneAdmin, roleCloudDeviceAdmin}

// about serves a request about the user named in the path, or else the user of the
// token.
func (s *Service) about(p permission, serve func(http.ResponseWriter, *web.Request, *directory.User)) web.Handler {
	return func(w http.ResponseWriter, r *web.Request) {
		c, self, ok := s.bearer(w, r)
		if !ok {
			return
		}
		name, named := r.Vars["user"]
		if c.AppOnly() {
			s.asApplication(w, r, p, c, self, serve)
			return
		}
		own := !named || strings.EqualFold(name, self.ID) || strings.EqualFold(name, self.UPN)
		scopes := p.others
		if own {
			scopes = p.own
		}
		if !s.hasScope(w, r, c, scopes) || !own && !s.hasRole(w, r, self, p.roles) {
			return
		}
		if u := s.named(w, r, self); u != nil {
			serve(w, r, u)
		}
	}
}

// asApplication serves a request of an application, which has no user of its own.
func (s *Service) asApplication(w http.ResponseWriter, r *web.Request, p permission, c *mint.BearerClaims, self *directory.User, serve func(http.ResponseWriter, *web.Request, *directory.User)) {
	if _, named := r.Vars["user"]; !named {
		refuse(w, http.StatusBadRequest, "BadRequest", "/me request is only valid with delegated authentication flow.")
		return
	}
	if !s.hasScope(w, r, c, p.others) {
		return
	}
	if u := s.named(w, r, self); u != nil {
		serve(w, r, u)
	}
}

// hasScope checks that the token has one of the scopes.
func (s *Service) hasScope(w http.ResponseWriter, r *web.Request, c *mint.BearerClaims, scopes []string) bool {
	has := strings.Fields(c.Scopes)
	if slices.ContainsFunc(scopes, func(sc string) bool { return slices.Contains(has, sc) }) {
		return true
	}
	s.Web.Mistake(r, "Graph: scopes %q hold none of %q", c.Scopes, scopes)
	refuse(w, http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
	return false
}

// hasRole checks that the user has one of the roles, if any is needed.
func (s *Service) hasRole(w http.ResponseWriter, r *web.Request, u *directory.User, roles []string) bool {
	if roles == nil || slices.ContainsFunc(u.Roles, func(role string) bool { return slices.Contains(roles, strings.ToLower(role)) }) {
		return true
	}
	s.Web.Mistake(r, "Graph: %s has none of the roles %q", u.UPN, roles)
	refuse(w, http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
	return false
}
