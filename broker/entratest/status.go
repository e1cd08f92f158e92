package entratest

import (
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
)

// DeviceStatus is the state of a device in the directory.
type DeviceStatus struct {
	ID, ObjectID, DisplayName string
	Type, OSVersion           string
	TrustType                 string // AzureAd, Workplace, ServerAd
	Owner                     string // object id
	Thumbprint                string // SHA-1 of the certificate, upper-case hex
	Enabled, Compliant        bool
	Registered                time.Time
}

func deviceStatus(dev *directory.Device) DeviceStatus {
	return DeviceStatus{
		ID: dev.ID, ObjectID: dev.ObjectID, DisplayName: dev.Name, Type: dev.Kind, OSVersion: dev.OSVersion,
		TrustType: dev.TrustType(), Owner: dev.Owner, Thumbprint: dev.CertSHA1,
		Enabled: dev.Enabled, Compliant: dev.Compliant, Registered: dev.Registered,
	}
}
