// Package arm emulates the part of Azure Resource Manager that command-line tools use
// during a sign-in.
package arm

import (
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// Service is the emulated Azure Resource Manager.
type Service struct {
	Keeper *session.Keeper
	Mint   *mint.Mint
	Web    *web.Router
}

const appARM = "797f4846-ba00-4fd7-ba43-dac1f8f63013"

// Routes adds the endpoints to the router.
func (s *Service) Routes() {
	s.Web.Handle(web.OnARM, "GET", "/tenants", web.EndpointARM, s.asUser(s.tenants))
	s.Web.Handle(web.OnARM, "GET", "/subscriptions", web.EndpointARM, s.asUser(s.subscriptions))
}

// asUser serves a request whose token is for Azure Resource Manager.
func (s *Service) asUser(serve func(w http.ResponseWriter, u *directory.User)) web.Handler {
	return func(w http.ResponseWriter, r *web.Request) {
		_, u, err := s.Mint.Bearer(r.Header.Get("Authorization"), "https://management.azure.com", "https://management.core.windows.net", appARM)
		if err != nil {
			s.Web.Mistake(r, "Azure Resource Manager: %v", err)
			w.Header().Set("WWW-Authenticate", `Bearer authorization_uri="https://login.microsoftonline.com/`+s.Keeper.Directory.Home().ID+`", error="invalid_token", error_description="The access token is missing or invalid."`)
			refuse(w, http.StatusUnauthorized, "InvalidAuthenticationToken", "The access token is missing, has expired or is for another resource.")
			return
		}
		if r.URL.Query().Get("api-version") == "" {
			refuse(w, http.StatusBadRequest, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
			return
		}
		serve(w, u)
	}
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	web.WriteJSON(w, status, map[string]any{"error": map[string]any{"code": code, "message": message}})
}

// tenants is "Tenants - List" of the Resource Manager reference.
func (s *Service) tenants(w http.ResponseWriter, u *directory.User) {
	t := u.Tenant
	web.WriteJSON(w, http.StatusOK, map[string]any{"value": []map[string]any{{
		"id": "/tenants/" + t.ID, "tenantId": t.ID, "countryCode": "CH", "displayName": t.Name,
		"domains": []string{t.Domain}, "defaultDomain": t.Domain, "tenantCategory": "Home", "tenantType": "AAD",
	}}})
}

// subscriptions is "Subscriptions - List" of that reference: each tenant has one.
func (s *Service) subscriptions(w http.ResponseWriter, u *directory.User) {
	id := s.Keeper.Rand.Derived("subscription", u.Tenant.ID)
	web.WriteJSON(w, http.StatusOK, map[string]any{"value": []map[string]any{{
		"id": "/subscriptions/" + id, "subscriptionId": id, "tenantId": u.Tenant.ID, "displayName": u.Tenant.Name,
		"state": "Enabled", "authorizationSource": "RoleBased", "managedByTenants": []any{},
		"subscriptionPolicies": map[string]string{"locationPlacementId": "Public_2014-09-01", "quotaId": "EnterpriseAgreement_2014-09-01", "spendingLimit": "Off"},
	}}, "count": map[string]any{"type": "Total", "value": 1}})
}
