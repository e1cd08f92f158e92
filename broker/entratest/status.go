package entratest

import "time"

// Device is what the directory tells of a device.
type Device struct {
	ID, ObjectID, DisplayName string
	Type, OSVersion           string
	TrustType                 string // AzureAd, Workplace, ServerAd
	Owner                     string // object id
	Thumbprint                string // SHA-1 of the certificate, upper-case hex
	Enabled, Compliant        bool
	Registered                time.Time
}

func deviceStatus(dev *device) Device {
	return Device{
		ID: dev.id, ObjectID: dev.objectID, DisplayName: dev.name, Type: dev.kind, OSVersion: dev.osVersion,
		TrustType: dev.trustType(), Owner: dev.owner, Thumbprint: dev.certSHA1,
		Enabled: dev.enabled, Compliant: dev.compliant, Registered: dev.registered,
	}
}
