package entratest

import (
	"net/http"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/managedidentity"
)

// HostingService is where a program with a managed identity runs.
type HostingService string

// Services of Azure with managed identities.
const (
	VirtualMachine HostingService = "imds"       // the instance metadata service
	AppService     HostingService = "appservice" // and Azure Functions
	AzureArc       HostingService = "arc"        // a machine outside Azure
)

// ManagedIdentity describes the token endpoint that Azure offers to programs on its
// machines, which have no credential of their own. Identities are applications of
// the first tenant: the system-assigned one by its client id here, and those with
// [App.ManagedIdentity].
type ManagedIdentity struct {
	Service  HostingService // "": VirtualMachine
	ClientID string         // of the system-assigned identity; "": there is none
	// Header is the secret of App Service, which its programs have in
	// IDENTITY_HEADER. "": nobody gets a token there.
	Header string
	// KeyDir is where Arc's agent puts the files that prove a program to be of the
	// machine. "": /var/opt/azcmagent/tokens, the only directory that Microsoft's
	// clients read on Linux.
	KeyDir string
}

// ManagedIdentity returns the endpoint as a handler, to be served with plain http on
// loopback. Conditional Access does not cover managed identities.
func (s *Server) ManagedIdentity(m ManagedIdentity) http.Handler {
	dir := m.KeyDir
	if dir == "" {
		dir = "/var/opt/azcmagent/tokens"
	}
	return &managedidentity.Service{Kind: m.kind(), System: m.ClientID, Header: m.Header, KeyDir: dir,
		Tenant: s.dir.Home(), Keeper: s.keeper, Endpoint: s.sts, Web: s.web}
}

// Environment is what a program's environment says about the endpoint that is served
// at base, such as http://127.0.0.1:40123.
func (m ManagedIdentity) Environment(base string) []string {
	return (&managedidentity.Service{Kind: m.kind(), Header: m.Header}).Environment(base)
}

func (m ManagedIdentity) kind() managedidentity.Kind {
	if m.Service == "" {
		return managedidentity.IMDS
	}
	return managedidentity.Kind(m.Service)
}

// FederatedToken is a token of an issuer outside, such as a cluster's for a service
// account or a pipeline's for a run: the emulator plays every issuer that an app's
// [App.Federated] names. It lives an hour.
func (s *Server) FederatedToken(c FederatedCredential) string {
	if c.Audience == "" {
		c.Audience = "api://AzureADTokenExchange"
	}
	return s.mint.FederatedToken(directory.FederatedCredential(c), time.Hour)
}
