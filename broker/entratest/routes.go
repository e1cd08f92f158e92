package entratest

import (
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// newRoutes lists every endpoint. The first match wins.
func (s *Server) newRoutes() {
	s.sts.Routes()
	s.loginRoutes()
	s.drs.Routes()
	s.graph.Routes()
	s.adfs.Routes()
	s.officeRoutes()
	s.arm.Routes()
}

func (s *Server) loginRoutes() {
	on := func(methods, pattern string, e web.Endpoint, h web.Handler) {
		s.web.Handle(web.OnLogin, methods, pattern, e, h)
	}
	for _, v := range []string{"", "/v2.0"} {
		on("GET", "/{tenant}"+v+"/.well-known/openid-configuration", web.EndpointDiscovery, s.discovery)
		on("GET", "/{tenant}/discovery"+v+"/keys", web.EndpointKeys, s.jwks)
		on("GET POST", "/{tenant}/oauth2"+v+"/authorize", web.EndpointAuthorize, s.authorize)
		on("GET POST", "/{tenant}/oauth2"+v+"/logout", web.EndpointLogout, s.logout)
	}
	on("GET", "/common/discovery/instance", web.EndpointDiscovery, s.instance)
	on("GET", "/common/UserRealm/{upn}", web.EndpointRealm, s.userRealm)
	on("GET", "/GetUserRealm.srf", web.EndpointRealm, s.userRealmSRF)
	on("POST", "/{tenant}/GetCredentialType", web.EndpointCredentialType, s.credentialType)
	on("POST", "/GetCredentialType", web.EndpointCredentialType, s.credentialType)
	on("GET POST", "/common/oauth2/deviceauth", web.EndpointLogin, s.deviceLoginPage)
	on("POST", "/common/SAS/ProcessAuth", web.EndpointLogin, s.processAuth)
	on("POST", "/common/SAS/BeginAuth", web.EndpointLogin, s.beginAuth)
	on("GET POST", "/common/SAS/EndAuth", web.EndpointLogin, s.endAuth)
	on("POST", "/{tenant}/GetOneTimeCode", web.EndpointLogin, s.oneTimeCode)
	on("POST", "/{tenant}/DeviceCodeStatus", web.EndpointLogin, s.deviceCodeStatus)
	on("POST", "/login.srf", web.EndpointLogin, s.loginSRF)
	on("POST", "/common/SAS/ProofUp", web.EndpointLogin, s.proofUp)
	on("POST", "/common/Consent/Set", web.EndpointLogin, s.consentSet)
	on("POST", "/common/Terms/Set", web.EndpointLogin, s.termsSet)
	on("POST", "/appverify", web.EndpointLogin, s.appVerify)
	on("POST", "/common/ChangePassword", web.EndpointLogin, s.changePassword)
	on("POST", ssprBeginPath, web.EndpointLogin, s.ssprBegin)
	on("POST", ssprPollPath, web.EndpointLogin, s.ssprPoll)
	on("POST", "/kmsi", web.EndpointLogin, s.kmsi)
	on("GET", "/common/oauth2/nativeclient", web.EndpointLogin, s.nativeClient)
	on("POST", "/{tenant}/kmsi", web.EndpointLogin, s.kmsi)
	on("GET POST", "/{tenant}/login", web.EndpointLogin, s.login)
	on("GET", "/{tenant}/fido/get", web.EndpointLogin, s.fidoGet)
	on("POST", "/{tenant}/fido/get", web.EndpointLogin, s.fidoPosted)
	on("GET POST", "/{tenant}/resume", web.EndpointLogin, s.resume)
	on("GET POST", authenticatorPath, web.EndpointLogin, s.authenticator)
	s.web.Handle(web.OnCertAuth, "POST", "/{tenant}/certauth", web.EndpointLogin, s.certAuth)
	s.web.Handle(web.OnDeviceLogin, "GET", "/devicelogin", web.EndpointLogin, s.deviceLoginPage)
}

// Handler serves every host of the emulator, told apart by the Host header.
func (s *Server) Handler() http.Handler { return s.web }
