package tokenendpoint

import (
	"crypto/x509"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// assertionType is the only client_assertion_type (RFC 7523, 2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// exchangeAudience is the default audience of a federated credential.
const exchangeAudience = "api://AzureADTokenExchange"

// proof is how a client authenticated: the claim appidacr.
type proof string

const (
	noProof     proof = "0"
	bySecret    proof = "1"
	byAssertion proof = "2"
)

// plainClient authenticates the client of a form-encoded grant.
func (s *Service) plainClient(r *web.Request, t *directory.Tenant) (*directory.App, error) {
	a, _, err := s.provenClient(r, t)
	return a, err
}

// provenClient authenticates the client of a form-encoded grant and returns how it did
// so.
func (s *Service) provenClient(r *web.Request, t *directory.Tenant) (*directory.App, proof, error) {
	id, secret := r.Values.Get("client_id"), r.Values.Get("client_secret")
	if user, pass, ok := r.BasicAuth(); ok && id == "" {
		id, secret = user, pass
	}
	assertion := r.Values.Get("client_assertion")
	a, err := s.Access.ClientApp(t, id)
	if err != nil {
		return nil, noProof, err
	}
	if a.SPA && !a.Public && secret == "" && assertion == "" && redeemsOnAPage(r.Values.Get("grant_type")) {
		return a, noProof, nil
	}
	if assertion == "" || a.Public {
		how := bySecret
		if a.Public {
			how = noProof
		}
		return a, how, access.AuthenticateClient(a, secret, assertion != "", s.Keeper.Now())
	}
	if kind := r.Values.Get("client_assertion_type"); kind != assertionType {
		return nil, noProof, web.InvalidRequest(900144, "The request body must contain the following parameter: 'client_assertion_type'.").
			Because("client_assertion_type is %q", web.Clip(kind))
	}
	return a, byAssertion, s.asserted(a, t, assertion, web.LocalBase(r.Request))
}

// redeemsOnAPage reports whether a single-page app, which cannot keep a secret, may use
// the grant.
func redeemsOnAPage(grant string) bool {
	return grant == "authorization_code" || grant == "refresh_token"
}

// asserted checks the assertion of a client: its own, or a token from an issuer
// that the application trusts.
func (s *Service) asserted(a *directory.App, t *directory.Tenant, text, base string) error {
	c, err := verify.ParseClientAssertion(text)
	if err != nil {
		return web.Fail("invalid_client", 50027, "JWT token is invalid or malformed.").Because("client_assertion: %v", err)
	}
	if strings.Contains(c.Issuer, "://") {
		return s.federated(a, c, text, base)
	}
	if c.Issuer != "" && !strings.EqualFold(c.Issuer, c.Subject) {
		return web.Fail("invalid_client", 50048, "Subject must match Issuer claim in the client assertion.").
			Because("iss is %q and sub %q", web.Clip(c.Issuer), web.Clip(c.Subject))
	}
	if len(a.Certificates) == 0 {
		return web.Fail("invalid_client", 700027, "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found., Thumbprint of key used by client: '%s'].", web.Clip(c.Thumbprint())).
			Because("client %s has no certificate", a.Name)
	}
	return s.signedByCertificate(a, t, c, base)
}

func (s *Service) signedByCertificate(a *directory.App, t *directory.Tenant, c *verify.ClientAssertion, base string) error {
	if !strings.EqualFold(c.Subject, a.ID) || c.Issuer == "" {
		return web.Fail("invalid_client", 700021, "Client assertion application identifier doesn't match 'client_id' parameter. Review the documentation at https://learn.microsoft.com/entra/identity-platform/certificate-credentials .").
			Because("iss is %q and sub %q", web.Clip(c.Issuer), web.Clip(c.Subject))
	}
	if c.SHA1 == nil && c.SHA256 == nil {
		return web.Fail("invalid_client", 50027, "JWT token is invalid or malformed. No certificate thumbprint specified in token header.")
	}
	cert, err := s.namedCertificate(a, c)
	if err != nil {
		return err
	}
	if err := c.Verify(cert); err != nil {
		return web.Fail("invalid_client", 700027, "Client assertion failed signature validation. [Reason - Key was found, but use of the key to verify the signature failed., Thumbprint of key used by client: '%s'].", c.Thumbprint()).
			Because("%v", err)
	}
	if !slices.ContainsFunc(c.Audience, func(aud string) bool { return tokenAudience(t, aud, base) }) {
		return web.Fail("invalid_client", 700023, "Client assertion audience claim does not match Realm issuer. Review the documentation at https://learn.microsoft.com/entra/identity-platform/certificate-credentials .").
			Because("aud is %q", c.Audience)
	}
	return s.timely(c)
}

// namedCertificate finds the certificate whose thumbprint is in an assertion.
func (s *Service) namedCertificate(a *directory.App, c *verify.ClientAssertion) (*x509.Certificate, error) {
	for _, der := range a.Certificates {
		cert, err := x509.ParseCertificate(der)
		if err != nil || !c.Names(cert) {
			continue
		}
		if now := s.Keeper.Now(); now.After(cert.NotAfter) || now.Before(cert.NotBefore) {
			return nil, web.Fail("invalid_client", 700027, "Client assertion failed signature validation. [Reason - The key used is expired., Thumbprint of key used by client: '%s'].", c.Thumbprint())
		}
		return cert, nil
	}
	return nil, web.Fail("invalid_client", 700027, "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found., Thumbprint of key used by client: '%s'].", web.Clip(c.Thumbprint()))
}

// tokenAudience reports whether an audience is this tenant's token endpoint or issuer,
// at a sign-in host or at the base of a request to an address of this machine.
func tokenAudience(t *directory.Tenant, aud, base string) bool {
	bases := []string{base}
	for _, host := range web.LoginHosts {
		bases = append(bases, "https://"+host+"/")
	}
	for _, b := range bases {
		rest, ok := strings.CutPrefix(aud, b)
		if !ok || b == "" {
			continue
		}
		tenant, path, _ := strings.Cut(strings.TrimRight(rest, "/"), "/")
		if strings.EqualFold(tenant, t.ID) || strings.EqualFold(tenant, t.Domain) {
			return slices.Contains([]string{"", "v2.0", "oauth2/token", "oauth2/v2.0/token"}, path)
		}
	}
	return false
}

// timely checks the times of an assertion, allowing a clock skew of five minutes. How
// far in the future it ends does not matter (Microsoft, "Application authentication
// certificate credentials", 2025-01: no restriction on exp).
func (s *Service) timely(c *verify.ClientAssertion) error {
	const skew = 5 * time.Minute
	now := s.Keeper.Now()
	switch {
	case c.Expires.IsZero():
		return web.Fail("invalid_client", 50027, "JWT token is invalid or malformed.").Because("client_assertion has no exp")
	case now.After(c.Expires.Add(skew)), !c.NotBefore.IsZero() && now.Before(c.NotBefore.Add(-skew)):
		return web.Fail("invalid_client", 700024, "Client assertion is not within its valid time range. Current time: %s, assertion valid from %s, expiry time of assertion %s.",
			now.UTC().Format(time.RFC3339), c.NotBefore.UTC().Format(time.RFC3339), c.Expires.UTC().Format(time.RFC3339))
	}
	return nil
}

// federated checks a token from another issuer (Microsoft, "Workload identity
// federation"; the codes are those that azure-workload-identity and Azure/login
// document). Subject, issuer and audience are compared case-sensitively, as Entra has
// done since 2025.
func (s *Service) federated(a *directory.App, c *verify.ClientAssertion, text, base string) error {
	if len(a.Federated) == 0 {
		return web.Fail("invalid_client", 70025, "The client '%s'(%s) has no configured federated identity credentials.", a.ID, a.Name)
	}
	const seeAlso = "Check your federated identity credential Subject, Audience and Issuer against the presented assertion. https://learn.microsoft.com/entra/workload-id/workload-identity-federation"
	with := slices.DeleteFunc(slices.Clone(a.Federated), func(f directory.FederatedCredential) bool { return f.Issuer != c.Issuer })
	if len(with) == 0 {
		return web.Fail("invalid_client", 700211, "No matching federated identity record found for presented assertion issuer '%s'. %s", web.Clip(c.Issuer), seeAlso)
	}
	otherCase := slices.ContainsFunc(with, func(f directory.FederatedCredential) bool { return strings.EqualFold(f.Subject, c.Subject) })
	with = slices.DeleteFunc(with, func(f directory.FederatedCredential) bool { return f.Subject != c.Subject })
	if len(with) == 0 && otherCase {
		return web.Fail("invalid_client", 7002138, "No matching federated identity record found for presented assertion subject '%s'. The subject matches with case-insensitive comparison, but not with case-sensitive comparison. %s", web.Clip(c.Subject), seeAlso)
	}
	if len(with) == 0 {
		return web.Fail("invalid_client", 700213, "No matching federated identity record found for presented assertion subject '%s'. %s", web.Clip(c.Subject), seeAlso)
	}
	if !slices.ContainsFunc(with, func(f directory.FederatedCredential) bool { return slices.ContainsFunc(c.Audience, audienceOf(f).is) }) {
		return web.Fail("invalid_client", 700212, "No matching federated identity record found for presented assertion audience '%s'. %s", web.Clip(strings.Join(c.Audience, " ")), seeAlso)
	}
	if err := s.signedByIssuer(c, text, base); err != nil {
		return err
	}
	return s.timely(c)
}

// signedByIssuer checks the signature of a token from another issuer, or from this
// service itself, whose tokens for managed identities and other applications may
// authenticate an application (Microsoft, "Configure an application to trust a managed
// identity").
func (s *Service) signedByIssuer(c *verify.ClientAssertion, text, base string) error {
	bad := func(err error) error {
		return web.Fail("invalid_client", 700027, "Client assertion failed signature validation.").Because("the token of %s: %v", web.Clip(c.Issuer), err)
	}
	if !s.ownIssuer(c.Issuer, base) {
		if err := s.Mint.VerifyFederated(c); err != nil {
			return bad(err)
		}
		return nil
	}
	p, err := s.Mint.Presented(text)
	if err != nil {
		return bad(err)
	}
	if !p.AppOnly() {
		return web.Fail("invalid_client", 700229, "Only app-only tokens can be used as Federated Identity Credentials for Microsoft Entra issuer. Use an app-only access token (generated during a client credentials flow) instead of a user-delegated access token (representing a request coming from a user context).")
	}
	return nil
}

// ownIssuer reports whether tokens of an issuer are those of this service, at its real
// host names or at the base of the request.
func (s *Service) ownIssuer(issuer, base string) bool {
	return slices.ContainsFunc(s.Keeper.Directory.Tenants(), func(t *directory.Tenant) bool {
		return slices.Contains([]string{directory.IssuerV1("", t.ID), directory.IssuerV2("", t.ID), directory.IssuerV2(base, t.ID), directory.IssuerV1(base, t.ID)}, issuer)
	})
}

// An audience is what a federated credential expects in the claim aud.
type audience string

func audienceOf(f directory.FederatedCredential) audience {
	if f.Audience == "" {
		return exchangeAudience
	}
	return audience(f.Audience)
}

// is reports whether aud means the audience: tokens of this service name the resource
// behind api://AzureADTokenExchange by its id.
func (a audience) is(aud string) bool {
	return aud == string(a) || a == exchangeAudience && aud == directory.AppTokenExchange
}
