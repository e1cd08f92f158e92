// Package totp generates and checks one-time codes (RFC 6238).
package totp

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Parameters of one-time codes (RFC 6238): HMAC-SHA-1, 30 seconds, 6 digits,
// as in every authenticator app.
const (
	Step   = 30 // seconds
	window = 1  // steps of tolerance on either side
)

// Secret decodes a base32 secret as authenticator apps show it: in upper or lower
// case, possibly with spaces, with or without padding.
func Secret(text string) ([]byte, error) {
	text = strings.ToUpper(strings.TrimRight(strings.ReplaceAll(text, " ", ""), "="))
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(text)
	if err != nil || len(raw) == 0 {
		return nil, errors.New("TOTP secret is not base32")
	}
	return raw, nil
}

// Code returns the code of a time step (RFC 4226, 5.3).
func Code(secret []byte, step uint64) string {
	mac := hmac.New(sha1.New, secret)
	_ = binary.Write(mac, binary.BigEndian, step) // writing to a hash does not fail
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 0x0f
	n := binary.BigEndian.Uint32(sum[offset:]) & 0x7fffffff
	return fmt.Sprintf("%06d", n%1_000_000)
}

// Match returns the time step that a code belongs to, if it is within the tolerance.
func Match(secret []byte, code string, at time.Time) (step uint64, ok bool) {
	now := uint64(at.Unix()) / Step
	for i := range uint64(window + 1 + window) {
		step = now + i - window
		if subtle.ConstantTimeCompare([]byte(Code(secret, step)), []byte(code)) == 1 {
			return step, true
		}
	}
	return 0, false
}
