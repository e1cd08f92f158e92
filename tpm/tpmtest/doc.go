// Package tpmtest is for testing code that uses package tpm. It has software
// TPMs, transports that count commands and inject faults, and the conformance
// suite for key stores.
package tpmtest
