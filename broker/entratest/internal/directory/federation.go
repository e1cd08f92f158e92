package directory

import "strings"

// IsFederated reports whether the domain of a user name is a federated one.
func (t *Tenant) IsFederated(upn string) bool {
	_, domain, _ := strings.Cut(strings.ToLower(upn), "@")
	return t.Federated[domain]
}

// FederationHost is where the federation server of a domain answers.
func FederationHost(domain string) string { return "sts." + domain }

// FederationTenant finds the tenant whose federation server answers at the host;
// nil: none.
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

// What a tenant makes of the MFA of its federation server (Microsoft Graph,
// internalDomainFederation, federatedIdpMfaBehavior).
const (
	acceptFederatedMFA  = "acceptIfMfaDoneByFederatedIdp"
	enforceFederatedMFA = "enforceMfaByFederatedIdp"
	RejectFederatedMFA  = "rejectMfaByFederatedIdp"
)

// FederatedMFA reports whether the user's MFA is the federation server's.
func (u *User) FederatedMFA() bool {
	return u.Tenant.FederatedMFA == enforceFederatedMFA && u.Tenant.IsFederated(u.UPN)
}
