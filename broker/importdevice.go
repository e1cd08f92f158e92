package broker

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"slices"

	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/prt"
)

// A DeviceImport is the registration of this machine that another program made,
// with its private keys in files. It prints without them.
type DeviceImport struct {
	// Certificate is the device certificate, in PEM or DER. Its subject is the
	// device id.
	Certificate []byte
	// Key is the private key of the certificate, an RSA key of 2048 bits in PEM,
	// PKCS #8 or PKCS #1, not encrypted. A file that has other blocks too is fine.
	Key []byte
	// TransportKey is the key that the program registered as the transport key,
	// in the same form as Key. Empty: Key, as for programs that registered one
	// key as both.
	TransportKey []byte
	// Hybrid says that the computer is joined to an on-premises domain as well
	// (prt.JoinHybrid). The certificate tells the other two types apart.
	Hybrid bool
}

// Format implements [fmt.Formatter] without the keys.
func (DeviceImport) Format(f fmt.State, _ rune) { formatSecret(f, "DeviceImport") }

// LogValue implements [slog.LogValuer] without the keys.
func (DeviceImport) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler] without the keys.
func (DeviceImport) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// ImportDevice keeps a registration that another program made on this machine,
// so that it need not register again; call SignIn next. It needs a key store
// that can import keys ([tpm.Importer]), such as softkeys. With a TPM it is
// [tpm.ErrNoImport], since a key that has been in a file is not bound to the
// machine: register again instead.
//
// The certificate must match the key, be valid now, name the device in its
// subject and, where it names a tenant, name that of the configuration.
// Importing the same registration again returns it with Existing set; a
// different one that is here, or was begun, is kept, and the import is an
// error: see [Broker.ForgetDevice]. Whether the service still knows the device,
// and this transport key, shows only at the first sign-in.
//
// The caller must erase the files: anyone who has them can act as this device.
func (b *Broker) ImportDevice(ctx context.Context, in DeviceImport) (_ *Device, err error) {
	const op = "import device"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave(&err)
	parsed, err := in.parse()
	if err != nil {
		return nil, opError(op, err)
	}
	d, existing, err := b.devices.Import(ctx, parsed)
	if err != nil {
		return nil, opError(op, err)
	}
	out := deviceOf(d)
	out.Existing = existing
	if !existing {
		b.cfg.Logger.InfoContext(ctx, "device imported", "device", out.ID, "tenant", out.TenantID, "type", out.JoinType.String())
	}
	return out, nil
}

func (in *DeviceImport) parse() (device.Import, error) {
	var out device.Import
	der := in.Certificate
	if block := findPEM(der, "CERTIFICATE"); block != nil {
		der = block.Bytes
	}
	var err error
	if out.Certificate, err = prt.ParseDeviceCertificate(slices.Clone(der)); err != nil {
		return out, &device.ImportError{Why: "Certificate is not a device certificate: " + err.Error()}
	}
	if out.Key, err = parseKey("Key", in.Key); err != nil {
		return out, err
	}
	out.Transport = out.Key
	if len(in.TransportKey) > 0 {
		if out.Transport, err = parseKey("TransportKey", in.TransportKey); err != nil {
			return out, err
		}
	}
	switch {
	case in.Hybrid:
		out.JoinType = prt.JoinHybrid
	case !out.Certificate.Joined:
		out.JoinType = prt.JoinPersonal
	}
	return out, nil
}

// parseKey's errors say nothing about the key itself.
func parseKey(field string, text []byte) (crypto.Signer, error) {
	block := findPEM(text, "PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
	switch {
	case block == nil:
		return nil, &device.ImportError{Why: field + " has no PRIVATE KEY block in PEM"}
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return nil, &device.ImportError{Why: field + " is encrypted: decrypt it first, such as by openssl pkey"}
	}
	var key any
	var err error
	if block.Type == "RSA PRIVATE KEY" {
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	} else {
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, &device.ImportError{Why: field + " is not a private key of PKCS #8 or PKCS #1"}
	}
	return signer, nil
}

// findPEM returns the first block of one of the types, or nil.
func findPEM(text []byte, types ...string) *pem.Block {
	for {
		block, rest := pem.Decode(text)
		if block == nil || slices.Contains(types, block.Type) {
			return block
		}
		text = rest
	}
}
