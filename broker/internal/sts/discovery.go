package sts

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

// Endpoints are the addresses of the services of a tenant.
type Endpoints struct {
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

// fallback returns the endpoints to use without discovery.
func (c Cloud) fallback(tenantID string) Endpoints {
	resource := "urn:ms-drs:" + c.RegistrationHost
	return Endpoints{
		TenantID:     tenantID,
		AuthCode:     c.Login(tenantID, wire.PathAuthorize),
		Token:        c.Login(tenantID, wire.PathToken),
		Join:         c.Registration(wire.PathDevice),
		JoinVersion:  wire.DRSVersionDevice,
		JoinResource: resource,
		Key:          c.Registration(wire.PathKey),
		KeyVersion:   wire.DRSVersionKey,
		KeyResource:  resource,
	}
}

var guidPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// TenantID resolves a tenant by its OpenID configuration, which also proves
// that the tenant exists. A tenant given as a GUID is not looked up, unless it
// is not known yet which cloud it is in.
func (c *Client) TenantID(ctx context.Context, tenant string) (string, error) {
	at := c.place.Load()
	if id := strings.ToLower(tenant); guidPattern.MatchString(id) && (!at.movable || c.found.Load()) {
		return id, nil
	}
	r, err := c.Do(ctx, Request{Method: http.MethodGet, URL: at.Login(tenant, wire.PathDiscovery), Endpoint: OpenIDConfiguration})
	if err != nil {
		return "", err
	}
	if !r.OK() {
		e := Refusal(r, ByUser)
		if e.Verdict == aadsts.SwitchCloud && c.moveTo(at, e.description) {
			return c.TenantID(ctx, tenant)
		}
		return "", e
	}
	var meta struct {
		Issuer string `json:"issuer"`
		Cloud  string `json:"cloud_instance_name"`
	}
	if err := json.Unmarshal(r.Body, &meta); err != nil {
		return "", Malformed(r, prt.ErrReply)
	}
	c.moveTo(at, "'"+meta.Cloud+"'") // the public cloud knows the tenants of the others
	u, err := url.Parse(meta.Issuer)
	if err != nil {
		return "", Malformed(r, prt.ErrReply)
	}
	id, _, _ := strings.Cut(strings.Trim(strings.ToLower(u.Path), "/"), "/")
	if !guidPattern.MatchString(id) {
		return "", &Error{Verdict: aadsts.AppConfig, Detail: "the tenant has no id: name a tenant instead of common", CorrelationID: r.CorrelationID}
	}
	c.found.Store(true)
	return id, nil
}

// Discover asks where the registration services are. Without an answer it uses
// the well-known addresses, which have not changed in years. An address that is
// not https on the cloud's registration host is not accepted, since a token for
// the service is sent there.
func (c *Client) Discover(ctx context.Context, tenantID string) Endpoints {
	e := c.Cloud().fallback(tenantID)
	r, err := c.Do(ctx, Request{
		Method:   http.MethodGet,
		URL:      c.Cloud().Registration("/" + tenantID + wire.PathDRSDiscover + "?api-version=" + wire.DRSVersionDiscover),
		Endpoint: RegistrationDiscovery,
	})
	if err == nil && !r.OK() {
		err = RegistrationError(r)
	}
	var d drsDiscovery
	if err == nil {
		err = json.Unmarshal(r.Body, &d)
	}
	if err != nil {
		c.cfg.Logger.InfoContext(ctx, "registration discovery failed, well-known endpoints are used", "tenant", tenantID, "error", err)
		return e
	}
	join, key, auth, manage := d.DeviceJoinService, d.KeyProvisioningService, d.WebAuthNService, d.DeviceManagementService
	c.take(&e.Join, &e.JoinVersion, &e.JoinResource, join.JoinEndpoint, join.ServiceVersion, join.JoinResourceID)
	c.take(&e.Key, &e.KeyVersion, &e.KeyResource, key.KeyProvisionEndpoint, key.ServiceVersion, key.KeyProvisionResourceID)
	c.take(&e.WebAuthN, &e.WebAuthNVersion, &e.WebAuthNID, auth.WebAuthNEndpoint, auth.ServiceVersion, auth.WebAuthNResourceID)
	c.take(&e.Manage, &e.ManageVersion, &e.ManageID, manage.DeviceManagementEndpoint, manage.ServiceVersion, manage.DeviceManagementResourceID)
	e.TenantName = aadsts.Clean(d.TenantInfo.TenantName)
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

// maxResource bounds the name of a resource, in bytes.
const maxResource = 128

var versionPattern = regexp.MustCompile(`^[0-9]{1,3}\.[0-9]{1,3}$`)

// take replaces an endpoint with a discovered one that is fit to be used.
func (c *Client) take(address, version, resource *string, newAddress, newVersion, newResource string) {
	u, err := url.Parse(newAddress)
	if err != nil || u.Scheme != "https" || u.User != nil || !strings.EqualFold(u.Host, c.Cloud().RegistrationHost) ||
		u.RawQuery != "" || !versionPattern.MatchString(newVersion) {
		return
	}
	*address, *version = newAddress, newVersion
	if strings.HasPrefix(newResource, "urn:ms-drs:") && len(newResource) <= maxResource {
		*resource = newResource
	}
}

// WithVersion adds the version of the service to its address.
func WithVersion(address, version string) string { return address + "?api-version=" + version }
