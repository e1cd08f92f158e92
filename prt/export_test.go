package prt

import "context"

// What the tests in package prt_test check against vectors.
var (
	SignSession       = Session.sign
	WrappedSessionKey = wrappedSessionKey
	ExtensionValue    = extensionValue
)

// OpenJWE is what ParseReply does with an encrypted reply.
func OpenJWE(ctx context.Context, s Session, text string, valid func([]byte) bool) ([]byte, error) {
	j, err := parseJWE(text)
	if err != nil {
		return nil, err
	}
	return s.open(ctx, j, valid)
}

// ReadExtension reads one extension of a device certificate for a device.
func ReadExtension(oid string, value []byte, device GUID) (DeviceCertificate, error) {
	var c DeviceCertificate
	err := c.extension(oid, value, device)
	return c, err
}
