package directory

import "strings"

// IsFederated reports whether the domain of a user name is federated.
func (t *Tenant) IsFederated(upn string) bool {
	_, domain, _ := strings.Cut(strings.ToLower(upn), "@")
	return t.Federated[domain]
}

// FederationHost returns the host name of the federation server of a domain.
func FederationHost(domain string) string { return "sts." + domain }

// FederationTenant finds the tenant whose federation server has that host name; nil
// if there is no such tenant.
func (d *Directory) FederationTenant(host string) *Tenant {
	domain, ok := strings.CutPrefix(strings.ToLower(host), "sts.")
	if !ok {
		return nil
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if t := d.domains[domain]; t != nil && t.Federated[domain] {
		return t
	}
	return nil
}

// How a tenant treats MFA done at its federation server (Microsoft Graph,
// internalDomainFederation, federatedIdpMfaBehavior).
const (
	acceptFederatedMFA  = "acceptIfMfaDoneByFederatedIdp"
	enforceFederatedMFA = "enforceMfaByFederatedIdp"
	RejectFederatedMFA  = "rejectMfaByFederatedIdp"
)

// FederatedMFA reports whether the federation server does the user's MFA.
func (u *User) FederatedMFA() bool {
	return u.Tenant.FederatedMFA == enforceFederatedMFA && u.Tenant.IsFederated(u.UPN)
}
