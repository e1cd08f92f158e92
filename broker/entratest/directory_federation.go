package entratest

import "strings"

func (t *tenant) isFederated(upn string) bool {
	_, domain, _ := strings.Cut(strings.ToLower(upn), "@")
	return t.federated[domain]
}

// federationHost is where the federation server of a domain answers.
func federationHost(domain string) string { return "sts." + domain }

func (d *directory) federationTenant(host string) *tenant {
	domain, ok := strings.CutPrefix(strings.ToLower(host), "sts.")
	if !ok {
		return nil
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if t := d.domains[domain]; t != nil && t.federated[domain] {
		return t
	}
	return nil
}

// What a tenant makes of the MFA of its federation server (Microsoft Graph,
// internalDomainFederation, federatedIdpMfaBehavior).
const (
	acceptFederatedMFA  = "acceptIfMfaDoneByFederatedIdp"
	enforceFederatedMFA = "enforceMfaByFederatedIdp"
	rejectFederatedMFA  = "rejectMfaByFederatedIdp"
)

// federatedMFA reports whether the user's MFA is the federation server's.
func (u *user) federatedMFA() bool {
	return u.tenant.federatedMFA == enforceFederatedMFA && u.tenant.isFederated(u.upn)
}
