package broker

import "time"

// A DeviceCode is what the user types where to sign in from another machine.
type DeviceCode struct {
	UserCode        string
	VerificationURL string
	Message         string // the service's sentence with both
	ExpiresOn       time.Time
}
