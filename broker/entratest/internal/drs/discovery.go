package drs

import (
	"encoding/base64"
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/internal/wire"
)

func (s *Service) discovery(w http.ResponseWriter, r *web.Request) {
	t := r.Tenant
	if t == nil {
		t = s.Keeper.Directory.Home()
	}
	const drs = "https://" + wire.RegistrationHost
	service := func(endpointName, idName, endpoint, version string) map[string]string {
		return map[string]string{endpointName: drs + endpoint, idName: wire.ResourceRegistration, "ServiceVersion": version}
	}
	bpl := service("BPLServiceEndpoint", "BPLResourceId", "/aadpasswordpolicy/"+t.ID+"/", "1.0")
	bpl["BPLProxyServicePrincipalId"] = s.Keeper.Rand.Derived("bpl", t.Domain)
	web.WriteJSON(w, http.StatusOK, map[string]any{
		"DiscoveryService": map[string]string{
			"DiscoveryEndpoint": drs + "/" + t.Domain + "/Discover", "ServiceVersion": wire.DRSVersionDiscover},
		"DeviceRegistrationService": service("RegistrationEndpoint", "RegistrationResourceId",
			"/EnrollmentServer/DeviceEnrollmentWebService.svc", "1.0"),
		"AuthenticationService": map[string]any{"OAuth2": map[string]string{
			"AuthCodeEndpoint": web.LoginURL + t.ID + "/oauth2/authorize", "TokenEndpoint": web.LoginURL + t.ID + "/oauth2/token"}},
		"IdentityProviderService": map[string]any{
			"Federated": t.Federated[t.Domain], "PassiveAuthEndpoint": web.LoginURL + t.ID + "/wsfed"},
		"DeviceJoinService":         service("JoinEndpoint", "JoinResourceId", wire.PathDevice, wire.DRSVersionDevice),
		"KeyProvisioningService":    service("KeyProvisionEndpoint", "KeyProvisionResourceId", wire.PathKey, wire.DRSVersionKey),
		"WebAuthNService":           service("WebAuthNEndpoint", "WebAuthNResourceId", "/webauthn/"+t.ID+"/", "1.0"),
		"DeviceManagementService":   service("DeviceManagementEndpoint", "DeviceManagementResourceId", "/manage/"+t.ID+"/", "1.0"),
		"MsaProviderData":           map[string]string{"SiteId": "295958", "SiteUrl": drs},
		"PrecreateService":          service("PrecreateEndpoint", "PrecreateResourceId", "/EnrollmentServer/device/precreate/"+t.ID+"/", "2.0"),
		"TenantInfo":                map[string]string{"TenantId": t.ID, "TenantName": t.Domain, "DisplayName": t.Name},
		"AzureRbacService":          map[string]string{"RbacPolicyEndpoint": "https://pas.windows.net"},
		"BPLService":                bpl,
		"DeviceJoinResourceService": service("Endpoint", "ResourceId", "/EnrollmentServer/device/resource/"+t.ID+"/", "2.0"),
		"NonceService":              service("Endpoint", "ResourceId", wire.PathDRSNonce+t.ID+"/", wire.DRSVersionNonce),
	})
}

// nonce serves the registration service's own nonce. The misspelt member is
// as in the published sample.
func (s *Service) nonce(w http.ResponseWriter, r *web.Request) {
	if r.Tenant == nil {
		s.Web.RefuseDRS(w, r, web.DRSFail(http.StatusBadRequest, "InvalidRequest", "The nonce endpoint needs a tenant."))
		return
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{
		"ReponseStatus": map[string]string{
			"message": "Nonce created", "traceId": s.Keeper.Rand.GUID(), "time": s.Keeper.Now().UTC().Format("1/2/2006 3:04:05 PM")},
		"Value": base64.StdEncoding.EncodeToString([]byte(s.Keeper.NewNonce())),
	})
}

// Routes adds the endpoints to the router.
func (s *Service) Routes() {
	on := func(methods, pattern string, e web.Endpoint, h web.Handler) {
		s.Web.Handle(web.OnRegistration, methods, pattern, e, h)
	}
	on("GET", "/{tenant}/Discover", web.EndpointDRSDiscovery, s.discovery)
	on("POST", "/EnrollmentServer/device", web.EndpointDevice, s.join)
	on("DELETE", "/EnrollmentServer/device/{device}", web.EndpointDevice, s.unjoin)
	on("PUT", "/EnrollmentServer/device/{device}", web.EndpointDevice, s.hybridJoin)
	on("GET", "/manage/{tenant}/{device}", web.EndpointDevice, s.deviceStatus)
	on("POST", "/EnrollmentServer/key", web.EndpointKey, s.registerKey)
	on("DELETE", "/EnrollmentServer/key/{rest}", web.EndpointKey, s.deleteKey)
	on("GET", "/EnrollmentServer/nonce/{tenant}", web.EndpointDRSNonce, s.nonce)
}
