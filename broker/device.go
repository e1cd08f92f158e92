package broker

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"os"
	"regexp"
	"runtime"
	"strings"
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
	ID         string       `json:"deviceId"`             // a GUID, not the object id that Graph lists the device by
	TenantID   string       `json:"tenantId"`             // a GUID
	TenantName string       `json:"tenantName,omitempty"` // a domain, as configured; empty when only the id is known
	UserID     string       `json:"userId,omitempty"`     // object id of the user who registered it, from the certificate
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

// deviceOf returns the registration as callers see it.
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

// OnPremises says which computer of the on-premises directory this machine is.
type OnPremises struct {
	// ObjectID is the objectGUID of the computer, which becomes the device id.
	ObjectID string
	// SID is the security identifier of the computer.
	SID string
	// DomainController is where the computer object was changed last. It may
	// be empty.
	DomainController string
}

var guidPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// OnPremisesCertificate returns the certificate, in DER, that the caller writes
// into the userCertificate attribute of the computer. From there it must be
// synced to Entra before RegisterDevice with prt.JoinHybrid can succeed. Its
// key stays in the key store. A second call returns a certificate for the same
// key.
func (b *Broker) OnPremisesCertificate(ctx context.Context, of OnPremises) (_ []byte, err error) {
	const op = "on-premises certificate"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave(&err)
	der, err := b.devices.ComputerCertificate(ctx, device.Computer(of))
	return der, opError(op, err)
}

// osTypes are the device types that registrations name.
var osTypes = map[string]string{"linux": "Linux", "windows": "Windows", "darwin": "MacOS", "android": "Android", "ios": "iOS"}

const maxOSRelease = 64 << 10

func (d *DeviceInfo) fill() {
	d.Type = cmp.Or(d.Type, osTypes[runtime.GOOS], runtime.GOOS)
	host, _ := os.Hostname()
	d.DisplayName = cmp.Or(d.DisplayName, host, d.Type)
	if d.OSVersion == "" {
		d.OSVersion = osVersion()
	}
}

// osVersion is the name that the distribution gives itself.
func osVersion() string {
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return runtime.GOOS
	}
	defer f.Close()
	return prettyName(io.LimitReader(f, maxOSRelease))
}

func prettyName(r io.Reader) string {
	for s := bufio.NewScanner(r); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "PRETTY_NAME="); ok {
			if v = strings.Trim(v, `"'`); v != "" {
				return v
			}
		}
	}
	return runtime.GOOS
}
