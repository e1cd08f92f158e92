// Package kdf is the key derivation that client and service of the PRT
// protocol share: NIST SP 800-108 in counter mode with HMAC-SHA-256 and one
// iteration, as MS-OAPXBC 3.1.5.1.3.3 profiles it.
//
// It is the only code that the client (package prt), the key stores (package
// tpm) and the emulator (package entratest) have in common.
package kdf

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

const (
	// Label is the SP 800-108 label of every key derived from a session key:
	// 26 ASCII bytes, without a terminator of its own.
	Label = "AzureAD-SecureConversation"

	// KeySize is the size of a session key and of a derived key, in bytes.
	KeySize = 32

	// V1 derives from the ctx header alone. Replies always use it.
	V1 = 1
	// V2 binds the derived key to the payload it signs (CVE-2021-33781).
	V2 = 2
)

// Message returns what HMAC-SHA-256 under the session key turns into a derived
// key: the counter, the label, a zero byte, the context and the output length
// in bits. A TPM computes the HMAC over it without giving up the session key.
func Message(label, context []byte) []byte {
	m := make([]byte, 0, 4+len(label)+1+len(context)+4)
	m = binary.BigEndian.AppendUint32(m, 1)
	m = append(m, label...)
	m = append(m, 0)
	m = append(m, context...)
	return binary.BigEndian.AppendUint32(m, KeySize*8)
}

// Derive computes in software what a TPM computes over [Message].
func Derive(sessionKey, label, context []byte) (key [KeySize]byte) {
	h := hmac.New(sha256.New, sessionKey)
	h.Write(Message(label, context))
	h.Sum(key[:0])
	return key
}

// ContextV2 returns the derivation context of version 2: the SHA-256 of the
// raw ctx bytes followed by the payload bytes exactly as they are serialised
// into the JWS, before base64url.
func ContextV2(ctx, payload []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write(ctx)
	h.Write(payload)
	return [sha256.Size]byte(h.Sum(nil))
}
