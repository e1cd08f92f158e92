package broker

import (
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/prt"
)

// A DeviceInfo describes a machine in a registration.
type DeviceInfo struct {
	DisplayName string // empty: the host name
	Type        string // empty: "Linux", "Windows" or "MacOS"
	OSVersion   string // empty: what the operating system says
}

// A Device is a registration of this machine in a tenant.
type Device struct {
	ID         string       `json:"deviceId"`
	TenantID   string       `json:"tenantId"`
	TenantName string       `json:"tenantName,omitempty"` // a domain, as configured; empty when only the id is known
	UserID     string       `json:"userId,omitempty"`     // object id of who registered it, from the certificate
	Region     string       `json:"region,omitempty"`     // two letters, from the certificate
	JoinType   prt.JoinType `json:"joinType"`
	// DisplayName is the name that the registration gave.
	DisplayName string `json:"displayName"`
	// Thumbprint is the SHA-1 of the stored certificate, in upper-case hex.
	Thumbprint string `json:"thumbprint"`
	// NotBefore and NotAfter are the certificate's validity, which has nothing
	// to do with that of a PRT.
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	// Registered is when the certificate came here.
	Registered time.Time `json:"registered"`
	// Existing says that the device was registered before this call.
	Existing bool `json:"-"`
}

// deviceOf is the registration as callers see it.
func deviceOf(d *device.Device) *Device {
	r, c := d.Record, d.Cert
	out := &Device{
		ID:          c.DeviceID,
		TenantID:    r.TenantID,
		UserID:      c.UserID,
		Region:      c.Region,
		JoinType:    r.JoinType,
		DisplayName: r.DisplayName,
		Thumbprint:  c.Thumbprint,
		NotBefore:   c.NotBefore,
		NotAfter:    c.NotAfter,
		Registered:  r.Registered,
	}
	if len(r.TenantNames) > 0 {
		out.TenantName = r.TenantNames[0]
	}
	return out
}
