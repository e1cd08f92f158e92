package verify

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// Challenge reports whether s is a code challenge of RFC 7636: 43 to 128
// unreserved characters.
func Challenge(s string) bool {
	if len(s) < 43 || len(s) > 128 {
		return false
	}
	return strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~") == ""
}

// Verifier reports whether a code verifier belongs to a challenge (RFC 7636,
// 4.6). Method is S256 or plain; "" is plain.
func Verifier(verifier, challenge, method string) bool {
	if !Challenge(verifier) {
		return false
	}
	if method == "S256" {
		sum := sha256.Sum256([]byte(verifier))
		return base64.RawURLEncoding.EncodeToString(sum[:]) == challenge
	}
	return verifier == challenge
}
