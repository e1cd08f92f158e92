package device

import (
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/prt"
)

// Record is a registration, finished or under way.
type Record struct {
	Version      int          `json:"v"`
	Phase        phase        `json:"phase"`
	TenantID     string       `json:"tenant_id"`
	TenantNames  []string     `json:"tenant_names,omitempty"` // domains that were configured for it
	JoinType     prt.JoinType `json:"join_type"`
	DeviceKey    []byte       `json:"device_key"`              // blob
	TransportKey []byte       `json:"transport_key"`           // blob
	DirectoryKey []byte       `json:"directory_key,omitempty"` // blob; hybrid only
	Certificate  []byte       `json:"certificate,omitempty"`
	DisplayName  string       `json:"display_name,omitempty"`
	Registered   time.Time    `json:"registered,omitzero"`
	// Endpoints are what discovery said, for Status, which makes no request.
	Endpoints sts.Endpoints `json:"endpoints"`
}

// A phase is how far a registration has come.
type phase string

const (
	phaseKeys      phase = "keys"      // the keys are made; the service knows nothing
	phaseRequested phase = "requested" // the request may have been sent
	phaseComplete  phase = "complete"  // the certificate is here
)

// matches reports whether tenant, an id or a domain, means this registration.
func (d *Record) matches(tenant string) bool {
	tenant = strings.ToLower(tenant)
	return d.TenantID == tenant || slices.Contains(d.TenantNames, tenant)
}

const devicePrefix = "device-"

// deviceOwner names the records of a registration.
func deviceOwner(tenantID string) string { return devicePrefix + vault.HashedID("tenant", tenantID) }
