package prt

import (
	"context"
	"fmt"
	"io"

	"github.com/prtbroker/prtbroker/internal/kdf"
)

// deriveRequest returns the HS256 key of a request: from ctx alone in version
// 1, from the hash of ctx and of the exact payload bytes in version 2
// (MS-OAPXBC 3.1.5.1.3.3).
func (s Session) deriveRequest(ctx context.Context, version int, context, payload []byte) ([kdf.KeySize]byte, error) {
	if version == KDFv2 {
		sum := kdf.ContextV2(context, payload)
		context = sum[:]
	}
	return s.Key.Derive(ctx, []byte(kdf.Label), context)
}

// deriveReply returns the key of a reply, which always uses version 1, whatever
// the request used: there is no payload yet that the key could depend on.
func (s Session) deriveReply(ctx context.Context, context []byte) ([kdf.KeySize]byte, error) {
	return s.Key.Derive(ctx, []byte(kdf.Label), context)
}

// A SoftwareKey is a session key in memory, for tests and for services that
// issue session keys. A device keeps its session keys in its TPM.
type SoftwareKey [kdf.KeySize]byte

// Derive implements [SessionKey].
func (k *SoftwareKey) Derive(ctx context.Context, label, context []byte) ([32]byte, error) {
	if err := ctx.Err(); err != nil {
		return [32]byte{}, err
	}
	return kdf.Derive(k[:], label, context), nil
}

// Format hides the key from fmt.
func (SoftwareKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

// MarshalText hides the key from encoding/json and log/slog.
func (SoftwareKey) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }
