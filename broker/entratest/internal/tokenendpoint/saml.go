package tokenendpoint

import (
	"bytes"
	"encoding/base64"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/adfs"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// samlGrant redeems an assertion of the federation server.
func (s *Service) samlGrant(r *web.Request, grant string) (any, error) {
	s.begin(r, "saml")
	u, ss, err := s.SAMLCredential(r.Values.Get("assertion"), grant)
	if err != nil {
		return nil, err
	}
	session.LogUser(r.Entry, u, ss)
	if err := access.SameTenant(r, u); err != nil {
		return nil, err
	}
	client, err := s.plainClient(r, u.Tenant)
	if err != nil {
		return nil, err
	}
	return s.issueForm(r, client, u, ss, issuance{})
}

// SAMLCredential checks an assertion, in base64 of either alphabet.
func (s *Service) SAMLCredential(assertion, grant string) (*directory.User, *session.Session, error) {
	if assertion == "" {
		return nil, nil, web.InvalidRequest(900144, "The request body must contain the following parameter: 'assertion'.")
	}
	bad := web.InvalidGrant(50008, "Unable to verify token signature or the SAML assertion is missing or misconfigured in the token.")
	raw, err := decodeLoose(assertion)
	if err != nil {
		return nil, nil, bad.Because("the assertion is not base64")
	}
	raw = bytes.TrimSpace(raw) // only the element is signed, not the space around it
	if token := desktopSSOToken(raw); token != "" {
		return s.desktopSSOCredential(token)
	}
	if (grant == wire.GrantSAML11) != bytes.Contains(raw, []byte(adfs.SAML11)) {
		return nil, nil, bad.Because("the assertion is of another version than the grant %s", grant)
	}
	a, err := verify.ParseSAML(raw, s.Mint.Keys.Public())
	if err != nil {
		return nil, nil, bad.Because("%v", err)
	}
	now := s.Keeper.Now()
	if now.Before(a.NotBefore.Add(-helloSkew)) || !now.Before(a.NotOnOrAfter.Add(helloSkew)) {
		return nil, nil, web.InvalidGrant(500133, "Assertion is not within its valid time range.")
	}
	if a.Audience != adfs.CloudAudience {
		return nil, nil, bad.Because("the assertion is for %q", web.Clip(a.Audience))
	}
	if a.ImmutableID == "" {
		return nil, nil, web.InvalidGrant(90020, "The SAML 1.1 Assertion is missing ImmutableID of the user.")
	}
	u := s.Keeper.Directory.User(a.UPN)
	if u == nil || adfs.ImmutableID(u) != a.ImmutableID {
		return nil, nil, s.Keeper.UnknownUser(s.Keeper.Directory.TenantOf(a.UPN), a.UPN)
	}
	if a.Issuer != adfs.Issuer(directory.FederationHost(adfs.DomainOf(u.UPN))) {
		return nil, nil, bad.Because("issuer %q does not serve %s", web.Clip(a.Issuer), u.UPN)
	}
	if u.Disabled {
		return nil, nil, web.InvalidGrant(50057, "The user account is disabled.")
	}
	at := a.Authenticated
	if at.After(now) { // if the issuer's clock is ahead of ours
		at = now
	}
	ss := s.Keeper.NewSession(u, claims.FederatedSingleFactor)
	ss.Password, ss.Auth = true, at.Unix()
	if a.MultipleAuthn && u.Tenant.FederatedMFA != directory.RejectFederatedMFA {
		ss.ProveMFA(claims.FederatedMultiFactor, at)
	}
	return u, &ss, nil
}

func decodeLoose(text string) ([]byte, error) {
	text = strings.NewReplacer("-", "+", "_", "/", "\r", "", "\n", "").Replace(strings.TrimRight(text, "="))
	return base64.RawStdEncoding.DecodeString(text)
}
