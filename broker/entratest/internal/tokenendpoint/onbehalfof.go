package tokenendpoint

import (
	"errors"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// onBehalfOfGrant gives a service a token for another service, on behalf of the user
// whose token it presents (Microsoft, "Microsoft identity platform and OAuth 2.0
// On-Behalf-Of flow").
func (s *Service) onBehalfOfGrant(r *web.Request) (any, error) {
	s.begin(r, "on_behalf_of")
	if use := r.Values.Get("requested_token_use"); use != "on_behalf_of" {
		return nil, web.Fail("unsupported_grant_type", 70003, "The app requested an unsupported grant type '%s'.", web.Clip(r.Values.Get("grant_type"))).
			Because("requested_token_use is %q", web.Clip(use))
	}
	text := r.Values.Get("assertion")
	if text == "" {
		return nil, web.InvalidRequest(900144, "The request body must contain the following parameter: 'assertion'.")
	}
	t, err := s.Mint.Presented(text)
	switch {
	case errors.Is(err, mint.ErrNotOurs):
		return nil, web.InvalidGrant(50013, "Assertion failed signature validation. [Reason - The provided signature value did not match the expected signature value.].").Because("%v", err)
	case err != nil:
		return nil, web.InvalidGrant(50027, "JWT token is invalid or malformed.").Because("assertion: %v", err)
	}
	tenant := s.Keeper.Directory.Tenant(t.Tenant)
	if r.Tenant != nil {
		tenant = r.Tenant
	}
	client, err := s.plainClient(r, tenant)
	if err != nil {
		return nil, err
	}
	if client.Public {
		return nil, web.Fail("invalid_client", 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")
	}
	switch {
	case t.IDToken():
		return nil, web.InvalidRequest(240002, "Input id_token cannot be used as 'urn:ietf:params:oauth:grant-type:jwt-bearer' grant.")
	case s.Keeper.Now().Unix() >= t.Expires:
		return nil, web.InvalidGrant(500133, "Assertion is not within its valid time range. Ensure that the access token is not expired before using it for user assertion, or request a new token.")
	case s.Keeper.Directory.Resource(tenant, t.Audience) != client:
		return nil, web.InvalidGrant(500131, "Assertion audience does not match the Client app presenting the assertion. The audience in the assertion was '%s' and the expected audience is '%s' or one of the Application Uris of this application with App ID '%s'(%s).",
			web.Clip(t.Audience), client.ID, client.ID, client.Name)
	case t.AppOnly():
		return nil, web.InvalidGrant(7000114, "Application '%s' is not allowed to make application on-behalf-of calls.", client.ID).
			Because("the assertion is an app-only token")
	}
	var ss session.Session
	if err := s.Keeper.Box.Open(session.KindReuse, t.Reuse, &ss); err != nil {
		return nil, web.InvalidGrant(50013, "Assertion failed signature validation.").Because("the token was issued before the application had a credential")
	}
	u, err := s.Keeper.UserOf(&ss)
	if err != nil {
		return nil, err
	}
	target, err := s.formTarget(r, u.Tenant, client, u)
	if err != nil {
		return nil, err
	}
	if target.Resource == client && !strings.EqualFold(target.Audience, client.ID) {
		return nil, web.InvalidRequest(90009, "Application '%s'(%s) is requesting a token for itself. This scenario is supported only if resource is specified using the GUID based App Identifier.", client.ID, client.Name)
	}
	return s.issueForm(r, client, u, &ss, issuance{target: target})
}
