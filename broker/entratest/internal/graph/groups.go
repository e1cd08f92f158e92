package graph

import (
	"net/http"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// groups lists the groups of the tenant, or those with a given name.
func (s *Service) groups(w http.ResponseWriter, r *web.Request) {
	_, self, ok := s.bearer(w, r, scopeGroupMemberReadAll, "Group.Read.All", "Group.ReadWrite.All", scopeDirectoryRead, scopeDirectoryWrite, scopeDirectoryAsUser)
	if !ok {
		return
	}
	name := ""
	if f := r.URL.Query().Get("$filter"); f != "" {
		rest, ok := strings.CutPrefix(f, "displayName eq '")
		if !ok {
			refuse(w, http.StatusBadRequest, "Request_UnsupportedQuery", "Unsupported or invalid query filter clause.")
			return
		}
		name = strings.ReplaceAll(strings.TrimSuffix(rest, "'"), "''", "'")
	}
	list := []map[string]any{}
	for _, g := range s.Keeper.Directory.Groups(self.Tenant) {
		if name == "" || strings.EqualFold(g.Name, name) {
			list = append(list, map[string]any{"id": g.ID, "displayName": g.Name, "securityEnabled": true, "mailEnabled": false})
		}
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#groups", "value": list})
}

// photo answers that there is no photo: users of the emulator have none.
func (s *Service) photo(w http.ResponseWriter, _ *web.Request, _ *directory.User) {
	refuse(w, http.StatusNotFound, "ImageNotFound", "The photo wasn't found.")
}

// servicePrincipal answers that it does not exist: programs look for the endpoints of
// Intune, which the tenant does not have.
func (s *Service) servicePrincipal(w http.ResponseWriter, r *web.Request) {
	if _, _, ok := s.bearer(w, r); ok {
		refuse(w, http.StatusNotFound, "Request_ResourceNotFound",
			"Resource '"+web.Clip(r.Vars["rest"])+"' does not exist or one of its queried reference-property objects are not present.")
	}
}
