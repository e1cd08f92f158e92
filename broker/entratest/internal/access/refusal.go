package access

import (
	"encoding/json"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/policy"
)

// Refusal turns an answer into the error of a token request, or nil if access is
// granted. The argument prt reports whether the session came with a PRT.
func (e *Engine) Refusal(a Answer, q Question, prt bool) error {
	switch a.Outcome {
	case policy.OutcomeGrant:
		return nil
	case policy.OutcomeInterrupt:
		return e.interrupt(a, q, prt)
	case policy.OutcomeBlock:
		if a.reason == policy.Unsatisfiable {
			return e.unsatisfiable(a, q)
		}
		return blocked(a)
	}
	return web.Fail("server_error", 50000, "There was an error issuing a token.").Because("the policy engine could not decide: reason %d", a.reason)
}

func blocked(a Answer) *web.STSError {
	e := web.Fail("access_denied", 53003, "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.").
		Sub("message_only").Because("blocked by %s", names(a.deciding))
	e.Claims = policyChallenge(a.deciding)
	return e
}

func names(list []directory.PolicyResult) string {
	var out []string
	for _, p := range list {
		out = append(out, p.Name)
	}
	return strings.Join(out, ", ")
}

func (e *Engine) interrupt(a Answer, q Question, prt bool) error {
	if len(a.Prompt) == 0 {
		return blocked(a)
	}
	err := promptError(a.Prompt[0], q, prt)
	if len(a.deciding) == 0 {
		return err.Because("multifactor authentication is enabled for the user")
	}
	err.Claims = policyChallenge(a.deciding)
	return err.Because("asked for by %s", names(a.deciding))
}

func (e *Engine) unsatisfiable(a Answer, q Question) error {
	if len(a.Prompt) == 0 {
		return blocked(a)
	}
	switch a.Prompt[0].Kind {
	case policy.CompliantDevice, policy.HybridJoinedDevice, policy.ApprovedApplication, policy.CompliantApplication:
		return promptError(a.Prompt[0], q, false).Because("asked for by %s", names(a.deciding))
	case policy.TokenProtection:
		return web.Fail("access_denied", 530084, "Access has been blocked by conditional access token protection policy.").
			Sub("message_only").Because("the request is not bound to a device, which %s demands", names(a.deciding))
	}
	return blocked(a)
}

// promptError returns the error that asks for a control.
func promptError(c policy.Control, q Question, prt bool) *web.STSError {
	ask := func(code int, suberror, text string) *web.STSError {
		return web.Fail("interaction_required", code, "%s", text).Sub(suberror)
	}
	switch c.Kind {
	case policy.MFA, policy.AuthenticationStrength:
		if !session.HasSecondFactor(q.User) {
			return ask(50079, "basic_action", "Due to a configuration change made by your administrator, or because you moved to a new location, you must enroll in multi-factor authentication to access "+(&Target{Resource: q.Resource}).Quoted()+".")
		}
		return ask(50076, "basic_action", "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication to access "+(&Target{Resource: q.Resource}).Quoted()+".")
	case policy.ReauthenticateMFA:
		return ask(50078, "basic_action", "Presented multi-factor authentication has expired due to policies configured by your administrator, you must refresh your multi-factor authentication to access the resource.")
	case policy.Reauthenticate:
		const text = "The refresh token has expired or is invalid due to sign-in frequency checks by Conditional Access."
		if prt {
			return ask(70043, "basic_action", text)
		}
		return web.InvalidGrant(70043, text).Sub("bad_token")
	case policy.CompliantDevice:
		if q.Device == nil {
			return ask(50097, "additional_action", "Device authentication is required.")
		}
		return ask(53000, "additional_action", "Device is not in required device state: compliant. Conditional Access policy requires a compliant device, and the device is not compliant.")
	case policy.HybridJoinedDevice:
		if q.Device == nil {
			return ask(50097, "additional_action", "Device authentication is required.")
		}
		return ask(53001, "additional_action", "Device is not in required device state: domain_joined. Conditional Access policy requires a domain joined device, and the device is not domain joined.")
	case policy.ApprovedApplication:
		return web.Fail("access_denied", 53002, "Application used is not an approved application for Conditional Access.").Sub("message_only")
	case policy.CompliantApplication:
		return web.Fail("unauthorized_client", 53009, "Application needs to enforce Intune protection policies.").Sub("protection_policy_required")
	case policy.PasswordChange, policy.RiskRemediation:
		return ask(50135, "additional_action", "Password change is required due to account risk.")
	case policy.TermsOfUse, policy.CustomFactor:
		return ask(50158, "additional_action", "External security challenge was not satisfied.")
	}
	return web.Fail("access_denied", 53003, "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.").Sub("message_only")
}

// policyChallenge returns the claims challenge that names the policies.
func policyChallenge(list []directory.PolicyResult) string {
	ids := []string{}
	for _, p := range list {
		ids = append(ids, p.ID)
	}
	out, _ := json.Marshal(map[string]any{"access_token": map[string]any{"capolids": map[string]any{"essential": true, "values": ids}}})
	return string(out)
}
