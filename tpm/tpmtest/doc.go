// Package tpmtest is for tests of what uses package tpm: software TPMs,
// transports that count commands and inject faults, and the conformance suite
// of a key store.
package tpmtest
