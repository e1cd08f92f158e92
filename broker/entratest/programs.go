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
// the first tenant: the system-assigned one, named by ClientID, and those with
// [App.ManagedIdentity].
type ManagedIdentity struct {
	Service  HostingService // "": VirtualMachine
	ClientID string         // of the system-assigned identity; "": no such identity
	// Header is the secret of App Service, which its programs find in
	// IDENTITY_HEADER. "": App Service refuses every request.
	Header string
	// KeyDir is where the Arc agent puts the files by which a program proves that
	// it runs on the machine. "": /var/opt/azcmagent/tokens, the only directory
	// that Microsoft's clients read on Linux.
	KeyDir string
}

// ManagedIdentity returns the endpoint as a handler, to be served over plain HTTP on
// loopback. Conditional Access does not cover managed identities.
func (s *Server) ManagedIdentity(m ManagedIdentity) http.Handler {
	dir := m.KeyDir
	if dir == "" {
		dir = "/var/opt/azcmagent/tokens"
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := s.world()
		(&managedidentity.Service{Kind: m.kind(), System: m.ClientID, Header: m.Header, KeyDir: dir,
			Tenant: w.dir.Home(), Keeper: w.keeper, Endpoint: w.sts, Web: w.web}).ServeHTTP(rw, r)
	})
}

// Environment returns the environment variables that lead a program to the endpoint
// served at base, such as http://127.0.0.1:40123. For a virtual machine, clients differ:
// azidentity and MSAL for Go read no variable and always call http://169.254.169.254, so
// their HTTP client needs a DialContext that leads that address to the endpoint.
func (m ManagedIdentity) Environment(base string) []string {
	return (&managedidentity.Service{Kind: m.kind(), Header: m.Header}).Environment(base)
}

func (m ManagedIdentity) kind() managedidentity.Kind {
	if m.Service == "" {
		return managedidentity.IMDS
	}
	return managedidentity.Kind(m.Service)
}

// FederatedToken returns a token from an external issuer, such as a cluster's for a
// service account or a pipeline's for a run: the emulator plays every issuer that an
// app names in [App.Federated]. The token is valid for an hour.
func (s *Server) FederatedToken(c FederatedCredential) string {
	if c.Audience == "" {
		c.Audience = "api://AzureADTokenExchange"
	}
	return s.world().mint.FederatedToken(directory.FederatedCredential(c), time.Hour)
}
