package entratest

import (
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// Azure Resource Manager: as much as a command line asks to sign somebody in, the
// tenants and the subscriptions of the user.

const appARM = "797f4846-ba00-4fd7-ba43-dac1f8f63013"

func (s *Server) armRoutes() {
	s.web.Handle(web.OnARM, "GET", "/tenants", web.EndpointARM, s.asARMUser(s.armTenants))
	s.web.Handle(web.OnARM, "GET", "/subscriptions", web.EndpointARM, s.asARMUser(s.armSubscriptions))
}

// asARMUser serves a request whose token is for Azure Resource Manager.
func (s *Server) asARMUser(serve func(w http.ResponseWriter, u *directory.User)) web.Handler {
	return func(w http.ResponseWriter, r *web.Request) {
		_, u, err := s.mint.Bearer(r.Header.Get("Authorization"), "https://management.azure.com", "https://management.core.windows.net", appARM)
		if err != nil {
			s.web.Mistake(r, "Azure Resource Manager: %v", err)
			w.Header().Set("WWW-Authenticate", `Bearer authorization_uri="https://login.microsoftonline.com/`+s.TenantID()+`", error="invalid_token", error_description="The access token is missing or invalid."`)
			armError(w, http.StatusUnauthorized, "InvalidAuthenticationToken", "The access token is missing, has expired or is for another resource.")
			return
		}
		if r.URL.Query().Get("api-version") == "" {
			armError(w, http.StatusBadRequest, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
			return
		}
		serve(w, u)
	}
}

func armError(w http.ResponseWriter, status int, code, message string) {
	web.WriteJSON(w, status, map[string]any{"error": map[string]any{"code": code, "message": message}})
}

// armTenants is "Tenants - List" of the Resource Manager reference.
func (s *Server) armTenants(w http.ResponseWriter, u *directory.User) {
	t := u.Tenant
	web.WriteJSON(w, http.StatusOK, map[string]any{"value": []map[string]any{{
		"id": "/tenants/" + t.ID, "tenantId": t.ID, "countryCode": "CH", "displayName": t.Name,
		"domains": []string{t.Domain}, "defaultDomain": t.Domain, "tenantCategory": "Home", "tenantType": "AAD",
	}}})
}

// armSubscriptions is "Subscriptions - List" there: each tenant has one.
func (s *Server) armSubscriptions(w http.ResponseWriter, u *directory.User) {
	id := s.rand.Derived("subscription", u.Tenant.ID)
	web.WriteJSON(w, http.StatusOK, map[string]any{"value": []map[string]any{{
		"id": "/subscriptions/" + id, "subscriptionId": id, "tenantId": u.Tenant.ID, "displayName": u.Tenant.Name,
		"state": "Enabled", "authorizationSource": "RoleBased", "managedByTenants": []any{},
		"subscriptionPolicies": map[string]string{"locationPlacementId": "Public_2014-09-01", "quotaId": "EnterpriseAgreement_2014-09-01", "spendingLimit": "Off"},
	}}, "count": map[string]any{"type": "Total", "value": 1}})
}
