// Package login implements the authorization endpoint of the emulator and every page
// behind it: the credentials that a browser presents by itself, the sign-in pages with
// each first and second factor, consent and terms of use, the device code page, and
// the JSON endpoints for programs that drive the pages.
//
// A sign-in travels from page to page as a sealed [session.Flow] in a form field.
// Each handler opens the flow, processes the form, and calls next, which shows the
// next page or ends the sign-in.
package login

import (
	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/passkeys"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/tokenendpoint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// Pages serves the authorization endpoint and the pages behind it.
type Pages struct {
	Keeper   *session.Keeper
	Access   *access.Engine
	Mint     *mint.Mint
	Passkeys *passkeys.Checker
	STS      *tokenendpoint.Service // checks PRT cookies, SAML assertions and user certificates
	Web      *web.Router

	AskToStaySignedIn   bool // KMSI after a sign-in
	NoUserConsent       bool // only administrators consent to applications
	BindBrowserSessions bool // a session cookie from a PRT counts only together with that PRT
	Traits              Traits
}

// Traits are documented with the emulator's own, Pages.
type Traits struct {
	Intermediate         bool
	ScriptRedirect       bool
	SecurityKeysOnly     bool
	RegistrationDays     int
	RegistrationCampaign bool
	ConfirmApp           bool
}

// Routes adds the endpoints to the router.
func (s *Pages) Routes() {
	on := func(methods, pattern string, e web.Endpoint, h web.Handler) {
		s.Web.Handle(web.OnLogin, methods, pattern, e, h)
	}
	page := func(methods, pattern string, h web.Handler) { on(methods, pattern, web.EndpointLogin, h) }
	for _, v := range []string{"", "/v2.0"} {
		on("GET POST", "/{tenant}/oauth2"+v+"/authorize", web.EndpointAuthorize, s.authorize)
		on("GET POST", "/{tenant}/oauth2"+v+"/logout", web.EndpointLogout, s.logout)
	}
	page("GET", "/{tenant}/adminconsent", s.adminConsent)
	page("GET", "/{tenant}/v2.0/adminconsent", s.adminConsent)
	on("POST", "/{tenant}/GetCredentialType", web.EndpointCredentialType, s.credentialType)
	on("POST", "/GetCredentialType", web.EndpointCredentialType, s.credentialType)
	page("GET POST", "/common/oauth2/deviceauth", s.deviceLoginPage)
	page("POST", "/common/SAS/ProcessAuth", s.processAuth)
	page("POST", "/common/SAS/BeginAuth", s.beginAuth)
	page("GET POST", "/common/SAS/EndAuth", s.endAuth)
	page("POST", "/{tenant}/GetOneTimeCode", s.getOneTimeCode)
	page("POST", "/{tenant}/DeviceCodeStatus", s.deviceCodeStatus)
	page("POST", "/login.srf", s.loginSRF)
	page("POST", "/common/SAS/ProofUp", s.proofUp)
	page("POST", "/common/Consent/Set", s.consentSet)
	page("POST", "/common/Terms/Set", s.termsSet)
	page("POST", "/appverify", s.appVerify)
	page("POST", "/common/ChangePassword", s.changePassword)
	page("POST", ssprBeginPath, s.ssprBegin)
	page("POST", ssprPollPath, s.ssprPoll)
	page("POST", "/kmsi", s.kmsi)
	page("GET", "/common/oauth2/nativeclient", s.nativeClient)
	page("POST", "/{tenant}/kmsi", s.kmsi)
	page("GET POST", "/{tenant}/login", s.posted)
	page("GET", "/{tenant}/fido/get", s.fidoGet)
	page("POST", "/{tenant}/fido/get", s.fidoPosted)
	page("GET POST", "/{tenant}/resume", s.resume)
	s.Web.Handle(web.OnCertAuth, "POST", "/{tenant}/certauth", web.EndpointLogin, s.certAuth)
	s.Web.Handle(web.OnDeviceLogin, "GET", "/devicelogin", web.EndpointLogin, s.deviceLoginPage)
}
