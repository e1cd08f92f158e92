package broker

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// endpoints are where the services of a tenant are. Status shows them.
type endpoints struct {
	TenantID        string `json:"tenant_id,omitempty"`
	TenantName      string `json:"tenant_name,omitempty"`
	AuthCode        string `json:"auth_code,omitempty"`
	Token           string `json:"token,omitempty"`
	Join            string `json:"join,omitempty"`
	JoinVersion     string `json:"join_version,omitempty"`
	JoinResource    string `json:"join_resource,omitempty"`
	Key             string `json:"key,omitempty"`
	KeyVersion      string `json:"key_version,omitempty"`
	KeyResource     string `json:"key_resource,omitempty"`
	WebAuthN        string `json:"webauthn,omitempty"`
	WebAuthNVersion string `json:"webauthn_version,omitempty"`
	WebAuthNID      string `json:"webauthn_id,omitempty"`
	Manage          string `json:"manage,omitempty"`
	ManageVersion   string `json:"manage_version,omitempty"`
	ManageID        string `json:"manage_id,omitempty"`
}

// fallback are the endpoints without discovery.
func (c Cloud) fallback(tenantID string) endpoints {
	resource := "urn:ms-drs:" + c.RegistrationHost
	return endpoints{
		TenantID:     tenantID,
		AuthCode:     c.login(tenantID, wire.PathAuthorize),
		Token:        c.login(tenantID, wire.PathToken),
		Join:         c.registration(wire.PathDevice),
		JoinVersion:  wire.DRSVersionDevice,
		JoinResource: resource,
		Key:          c.registration(wire.PathKey),
		KeyVersion:   wire.DRSVersionKey,
		KeyResource:  resource,
	}
}

var guidPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// tenantID resolves the configured tenant by its OpenID configuration, which
// also proves that the tenant is there.
func (b *Broker) tenantID(ctx context.Context) (string, error) {
	const op = "find tenant"
	at := b.place.Load()
	r, err := b.client.do(ctx, request{method: http.MethodGet, url: at.login(b.cfg.Tenant, wire.PathDiscovery)})
	if err != nil {
		return "", opError(op, err)
	}
	if !r.ok() {
		reply := prt.ParseError(r.status, r.body)
		e := serviceError(op, reply, r, grantUser, b.cfg.Now())
		if e.action == aadsts.SwitchCloud && b.moveTo(at, reply.Description) {
			return b.tenantID(ctx)
		}
		return "", e
	}
	var meta struct {
		Issuer string `json:"issuer"`
		Cloud  string `json:"cloud_instance_name"`
	}
	if err := json.Unmarshal(r.body, &meta); err != nil {
		return "", malformed(op, r, prt.ErrReply)
	}
	b.moveTo(at, "'"+meta.Cloud+"'") // the public cloud knows the tenants of the others
	u, err := url.Parse(meta.Issuer)
	if err != nil {
		return "", malformed(op, r, prt.ErrReply)
	}
	id, _, _ := strings.Cut(strings.Trim(strings.ToLower(u.Path), "/"), "/")
	if !guidPattern.MatchString(id) {
		return "", &Error{Op: op, kind: ErrAppConfig, detail: "the tenant has no id: name a tenant, not common", CorrelationID: r.correlationID}
	}
	return id, nil
}

// discoverRegistration asks where the registration services are. Without an
// answer the well-known places are used: they have not moved in years. An
// address that is not https on the cloud's registration host is not taken, for
// a token for the service goes there.
func (b *Broker) discoverRegistration(ctx context.Context, tenantID string) endpoints {
	e := b.cloud().fallback(tenantID)
	r, err := b.client.do(ctx, request{
		method: http.MethodGet,
		url:    b.cloud().registration("/" + tenantID + wire.PathDRSDiscover + "?api-version=" + wire.DRSVersionDiscover),
	})
	if err != nil || !r.ok() {
		b.cfg.Logger.InfoContext(ctx, "registration discovery failed, well-known endpoints are used", "tenant", tenantID)
		return e
	}
	var d drsDiscovery
	if json.Unmarshal(r.body, &d) != nil {
		return e
	}
	join, key, auth, manage := d.DeviceJoinService, d.KeyProvisioningService, d.WebAuthNService, d.DeviceManagementService
	b.take(&e.Join, &e.JoinVersion, &e.JoinResource, join.JoinEndpoint, join.ServiceVersion, join.JoinResourceID)
	b.take(&e.Key, &e.KeyVersion, &e.KeyResource, key.KeyProvisionEndpoint, key.ServiceVersion, key.KeyProvisionResourceID)
	b.take(&e.WebAuthN, &e.WebAuthNVersion, &e.WebAuthNID, auth.WebAuthNEndpoint, auth.ServiceVersion, auth.WebAuthNResourceID)
	b.take(&e.Manage, &e.ManageVersion, &e.ManageID, manage.DeviceManagementEndpoint, manage.ServiceVersion, manage.DeviceManagementResourceID)
	e.TenantName = clean(d.TenantInfo.TenantName)
	return e
}

// drsDiscovery is the reply; any of its objects may be absent.
type drsDiscovery struct {
	DeviceJoinService struct {
		JoinEndpoint   string `json:"JoinEndpoint"`
		JoinResourceID string `json:"JoinResourceId"`
		ServiceVersion string `json:"ServiceVersion"`
	}
	KeyProvisioningService struct {
		KeyProvisionEndpoint   string `json:"KeyProvisionEndpoint"`
		KeyProvisionResourceID string `json:"KeyProvisionResourceId"`
		ServiceVersion         string `json:"ServiceVersion"`
	}
	WebAuthNService struct {
		WebAuthNEndpoint   string `json:"WebAuthNEndpoint"`
		WebAuthNResourceID string `json:"WebAuthNResourceId"`
		ServiceVersion     string `json:"ServiceVersion"`
	}
	DeviceManagementService struct {
		DeviceManagementEndpoint   string `json:"DeviceManagementEndpoint"`
		DeviceManagementResourceID string `json:"DeviceManagementResourceId"`
		ServiceVersion             string `json:"ServiceVersion"`
	}
	TenantInfo struct {
		TenantName string `json:"TenantName"`
	}
}

var versionPattern = regexp.MustCompile(`^[0-9]{1,3}\.[0-9]{1,3}$`)

// maxResource bounds the resource that discovery names, in bytes.
const maxResource = 128

// take replaces an endpoint by a discovered one that is fit to be used.
func (b *Broker) take(address, version, resource *string, newAddress, newVersion, newResource string) {
	u, err := url.Parse(newAddress)
	if err != nil || u.Scheme != "https" || u.User != nil || !strings.EqualFold(u.Host, b.cloud().RegistrationHost) ||
		u.RawQuery != "" || !versionPattern.MatchString(newVersion) {
		return
	}
	*address, *version = newAddress, newVersion
	if strings.HasPrefix(newResource, "urn:ms-drs:") && len(newResource) <= maxResource {
		*resource = newResource
	}
}

// withVersion adds the version of the service to its address.
func withVersion(address, version string) string { return address + "?api-version=" + version }
