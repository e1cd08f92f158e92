package authd

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
)

// DeviceRegistrationData is what authd stores about a device, as JSON. The names are
// those of authd. The value holds the state of one user on this machine and must be
// protected like a private key: see AuthValue.
type DeviceRegistrationData struct {
	// DeviceID is the id of the device in the directory.
	DeviceID string `json:"device_id"`
	// CertKey is the SHA-1 thumbprint of the device's certificate. The key of the
	// certificate is in TPMMachineKey.
	CertKey []byte `json:"cert_key"`
	// TransportKey says, as JSON, what wrote the rest: a version and the tenant. The
	// transport key itself is in TPMMachineKey.
	TransportKey []byte `json:"transport_key"`
	// AuthValue is the master key of software keys, in base64: anyone with the data
	// can act as the device. With a TPM it is the word "tpm", and the data is useless
	// on another machine.
	AuthValue string `json:"auth_value"`
	// TPMMachineKey is the sealed state: the device, its keys, and the user's PRT.
	TPMMachineKey []byte `json:"tpm_machine_key"`
}

// Format implements [fmt.Formatter] without revealing the keys. JSON has them:
// it is how authd stores the data.
func (d DeviceRegistrationData) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "DeviceRegistrationData{DeviceID: %q, [redacted]}", d.DeviceID)
}

// LogValue implements [slog.LogValuer] without revealing the keys.
func (d DeviceRegistrationData) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(d)) }

// IsValid reports whether all fields are set. It does not open the state.
func (d *DeviceRegistrationData) IsValid() bool {
	return d.DeviceID != "" && len(d.CertKey) > 0 && len(d.TransportKey) > 0 && d.AuthValue != "" && len(d.TPMMachineKey) > 0
}

// ValidDeviceRegistrationDataJSON reports whether raw is the JSON of valid data.
func ValidDeviceRegistrationDataJSON(raw []byte) bool {
	var d DeviceRegistrationData
	return json.Unmarshal(raw, &d) == nil && d.IsValid()
}

// inTPM is the AuthValue of devices whose keys are in a TPM.
const inTPM = "tpm"

// A header says what wrote the data.
type header struct {
	Version int    `json:"prtbroker"`
	Tenant  string `json:"tenant"`
}

const version = 1

// errForeign means that libhimmelblau or a later version of this package wrote the
// data.
var errForeign = errors.New("authd: the device registration was not written by this package: register the device again")

func readHeader(d DeviceRegistrationData) (header, error) {
	var h header
	if !d.IsValid() {
		return h, fmt.Errorf("%w: it is incomplete", errForeign)
	}
	if err := json.Unmarshal(d.TransportKey, &h); err != nil || h.Version != version || h.Tenant == "" {
		return h, errForeign
	}
	return h, nil
}
