// Package managedidentity emulates the token endpoints that Azure offers to programs on
// its machines and services: a program there needs no credential, since only it can
// reach the endpoint (Microsoft, "How to use managed identities for Azure resources
// on an Azure VM to acquire an access token"; "How to use managed identities for App
// Service and Azure Functions"; "Authenticate against Azure resources with Azure
// Arc-enabled servers").
package managedidentity

import (
	"crypto/subtle"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/tokenendpoint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// Kind is where the program runs.
type Kind string

// Kinds of endpoints.
const (
	IMDS       Kind = "imds"       // a virtual machine: the instance metadata service
	AppService Kind = "appservice" // App Service and Azure Functions
	Arc        Kind = "arc"        // a machine outside Azure that Azure Arc manages
)

// Service is one such endpoint.
type Service struct {
	Kind     Kind
	System   string // client id of the system-assigned identity; "": no such identity
	Header   string // secret of App Service
	KeyDir   string // where Arc writes the files that only programs on the machine can read
	Tenant   *directory.Tenant
	Keeper   *session.Keeper
	Endpoint *tokenendpoint.Service
	Web      *web.Router
}

// ServeHTTP accepts any path, since programs take it from their environment.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in := &web.Request{Request: r, Tenant: s.Tenant}
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		refuse(w, http.StatusMethodNotAllowed, "invalid_request", "The method is not allowed.")
		return
	}
	if !s.fromHere(w, r) {
		return
	}
	q := r.URL.Query()
	if q.Get("api-version") == "" {
		refuse(w, http.StatusBadRequest, "bad_request_101", "Required parameter api-version was not found.")
		return
	}
	resource := strings.TrimSuffix(q.Get("resource"), "/.default")
	if resource == "" {
		refuse(w, http.StatusBadRequest, "bad_request_102", "Required audience parameter not specified")
		return
	}
	identity, status, why := s.identity(q.Get("client_id"), q.Get("object_id")+q.Get("principal_id"), q.Get("msi_res_id")+q.Get("mi_res_id"))
	if identity == nil {
		refuse(w, status, "invalid_request", why)
		return
	}
	target := s.Keeper.Directory.Resource(s.Tenant, resource)
	if target == nil {
		e := web.AsSTSError(access.UnknownResource(resource, s.Tenant))
		refuse(w, http.StatusBadRequest, "invalid_resource", e.Error())
		return
	}
	in.Entry = &directory.LogEntry{Time: s.Keeper.Now(), CorrelationID: s.Keeper.Rand.GUID(), Endpoint: string(web.EndpointToken), Grant: "managed_identity", ClientID: identity.ID}
	reply, err := s.Endpoint.AppToken(in, tokenendpoint.AppRequest{Client: identity, Resource: target, Audience: resource, Proof: "2", Managed: true})
	s.Web.Record(in, err)
	if err != nil {
		refuse(w, http.StatusBadRequest, "invalid_request", web.AsSTSError(err).Error())
		return
	}
	s.answer(w, identity, reply)
}

// answer writes the reply as the endpoint does, times as text.
func (s *Service) answer(w http.ResponseWriter, identity *directory.App, reply map[string]any) {
	reply["client_id"] = identity.ID
	if s.Kind == AppService {
		delete(reply, "expires_in")
		delete(reply, "ext_expires_in")
		delete(reply, "not_before")
	}
	web.NoStore(w)
	web.WriteJSON(w, http.StatusOK, reply)
}

// fromHere checks that a program on this machine sent the request, and not someone
// else through it, as in request forgery.
func (s *Service) fromHere(w http.ResponseWriter, r *http.Request) bool {
	if s.Kind == AppService {
		if s.Header == "" || subtle.ConstantTimeCompare([]byte(r.Header.Get("X-IDENTITY-HEADER")), []byte(s.Header)) != 1 {
			refuse(w, http.StatusUnauthorized, "unauthorized", "The header X-IDENTITY-HEADER is not the value of IDENTITY_HEADER.")
			return false
		}
		return true
	}
	if !strings.EqualFold(r.Header.Get("Metadata"), "true") {
		refuse(w, http.StatusBadRequest, "bad_request_102", "Required metadata header not specified")
		return false
	}
	if r.Header.Get("X-Forwarded-For") != "" {
		refuse(w, http.StatusBadRequest, "bad_request", "Requests that were forwarded are refused.")
		return false
	}
	return s.Kind != Arc || s.challenged(w, r)
}

// challenged admits callers that can read a file which only programs on the
// machine can read.
func (s *Service) challenged(w http.ResponseWriter, r *http.Request) bool {
	if key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Basic "); ok && s.redeem(key) {
		return true
	}
	key := s.Keeper.Rand.GUID()
	path := filepath.Join(s.KeyDir, s.Keeper.Rand.GUID()+".key")
	if err := os.WriteFile(path, []byte(key), 0o600); err != nil {
		refuse(w, http.StatusInternalServerError, "internal_error", "The challenge file could not be written.")
		return false
	}
	w.Header().Set("WWW-Authenticate", "Basic realm="+path)
	refuse(w, http.StatusUnauthorized, "unauthorized_client", "Missing Basic Authorization header")
	return false
}

// redeem uses up the file that holds the key.
func (s *Service) redeem(key string) bool {
	files, err := filepath.Glob(filepath.Join(s.KeyDir, "*.key"))
	if err != nil || key == "" {
		return false
	}
	return slices.ContainsFunc(files, func(file string) bool {
		have, err := os.ReadFile(file)
		return err == nil && string(have) == key && os.Remove(file) == nil
	})
}

// identity finds the identity that the program asks for; if it names none, the
// system-assigned one.
func (s *Service) identity(clientID, objectID, resourceID string) (*directory.App, int, string) {
	const missing = "Identity not found"
	if clientID == "" && objectID == "" && resourceID == "" {
		if s.System == "" {
			return nil, http.StatusBadRequest, missing
		}
		clientID = s.System
	}
	for _, a := range s.Keeper.Directory.Clients(s.Tenant) {
		if a.ManagedIdentity == "" && !strings.EqualFold(a.ID, s.System) || a.Disabled {
			continue
		}
		if strings.EqualFold(a.ID, clientID) || objectID != "" && strings.EqualFold(a.ServicePrincipalID, objectID) ||
			resourceID != "" && strings.EqualFold(a.ManagedIdentity, resourceID) {
			return a, 0, ""
		}
	}
	return nil, http.StatusBadRequest, missing
}

func refuse(w http.ResponseWriter, status int, code, text string) {
	web.WriteJSON(w, status, map[string]string{"error": code, "error_description": text})
}

// Environment returns the environment variables of programs for a Service served at
// base.
func (s *Service) Environment(base string) []string {
	switch s.Kind {
	case AppService:
		return []string{"IDENTITY_ENDPOINT=" + base + "/msi/token", "IDENTITY_HEADER=" + s.Header}
	case Arc:
		return []string{"IDENTITY_ENDPOINT=" + base + "/metadata/identity/oauth2/token", "IMDS_ENDPOINT=" + base}
	}
	return []string{"AZURE_POD_IDENTITY_AUTHORITY_HOST=" + base}
}
