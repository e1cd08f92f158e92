package ids

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// IsGUID reports whether s is a GUID in its usual text form.
func IsGUID(s string) bool {
	_, ok := GUIDBytes(s)
	return ok
}

// GUIDBytes returns the 16 bytes of a GUID in Microsoft's byte order: the first
// three fields are little-endian.
func GUIDBytes(s string) ([16]byte, bool) {
	var out [16]byte
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return out, false
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(raw) != 16 {
		return out, false
	}
	copy(out[:], raw)
	out[0], out[1], out[2], out[3] = raw[3], raw[2], raw[1], raw[0]
	out[4], out[5] = raw[5], raw[4]
	out[6], out[7] = raw[7], raw[6]
	return out, true
}

// SID returns the SID that stands for an object id on joined devices.
func SID(guid string) string {
	b, _ := GUIDBytes(guid)
	le := binary.LittleEndian
	return fmt.Sprintf("S-1-12-1-%d-%d-%d-%d", le.Uint32(b[0:]), le.Uint32(b[4:]), le.Uint32(b[8:]), le.Uint32(b[12:]))
}

// Hex returns b in lower-case hexadecimal.
func Hex(b []byte) string { return hex.EncodeToString(b) }
