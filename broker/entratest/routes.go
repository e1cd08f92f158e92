package entratest

// newRoutes lists every endpoint. The first match wins.
func (s *Server) newRoutes() []route {
	s.routes = nil
	s.loginRoutes()
	s.registrationRoutes()
	s.graphRoutes()
	s.federationRoutes()
	s.desktopSSORoutes()
	return s.routes
}

func (s *Server) loginRoutes() {
	on := func(methods, pattern string, e Endpoint, h handler) { s.route(onLogin, methods, pattern, e, h) }
	for _, v := range []string{"", "/v2.0"} {
		on("GET", "/{tenant}"+v+"/.well-known/openid-configuration", EndpointDiscovery, s.discovery)
		on("GET", "/{tenant}/discovery"+v+"/keys", EndpointKeys, s.jwks)
		on("POST", "/{tenant}/oauth2"+v+"/token", EndpointToken, s.token)
		on("POST", "/{tenant}/oauth2"+v+"/devicecode", EndpointDeviceCode, s.deviceCodeStart)
		on("GET POST", "/{tenant}/oauth2"+v+"/authorize", EndpointAuthorize, s.authorize)
		on("GET POST", "/{tenant}/oauth2"+v+"/logout", EndpointLogout, s.logout)
	}
	on("GET", "/common/discovery/instance", EndpointDiscovery, s.instance)
	on("GET", "/common/UserRealm/{upn}", EndpointRealm, s.userRealm)
	on("GET", "/GetUserRealm.srf", EndpointRealm, s.userRealmSRF)
	on("POST", "/{tenant}/GetCredentialType", EndpointCredentialType, s.credentialType)
	on("POST", "/GetCredentialType", EndpointCredentialType, s.credentialType)
	on("GET POST", "/common/oauth2/deviceauth", EndpointLogin, s.deviceLoginPage)
	on("POST", "/common/SAS/ProcessAuth", EndpointLogin, s.processAuth)
	on("POST", "/common/SAS/BeginAuth", EndpointLogin, s.beginAuth)
	on("GET POST", "/common/SAS/EndAuth", EndpointLogin, s.endAuth)
	on("POST", "/{tenant}/GetOneTimeCode", EndpointLogin, s.oneTimeCode)
	on("POST", "/{tenant}/DeviceCodeStatus", EndpointLogin, s.deviceCodeStatus)
	on("POST", "/login.srf", EndpointLogin, s.loginSRF)
	on("POST", "/webapp/bulkaadjtoken/begin", EndpointBulk, s.bulkBegin)
	on("GET", "/webapp/bulkaadjtoken/poll", EndpointBulk, s.bulkPoll)
	on("POST", "/common/SAS/ProofUp", EndpointLogin, s.proofUp)
	on("POST", "/common/Consent/Set", EndpointLogin, s.consentSet)
	on("POST", "/common/Terms/Set", EndpointLogin, s.termsSet)
	on("POST", "/appverify", EndpointLogin, s.appVerify)
	on("POST", "/common/ChangePassword", EndpointLogin, s.changePassword)
	on("POST", "/kmsi", EndpointLogin, s.kmsi)
	on("GET", "/common/oauth2/nativeclient", EndpointLogin, s.nativeClient)
	on("POST", "/{tenant}/kmsi", EndpointLogin, s.kmsi)
	on("GET POST", "/{tenant}/login", EndpointLogin, s.login)
	on("GET", "/{tenant}/fido/get", EndpointLogin, s.fidoGet)
	on("GET POST", authenticatorPath, EndpointLogin, s.authenticator)
	s.route(onCertAuth, "POST", "/{tenant}/certauth", EndpointLogin, s.certAuth)
	s.route(onDeviceLogin, "GET", "/devicelogin", EndpointLogin, s.deviceLoginPage)
}

func (s *Server) registrationRoutes() {
	on := func(methods, pattern string, e Endpoint, h handler) { s.route(onRegistration, methods, pattern, e, h) }
	on("GET", "/{tenant}/Discover", EndpointDRSDiscovery, s.drsDiscovery)
	on("POST", "/EnrollmentServer/device", EndpointDevice, s.join)
	on("DELETE", "/EnrollmentServer/device/{device}", EndpointDevice, s.unjoin)
	on("PUT", "/EnrollmentServer/device/{device}", EndpointDevice, s.hybridJoin)
	on("GET", "/manage/{tenant}/{device}", EndpointDevice, s.deviceStatus)
	on("POST", "/EnrollmentServer/key", EndpointKey, s.registerKey)
	on("DELETE", "/EnrollmentServer/key/{rest}", EndpointKey, s.deleteKey)
	on("GET", "/EnrollmentServer/nonce/{tenant}", EndpointDRSNonce, s.drsNonce)
}
